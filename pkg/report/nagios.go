package report

import (
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"are-we-alive/pkg/awa"
)

// maxLine is the longest line of Nagios in bytes with its line break. NRPE v2
// carries no more than 1,023.
const maxLine = 1023

// Nagios writes the plugin's one line: service, state, text, and behind a | the
// performance data,
//
//	AWA CRITICAL - 1 of 3 nodes offline: n3 (connect: connection refused) | online=2;;;0;3 offline=1;;0;0;3 …
//
// It is shorter than 1,024 bytes with its line break, however many nodes there
// are.
func Nagios(w io.Writer, r Result) error {
	perf := r.perfdata()
	if perf != "" {
		perf = " | " + perf
	}
	lead := r.lead()
	text := r.text(min(maxText, maxLine-len(lead)-len(perf)-len("\n")))
	_, err := io.WriteString(w, lead+text+perf+"\n")
	return err
}

// Headline returns the result as the plugin's line has it, without performance data.
func (r Result) Headline() string { return r.lead() + r.Text() }

// lead is what stands in front of the text: service and state.
func (r Result) lead() string { return "AWA " + r.State.String() + " - " }

// perfdata writes the performance data by the Monitoring Plugins Development
// Guidelines: base units, one space between, labels that need no quotes and
// differ within 19 characters (RRDtool's limit). A value that is not known is
// left out, since not every reader knows the guidelines' U.
//
//	online   nodes that answered
//	offline  nodes that answered nobody
//	unreachable  nodes that answered other agents only
//	unjudged nodes for which no time was left, when there are any
//	stopped  nodes whose agents were stopped, with --stopped-state
//	mismatch nodes at whose address something else answered
//	maintenance  nodes under maintenance, which count in none of the others
//	health   health codes that count as a problem
//	behind   the largest number of changes that an online node lacks
//	rtt_max  longest round trip to an online node, in seconds
//	skew_max largest clock skew of an online node, in seconds, ahead or behind,
//	         less what a slow answer leaves open
//	time     duration of the whole check, in seconds
//	state    the plugin's state, 0 to 3
//
// All are of the selected nodes, and all but online without those under
// maintenance. The thresholds of Rules.Dead stand at offline and at mismatch:
// they hold for the two together.
func (r Result) perfdata() string {
	var values []string
	add := func(label, value string, l Limits, rest string) {
		n := r.Counts.Nodes
		values = append(values, label+"="+value+";"+l.Warning.Absolute(n)+";"+l.Critical.Absolute(n)+";0"+rest)
	}
	if r.Counts.All() > 0 {
		of := ";" + strconv.Itoa(r.Counts.Nodes)
		add("online", strconv.Itoa(r.Counts.Online), Limits{}, of)
		add("offline", strconv.Itoa(r.Counts.Offline), r.rules.Dead, of)
		add("unreachable", strconv.Itoa(r.Counts.Unreachable), r.rules.Unreachable, of)
		if r.rules.Stopped != nil {
			add("stopped", strconv.Itoa(r.Counts.Stopped), Limits{}, of)
		}
		if r.Counts.Unjudged > 0 {
			add("unjudged", strconv.Itoa(r.Counts.Unjudged), Limits{}, of)
		}
		add("mismatch", strconv.Itoa(r.Counts.Mismatch), r.rules.Dead, of)
		add("maintenance", strconv.Itoa(r.Counts.Maintenance), Limits{}, "")
		add("health", strconv.Itoa(r.healthProblems()), Limits{}, "")
	}
	if m := r.Maxima.Behind; m != nil {
		add("behind", strconv.FormatUint(*m, 10), r.rules.Behind, "")
	}
	if m := r.Maxima.RTT; m != nil {
		add("rtt_max", seconds(*m), r.rules.RTT, "")
	}
	if m := r.Maxima.Skew; m != nil {
		add("skew_max", seconds(*m), r.rules.Skew, "")
	}
	if r.Took > 0 {
		add("time", seconds(r.Took), Limits{}, "")
	}
	if r.Status != nil || len(r.Failures) > 0 {
		add("state", strconv.Itoa(r.State.ExitCode()), Limits{}, ";3")
	}
	return strings.Join(values, " ")
}

// seconds writes a duration in seconds, down to microseconds, with the unit.
func seconds(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', 6, 64) + "s" }

// NodePerfdata writes performance data of each online node, its round trip in
// seconds, as the last line of a plugin's output:
//
//	round trips of 2 nodes | rtt-web1=0.000221s rtt-web2=0.000198s
//
// Nothing is written when no node is online. It is one line, since Icinga 2
// looks for a | in every line, and takes one without for text, while Nagios
// takes all behind the first | below the plugin's own line for performance
// data. Of a line beyond 64 KB, some 2,000 nodes, Telegraf reads nothing;
// Nagios reads the first 8 KB of an output.
func NodePerfdata(w io.Writer, r Result) error {
	if r.Status == nil {
		return nil
	}
	var values []string
	seen := map[string]bool{}
	for _, n := range r.Status.Nodes {
		label := rttLabel(n.Node.Name)
		if n.Verdict != awa.Online || seen[label] {
			continue
		}
		seen[label] = true
		values = append(values, label+"="+seconds(n.RTT))
	}
	if len(values) == 0 {
		return nil
	}
	_, err := fmt.Fprintf(w, "round trips of %s | %s\n", countText(len(values), "node"), strings.Join(values, " "))
	return err
}

const (
	// maxLabel is the longest label in bytes that every reader distinguishes from
	// others (RRDtool's data sources).
	maxLabel = 19
	// rttPrefix begins the label of a node. No other label holds a dash.
	rttPrefix = "rtt-"
	// hashMark stands before the hash in a label. No name holds one, so that
	// no short name looks like a long one that was cut.
	hashMark = "~"
	// hashLength is that of the hash in characters of 5 bits each: among a
	// thousand long names two are the same in one of two million clusters.
	hashLength = 8
)

// rttLabel is the label of a node's round trip. It depends on nothing but the
// node's name: that name if it is short, else its beginning and a hash of it
// all, without regard to case.
func rttLabel(name string) string {
	const room = maxLabel - len(rttPrefix)
	if len(name) <= room && awa.CheckName(name) == nil {
		return rttPrefix + name
	}
	sum := sha256.Sum256([]byte(awa.NameKey(name)))
	hash := strings.ToLower(base32.StdEncoding.EncodeToString(sum[:]))[:hashLength]
	if awa.CheckName(name) != nil { // then no agent of ours gave it
		return rttPrefix + hashMark + hash
	}
	return rttPrefix + name[:room-len(hashMark)-hashLength] + hashMark + hash
}
