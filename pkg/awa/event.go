package awa

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"
)

// EventKind is what happened in an Event.
type EventKind string

// The kinds of events. The first four are the verdicts.
const (
	EventOnline      = EventKind(Online)
	EventUnreachable = EventKind(Unreachable)
	EventMismatch    = EventKind(Mismatch)
	EventOffline     = EventKind(Offline)
	// EventRestarted: the agent of the node was started again, and is online.
	EventRestarted EventKind = "restarted"
	// EventRebooted: the machine of the node was started again, and its agent is online.
	EventRebooted EventKind = "rebooted"
	// EventStopped: the agent of the node said that it is being stopped.
	EventStopped EventKind = "stopped"
	// EventFlapping: the verdict changed so often that its changes are not listed as events
	// until EventSettled.
	EventFlapping EventKind = "flapping"
	// EventSettled: the verdict has not changed for a while after EventFlapping.
	EventSettled EventKind = "settled"
	// EventMaintenance and EventMaintenanceEnded: the maintenance of the node began and ended.
	EventMaintenance      EventKind = "maintenance"
	EventMaintenanceEnded EventKind = "maintenance_ended"
	// EventJoined and EventRemoved: the node was added to the list and removed from it.
	EventJoined  EventKind = "joined"
	EventRemoved EventKind = "removed"
	// EventRaised and EventCleared: a health code began and ceased to hold.
	EventRaised  EventKind = "raised"
	EventCleared EventKind = "cleared"
	// EventWatching: the agent that keeps the events was started, and has seen nothing of
	// the others since it was stopped.
	EventWatching EventKind = "watching"
)

// eventKinds are all kinds, in the order in which a document lists them.
var eventKinds = [...]EventKind{
	EventOnline, EventUnreachable, EventMismatch, EventOffline, EventRestarted, EventRebooted, EventStopped,
	EventFlapping, EventSettled, EventMaintenance, EventMaintenanceEnded, EventJoined, EventRemoved, EventRaised,
	EventCleared, EventWatching,
}

// EventKinds are all kinds of events that this program knows.
func EventKinds() []EventKind { return slices.Clone(eventKinds[:]) }

// Event is something that happened to a node or to the cluster, as one agent saw it. Its
// JSON is that of awa.db, of GET /v1/events and of what a handler reads.
type Event struct {
	// ID counts up on each agent, and is never used twice. 0 is not kept yet.
	ID uint64 `json:"id,omitempty"`
	// At is when it was seen, by the clock of the agent that saw it.
	At   time.Time `json:"at"`
	Kind EventKind `json:"event"`
	// NodeID and Node, its name then, are of the node; 0 and "" of an event of the cluster.
	NodeID uint64 `json:"node_id,omitempty"`
	Node   string `json:"node,omitempty"`
	// Verdict holds since the event, Before held before it. Both are "" in events that say
	// nothing of the verdict, and Before in the first one of a node.
	Verdict Verdict `json:"verdict,omitempty"`
	Before  Verdict `json:"before,omitempty"`
	// Lasted is how long what ended with the event had lasted: the verdict before, a
	// maintenance, a health code, the time without an agent that watches. 0 is not known.
	Lasted Seconds `json:"lasted_s,omitempty"`
	// Away is for how long the node was not online before the event, although Before says
	// that it was: while its agent restarted, or while it was flapping.
	Away Seconds `json:"away_s,omitempty"`
	// Why is the cause in words, one line.
	Why string `json:"why,omitempty"`
	// SeenBy are the names of agents that an unreachable node answered.
	SeenBy []string `json:"seen_by,omitempty"`
	// Code is that of EventRaised and EventCleared.
	Code HealthCode `json:"code,omitempty"`
	// By says who made the edit that the event is of.
	By string `json:"by,omitempty"`
}

// Check returns which field of an event is out of its range, if any. Why is left to
// CleanText.
func (e Event) Check() error {
	err := errors.Join(
		checkNumber("id", e.ID), checkTime("at", e.At), checkWord("event", string(e.Kind), false),
		checkNumber("node_id", e.NodeID), checkWord("verdict", string(e.Verdict), true),
		checkWord("before", string(e.Before), true), checkWord("code", string(e.Code), true),
	)
	switch {
	case err != nil:
		return first(err)
	case e.Node != "" && CheckName(e.Node) != nil:
		return fmt.Errorf("node is wrong: %w", CheckName(e.Node))
	case e.Lasted < 0 || e.Away < 0:
		return errors.New("lasted_s and away_s must not be negative")
	case len(e.SeenBy) > MaxSeenBy:
		return fmt.Errorf("seen_by has %d names: at most %d are allowed", len(e.SeenBy), MaxSeenBy)
	}
	for _, name := range e.SeenBy {
		if err := CheckName(name); err != nil {
			return fmt.Errorf("seen_by is wrong: %w", err)
		}
	}
	return nil
}

