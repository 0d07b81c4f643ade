package report

import (
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/influxdata/line-protocol/v2/lineprotocol"

	"are-we-alive/pkg/awa"
)

// Influx writes the result as Influx line protocol: a line awa_cluster, then a line
// awa_health for each health code that holds, and a line awa_node for each node, with
// the time of the check in nanoseconds. That is the clock of this program: an agent
// whose clock is wrong, or that lies, must not put its lines where nobody looks, nor
// outside what the format can hold.
//
//	awa_cluster  tags asked (the agents of the command line, as host:port with commas
//	             between), cluster, cluster_name
//	  agent        string  the agent whose view it is
//	  state        int     0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN
//	  nodes, online, offline, mismatch, unreachable, maintenance   int   as in Counts
//	  behind_max   int     changes; as the next two left out when it is not known, see Maxima
//	  rtt_max      float   seconds
//	  skew_max     float   seconds, absolute, less the error of the measurement
//	  took         float   seconds that the sweep took
//	  list_state   int     id of the newest change of the agent's list
//	  voters       int     as far as known
//	  no_majority  int     1 when fewer than a majority of them are alive, else 0
//	  health       int     health codes that count as a problem
//	  leader       string  its name; left out when none is known
//	  isolated     int     1 when the agent reaches no other one, else 0
//	  error        string  why there is nothing to judge; else left out
//	awa_health   tags cluster, cluster_name, code, node (the agent that it is about, if it is about one)
//	  agent        string  as above
//	  state        int     0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN
//	  text         string  what is wrong and what to do
//	awa_node     tags cluster, cluster_name, host, node and the node's labels
//	  agent        string  as above
//	  online       int     1 or 0
//	  verdict      string
//	  since        int     seconds since 1970 at which it came to be so; where it is known
//	  health       int     health codes of the node that count as a problem
//	  maintenance  int     1 while under maintenance, else 0
//	  port         int
//	  rtt          float   seconds; of an online node only
//	  behind       int     changes that its list lacks; of an online node only
//	  skew, skew_error   float   seconds its clock is ahead, give or take; where it is known
//	  error        string  stage and cause; of the others only
//
// A label whose key is that of a tag or field of awa_node, or time, or that
// begins with label_, becomes a tag with label_ before its key.
//
// Without an agent's answer there is one line awa_cluster with the tag asked alone, and
// the fields state and error.
func Influx(w io.Writer, r Result) error {
	var e lineprotocol.Encoder
	if r.Status == nil {
		e.StartLine("awa_cluster")
		addTag(&e, "asked", strings.Join(r.Asked, ","))
		e.AddField("state", lineprotocol.IntValue(int64(r.State.ExitCode())))
		e.AddField("error", stringValue(r.Text()))
		e.EndLine(r.at)
	} else {
		r.encodeCluster(&e)
		for _, c := range r.health {
			r.encodeHealth(&e, c)
		}
		for _, n := range r.Status.Nodes {
			r.encodeNode(&e, n)
		}
	}
	if err := e.Err(); err != nil {
		return fmt.Errorf("write line protocol: %w", err)
	}
	_, err := w.Write(e.Bytes())
	return err
}

func (r Result) encodeCluster(e *lineprotocol.Encoder) {
	st := r.Status
	e.StartLine("awa_cluster")
	addTag(e, "asked", strings.Join(r.Asked, ","))
	addTag(e, "cluster", st.Cluster)
	addTag(e, "cluster_name", st.ClusterName)
	e.AddField("agent", stringValue(st.Agent))
	addInt(e, "state", r.State.ExitCode())
	addInt(e, "nodes", r.Counts.Nodes)
	addInt(e, "online", r.Counts.Online)
	addInt(e, "offline", r.Counts.Offline)
	addInt(e, "mismatch", r.Counts.Mismatch)
	addInt(e, "unreachable", r.Counts.Unreachable)
	addInt(e, "maintenance", r.Counts.Maintenance)
	if r.Counts.Unjudged > 0 {
		addInt(e, "unjudged", r.Counts.Unjudged)
	}
	if m := r.Maxima.Behind; m != nil {
		e.AddField("behind_max", countValue(*m))
	}
	if m := r.Maxima.RTT; m != nil {
		addFloat(e, "rtt_max", m.Seconds())
	}
	if m := r.Maxima.Skew; m != nil {
		addFloat(e, "skew_max", m.Seconds())
	}
	addFloat(e, "took", st.Took.Seconds())
	e.AddField("list_state", countValue(st.State))
	addInt(e, "voters", len(st.Voters))
	addBool(e, "no_majority", len(r.DeadVoters) > 0 || slices.ContainsFunc(st.Health, func(c awa.Condition) bool {
		return c.Code == awa.NoMajority
	}))
	addInt(e, "health", r.healthProblems())
	if st.Leader != "" {
		e.AddField("leader", stringValue(st.Leader))
	}
	addBool(e, "isolated", st.Isolated)
	if r.sentence != "" {
		e.AddField("error", stringValue(r.Text()))
	}
	e.EndLine(r.at)
}

