package handler

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"are-we-alive/pkg/awa"
)

// news is a state that is worth a run, and what is said of it.
type news struct {
	awa.Notified
	event awa.Event
	node  awa.Node // the zero Node of what is not of one
}

func compareKeys(a, b awa.Notified) int {
	return cmp.Or(cmp.Compare(a.NodeID, b.NodeID), cmp.Compare(a.Code, b.Code), strings.Compare(a.Agent, b.Agent))
}

// follow takes in the states of a sweep. The caller holds n.mu.
func (n *Notifier) follow(s Sweep) {
	seen := map[string]bool{}
	take := func(now awa.Notified, since time.Time) {
		key := now.Key()
		seen[key] = true
		old := n.states[key]
		if old == nil || !old.Same(now) {
			n.states[key] = &state{now, since, 1}
			return
		}
		old.sweeps++
		old.Notified = now
	}
	online := map[string]bool{} // by name
	for _, st := range s.Nodes {
		online[st.Node.Key()] = st.Verdict == awa.Online
		now := stateOf(st)
		key := now.Key()
		known, ok := n.notified[key]
		quiet := st.Node.InMaintenance(s.At) || st.Goodbye.Restarting(s.At)
		switch {
		case !ok && now.Verdict == awa.Online && !now.Flapping:
			n.notified[key] = now
		case ok && onlyRestarted(known, now) && (known.Instance == "" || quiet || s.At.Sub(st.Since) > staleRestart):
			known.Instance = now.Instance // which is not news
			n.notified[key] = known
		}
		if quiet {
			seen[key] = true
			delete(n.states, key)
			continue
		}
		take(now, st.Since)
	}
	n.followHealth(s, online, take)
	for key := range n.states {
		if !seen[key] {
			delete(n.states, key)
			delete(n.events, key)
		}
	}
	for key, known := range n.notified {
		over := known.Code != "" && !known.Raised && known.Done && s.At.Sub(known.At) > forgetAfter
		if !seen[key] && (known.NodeID != 0 || over) { // it is not on the list any more
			delete(n.notified, key)
			n.gone = append(n.gone, key)
		}
	}
}

// followHealth takes in the health codes of a sweep that matter: those that hold, and those
// that people were notified of and that hold no more. Of an agent that is not online
// nothing is known.
func (n *Notifier) followHealth(s Sweep, online map[string]bool, take func(awa.Notified, time.Time)) {
	maintained := map[string]bool{}
	for _, st := range s.Nodes {
		maintained[st.Node.Key()] = st.Node.InMaintenance(s.At)
	}
	holds := map[string]bool{}
	for _, c := range s.Conditions {
		now := awa.Notified{Code: c.Code, Agent: c.Agent, Raised: true}
		holds[now.Key()] = true
		if c.Code.Severity() == awa.SeverityOK || maintained[awa.NameKey(c.Agent)] {
			continue
		}
		take(now, s.At)
		n.events[now.Key()] = awa.Event{At: n.states[now.Key()].since, Kind: awa.EventRaised, Code: c.Code, Node: c.Agent,
			Why: c.Text}
	}
	for key, known := range n.notified {
		if known.Code == "" || !known.Raised || holds[key] {
			continue
		}
		if up, listed := online[awa.NameKey(known.Agent)]; listed && !up {
			continue
		}
		take(awa.Notified{Code: known.Code, Agent: known.Agent}, s.At)
		at := n.states[key].since
		n.events[key] = awa.Event{At: at, Kind: awa.EventCleared, Code: known.Code, Node: known.Agent,
			Lasted: awa.Seconds(max(0, at.Sub(known.At)))}
	}
}

// onlyRestarted reports whether a node was online before and is now, with another agent.
func onlyRestarted(known, now awa.Notified) bool {
	return known.Verdict == awa.Online && now.Verdict == awa.Online && !known.Flapping && !now.Flapping &&
		known.Instance != now.Instance
}

// stateOf is how a node is. One that is flapping is just that.
func stateOf(st awa.NodeStatus) awa.Notified {
	now := awa.Notified{NodeID: st.Node.ID, Verdict: st.Verdict}
	if st.Flapping > 0 {
		now.Flapping, now.Verdict = true, ""
		return now
	}
	if st.Verdict == awa.Online && st.Self != nil {
		now.Instance = st.Self.Instance
	}
	return now
}

// due returns what is worth a run now, and whether a part of it may have been notified
// before, by an agent that died.
func (n *Notifier) due(s Sweep) (batch []news, again bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	agents, nodes := map[string]bool{}, map[uint64]awa.NodeStatus{}
	for _, st := range s.Nodes {
		nodes[st.Node.ID] = st
		if st.Verdict == awa.Online && st.Node.UID != "" {
			agents[st.Node.UID] = true
		}
	}
	more := false // nodes are just changing
	for key, now := range n.states {
		known, ok := n.notified[key]
		open := ok && !known.At.IsZero() && !known.Done
		switch {
		case open && known.By != n.cfg.UID() && agents[known.By] && s.At.Sub(known.At) < runsLong:
			continue // it is being notified
		case !ok && now.Code != "" && !now.Raised, ok && known.Same(now.Notified) && !open:
			continue
		case now.sweeps < stands:
			more = more || now.NodeID != 0
			continue
		}
		again = again || open && known.Same(now.Notified)
		st := nodes[now.NodeID]
		batch = append(batch, news{now.Notified, n.eventOf(key, known, now, st), st.Node})
	}
	if len(batch) > 0 && more && !n.waited {
		n.waited = true
		return nil, false
	}
	n.waited = false
	slices.SortFunc(batch, func(a, b news) int { return compareKeys(a.Notified, b.Notified) })
	return batch, again
}

// eventOf is what is said of a state: what this agent has kept of it, or else what the
// state says itself. The caller holds n.mu.
func (n *Notifier) eventOf(key string, known awa.Notified, now *state, st awa.NodeStatus) awa.Event {
	e, ok := n.events[key]
	if now.Code != "" {
		return e
	}
	if !ok || e.Verdict != st.Verdict && !(now.Flapping && e.Kind == awa.EventFlapping) {
		e = awa.Event{At: now.since, Kind: awa.EventKind(st.Verdict), Verdict: st.Verdict}
		if st.Verdict != awa.Online {
			e.Why = st.Reason(st.Failure())
		}
	}
	e.NodeID, e.Node, e.Before = st.Node.ID, st.Node.Name, known.Verdict
	switch {
	case now.Flapping:
		e.Kind = awa.EventFlapping
	case known.Flapping:
		e.Kind = awa.EventSettled
	case e.Kind == awa.EventFlapping || e.Kind == awa.EventSettled:
		e.Kind = awa.EventKind(st.Verdict)
	case known.Verdict == awa.Online && now.Verdict == awa.Online && e.Kind != awa.EventRebooted:
		e.Kind = awa.EventRestarted
	}
	return e
}
