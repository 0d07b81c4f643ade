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

// String gives the state as it stands in a plugin's line.
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

// Rules say which number of nodes that are not alive is a problem. The zero
// Rules find none.
type Rules struct {
	Warning  Threshold
	Critical Threshold
}

// Counts says how many nodes are how. Online, Offline, Unreachable and
// Maintenance add up to Nodes.
type Counts struct {
	Nodes       int
	Online      int // it answered; a node under maintenance may well do so
	Offline     int // it answered nobody, or was not itself, and that counts
	Unreachable int // it answered other agents only
	Maintenance int // it is not online, but under maintenance
}

// Failure is an agent that was asked and gave no status.
type Failure struct {
	Agent string // its address, as host:port
	Err   error
}

// Result is what a check found, ready to be written in any format. It is made
// by Evaluate, NoAnswer or NoResult.
type Result struct {
	State  State
	Status *awa.ClusterStatus // the agent's answer; nil when there was none
	Counts Counts
	RTTMax time.Duration // the longest of the online nodes; 0 when there are none
	// Failures are the agents that gave no status, also when another one did.
	Failures []Failure
	// Took is how long the whole check took; 0 leaves it out.
	Took time.Duration

	at       time.Time // when it was judged
	rules    Rules
	sentence string // instead of what Text would say, when not ""
}

// ErrIsolated is the Failure of an agent whose view was not used, since it
// reaches no other agent and another one that was asked does.
var ErrIsolated = errors.New("reaches no other agent, so its view is not used")

// Evaluate judges a status. The number of nodes whose verdict is offline or
// mismatch, without those under maintenance now, is held against the rules, of
// which percentages are of all nodes. A node that is unreachable and not under
// maintenance is a Warning at least. A list without nodes is Unknown.
func Evaluate(st awa.ClusterStatus, rules Rules, now time.Time) Result {
	r := Result{Status: &st, at: now, rules: rules}
	r.Counts.Nodes = len(st.Nodes)
	for _, n := range st.Nodes {
		switch {
		case n.Verdict == awa.Online:
			r.Counts.Online++
			r.RTTMax = max(r.RTTMax, n.RTT)
		case n.Node.InMaintenance(now):
			r.Counts.Maintenance++
		case n.Verdict == awa.Unreachable:
			r.Counts.Unreachable++
		default:
			r.Counts.Offline++
		}
	}
	switch {
	case r.Counts.Nodes == 0:
		r.State = Unknown
		r.sentence = fmt.Sprintf("the node list of %s is empty, so there is nothing to judge: add nodes with awa-agent node add", orWord(plain(st.Agent), "this agent"))
	case rules.Critical.Alerts(float64(r.Counts.Offline), r.Counts.Nodes):
		r.State = Critical
	case r.Counts.Unreachable > 0, rules.Warning.Alerts(float64(r.Counts.Offline), r.Counts.Nodes):
		r.State = Warning
	}
	return r
}

// NoAnswer is the result when none of the agents that were asked gave a
// status: Critical, since whoever asks must assume the worst.
func NoAnswer(failures []Failure, now time.Time) Result {
	return Result{State: Critical, Failures: failures, at: now}
}

// NoResult is the result of a check that could not be made: Unknown, with a
// sentence that says why.
func NoResult(sentence string, now time.Time) Result {
	return Result{State: Unknown, sentence: sentence, at: now}
}

// problem tells whether a node counts as one.
func (r Result) problem(n awa.NodeStatus) bool {
	return n.Verdict != awa.Online && !n.Node.InMaintenance(r.at)
}

// isDead tells whether a node counts as offline, and not as unreachable.
func (r Result) isDead(n awa.NodeStatus) bool { return r.problem(n) && n.Verdict != awa.Unreachable }

// isCutOff tells whether a node counts as unreachable.
func (r Result) isCutOff(n awa.NodeStatus) bool { return r.problem(n) && n.Verdict == awa.Unreachable }

// reason says why a node is not online, and what others say of it: "connect:
// connection refused, 3 others do not see it either". A verdict that is
// neither offline nor unreachable stands before it.
func reason(n awa.NodeStatus) string {
	why := n.Error
	if n.Stage != awa.StageNone && why != "" {
		why = string(n.Stage) + ": " + why
	}
	switch {
	case n.Verdict == awa.Offline:
		why = orWord(why, "no reason given")
	case n.Verdict == awa.Unreachable:
		return "seen by " + orWord(strings.Join(n.SeenBy, " and "), "another agent") + ", not from here: " + orWord(why, "no reason given")
	case why == "":
		why = orWord(string(n.Verdict), "no verdict given")
	default:
		why = string(n.Verdict) + ", " + why
	}
	switch {
	case n.Asked == 1:
		why += ", 1 other does not see it either"
	case n.Asked > 1:
		why += fmt.Sprintf(", %d others do not see it either", n.Asked)
	}
	return why
}

func orWord(s, word string) string {
	if s == "" {
		return word
	}
	return s
}
