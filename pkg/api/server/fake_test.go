package server

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/awatest/testaid"
)

// The ids that the fake agent goes by.
const (
	testUID     = "2965c4ba819f866b0b62263dab403dee"
	testCluster = "d92d900e040fdfbd9ea5060a2ad48f9b"
	testHistory = "1-abc71fa72cf3fd26"
	testDigest  = "9bfa565cbb386d3a89657c9abac11fa0" // of its list
)

// fakeAgent is an agent with a list in memory, the first and only of its
// cluster: n1 is the agent itself, n2 another node.
type fakeAgent struct {
	self    awa.Self
	status  awa.ClusterStatus
	streams chan net.Conn
	entered chan struct{} // when not nil, Status is under way
	leave   chan struct{} // … until this is closed

	mu      sync.Mutex
	list    *awa.List
	changes []awa.Change
	query   awa.StatusQuery // the last one
	heard   []awa.Caller
	within  time.Duration // of the last probe
	err     error         // when not nil, the answer to everything that can fail
	onSelf  func()

	goodbyes []string
	taken    []awa.Notified
}

func newFake(t testing.TB) *fakeAgent {
	t.Helper()
	history, err := awa.ParseHistory(testHistory)
	if err != nil {
		t.Fatal(err)
	}
	f := &fakeAgent{list: awa.NewList(), streams: make(chan net.Conn, 4), self: awa.Self{
		MacAddr: "1a:d6:6e:ce:b5:5f", Time: 1795423597, TimeMS: 1795423597123, Name: "n1", UID: testUID,
		Instance: "faf9379e73b13049", Cluster: testCluster, History: history, Leader: testUID, Version: "0.1.0",
		LogIndex: 4, Sees: []uint64{2},
	}}
	for _, data := range []string{
		`{"name":"n1","host":"10.0.0.1","port":25483,"uid":"` + testUID + `","by":"agent n1","at":"2026-11-23T18:00:00Z"}`,
		`{"name":"n2","host":"10.0.0.2","port":"25483","by":"ops","at":"2026-11-23T18:00:01Z"}`,
	} {
		if _, _, err := f.Edit(t.Context(), parsed(t, awa.Edit{Action: awa.Create, Data: []byte(data)}), 0); err != nil {
			t.Fatal(err)
		}
	}
	self := f.Self()
	since := time.Date(2026, 11, 23, 17, 0, 0, 5e6, time.UTC)
	f.status = awa.ClusterStatus{
		Cluster: testCluster, History: history, Agent: "n1", State: 2, Leader: "n1", Voters: []string{"n1"},
		SweptAt: time.Date(2026, 11, 23, 18, 46, 37, 0, time.UTC), Took: 2500 * time.Microsecond,
		Nodes: []awa.NodeStatus{
			{Node: f.list.Nodes()[0], Verdict: awa.Online, RTT: 250 * time.Microsecond, Since: since, Self: &self},
			{Node: f.list.Nodes()[1], Verdict: awa.Offline, Stage: awa.StageConnect, Error: "connection refused", Since: since},
		},
	}
	return f
}

func (f *fakeAgent) Self() awa.Self {
	f.mu.Lock()
	defer f.mu.Unlock()
	self := f.self
	self.State = f.list.State()
	self.Digest = awa.DigestOf(testCluster, f.changes)
	if f.onSelf != nil {
		f.onSelf()
	}
	return self
}

func (f *fakeAgent) Heard(from awa.Caller) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.heard = append(f.heard, from)
}

func (f *fakeAgent) Status(q awa.StatusQuery) (awa.ClusterStatus, error) {
	if f.entered != nil {
		f.entered <- struct{}{}
		<-f.leave
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.query = q
	return f.status, f.err
}

func (f *fakeAgent) Changes(since uint64, limit int) ([]awa.Change, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := f.changes[min(since, uint64(len(f.changes))):]
	if limit > 0 {
		all = all[:min(limit, len(all))]
	}
	return slices.Clone(all), f.err
}

func (f *fakeAgent) DigestAt(state uint64) (awa.Digest, bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	held := state <= uint64(len(f.changes))
	return awa.DigestOf(testCluster, f.changes[:min(state, uint64(len(f.changes)))]), held, f.err
}

func (f *fakeAgent) Nodes() (awa.NodeSet, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return awa.NodeSet{Cluster: f.self.Cluster, History: f.self.History, State: f.list.State(),
		Nodes: f.list.Nodes()}, f.err
}

func (f *fakeAgent) Push(_ awa.Caller, c awa.Change) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil || c.ID <= f.list.State() {
		return false, f.err
	}
	d := f.list.Draft()
	if err := d.Apply(c); err != nil {
		return false, fmt.Errorf("apply change %d: %w", c.ID, err) // as the store does
	}
	f.commit(d)
	return true, nil
}

func (f *fakeAgent) Edit(_ context.Context, p awa.ParsedEdit, _ int) (uint64, awa.Node, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return 0, awa.Node{}, f.err
	}
	d := f.list.Draft()
	if id, ok := d.Repeated(p.Edit().Key); ok {
		n, _, _, err := f.changes[id-1].Node()
		return id, n, err
	}
	c, n, err := d.DecideParsed(p, d.State()+1, 1)
	if err != nil {
		return 0, awa.Node{}, err
	}
	f.commit(d)
	return c.ID, n, nil
}

