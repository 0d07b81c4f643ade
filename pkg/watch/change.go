package watch

import (
	"fmt"
	"time"

	"are-we-alive/pkg/awa"
)

// What counts as flapping.
const (
	// flapWindow and flapMost: more than so many changes in that time are.
	flapWindow = 10 * time.Minute
	flapMost   = 5
	// flapSettled is how long a verdict must stand for the end of it.
	flapSettled = 5 * time.Minute
)

// flaps are the last changes of a node.
type flaps struct {
	changes []time.Time // in flapWindow before the last one, awa.MaxFlapping at most
	since   time.Time   // of the flapping; zero when it is not
	away    time.Duration
}

// add counts a change, and returns how many there were in the window.
func (f *flaps) add(at time.Time) int {
	old := 0
	for old < len(f.changes) && (at.Sub(f.changes[old]) > flapWindow || len(f.changes)-old >= awa.MaxFlapping) {
		old++
	}
	f.changes = append(f.changes[:0], f.changes[old:]...)
	f.changes = append(f.changes, at)
	return len(f.changes)
}

func (f *flaps) flapping() bool { return !f.since.IsZero() }

// settled reports whether the last change was long enough ago.
func (f *flaps) settled(at time.Time) bool {
	return f.flapping() && at.Sub(f.changes[len(f.changes)-1]) >= flapSettled
}

// change is something that a sweep found to be different from before.
type change struct {
	status *awa.NodeStatus
	event  awa.Event // without a Kind: nobody is alarmed, since the agent is being restarted
	logged bool      // it is for the log alone, since the node is flapping
}

// update takes in one status of the node, whose ping began then, and completes it. It
// returns what changed.
func (g *sighting) update(st *awa.NodeStatus, ping time.Time, o opinion) []change {
	defer g.complete(st)
	if ping.Before(g.ping) { // another sweep was newer
		if st.Since = g.since; st.Verdict != g.verdict {
			st.Since = time.Time{}
		}
		return nil
	}
	at := st.Since
	before := *g
	g.ping, g.until, g.opinion, g.told = ping, at, o, st.Told
	g.stage, g.text = st.Stage, st.Error
	if g.told == 0 {
		g.own = ping
	}
	if g.held.IsZero() {
		g.held = at
	}
	began, again := at, awa.EventKind("")
	if st.Verdict == awa.Online && st.Self != nil {
		g.rtt = st.RTT
		began, again = g.answered(st.Self, at)
	}
	switch {
	case st.Verdict != g.verdict:
		g.verdict, g.since, g.held = st.Verdict, at, at
	case again != "":
		g.since = began
	}
	st.Since = g.since
	return g.changes(before, st, at, again)
}

// complete fills in what the status of a node has from earlier sweeps.
func (g *sighting) complete(st *awa.NodeStatus) {
	if g.flaps.flapping() {
		st.Flapping = len(g.flaps.changes)
	}
	if st.Verdict == awa.Offline || st.Verdict == awa.Unreachable {
		st.Goodbye = g.goodbye
	}
}

// answered takes in the answer of a node. It returns whether its agent, or its machine, was
// started again since the answer before, and when: not before that answer, and else now.
func (g *sighting) answered(self *awa.Self, at time.Time) (began time.Time, again awa.EventKind) {
	began = at
	if g.instance != "" && self.Instance != "" && self.Instance != g.instance {
		again = awa.EventRestarted
		if g.boot != "" && self.Boot != "" && self.Boot != g.boot {
			again = awa.EventRebooted
		}
	}
	if again != "" {
		// By its own clock alone, since ours may differ.
		if up := time.Duration(self.Time-self.Started) * time.Second; self.Started > 0 && up > 0 {
			began = at.Add(-up)
		}
		if began.Before(g.online) {
			began = g.online
		}
	}
	if g.goodbye != nil && g.goodbye.Instance != self.Instance {
		g.goodbye = nil
	}
	g.self, g.instance, g.boot, g.online = self, self.Instance, self.Boot, at
	return began, again
}

