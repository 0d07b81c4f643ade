package wire

import (
	"bytes"
	"fmt"
	"math"
	"time"

	"github.com/goccy/go-json"

	"are-we-alive/pkg/awa"
)

// ErrorBody is the JSON of every refusal.
type ErrorBody struct {
	Error string   `json:"error"`
	Code  awa.Code `json:"code"`
}

// PingBody is the answer of GET /ping: {"status":{"macaddr":…}}.
type PingBody struct {
	Status awa.Self `json:"status"`
}

// OldNode is an element of GET /status: the original's keys, then ours.
type OldNode struct {
	ID      uint64      `json:"id"`
	Name    string      `json:"name"`
	Host    string      `json:"host"`
	Port    awa.Port    `json:"port"`
	Status  *PingBody   `json:"status"` // null when the node did not answer
	Verdict awa.Verdict `json:"verdict"`
	Error   string      `json:"error,omitempty"`
	RTTMS   float64     `json:"rtt_ms,omitempty"`
	Since   string      `json:"since,omitempty"` // RFC 3339
}

// StatusBody is the answer of GET /v1/status and, with those nodes only that
// are not online, of GET /v1/view.
type StatusBody struct {
	Cluster  string          `json:"cluster"`
	Name     string          `json:"cluster_name,omitempty"` // how people call it
	History  awa.History     `json:"history"`
	Agent    string          `json:"agent"`
	State    uint64          `json:"state"`
	Leader   string          `json:"leader"`
	Voters   []string        `json:"voters"`
	Insecure bool            `json:"insecure,omitempty"` // everybody may edit the list
	Isolated bool            `json:"isolated,omitempty"` // it reached no other agent
	SweptAt  time.Time       `json:"swept_at"`
	TookMS   float64         `json:"took_ms"`
	Health   []awa.Condition `json:"health"`
	Nodes    []NodeStatus    `json:"nodes"`
}

// NodeStatus is an element of StatusBody.Nodes.
type NodeStatus struct {
	awa.NodeFields
	Verdict     awa.Verdict `json:"verdict"`
	Stage       awa.Stage   `json:"stage,omitempty"`
	Error       string      `json:"error,omitempty"`
	RTTMS       float64     `json:"rtt_ms,omitempty"`
	Since       string      `json:"since,omitempty"`         // RFC 3339
	Told        int         `json:"told,omitempty"`          // agents that told the verdict, where there was no ping
	Asked       int         `json:"asked,omitempty"`         // agents that gave a second opinion
	SeenBy      []string    `json:"seen_by,omitempty"`       // names of those that it answered
	Behind      uint64      `json:"behind,omitempty"`        // changes that it lacks
	SkewMS      float64     `json:"skew_ms,omitempty"`       // its clock's, against that of the agent that looked
	SkewErrorMS float64     `json:"skew_error_ms,omitempty"` // of skew_ms, either way; none: it is not known
	// Goodbye is what the agent of a node that is not online said last, if it did.
	Goodbye  *awa.Goodbye `json:"goodbye,omitempty"`
	Flapping int          `json:"flapping,omitempty"` // changes of the verdict, of a node that is flapping
	Status   *awa.Self    `json:"status"`
}

// NewStatusBody returns a status as GET /v1/status does.
func NewStatusBody(s awa.ClusterStatus) StatusBody {
	b := StatusBody{
		Cluster: s.Cluster, Name: s.ClusterName, History: s.History, Agent: s.Agent, State: s.State, Leader: s.Leader,
		Voters:   s.Voters,
		Insecure: s.Insecure, Isolated: s.Isolated, SweptAt: s.SweptAt, TookMS: toMS(s.Took), Health: s.Health,
		Nodes: make([]NodeStatus, len(s.Nodes)),
	}
	if b.Voters == nil {
		b.Voters = []string{}
	}
	if b.Health == nil {
		b.Health = []awa.Condition{}
	}
	for i, n := range s.Nodes {
		b.Nodes[i] = NewNodeStatus(n)
	}
	return b
}

