package server

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"are-we-alive/pkg/api"
	"are-we-alive/pkg/api/internal/wire"
	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/awatest/testaid"
)

// long makes a fake agent whose list had n changes more, and has n nodes more
// in its status.
func long(t testing.TB, n int) *fakeAgent {
	t.Helper()
	f := newFake(t)
	d := f.list.Draft()
	for i := range n {
		data := fmt.Sprintf(`{"name":"m%d","host":"10.1.0.1","port":1,"by":"<ops>"}`, i)
		if _, _, err := d.Decide(awa.Edit{Action: awa.Create, Data: []byte(data)}, d.State()+1, 1); err != nil {
			t.Fatal(err)
		}
	}
	f.commit(d)
	for _, node := range f.list.Nodes()[2:] {
		f.status.Nodes = append(f.status.Nodes, awa.NodeStatus{Node: node, Verdict: awa.Offline, Error: "connection refused"})
	}
	f.status.State = f.list.State()
	return f
}

// longAnswers are the calls whose answers grow with the list.
func longAnswers() map[string]string {
	return map[string]string{
		"status": "/status", "v1 status": "/v1/status", "view": "/v1/view", "nodes": "/v1/nodes",
		"sync": "/sync?state=-1", "changes": "/v1/changes",
	}
}

// TestLongAnswers are the same in pages as in one piece.
func TestLongAnswers(t *testing.T) {
	const n = 700
	agent := long(t, n)
	addr, log := serve(t, agent, nil)
	changes, nodes := make([]wire.Change, len(agent.changes)), []string{}
	body := wire.ChangesBody{Cluster: testCluster, History: agent.self.History, State: n + 2}
	for i, c := range agent.changes {
		changes[i] = wire.Change(c)
		one, err := wire.NewChangeBody(c)
		if err != nil {
			t.Fatal(err)
		}
		body.Changes = append(body.Changes, one)
	}
	for _, s := range agent.status.Nodes {
		b, err := wire.Encode(wire.NewOldNode(s))
		if err != nil {
			t.Fatal(err)
		}
		nodes = append(nodes, string(b))
	}
	view := agent.status
	view.Nodes = view.Nodes[1:]
	for name, v := range map[string]any{
		"v1 status": wire.NewStatusBody(agent.status), "view": wire.NewStatusBody(view), "sync": changes, "changes": body,
		"nodes":  wire.NodesBody{Cluster: testCluster, History: agent.self.History, State: n + 2, Nodes: agent.list.Nodes()},
		"status": json.RawMessage("[" + strings.Join(nodes, ",") + "]"),
	} {
		t.Run(name, func(t *testing.T) {
			target := longAnswers()[name]
			want, err := wire.Encode(v)
			if err != nil {
				t.Fatal(err)
			}
			if len(want) < 2*pageBytes {
				t.Fatalf("%d bytes are not a long answer", len(want))
			}
			r := talk(t, addr, message("GET", target, "")+message("HEAD", target, "")+message("GET", target, ""), false, "GET",
				"HEAD", "GET")
			for i, want := range []string{string(want), "", string(want)} {
				if got := bodyOf(r[i]); r[i].StatusCode != 200 || got != want || r[i].ContentLength != -1 ||
					r[i].Header.Get("Content-Type") != "application/json" {
					t.Errorf("answer %d: %s, length %d\n%.300s\nwant\n%.300s", i, r[i].Status, r[i].ContentLength, got, want)
				}
			}
			// HTTP/1.0 has no chunks: the length says what is whole.
			r = talk(t, addr, "GET "+target+" HTTP/1.0\r\nHost: n1\r\n\r\n", false, "GET")
			if got := bodyOf(r[0]); got != string(want) || r[0].ContentLength != int64(len(want)) {
				t.Errorf("HTTP/1.0: %s, length %d\n%.300s", r[0].Status, r[0].ContentLength, got)
			}
		})
	}
	if log.String() != "" {
		t.Errorf("logged: %s", log)
	}
	c := newClient(t)
	if set, err := c.Sync(t.Context(), addr, awa.Position{}, 0); err != nil || len(set.Changes) != api.MaxChanges ||
		set.State != n+2 {
		t.Errorf("sync: %v, %d changes of state %d", err, len(set.Changes), set.State)
	}
	if set, err := c.Changes(t.Context(), addr, 3, 200); err != nil || len(set.Changes) != 200 || set.Changes[0].ID != 4 {
		t.Errorf("changes: %v, %d", err, len(set.Changes))
	}
	if set, err := c.Nodes(t.Context(), addr); err != nil || len(set.Nodes) != n+2 ||
		set.Nodes[n+1].Name != fmt.Sprintf("m%d", n-1) || set.Nodes[4].Changed != 5 || set.State != n+2 {
		t.Errorf("nodes: %v, %d of state %d", err, len(set.Nodes), set.State)
	}
}

