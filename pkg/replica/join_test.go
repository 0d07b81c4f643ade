package replica

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/awatest/testlist"
	"are-we-alive/pkg/consensus"
)

// answers is a network in which each address answers pings with one thing.
type answers struct {
	Peers
	mu    sync.Mutex
	selfs map[string]awa.Self // by address; others don't answer
	asked []string
}

// Ping implements Peers.
func (a *answers) Ping(_ context.Context, addr string, _ bool) (awa.Self, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked = append(a.asked, addr)
	self, ok := a.selfs[addr]
	if !ok {
		return awa.Self{}, &awa.PingError{Stage: awa.StageConnect, Err: errors.New("connection refused")}
	}
	return self, nil
}

// set makes an address answer from now on.
func (a *answers) set(addr string, self awa.Self) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.selfs[addr] = self
}

// An agent that is among its own contacts has not met anybody yet: after a
// power failure all may have moved, and find each other late.
func TestMeet_ItselfIsNobody(t *testing.T) {
	st := testlist.Open(t)
	dir := t.TempDir()
	if err := consensus.Bootstrap(st, dir); err != nil {
		t.Fatal(err)
	}
	m := st.Meta()
	own := awa.Self{UID: m.UID, Instance: "this", Cluster: m.Cluster, History: m.History}
	other := awa.Self{UID: "other", Instance: "that", Cluster: m.Cluster, History: m.History}
	synctest.Test(t, func(t *testing.T) {
		net := &answers{selfs: map[string]awa.Self{"own:1": own}}
		r := New(Config{
			List: st, Peers: net, Dir: dir, Instance: "this", Contacts: []string{"own:1", "other:1"},
			Seen: func(string) (Seen, bool) { return Seen{}, false }, Log: slog.New(slog.DiscardHandler),
		})
		met := make(chan error, 1)
		go func() { met <- r.Meet(t.Context()) }()
		time.Sleep(10 * time.Second) // of the bubble's clock
		select {
		case err := <-met:
			t.Fatalf("it met itself and was content (%v)", err)
		default:
		}
		net.set("other:1", other)
		if err := <-met; err != nil {
			t.Error(err)
		}
		if !slices.Contains(net.asked, "other:1") {
			t.Error("it has not asked the other one")
		}
	})
}

// mover is a network in which another agent is ahead by one change, that moved
// this agent's entry.
type mover struct {
	*holder
	self awa.Self

	edits []awa.Edit
}

// Ping implements Peers.
func (m *mover) Ping(_ context.Context, addr string, _ bool) (awa.Self, error) {
	if addr != m.addr {
		return awa.Self{}, &awa.PingError{Stage: awa.StageConnect, Err: errors.New("connection refused")}
	}
	return m.self, nil
}

// ClusterStatus implements Peers: nobody has answered at the new address for long.
func (m *mover) ClusterStatus(context.Context, string, bool, ...string) (awa.ClusterStatus, error) {
	now := time.Now()
	set := m.set
	moved, _, _, err := set.Changes[2].Node()
	return awa.ClusterStatus{Cluster: "c", History: testlist.History, Agent: "n2", SweptAt: now, Nodes: []awa.NodeStatus{{
		Node: moved, Verdict: awa.Offline, Since: now.Add(-time.Minute),
	}}}, err
}

// Edit implements Peers.
func (m *mover) Edit(_ context.Context, _ string, e awa.Edit, _ int) (uint64, awa.Node, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.edits = append(m.edits, e)
	return 4, awa.Node{ID: 1}, nil
}

// An agent whose list has it where it is, and which lacks an edit that moved it
// since, registers again.
func TestRegister_Behind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := testlist.Open(t)
		uid := st.Meta().UID
		d := awa.NewList().Draft()
		for i, data := range []string{
			`{"name":"n1","host":"10.0.0.1","port":"1","uid":"` + uid + `"}`,
			`{"name":"n2","host":"10.0.0.2","port":"1","uid":"00000000000000000000000000000002"}`,
			`{"id":1,"name":"n1","host":"10.0.0.33","port":"1","uid":"` + uid + `"}`,
		} {
			action := awa.Create
			if i == 2 {
				action = awa.Update
			}
			if _, _, err := d.Decide(awa.Edit{Action: action, Data: []byte(data)}, uint64(i)+2, 1); err != nil {
				t.Fatal(err)
			}
		}
		all := d.Changes()
		if err := st.Init(awa.ChangeSet{Cluster: "c", History: testlist.History, Changes: all[:2]}); err != nil {
			t.Fatal(err)
		}
		set := awa.ChangeSet{Cluster: "c", History: testlist.History, State: 3, Changes: all}
		net := &mover{holder: &holder{addr: "10.0.0.2:1", set: set}}
		net.self = awa.Self{UID: "00000000000000000000000000000002", Cluster: "c", History: testlist.History, State: 3}
		r := newTestReplica(t, st, net, net.addr)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		registered := make(chan error)
		staying, stop := context.WithCancel(ctx)
		go func() { registered <- r.StayRegistered(staying, awa.Node{Name: "n1", Host: "10.0.0.1", Port: 1}) }()
		synctest.Wait()
		stop()
		if err := <-registered; !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		if len(net.edits) != 1 || net.edits[0].Action != awa.Update || net.edits[0].IfChanged != 3 {
			t.Errorf("it registered with %+v", net.edits)
		}
		// One that claims more than it has holds nobody up for good.
		net.self.State = 9
		began := time.Now()
		if !r.upToDate(ctx) || time.Since(began) > 2*levelWait {
			t.Errorf("it waits for what there is not")
		}
	})
}

func TestMeet_AnotherCluster(t *testing.T) {
	st := testlist.Open(t)
	dir := t.TempDir()
	if err := consensus.Bootstrap(st, dir); err != nil {
		t.Fatal(err)
	}
	net := &answers{selfs: map[string]awa.Self{"other:1": {Name: "n9", UID: "other", Cluster: "theirs"}}}
	r := New(Config{
		List: st, Peers: net, Dir: dir, Instance: "this", Contacts: []string{"other:1"},
		Seen: func(string) (Seen, bool) { return Seen{}, false }, Log: slog.New(slog.DiscardHandler),
	})
	if err := r.Meet(t.Context()); !errors.Is(err, awa.ErrOtherCluster) {
		t.Errorf("it met another cluster's agent with %v", err)
	}
}
