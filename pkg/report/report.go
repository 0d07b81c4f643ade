// Package report says what an agent saw in the words of the monitoring system
// at hand: it judges a status by thresholds, and writes the result as a
// Nagios plugin's line, a table, Influx line protocol or JSON.
//
// It owns those formats and the rule that makes a text safe for them. It asks
// nobody and knows no clock and no terminal: every function is pure, or
// writes onto the io.Writer it is given.
package report

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"are-we-alive/pkg/awa"
)

// State is a plugin's verdict on a whole check. Its number is the plugin's
// exit code (Monitoring Plugins Development Guidelines, "Plugin Return Codes").
type State int

// The states.
const (
	OK       State = 0
	Warning  State = 1
	Critical State = 2
	Unknown  State = 3
)

// String returns the state as it stands in a plugin's line.
func (s State) String() string {
	switch s {
	case OK:
		return "OK"
	case Warning:
		return "WARNING"
	case Critical:
		return "CRITICAL"
	}
	return "UNKNOWN"
}

// ExitCode is 0 to 3, whatever number the state holds.
func (s State) ExitCode() int {
	if s < OK || s > Unknown {
		return int(Unknown)
	}
	return int(s)
}

// ParseState reads ok, warning, critical or unknown. The error names what it
// got.
func ParseState(s string) (State, error) {
	for state := OK; state <= Unknown; state++ {
		if strings.EqualFold(s, state.String()) {
			return state, nil
		}
	}
	return Unknown, fmt.Errorf("%q is not a state: use ok, warning, critical or unknown", clip(s, MaxRange))
}

// worse returns the worse of two states: CRITICAL before UNKNOWN before WARNING
// before OK, since what is known to be dead matters more than what is not known.
func worse(a, b State) State {
	rank := [...]int{OK: 0, Warning: 1, Unknown: 2, Critical: 3}
	if rank[b] > rank[a] {
		return b
	}
	return a
}

// worstFirst compares two states for sorting, the worse one first.
func worstFirst(a, b State) int {
	switch {
	case a == b:
		return 0
	case worse(a, b) == a:
		return -1
	}
	return 1
}

// Limits are the two ranges of one value. The zero Limits never alert.
type Limits struct {
	Warning  Threshold
	Critical Threshold
}

// state judges a value; percentages are of whole.
func (l Limits) state(value float64, whole int) State {
	switch {
	case l.Critical.Alerts(value, whole):
		return Critical
	case l.Warning.Alerts(value, whole):
		return Warning
	}
	return OK
}

// Rules say what is a problem. The zero Rules find none. Nodes under
// maintenance never are one.
type Rules struct {
	Dead        Limits // of the number of nodes that are offline or a mismatch; percentages are of the selected nodes
	Unreachable Limits // of the number of unreachable nodes; percentages likewise
	Behind      Limits // of the largest number of changes that an online node lacks
	Skew        Limits // of the largest absolute clock skew of an online node, in seconds
	RTT         Limits // of the longest round trip to an online node, in seconds
	// NoMajority is the state when fewer than a majority of the voters are
	// alive, so that nobody can edit the list.
	NoMajority State
	// Stopped is the state when nodes are offline whose agents said that they were being
	// stopped. With nil they count as any node that is offline.
	Stopped *State
	// Health are the states of the health codes; nil has none of them count.
	Health map[awa.HealthCode]State
}

// Counts says how many of the selected nodes are how. The other numbers add up
// to Nodes.
type Counts struct {
	Nodes       int // the sum of the next six
	Online      int // it answered
	Offline     int // it answered nobody
	Mismatch    int // something answered, and it was not this node's agent
	Unreachable int // it answered other agents only
	Unjudged    int // it could not be looked at before the answer was due
	Stopped     int // it answered nobody, and had said before that it was being stopped; see Rules.Stopped
	Maintenance int // it is under maintenance, and counts nowhere else
}

// All is how many nodes were judged, those under maintenance included.
func (c Counts) All() int { return c.Nodes + c.Maintenance }

// Dead is how many nodes are not alive.
func (c Counts) Dead() int { return c.Offline + c.Mismatch }

// Maxima are the worst values of the selected nodes that are online and not
// under maintenance; nil where there is none.
type Maxima struct {
	Behind *uint64        // changes
	Skew   *time.Duration // absolute, what is certain of it; of the nodes whose skew is known
	RTT    *time.Duration
}

// Failure is an agent that was asked and gave no status.
type Failure struct {
	Agent string // its address, as host:port
	Err   error
}

// Result is what a check found, ready to be written in any format. It is made
// by Evaluate, NoAnswer, KeyRefused or NoResult.
type Result struct {
	State  State
	Status *awa.ClusterStatus // the agent's answer with the selected nodes only; nil when there was none
	Counts Counts
	Maxima Maxima
	// DeadVoters are the names of the voters that are not alive, when the
	// others are not a majority: then nobody can edit the list. It is found out over
	// all nodes, whichever are selected, and not when they are selected by name.
	DeadVoters []string
	// Failures are the agents that gave no status, also when another one did.
	Failures []Failure
	// Took is how long the whole check took; 0 leaves it out.
	Took time.Duration
	// ShowMesh has JSON show who does not see whom.
	ShowMesh bool

	Asked    []string  // the agents of the command line, as host:port
	at       time.Time // when it was judged
	rules    Rules
	named    bool            // nodes were selected by name
	voters   int             // that are on the list
	listed   map[string]bool // names of the whole list, by awa.NameKey
	health   []condition
	mesh     mesh
	findings []finding
	sentence string // instead of what Text would say, when not ""
	// keyRefused: all Failures are of the key.
	keyRefused bool
}