// TestLongAnswers_short sends an answer that fits into a page whole, up to
// the page's edge.
func TestLongAnswers_short(t *testing.T) {
	for n, whole := range map[int]bool{pageBytes - 1: true, pageBytes: true, pageBytes + 1: false} {
		body := bytes.Repeat([]byte("x"), n)
		addr, _ := openWeb(t, &fakeWeb{metrics: func() ([]byte, error) { return body, nil }})
		r := talk(t, addr, message("GET", "/metrics", ""), false, "GET")[0]
		if got := bodyOf(r); got != string(body) || r.ContentLength != int64(n) {
			t.Errorf("%d bytes: %d, length %d", n, len(got), r.ContentLength)
		}
		next := bytesPages(body)
		if page, more, err := next(nil); more == whole || err != nil || len(page) != min(n, pageBytes) {
			t.Errorf("%d bytes: a page of %d (%v)", n, len(page), err)
		}
	}
}

// turning is an agent that does something at the third reading of its log.
type turning struct {
	*fakeAgent
	read atomic.Int64
	turn func() error
}

func (a *turning) Changes(since uint64, limit int) ([]awa.Change, error) {
	if a.read.Add(1) == 3 {
		if err := a.turn(); err != nil {
			return nil, err
		}
	}
	return a.fakeAgent.Changes(since, limit)
}

// TestLongAnswers_meanwhile has the list change in the middle of an answer.
func TestLongAnswers_meanwhile(t *testing.T) {
	for _, target := range []string{"/sync?state=0", "/v1/changes"} {
		for name, c := range map[string]struct {
			turn   func(*fakeAgent) error
			whole  bool
			logged string
		}{
			"it grows": {func(f *fakeAgent) error {
				_, _, err := f.Edit(t.Context(), parsed(t, awa.Edit{Action: awa.Delete, Data: []byte(`{"id":2}`)}), 0)
				return err
			}, true, ""},
			"it can't be read": {func(*fakeAgent) error { return errors.New("input/output error") }, false,
				"input/output error"},
			"a change is gone": {func(f *fakeAgent) error {
				f.mu.Lock()
				f.changes = f.changes[:200]
				f.mu.Unlock()
				return nil
			}, false, "ask again"},
			"it is another list": {func(f *fakeAgent) error {
				f.mu.Lock()
				f.self.History = awa.NewHistory(f.self.History)
				f.mu.Unlock()
				return nil
			}, false, "became that of history"},
		} {
			t.Run(target+", "+name, func(t *testing.T) {
				agent := &turning{fakeAgent: long(t, 700)}
				agent.turn = func() error { return c.turn(agent.fakeAgent) }
				addr, log := serve(t, agent, nil)
				conn, err := net.Dial("tcp", addr)
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				conn.SetDeadline(time.Now().Add(20 * time.Second))
				io.WriteString(conn, message("GET", target, ""))
				r, err := http.ReadResponse(bufio.NewReader(conn), nil)
				if err != nil {
					t.Fatal(err)
				}
				body, err := io.ReadAll(r.Body)
				if c.whole != (err == nil) || c.whole && (!json.Valid(body) || bytes.Contains(body, []byte(`"DELETE"`))) {
					t.Errorf("%d bytes: %v", len(body), err)
				}
				if target == "/sync?state=0" && r.Header.Get(wire.HeaderState) != "702" {
					t.Errorf("the state is said to be %s", r.Header.Get(wire.HeaderState))
				}
				if c.logged == "" && log.String() != "" || !strings.Contains(log.String(), c.logged) {
					t.Errorf("logged: %s", log)
				}
				if !c.whole { // our client says so too
					agent.read.Store(1) // which reads it in two batches
					if _, err := newClient(t).Sync(t.Context(), addr, awa.Position{}, 0); name == "it can't be read" && err == nil {
						t.Error("the client takes a cut answer for a whole one")
					}
				}
			})
		}
	}
}

