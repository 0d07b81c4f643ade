// Package events keeps what happened to the nodes of a cluster, as one agent saw it, and
// sums up for which share of the time each of them was online.
//
// It owns when events are written and how many are kept. What happened is found by others,
// who call Log.Add; where it is kept is a Store. Nothing of it goes through Raft, and no
// agent sends its events to another one.
//
// # Invariants
//
//   - Log.Add never waits: not for a disk, and not for a reader. An event is on the disk a
//     second later: a crash loses those of its last second.
//   - What can't be written, since the disk is full, waits in memory for a time when it can.
//     Of more than MaxPending events the newest are lost, and their number is logged.
//   - There are at most Most events, and none older than Oldest.
//   - The ids of events count up without gaps, also over restarts. An event whose writing
//     ended with an error may get a place behind later ones, and never two.
//   - Time in which no agent watched is not counted in a share (see Tally).
package events

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"are-we-alive/pkg/awa"
)

// The bounds of what is kept.
const (
	Most   = 100_000
	Oldest = 90 * 24 * time.Hour
	// MaxPending is how many events may wait to be written.
	MaxPending = 10_000
)

const (
	// markEvery is how often it is written that this agent still watches.
	markEvery = time.Minute
	// gather is how long the first of some events waits for others, so that they share a
	// write: a list that grows by a thousand nodes is not a thousand of them.
	gather = time.Second
)

// Store keeps events.
type Store interface {
	// AppendEvents keeps events with the next ids, at most so many in all, and none from
	// before a time.
	AppendEvents(all []awa.Event, most int, oldest time.Time) error
	// Events returns the events that a query wants, as far as one call looks.
	Events(awa.EventQuery) (awa.EventSet, error)
	// KeepWatched keeps until when this agent has watched, Watched returns that.
	KeepWatched(until time.Time) error
	Watched() (time.Time, error)
}

// Log keeps the events of one agent. It is safe for concurrent use.
type Log struct {
	store Store
	clock func() time.Time
	log   *slog.Logger
	news  chan struct{} // holds a token when there are events to write

	mu      sync.Mutex
	pending []awa.Event
	lost    int // since the last line about it
}

// New makes a Log, which writes nothing before Run.
func New(store Store, clock func() time.Time, log *slog.Logger) *Log {
	return &Log{store: store, clock: clock, log: log, news: make(chan struct{}, 1)}
}

// Add keeps events. It returns at once.
func (l *Log) Add(all ...awa.Event) {
	if len(all) == 0 {
		return
	}
	l.mu.Lock()
	room := min(len(all), MaxPending-len(l.pending))
	l.pending = append(l.pending, all[:room]...)
	l.lost += len(all) - room
	l.mu.Unlock()
	select {
	case l.news <- struct{}{}:
	default:
	}
}

// Begin adds the event that the agent of a node watches again, since when it has not.
func (l *Log) Begin(node awa.Node) {
	now := l.clock()
	e := awa.Event{At: now, Kind: awa.EventWatching, NodeID: node.ID, Node: node.Name}
	until, err := l.store.Watched()
	switch {
	case err != nil:
		l.log.Warn("it can't be read until when this agent has watched the others", "error", err)
	case until.IsZero():
		e.Why = "for the first time"
	default:
		e.Lasted = awa.Seconds(max(0, now.Sub(until)))
		e.Why = "again: what happened meanwhile was not seen"
	}
	l.Add(e)
}

// Run writes what was added until ctx ends, and then what is left. It returns nil.
func (l *Log) Run(ctx context.Context) error {
	tick := time.NewTicker(markEvery)
	defer tick.Stop()
	failing := false
	for {
		mark := false
		select {
		case <-l.news:
			select {
			case <-time.After(gather):
			case <-ctx.Done():
			}
		case <-tick.C:
			mark = true
		case <-ctx.Done():
		}
		end := ctx.Err() != nil
		err := l.flush()
		if err == nil && (mark || end) {
			err = l.store.KeepWatched(l.clock())
		}
		switch {
		case err != nil && !failing:
			l.log.Warn("events can't be kept, and wait in memory", "error", err)
		case err == nil && failing:
			l.log.Info("events can be kept again", "lost", l.takeLost())
		}
		if failing = err != nil; end {
			return nil
		}
	}
}

// flush writes all that waits.
func (l *Log) flush() error {
	l.mu.Lock()
	all := l.pending
	l.pending = nil
	l.mu.Unlock()
	if len(all) == 0 {
		return nil
	}
	err := l.store.AppendEvents(all, Most, l.clock().Add(-Oldest))
	if err != nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.pending = append(all, l.pending...)
		if over := len(l.pending) - MaxPending; over > 0 {
			l.pending = l.pending[:MaxPending]
			l.lost += over
		}
	}
	return err
}

func (l *Log) takeLost() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.lost
	l.lost = 0
	return n
}

// Read returns the events that a query wants, as far as one call looks.
func (l *Log) Read(q awa.EventQuery) (awa.EventSet, error) { return l.store.Events(q) }

// Each calls f with all events since a time, in their order.
func (l *Log) Each(since time.Time, f func(awa.Event)) error {
	for q := (awa.EventQuery{Since: since}); ; {
		set, err := l.store.Events(q)
		if err != nil {
			return err
		}
		for _, e := range set.Events {
			f(e)
		}
		if set.Through == q.After {
			return nil
		}
		q.After = set.Through
	}
}

// Recent is what happened since some time.
type Recent struct {
	Spans map[uint64][]awa.Span // what each node was, by its id; of gaps nothing is known
	Last  []awa.Event           // the newest first
}

// Recent returns what happened since a time: what each node was, given how they are now, and
// at most so many events.
func (l *Log) Recent(current []awa.NodeStatus, since time.Time, most int) (Recent, error) {
	t := NewTally(l.clock())
	t.recent = since
	r := Recent{Spans: make(map[uint64][]awa.Span, len(current))}
	err := l.Each(since, func(e awa.Event) {
		t.Add(e)
		if r.Last = append(r.Last, e); len(r.Last) > 2*most {
			r.Last = append(r.Last[:0], r.Last[len(r.Last)-most:]...)
		}
	})
	if err != nil {
		return Recent{}, err
	}
	r.Last = r.Last[max(0, len(r.Last)-most):]
	slices.Reverse(r.Last)
	slices.SortStableFunc(r.Last, func(a, b awa.Event) int { return b.At.Compare(a.At) })
	for _, n := range current {
		r.Spans[n.Node.ID] = t.closed(n).spans
	}
	return r, nil
}

// Shares returns for which share of awa.ShareSpans each node was online.
func (l *Log) Shares(current []awa.NodeStatus) ([]awa.NodeShare, error) {
	now := l.clock()
	t := NewTally(now)
	longest := awa.ShareSpans[len(awa.ShareSpans)-1]
	if err := l.Each(now.Add(-longest), t.Add); err != nil {
		return nil, err
	}
	return t.Shares(current), nil
}
