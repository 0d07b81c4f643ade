package server

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"are-we-alive/pkg/api/internal/wire"
	"are-we-alive/pkg/awa"
)

// selfJSON is what the fake agent says of itself.
const selfJSON = `{"macaddr":"1a:d6:6e:ce:b5:5f","db_state":2,"time":1795423597,"time_ms":1795423597123,"name":"n1",` +
	`"uid":"` + testUID + `","instance":"faf9379e73b13049","cluster":"` + testCluster + `","history":"` + testHistory +
	`",` +
	`"leader":"` + testUID + `","version":"0.1.0","log_index":4,"digest":"` + testDigest + `",` +
	`"sees":[2]}`

// TestHandler_wire fixes what the calls answer to the letter: clients of the
// original program read the first four.
func TestHandler_wire(t *testing.T) {
	const (
		jsonType = "application/json"
		text     = "text/plain; charset=utf-8"
		change1  = `[1,"CREATE","{\"id\":1,\"name\":\"n1\",\"host\":\"10.0.0.1\",\"port\":\"25483\",\"uid\":\"` + testUID +
			`\",\"by\":\"agent n1\",\"at\":\"2026-11-23T18:00:00Z\"}",1,1,""]`
		change2 = `[2,"CREATE","{\"id\":2,\"name\":\"n2\",\"host\":\"10.0.0.2\",\"port\":\"25483\",\"by\":\"ops\",` +
			`\"at\":\"2026-11-23T18:00:01Z\"}",2,1,""]`
		held = `{"id":2,"action":"CREATE","data":"{\"id\":2,\"name\":\"n2\",\"host\":\"10.0.0.2\",\"port\":\"25483\",` +
			`\"by\":\"ops\",\"at\":\"2026-11-23T18:00:01Z\"}"}`
		next  = `{"id":3,"action":"DELETE","data":"{\"id\":2}"}`
		later = `{"id":7,"action":"DELETE","data":"{\"id\":2}"}`
	)
	tests := map[string]struct {
		method, target, body string
		status               int
		contentType, answer  string
	}{
		"ping": {"GET", "/ping", "", 200, jsonType, `{"status":` + selfJSON + `}`},
		"status": {method: "GET", target: "/status", status: 200, contentType: jsonType, answer: `[` +
			`{"id":1,"name":"n1","host":"10.0.0.1","port":"25483","status":{"status":` + selfJSON +
			`},"verdict":"online","rtt_ms":0.25,"since":"2026-11-23T17:00:00.005Z"},` +
			`{"id":2,"name":"n2","host":"10.0.0.2","port":"25483","status":null,"verdict":"offline","error":"connection ` +
			`refused","since":"2026-11-23T17:00:00.005Z"}]`},
		"sync, all":      {"GET", "/sync?state=-1", "", 200, jsonType, `[` + change1 + `,` + change2 + `]`},
		"sync, from 0":   {"GET", "/sync?state=0", "", 200, jsonType, `[` + change1 + `,` + change2 + `]`},
		"sync, the rest": {"GET", "/sync?state=1", "", 200, jsonType, `[` + change2 + `]`},
		"sync, limited":  {"GET", "/sync?state=0&limit=1", "", 200, jsonType, `[` + change1 + `]`},
		"sync, level":    {"GET", "/sync?state=2", "", 200, jsonType, `[]`},
		"sync, ahead":    {"GET", "/sync?state=9223372036854775807", "", 200, jsonType, `[]`},
		"push, held":     {"POST", "/push", held, 200, text, `Change already applied`},
		"push, the next": {"POST", "/push", next, 200, text, `Change applied`},
		"push, a gap":    {"POST", "/push", later, 409, jsonType, `{"error":"change 7 does not follow state 2","code":"gap"}`},
		"push, port is 7": {method: "POST", target: "/push",
			body: `{"id":3,"action":"UPDATE","data":"{\"id\":2,\"name\":\"n2\",\"host\":\"h\",\"port\":7}"}`, status: 200,
			contentType: text, answer: `Change applied`},

		"v1 status": {method: "GET", target: "/v1/status", status: 200, contentType: jsonType, answer: `{"cluster":"` +
			testCluster + `","history":"` + testHistory + `","agent":"n1","state":2,"leader":"n1","voters":["n1"],` +
			`"swept_at":"2026-11-23T18:46:37Z","took_ms":2.5,"health":[],"nodes":[` +
			`{"id":1,"name":"n1","host":"10.0.0.1","port":"25483","uid":"` + testUID +
			`","changed":1,"verdict":"online","rtt_ms":0.25,"since":"2026-11-23T17:00:00.005Z","status":` + selfJSON +
			`},` +
			`{"id":2,"name":"n2","host":"10.0.0.2","port":"25483","changed":2,"verdict":"offline","stage":"connect",` +
			`"error":"connection refused","since":"2026-11-23T17:00:00.005Z","status":null}]}`},
		"v1 nodes": {method: "GET", target: "/v1/nodes", status: 200, contentType: jsonType, answer: `{"cluster":"` +
			testCluster + `","history":"` + testHistory + `","state":2,"nodes":[` +
			`{"id":1,"name":"n1","host":"10.0.0.1","port":"25483","uid":"` + testUID + `","changed":1},` +
			`{"id":2,"name":"n2","host":"10.0.0.2","port":"25483","changed":2}]}`},
		"v1 changes": {method: "GET", target: "/v1/changes?since=1", status: 200, contentType: jsonType,
			answer: `{"cluster":"` + testCluster + `","history":"` + testHistory + `","state":2,"changes":[` +
				`{"id":2,"action":"CREATE","by":"ops","at":"2026-11-23T18:00:01Z","data":{"id":2,"name":"n2",` +
				`"host":"10.0.0.2","port":"25483","by":"ops","at":"2026-11-23T18:00:01Z"}}]}`},
		"v1 view": {method: "GET", target: "/v1/view", status: 200, contentType: jsonType, answer: `{"cluster":"` +
			testCluster + `","history":"` + testHistory + `","agent":"n1","state":2,"leader":"n1","voters":["n1"],` +
			`"swept_at":"2026-11-23T18:46:37Z","took_ms":2.5,"health":[],"nodes":[` +
			`{"id":2,"name":"n2","host":"10.0.0.2","port":"25483","changed":2,"verdict":"offline","stage":"connect",` +
			`"error":"connection refused","since":"2026-11-23T17:00:00.005Z","status":null}]}`},
		"probe": {method: "POST", target: "/v1/probe", body: `{"nodes":[2,1,4711],"within_ms":900}`, status: 200,
			contentType: jsonType,
			answer: `{"nodes":[{"id":1,"verdict":"online","rtt_ms":0.25},{"id":2,"verdict":"offline","stage":"connect",` +
				`"error":"connection refused"}]}`},
		"probe of nobody": {"POST", "/v1/probe", `{"nodes":[4711]}`, 200, jsonType, `{"nodes":[]}`},
		"v1 events": {method: "GET", target: "/v1/events?since=2026-11-23T18:00:00Z&node=N2&limit=5&after=6", status: 200,
			contentType: jsonType, answer: `{"agent":"n1","newest":7,"through":7,"events":[{"id":7,` +
				`"at":"2026-11-23T18:00:00Z","event":"offline","node_id":2,"node":"n2","verdict":"offline",` +
				`"before":"online","lasted_s":90,"why":"connect: no route to host"}]}`},
		"v1 events of another": {"GET", "/v1/events?node=n1", "", 200, jsonType,
			`{"agent":"n1","newest":7,"through":7,"events":[]}`},
		"v1 availability": {"GET", "/v1/availability", "", 200, jsonType, `{"agent":"n1","nodes":[{"id":2,"name":"n2","shares":[` +
			`{"online_s":1.5,"watched_s":2},{"online_s":1.5,"watched_s":2},{"online_s":1.5,"watched_s":2}]}]}`},
		"v1 notified": {"GET", "/v1/notified", "", 200, jsonType, `{"notified":[{"node_id":2,"verdict":"offline",` +
			`"at":"2026-11-23T18:00:00Z","by":"` + testUID + `","done":true}]}`},
		"notify": {"POST", "/v1/notified", `{"notified":[{"code":"DISK_FULL","agent":"n2","raised":true,` +
			`"at":"2026-11-23T18:00:00Z","by":"` + testUID + `"}]}`, 200, jsonType, `{}`},
		"edit, create": {method: "POST", target: "/v1/changes",
			body:   `{"action":"CREATE","data":{"name":"n3","host":"fe80::1","port":7,"labels":{"role":"db"},"x":[1]}}`,
			status: 200, contentType: jsonType,
			answer: `{"id":3,"node":{"id":3,"name":"n3","host":"fe80::1","port":"7","labels":{"role":"db"},"changed":3,"x":[1]}}`},
		"edit, update": {method: "POST", target: "/v1/changes",
			body: `{"action":"UPDATE","data":{"id":2,"name":"N2","host":"10.0.0.2","port":"1"}}`, status: 200,
			contentType: jsonType,
			answer:      `{"id":3,"node":{"id":2,"name":"N2","host":"10.0.0.2","port":"1","changed":3}}`},
		"edit, delete": {"POST", "/v1/changes", `{"action":"DELETE","data":{"id":2}}`, 200, jsonType, `{"id":3}`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			addr, _ := serve(t, newFake(t), nil)
			r := talk(t, addr, message(test.method, test.target, test.body), false, test.method)[0]
			if r.StatusCode != test.status || r.Header.Get("Content-Type") != test.contentType || bodyOf(r) != test.answer {
				t.Errorf("%d %s\n%s\nwant %d %s\n%s", r.StatusCode, r.Header.Get("Content-Type"), bodyOf(r), test.status,
					test.contentType, test.answer)
			}
		})
	}
}

