package replica

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/backoff"
)

// Edit submits an edit, at this agent or at the leader, and returns when
// a majority of the voters has it on disk and this agent's own list shows it.
// hops is how often the edit was passed on already. Errors: the Faults of
// awa.Draft.Decide; awa.ErrNoMajority, which names the voters that are
// missing; awa.ErrUnknownOutcome; awa.ErrNotJoined. An edit without a key is
// given one, so that it can be repeated here.
func (r *Replica) Edit(ctx context.Context, e awa.ParsedEdit, hops int) (uint64, awa.Node, error) {
	if r.list.Meta().Cluster == "" {
		return 0, awa.Node{}, awa.NotJoined("")
	}
	e = e.WithKey(awa.NewUID())
	patience, cancel := context.WithTimeout(ctx, r.cfg.Timing.Patience)
	defer cancel()
	var unknown error // an attempt that may have succeeded
	for pauses := backoff.New(10*time.Millisecond, 200*time.Millisecond); ; {
		id, node, err := r.editOnce(ctx, patience, e, hops)
		switch {
		case err == nil:
			r.catchUp(ctx, id)
			return id, node, nil
		case errors.Is(err, awa.ErrUnknownOutcome):
			unknown = err
		case isDecision(err), !isTransient(err) && unknown == nil:
			return 0, awa.Node{}, err
		}
		if hops > 0 { // whoever passed it on tries again
			return 0, awa.Node{}, err
		}
		if pauses.Wait(patience) == nil {
			continue
		}
		reason := r.noMajority()
		if unknown != nil {
			reason = awa.Faultf(awa.ErrUnknownOutcome, "%v (since then: %s)", unknown, strings.TrimPrefix(reason.Error(),
				refusedPrefix))
		}
		err = reason
		return 0, awa.Node{}, err
	}
}

// editOnce submits an edit to the leader. Unless this agent leads, it passes the edit on,
// which ends with patience.
func (r *Replica) editOnce(ctx, patience context.Context, e awa.ParsedEdit, hops int) (uint64, awa.Node, error) {
	switch {
	case r.IsLeader():
		return r.decide(ctx, e)
	case r.onlyVoter() && !r.raft.Running() && !r.raft.Held():
		return 0, awa.Node{}, awa.Faultf(awa.ErrStarting, "this agent is the only voter, and is starting: try again")
	}
	if hops > 0 { // for no longer than it is waited for
		var cancel context.CancelFunc
		patience, cancel = context.WithTimeout(patience, r.cfg.Timing.Patience/3)
		defer cancel()
	}
	return r.passOn(patience, e, hops)
}

// decide proposes an edit to the voters. This agent must be their leader.
func (r *Replica) decide(ctx context.Context, e awa.ParsedEdit) (uint64, awa.Node, error) {
	r.awaitSuccessor(ctx, e)
	out, err := r.raft.Propose(ctx, e.Edit())
	return out.Change.ID, out.Node, err
}

// isDecision reports whether an error is what the voters' log made of an edit.
// It is an answer for its key, earlier attempts included: had one of them been
// made, the edit would have been answered as that one.
func isDecision(err error) bool {
	return isAny(err, awa.ErrNameTaken, awa.ErrUIDTaken, awa.ErrUnknownNode, awa.ErrConflict, awa.ErrGap, awa.ErrKeyReused)
}

// isTransient reports whether an error says that this attempt was not made,
// and that the next one may be.
func isTransient(err error) bool {
	return isAny(err, awa.ErrNoMajority, awa.ErrStopping, awa.ErrStarting, awa.ErrNotJoined)
}

// isRefusal reports whether an error says that an agent did not look at the
// edit. It proves nothing for another attempt.
func isRefusal(err error) bool {
	return isAny(err, awa.ErrBadInput, awa.ErrForbidden, awa.ErrOtherCluster, awa.ErrOtherHistory, awa.ErrOtherAgent)
}

func isAny(err error, codes ...awa.Code) bool {
	return slices.ContainsFunc(codes, func(c awa.Code) bool { return errors.Is(err, c) })
}

// catchUp waits until this agent's list shows a change, so that who edits
// here reads it here; the change is decided in any case. A voter that hears no
// leader would wait in vain.
func (r *Replica) catchUp(ctx context.Context, id uint64) {
	if r.raft.Stalled() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	r.list.Wait(ctx, id)
}

// refusedPrefix begins the sentences of noMajority.
const refusedPrefix = "the edit was refused: "

// noMajority says which voters are missing, by asking them all.
func (r *Replica) noMajority() error {
	voters := r.Voters()
	if len(voters) == 0 {
		return awa.Faultf(awa.ErrNoMajority, refusedPrefix+"no agent that was asked knows the leader, and this one knows "+
			"no voter yet")
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	missing := make([]string, len(voters))
	var asked sync.WaitGroup
	for i, uid := range voters {
		if uid == r.uid {
			continue
		}
		asked.Go(func() {
			addr, ok := r.addr(uid)
			if !ok {
				missing[i] = uid + " (not on the list)"
			} else if self, err := r.cfg.Peers.Ping(ctx, addr, true); err != nil {
				missing[i] = fmt.Sprintf("%s (%s: %v)", r.name(uid), addr, err)
			} else if self.UID != uid {
				missing[i] = fmt.Sprintf("%s (%s: another agent answers there)", r.name(uid), addr)
			}
		})
	}
	asked.Wait()
	missing = slices.DeleteFunc(missing, func(s string) bool { return s == "" })
	need := len(voters)/2 + 1
	names := strings.Join(missing, ", ")
	switch {
	case len(voters)-len(missing) < need:
		return awa.Faultf(awa.ErrNoMajority, refusedPrefix+"%s needed, but no answer from %s; bring one back and try "+
			"again, or if they are lost for good run awa-agent recover on one agent", awa.VotersText(need, len(voters)), names)
	case len(missing) > 0:
		return awa.Faultf(awa.ErrNoMajority, refusedPrefix+"the voters have no leader yet, and these do not answer: %s; "+
			"try again in a few seconds", names)
	}
	return awa.Faultf(awa.ErrNoMajority, refusedPrefix+"the voters have no leader yet; try again in a few seconds")
}