// Seconds is a duration that JSON has as a number of seconds, to the millisecond.
type Seconds time.Duration

// MarshalJSON implements json.Marshaler.
func (s Seconds) MarshalJSON() ([]byte, error) {
	ms := time.Duration(s).Round(time.Millisecond).Milliseconds()
	return strconv.AppendFloat(nil, float64(ms)/1000, 'f', -1, 64), nil
}

// UnmarshalJSON implements json.Unmarshaler. It takes numbers of up to a hundred years.
func (s *Seconds) UnmarshalJSON(b []byte) error {
	f, err := strconv.ParseFloat(string(b), 64)
	const most = 100 * 366 * 24 * 3600
	if err != nil || !(f >= -most && f <= most) {
		return fmt.Errorf("%s is not a number of seconds", Clip(string(b)))
	}
	*s = Seconds(time.Duration(math.Round(f*1000)) * time.Millisecond)
	return nil
}

// EventQuery says which events are wanted. The zero EventQuery wants all.
type EventQuery struct {
	After uint64    // only those with a larger id
	Since time.Time // only those at that time or later
	Nodes []string  // only those of these nodes, by name without regard to case
	Limit int       // at most so many, the oldest first; 0 leaves it to the agent
}

// Wants reports whether the query wants an event.
func (q EventQuery) Wants(e Event) bool {
	if e.ID <= q.After || e.At.Before(q.Since) {
		return false
	}
	return len(q.Nodes) == 0 || slices.ContainsFunc(q.Nodes, func(name string) bool {
		return NameKey(name) == NameKey(e.Node)
	})
}

// EventSet is what an agent returns of its events.
type EventSet struct {
	Agent  string // whose events they are
	Newest uint64 // the id of its newest event
	// Through is the id up to which the agent has looked: who asks again asks for what is
	// after it.
	Through uint64
	Events  []Event // by id
}

// Check returns what is wrong with an answer to a query, if anything.
func (s EventSet) Check(q EventQuery) error {
	if err := errors.Join(CheckName(s.Agent), checkNumber("newest", s.Newest),
		checkNumber("through", s.Through)); err != nil {
		return first(err)
	}
	if q.Limit > 0 && len(s.Events) > q.Limit {
		return fmt.Errorf("%d events were sent: at most %d were asked for", len(s.Events), q.Limit)
	}
	last := q.After
	for i, e := range s.Events {
		if err := e.Check(); err != nil {
			return fmt.Errorf("element %d of events: %w", i, err)
		}
		if e.ID <= last || e.ID > s.Through {
			return fmt.Errorf("event %d was sent after event %d, and up to %d were looked at", e.ID, last, s.Through)
		}
		last = e.ID
	}
	return nil
}

// Share is for how long a node was online of the time in which an agent watched it.
type Share struct {
	Online  Seconds `json:"online_s"`
	Watched Seconds `json:"watched_s"`
}

// ShareSpans are the times, up to now, that Shares are of.
var ShareSpans = [...]time.Duration{24 * time.Hour, 7 * 24 * time.Hour, 30 * 24 * time.Hour}

// NodeShare are the shares of one node, one for each of ShareSpans.
type NodeShare struct {
	ID     uint64                 `json:"id"`
	Name   string                 `json:"name"`
	Shares [len(ShareSpans)]Share `json:"shares"`
}

// Span is a time during which a node was seen to be one thing. Of an online node it may be
// Offline for the time that its agent was away.
type Span struct {
	From, To time.Time
	Verdict  Verdict
}

// CheckShares returns what is wrong with shares as an agent returns them, if anything.
func CheckShares(all []NodeShare) error {
	if len(all) > MaxNodes {
		return fmt.Errorf("nodes has %d elements: at most %d are allowed", len(all), MaxNodes)
	}
	for i, n := range all {
		if err := errors.Join(checkNumber("id", n.ID), CheckName(n.Name)); err != nil {
			return fmt.Errorf("element %d of nodes: %w", i, first(err))
		}
		for _, s := range n.Shares {
			if s.Online < 0 || s.Online > s.Watched {
				return fmt.Errorf("element %d of nodes: online_s must be from 0 to watched_s", i)
			}
		}
	}
	return nil
}
