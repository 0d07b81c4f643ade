package awa

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func TestSeconds(t *testing.T) {
	for text, want := range map[string]time.Duration{"1.5": 1500 * time.Millisecond, "0": 0, "-0.001": -time.Millisecond,
		"86400": 24 * time.Hour, "1.0004": time.Second} {
		var s Seconds
		if err := json.Unmarshal([]byte(text), &s); err != nil || time.Duration(s) != want {
			t.Errorf("%s is read as %v, %v", text, time.Duration(s), err)
		}
	}
	for _, bad := range []string{`"1"`, "1e300", "-1e300", "true", "[]"} {
		var s Seconds
		if err := json.Unmarshal([]byte(bad), &s); err == nil {
			t.Errorf("%s is read as %v", bad, time.Duration(s))
		}
	}
	if b, err := json.Marshal(Seconds(90*time.Second + 1499*time.Microsecond)); err != nil || string(b) != "90.001" {
		t.Errorf("it is written as %s, %v", b, err)
	}
}

func TestEvent_Check(t *testing.T) {
	good := Event{ID: 1, At: time.Unix(1, 0), Kind: EventOffline, NodeID: 1, Node: "n1", Verdict: Offline, Before: Online}
	if err := good.Check(); err != nil {
		t.Error(err)
	}
	for want, change := range map[string]func(*Event){
		"event is":        func(e *Event) { e.Kind = "" },
		"node is wrong":   func(e *Event) { e.Node = "a b" },
		"verdict is":      func(e *Event) { e.Verdict = "<" },
		"before is":       func(e *Event) { e.Before = "<" },
		"code is":         func(e *Event) { e.Code = "<" },
		"at is in":        func(e *Event) { e.At = time.Unix(-1, 0) },
		"negative":        func(e *Event) { e.Away = -1 },
		"seen_by has":     func(e *Event) { e.SeenBy = make([]string, MaxSeenBy+1) },
		"seen_by is":      func(e *Event) { e.SeenBy = []string{""} },
		"node_id is 1844": func(e *Event) { e.NodeID = 1<<64 - 1 },
	} {
		e := good
		change(&e)
		if err := e.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	if kinds := EventKinds(); len(kinds) != len(eventKinds) || kinds[0] != EventOnline {
		t.Errorf("the kinds are %q", kinds)
	}
}

func TestNotified(t *testing.T) {
	at := time.Unix(1000, 0)
	node := Notified{NodeID: 3, Verdict: Online, Instance: "a", At: at, By: "u", Done: true}
	later, other, open := node, node, node
	later.At = at.Add(time.Second)
	other.Instance = "b"
	open.Done = false
	switch {
	case node.Key() != "node 3" || (Notified{Code: DiskFull, Agent: "n1"}).Key() != "code DISK_FULL n1":
		t.Error("the keys are wrong")
	case !later.Newer(node) || node.Newer(later) || node.Newer(node) || !node.Newer(open) || open.Newer(node):
		t.Error("their order is wrong")
	case !node.Same(later) || node.Same(other) || node.Same(Notified{NodeID: 4, Verdict: Online, Instance: "a"}):
		t.Error("what is the same is wrong")
	}
	node.Verdict, other.Verdict = Offline, Offline
	if !node.Same(other) {
		t.Error("the instance of a node that is offline counts")
	}
	if err := CheckNotified([]Notified{node, {Code: DiskFull, At: at, By: "u"}}); err != nil {
		t.Error(err)
	}
	for want, bad := range map[string]Notified{"code is": {By: "u"}, "by is": {NodeID: 1}, "not a name": {NodeID: 1, By: "u",
		Agent: "<"}} {
		if err := CheckNotified([]Notified{bad}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

func TestGoodbye(t *testing.T) {
	at := time.Unix(1000, 0)
	g := Goodbye{At: at, Reason: StopShutdown}
	if text := g.Text("at 12:03"); text != "its agent was stopped at 12:03 (by systemd, the machine is shutting down)" {
		t.Error(text)
	}
	if text := (Goodbye{Reason: "hibernate"}).Text(""); text != "its agent was stopped (for a reason that this version does "+
		"not know)" {
		t.Error(text)
	}
	restart := &Goodbye{At: at, Reason: StopRestart}
	var none *Goodbye
	if none.Restarting(at) || g.Restarting(at) || !restart.Restarting(at.Add(RestartGrace-1)) ||
		restart.Restarting(at.Add(RestartGrace)) {
		t.Error("the grace of a restart is wrong")
	}
}

func TestNodeStatus_Reason(t *testing.T) {
	for want, n := range map[string]NodeStatus{
		NotRunning + " (connection refused), 1 other does not see it either": {Verdict: Offline, Stage: StageConnect,
			Error: Refused, Asked: 1},
		"resolve: no such host, 3 others do not see it either": {Verdict: Offline, Stage: StageResolve, Error: "no such host",
			Asked: 3},
		"seen by n1 and n2, not from here: connect: no route to host": {Verdict: Unreachable, Stage: StageConnect,
			Error: "no route to host", Asked: 2, SeenBy: []string{"n1", "n2"}},
		"no reason given":               {Verdict: Offline},
		"paused, reply: it was too hot": {Verdict: "paused", Stage: StageReply, Error: "it was too hot"},
		"no verdict given":              {},
	} {
		if got := n.Reason(n.Failure()); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
