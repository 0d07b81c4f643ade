package report

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"time"

	"are-we-alive/pkg/awa"
)

// finding is one thing to say of the nodes: how it is judged, and its words.
type finding struct {
	state State
	// ofNodes reports whether it is about a verdict, so that it says how many of
	// how many nodes have it.
	ofNodes bool
	head    string   // before the items
	short   string   // instead of the head, where that has no room
	items   []string // names, with more about each; may be fewer than total
	groups  []group  // instead of the items where some have one cause
	common  string   // what the nodes have in common, see inCommon
	total   int
	tail    string // behind the items
}

// judge finds what there is to report, and the state that follows.
func (r *Result) judge() {
	r.findings = r.find()
	first := true // of the findings about verdicts
	for i, f := range r.findings {
		r.State = worse(r.State, f.state)
		if f.ofNodes {
			r.findings[i] = r.withHead(f, first)
			first = false
		}
	}
}

// withHead completes a finding about a verdict: "2 of 6 nodes offline (1 more
// under maintenance): ". The first one says of how many.
func (r Result) withHead(f finding, first bool) finding {
	n, only := r.onlyNode()
	of := countText(r.Counts.Nodes, "node")
	switch {
	case only:
		f.head, f.items = nodeName(n.Node.Name)+" is "+f.head+": "+clip(plain(r.reason(n)), maxOnlyWhy), nil
	case !first:
		f.head = fmt.Sprintf("%d %s%s: ", f.total, f.head, f.common)
	case r.Counts.Maintenance > 0:
		f.head = fmt.Sprintf("%d of %s %s%s (%d more under maintenance): ", f.total, of, f.head, f.common,
			r.Counts.Maintenance)
	default:
		f.head = fmt.Sprintf("%d of %s %s%s: ", f.total, of, f.head, f.common)
	}
	return f
}

// find returns all that is worth reporting, the worst first, and within a
// state in the order of the package's words: what is dead, what is cut off,
// what is not as it should be.
func (r Result) find() []finding {
	var all []finding
	dead := r.rules.Dead.state(float64(r.Counts.Dead()), r.Counts.Nodes)
	all = append(all, r.verdictFindings("offline", r.isOffline, r.Counts.Offline, dead)...)
	all = append(all, r.verdictFindings("mismatched", isMismatch, r.Counts.Mismatch, dead)...)
	if r.Counts.Dead() == 0 && dead != OK {
		all = append(all, finding{state: dead, head: "0 offline" + r.rules.Dead.text(dead)})
	}
	cutOff := r.rules.Unreachable.state(float64(r.Counts.Unreachable), r.Counts.Nodes)
	all = append(all, r.verdictFindings("unreachable", isUnreachable, r.Counts.Unreachable, cutOff)...)
	if r.Counts.Unreachable == 0 && cutOff != OK {
		all = append(all, finding{state: cutOff, head: "0 unreachable" + r.rules.Unreachable.text(cutOff)})
	}
	if r.Counts.Unjudged > 0 {
		all = append(all, r.unjudged())
	}
	if r.rules.Stopped != nil {
		all = append(all, r.verdictFindings("stopped", r.stopped, r.Counts.Stopped, *r.rules.Stopped)...)
	}
	for _, m := range r.measures() {
		if f := r.measured(m); f.state != OK {
			all = append(all, f)
		}
	}
	if len(r.DeadVoters) > 0 && r.rules.NoMajority != OK {
		f := finding{state: r.rules.NoMajority, tail: ")", total: len(r.DeadVoters)}
		f.head = fmt.Sprintf("no majority for edits, %d of %s not alive (", len(r.DeadVoters), countText(r.voters, "voter"))
		for _, name := range r.DeadVoters[:min(len(r.DeadVoters), maxNamed)] {
			f.items = append(f.items, nodeName(name))
		}
		all = append(all, f)
	}
	for _, c := range r.health {
		if c.Code == awa.NoMajority && len(r.DeadVoters) > 0 {
			continue // it is reported with the names of the voters
		}
		if c.state == OK && c.Code.Quiet() {
			continue
		}
		f := finding{state: c.state, head: c.text(), short: clip(plain(string(c.Code)), awa.MaxWord)}
		if c.state == OK { // the table and the other formats have the rest
			f.head = f.short
		}
		all = append(all, f)
	}
	if f := r.flapping(); f.total > 0 {
		all = append(all, f)
	}
	slices.SortStableFunc(all, func(a, b finding) int { return worstFirst(a.state, b.state) })
	return all
}

// unjudged names the nodes for which no time was left, all for the same reason. What is
// not known is never OK.
func (r Result) unjudged() finding {
	f := finding{state: Unknown, ofNodes: true, head: "not judged in time", total: r.Counts.Unjudged}
	for _, n := range r.Status.Nodes {
		if r.problem(n) && isUnjudged(n) && len(f.items) < maxNamed {
			f.items = append(f.items, nodeName(n.Node.Name))
		}
	}
	return f
}

// flapping names the nodes that are online and flapping. That alone is not
// judged: what they are at the moment of the check is.
func (r Result) flapping() finding {
	f := finding{state: OK, head: "flapping: ", short: "flapping"}
	for _, n := range r.Status.Nodes {
		if n.Verdict != awa.Online || n.Flapping == 0 || n.Node.InMaintenance(r.at) {
			continue
		}
		if f.total++; f.total <= maxNamed {
			f.items = append(f.items, item(nodeName(n.Node.Name), fmt.Sprintf("%d changes in 10 minutes", n.Flapping), f.total))
		}
	}
	return f
}

