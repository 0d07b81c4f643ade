package report

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"are-we-alive/pkg/awa"
)

// The sentence of a result is made here, from what judge has found to how it fits:
//
//	lead      "12 of 12 nodes online", when no node is a problem
//	findings  the worst first: head, then items or groups, then tail
//	note      whose view it is, where that matters
//
//	3 of 12 nodes offline, all 3 of rack=r7: 2 no answer (n1, n2), 1 resolve: no such host (n3), and …
//	|------- head -------||---- common ----||----------------- groups -------------------|
//
// Each finding gets a share of the room, the first ones the largest, and leaves what it does
// not need to those behind it. All that comes from an agent or a person (names, reasons,
// labels) goes through plain and clip before it is joined to anything.

// The limits of a sentence, in bytes where they don't say otherwise.
const (
	// maxText is the longest sentence. NRPE v2 cuts a plugin's output at 1,023; the rest
	// is for the prefix and the perfdata.
	maxText = 700
	// maxNamed is how many nodes or agents a sentence names at most: who gets it on a
	// telephone reads no more.
	maxNamed = 10
	// maxGroups is how many causes it names.
	maxGroups = 5
	// minGroup is the room that a further group is worth beginning in.
	minGroup = 60
	// maxOnlyWhy bounds the reason when there is just one, maxWhy one among several.
	maxOnlyWhy = 400
	maxWhy     = 100
	// maxShort bounds the name of a node or an agent, maxAddr an address: a host,
	// brackets, a port.
	maxShort = awa.MaxName + 2
	maxAddr  = awa.MaxHost + len("[]:65535")
)

// Text returns the result in one sentence of at most 700 bytes, safe for a monitoring
// system's line (see plain): how many of how many nodes, which and why.
func (r Result) Text() string { return r.text(maxText) }

// text is Text in at most room bytes.
func (r Result) text(room int) string {
	name := r.clusterPrefix()
	return name + r.textOf(room-len(name))
}

// clusterPrefix is how the cluster is called, in front of a text, "" for no name.
func (r Result) clusterPrefix() string {
	if r.Status == nil || r.Status.ClusterName == "" {
		return ""
	}
	return clip(plain(r.Status.ClusterName), maxShort) + ": "
}

func (r Result) textOf(room int) string {
	switch {
	case r.sentence != "":
		return clip(plain(r.sentence), room)
	case r.Status == nil:
		return clip(r.failuresText(room), room)
	}
	note := r.viewText()
	if note != "" {
		note = " - " + note
	}
	room -= len(note)
	text, joint := r.leadText(), ", but "
	if text == "" {
		joint = ""
	}
	for i, f := range r.findings {
		share := (room - len(text) - len(joint)) * 2 / (len(r.findings) - i + 1)
		if i == 0 {
			f.short = "" // what matters most is said in full
		}
		text += joint + f.text(share)
		joint = ", and "
	}
	return clip(text, room) + note
}

// text returns the finding in about room bytes: as many items as fit, and the
// first in any case.
func (f finding) text(room int) string {
	if len(f.groups) > 0 {
		return f.head + groupsText(f.groups, room-len(f.head))
	}
	if len(f.items) == 0 {
		if text := f.head + f.tail; len(text) <= room || f.short == "" {
			return text
		}
		return f.short
	}
	return f.head + list(f.items, f.total, room-len(f.head)-len(f.tail)) + f.tail
}

// groupsText returns groups in about room bytes: "2 no answer (n1, n2), 1 resolve: no such
// host (n3)". The first group always stands.
func groupsText(groups []group, room int) string {
	text := ""
	for i, g := range groups {
		left, joint := groups[i:], ", "
		if i == 0 {
			joint = ""
		}
		if i > 0 && (i == maxGroups || room-len(text) < minGroup) {
			rest := 0
			for _, g := range left {
				rest += g.total
			}
			return text + fmt.Sprintf(" and %d more", rest)
		}
		if len(groups) > 1 {
			joint += strconv.Itoa(g.total) + " "
			if g.cause == awa.NotRunning {
				g.cause = "host answers, agent not running"
			}
		}
		share := (room - len(text)) * 2 / (len(left) + 1)
		text += joint + g.cause + " ("
		text += spansText(g.spans, share-len(joint)-len(g.cause)-len(" ()")) + ")"
	}
	return text
}

// spansText joins as many spans as fit into room bytes and counts the names of the
// rest: "n1-n9, n12 and 7 more". The first one always stands.
func spansText(spans []span, room int) string {
	left := 0
	for _, s := range spans {
		left += s.total
	}
	text := ""
	for i, s := range spans {
		joint, more := ", ", ""
		if i == 0 {
			joint = ""
		}
		if left > s.total {
			more = fmt.Sprintf(" and %d more", left-s.total)
		}
		if i > 0 && (i == maxNamed || len(text)+len(joint)+len(s.text)+len(more) > room) {
			return text + fmt.Sprintf(" and %d more", left)
		}
		text += joint + s.text
		left -= s.total
	}
	return text
}

