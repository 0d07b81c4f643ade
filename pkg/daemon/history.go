package daemon

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/events"
	"are-we-alive/pkg/store"
	"are-we-alive/pkg/watch"
)

// history finds what happens to the list and to the cluster's health, and keeps it beside
// what the sweeps find. Nothing is read from the disk while mu is held, since sweeps wait for
// it. It is safe for concurrent use.
type history struct {
	log   *events.Log
	store *store.Store
	agent *agent
	clock func() time.Time

	mu         sync.Mutex
	began      bool                 // the list was looked at
	state      uint64               // of the list when it was compared last
	nodes      []awa.Node           // then, by id; shared with the store
	maintained map[uint64]time.Time // since when a node was seen under maintenance, by id
	raised     map[conditionKey]*raised
}

// conditionKey is what a health code is of.
type conditionKey struct {
	code  awa.HealthCode
	agent string
}

// raised is a health code that holds, or did a moment ago.
type raised struct {
	since time.Time
	ended time.Time // since when it does not hold any more; zero while it does
	text  string
	told  bool // it is an event
}

func newHistory(st *store.Store, a *agent, log *events.Log) *history {
	return &history{log: log, store: st, agent: a, clock: a.clock, maintained: map[uint64]time.Time{},
		raised: map[conditionKey]*raised{}}
}

// run follows the list until ctx ends.
func (h *history) run(ctx context.Context) error {
	h.recall()
	own, _ := h.store.Agent(h.store.Meta().UID)
	if own.Name == "" {
		own.Name = h.agent.name
	}
	h.log.Begin(own)
	for {
		state := h.store.State()
		h.compare()
		if err := h.store.Wait(ctx, state+1); err != nil {
			return err
		}
	}
}