// ErrIsolated is the Failure of an agent whose view was not used, since it
// reaches no other agent and another one that was asked does.
var ErrIsolated = errors.New("reaches no other agent, so its view is not used")

// ErrDoubtful is the Failure of an agent whose view was not used, since it is alone on its
// list or not on it, or its list is not that of the cluster, and another agent that was
// asked knows better.
var ErrDoubtful = errors.New("is alone on its list, not on it, or has another list than the cluster, so its view is " +
	"not used")

// Evaluate judges the selected nodes of a status by the rules. Without any
// node it is Unknown, and so it is when a node selected by name is not on the
// list. The voters are not judged when nodes are selected by name.
func Evaluate(st awa.ClusterStatus, sel Selection, rules Rules, now time.Time) Result {
	r := Result{at: now, rules: rules, named: len(sel.Names) > 0}
	if !r.named { // else the status may be of those nodes alone
		r.countVoters(st)
	}
	r.listed = make(map[string]bool, len(st.Nodes))
	for _, n := range st.Nodes {
		r.listed[n.Node.Key()] = true
	}
	r.mesh = meshOf(st)
	st.Nodes, r.sentence = sel.of(st)
	r.Status = &st
	if r.sentence != "" {
		r.State = Unknown
		return r
	}
	r.health = r.conditions(st.Nodes, st.Health)
	r.count()
	r.judge()
	return r
}

// countVoters finds out whether a majority of the voters is alive. A voter
// that is not on the list, since it was just removed, counts no more.
func (r *Result) countVoters(st awa.ClusterStatus) {
	verdicts := make(map[string]awa.Verdict, len(st.Nodes))
	for _, n := range st.Nodes {
		verdicts[n.Node.Key()] = n.Verdict
	}
	var dead []string
	for _, name := range st.Voters {
		verdict, listed := verdicts[awa.NameKey(name)]
		if !listed {
			continue
		}
		r.voters++
		if verdict != awa.Online && verdict != awa.Unreachable && verdict != awa.Unjudged {
			dead = append(dead, name)
		}
	}
	if 2*len(dead) >= r.voters {
		r.DeadVoters = dead
	}
}

// count fills in Counts and Maxima.
func (r *Result) count() {
	for _, n := range r.Status.Nodes {
		if n.Node.InMaintenance(r.at) {
			r.Counts.Maintenance++
			continue
		}
		r.Counts.Nodes++
		switch {
		case n.Verdict == awa.Online:
			r.Counts.Online++
			r.Maxima.add(n)
		case r.stopped(n):
			r.Counts.Stopped++
		case n.Verdict == awa.Unreachable:
			r.Counts.Unreachable++
		case n.Verdict == awa.Mismatch:
			r.Counts.Mismatch++
		case n.Verdict == awa.Unjudged:
			r.Counts.Unjudged++
		default:
			r.Counts.Offline++
		}
	}
}

// add takes a node into account that is online.
func (m *Maxima) add(n awa.NodeStatus) {
	if m.RTT == nil || n.RTT > *m.RTT {
		m.RTT = &n.RTT
	}
	if m.Behind == nil || n.Behind > *m.Behind {
		m.Behind = &n.Behind
	}
	if skew, known := certainSkew(n); known && (m.Skew == nil || skew > *m.Skew) {
		m.Skew = &skew
	}
}

// certainSkew is how far a node's clock differs from that of the agent asked at
// least, and whether that is known: a slow answer leaves it open by half its time.
func certainSkew(n awa.NodeStatus) (d time.Duration, known bool) {
	return max(0, n.Skew.Abs()-n.SkewError), n.SkewError > 0
}

// NoAnswer is the result when none of the agents that were asked gave a
// status.
func NoAnswer(failures []Failure, state State, now time.Time) Result {
	return Result{State: state, Failures: failures, at: now}
}

// KeyRefused is the result when no agent that was asked accepts the key:
// Unknown, since nothing is known of the cluster then.
func KeyRefused(failures []Failure, now time.Time) Result {
	return Result{State: Unknown, Failures: failures, at: now, keyRefused: true}
}

// NoResult is the result of a check that could not be made: Unknown, with a
// sentence that says why.
func NoResult(sentence string, now time.Time) Result {
	return Result{State: Unknown, sentence: sentence, at: now}
}

// counts reports whether a node's numbers count in Maxima.
func (r Result) counts(n awa.NodeStatus) bool {
	return n.Verdict == awa.Online && !n.Node.InMaintenance(r.at)
}

// stopped reports whether a node counts as stopped instead of offline.
func (r Result) stopped(n awa.NodeStatus) bool {
	return r.rules.Stopped != nil && n.Verdict == awa.Offline && n.Goodbye != nil
}

// problem reports whether a node counts as one.
func (r Result) problem(n awa.NodeStatus) bool {
	return n.Verdict != awa.Online && !n.Node.InMaintenance(r.at)
}

// reason says why a node is not online, and what others say of it.
func (r Result) reason(n awa.NodeStatus) string {
	why := n.Reason(r.words(n))
	if n.Flapping > 0 {
		why += ", " + flappingText(n)
	}
	return why
}

// flappingText says how often a node changed lately.
func flappingText(n awa.NodeStatus) string {
	return fmt.Sprintf("flapping (%d changes in 10 minutes)", n.Flapping)
}

func orWord(s, word string) string {
	if s == "" {
		return word
	}
	return s
}
