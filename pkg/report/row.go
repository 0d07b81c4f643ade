package report

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"are-we-alive/pkg/awa"
)

// Row is a node with the words that a person reads of it. All of them are safe to stand in
// a plugin's output, see plain; "" is nothing to say.
type Row struct {
	NodeStatus awa.NodeStatus
	// State is how grave the node is by itself, whatever the ranges of the whole say: OK
	// under maintenance.
	State State

	Name   string
	Status string // its verdict, "Online", or "Stopped"
	Since  string // for how long: "4 min"
	RTT    string // "0.2 ms"
	Addr   string // host:port
	Labels string // "rack=r7,role=db"
	Why    string // why it is not online, and what else is worth saying
}

func (row Row) online() bool { return row.NodeStatus.Verdict == awa.Online }

// Rows returns the selected nodes in an order; with problems only those whose State is
// not OK.
func (r Result) Rows(order Order, problems bool) []Row {
	if r.Status == nil {
		return nil
	}
	usual, _ := r.versions()
	codes := map[string][]condition{} // by the name of the agent that they are of
	for _, c := range r.health {
		if c.Agent != "" {
			codes[awa.NameKey(c.Agent)] = append(codes[awa.NameKey(c.Agent)], c)
		}
	}
	rows := make([]Row, 0, len(r.Status.Nodes))
	for _, n := range r.Status.Nodes {
		row := r.row(n, codes[n.Node.Key()], usual)
		if row.State != OK || !problems {
			rows = append(rows, row)
		}
	}
	order.sort(rows)
	return rows
}

// row says how a node is, with the health codes that are of its agent.
func (r Result) row(n awa.NodeStatus, codes []condition, usual string) Row {
	row := Row{NodeStatus: n, Name: nodeName(n.Node.Name), Status: r.statusOf(n), Labels: labelsText(n.Node.Labels),
		Addr: clip(plain(n.Node.Addr()), maxAddr)}
	if !n.Since.IsZero() {
		row.Since = awa.Ago(r.sweptAt().Sub(n.Since))
	}
	if n.Verdict == awa.Online && n.Told == 0 {
		row.RTT = shortSpan(n.RTT)
	}
	row.State, row.Why = r.whatIs(n, codes, usual)
	if n.Node.InMaintenance(r.at) {
		row.State = OK
		row.Why = strings.TrimSuffix(r.maintenanceText(n.Node)+", "+row.Why, ", ")
	}
	return row
}

// statusOf is a verdict in one word.
func (r Result) statusOf(n awa.NodeStatus) string {
	switch {
	case n.Verdict == awa.Online:
		return "Online"
	case n.Verdict == awa.Unreachable:
		return "Unreachable"
	case n.Verdict == awa.Mismatch:
		return "Mismatch"
	case n.Verdict == awa.Unjudged:
		return "Not asked"
	case r.stopped(n):
		return "Stopped"
	}
	return "Offline"
}

// whatIs returns how grave a node is, maintenance aside, and what there is to say of it.
// usual is the version that most agents have.
func (r Result) whatIs(n awa.NodeStatus, codes []condition, usual string) (state State, why string) {
	var all []string
	switch {
	case n.Verdict == awa.Online:
		state, all = r.measuredOf(n)
		all = append(all, onlineNotes(n, usual)...)
	case n.Verdict == awa.Unreachable:
		state, all = Warning, []string{r.cutOff(n)}
	case n.Verdict == awa.Mismatch: // by what it replied
		state, all = Critical, []string{strings.TrimPrefix(r.reason(n), string(awa.StageReply)+": ")}
	case n.Verdict == awa.Unjudged:
		state, all = Unknown, []string{r.reason(n)}
	default:
		state, all = Critical, []string{strings.Replace(r.reason(n), awa.NotRunning+" ("+awa.Refused+")", shortNotRunning, 1)}
		if r.stopped(n) {
			state = *r.rules.Stopped
		}
	}
	for _, c := range codes {
		if c.state != OK || !c.Code.Quiet() {
			all = append(all, string(c.Code))
		}
		state = worse(state, c.state)
	}
	return state, clip(plain(strings.Join(all, ", ")), maxText)
}

// shortNotRunning is awa.NotRunning where there is little room.
const shortNotRunning = "host answers, agent not running"

