package watch

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"are-we-alive/pkg/awa"
)

// scope says what a sweep is about. The zero scope is every node, and no
// opinion known from before.
type scope struct {
	// known returns opinions that need not be asked for again; nil has none.
	known func(awa.Node) (opinion, bool)
	// names, by awa.NameKey, are those of the nodes to ping; nil is all.
	names map[string]bool
	// before is what was seen of all nodes before, when names are given.
	before []awa.NodeStatus
	// within, when not 0, is the time in which the sweep must be over: it begins no ping
	// that could take longer.
	within time.Duration
	// share has the sweep leave most nodes of a long list to other agents, see runShare.
	share bool
}

// limit leaves the nodes of a scope to the sweep.
func (s *sweep) limit(of scope) {
	if of.within > 0 {
		timeout := s.w.cfg.PingTimeout
		forPings := of.within - min(timeout/2, of.within/4) // the rest is for second opinions
		s.due, s.ends = s.began.Add(of.within), s.began.Add(forPings)
		s.last = s.began.Add(max(forPings/4, forPings-timeout))
	}
	if s.of = of; of.names != nil {
		s.only(func(n awa.Node) bool { return of.names[n.Key()] })
	}
}

// only leaves some nodes to the sweep.
func (s *sweep) only(wanted func(awa.Node) bool) {
	s.setNodes(slices.DeleteFunc(slices.Clone(s.nodes), func(n awa.Node) bool { return !wanted(n) }))
}

// everyone is what the sweep saw, and of the nodes that it left out what was seen of
// them before.
func (s *sweep) everyone() []awa.NodeStatus {
	if s.of.names == nil {
		return s.out
	}
	return Merge(s.of.before, s.out)
}

// Merge returns the nodes seen before, with what was seen of some of them since in its
// place. Both are by node id, and so is what it returns.
func Merge(before, since []awa.NodeStatus) []awa.NodeStatus {
	all := make([]awa.NodeStatus, 0, len(before)+len(since))
	for _, n := range before {
		for len(since) > 0 && since[0].Node.ID < n.Node.ID {
			all, since = append(all, since[0]), since[1:]
		}
		if len(since) == 0 || since[0].Node.ID > n.Node.ID {
			all = append(all, n)
		}
	}
	return append(all, since...)
}

// Some is Shared for the nodes of some names alone, by whatever case, as far as the
// list has them. It costs their pings, and when one of them fails a request to some
// of the agents that were online when Run looked last. It is Shared when none of those
// answers, before Run has looked, and while maxProbes others are under way.
func (w *Watcher) Some(state uint64, names []string) Result {
	wanted := map[string]bool{}
	for _, name := range names {
		wanted[awa.NameKey(name)] = true
	}
	if last := w.Last(); !last.At.IsZero() {
		key := strconv.FormatUint(state, 10) + " " + strings.Join(names, " ")
		v, _, _ := w.shared.Do(key, func() (any, error) {
			select {
			case w.probes <- struct{}{}:
				defer func() { <-w.probes }()
			default: // so many at once cost more than a sweep that they share
				return Result{}, nil
			}
			return w.sweepAndNote(context.Background(), scope{names: wanted, before: last.Nodes}), nil
		})
		if l := v.(Result); !l.At.IsZero() && !l.lonely() {
			return l
		}
	}
	return w.Shared(state, 0)
}

// lonely reports whether a node failed of which no other agent said anything.
func (l Result) lonely() bool {
	return slices.ContainsFunc(l.Nodes, func(n awa.NodeStatus) bool { return n.Verdict != awa.Online && n.Asked == 0 })
}

// excuseSelf makes this agent online for itself, since it is running. Where it can't
// reach the address of its own entry, as behind a NAT that does not lead back in, that
// stays as a note in Stage and Error. An answer of another agent there is no silence.
func (s *sweep) excuseSelf() {
	for i := range s.out {
		st := &s.out[i]
		if st.Node.UID == s.ours.UID && st.Node.UID != "" && st.Verdict == awa.Offline && !st.Since.IsZero() {
			st.Verdict, st.Self = awa.Online, &s.ours
		}
	}
}