// list joins as many items as fit into room bytes and counts the rest, of
// total in all: "a, b and 7 more". The first item always stands.
func list(items []string, total, room int) string {
	var b strings.Builder
	for i, item := range items {
		sep, more := ", ", ""
		if i == 0 {
			sep = ""
		}
		if rest := total - i - 1; rest > 0 {
			more = fmt.Sprintf(" and %d more", rest)
		}
		if i > 0 && b.Len()+len(sep)+len(item)+len(more) > room {
			fmt.Fprintf(&b, " and %d more", total-i)
			return b.String()
		}
		b.WriteString(sep)
		b.WriteString(item)
	}
	if rest := total - len(items); rest > 0 {
		fmt.Fprintf(&b, " and %d more", rest)
	}
	return b.String()
}

// item returns "n3 (connect: connection refused)", one of total such items. The
// name is safe already.
func item(name, why string, total int) string {
	most := maxWhy
	if total == 1 {
		most = maxOnlyWhy
	}
	return name + " (" + clip(plain(why), most) + ")"
}

// viewText says whose view it is where that matters: when the agent asked may
// see what only it sees, or stands in for one that does.
func (r Result) viewText() string {
	agent := clip(orWord(plain(r.Status.Agent), "the agent asked"), maxShort)
	if r.Status.Isolated {
		return agent + " reaches no other agent, so the fault may be its own: ask another one too (-H)"
	}
	for _, f := range r.Failures {
		switch {
		case errors.Is(f.Err, ErrIsolated):
			return "as " + agent + " sees it, since " + clip(plain(f.Agent), maxAddr) + " reaches no other agent"
		case errors.Is(f.Err, ErrDoubtful):
			return "as " + agent + " sees it, since " + clip(plain(f.Agent), maxAddr) + " is alone on its list, not on it, " +
				"or has another one"
		}
	}
	return ""
}

// leadText says how the nodes are that are not a problem, when none is one: "12
// of 12 nodes online". Else it is "", since the findings say how many are what.
func (r Result) leadText() string {
	if r.problems() > 0 {
		return ""
	}
	if n, ok := r.onlyNode(); ok {
		return r.nodeText(n)
	}
	if r.Counts.Nodes == 0 {
		return countText(r.Counts.Maintenance, "node") + " under maintenance, and no others"
	}
	text := fmt.Sprintf("%d of %s online", r.Counts.Online, countText(r.Counts.Nodes, "node"))
	if r.Counts.Maintenance > 0 {
		text += fmt.Sprintf(" (%d under maintenance)", r.Counts.Maintenance)
	}
	return text
}

// onlyNode returns the node of a host check: the only one that was selected, by
// its name.
func (r Result) onlyNode() (awa.NodeStatus, bool) {
	if !r.named || len(r.Status.Nodes) != 1 {
		return awa.NodeStatus{}, false
	}
	return r.Status.Nodes[0], true
}

// nodeText says how one node is that is not a problem.
func (r Result) nodeText(n awa.NodeStatus) string {
	until := ""
	if n.Node.InMaintenance(r.at) {
		until = "under maintenance " + clip(plain(n.Node.UntilAndWhy(n.Node.Maintenance)), maxOnlyWhy)
	}
	switch {
	case n.Verdict != awa.Online:
		return nodeName(n.Node.Name) + " is " + until + " (" + clip(plain(string(n.Verdict)+": "+r.reason(n)), maxOnlyWhy) + ")"
	case until != "":
		until = ", " + until
	}
	return nodeName(n.Node.Name) + " is online, " + spanText(n.RTT) + until
}

// failuresText names the agents that gave no status.
func (r Result) failuresText(room int) string {
	if len(r.Failures) == 0 {
		return "no agent was asked"
	}
	f := finding{head: "no agent answers: ", total: len(r.Failures)}
	if r.keyRefused {
		f.head = "no agent accepts the key: "
	}
	for _, failure := range r.Failures[:min(len(r.Failures), maxNamed)] {
		f.items = append(f.items, item(clip(plain(failure.Agent), maxAddr), failure.Err.Error(), len(r.Failures)))
	}
	return f.text(room)
}

// countText returns "1 node" or "3 nodes".
func countText[N int | uint64](n N, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// nodeName is a node's name as it stands in a text.
func nodeName(name string) string { return orWord(clip(plain(name), maxShort), "?") }
