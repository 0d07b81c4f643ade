package handler

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-json"

	"are-we-alive/pkg/awa"
)

// Message is what a program reads from its standard input, as JSON. awa-agent(8) describes
// it, with a schema.
type Message struct {
	Cluster string `json:"cluster"`
	// ClusterName is how people call it; Text begins with it.
	ClusterName string `json:"cluster_name,omitempty"`
	Agent       string `json:"agent"` // the name of the agent that runs the program
	// Again is set when an agent that died may have passed on a part of it before.
	Again bool `json:"again,omitempty"`
	// Isolated is set when the agent reaches no other one: the fault may be its own.
	Isolated bool `json:"isolated,omitempty"`
	// Text is what happened in one sentence, fit for a subject.
	Text string `json:"text"`
	// Nodes is how many nodes of the list are not under maintenance, Online how many of these
	// are online.
	Nodes  int `json:"nodes"`
	Online int `json:"online"`
	// Events are what happened, MaxEvents at most, and More is how many more there are.
	Events []MessageEvent `json:"events"`
	More   int            `json:"more,omitempty"`
}

// MaxEvents is how many events a Message holds.
const MaxEvents = 1000

// MessageEvent is an event with what the list says of its node.
type MessageEvent struct {
	awa.Event
	Host   string            `json:"host,omitempty"`
	Port   *awa.Port         `json:"port,omitempty"`
	Labels map[string]string `json:"labels,omitempty"`
	// Severity is how bad it is: critical, warning or ok. What is over is ok.
	Severity awa.Severity `json:"severity"`
}

func newMessage(s Sweep, batch []news, again bool) Message {
	m := Message{Cluster: s.Cluster, ClusterName: s.ClusterName, Agent: s.Agent, Again: again, Isolated: s.Isolated,
		More: max(0, len(batch)-MaxEvents), Text: textOf(batch), Events: []MessageEvent{}}
	if s.ClusterName != "" {
		m.Text = s.ClusterName + ": " + m.Text
	}
	for _, st := range s.Nodes {
		if st.Node.InMaintenance(s.At) {
			continue
		}
		m.Nodes++
		if st.Verdict == awa.Online {
			m.Online++
		}
	}
	for _, b := range batch[:min(len(batch), MaxEvents)] {
		b.event.At = b.event.At.UTC().Truncate(time.Millisecond)
		e := MessageEvent{Event: b.event, Host: b.node.Host, Labels: b.node.Labels, Severity: severityOf(b.event)}
		if b.node.Port != 0 {
			e.Port = &b.node.Port
		}
		m.Events = append(m.Events, e)
	}
	return m
}

func (m Message) encode() []byte {
	b, err := json.Marshal(m)
	if err != nil {
		panic(err) // it holds nothing that JSON can't have
	}
	return append(b, '\n')
}

// severityOf is how bad an event is.
func severityOf(e awa.Event) awa.Severity {
	switch e.Kind {
	case awa.EventOffline, awa.EventMismatch:
		return awa.SeverityCritical
	case awa.EventUnreachable, awa.EventFlapping:
		return awa.SeverityWarning
	case awa.EventRaised:
		return e.Code.Severity()
	case awa.EventSettled:
		return severityOf(awa.Event{Kind: awa.EventKind(e.Verdict)})
	}
	return awa.SeverityOK
}

// What a text holds at most.
const (
	maxNamed = 5   // names of nodes of one kind
	maxWhy   = 200 // bytes of a cause
)

// textOrder is in which order a text names what happened.
var textOrder = [...]awa.EventKind{
	awa.EventOffline, awa.EventMismatch, awa.EventUnreachable, awa.EventFlapping, awa.EventRaised, awa.EventRebooted,
	awa.EventRestarted, awa.EventSettled, awa.EventOnline, awa.EventCleared,
}

// textOf says what happened: "web2 offline: no route to host", or of several "3 offline:
// web1, web2, web3; 1 online: db1".
func textOf(batch []news) string {
	names := map[awa.EventKind][]string{}
	for _, b := range batch {
		name := b.event.Node
		if b.event.Code != "" {
			name = strings.TrimSpace(string(b.event.Code) + " " + name)
		}
		names[b.event.Kind] = append(names[b.event.Kind], name)
	}
	if len(batch) == 1 {
		text := strings.Join(names[batch[0].event.Kind], "") + " " + string(batch[0].event.Kind)
		if why := awa.CleanText(batch[0].event.Why); why != "" {
			text += ": " + strings.ToValidUTF8(why[:min(len(why), maxWhy)], "")
		}
		return text
	}
	var parts []string
	for _, kind := range textOrder {
		all := names[kind]
		if len(all) == 0 {
			continue
		}
		slices.Sort(all)
		part := fmt.Sprintf("%d %s: %s", len(all), kind, strings.Join(all[:min(len(all), maxNamed)], ", "))
		if more := len(all) - maxNamed; more > 0 {
			part += fmt.Sprintf(" and %d more", more)
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, "; ")
}
