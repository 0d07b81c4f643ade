package events

import (
	"time"

	"are-we-alive/pkg/awa"
)

// Tally sums up for how long each node was online, and for how long it was watched, out of
// events in their order. Times are those at which events were seen, so a clock that was set
// makes them wrong by as much.
type Tally struct {
	now     time.Time
	recent  time.Time // from when on spans are kept
	nodes   map[uint64]*line
	watched time.Time // since when this agent watches without a break, as far as is known
}

// line is what is known of one node up to some event.
type line struct {
	shares   [len(awa.ShareSpans)]awa.Share
	spans    []awa.Span  // since Tally.recent
	verdict  awa.Verdict // "" is not known
	from     time.Time   // since when it is
	flapping bool        // the event at its end says for how long it was away
}

// NewTally makes a Tally that sums up to now.
func NewTally(now time.Time) *Tally { return &Tally{now: now, recent: now, nodes: map[uint64]*line{}} }

// Add takes in the next event.
func (t *Tally) Add(e awa.Event) {
	switch {
	case e.Kind == awa.EventWatching:
		for _, l := range t.nodes {
			t.end(l, e.At.Add(-time.Duration(e.Lasted)), 0)
			if l.from = e.At; l.flapping {
				l.verdict, l.flapping = "", false
			}
		}
		t.watched = e.At
		return
	case e.NodeID == 0 || e.Verdict == "" && e.Kind != awa.EventRemoved:
		return
	}
	l := t.nodes[e.NodeID]
	if l == nil {
		l = &line{}
		t.nodes[e.NodeID] = l
	}
	if l.verdict == "" && e.Before != "" {
		l.verdict, l.from = e.Before, later(e.At.Add(-time.Duration(e.Lasted)), t.watched)
	}
	t.end(l, e.At, time.Duration(e.Away))
	if e.Kind == awa.EventRemoved {
		delete(t.nodes, e.NodeID)
		return
	}
	l.verdict, l.from, l.flapping = e.Verdict, e.At, e.Kind == awa.EventFlapping
}

// end adds the time up to a moment, of which the node was away for some.
func (t *Tally) end(l *line, to time.Time, away time.Duration) {
	if l.verdict == "" || !to.After(l.from) {
		return
	}
	verdict := l.verdict
	if l.flapping {
		verdict = awa.Online
	}
	if away = min(away, to.Sub(l.from)); verdict == awa.Online && away > 0 {
		t.add(l, awa.Span{From: l.from, To: to.Add(-away), Verdict: awa.Online})
		t.add(l, awa.Span{From: to.Add(-away), To: to, Verdict: awa.Offline})
		return
	}
	t.add(l, awa.Span{From: l.from, To: to, Verdict: verdict})
}

// add adds a span.
func (t *Tally) add(l *line, s awa.Span) {
	if s.To.After(t.recent) {
		l.keep(awa.Span{From: later(s.From, t.recent), To: s.To, Verdict: s.Verdict})
	}
	for i, span := range awa.ShareSpans {
		d := awa.Seconds(max(0, s.To.Sub(later(s.From, t.now.Add(-span)))))
		l.shares[i].Watched += d
		if s.Verdict == awa.Online {
			l.shares[i].Online += d
		}
	}
}

// maxSpans bounds what is kept of one node. Of more the earliest are dropped.
const maxSpans = 200

// keep adds a span to those that are kept, or makes the last of them longer.
func (l *line) keep(s awa.Span) {
	if last := len(l.spans) - 1; last >= 0 && l.spans[last].Verdict == s.Verdict && l.spans[last].To.Equal(s.From) {
		l.spans[last].To = s.To
		return
	}
	if l.spans = append(l.spans, s); len(l.spans) > maxSpans {
		l.spans = l.spans[1:]
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// Shares returns the shares of nodes, given how they are now. What a node did while it is
// flapping counts once it has settled.
func (t *Tally) Shares(current []awa.NodeStatus) []awa.NodeShare {
	all := make([]awa.NodeShare, 0, len(current))
	for _, n := range current {
		all = append(all, awa.NodeShare{ID: n.Node.ID, Name: n.Node.Name, Shares: t.closed(n).shares})
	}
	return all
}

// closed returns the line of a node up to now, given how it is.
func (t *Tally) closed(n awa.NodeStatus) *line {
	l := t.nodes[n.Node.ID]
	if l == nil {
		l = &line{}
	}
	if l.verdict == "" && !n.Since.IsZero() && n.Flapping == 0 {
		l.verdict, l.from = n.Verdict, later(n.Since, t.watched)
	}
	if !l.flapping {
		t.end(l, t.now, 0)
	}
	return l
}