func (r Result) encodeHealth(e *lineprotocol.Encoder, c condition) {
	e.StartLine("awa_health")
	addTag(e, "cluster", r.Status.Cluster)
	addTag(e, "cluster_name", r.Status.ClusterName)
	addTag(e, "code", string(c.Code))
	addTag(e, "node", c.Agent)
	e.AddField("agent", stringValue(r.Status.Agent))
	addInt(e, "state", c.state.ExitCode())
	e.AddField("text", stringValue(c.Text))
	e.EndLine(r.at)
}

func (r Result) encodeNode(e *lineprotocol.Encoder, n awa.NodeStatus) {
	e.StartLine("awa_node")
	tags := map[string]string{"cluster": r.Status.Cluster, "cluster_name": r.Status.ClusterName, "host": n.Node.Host,
		"node": n.Node.Name}
	for key, value := range n.Node.Labels {
		if awa.CheckName(key) == nil { // else no agent of ours gave it
			tags[labelTag(key)] = value
		}
	}
	for _, key := range slices.Sorted(maps.Keys(tags)) { // as the format wants them
		addTag(e, key, tags[key])
	}
	e.AddField("agent", stringValue(r.Status.Agent))
	addBool(e, "online", n.Verdict == awa.Online)
	e.AddField("verdict", stringValue(string(n.Verdict)))
	if !n.Since.IsZero() {
		e.AddField("since", lineprotocol.IntValue(n.Since.Unix()))
	}
	addInt(e, "health", r.healthProblemsOf(n.Node.Name))
	addBool(e, "maintenance", n.Node.InMaintenance(r.at))
	addInt(e, "port", int(n.Node.Port))
	if n.Verdict == awa.Online {
		addFloat(e, "rtt", n.RTT.Seconds())
		e.AddField("behind", countValue(n.Behind))
		if n.SkewError > 0 {
			addFloat(e, "skew", n.Skew.Seconds())
			addFloat(e, "skew_error", n.SkewError.Seconds())
		}
	} else {
		e.AddField("error", stringValue(r.reason(n)))
	}
	e.EndLine(r.at)
}

// labelPrefix keeps a label from being taken for something else.
const labelPrefix = "label_"

// labelTag is the key of the tag that a label becomes. Different labels have
// different ones, and none is that of another tag or a field.
func labelTag(key string) string {
	switch key {
	case "cluster", "cluster_name", "host", "node", // the tags of awa_node, and its fields
		"agent", "online", "verdict", "since", "health", "maintenance", "port", "rtt", "behind", "skew", "skew_error", "error",
		"time": // InfluxDB's own
		return labelPrefix + key
	}
	if strings.HasPrefix(key, labelPrefix) {
		return labelPrefix + key
	}
	return key
}

// addTag leaves an empty tag out, which the format doesn't know.
func addTag(e *lineprotocol.Encoder, key, value string) {
	if value = printable(value); strings.HasSuffix(value, `\`) {
		value = value[:len(value)-1] + "?" // can't be written as the last character of a tag
	}
	if value != "" {
		e.AddTag(key, value)
	}
}

func addInt(e *lineprotocol.Encoder, key string, v int) {
	e.AddField(key, lineprotocol.IntValue(int64(v)))
}

// countValue is a number that the format can hold.
func countValue(n uint64) lineprotocol.Value {
	return lineprotocol.IntValue(int64(min(n, math.MaxInt64)))
}

// addBool writes a number, since most readers can't add booleans up.
func addBool(e *lineprotocol.Encoder, key string, v bool) {
	n := 0
	if v {
		n = 1
	}
	addInt(e, key, n)
}

func addFloat(e *lineprotocol.Encoder, key string, v float64) {
	value, ok := lineprotocol.FloatValue(v)
	if ok { // a duration in seconds always is finite
		e.AddField(key, value)
	}
}

func stringValue(s string) lineprotocol.Value {
	v, _ := lineprotocol.StringValue(printable(s)) // which is valid UTF-8
	return v
}

// printable replaces what can't be seen and what is not UTF-8, so that a line
// stays one line for readers that don't know the escape.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case r == utf8.RuneError || !unicode.IsPrint(r):
			return '?'
		}
		return r
	}, s)
}
