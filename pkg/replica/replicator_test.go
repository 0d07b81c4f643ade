package replica

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/awatest/testaid"
	"are-we-alive/pkg/awatest/testlist"
	"are-we-alive/pkg/store"
)

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
func (h *holder) Sync(_ context.Context, addr string, since awa.Position, limit int) (awa.ChangeSet, error) {
	if addr != h.addr {
		return awa.ChangeSet{}, &awa.PingError{Stage: awa.StageConnect, Err: errors.New("connection refused")}
	}
	set := h.set
	set.Changes = set.Changes[min(since.State, set.State):]
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

// newTestReplica makes a replica on a list, of which only the replicator runs.
func newTestReplica(t *testing.T, st *store.Store, peers Peers, contacts ...string) *Replica {
	t.Helper()
	r := New(Config{
		List: st, Peers: peers, Dir: t.TempDir(), Instance: "this", Contacts: contacts,
		Seen: func(string) (Seen, bool) { return Seen{}, false }, Log: slog.New(slog.DiscardHandler),
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.replicator.run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return r
}

func TestHeard_SyncsFromWhoIsAhead(t *testing.T) {
	all := testlist.Changes(t, 9)
	uid := func(i int) string { return fmt.Sprintf("%032x", i) }
	for name, test := range map[string]struct {
		from     awa.Caller
		contacts []string
		holder   string
		synced   bool
	}{
		"one of the list": {
			from: awa.Caller{UID: uid(1), Cluster: "c", History: testlist.History, State: 9}, holder: "10.0.0.1:1", synced: true,
		},
		// An agent that joined first of many holds a list with nobody else on
		// it. Nobody whom it pings could tell it of the others.
		"one that the list does not know yet": {
			from: awa.Caller{UID: uid(7), Cluster: "c", History: testlist.History,
				State: 9}, contacts: []string{"contact:1"}, holder: "contact:1", synced: true,
		},
		"one that says where it is": {
			from: awa.Caller{UID: uid(7), Cluster: "c", History: testlist.History, State: 9,
				Addr: "there:1"}, holder: "there:1", synced: true,
		},
		"another cluster": {
			from: awa.Caller{UID: uid(1), Cluster: "d", History: testlist.History, State: 9}, holder: "10.0.0.1:1",
		},
		"another history": {
			from: awa.Caller{UID: uid(1), Cluster: "c", History: awa.History{Epoch: 2, ID: "x"}, State: 9}, holder: "10.0.0.1:1",
		},
		"not ahead": {
			from: awa.Caller{UID: uid(1), Cluster: "c", History: testlist.History, State: 2}, holder: "10.0.0.1:1",
		},
		"a client": {holder: "10.0.0.1:1"},
	} {
		t.Run(name, func(t *testing.T) {
			st := testlist.New(t, all[:2])
			net := &holder{addr: test.holder, set: awa.ChangeSet{Cluster: "c", History: testlist.History, State: 9,
				Changes: all}}
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
			if len(r.replicator.hints) > 0 || st.State() != 2 {
				t.Errorf("the list went to state %d, or is about to move", st.State())
			}
		})
	}
}

func TestSync_OtherHistory(t *testing.T) {
	all := testlist.Changes(t, 9)
	st := testlist.New(t, all[:2])
	net := &holder{addr: "a:1", set: awa.ChangeSet{Cluster: "c", History: awa.History{Epoch: 2, ID: "x"}, State: 9,
		Changes: all}}
	r := newTestReplica(t, st, net)
	if _, err := r.replicator.sync(t.Context(), "a:1"); !errors.Is(err, awa.ErrOtherHistory) || st.State() != 2 {
		t.Errorf("the sync ended with %v, in state %d", err, st.State())
	}
}

// A push says that there is a change; what it is, the leader says.
func TestPush_ToAFollower(t *testing.T) {
	all := testlist.Changes(t, 9)
	for name, test := range map[string]struct {
		change func(c *awa.Change)
		same   bool // as what the leader says of it
	}{
		"as it is":                      {func(*awa.Change) {}, true},
		"with an index far ahead":       {func(c *awa.Change) { c.Index, c.Term = 1<<62, 1<<62 }, true},
		"with the highest index":        {func(c *awa.Change) { c.Index, c.Term = 1<<64-1, 1<<64-1 }, true},
		"with other data":               {func(c *awa.Change) { c.Data = `{"id":3,"name":"x","host":"h","port":"1"}` }, false},
		"with another key":              {func(c *awa.Change) { c.Key = "forged" }, false},
		"with an action that is absurd": {func(c *awa.Change) { c.Action, c.Data = awa.Delete, `{"id":1}` }, false},
	} {
		t.Run(name, func(t *testing.T) {
			st := testlist.Open(t)
			net := &holder{addr: "10.0.0.1:1", set: awa.ChangeSet{Cluster: "c", History: testlist.History, State: 9,
				Changes: all}}
			r := newTestReplica(t, st, net)
			if _, err := r.Push(awa.Caller{}, all[0]); !errors.Is(err, awa.ErrNotJoined) {
				t.Errorf("a push to an agent without a list gave %v", err)
			}
			if err := st.Init(awa.ChangeSet{Cluster: "c", History: testlist.History, Changes: all[:2]}); err != nil {
				t.Fatal(err)
			}
			n0 := fmt.Sprintf("%032x", 1)
			r.learn(awa.Self{UID: n0, Leader: n0, Voters: &awa.VoterSet{Index: 1, UIDs: []string{n0}}})
			c := all[2]
			test.change(&c)
			if applied, err := r.Push(awa.Caller{UID: "stranger", Addr: "elsewhere:1"}, c); applied != test.same ||
				!test.same && !errors.Is(err, awa.ErrDamaged) {
				t.Errorf("the push gave %v, %v", applied, err)
			}
			testaid.Eventually(t, "it has what the leader has", func() bool { return st.State() == 9 })
			got, err := st.Changes(0, 0)
			if err != nil || !slices.Equal(got, all) {
				t.Errorf("the list is %+v (%v)", got, err)
			}
			if m := st.Meta(); m.Index != 0 || m.State != 0 {
				t.Errorf("the applied index is %d, at state %d", m.Index, m.State)
			}
			if applied, err := r.Push(awa.Caller{}, all[2]); applied || err != nil {
				t.Errorf("the push of a change that is held gave %v, %v", applied, err)
			}
		})
	}
}

func TestPush_Gap(t *testing.T) {
	all := testlist.Changes(t, 9)
	st := testlist.New(t, all[:2])
	r := newTestReplica(t, st, &holder{})
	for _, i := range []int{2, 7} { // nobody has it
		if applied, err := r.Push(awa.Caller{}, all[i]); applied || !errors.Is(err, awa.ErrGap) || st.State() != 2 {
			t.Errorf("a push of change %d gave %v, %v, state %d", i+1, applied, err, st.State())
		}
	}
}

// Whoever says that it is ahead and returns nothing, or never answers, does not
// keep this agent from asking others.
func TestSync_LiarsAreAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := testlist.Changes(t, 9)
		st := testlist.New(t, all[:2])
		net := &liars{holder: &holder{addr: "10.0.0.1:1", set: awa.ChangeSet{Cluster: "c", History: testlist.History,
			State: 9, Changes: all}}}
		r := newTestReplica(t, st, net)
		for i := range maxHints - 1 {
			r.replicator.behind(fmt.Sprintf("liar%d:1", i), 1<<64-1)
		}
		r.replicator.behind("hangs:1", 1<<64-1)
		r.replicator.behind("10.0.0.1:1", 9) // it does not fit now
		testaid.Eventually(t, "the honest one was asked", func() bool {
			r.replicator.behind("10.0.0.1:1", 9)
			return st.State() == 9
		})
	})
}

