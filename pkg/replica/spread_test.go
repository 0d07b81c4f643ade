package replica

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/store"
)

// listOf makes the changes of a list with n nodes.
func listOf(t *testing.T, n int) []awa.Change {
	t.Helper()
	d := awa.NewList().Draft()
	for i := range n {
		data := fmt.Sprintf(`{"name":"n%d","host":"10.0.0.1","port":"%d","uid":"%032x"}`, i, i+1, i+1)
		if _, _, err := d.Decide(awa.Edit{Action: awa.Create, Data: []byte(data)}, uint64(i)+2, 1); err != nil {
			t.Fatal(err)
		}
	}
	return d.Changes()
}

// holder is a network in which one agent holds a list.
type holder struct {
	Peers
	addr string
	set  awa.ChangeSet

	mu     sync.Mutex
	pushed map[string][]uint64 // by address
	refuse error               // what pushes are answered with
}

// Sync implements Peers.
func (h *holder) Sync(_ context.Context, addr string, since uint64, limit int) (awa.ChangeSet, error) {
	if addr != h.addr {
		return awa.ChangeSet{}, &awa.PingError{Stage: awa.StageConnect, Err: errors.New("connection refused")}
	}
	set := h.set
	set.Changes = set.Changes[min(since, set.State):]
	set.Changes = set.Changes[:min(len(set.Changes), limit, 2)] // pages are small here
	return set, nil
}

// Push implements Peers.
func (h *holder) Push(_ context.Context, addr string, c awa.Change) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.pushed[addr] = append(h.pushed[addr], c.ID)
	return h.refuse
}

func (h *holder) pushes(addr string) []uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.pushed[addr])
}

