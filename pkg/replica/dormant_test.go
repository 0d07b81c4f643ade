package replica

import (
	"context"
	"log/slog"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"go.uber.org/goleak"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/store"
)

// openList opens an empty list in a folder of the test.
func openList(t *testing.T) *store.Store {
	t.Helper()
	leaks := goleak.IgnoreCurrent()
	st, err := store.Open(filepath.Join(t.TempDir(), "awa.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
		if err := goleak.Find(leaks); err != nil {
			t.Error(err)
		}
	})
	return st
}

// newTestOrder makes the order of an agent that reaches nobody.
func newTestOrder(t *testing.T, st *store.Store, dir string) *order {
	t.Helper()
	cfg := Config{
		List: st, Peers: nobody{}, Dir: dir, Log: slog.New(slog.DiscardHandler),
		Timing: Timing{Heartbeat: 100 * time.Millisecond, Commit: 10 * time.Millisecond}.withDefaults(),
	}
	return newOrder(cfg, func(string) (string, bool) { return "nowhere", true })
}

// nobody is a network without other agents.
type nobody struct{ Peers }

// DialRaft implements Peers.
func (nobody) DialRaft(context.Context, string, string) (net.Conn, error) {
	return nil, &awa.PingError{Stage: awa.StageConnect, Err: net.ErrClosed}
}

func start(t *testing.T, o *order) {
	t.Helper()
	if err := o.start(); err != nil {
		t.Fatal(err)
	}
}

func stop(t *testing.T, o *order) {
	t.Helper()
	if err := o.stop(10 * time.Second); err != nil {
		t.Fatal(err)
	}
}

// eventually waits until a condition holds.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(20 * time.Second); !condition(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

// twoVoters founds a list and makes another agent its second voter, which
// never answers. It gives the index of that configuration.
func twoVoters(t *testing.T, st *store.Store, o *order) uint64 {
	t.Helper()
	if err := Bootstrap(st, o.cfg.Dir); err != nil {
		t.Fatal(err)
	}
	start(t, o)
	eventually(t, "the founder leads", o.isLeader)
	f := o.running().AddVoter("other", "other", 0, time.Second)
	if err := f.Error(); err != nil { // raft asks only the old majority
		t.Fatal(err)
	}
	eventually(t, "it leads no more", func() bool { return !o.isLeader() })
	return f.Index()
}

func TestRest_RemovedVoter(t *testing.T) {
	st := openList(t)
	dir := t.TempDir()
	o := newTestOrder(t, st, dir)
	index := twoVoters(t, st, o)
	term := o.term()
	for _, known := range []awa.VoterSet{
		{Index: index - 1, UIDs: []string{"other"}}, // from before it got its vote
		{Index: index, UIDs: []string{"other"}},
		{Index: index + 9, UIDs: []string{"other", o.uid}},
	} {
		if err := o.rest(known); err != nil {
			t.Fatal(err)
		}
		if !o.votes(o.running()) {
			t.Fatalf("it gave its vote away for %+v, and has configuration %d", known, index)
		}
	}
	if err := o.rest(awa.VoterSet{Index: index + 1, UIDs: []string{"other"}}); err != nil {
		t.Fatal(err)
	}
	for range 2 { // now, and when it starts again
		if o.votes(o.running()) || o.lastIndex() != 0 {
			t.Errorf("a removed voter still votes, its log ends at %d", o.lastIndex())
		}
		if o.term() < term {
			t.Errorf("it forgot its term %d: now it is %d", term, o.term())
		}
		stop(t, o)
		start(t, o)
	}
	stop(t, o)
}

// A crash while the log and the snapshots were being dropped must not leave
// the founder's first snapshot alone: it says that the founder votes alone.
func TestRest_CrashInBetween(t *testing.T) {
	st := openList(t)
	dir := t.TempDir()
	o := newTestOrder(t, st, dir)
	index := twoVoters(t, st, o)
	stop(t, o)
	if err := o.drop(index + 1); err != nil {
		t.Fatal(err)
	}
	if err := st.ClearLog(); err != nil { // the power fails here
		t.Fatal(err)
	}
	start(t, o)
	if o.votes(o.running()) || o.isLeader() {
		t.Error("it votes again")
	}
	stop(t, o)
	// Once dropped, what comes later stays.
	if err := st.AppendLog(1, [][]byte{encodeLog(&raft.Log{Index: 1, Term: 1, Type: raft.LogNoop})}); err != nil {
		t.Fatal(err)
	}
	start(t, o)
	if o.lastIndex() != 1 {
		t.Errorf("its new log ends at %d", o.lastIndex())
	}
	stop(t, o)
}

func TestConfigIndex(t *testing.T) {
	st := openList(t)
	o := newTestOrder(t, st, t.TempDir())
	check := func(what string, want uint64) {
		t.Helper()
		if got, err := o.configIndex(); err != nil || got != want {
			t.Errorf("%s: the newest configuration is %d, not %d (%v)", what, got, want, err)
		}
	}
	check("nothing", 0)
	if err := Bootstrap(st, o.cfg.Dir); err != nil {
		t.Fatal(err)
	}
	check("the first snapshot", 1)
	entry := func(index uint64, kind raft.LogType) []byte {
		return encodeLog(&raft.Log{Index: index, Term: 1, Type: kind})
	}
	if err := st.AppendLog(2, [][]byte{entry(2, raft.LogCommand), entry(3, raft.LogConfiguration), entry(4, raft.LogCommand)}); err != nil {
		t.Fatal(err)
	}
	check("one in the log", 3)
	if err := st.AppendLog(9, [][]byte{entry(9, raft.LogCommand)}); err != nil {
		t.Fatal(err)
	}
	check("a log with a gap", 3)
}
