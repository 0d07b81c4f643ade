package report

import (
	"errors"
	"fmt"

	"are-we-alive/pkg/awa"
)

const (
	// maxText is the longest text in bytes. NRPE v2 cuts a plugin's output at
	// 1,023; the rest is for the prefix and the perfdata.
	maxText = 700
	// maxAddr bounds an address, in bytes: a host, brackets, a port.
	maxAddr = awa.MaxHost + len("[]:65535")
	// maxNamed is how many nodes or agents a text names at most: who gets it
	// on a telephone reads no more.
	maxNamed = 10
	// maxWhy bounds one reason among several, in bytes; maxOnlyWhy the reason
	// when there is just one.
	maxWhy     = 100
	maxOnlyWhy = 400
	// maxShort bounds the name of a node or an agent, in bytes.
	maxShort = awa.MaxName + 2
)

// Text is the result in one sentence of at most 700 bytes, safe for a
// monitoring system's line (see plain): how many of how many nodes, which and
// why.
func (r Result) Text() string { return r.text(maxText) }

// text is Text in at most room bytes.
func (r Result) text(room int) string {
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
	return clip(r.nodesText(room-len(note)), room-len(note)) + note
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

// nodesText says what was found, the worst first, or else how many nodes are
// online. Each finding gets a share of the room, the first ones the largest,
// and leaves what it does not need to those behind it.
func (r Result) nodesText(room int) string {
	text, joint := r.leadText(), ", but "
	if text == "" {
		joint = ""
	}
	first := true // of the findings about verdicts
	for i, f := range r.findings {
		if f.ofNodes {
			f = r.withHead(f, first)
			first = false
		}
		share := (room - len(text) - len(joint)) * 2 / (len(r.findings) - i + 1)
		if i == 0 {
			f.short = "" // what matters most is said in full
		}
		text += joint + f.text(share)
		joint = ", and "
	}
	return text
}

// leadText says how the nodes are that are not a problem, when none is one: "12
// of 12 nodes online". Else it is "", since the findings say how many are what.
func (r Result) leadText() string {
	if r.Counts.Dead()+r.Counts.Unreachable > 0 {
		return ""
	}
	if n, ok := r.onlyNode(); ok {
		return r.nodeText(n)
	}
	text := fmt.Sprintf("%d of %s online", r.Counts.Online, countText(r.Counts.Nodes, "node"))
	if r.Counts.Maintenance > 0 {
		text += fmt.Sprintf(" (%d under maintenance)", r.Counts.Maintenance)
	}
	return text
}

// withHead completes a finding about a verdict: "2 of 6 nodes offline (1 more
// under maintenance): ". The first one says of how many.
func (r Result) withHead(f finding, first bool) finding {
	n, only := r.onlyNode()
	of := countText(r.Counts.Nodes, "node")
	switch {
	case only:
		f.head, f.items = nodeName(n.Node.Name)+" is "+f.head+": "+clip(plain(reason(n)), maxOnlyWhy), nil
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
		until = "under maintenance until " + clip(plain(n.Node.Maintenance), maxShort)
	}
	switch {
	case n.Verdict != awa.Online:
		return nodeName(n.Node.Name) + " is " + until + " (" + clip(plain(string(n.Verdict)+": "+reason(n)), maxOnlyWhy) + ")"
	case until != "":
		until = ", " + until
	}
	return nodeName(n.Node.Name) + " is online, " + spanText(n.RTT) + until
}

// countText returns "1 node" or "3 nodes".
func countText[N int | uint64](n N, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
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

// nodeName is a node's name as it stands in a text.
func nodeName(name string) string { return orWord(clip(plain(name), maxShort), "?") }

// item returns "n3 (connect: connection refused)", one of total such items. The
// name is safe already.
func item(name, why string, total int) string {
	most := maxWhy
	if total == 1 {
		most = maxOnlyWhy
	}
	return name + " (" + clip(plain(why), most) + ")"
}