// TestHandler_head has HEAD answer as GET does, without the body.
func TestHandler_head(t *testing.T) {
	addr, _ := serve(t, newFake(t), nil)
	for _, target := range []string{"/ping", "/status", "/sync?state=-1", "/v1/status", "/v1/changes", "/v1/nodes",
		"/v1/view", "/v1/events", "/v1/availability", "/v1/notified"} {
		r := talk(t, addr, message("GET", target, "")+message("HEAD", target, "")+message("GET", target, ""), false, "GET",
			"HEAD", "GET")
		if get, head, again := r[0], r[1], r[2]; head.StatusCode != 200 || head.ContentLength != get.ContentLength ||
			bodyOf(head) != "" || bodyOf(again) != bodyOf(get) {
			t.Errorf("HEAD %s: %d, %d bytes are told of; GET: %d, %d bytes", target, head.StatusCode, head.ContentLength,
				get.StatusCode, get.ContentLength)
		}
	}
}

// TestHandler_syncHeaders has the headers that say of what the changes are.
func TestHandler_syncHeaders(t *testing.T) {
	agent := newFake(t)
	addr, _ := serve(t, agent, nil)
	check := func(t *testing.T, state string) *http.Response {
		t.Helper()
		r := talk(t, addr, message("GET", "/sync?state=0", ""), false, "GET")[0]
		for name, want := range map[string]string{wire.HeaderCluster: testCluster, wire.HeaderHistory: testHistory,
			wire.HeaderState: state} {
			if got := r.Header.Get(name); got != want {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
		}
		return r
	}
	check(t, "2")

	// A change that is made while the answer is: its state must not be below
	// what it holds, or a backup of it would contradict itself.
	once := false
	agent.onSelf = func() {
		if d := agent.list.Draft(); !once {
			once = true
			if err := d.Apply(awa.Change{ID: 3, Action: awa.Delete, Data: `{"id":2}`}); err != nil {
				t.Error(err)
			}
			agent.commit(d)
		}
	}
	if r := check(t, "3"); !strings.Contains(bodyOf(r), `[3,"DELETE"`) {
		t.Errorf("the change made meanwhile is missing: %s", bodyOf(r))
	}
}

// TestHandler_refusals has each error of an agent as the fitting status.
func TestHandler_refusals(t *testing.T) {
	for name, test := range map[string]struct {
		err    error
		status int
		answer string
	}{
		"name taken": {err: &awa.Fault{Code: awa.ErrNameTaken, Text: "so it is"}, status: 409,
			answer: `{"error":"so it is","code":"name_taken"}`},
		"uid taken": {&awa.Fault{Code: awa.ErrUIDTaken, Text: "so it is"}, 409, `{"error":"so it is","code":"uid_taken"}`},
		"conflict":  {&awa.Fault{Code: awa.ErrConflict, Text: "so it is"}, 409, `{"error":"so it is","code":"conflict"}`},
		"unknown node": {err: &awa.Fault{Code: awa.ErrUnknownNode, Text: "so it is"}, status: 404,
			answer: `{"error":"so it is","code":"unknown_node"}`},
		"no majority": {err: &awa.Fault{Code: awa.ErrNoMajority, Text: "so it is"}, status: 503,
			answer: `{"error":"so it is","code":"no_majority"}`},
		"unknown outcome": {err: &awa.Fault{Code: awa.ErrUnknownOutcome, Text: "so it is"}, status: 503,
			answer: `{"error":"so it is","code":"unknown_outcome"}`},
		"not joined": {err: &awa.Fault{Code: awa.ErrNotJoined, Text: "so it is"}, status: 503,
			answer: `{"error":"so it is","code":"not_joined"}`},
		"no nodes": {&awa.Fault{Code: awa.ErrNoNodes, Text: "so it is"}, 503, `{"error":"so it is","code":"no_nodes"}`},
		"starting": {&awa.Fault{Code: awa.ErrStarting, Text: "so it is"}, 503, `{"error":"so it is","code":"starting"}`},
		"stopping": {&awa.Fault{Code: awa.ErrStopping, Text: "so it is"}, 503, `{"error":"so it is","code":"stopping"}`},
		"wrapped": {err: fmt.Errorf("do it: %w", &awa.Fault{Code: awa.ErrConflict, Text: "so it is"}), status: 409,
			answer: `{"error":"do it: so it is","code":"conflict"}`},
		"the lists differ": {&awa.Fault{Code: awa.ErrDamaged, Text: "so it is"}, 500,
			`{"error":"so it is","code":"damaged"}`},
		"the disk": {err: errors.New("write /var/x: no space left on device"), status: 500,
			answer: `{"error":"the agent failed at this request: see its log","code":"internal"}`},
	} {
		t.Run(name, func(t *testing.T) {
			agent := newFake(t)
			addr, log := serve(t, agent, nil)
			agent.err = test.err
			const edit = `{"action":"DELETE","data":{"id":2}}`
			r := talk(t, addr, message("POST", "/v1/changes", edit), false, "POST")[0]
			if r.StatusCode != test.status || bodyOf(r) != test.answer {
				t.Errorf("%d %s\nwant %d %s", r.StatusCode, bodyOf(r), test.status, test.answer)
			}
			if logged := strings.Contains(log.String(), test.err.Error()); logged != (test.status == 500) {
				t.Errorf("logged:\n%s", log)
			}
		})
	}
}

// panicky fails as a programmer's mistake would.
type panicky struct{ Agent }

func (panicky) Self() awa.Self { panic("index out of range") }

func TestHandler_panic(t *testing.T) {
	addr, log := serve(t, panicky{newFake(t)}, nil)
	r := talk(t, addr, message("GET", "/ping", "")+message("GET", "/v1/status", ""), false, "GET", "GET")
	if want := `{"error":"the agent failed at this request: see its log","code":"internal"}`; r[0].StatusCode != 500 ||
		bodyOf(r[0]) != want || r[1].StatusCode != 200 {
		t.Errorf("%d %s, then %d", r[0].StatusCode, bodyOf(r[0]), r[1].StatusCode)
	}
	if text := log.String(); !strings.Contains(text, "index out of range") || !strings.Contains(text, "/ping") {
		t.Errorf("logged:\n%s", text)
	}
}