// changes are what there is to report after an update of what was before.
func (g *sighting) changes(before sighting, st *awa.NodeStatus, at time.Time, again awa.EventKind) []change {
	e := awa.Event{At: at, Kind: awa.EventKind(st.Verdict), NodeID: st.Node.ID, Node: st.Node.Name, Verdict: st.Verdict,
		Before: before.verdict, Why: g.why(st, again), SeenBy: st.SeenBy}
	if before.verdict != "" {
		e.Lasted = awa.Seconds(max(0, at.Sub(before.since)))
	}
	if again != "" {
		e.Kind = again
	}
	changed := before.verdict != st.Verdict
	switch {
	case !changed && again == "":
		return g.unchanged(st, at)
	case before.verdict == "":
		return []change{{status: st, event: e}}
	case before.withheld != nil && again != "":
		e.Before, e.Away = awa.Online, awa.Seconds(at.Sub(before.withheld.At))
		e.Lasted = before.withheld.Lasted
		g.withheld = nil
	case before.withheld != nil: // it was away, and not restarted
		g.withheld = nil
		return append([]change{{status: st, event: *before.withheld}}, g.count(before, st, e)...)
	case again != "" && !changed && !before.online.IsZero():
		e.Away = awa.Seconds(max(0, g.since.Sub(before.online)))
	case changed && before.verdict == awa.Online && g.goodbye.Restarting(at):
		g.withheld = &e
		return []change{{status: st}}
	}
	return g.count(before, st, e)
}

// count makes an event of a change. While the node is flapping, it is for the log alone.
func (g *sighting) count(before sighting, st *awa.NodeStatus, e awa.Event) []change {
	n := g.flaps.add(e.At)
	if g.flaps.flapping() {
		g.flaps.away += time.Duration(e.Away)
		if before.verdict != awa.Online {
			g.flaps.away += time.Duration(e.Lasted)
		}
		return []change{{st, e, true}}
	}
	if n <= flapMost {
		return []change{{status: st, event: e}}
	}
	all := []change{{st, e, true}}
	g.flaps.since = e.At
	e.Kind = awa.EventFlapping
	last := string(e.Verdict)
	if e.Why != "" {
		last += ": " + e.Why
	}
	e.Why = fmt.Sprintf("%d changes in %d minutes, the last to %s", n, int(flapWindow.Minutes()), last)
	return append(all, change{status: st, event: e})
}

// unchanged is what there is to report of a node that is as it was.
func (g *sighting) unchanged(st *awa.NodeStatus, at time.Time) []change {
	switch {
	case g.withheld != nil && !g.goodbye.Restarting(at):
		e := *g.withheld
		g.withheld = nil
		return g.count(sighting{verdict: e.Before}, st, e)
	case g.flaps.settled(at):
		e := awa.Event{At: at, Kind: awa.EventSettled, NodeID: st.Node.ID, Node: st.Node.Name, Verdict: st.Verdict,
			Lasted: awa.Seconds(at.Sub(g.flaps.since)), Away: awa.Seconds(g.flaps.away)}
		stood := at.Sub(g.flaps.changes[len(g.flaps.changes)-1])
		if st.Verdict != awa.Online {
			e.Away += awa.Seconds(stood)
		}
		e.Why = fmt.Sprintf("%s for %s", st.Verdict, stood.Round(time.Second))
		g.flaps = flaps{}
		return []change{{status: st, event: e}}
	}
	return nil
}

// why are the words for a status, for whoever reads of it later.
func (g *sighting) why(st *awa.NodeStatus, again awa.EventKind) string {
	if st.Verdict == awa.Online {
		switch again {
		case awa.EventRestarted:
			return "its agent was restarted"
		case awa.EventRebooted:
			return "its machine was rebooted"
		}
		return ""
	}
	failure := st.Failure()
	if g.goodbye != nil && st.Verdict == awa.Offline {
		failure = g.goodbye.Text("")
	}
	return st.Reason(failure)
}

// report logs changes, and passes on the events among them.
func (w *Watcher) report(changes []change) {
	w.log(changes)
	var events []awa.Event
	for _, c := range changes {
		if c.event.Kind != "" && !c.logged {
			events = append(events, c.event)
		}
	}
	if len(events) > 0 && w.cfg.Events != nil {
		w.cfg.Events(events)
	}
}