// TestLongAnswers_status has an error before the first byte keep its status.
func TestLongAnswers_status(t *testing.T) {
	agent := long(t, 700)
	agent.err = &awa.Fault{Code: awa.ErrStopping, Text: "so it is"}
	addr, _ := serve(t, agent, nil)
	for name, target := range longAnswers() {
		if r := talk(t, addr, message("GET", target, ""), false, "GET")[0]; r.StatusCode != 503 ||
			bodyOf(r) != `{"error":"so it is","code":"stopping"}` {
			t.Errorf("%s: %s %s", name, r.Status, bodyOf(r))
		}
	}
}

// TestLongAnswers_stalled ends the answer of a reader who doesn't read, and
// gives its connection back.
func TestLongAnswers_stalled(t *testing.T) {
	agent := long(t, 5000)
	pages := &fakeWeb{metrics: func() ([]byte, error) { return make([]byte, 32<<20), nil }}
	quick := pace{stall: 200 * time.Millisecond, rate: minRate}
	servers := map[string]*Server{}
	addr, _ := serve(t, agent, func(s *Server) { s.sender.pace, servers["/sync?state=0"] = quick, s })
	web, _ := openWebWith(t, pages, func(s *Server) { s.sender.pace, servers["/metrics"] = quick, s })
	for at, target := range map[string]string{addr: "/sync?state=0", web: "/metrics"} {
		conn, err := net.Dial("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		io.WriteString(conn, message("GET", target, ""))
		if _, err := io.ReadFull(conn, make([]byte, len("HTTP/1.1 "))); err != nil { // the answer has begun
			t.Fatal(err)
		}
		testaid.Await(t, 20*time.Second, servers[target].idle)
		conn.SetDeadline(time.Now().Add(20 * time.Second))
		r, err := http.ReadResponse(bufio.NewReader(io.MultiReader(strings.NewReader("HTTP/1.1 "), conn)), nil)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, r.Body); err == nil || awa.IsTimeout(err) {
			t.Errorf("%s: %d bytes, %v", target, n, err)
		}
	}
}

func TestPace(t *testing.T) {
	p := pace{stall: 30 * time.Second, rate: 1000}
	began := time.Unix(1000, 0)
	for name, c := range map[string]struct {
		after time.Duration
		sent  int64
		want  time.Duration // since the beginning
	}{
		"at the beginning":             {0, 0, 30 * time.Second},
		"a fast reader that stops":     {time.Second, 1 << 30, 31 * time.Second},
		"a slow and steady one":        {100 * time.Second, 100_000, 130 * time.Second},
		"one at half of the rate":      {40 * time.Second, 20_000, 50 * time.Second},
		"one that was given up":        {60 * time.Second, 0, 30 * time.Second},
		"a little below the rate":      {60 * time.Second, 59_999, 89*time.Second + 999*time.Millisecond},
		"one that reads for two weeks": {300 * time.Hour, 300 * 3600 * 1000, 300*time.Hour + 30*time.Second},
	} {
		if got := p.deadline(began, began.Add(c.after), c.sent).Sub(began).Round(time.Millisecond); got != c.want {
			t.Errorf("%s: after %v, want %v", name, got, c.want)
		}
	}
}

func TestRetained(t *testing.T) {
	r := newRetained(100)
	ended := map[string]int{}
	enter := func(key string, weight int) func() {
		return r.enter(result{key, weight}, func() { ended[key]++ })
	}
	a1, a2 := enter("a", 50), enter("a", 50)
	b := enter("b", 50)
	if len(ended) != 0 || r.total != 100 {
		t.Errorf("at the edge: %v, %d", ended, r.total)
	}
	c := enter("c", 1)
	if ended["a"] != 2 || ended["b"]+ended["c"] != 0 || r.total != 51 {
		t.Errorf("beyond the edge: %v, %d", ended, r.total)
	}
	a1()
	a2()
	huge := enter("d", 1000)
	if ended["b"] != 1 || ended["c"] != 1 || ended["d"] != 0 || r.total != 1000 {
		t.Errorf("a huge one: %v, %d", ended, r.total)
	}
	b()
	c()
	huge()
	if r.enter(result{}, nil)(); r.total != 0 || len(r.all) != 0 {
		t.Errorf("afterwards %d bytes of %d results are held", r.total, len(r.all))
	}
}

