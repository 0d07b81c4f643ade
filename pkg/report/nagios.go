package report

import (
	"io"
	"strconv"
	"strings"
	"time"
)

// Nagios writes the plugin's one line: service, state, text, and behind a | the
// performance data,
//
//	AWA CRITICAL - 1 of 3 nodes offline: n3 (connect: connection refused) | online=2;;;0;3 offline=1;;0;0;3 …
//
// It is shorter than 1,024 bytes with its line break, however many nodes there
// are (NRPE v2 carries no more).
func Nagios(w io.Writer, r Result) error {
	line := headline(r)
	if perf := r.perfdata(); perf != "" {
		line += " | " + perf
	}
	_, err := io.WriteString(w, line+"\n")
	return err
}

// headline is the plugin's line without performance data.
func headline(r Result) string { return "AWA " + r.State.String() + " - " + r.Text() }

// perfdata writes the performance data by the Monitoring Plugins Development
// Guidelines: base units, one space between, labels that need no quotes and
// differ within 19 characters (RRDtool's limit). A value that is not known is
// left out, since not every reader knows the guidelines' U.
//
//	online   nodes that answered
//	offline  nodes that did not, or not as themselves, without those under maintenance; the thresholds are its own
//	unreachable  nodes that answered other agents only, without those under maintenance
//	rtt_max  longest round trip to an online node, in seconds
//	time     duration of the whole check, in seconds
//	state    the plugin's state, 0 to 3
func (r Result) perfdata() string {
	var values []string
	if r.Status != nil && r.Counts.Nodes > 0 {
		n := r.Counts.Nodes
		nodes := strconv.Itoa(n)
		values = append(values,
			"online="+strconv.Itoa(r.Counts.Online)+";;;0;"+nodes,
			"offline="+strconv.Itoa(r.Counts.Offline)+";"+r.rules.Warning.Absolute(n)+";"+r.rules.Critical.Absolute(n)+";0;"+nodes,
			"unreachable="+strconv.Itoa(r.Counts.Unreachable)+";;;0;"+nodes)
		if r.Counts.Online > 0 {
			values = append(values, "rtt_max="+seconds(r.RTTMax)+"s;;;0")
		}
	}
	if r.Took > 0 {
		values = append(values, "time="+seconds(r.Took)+"s;;;0")
	}
	if r.Status != nil || len(r.Failures) > 0 {
		values = append(values, "state="+strconv.Itoa(r.State.ExitCode())+";;;0;3")
	}
	return strings.Join(values, " ")
}

// seconds writes a duration in seconds, down to microseconds.
func seconds(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', 6, 64) }
