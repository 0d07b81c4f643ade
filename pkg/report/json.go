package report

import (
	"bytes"
	"io"
	"time"

	"github.com/goccy/go-json"

	"are-we-alive/pkg/awa"
)

// object is what JSON writes. Times are RFC 3339 in UTC, durations seconds.
// The keys from cluster to nodes are there when an agent answered; errors is
// there when an agent gave no status, be it that another one did.
type object struct {
	State   int      `json:"state"`            // 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN
	Text    string   `json:"text"`             // as in the plugin's line
	TimeS   float64  `json:"time_s,omitempty"` // the whole check
	Cluster string   `json:"cluster,omitempty"`
	Name    string   `json:"cluster_name,omitempty"`
	Agent   string   `json:"agent,omitempty"`  // whose view it is
	Leader  string   `json:"leader,omitempty"` // "" when none is known
	Voters  []string `json:"voters,omitempty"`
	// DeadVoters are those that are not alive, when the others are not a majority.
	DeadVoters []string       `json:"dead_voters,omitempty"`
	Isolated   bool           `json:"isolated,omitempty"`   // the agent reaches no other one
	ListState  *uint64        `json:"list_state,omitempty"` // id of the newest change
	SweptAt    string         `json:"swept_at,omitempty"`
	TookS      *float64       `json:"took_s,omitempty"`     // the sweep
	BehindMax  *uint64        `json:"behind_max,omitempty"` // these three as in Maxima
	RTTMaxS    *float64       `json:"rtt_max_s,omitempty"`
	SkewMaxS   *float64       `json:"skew_max_s,omitempty"` // absolute
	Health     []objectHealth `json:"health,omitempty"`     // the conditions that hold
	Counts     *objectCounts  `json:"counts,omitempty"`     // of the selected nodes
	Mesh       *objectMesh    `json:"mesh,omitempty"`       // with --mesh
	Nodes      *[]objectNode  `json:"nodes,omitempty"`      // the selected ones
	Errors     []objectError  `json:"errors,omitempty"`
}

type objectCounts struct {
	Nodes       int `json:"nodes"`
	Online      int `json:"online"`
	Offline     int `json:"offline"`
	Mismatch    int `json:"mismatch"`
	Unreachable int `json:"unreachable"`
	Unjudged    int `json:"unjudged,omitempty"` // there was no time left for them
	Stopped     int `json:"stopped,omitempty"`  // with --stopped-state
	Maintenance int `json:"maintenance"`
}

type objectNode struct {
	awa.NodeFields             // without uid and changed
	Verdict        awa.Verdict `json:"verdict"`
	Problem        bool        `json:"problem"`               // it counts as offline, mismatch or unreachable
	Maintenance    string      `json:"maintenance,omitempty"` // its end, while it lasts
	Stage          awa.Stage   `json:"stage,omitempty"`
	Error          string      `json:"error,omitempty"`
	Asked          int         `json:"asked,omitempty"`   // other agents that gave a second opinion
	SeenBy         []string    `json:"seen_by,omitempty"` // those that it answered
	RTTS           *float64    `json:"rtt_s,omitempty"`
	Behind         *uint64     `json:"behind,omitempty"` // changes that its list lacks; when online
	SkewS          *float64    `json:"skew_s,omitempty"` // its clock is ahead; where it is known
	SkewErrorS     *float64    `json:"skew_error_s,omitempty"`
	Since          string      `json:"since,omitempty"`
	Version        string      `json:"version,omitempty"` // of its agent; "original" for the original program
	Started        string      `json:"started,omitempty"` // its agent
	Booted         string      `json:"booted,omitempty"`  // its machine
	// Goodbye is what its agent said when it was stopped, Flapping how often its verdict changed
	// lately.
	Goodbye  *objectGoodbye `json:"goodbye,omitempty"`
	Flapping int            `json:"flapping,omitempty"`
}

type objectGoodbye struct {
	At     string         `json:"at"`
	Reason awa.StopReason `json:"reason"`
}

type objectHealth struct {
	Code  awa.HealthCode `json:"code"`
	Agent string         `json:"agent,omitempty"` // none: it is about the cluster
	State int            `json:"state"`           // as that of the check
	Text  string         `json:"text"`
}

type objectError struct {
	Agent string `json:"agent"` // host:port
	Error string `json:"error"`
}