func (f *fakeAgent) commit(d *awa.Draft) {
	f.changes = append(f.changes, d.Changes()...)
	d.Commit()
}

func (f *fakeAgent) Probe(_ context.Context, ids []uint64, within time.Duration) []awa.Opinion {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.within = within
	var all []awa.Opinion
	for _, n := range f.status.Nodes {
		if slices.Contains(ids, n.Node.ID) {
			all = append(all, awa.Opinion{ID: n.Node.ID, Verdict: n.Verdict, Stage: n.Stage, Error: n.Error, RTT: n.RTT})
		}
	}
	return all
}

func (f *fakeAgent) Events(q awa.EventQuery) (awa.EventSet, error) {
	set := awa.EventSet{Agent: "n1", Newest: 7, Through: 7}
	e := awa.Event{ID: 7, At: time.Date(2026, 11, 23, 18, 0, 0, 0, time.UTC), Kind: awa.EventOffline, NodeID: 2, Node: "n2",
		Verdict: awa.Offline, Before: awa.Online, Lasted: awa.Seconds(90 * time.Second), Why: "connect: no route to host"}
	if q.Wants(e) {
		set.Events = []awa.Event{e}
	}
	return set, f.err
}

func (f *fakeAgent) Availability() ([]awa.NodeShare, error) {
	share := awa.Share{Online: awa.Seconds(1500 * time.Millisecond), Watched: awa.Seconds(2 * time.Second)}
	return []awa.NodeShare{{ID: 2, Name: "n2", Shares: [3]awa.Share{share, share, share}}}, f.err
}

func (f *fakeAgent) Goodbye(from awa.Caller, why awa.StopReason) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.goodbyes = append(f.goodbyes, from.UID+" "+string(why))
}

func (f *fakeAgent) Notified() []awa.Notified {
	return []awa.Notified{{NodeID: 2, Verdict: awa.Offline, At: time.Date(2026, 11, 23, 18, 0, 0, 0, time.UTC),
		By: testUID, Done: true}}
}

func (f *fakeAgent) TakeNotified(all []awa.Notified) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.taken = append(f.taken, all...)
}

func (f *fakeAgent) AcceptRaft() error { return f.err }

func (f *fakeAgent) RaftStream(conn net.Conn) { f.streams <- conn }

// state is all that a request could have changed.
func (f *fakeAgent) state() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return fmt.Sprintf("%+v %+v", f.changes, f.list.Nodes())
}

// serve answers for an agent on a free port until the test ends. change, if
// not nil, is applied to the server before it starts.
func serve(t testing.TB, agent Agent, change func(*Server)) (addr string, log *testaid.Log) {
	t.Helper()
	log = &testaid.Log{}
	s := NewServer(Config{Agent: agent, Log: slog.New(slog.NewTextHandler(log, nil))})
	if change != nil {
		change(s)
	}
	return testaid.Serve(t, s), log
}

// talk sends bytes over a new connection, ends its own half when half is set,
// and reads until the other side closes or the answers to methods are there.
func talk(t *testing.T, addr, send string, half bool, methods ...string) []*http.Response {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	sent := make(chan struct{})
	go func() { // the server may answer and close before it has read all
		defer close(sent)
		io.WriteString(conn, send)
		if half {
			conn.(*net.TCPConn).CloseWrite()
		}
	}()
	defer func() { conn.Close(); <-sent }()
	var all []*http.Response
	for r, i := bufio.NewReader(conn), 0; i < len(methods); i++ {
		resp, err := http.ReadResponse(r, &http.Request{Method: methods[i]})
		if err != nil {
			t.Fatalf("answer %d: %v", i+1, err)
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatalf("answer %d: its body: %v", i+1, err)
		}
		resp.Body = io.NopCloser(bytes.NewReader(body))
		all = append(all, resp)
	}
	return all
}

// bodyOf reads an answer's body.
func bodyOf(r *http.Response) string {
	b, _ := io.ReadAll(r.Body) // it is in memory
	r.Body = io.NopCloser(bytes.NewReader(b))
	return string(b)
}

// message writes a request with a body, in HTTP/1.1.
func message(method, target, body string, headers ...string) string {
	head := method + " " + target + " HTTP/1.1\r\nHost: n1\r\n"
	for _, h := range headers {
		head += h + "\r\n"
	}
	if body != "" || method == http.MethodPost {
		head += fmt.Sprintf("Content-Length: %d\r\n", len(body))
	}
	return head + "\r\n" + body
}

// chunked writes a request whose body comes in chunks.
func chunked(method, target string, chunks ...string) string {
	var b strings.Builder
	b.WriteString(method + " " + target + " HTTP/1.1\r\nHost: n1\r\nTransfer-Encoding: chunked\r\n\r\n")
	for _, c := range chunks {
		fmt.Fprintf(&b, "%x\r\n%s\r\n", len(c), c)
	}
	b.WriteString("0\r\n\r\n")
	return b.String()
}

// parsed returns an edit that is right.
func parsed(t testing.TB, e awa.Edit) awa.ParsedEdit {
	t.Helper()
	p, err := e.Parse()
	if err != nil {
		t.Fatal(err)
	}
	return p
}