// NewNodeStatus returns a node as it stands in a StatusBody.
func NewNodeStatus(n awa.NodeStatus) NodeStatus {
	return NodeStatus{
		NodeFields: awa.NodeFields(n.Node), Verdict: n.Verdict, Stage: n.Stage, Error: n.Error, RTTMS: toMS(n.RTT),
		Since: timeText(n.Since), Told: n.Told, Asked: n.Asked, SeenBy: n.SeenBy, Behind: n.Behind, SkewMS: toMS(n.Skew),
		SkewErrorMS: toMS(n.SkewError), Goodbye: n.Goodbye, Flapping: n.Flapping, Status: n.Self,
	}
}

// Status is what NewStatusBody was given, to the microsecond, with sentences
// that are fit to be shown. awa.ClusterStatus.Check says whether it can be true.
func (b StatusBody) Status() awa.ClusterStatus {
	s := awa.ClusterStatus{
		Cluster: b.Cluster, ClusterName: b.Name, History: b.History, Agent: b.Agent, State: b.State, Leader: b.Leader,
		Voters:   b.Voters,
		Insecure: b.Insecure, Isolated: b.Isolated, SweptAt: b.SweptAt, Took: fromMS(b.TookMS),
		Nodes: make([]awa.NodeStatus, len(b.Nodes)),
	}
	for _, c := range b.Health {
		c.Text = awa.CleanText(c.Text)
		s.Health = append(s.Health, c)
	}
	for i, n := range b.Nodes {
		since, _ := time.Parse(time.RFC3339Nano, n.Since) // the zero time when there is none
		s.Nodes[i] = awa.NodeStatus{
			Node:    awa.Node(n.NodeFields),
			Verdict: n.Verdict, Stage: n.Stage, Error: awa.CleanText(n.Error), RTT: fromMS(n.RTTMS), Since: since,
			Self:  n.Status,
			Told:  n.Told,
			Asked: n.Asked, SeenBy: n.SeenBy, Behind: n.Behind, Skew: fromMS(n.SkewMS), SkewError: fromMS(n.SkewErrorMS),
			Goodbye: n.Goodbye, Flapping: n.Flapping,
		}
	}
	return s
}

// NewOldNode returns a node as GET /status does.
func NewOldNode(n awa.NodeStatus) OldNode {
	old := OldNode{
		ID: n.Node.ID, Name: n.Node.Name, Host: n.Node.Host, Port: n.Node.Port,
		Verdict: n.Verdict, Error: n.Error, RTTMS: toMS(n.RTT), Since: timeText(n.Since),
	}
	if n.Self != nil && n.Verdict == awa.Online {
		old.Status = &PingBody{*n.Self}
	}
	return old
}