func (r Result) isOffline(n awa.NodeStatus) bool {
	return !isMismatch(n) && !isUnreachable(n) && !isUnjudged(n) && !r.stopped(n)
}

func isMismatch(n awa.NodeStatus) bool    { return n.Verdict == awa.Mismatch }
func isUnreachable(n awa.NodeStatus) bool { return n.Verdict == awa.Unreachable }
func isUnjudged(n awa.NodeStatus) bool    { return n.Verdict == awa.Unjudged }

// verdictFindings returns the findings about the nodes of a verdict, of which there are total.
func (r Result) verdictFindings(word string, is func(awa.NodeStatus) bool, total int, state State) []finding {
	if total == 0 {
		return nil
	}
	f := finding{state: state, ofNodes: true, head: word, total: total}
	var nodes []awa.NodeStatus
	for _, n := range r.Status.Nodes {
		if r.problem(n) && is(n) {
			nodes = append(nodes, n)
		}
	}
	f.groups, f.common = r.groupsOf(nodes), inCommon(nodes, r.Status.Nodes)
	for _, n := range nodes[:min(len(nodes), maxNamed)] {
		f.items = append(f.items, item(nodeName(n.Node.Name), r.reason(n), r.Counts.Dead()+r.Counts.Unreachable))
	}
	return []finding{f}
}

// measure is a number that online nodes have, in the unit of its limits.
type measure struct {
	limits Limits
	worst  *float64 // of all nodes that count; nil when it is not known
	of     func(awa.NodeStatus) (value float64, known bool)
	text   func(awa.NodeStatus) string // the value, for a person
	one    [2]string                   // what stands before and behind the name of the only node, then its value
	many   string                      // behind the number of nodes
}

func (r Result) measures() []measure {
	agent := orWord(clip(plain(r.Status.Agent), maxShort), "the agent asked")
	behind := measure{
		limits: r.rules.Behind,
		of:     func(n awa.NodeStatus) (float64, bool) { return float64(n.Behind), true },
		text:   func(n awa.NodeStatus) string { return countText(n.Behind, "change") },
		one:    [2]string{"", " lacks "},
		many:   " nodes lack changes: ",
	}
	skew := measure{
		limits: r.rules.Skew,
		of: func(n awa.NodeStatus) (float64, bool) {
			d, known := certainSkew(n)
			return inSeconds(d), known
		},
		text: func(n awa.NodeStatus) string { return skewText(n) + " " + agent },
		one:  [2]string{"the clock of ", " is "},
		many: " clocks differ: ",
	}
	rtt := measure{
		limits: r.rules.RTT,
		of:     func(n awa.NodeStatus) (float64, bool) { return inSeconds(n.RTT), true },
		text:   func(n awa.NodeStatus) string { return spanText(n.RTT) },
		one:    [2]string{"", " answers after "},
		many:   " nodes answer late: ",
	}
	if r.Maxima.Behind != nil {
		value := float64(*r.Maxima.Behind)
		behind.worst = &value
	}
	if r.Maxima.Skew != nil {
		value := inSeconds(*r.Maxima.Skew)
		skew.worst = &value
	}
	if r.Maxima.RTT != nil {
		value := inSeconds(*r.Maxima.RTT)
		rtt.worst = &value
	}
	return []measure{behind, skew, rtt}
}

// measured judges the worst value of a measure, and names all nodes whose
// value alerts as that one does, the worst first.
func (r Result) measured(m measure) finding {
	if m.worst == nil {
		return finding{}
	}
	f := finding{state: m.limits.state(*m.worst, 0)}
	if f.state == OK {
		return f
	}
	type reading struct {
		node  *awa.NodeStatus
		value float64
	}
	var all []reading
	for i := range r.Status.Nodes {
		n := &r.Status.Nodes[i]
		value, known := m.of(*n)
		if known && r.counts(*n) && m.limits.state(value, 0) == f.state {
			all = append(all, reading{n, value})
		}
	}
	slices.SortStableFunc(all, func(a, b reading) int { return cmp.Compare(b.value, a.value) })
	f.tail = m.limits.text(f.state)
	if len(all) == 1 {
		n := *all[0].node
		f.head = m.one[0] + nodeName(n.Node.Name) + m.one[1] + m.text(n)
		return f
	}
	f.total, f.head = len(all), strconv.Itoa(len(all))+m.many
	for _, a := range all[:min(len(all), maxNamed)] {
		f.items = append(f.items, item(nodeName(a.node.Node.Name), m.text(*a.node), len(all)))
	}
	return f
}

// text names the range that a value of that state is outside of.
func (l Limits) text(state State) string {
	if state == Critical {
		return " (the critical range is " + l.Critical.String() + ")"
	}
	return " (the warning range is " + l.Warning.String() + ")"
}

func skewText(n awa.NodeStatus) string {
	if n.Skew < 0 {
		return spanText(n.Skew.Abs()) + " behind"
	}
	return spanText(n.Skew) + " ahead of"
}

// spanText writes a duration as a person reads it, and as exactly as perfdata
// has it where it is short.
func spanText(d time.Duration) string {
	if d < time.Second {
		return decimal(inSeconds(d)*1000) + " ms"
	}
	return decimal(d.Round(time.Millisecond).Seconds()) + " s"
}

// inSeconds returns a duration in seconds, rounded to what perfdata shows, so
// that what is compared is what is read.
func inSeconds(d time.Duration) float64 { return round(d.Seconds()) }