// newTestReplica makes a replica on a list, of which only the spread runs.
func newTestReplica(t *testing.T, st *store.Store, peers Peers, contacts ...string) *Replica {
	t.Helper()
	r := New(Config{
		List: st, Peers: peers, Dir: t.TempDir(), Instance: "this", Contacts: contacts,
		Seen: func() map[string]Seen { return nil }, Log: slog.New(slog.DiscardHandler),
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.spread.run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return r
}

var testHistory = awa.History{Epoch: 1, ID: "5f3a0c21b7e94d10"}

func TestHeard_SyncsFromWhoIsAhead(t *testing.T) {
	all := listOf(t, 9)
	uid := func(i int) string { return fmt.Sprintf("%032x", i) }
	for name, test := range map[string]struct {
		from     awa.Caller
		contacts []string
		holder   string
		synced   bool
	}{
		"one of the list": {
			from: awa.Caller{UID: uid(1), Cluster: "c", History: testHistory, State: 9}, holder: "10.0.0.1:1", synced: true,
		},
		// An agent that joined first of many holds a list with nobody else on
		// it. Nobody whom it pings could tell it of the others.
		"one that the list does not know yet": {
			from: awa.Caller{UID: uid(7), Cluster: "c", History: testHistory, State: 9}, contacts: []string{"contact:1"}, holder: "contact:1", synced: true,
		},
		"one that says where it is": {
			from: awa.Caller{UID: uid(7), Cluster: "c", History: testHistory, State: 9, Addr: "there:1"}, holder: "there:1", synced: true,
		},
		"another cluster": {
			from: awa.Caller{UID: uid(1), Cluster: "d", History: testHistory, State: 9}, holder: "10.0.0.1:1",
		},
		"another history": {
			from: awa.Caller{UID: uid(1), Cluster: "c", History: awa.History{Epoch: 2, ID: "x"}, State: 9}, holder: "10.0.0.1:1",
		},
		"not ahead": {
			from: awa.Caller{UID: uid(1), Cluster: "c", History: testHistory, State: 2}, holder: "10.0.0.1:1",
		},
		"a client": {holder: "10.0.0.1:1"},
	} {
		t.Run(name, func(t *testing.T) {
			st := openList(t)
			if err := st.Found("c", testHistory, all[:2]); err != nil {
				t.Fatal(err)
			}
			net := &holder{addr: test.holder, set: awa.ChangeSet{Cluster: "c", History: testHistory, State: 9, Changes: all}}
			r := newTestReplica(t, st, net, test.contacts...)
			r.Heard(test.from)
			if test.synced {
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				defer cancel()
				if err := st.Wait(ctx, 9); err != nil {
					t.Error(err)
				}
				return
			}
			if len(r.spread.ahead) > 0 || st.State() != 2 {
				t.Errorf("the list went to state %d, or is about to move", st.State())
			}
		})
	}
}

func TestSync_OtherHistory(t *testing.T) {
	all := listOf(t, 9)
	st := openList(t)
	if err := st.Found("c", testHistory, all[:2]); err != nil {
		t.Fatal(err)
	}
	net := &holder{addr: "a:1", set: awa.ChangeSet{Cluster: "c", History: awa.History{Epoch: 2, ID: "x"}, State: 9, Changes: all}}
	r := newTestReplica(t, st, net)
	if err := r.spread.sync(t.Context(), hint{"a:1", 9}); !errors.Is(err, awa.ErrOtherHistory) || st.State() != 2 {
		t.Errorf("the sync ended with %v, in state %d", err, st.State())
	}
}

func TestPush_ChangeThatCantBeApplied(t *testing.T) {
	all := listOf(t, 9)
	st := openList(t)
	r := newTestReplica(t, st, &holder{})
	if _, err := r.Push(awa.Caller{}, all[0]); !errors.Is(err, awa.ErrNotJoined) {
		t.Errorf("a push to an agent without a list gave %v", err)
	}
	if err := st.Found("c", testHistory, all[:2]); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		change  int
		applied bool
		err     error
	}{{2, true, nil}, {2, false, nil}, {0, false, nil}, {7, false, awa.ErrGap}} {
		applied, err := r.Push(awa.Caller{}, all[test.change])
		if applied != test.applied || !errors.Is(err, test.err) {
			t.Errorf("push of change %d gave %v, %v", test.change+1, applied, err)
		}
	}
}

func TestBehind_KeepsTheNewestHint(t *testing.T) {
	s := &spread{ahead: make(chan hint, 1)}
	for _, state := range []uint64{3, 9, 5} {
		s.behind(fmt.Sprint(state), state)
	}
	if h := <-s.ahead; h.state != 9 || h.addr != "9" {
		t.Errorf("the hint is %+v", h)
	}
}

// The leader pushes each change to everybody, and a push that is under way
// goes on to the newest change.
func TestPush_ToEveryNode(t *testing.T) {
	all := listOf(t, 3)
	st := openList(t)
	if err := st.Found("c", testHistory, all); err != nil {
		t.Fatal(err)
	}
	net := &holder{pushed: map[string][]uint64{}}
	s := newSpread(Config{
		List: st, Peers: net, Log: slog.New(slog.DiscardHandler), Timing: Timing{}.withDefaults(),
		// This agent is n0, and n1 is away: it will ask when it is back.
		Seen: func() map[string]Seen { return map[string]Seen{fmt.Sprintf("%032x", 2): {Online: false}} },
	}, fmt.Sprintf("%032x", 1), func() bool { return true })
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.run(ctx)
	}()
	d := awa.NewList().Draft()
	for _, c := range all {
		if err := d.Apply(c); err != nil {
			t.Fatal(err)
		}
	}
	for i := 0; i < 20 || len(net.pushes("10.0.0.1:3")) == 0; i++ {
		c, _, err := d.Decide(awa.Edit{Action: awa.Update, Data: fmt.Appendf(nil, `{"id":1,"name":"n0","host":"10.0.0.1","port":"1","round":%d}`, i)}, uint64(i)+9, 1)
		if err == nil {
			err = st.Apply([]awa.Change{c})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the newest change is pushed", func() bool {
		got := net.pushes("10.0.0.1:3")
		return got[len(got)-1] == st.State()
	})
	cancel()
	<-done
	if got := net.pushes("10.0.0.1:3"); !slices.IsSorted(got) {
		t.Errorf("the pushes came as %v", got)
	}
	for _, addr := range []string{"10.0.0.1:1", "10.0.0.1:2"} {
		if got := net.pushes(addr); len(got) > 0 {
			t.Errorf("%s got %v", addr, got)
		}
	}
}

// An agent that says it is elsewhere is looked for there when it does not
// answer where the list says. When it does, a copy of it is calling.
func TestHeard_AgentThatMoved(t *testing.T) {
	uid := fmt.Sprintf("%032x", 1)
	for name, test := range map[string]struct {
		seen map[string]Seen
		addr string
		want string
	}{
		"it is away":         {map[string]Seen{uid: {Online: false}}, "10.0.0.9:9", "10.0.0.9:9"},
		"it answers":         {map[string]Seen{uid: {Online: true}}, "10.0.0.9:9", "10.0.0.1:1"},
		"nobody has looked":  {nil, "10.0.0.9:9", "10.0.0.1:1"},
		"it does not say":    {map[string]Seen{uid: {Online: false}}, "", "10.0.0.1:1"},
		"it is where it was": {map[string]Seen{uid: {Online: false}}, "10.0.0.1:1", "10.0.0.1:1"},
	} {
		t.Run(name, func(t *testing.T) {
			st := openList(t)
			if err := st.Found("c", testHistory, listOf(t, 2)); err != nil {
				t.Fatal(err)
			}
			r := newTestReplica(t, st, &holder{})
			r.cfg.Seen = func() map[string]Seen { return test.seen }
			r.Heard(awa.Caller{UID: uid, Cluster: "c", History: testHistory, Addr: test.addr})
			if addr, ok := r.addr(uid); !ok || addr != test.want {
				t.Errorf("it is looked for at %s, not at %s", addr, test.want)
			}
		})
	}
}
