package replica

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"are-we-alive/pkg/awa"
)

// Who holds an entry of the list (DESIGN.md, section 4): the agent with its uid, at its
// address, until that one is proven to be gone. An agent that wants the entry under
// another uid, or at another address, asks some others what they see there. What it
// sees itself counts only when none of them answers: its own name server may tell it
// that its own address is that of the entry.

const (
	// holderAsked is how many other agents are asked.
	holderAsked = 5
	// holderWithin is how long they may take: a sweep with a dead node in it takes up
	// to 2.2 s, and is repeated when an agent stood still meanwhile.
	holderWithin = 5 * time.Second
)

// sight is what one agent sees at an entry's address.
type sight struct {
	own   bool // it is this agent that looked
	alive bool // the entry's holder answers it
	mine  bool // this agent answers there
	// gone is for how long nobody has answered in the holder's name.
	gone time.Duration
}

// mustWait says why this agent must not take over an entry yet, if so.
func (r *Replica) mustWait(ctx context.Context, entry, want awa.Node) awa.Condition {
	need := r.cfg.Timing.Vacate
	if entry.UID == r.uid {
		need = r.cfg.Timing.Move
	}
	sights := r.sightsOf(ctx, entry)
	mine, gone, longest := 0, 0, time.Duration(0)
	for _, s := range sights {
		switch {
		case s.alive && entry.UID == r.uid:
			return r.copyOf(entry, want.Addr())
		case s.alive:
			return awa.Condition{Code: awa.Duplicate, Text: fmt.Sprintf("%s is the agent at %s, which answers, and this "+
				"agent, at %s, has the same name: stop one of them, start this one with another my_name, or have it take "+
				"the place of the other with --take-over", entry.Name, entry.Addr(), want.Addr())}
		case s.mine:
			mine++
		case s.gone >= need:
			gone++
		}
		longest = max(longest, s.gone)
	}
	// An only voter without an entry was given this list by an administrator's restore.
	voters := r.list.Meta().Voters.UIDs
	restored := entry.UID != r.uid && len(voters) == 1 && voters[0] == r.uid
	if 2*mine > len(sights) || 2*gone > len(sights) || entry.UID == "" || restored {
		return awa.Condition{}
	}
	if entry.UID == r.uid {
		return awa.Condition{Code: awa.NotReached, Text: fmt.Sprintf("the list has this agent at %s, and it is at %s now: "+
			"it registers there once most of the other agents have seen nobody at the old address for %v", entry.Addr(),
			want.Addr(), need)}
	}
	return awa.Condition{Code: awa.Unlisted, Text: fmt.Sprintf("%s is the agent at %s, which does not answer, and this "+
		"agent, at %s, waits to take its place: that is once it has been offline for %v, or at once with --take-over or after "+
		"awa-agent node remove %s", entry.Name, entry.Addr(), want.Addr(), need, entry.Name)}
}

// copyOf says that this agent runs on a copy of the data folder of another one.
func (r *Replica) copyOf(entry awa.Node, at string) awa.Condition {
	return awa.Condition{Code: awa.Duplicate, Text: copies(entry.Name, entry.Addr(), at+", this one")}
}

// sightsOf asks agents what they see at an entry's address.
func (r *Replica) sightsOf(ctx context.Context, entry awa.Node) []sight {
	ctx, cancel := context.WithTimeout(ctx, holderWithin)
	defer cancel()
	own := make(chan sight, 1)
	go func() { own <- r.ownSight(ctx, entry) }()
	sights := r.othersSights(ctx, entry)
	s := <-own
	if len(sights) == 0 || s.alive {
		sights = append(sights, s)
	}
	return sights
}

// othersSights asks some other agents at once, those that were online lately first.
func (r *Replica) othersSights(ctx context.Context, entry awa.Node) []sight {
	seen := r.cfg.Seen()
	var online, rest []awa.Node
	nodes := r.list.Nodes()
	for _, i := range rand.Perm(len(nodes)) {
		switch n := nodes[i]; {
		case n.UID == "" || n.UID == r.uid || n.ID == entry.ID:
		case seen[n.UID].Online:
			online = append(online, n)
		default:
			rest = append(rest, n)
		}
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	var sights []sight
	candidates := append(online, rest...)
	for _, n := range candidates[:min(len(candidates), holderAsked)] {
		addr, ok := r.addr(n.UID)
		if !ok {
			continue
		}
		all.Go(func() {
			st, err := r.cfg.Peers.ClusterStatus(ctx, addr, false, entry.Name)
			s, ok := r.sightIn(st, entry)
			if err != nil || !ok {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			sights = append(sights, s)
		})
	}
	all.Wait()
	return sights
}

// sightIn reads what an agent of the same list sees at an entry's address.
func (r *Replica) sightIn(st awa.ClusterStatus, entry awa.Node) (sight, bool) {
	if m := r.list.Meta(); st.Cluster != m.Cluster || st.History != m.History {
		return sight{}, false
	}
	for _, n := range st.Nodes {
		if n.Node.ID != entry.ID || n.Node.UID != entry.UID || n.Node.Addr() != entry.Addr() {
			continue
		}
		var s sight
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
	return sight{}, false
}

// ownSight is what this agent sees at an entry's address. It asks twice, since a lost
// packet must not make a living agent look dead.
func (r *Replica) ownSight(ctx context.Context, entry awa.Node) sight {
	for range 2 {
		self, err := r.ping(ctx, entry.Addr())
		if err != nil {
			continue
		}
		holder := self.UID == entry.UID || entry.UID == "" && awa.NameKey(self.Name) == entry.Key()
		switch {
		case self.Instance == r.cfg.Instance:
			return sight{own: true, mine: true}
		case holder:
			return sight{own: true, alive: true}
		}
		break
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.silentAddr != entry.Addr() {
		r.silentAddr, r.silentSince = entry.Addr(), time.Now()
	}
	return sight{own: true, gone: time.Since(r.silentSince)}
}