// cutOff says who sees a node that is unreachable: what matters most first, since a terminal may
// cut the rest.
func (r Result) cutOff(n awa.NodeStatus) string {
	others := "another agent sees it"
	switch {
	case len(n.SeenBy) == 1:
		others = n.SeenBy[0] + " sees it"
	case len(n.SeenBy) > 1:
		others = fmt.Sprintf("%d others see it", len(n.SeenBy))
	}
	why := others + ", " + orWord(r.Status.Agent, "the agent asked") + " does not: " + orWord(r.words(n), "no reason given")
	if len(n.SeenBy) > 1 {
		why += " (seen by " + strings.Join(n.SeenBy, ", ") + ")"
	}
	if n.Flapping > 0 {
		why += ", " + flappingText(n)
	}
	return why
}

// notableSkew is from when on a clock's skew is worth showing, whatever the ranges are.
const notableSkew = time.Second

// measuredOf judges the numbers of a node that is online, and says which ones matter.
func (r Result) measuredOf(n awa.NodeStatus) (state State, notable []string) {
	skew, known := certainSkew(n)
	state = worse(r.rules.Behind.state(float64(n.Behind), 0), r.rules.RTT.state(inSeconds(n.RTT), 0))
	if n.Behind > 0 {
		notable = append(notable, countText(n.Behind, "change")+" behind")
	}
	if known {
		alarm := r.rules.Skew.state(inSeconds(skew), 0)
		state = worse(state, alarm)
		if alarm != OK || skew >= notableSkew {
			notable = append(notable, "clock "+skewText(n)+" "+orWord(clip(plain(r.Status.Agent), maxShort), "the agent asked"))
		}
	}
	if r.rules.RTT.state(inSeconds(n.RTT), 0) != OK {
		notable = append(notable, "answers late")
	}
	return state, notable
}

// onlineNotes is what else there is to say of a node that is online.
func onlineNotes(n awa.NodeStatus, usual string) (all []string) {
	switch version := versionOf(n); {
	case n.Self != nil && n.Self.IsOriginal():
		all = append(all, "original program")
	case version != "" && version != usual:
		all = append(all, "version "+version)
	}
	if n.Flapping > 0 {
		all = append(all, flappingText(n))
	}
	if n.Error != "" {
		all = append(all, "it is the agent asked, and can't reach its own address: "+n.Failure())
	}
	return all
}

// maintenanceText says until when a node is under maintenance, and why: "maintenance until 19:00: new
// disk".
func (r Result) maintenanceText(n awa.Node) string {
	end := n.Maintenance
	if at, err := time.Parse(time.RFC3339, end); err == nil {
		_, end, _ = strings.Cut(r.clock(at), " ")
	}
	return "maintenance " + clip(plain(n.UntilAndWhy(end)), maxOnlyWhy)
}

// versionOf is the version of the agent of a node, "" when it is not known.
func versionOf(n awa.NodeStatus) string {
	if n.Verdict != awa.Online || n.Self == nil || n.Self.IsOriginal() {
		return ""
	}
	return n.Self.Version
}

// versions returns the version that most agents have and, where they differ, which nodes
// have which: "versions: 0.2.0 (n1-n9), 0.1.0 (n10)".
func (r Result) versions() (usual, text string) {
	names := map[string][]string{}
	for _, n := range r.Status.Nodes {
		if v := versionOf(n); v != "" {
			names[v] = append(names[v], n.Node.Name)
		}
	}
	all := largestFirst(names)
	if len(all) == 0 {
		return "", ""
	}
	var parts []string
	for _, v := range all {
		parts = append(parts, clip(plain(v), maxShort)+" ("+spansText(spansOf(names[v]), maxWhy)+")")
	}
	if len(all) > 1 {
		text = "versions: " + strings.Join(parts[:min(len(parts), maxNamed)], ", ")
	}
	return all[0], text
}

// largestFirst returns the keys, those with the most names first.
func largestFirst(names map[string][]string) []string {
	return slices.SortedFunc(maps.Keys(names), func(a, b string) int {
		return cmp.Or(cmp.Compare(len(names[b]), len(names[a])), cmp.Compare(b, a))
	})
}

// labelsText returns labels as "rack=r7,role=db".
func labelsText(labels map[string]string) string {
	var all []string
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		all = append(all, Label{key, labels[key]}.String())
	}
	return clip(plain(strings.Join(all, ",")), maxText)
}

// shortSpan is a round trip with two or three digits: "0.2 ms", "12 ms", "1.2 s".
func shortSpan(d time.Duration) string {
	ms := float64(d) / float64(time.Millisecond)
	switch {
	case ms < 9.95:
		return strconv.FormatFloat(ms, 'f', 1, 64) + " ms"
	case ms < 999.5:
		return strconv.FormatFloat(ms, 'f', 0, 64) + " ms"
	}
	return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + " s"
}
