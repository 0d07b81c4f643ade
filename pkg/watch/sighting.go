package watch

import (
	"maps"
	"slices"
	"time"

	"are-we-alive/pkg/awa"
)

// sighting is what is remembered of a node. Its times hold the monotonic
// clock too, so spans between them don't follow the wall clock's jumps.
type sighting struct {
	uid     string
	verdict awa.Verdict
	since   time.Time // the first time that it was seen so, or its agent's start; maybe before a restart
	held    time.Time // the same, but not before this start; zero when not seen since
	until   time.Time // the last time
	ping    time.Time // when the ping behind until began
	own     time.Time // when this agent's own last ping of it began; zero without one
	told    int       // how many others told what until was; 0 of an own ping
	stage   awa.Stage // where the last ping failed, and why
	text    string
	online  time.Time     // the last time that it was online, since this start
	self    *awa.Self     // its last answer as itself, to an own ping; nil without one
	rtt     time.Duration // of that
	opinion opinion       // of others, the last time that it was away

	instance, boot string       // of its last answer, maybe before a restart
	goodbye        *awa.Goodbye // what that instance said when it was stopped
	withheld       *awa.Event   // that it is away, while its agent may be restarting
	flaps          flaps
	kept           kept // what Memory has
}

// kept is what of a sighting makes it worth writing again.
type kept struct {
	since    time.Time
	instance string
	goodbye  *awa.Goodbye
}

func (g *sighting) keeps() kept { return kept{g.since, g.instance, g.goodbye} }

// Seen is how long a node has been continuously online or away.
type Seen struct {
	Online bool
	// For is the time between the first and the last sweep that saw it so. It
	// is 0 after the first one, and doesn't grow while nobody looks.
	For time.Duration
	// Self is the last answer it gave as itself, the zero Self when it never did.
	Self awa.Self
	// RTT is the time of that answer, from its request; 0 without one.
	RTT time.Duration
}

// Seen returns what sweeps saw of a node that has a uid. ok is false when no sweep has pinged
// it yet.
func (w *Watcher) Seen(n awa.Node) (seen Seen, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	g := w.sightings[n.ID]
	if g == nil || g.uid != n.UID || g.uid == "" || g.held.IsZero() {
		return Seen{}, false
	}
	seen = Seen{Online: g.verdict == awa.Online, For: g.until.Sub(g.held), RTT: g.rtt}
	if g.self != nil {
		seen.Self = *g.self
	}
	return seen, true
}

// knownOpinion returns what others have said lately of a node that was away
// then, for sweeps that don't want to ask again.
func (w *Watcher) knownOpinion(n awa.Node) (opinion, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	g := w.sightings[n.ID]
	if g == nil || g.uid != n.UID || g.opinion.asked == 0 || time.Since(g.opinion.at) > opinionLasts {
		return opinion{}, false
	}
	return g.opinion, true
}

// note remembers what a sweep saw, completes it with what was seen before, forgets the nodes
// that are gone from the list, and reports what changed.
func (w *Watcher) note(s *sweep) {
	var changes []change
	w.mu.Lock()
	for i := range s.out {
		st := &s.out[i]
		if st.Since.IsZero() || s.pings[i].IsZero() { // nothing was learned
			continue
		}
		g := w.sightings[st.Node.ID]
		if g == nil || g.uid != st.Node.UID {
			g = &sighting{uid: st.Node.UID}
			w.sightings[st.Node.ID] = g
		}
		changes = append(changes, g.update(st, s.pings[i], s.opinions[i])...)
		if w.cfg.Memory != nil && g.keeps() != g.kept {
			w.keep(st.Node.ID, g)
		}
	}
	if s.of.names == nil && len(w.sightings) > len(s.nodes) {
		maps.DeleteFunc(w.sightings, func(id uint64, g *sighting) bool {
			_, listed := s.index(id)
			gone := !listed && g.ping.Before(s.began) // else it is on a newer list
			if gone && w.cfg.Memory != nil {
				w.pending.forget(id)
			}
			return gone
		})
	}
	w.mu.Unlock()
	w.report(changes)
}

// keep has Memory get what is remembered of a node. The caller holds w.mu.
func (w *Watcher) keep(id uint64, g *sighting) {
	g.kept = g.keeps()
	w.pending.add(awa.Sighting{ID: id, UID: g.uid, Verdict: g.verdict, Since: g.since, Instance: g.instance, Boot: g.boot,
		Goodbye: g.goodbye})
}

// Goodbye takes in that the agent with a uid is being stopped. Of one that is not on the
// list, or that has not been pinged yet, it keeps nothing.
func (w *Watcher) Goodbye(uid, instance string, why awa.StopReason) {
	at := w.cfg.Clock()
	nodes := w.cfg.Nodes()
	i := slices.IndexFunc(nodes, func(n awa.Node) bool { return n.UID == uid && uid != "" })
	if i < 0 {
		return
	}
	n := nodes[i]
	w.mu.Lock()
	g := w.sightings[n.ID]
	if g == nil || g.uid != uid || g.goodbye != nil && (g.goodbye.Instance == instance || g.verdict != awa.Online) {
		w.mu.Unlock() // who has said it and is away has no more to say
		return
	}
	g.goodbye = &awa.Goodbye{At: at, Reason: why, Instance: instance}
	if w.cfg.Memory != nil {
		w.keep(n.ID, g)
	}
	w.mu.Unlock()
	w.report([]change{{status: &awa.NodeStatus{Node: n}, event: awa.Event{
		At: at, Kind: awa.EventStopped, NodeID: n.ID, Node: n.Name, Why: why.String(),
	}}})
}