// TestLongAnswers_crowd has readers who don't read hold one result each: the
// oldest are given up, and what is held stays below the bound.
func TestLongAnswers_crowd(t *testing.T) {
	agent := long(t, 3000)
	nodes := len(agent.status.Nodes)
	var server *Server
	addr, _ := serve(t, agent, func(s *Server) { server = s; s.sender.held.most = 5 * nodes * nodeBytes })
	var crowd []*bufio.Reader
	for range 12 {
		agent.mu.Lock()
		agent.status.Nodes = append([]awa.NodeStatus{}, agent.status.Nodes...) // of another sweep
		agent.mu.Unlock()
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(20 * time.Second))
		io.WriteString(conn, message("GET", "/v1/status", ""))
		r := bufio.NewReader(conn)
		if _, err := r.Peek(1); err != nil {
			t.Fatal(err)
		}
		crowd = append(crowd, r)
		server.sender.held.mu.Lock()
		if held := server.sender.held.total; held > server.sender.held.most {
			t.Errorf("%d bytes are held, at most %d are allowed", held, server.sender.held.most)
		}
		server.sender.held.mu.Unlock()
	}
	for i, r := range crowd {
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.Copy(io.Discard, resp.Body)
		if newest := i >= len(crowd)-5; newest != (err == nil) {
			t.Errorf("reader %d of %d: %v", i+1, len(crowd), err)
		}
	}
	if st, err := api.NewClient(api.ClientConfig{}).ClusterStatus(t.Context(), addr, false); err != nil ||
		len(st.Nodes) != nodes {
		t.Errorf("one who reads: %v, %d nodes", err, len(st.Nodes))
	}
}

// TestShared makes a page once for all who ask while it is fresh.
func TestShared(t *testing.T) {
	var s shared
	made := 0
	slow := func() ([]byte, string, error) {
		made++
		<-time.After(100 * time.Millisecond)
		return []byte{byte(made)}, "m", nil
	}
	for range 3 {
		if b, media, err := s.get(slow); err != nil || b[0] != 1 || media != "m" {
			t.Errorf("%v %s %v", b, media, err)
		}
	}
	s.until = time.Time{}
	if _, _, err := s.get(func() ([]byte, string, error) { return nil, "", io.EOF }); err != io.EOF {
		t.Error(err)
	}
	if b, _, err := s.get(slow); err != nil || b[0] != 2 {
		t.Errorf("after an error: %v %v", b, err)
	}
	if left := time.Until(s.until); left > freshMost {
		t.Errorf("it is fresh for %v", left)
	}
}

// TestProbe_many pings each node once, however often its id is there, and takes
// no more ids than any list has.
func TestProbe_many(t *testing.T) {
	agent := &probed{fakeAgent: newFake(t)}
	addr, _ := serve(t, agent, nil)
	ids := func(n int) string {
		return `{"nodes":[` + strings.TrimSuffix(strings.Repeat("2,1,", n/2)+strings.Repeat("1,", n%2), ",") + `]}`
	}
	r := talk(t, addr, message("POST", "/v1/probe", ids(maxProbe)), false, "POST")[0]
	if r.StatusCode != 200 || fmt.Sprint(agent.ids) != "[1 2]" {
		t.Errorf("%s, pinged %v", r.Status, agent.ids)
	}
	r = talk(t, addr, message("POST", "/v1/probe", ids(maxProbe+1)), false, "POST")[0]
	if want := fmt.Sprintf(`{"error":"the body names %d nodes: at most %d are pinged for one request",`+
		`"code":"bad_input"}`, maxProbe+1, maxProbe); r.StatusCode != 400 || bodyOf(r) != want {
		t.Errorf("%s %s", r.Status, bodyOf(r))
	}
}

// probed keeps the ids that it was asked to ping.
type probed struct {
	*fakeAgent
	ids []uint64
}

func (p *probed) Probe(ctx context.Context, ids []uint64, within time.Duration) []awa.Opinion {
	p.ids = ids
	return p.fakeAgent.Probe(ctx, ids, within)
}