// JSON writes the result as one JSON object on one line:
//
//	{"state":2,"text":"1 of 3 nodes offline: n3 (connect: connection refused)","time_s":0.0123,
//	 "cluster":"…","agent":"n1","leader":"n1","voters":["n1","n2","n3"],"list_state":3,
//	 "swept_at":"2026-11-23T18:00:00Z","took_s":0.004,"behind_max":0,"rtt_max_s":0.0012,"skew_max_s":0.0004,
//	 "counts":{"nodes":3,"online":2,"offline":1,"mismatch":0,"unreachable":0,"maintenance":0},
//	 "nodes":[{"id":1,"name":"n1","host":"10.0.0.1","port":"25483","verdict":"online","problem":false,
//	           "rtt_s":0.0002,"behind":0},
//	          {"id":3,"name":"n3",…,"verdict":"offline","problem":true,"stage":"connect","error":"connection refused"}]}
//
// Without an agent's answer it holds state, text and, when agents were asked,
// errors:
//
//	{"state":2,"text":"no agent answers: …","errors":[{"agent":"127.0.0.1:25483","error":"connect: connection refused"}]}
func JSON(w io.Writer, r Result) error {
	o := object{State: r.State.ExitCode(), Text: r.Text(), TimeS: r.Took.Seconds()}
	for _, f := range r.Failures {
		o.Errors = append(o.Errors, objectError{f.Agent, f.Err.Error()})
	}
	if st := r.Status; st != nil {
		c := objectCounts(r.Counts)
		took, nodes := st.Took.Seconds(), r.objectNodes()
		o.Name = st.ClusterName
		o.Cluster, o.Agent, o.Leader, o.Voters, o.ListState = st.Cluster, st.Agent, st.Leader, st.Voters, &st.State
		o.Isolated, o.DeadVoters = st.Isolated, r.DeadVoters
		o.SweptAt, o.TookS, o.Counts, o.Nodes = timeText(r.sweptAt()), &took, &c, &nodes
		o.Mesh = r.objectMesh()
		for _, c := range r.health {
			o.Health = append(o.Health, objectHealth{c.Code, c.Agent, c.state.ExitCode(), c.Text})
		}
		o.BehindMax = r.Maxima.Behind
		if r.Maxima.RTT != nil {
			o.RTTMaxS = secondsOf(*r.Maxima.RTT)
		}
		if r.Maxima.Skew != nil {
			o.SkewMaxS = secondsOf(*r.Maxima.Skew)
		}
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(o); err != nil {
		return err
	}
	_, err := w.Write(b.Bytes())
	return err
}

func (r Result) objectNodes() []objectNode {
	nodes := make([]objectNode, len(r.Status.Nodes))
	for i, n := range r.Status.Nodes {
		fields := awa.NodeFields(n.Node)
		fields.UID, fields.Changed = "", 0
		o := objectNode{
			NodeFields: fields, Verdict: n.Verdict, Problem: r.problem(n), Stage: n.Stage, Error: n.Error,
			Since: timeText(n.Since),
			Asked: n.Asked, SeenBy: n.SeenBy, Flapping: n.Flapping,
		}
		if n.Goodbye != nil {
			o.Goodbye = &objectGoodbye{timeText(n.Goodbye.At), n.Goodbye.Reason}
		}
		if n.Verdict == awa.Online {
			o.RTTS, o.Behind = secondsOf(n.RTT), &n.Behind
			if n.Self != nil {
				o.Version = n.Self.Version
				o.Started, o.Booted = unixText(n.Self.Started), unixText(n.Self.Booted)
			}
			if n.SkewError > 0 {
				o.SkewS, o.SkewErrorS = secondsOf(n.Skew), secondsOf(n.SkewError)
			}
		}
		if n.Node.InMaintenance(r.at) {
			o.Maintenance = n.Node.Maintenance
		}
		nodes[i] = o
	}
	return nodes
}

// sweptAt is the time of the agent's sweep, or of the check when it is not
// known.
func (r Result) sweptAt() time.Time {
	if r.Status == nil || r.Status.SweptAt.IsZero() {
		return r.at
	}
	return r.Status.SweptAt
}

// unixText is a time in Unix seconds, "" for 0.
func unixText(s int64) string {
	if s == 0 {
		return ""
	}
	return timeText(time.Unix(s, 0))
}

func secondsOf(d time.Duration) *float64 {
	s := d.Seconds()
	return &s
}

func timeText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}