// recall finds the health codes that held when this agent was stopped, so that they are
// no news.
func (h *history) recall() {
	before := map[conditionKey]*raised{}
	err := h.log.Each(time.Time{}, func(e awa.Event) {
		key := conditionKey{e.Code, e.Node}
		switch e.Kind {
		case awa.EventRaised:
			before[key] = &raised{since: e.At, text: e.Why, told: true}
		case awa.EventCleared:
			delete(before, key)
		}
	})
	if err != nil {
		h.agent.log.Warn("the events can't be read", "error", err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.raised = before
}

// found is an event of the list, and the change that made it: 0 for none, or one that has to
// be searched.
type found struct {
	awa.Event
	change uint64
}

// compare finds what has changed in the list.
func (h *history) compare() {
	all, since := h.differences(h.clock())
	for _, f := range all {
		switch {
		case f.change > 0:
			f.By = h.editor(f.change-1, func(awa.Change) bool { return true })
		case f.Kind == awa.EventRemoved:
			f.By = h.editor(since, func(c awa.Change) bool {
				n, _, _, err := c.Node()
				return err == nil && c.Action == awa.Delete && n.ID == f.NodeID
			})
		}
		h.log.Add(f.Event)
	}
}

// editor says who made the first change after a state that is the one, "" when it is not
// found. It reads the disk, so nobody may wait for it.
func (h *history) editor(since uint64, isIt func(awa.Change) bool) string {
	page, err := h.store.Page(since, pageOfChanges)
	if err != nil {
		return ""
	}
	i := slices.IndexFunc(page, isIt)
	if i < 0 {
		return ""
	}
	_, by, _, _ := page[i].Node()
	return by
}

// pageOfChanges is how many changes are searched for who made one.
const pageOfChanges = 1000

// differences returns how the list differs from before, by node, and the state before. Both
// lists are by id, so that a walk along the two is enough, as often as the list changes.
func (h *history) differences(now time.Time) (all []found, since uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	old, list, since := h.nodes, h.store.Nodes(), h.state
	h.nodes, h.state = list, h.store.State()
	if !h.began { // whatever happened to it was not seen
		h.began = true
		for _, n := range list {
			if n.InMaintenance(now) {
				h.maintained[n.ID] = now
			}
		}
		return nil, since
	}
	for i, j := 0, 0; i < len(old) || j < len(list); {
		switch {
		case j == len(list) || i < len(old) && old[i].ID < list[j].ID:
			all = append(all, found{eventOf(awa.EventRemoved, old[i], now, ""), 0})
			delete(h.maintained, old[i].ID)
			i++
		case i == len(old) || list[j].ID < old[i].ID:
			all = append(all, found{eventOf(awa.EventJoined, list[j], now, "at "+list[j].Addr()), list[j].Changed})
			j++
		default:
			i, j = i+1, j+1
		}
	}
	all = append(all, h.maintenance(now)...)
	slices.SortStableFunc(all, func(a, b found) int { return cmp.Compare(a.NodeID, b.NodeID) })
	return all, since
}

// eventOf is an event of a node.
func eventOf(kind awa.EventKind, n awa.Node, now time.Time, why string) awa.Event {
	return awa.Event{At: now, Kind: kind, NodeID: n.ID, Node: n.Name, Why: why}
}

// maintenance finds the nodes whose maintenance began or ended. The caller holds h.mu.
func (h *history) maintenance(now time.Time) (all []found) {
	for i := range h.nodes {
		n := &h.nodes[i]
		since, was := h.maintained[n.ID]
		if n.Maintenance == "" && !was {
			continue
		}
		switch is := n.InMaintenance(now); {
		case is && !was:
			h.maintained[n.ID] = now
			all = append(all, found{eventOf(awa.EventMaintenance, *n, now, n.UntilAndWhy(n.Maintenance)), n.Changed})
		case !is && was:
			delete(h.maintained, n.ID)
			f := found{eventOf(awa.EventMaintenanceEnded, *n, now, "its time is over"), 0}
			if n.Maintenance == "" { // somebody ended it
				f.Why, f.change = "", n.Changed
			}
			f.Lasted = awa.Seconds(now.Sub(since))
			all = append(all, f)
		}
	}
	return all
}

// swept takes in a background sweep: maintenance that is over, and health codes that begin
// or cease to hold. Codes that come and go from one sweep to the next are not listed as events.
// Those of an agent that is not online are not known to have ceased.
func (h *history) swept(result watch.Result, conditions []awa.Condition) {
	away := map[string]bool{} // by name
	for _, n := range result.Nodes {
		if n.Verdict != awa.Online {
			away[n.Node.Key()] = true
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.began {
		return
	}
	now := h.clock()
	for _, f := range h.maintenance(now) { // which are over: what is edited is found by compare
		h.log.Add(f.Event)
	}
	holds := map[conditionKey]bool{}
	for _, c := range conditions {
		key := conditionKey{c.Code, c.Agent}
		holds[key] = true
		r := h.raised[key]
		if r == nil {
			h.raised[key] = &raised{since: now, text: c.Text}
			continue
		}
		r.ended = time.Time{}
		if !r.told {
			r.told = true
			h.log.Add(h.healthEvent(awa.EventRaised, key, r.since, c.Text))
		}
	}
	for key, r := range h.raised {
		switch {
		case holds[key], away[awa.NameKey(key.agent)]:
		case !r.told:
			delete(h.raised, key)
		case r.ended.IsZero():
			r.ended = now
		default:
			delete(h.raised, key)
			e := h.healthEvent(awa.EventCleared, key, r.ended, "")
			e.Lasted = awa.Seconds(max(0, r.ended.Sub(r.since)))
			h.log.Add(e)
		}
	}
}

// healthEvent is the event of a health code. The caller holds h.mu.
func (h *history) healthEvent(kind awa.EventKind, key conditionKey, at time.Time, why string) awa.Event {
	e := awa.Event{At: at, Kind: kind, Code: key.code, Node: key.agent, Why: why}
	i := slices.IndexFunc(h.nodes, func(n awa.Node) bool { return n.Key() == awa.NameKey(key.agent) })
	if key.agent != "" && i >= 0 {
		e.NodeID = h.nodes[i].ID
	}
	return e
}

// stopped keeps that this agent itself is being stopped.
func (h *history) stopped(why awa.StopReason) {
	own, ok := h.store.Agent(h.store.Meta().UID)
	if !ok {
		return
	}
	h.log.Add(awa.Event{At: h.clock(), Kind: awa.EventStopped, NodeID: own.ID, Node: own.Name, Why: why.String()})
}

// Events implements server.Agent.
func (a *agent) Events(q awa.EventQuery) (awa.EventSet, error) {
	if err := a.hasList(); err != nil {
		return awa.EventSet{}, err
	}
	set, err := a.events.Read(q)
	set.Agent = a.listedName()
	return set, err
}

// Availability implements server.Agent.
func (a *agent) Availability() ([]awa.NodeShare, error) {
	status, err := a.lastStatus()
	if err != nil {
		return nil, err
	}
	shares, err := a.events.Shares(status.Nodes)
	if err != nil {
		return nil, fmt.Errorf("sum up the events: %w", err)
	}
	return shares, nil
}
