package replica

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"are-we-alive/pkg/awa"
)

// The agent with an entry's uid at the entry's address holds the entry until it is proven
// to be gone. An agent that claims the entry with another uid or
// from another address asks other agents to ping the holder. Its own ping counts only
// when none of them answers: its name server may resolve the entry's name to itself.

const (
	// holderAsked is how many other agents are asked.
	holderAsked = 5
	// holderWithin is how long they may take: a sweep with a dead node in it takes up
	// to 2.2 s, and is repeated when an agent stood still meanwhile.
	holderWithin = 5 * time.Second
)

// probeResult is what one agent found at an entry's address.
type probeResult struct {
	own   bool // this agent pinged
	alive bool // the entry's holder answers it
	mine  bool // this agent answers there
	// gone is for how long nobody has answered in the holder's name.
	gone time.Duration
}

// claimBlocked returns why this agent must not take over an entry yet; zero when it may.
func (r *Replica) claimBlocked(ctx context.Context, entry, want awa.Node) awa.Condition {
	move, need := entry.UID == r.uid, r.cfg.Timing.Vacate
	if move {
		need = r.cfg.Timing.Move
	}
	results := r.probeHolder(ctx, entry)
	mine, gone := 0, 0
	for _, s := range results {
		switch {
		case s.alive && move:
			return r.copyOf(entry, want.Addr())
		case s.alive:
			return awa.Condition{Code: awa.Duplicate, Text: fmt.Sprintf("two agents claim node %s: %s (on the list) and "+
				"this one, %s: stop one of them, start this one with another my_name, or replace the other with --take-over",
				entry.Name, entry.Addr(), want.Addr())}
		case s.mine:
			mine++
		case s.gone >= need:
			gone++
		}
	}
	switch {
	case 2*mine > len(results), 2*gone > len(results), entry.UID == "", !move && r.onlyVoter():
		return awa.Condition{} // an only voter without an entry was given this list by a restore
	case move:
		return awa.Condition{Code: awa.NotReached, Text: fmt.Sprintf("the list has this agent at %s, but it is at %s: it "+
			"registers the new address once most other agents have found the old one silent for %v",
			entry.Addr(), want.Addr(), need)}
	}
	return awa.Condition{Code: awa.Unlisted, Text: fmt.Sprintf("this agent, %s, has the name of node %s, whose "+
		"agent at %s "+
		"does not answer: it replaces that one when it has been offline for %v, or now with --take-over or after awa-agent "+
		"node remove %s", want.Addr(), entry.Name, entry.Addr(), need, entry.Name)}
}

// onlyVoter reports whether this agent is the only voter, as far as it knows.
func (r *Replica) onlyVoter() bool {
	voters := r.list.Meta().Voters.UIDs
	return len(voters) == 1 && voters[0] == r.uid
}

// copyOf is the condition of this agent when it uses the uid of another one.
func (r *Replica) copyOf(entry awa.Node, at string) awa.Condition {
	return awa.Condition{Code: awa.Duplicate, Text: copies(entry.Name, entry.Addr(), "this one, "+at)}
}

// probeHolder asks agents to ping the holder of an entry.
func (r *Replica) probeHolder(ctx context.Context, entry awa.Node) []probeResult {
	ctx, cancel := context.WithTimeout(ctx, holderWithin)
	defer cancel()
	own := make(chan probeResult, 1)
	go func() { own <- r.probeFromHere(ctx, entry) }()
	results := r.probeFromOthers(ctx, entry)
	s := <-own
	if len(results) == 0 || s.alive {
		results = append(results, s)
	}
	return results
}

// probeFromOthers asks some other agents at once. It prefers those that were online lately.
func (r *Replica) probeFromOthers(ctx context.Context, entry awa.Node) []probeResult {
	var online, rest []awa.Node
	nodes := r.list.Nodes()
	for _, i := range rand.Perm(len(nodes)) {
		switch n := nodes[i]; {
		case n.UID == "" || n.UID == r.uid || n.ID == entry.ID:
		case r.online(n.UID):
			online = append(online, n)
		default:
			rest = append(rest, n)
		}
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	var results []probeResult
	candidates := append(online, rest...)
	for _, n := range candidates[:min(len(candidates), holderAsked)] {
		addr, ok := r.addr(n.UID)
		if !ok {
			continue
		}
		all.Go(func() {
			st, err := r.cfg.Peers.ClusterStatus(ctx, addr, false, entry.Name)
			s, ok := r.probeResultOf(st, entry)
			if err != nil || !ok {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			results = append(results, s)
		})
	}
	all.Wait()
	return results
}

// probeResultOf reads the result from the status of an agent that holds the same list.
func (r *Replica) probeResultOf(st awa.ClusterStatus, entry awa.Node) (probeResult, bool) {
	if m := r.list.Meta(); st.Cluster != m.Cluster || st.History != m.History {
		return probeResult{}, false
	}
	for _, n := range st.Nodes {
		if n.Node.ID != entry.ID || n.Node.UID != entry.UID || n.Node.Addr() != entry.Addr() {
			continue
		}
		var s probeResult
		switch {
		case n.Self != nil && n.Self.Instance == r.cfg.Instance:
			s.mine = true
		case n.Verdict == awa.Online, n.Verdict == awa.Unreachable:
			s.alive = true
		case n.Verdict == awa.Offline, n.Self != nil && n.Self.UID != entry.UID: // which is not there
			if !n.Since.IsZero() && !st.SweptAt.IsZero() { // both by the clock of that agent
				s.gone = max(0, st.SweptAt.Sub(n.Since))
			}
		}
		return s, true
	}
	return probeResult{}, false
}

// probeFromHere pings the holder of an entry, twice when the first ping fails: a lost packet
// must not make a living agent look dead.
func (r *Replica) probeFromHere(ctx context.Context, entry awa.Node) probeResult {
	for range 2 {
		self, err := r.ping(ctx, entry.Addr())
		if err != nil {
			continue
		}
		holder := self.UID == entry.UID || entry.UID == "" && awa.NameKey(self.Name) == entry.Key()
		switch {
		case self.Instance == r.cfg.Instance:
			return probeResult{own: true, mine: true}
		case holder:
			return probeResult{own: true, alive: true}
		}
		break
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.silentAddr != entry.Addr() {
		r.silentAddr, r.silentSince = entry.Addr(), time.Now()
	}
	return probeResult{own: true, gone: time.Since(r.silentSince)}
}
