package watch

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"time"

	"are-we-alive/pkg/awa"
)

// extraPings is how many nodes beyond its share an agent pings in one background sweep.
const extraPings = awa.WatchShareSize / 2

// isShare reports whether the sweep leaves nodes to other agents.
func (s *sweep) isShare() bool { return s.of.share && len(s.nodes) > awa.WatchShareSize }

// index returns which node has an id.
func (s *sweep) index(id uint64) (i int, ok bool) {
	return slices.BinarySearchFunc(s.nodes, id, func(n awa.Node, id uint64) int { return cmp.Compare(n.ID, id) })
}

// runShare pings this agent's share of a long list, and what it has reason to look at
// itself: nodes that were away, that another agent does not see or finds a health code at, or
// that no agent watches which it has pinged. So every node is looked at by this agent or by
// one that it asks in the same sweep, and what another agent says of a node leads to a ping.
//
// When more nodes are missed than this agent may ping, it asks more agents instead; see tell.
func (s *sweep) runShare() {
	before := s.w.lastLooks(s.nodes)
	share := awa.WatchShareOf(s.ours.UID, len(s.nodes))
	always := map[string]bool{s.ours.UID: true}
	if s.w.cfg.Always != nil {
		for _, uid := range s.w.cfg.Always() {
			always[uid] = true
		}
	}
	mine := func(i int) bool { return share.Has(s.nodes[i].ID) || s.nodes[i].UID != "" && always[s.nodes[i].UID] }
	// Those that were away come later, so that they keep no news of others waiting.
	s.ping(s.indices(func(i int) bool { return mine(i) && !before[i].away() }))
	later := s.indices(func(i int) bool { return mine(i) && before[i].away() })
	s.ping(append(later, s.extra(mine, before, s.reports())...))
}

// look is what was known of a node before a sweep: a sighting, the zero one when nothing
// was.
type look struct {
	awa.NodeStatus
	own time.Time // when this agent's own last ping of it began
}

func (l look) away() bool { return l.Verdict != awa.Online && l.Verdict != "" }

// lastLooks returns what is known of nodes.
func (w *Watcher) lastLooks(nodes []awa.Node) []look {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := make([]look, len(nodes))
	for i, n := range nodes {
		if g := w.sightings[n.ID]; g != nil && g.uid == n.UID {
			all[i] = look{awa.NodeStatus{Verdict: g.verdict, Stage: g.stage, Error: g.text, Since: g.since, Told: g.told,
				Asked: g.opinion.asked, SeenBy: g.opinion.seenBy}, g.own}
			g.complete(&all[i].NodeStatus)
		}
	}
	return all
}

// report is how many of the agents that answered a sweep say what of a node, of those that
// look at it.
type report struct{ sees, misses, ails int }

// split reports whether they disagree.
func (r report) split() bool { return r.sees > 0 && r.misses > 0 }

// reports returns what the agents that answered say of each node. An agent that holds an
// older entry of a node than this one does not count.
func (s *sweep) reports() []report {
	all := make([]report, len(s.nodes))
	for p := range s.out {
		st := &s.out[p]
		if st.Verdict != awa.Online || st.Self == nil || st.Self.Sees == nil || st.Self.UID == s.ours.UID ||
			st.Self.Cluster != s.ours.Cluster || st.Self.History != s.ours.History {
			continue
		}
		share, toldAll := awa.WatchShareOf(st.Self.UID, len(s.nodes)), len(st.Self.Sees) < awa.MaxSees
		looks := func(n *awa.Node) bool { return toldAll && share.Has(n.ID) && n.Changed <= st.Self.State }
		for i := range s.nodes {
			if looks(&s.nodes[i]) {
				all[i].sees++
			}
		}
		for _, id := range st.Self.Sees {
			if i, ok := s.index(id); ok {
				all[i].misses++
				if looks(&s.nodes[i]) {
					all[i].sees--
				}
			}
		}
		for _, id := range st.Self.Ailing {
			if i, ok := s.index(id); ok {
				all[i].ails++
			}
		}
	}
	return all
}

// extra returns the nodes beyond its share that this agent pings, at most extraPings: those
// that are news, those that nobody looks at whom it has asked, and those that were away or are
// ailing, of each kind those first that it has not pinged for the longest time. The last ones
// have a fifth of the pings at least.
//
// When more nodes are missed than that, they are agents to ask instead, as far as those that have
// answered are not enough.
func (s *sweep) extra(mine func(i int) bool, before []look, reports []report) []int {
	var news, unwatched, rest, others []int
	for i := range s.nodes {
		switch {
		case mine(i):
		case reports[i].misses > 0 && !before[i].away():
			news = append(news, i)
		case before[i].away() || reports[i].ails > 0:
			rest = append(rest, i)
		case reports[i].sees == 0:
			unwatched = append(unwatched, i)
		case s.nodes[i].UID != "":
			others = append(others, i)
		}
	}
	if len(news) > extraPings {
		rand.Shuffle(len(others), func(i, j int) { others[i], others[j] = others[j], others[i] })
		return others[:min(len(others), extraPings, max(0, s.enough()-s.answered()))]
	}
	oldest := func(i, j int) int { return before[i].own.Compare(before[j].own) }
	slices.SortFunc(unwatched, oldest)
	slices.SortFunc(rest, oldest)
	first := min(len(unwatched), extraPings*4/5)
	all := slices.Concat(news, unwatched[:first], rest, unwatched[first:])
	return all[:min(len(all), extraPings)]
}

// witnesses is how many agents that look at a node are to be asked of it, on average.
const witnesses = 8

// enough is how many agents have looked at each node of the list, on average, that often.
func (s *sweep) enough() int { return witnesses * len(s.nodes) / awa.WatchShareSize }

// answered is how many agents have answered the sweep.
func (s *sweep) answered() int {
	return len(s.indices(func(i int) bool { return s.out[i].Verdict == awa.Online && s.out[i].Self != nil }))
}

// believed is how many agents must miss a node that this one did not ping: one alone may be
// wrong, or lie.
const believed = 2

// tell fills in what other agents say of the nodes that this one did not ping. Where all of
// those that look at a node miss it, it is offline: each of them has pinged it and asked
// others. Where they disagree, or nobody looks, nothing has changed.
func (s *sweep) tell() {
	before, reports := s.w.lastLooks(s.nodes), s.reports()
	now := s.w.cfg.Clock()
	for i := range s.nodes {
		if !s.pings[i].IsZero() {
			continue
		}
		b, r := before[i], reports[i]
		st := &s.out[i]
		switch {
		case r.split(), b.away() && b.Told == 0, r.sees == 0 && r.misses < believed:
			*st = b.NodeStatus
		case r.sees > 0:
			*st, s.pings[i] = awa.NodeStatus{Verdict: awa.Online, Since: now, Told: r.sees}, s.began
		default:
			*st, s.pings[i] = awa.NodeStatus{Verdict: awa.Offline, Since: now, Told: r.misses}, s.began
		}
		st.Node = s.nodes[i]
	}
}

// known are the nodes of which anything is known.
func (s *sweep) known() []awa.NodeStatus {
	if !s.isShare() {
		return s.out
	}
	// Not in place: what stands beside it has the same indices.
	return slices.DeleteFunc(slices.Clone(s.out), func(st awa.NodeStatus) bool { return st.Verdict == "" })
}

// pinged is how many nodes this agent pinged itself.
func (s *sweep) pinged() int {
	return len(s.indices(func(i int) bool { return s.out[i].Told == 0 && !s.pings[i].IsZero() }))
}