// liars have nothing, and one of them never answers.
type liars struct{ *holder }

// Sync implements Peers.
func (l *liars) Sync(ctx context.Context, addr string, since awa.Position, limit int) (awa.ChangeSet, error) {
	switch {
	case addr == l.addr:
		return l.holder.Sync(ctx, addr, since, limit)
	case addr == "hangs:1":
		<-ctx.Done()
		return awa.ChangeSet{}, ctx.Err()
	}
	return awa.ChangeSet{Cluster: "c", History: testlist.History, State: 1<<64 - 1}, nil
}

// The leader pushes each change to everybody, and a push that is under way
// goes on to the newest change.
func TestPush_ToEveryNode(t *testing.T) {
	all := testlist.Changes(t, 3)
	st := testlist.New(t, all)
	net := &holder{pushed: map[string][]uint64{}}
	s := newReplicator(Config{
		List: st, Peers: net, Log: slog.New(slog.DiscardHandler), Timing: Timing{}.WithDefaults(),
		// This agent is n0, and n1 is away: it will ask when it is back.
		Seen: seenAs(map[string]Seen{fmt.Sprintf("%032x", 2): {Online: false}}),
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
		c, _, err := d.Decide(awa.Edit{Action: awa.Update,
			Data: fmt.Appendf(nil, `{"id":1,"name":"n0","host":"10.0.0.1","port":"1","round":%d}`, i)}, uint64(i)+9, 1)
		if err == nil {
			err = st.Apply([]awa.Change{c})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	testaid.Eventually(t, "the newest change is pushed", func() bool {
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
			st := testlist.New(t, testlist.Changes(t, 2))
			r := newTestReplica(t, st, &holder{})
			r.cfg.Seen = seenAs(test.seen)
			r.Heard(awa.Caller{UID: uid, Cluster: "c", History: testlist.History, Addr: test.addr})
			if addr, ok := r.addr(uid); !ok || addr != test.want {
				t.Errorf("it is looked for at %s, not at %s", addr, test.want)
			}
		})
	}
}