// toMS and fromMS go by whole microseconds: 1.001 ms times a million is a bit
// less than 1,001,000 in floating point, which must not become 1.000 ms. What no
// time.Duration can hold becomes the longest one.
func toMS(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func fromMS(ms float64) time.Duration {
	const most = float64(math.MaxInt64/int64(time.Microsecond)) - 1024 // which a float64 holds exactly
	return time.Duration(max(-most, min(math.Round(ms*1000), most))) * time.Microsecond
}

func timeText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// ProbeBody is the body of POST /v1/probe: ids of nodes, and the time that
// their pings may take, in milliseconds; 0 or none is that of one ping.
type ProbeBody struct {
	Nodes    []uint64 `json:"nodes"`
	WithinMS int64    `json:"within_ms,omitempty"`
}

// ProbeAnswer is the answer of POST /v1/probe, without the nodes that are not
// on the agent's list, or that it learned nothing of in time.
type ProbeAnswer struct {
	Nodes []Opinion `json:"nodes"`
}

// Opinion is an element of ProbeAnswer.Nodes.
type Opinion struct {
	ID      uint64      `json:"id"`
	Verdict awa.Verdict `json:"verdict"`
	Stage   awa.Stage   `json:"stage,omitempty"`
	Error   string      `json:"error,omitempty"`
	RTTMS   float64     `json:"rtt_ms,omitempty"`
}

// NewProbeAnswer returns opinions as POST /v1/probe does.
func NewProbeAnswer(all []awa.Opinion) ProbeAnswer {
	a := ProbeAnswer{make([]Opinion, len(all))}
	for i, o := range all {
		a.Nodes[i] = NewOpinion(o)
	}
	return a
}

// NewOpinion returns an opinion as it stands in a ProbeAnswer.
func NewOpinion(o awa.Opinion) Opinion {
	return Opinion{o.ID, o.Verdict, o.Stage, o.Error, toMS(o.RTT)}
}

// Opinions are what NewProbeAnswer was given, to the microsecond, with sentences
// that are fit to be shown.
func (a ProbeAnswer) Opinions() []awa.Opinion {
	all := make([]awa.Opinion, len(a.Nodes))
	for i, o := range a.Nodes {
		all[i] = awa.Opinion{ID: o.ID, Verdict: o.Verdict, Stage: o.Stage, Error: awa.CleanText(o.Error),
			RTT: fromMS(o.RTTMS)}
	}
	return all
}

// Change is a change in the answer of GET /sync: an array of the
// original's three elements, then Raft index, term and idempotency key.
type Change awa.Change

// MarshalJSON writes the array.
func (c Change) MarshalJSON() ([]byte, error) {
	return json.Marshal([]any{c.ID, c.Action, c.Data, c.Index, c.Term, c.Key})
}

// UnmarshalJSON reads the array; the elements after the third may be missing.
func (c *Change) UnmarshalJSON(b []byte) error {
	var parts []json.RawMessage
	if err := json.Unmarshal(b, &parts); err != nil {
		return err
	}
	if len(parts) < 3 {
		return fmt.Errorf("a change has %d elements: it needs id, action and data", len(parts))
	}
	for i, to := range []any{&c.ID, &c.Action, &c.Data, &c.Index, &c.Term, &c.Key} {
		if i == len(parts) {
			break
		}
		if err := json.Unmarshal(parts[i], to); err != nil {
			return fmt.Errorf("element %d of a change: %w", i, err)
		}
	}
	return nil
}

// PushBody is the body of POST /push.
type PushBody struct {
	ID     uint64     `json:"id"`
	Action awa.Action `json:"action"`
	Data   string     `json:"data"`
	Index  uint64     `json:"index,omitempty"`
	Term   uint64     `json:"term,omitempty"`
	Key    string     `json:"key,omitempty"`
}

// EditBody is the body of POST /v1/changes.
type EditBody struct {
	Action    awa.Action      `json:"action"`
	Data      json.RawMessage `json:"data"`
	ID        uint64          `json:"id,omitempty"`
	IfChanged uint64          `json:"if_changed,omitempty"`
}

// EditAnswer is the answer of POST /v1/changes; node is left out after a DELETE.
type EditAnswer struct {
	ID   uint64    `json:"id"`
	Node *awa.Node `json:"node,omitempty"`
}

// NodesBody is the answer of GET /v1/nodes.
type NodesBody struct {
	Cluster string      `json:"cluster"`
	History awa.History `json:"history"`
	State   uint64      `json:"state"`
	Nodes   []awa.Node  `json:"nodes"`
}

// ChangesBody is the answer of GET /v1/changes.
type ChangesBody struct {
	Cluster string       `json:"cluster"`
	History awa.History  `json:"history"`
	State   uint64       `json:"state"`
	Changes []ChangeBody `json:"changes"`
}

// ChangeBody is one change with its data as an object.
type ChangeBody struct {
	ID     uint64          `json:"id"`
	Action awa.Action      `json:"action"`
	By     string          `json:"by,omitempty"`
	At     string          `json:"at,omitempty"` // RFC 3339
	Data   json.RawMessage `json:"data"`
}

// NewChangeBody returns a change as GET /v1/changes does.
func NewChangeBody(c awa.Change) (ChangeBody, error) {
	_, by, at, err := c.Node()
	return ChangeBody{c.ID, c.Action, by, at, json.RawMessage(c.Data)}, err
}

// EventsBody is the answer of GET /v1/events. Who wants more asks for what is after through.
type EventsBody struct {
	Agent   string      `json:"agent"`
	Newest  uint64      `json:"newest"`
	Through uint64      `json:"through"`
	Events  []awa.Event `json:"events"`
}

// AvailabilityBody is the answer of GET /v1/availability.
type AvailabilityBody struct {
	Agent string          `json:"agent"`
	Nodes []awa.NodeShare `json:"nodes"`
}

// GoodbyeBody is the body of POST /v1/goodbye.
type GoodbyeBody struct {
	Reason awa.StopReason `json:"reason"`
}

// NotifiedBody is the answer of GET /v1/notified, and the body of POST /v1/notified.
type NotifiedBody struct {
	Notified []awa.Notified `json:"notified"`
}

// Encode writes v without escaping what only matters inside HTML.
func Encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}
