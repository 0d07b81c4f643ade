package watch

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"are-we-alive/pkg/awa"
)

const (
	// asked is how many other agents are asked for a second opinion.
	asked = 3
	// opinionLasts is for how long background sweeps take a second opinion
	// of a node that stays away for granted. Were they to ask at each sweep, a
	// dead node would cost every agent several times the pings of a live one.
	opinionLasts = 30 * time.Second
)

// Prober asks other agents to ping nodes. It is called from many goroutines at
// once.
type Prober interface {
	// Probe asks the agent at addr, a host:port, for its own pings of nodes, by
	// their ids, within a time. It returns soon after ctx ends. A node that
	// the agent learned nothing of is left out.
	Probe(ctx context.Context, addr string, ids []uint64, within time.Duration) ([]awa.Opinion, error)
}

// opinion is what other agents said of a node that did not answer us.
type opinion struct {
	asked  int      // how many said anything
	seenBy []string // names of those that it answered, sorted
	at     time.Time
}

// conclude joins our own ping of a node that failed with the second opinion.
func conclude(own awa.Verdict, o opinion) awa.Verdict {
	if len(o.seenBy) > 0 {
		return awa.Unreachable
	}
	return own
}

// Probe pings nodes for another agent that got no answer from them. It returns
// this agent's own view within the given time (0: Config.PingTimeout), asks nobody
// further, and changes nothing of what is remembered. Ids that are not on the
// list, and nodes that nothing was learned of, are left out.
func (w *Watcher) Probe(ctx context.Context, ids []uint64, within time.Duration) []awa.Opinion {
	if within <= 0 {
		within = w.cfg.PingTimeout
	}
	ends := time.Now().Add(within)
	wait, cancel := context.WithDeadline(ctx, ends)
	defer cancel()
	select {
	case w.probes <- struct{}{}:
		defer func() { <-w.probes }()
	case <-wait.Done():
		return []awa.Opinion{}
	}
	s := newSweep(ctx, w)
	s.ends = ends
	s.only(idsOf(s.nodes, ids))
	s.run()
	all := make([]awa.Opinion, 0, len(s.out))
	for _, st := range s.out {
		if !st.Since.IsZero() {
			all = append(all, awa.Opinion{ID: st.Node.ID, Verdict: st.Verdict, Stage: st.Stage, Error: st.Error, RTT: st.RTT})
		}
	}
	return all
}

// idsOf returns a function that reports whether a node has one of some ids. A caller
// may name more ids than there are nodes.
func idsOf(nodes []awa.Node, ids []uint64) func(awa.Node) bool {
	wanted := make(map[uint64]bool, min(len(ids), len(nodes)))
	for _, n := range nodes {
		wanted[n.ID] = false
	}
	for _, id := range ids {
		if _, listed := wanted[id]; listed {
			wanted[id] = true
		}
	}
	return func(n awa.Node) bool { return wanted[n.ID] }
}

// askOthers gets second opinions of the nodes that failed, and makes them part
// of the sweep's verdicts.
func (s *sweep) askOthers() {
	var ids []uint64 // to ask for
	opinions := map[uint64]opinion{}
	for _, st := range s.out {
		if st.Verdict == awa.Online || st.Since.IsZero() {
			continue
		}
		if s.of.known != nil {
			if o, ok := s.of.known(st.Node); ok {
				opinions[st.Node.ID] = o
				continue
			}
		}
		ids = append(ids, st.Node.ID)
	}
	s.gather(ids, opinions)
	for i := range s.out {
		st := &s.out[i]
		if o, ok := opinions[st.Node.ID]; ok {
			st.Verdict, st.Asked, st.SeenBy = conclude(st.Verdict, o), o.asked, o.seenBy
			s.opinions[i] = o
		}
	}
}

// gather asks some agents for their opinions of nodes, all at once.
func (s *sweep) gather(ids []uint64, to map[uint64]opinion) {
	others := s.others()
	if len(ids) == 0 || len(others) == 0 {
		return
	}
	// A little is left for the way there and back.
	within := s.timeLeft()
	ctx, cancel := context.WithTimeout(s.ctx, within)
	defer cancel()
	within -= within / 12
	answers, errs := make([][]awa.Opinion, len(others)), make([]error, len(others))
	var all sync.WaitGroup
	for i, n := range others {
		all.Go(func() {
			answers[i], errs[i] = s.w.cfg.Prober.Probe(ctx, n.Addr(), ids, within) // who does not answer has no opinion
		})
	}
	all.Wait()
	s.unasked(errs)
	for i, answer := range answers {
		wanted := make(map[uint64]bool, len(ids))
		for _, id := range ids {
			wanted[id] = true
		}
		for _, o := range answer {
			if wanted[o.ID] {
				delete(wanted, o.ID) // one voice each
				to[o.ID] = to[o.ID].with(others[i].Name, o.Verdict == awa.Online)
			}
		}
	}
}

// unasked notes that this agent could ask nobody for what it lacks: then a node
// that is merely cut off from it would seem dead.
func (s *sweep) unasked(errs []error) {
	for _, err := range errs {
		if !errors.Is(err, awa.ErrShortage) {
			return
		}
	}
	s.lacks(errs[0])
}

// with adds one agent's opinion.
func (o opinion) with(name string, online bool) opinion {
	o.asked++
	o.at = time.Now()
	if online {
		o.seenBy = append(o.seenBy, name)
		slices.Sort(o.seenBy)
	}
	return o
}

// timeLeft is what remains for second opinions: a whole sweep takes 2.2 times
// the time of a ping. It is never less than half a ping, in which a second
// attempt has its place too: only a list so long that its own pings took 1.7
// times one makes a sweep longer.
func (s *sweep) timeLeft() time.Duration {
	timeout := s.w.cfg.PingTimeout
	left := max(timeout*22/10-time.Since(s.began), timeout/2)
	if !s.due.IsZero() {
		left = min(left, time.Until(s.due))
	}
	return left
}

// others picks the agents to ask: some of those that have just answered, and
// hold the same list.
func (s *sweep) others() []awa.Node {
	if s.w.cfg.Prober == nil {
		return nil
	}
	var all []awa.Node
	for _, st := range s.everyone() {
		if st.Verdict == awa.Online && st.Self != nil && st.Self.UID != s.ours.UID && st.Self.Cluster == s.ours.Cluster &&
			st.Self.History == s.ours.History {
			all = append(all, st.Node)
		}
	}
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:min(len(all), asked)]
}
