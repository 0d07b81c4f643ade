package server

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"time"

	"are-we-alive/pkg/api"
	"are-we-alive/pkg/awa"
)

// TestClient_server has our client and our server understand each other.
func TestClient_server(t *testing.T) {
	agent := newFake(t)
	addr, _ := serve(t, agent, nil)
	caller := awa.Caller{UID: "00000000000000000000000000000000", Instance: "faf9379e73b13049", Addr: "10.0.0.7:1",
		Cluster: testCluster, History: agent.self.History, State: 7}
	c := api.NewClient(api.ClientConfig{Caller: func() awa.Caller { return caller }})
	t.Cleanup(c.Close)
	ctx := t.Context()

	if self, err := c.Ping(ctx, addr, false); err != nil || !reflect.DeepEqual(self, agent.Self()) {
		t.Errorf("ping: %v, %+v", err, self)
	}
	if st, err := c.ClusterStatus(ctx, addr, true); err != nil || !reflect.DeepEqual(st, agent.status) {
		t.Errorf("status: %v\n%+v\nwant\n%+v", err, st, agent.status)
	}
	told := &agent.status.Nodes[0]
	told.Behind, told.Told, told.Skew, told.SkewError = 3, 2, -3600*time.Second,
		1500*time.Microsecond
	told = &agent.status.Nodes[1]
	told.Verdict, told.Asked, told.SeenBy = awa.Unreachable, 3, []string{"n4", "n5"}
	agent.status.Isolated = true
	if st, err := c.ClusterStatus(ctx, addr, false); err != nil || !reflect.DeepEqual(st, agent.status) {
		t.Errorf("status with all there is: %v\n%+v\nwant\n%+v", err, st, agent.status)
	}
	view := agent.status
	view.Nodes = view.Nodes[1:]
	if st, err := c.View(ctx, addr); err != nil || !reflect.DeepEqual(st, view) || len(agent.status.Nodes) != 2 {
		t.Errorf("view: %v\n%+v\nwant\n%+v", err, st, view)
	}
	opinions, err := c.Probe(ctx, addr, []uint64{2, 1}, 900*time.Millisecond)
	if want := agent.Probe(ctx, []uint64{1, 2}, agent.within); err != nil || !reflect.DeepEqual(opinions, want) ||
		agent.within != 900*time.Millisecond {
		t.Errorf("probe: %v within %s\n%+v\nwant\n%+v", err, agent.within, opinions, want)
	}
	set, err := c.Sync(ctx, addr, awa.Position{State: 1}, 0)
	if want := (awa.ChangeSet{Cluster: testCluster, History: agent.self.History, State: 2,
		Digest: awa.DigestOf(testCluster, agent.changes), Changes: agent.changes[1:]}); err != nil ||
		!reflect.DeepEqual(set, want) {
		t.Errorf("sync: %v\n%+v\nwant\n%+v", err, set, want)
	}
	if set, err = c.Sync(ctx, addr, awa.Position{}, 1); err != nil || len(set.Changes) != 1 || set.State != 2 {
		t.Errorf("sync with a limit: %v, %+v", err, set)
	}
	set, err = c.Changes(ctx, addr, 1, 5)
	want := awa.ChangeSet{Cluster: testCluster, History: agent.self.History, State: 2,
		Changes: []awa.Change{{ID: 2, Action: awa.Create, Data: agent.changes[1].Data}}}
	if err != nil || !reflect.DeepEqual(set, want) {
		t.Errorf("changes: %v\n%+v\nwant\n%+v", err, set, want)
	}

	// Keys that differ from ours by case alone are somebody else's.
	data := []byte(`{"name":"n3","host":"h","port":1,"labels":{"a":"<b>&"},"Name":{"x":[1,"ü"]},"PORT":null}`)
	id, node, err := c.Edit(ctx, addr, awa.Edit{Action: awa.Create, Data: data, Key: "k1"}, 1)
	if err != nil || id != 3 || node.Name != "n3" || node.Port != 1 || node.Labels["a"] != "<b>&" ||
		len(node.Extra) != 1 || string(node.Extra["Name"]) != `{"x":[1,"ü"]}` {
		t.Errorf("edit: %v, %d, %+v", err, id, node)
	}
	if id, _, err = c.Edit(ctx, addr, awa.Edit{Action: awa.Create, Data: data, Key: "k1"}, 0); err != nil || id != 3 {
		t.Errorf("the edit again: %v, %d", err, id)
	}
	if id, node, err = c.Edit(ctx, addr, awa.Edit{Action: awa.Delete, Data: []byte(`{"id":3}`), IfChanged: 3},
		0); err != nil || id != 4 || !reflect.DeepEqual(node, awa.Node{}) {
		t.Errorf("delete: %v, %d, %+v", err, id, node)
	}
	var refused *awa.Fault
	_, _, err = c.Edit(ctx, addr, awa.Edit{Action: awa.Delete, Data: []byte(`{"id":3}`)}, 0)
	if !errors.As(err, &refused) || *refused != (awa.Fault{Code: awa.ErrUnknownNode, Text: "the list has no node 3"}) {
		t.Errorf("a refused edit: %v", err)
	}
	push := awa.Change{ID: 5, Action: awa.Delete, Data: `{"id":2,"x":"\u2028<&>"}`, Index: 9, Term: 3, Key: "k2"}
	if err := c.Push(ctx, addr, push); err != nil || !reflect.DeepEqual(agent.changes[4], push) {
		t.Errorf("push: %v, %+v", err, agent.changes)
	}
	if err := c.Push(ctx, addr, awa.Change{ID: 9, Action: awa.Delete, Data: `{"id":1}`}); !errors.Is(err, awa.ErrGap) {
		t.Errorf("a push too far: %v", err)
	}
	caller.IP = "127.0.0.1"
	for _, from := range agent.heard {
		if from != caller {
			t.Errorf("heard of %+v", from)
		}
	}
	if len(agent.heard) != 14 {
		t.Errorf("heard of %d requests", len(agent.heard))
	}
}

// BenchmarkClient_Ping has both sides' work in it, over a kept connection.
func BenchmarkClient_Ping(b *testing.B) {
	agent := newFake(b)
	addr, _ := serve(b, agent, nil)
	c := api.NewClient(api.ClientConfig{Caller: func() awa.Caller {
		return awa.Caller{UID: testUID, Cluster: testCluster, History: agent.self.History, State: 2}
	}})
	defer c.Close()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Ping(b.Context(), addr, false); err != nil {
			b.Fatal(err)
		}
	}
}

// A caller's deadline goes with its question, less the time that the answer takes on its
// way.
func TestClient_server_within(t *testing.T) {
	agent := newFake(t)
	addr, _ := serve(t, agent, nil)
	c := api.NewClient(api.ClientConfig{})
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for _, cached := range []bool{false, true} {
		if _, err := c.ClusterStatus(ctx, addr, cached, "n1"); err != nil {
			t.Fatal(err)
		}
		agent.mu.Lock()
		q := agent.query
		agent.mu.Unlock()
		if cached != (q.Within == 0) || q.Within > 20*time.Second || q.Cached != cached || len(q.Nodes) != 1 {
			t.Errorf("cached %v: %+v", cached, q)
		}
	}
	if _, err := c.ClusterStatus(t.Context(), addr, false); err != nil || agent.query.Within != 0 {
		t.Errorf("without a deadline: %+v, %v", agent.query, err)
	}
}
