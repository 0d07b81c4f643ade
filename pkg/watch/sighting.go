package watch

import (
	"context"
	"log/slog"
	"maps"
	"strings"
	"time"

	"are-we-alive/pkg/awa"
)

// sighting is what is remembered of a node. Its times hold the monotonic
// clock too, so spans between them don't follow the wall clock's jumps.
type sighting struct {
	uid     string
	verdict awa.Verdict
	since   time.Time // the first time that it was seen so, maybe before a restart
	held    time.Time // the same, but not before this start; zero when not seen since
	until   time.Time // the last time
	ping    time.Time // when the ping behind until began
	self    awa.Self  // its last answer as itself
	opinion opinion   // of others, the last time that it was away
	kept    time.Time // the since that Memory has
}

// Seen is how long a node has been continuously online or away.
type Seen struct {
	Online bool
	// For is the time between the first and the last sweep that saw it so. It
	// is 0 after the first one, and doesn't grow while nobody looks.
	For time.Duration
	// Self is the last answer it gave as itself, the zero Self when it never did.
	Self awa.Self
}

// Seen returns what sweeps saw of each node that has a uid, by uid. It
// leaves out nodes that no sweep has pinged yet.
func (w *Watcher) Seen() map[string]Seen {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := make(map[string]Seen, len(w.sightings))
	for _, g := range w.sightings {
		if g.uid != "" && !g.held.IsZero() {
			all[g.uid] = Seen{Online: g.verdict == awa.Online, For: g.until.Sub(g.held), Self: g.self}
		}
	}
	return all
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

// verdictChange is a verdict that differs from the one before it.
type verdictChange struct {
	status *awa.NodeStatus
	after  time.Duration // how long the other verdict held; 0 when there was none
}

// note remembers what a sweep saw, fills in Since, forgets the nodes that are
// gone from the list, and logs what changed.
func (w *Watcher) note(s *sweep) {
	var changes []verdictChange
	whole := s.of.names == nil
	w.mu.Lock()
	for i := range s.out {
		st := &s.out[i]
		if st.Since.IsZero() { // nothing was learned
			whole = false
			continue
		}
		g := w.sightings[st.Node.ID]
		if g == nil || g.uid != st.Node.UID {
			g = &sighting{uid: st.Node.UID}
			w.sightings[st.Node.ID] = g
		}
		if c, changed := g.update(st, s.pings[i], s.opinions[i]); changed {
			changes = append(changes, c)
		}
		if w.cfg.Memory != nil && g.since != g.kept {
			g.kept = g.since
			w.pending.add(awa.Sighting{ID: st.Node.ID, UID: g.uid, Verdict: g.verdict, Since: g.since})
		}
	}
	if whole && len(w.sightings) > len(s.out) {
		// What was not pinged since this sweep read the list is not on it.
		maps.DeleteFunc(w.sightings, func(id uint64, g *sighting) bool {
			gone := g.ping.Before(s.began)
			if gone && w.cfg.Memory != nil {
				w.pending.forget(id)
			}
			return gone
		})
	}
	w.mu.Unlock()
	for _, c := range changes {
		w.log(c)
	}
}

// update takes in one status of the node, whose ping began then, and sets its
// Since. It reports whether that changed the verdict, or was the first one and
// is worth a line in the log.
func (g *sighting) update(st *awa.NodeStatus, ping time.Time, o opinion) (verdictChange, bool) {
	if ping.Before(g.ping) { // another sweep was newer
		if st.Since = g.since; st.Verdict != g.verdict {
			st.Since = time.Time{}
		}
		return verdictChange{}, false
	}
	g.ping, g.until, g.opinion = ping, st.Since, o
	if st.Verdict == awa.Online {
		g.self = *st.Self
	}
	if g.held.IsZero() {
		g.held = st.Since
	}
	if st.Verdict == g.verdict {
		st.Since = g.since
		return verdictChange{}, false
	}
	first := g.verdict == ""
	c := verdictChange{status: st}
	if !first {
		c.after = st.Since.Sub(g.since)
	}
	g.verdict, g.since, g.held = st.Verdict, st.Since, st.Since
	return c, !first || st.Verdict != awa.Online
}

func (w *Watcher) log(c verdictChange) {
	st := c.status
	level, message := slog.LevelWarn, ""
	switch st.Verdict {
	case awa.Online:
		level, message = slog.LevelInfo, "node is back online"
	case awa.Mismatch:
		message = "somebody else answers in place of the node"
	case awa.Unreachable:
		message = "node does not answer this agent, but others"
	default:
		message = "node is offline"
	}
	attrs := []slog.Attr{slog.String("node", st.Node.Name), slog.String("addr", st.Node.Addr())}
	if st.Verdict != awa.Online {
		attrs = append(attrs, slog.String("stage", string(st.Stage)), slog.String("error", st.Error))
	}
	if st.Asked > 0 {
		attrs = append(attrs, slog.Int("others_asked", st.Asked))
	}
	if len(st.SeenBy) > 0 {
		attrs = append(attrs, slog.String("seen_by", strings.Join(st.SeenBy, ", ")))
	}
	if c.after > 0 {
		attrs = append(attrs, slog.Duration("after", c.after.Round(time.Millisecond)))
	}
	w.cfg.Log.LogAttrs(context.Background(), level, message, attrs...)
}
