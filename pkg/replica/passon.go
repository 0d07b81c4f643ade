package replica

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/consensus"
)

const (
	// hedgeAfter is how long an agent that was passed an edit may take before the
	// next one is tried beside it: it may hang, or be cut off. To submit an edit
	// twice is safe, since it has a key.
	hedgeAfter = 400 * time.Millisecond
	// maxHedged is how many are tried at once.
	maxHedged = 3
	// leaderPoll is how often an edit that waits looks whether there is another
	// leader by now.
	leaderPoll = 100 * time.Millisecond
)

// attempt is what came of passing an edit on.
type attempt struct {
	addr string
	id   uint64
	node awa.Node
	err  error
}

// final reports whether it is the answer to the edit.
func (a attempt) final() bool { return a.err == nil && a.id > 0 || isDecision(a.err) }

// passOn sends an edit to the agents that may lead, or may know the leader, one after
// the other until one returns a decision. While one of them hangs, it asks the others
// again and again, since they may elect a leader meanwhile. That may be this agent.
func (r *Replica) passOn(ctx context.Context, e awa.ParsedEdit, hops int) (uint64, awa.Node, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // of the attempts that are left
	done, running, last := make(chan attempt, maxHedged), map[string]bool{}, time.Now()
	try := func(addrs []string) (rest []string) {
		addrs = slices.DeleteFunc(addrs, func(addr string) bool { return running[addr] })
		if len(addrs) == 0 || len(running) == maxHedged {
			return addrs
		}
		running[addrs[0]], last = true, time.Now()
		go func() { done <- r.passTo(ctx, addrs[0], e, hops+1) }()
		return addrs[1:]
	}
	leader, poll := r.leaderAddr(), time.NewTicker(leaderPoll)
	defer poll.Stop()
	err := error(consensus.ErrNotLeader)
	for addrs := try(r.whoMayLead(hops)); len(running) > 0; {
		select {
		case <-poll.C:
			before := leader
			leader = r.leaderAddr()
			switch {
			case r.IsLeader():
				id, node, err := r.decide(ctx, e)
				if err != nil && !isDecision(err) {
					err = consensus.UnknownOutcome(err) // what was passed on may be made yet
				}
				return id, node, err
			case leader != "" && leader != before:
				try([]string{leader})
			case time.Since(last) < hedgeAfter:
			case len(addrs) == 0:
				addrs = try(r.whoMayLead(hops))
			default:
				addrs = try(addrs)
			}
		case <-ctx.Done(): // and so the attempts end
			for range running {
				a := <-done
				if a.final() {
					return a.id, a.node, a.err
				}
				err = afterAttempt(err, a.err)
			}
			return 0, awa.Node{}, err
		case a := <-done:
			if a.final() {
				return a.id, a.node, a.err
			}
			delete(running, a.addr)
			err = afterAttempt(err, a.err)
			addrs = try(addrs)
		}
	}
	return 0, awa.Node{}, err
}

// passTo hands an edit to one agent, and leaves time for others.
func (r *Replica) passTo(ctx context.Context, addr string, e awa.ParsedEdit, hops int) attempt {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Timing.Patience/3)
	defer cancel()
	id, node, err := r.cfg.Peers.Edit(ctx, addr, e.Edit(), hops)
	if err == nil && id > r.list.State() {
		r.replicator.decidedBy(addr, id)
	}
	return attempt{addr, id, node, err}
}

// afterAttempt is what is known of an edit when one more attempt has failed. That
// its outcome is unknown is not forgotten.
func afterAttempt(before, failed error) error {
	var missing *awa.PingError
	switch {
	case errors.Is(failed, awa.ErrUnknownOutcome):
		return failed
	case errors.As(failed, &missing) && missing.Stage == awa.StageReply:
		return consensus.UnknownOutcome(failed) // it was sent, and nobody knows what became of it
	case errors.As(failed, &missing), isTransient(failed):
		return before
	case isRefusal(failed):
		if errors.Is(before, awa.ErrUnknownOutcome) {
			return before
		}
		return failed
	}
	return consensus.UnknownOutcome(failed) // it failed over there, or was answered without an id
}

// whoMayLead returns the addresses to try in turn: the leader, the voters, those that answer
// the quickest first, the contacts from the start, and at last those that were offline when
// this agent looked. An edit that was passed on goes to the leader alone if that is online,
// and at most twice to another one.
func (r *Replica) whoMayLead(hops int) []string {
	var online, offline []string
	add := func(uid string) {
		addr, ok := r.addr(uid)
		switch {
		case !ok, uid == r.uid, slices.Contains(online, addr), slices.Contains(offline, addr):
		case r.offline(uid):
			offline = append(offline, addr)
		default:
			online = append(online, addr)
		}
	}
	add(r.Leader())
	if hops > 1 || hops == 1 && len(online) > 0 {
		return online
	}
	for _, uid := range r.nearestFirst(slices.Concat(r.Voters(), r.claimants())) {
		add(uid)
	}
	if hops > 0 {
		return online
	}
	for _, addr := range r.cfg.Contacts {
		if !slices.Contains(online, addr) && !slices.Contains(offline, addr) {
			online = append(online, addr)
		}
	}
	return append(online, offline...)
}

// nearestFirst sorts agents by the time of their last answer.
func (r *Replica) nearestFirst(uids []string) []string {
	const unknown = time.Hour
	near := map[string]time.Duration{}
	for _, uid := range uids {
		near[uid] = unknown
		if seen, ok := r.cfg.Seen(uid); ok && seen.RTT > 0 {
			near[uid] = seen.RTT
		}
	}
	slices.SortStableFunc(uids, func(a, b string) int { return cmp.Compare(near[a], near[b]) })
	return uids
}
