package consensus

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/raft"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/awatest/testlist"
	"are-we-alive/pkg/store"
)

// newTestFSM makes a state machine on a list that holds changes already.
func newTestFSM(t *testing.T, held []awa.Change) (*fsm, *store.Store) {
	t.Helper()
	st := testlist.New(t, held)
	if n := len(held); n > 0 {
		if err := st.Prove(held, held[n-1].Index, held[n-1].Term); err != nil {
			t.Fatal(err)
		}
	}
	return &fsm{
		list: st, disk: testDisk(), fail: func(err error) { t.Error(err) }, voters: func(awa.VoterSet) {},
		log: slog.New(slog.DiscardHandler),
	}, st
}

// testDisk is one that takes writes.
func testDisk() *Disk { return newDisk(func() error { return nil }, slog.New(slog.DiscardHandler)) }

// command is an entry of the voters' log.
func entry(t *testing.T, index uint64, e awa.Edit) *raft.Log {
	t.Helper()
	b, err := encodeCommand(e)
	if err != nil {
		t.Fatal(err)
	}
	return &raft.Log{Index: index, Term: 3, Type: raft.LogCommand, Data: b}
}

func TestFSM_ApplyBatch(t *testing.T) {
	m, st := newTestFSM(t, nil)
	var told []awa.VoterSet
	m.voters = func(v awa.VoterSet) { told = append(told, v) }
	config := raft.Configuration{Servers: []raft.Server{{ID: "a"}, {ID: "b", Suffrage: raft.Nonvoter}}}
	create := awa.Edit{Action: awa.Create, Data: []byte(`{"name":"x","host":"h","port":"1"}`), Key: "k"}
	logs := []*raft.Log{
		entry(t, 5, create),
		{Index: 6, Type: raft.LogConfiguration, Data: raft.EncodeConfiguration(config)},
		entry(t, 7, awa.Edit{Action: awa.Create, Data: []byte(`{"name":"X","host":"h","port":"1"}`)}),
		{Index: 8, Term: 3, Type: raft.LogCommand, Data: []byte("no JSON")},
		entry(t, 9, create), // repeated by its client
		entry(t, 10, awa.Edit{Action: awa.Delete, Data: []byte(`{"id":1}`), IfChanged: 9}),
	}
	answers := m.ApplyBatch(logs)
	ids, errs := []uint64{1, 0, 0, 0, 1, 0}, []error{nil, nil, awa.ErrNameTaken, awa.ErrBadInput, nil, awa.ErrConflict}
	for i, a := range answers {
		if i == 1 {
			continue // nobody waits for a configuration
		}
		if o, ok := a.(awa.Outcome); !ok || !errors.Is(o.Err, errs[i]) || o.Err == nil && o.Change.ID != ids[i] {
			t.Errorf("entry %d gave %+v", logs[i].Index, a)
		}
	}
	if want := []awa.VoterSet{{Index: 6, UIDs: []string{"a"}}}; !reflect.DeepEqual(told, want) {
		t.Errorf("it was told the voters %+v", told)
	}
	if st.State() != 1 || st.Meta().Index != 10 || st.Meta().Term != 3 {
		t.Errorf("the list is in state %d, of entry %d", st.State(), st.Meta().Index)
	}
	// The same log again, as after a crash.
	if again := m.ApplyBatch(logs[:1]); again[0].(awa.Outcome).Change.ID != 1 || st.State() != 1 {
		t.Errorf("a replay gave %+v, in state %d", again[0], st.State())
	}
}

func TestFSM_DiskFails(t *testing.T) {
	m, st := newTestFSM(t, nil)
	var reason error
	m.fail = func(err error) { reason = err }
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		o := m.Apply(entry(t, 5, awa.Edit{Action: awa.Create, Data: []byte(`{"name":"x","host":"h","port":"1"}`)}))
		if !errors.Is(o.(awa.Outcome).Err, awa.ErrUnknownOutcome) {
			t.Errorf("an edit without a disk gave %+v", o)
		}
	}
	if reason == nil {
		t.Error("the agent was not told to stop")
	}
	if _, err := m.Snapshot(); err == nil {
		t.Error("a snapshot was taken of what is not on disk")
	}
}

// sink takes a snapshot.
type sink struct {
	bytes.Buffer
	closed, cancelled bool
}

func (s *sink) ID() string    { return "test" }
func (s *sink) Close() error  { s.closed = true; return nil }
func (s *sink) Cancel() error { s.cancelled = true; return nil }

// sentSnapshot is a snapshot of an fsm's list as another agent gets it.
func sentSnapshot(t *testing.T, m *fsm) string {
	t.Helper()
	var b bytes.Buffer
	head, err := headOf(m.list, m.list.Meta(), snapshotPosition)
	if err == nil {
		err = writeWhole(&b, m.list, head)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func takeSnapshot(t *testing.T, m *fsm) string {
	t.Helper()
	snap, err := m.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	var s sink
	if err := snap.Persist(&s); err != nil || !s.closed || s.cancelled {
		t.Fatalf("the snapshot was not written: %v", err)
	}
	snap.Release()
	return s.String()
}

func TestFSM_Snapshot(t *testing.T) {
	all := testlist.Changes(t, page+10) // more than is read at a time
	from, st := newTestFSM(t, all)
	voters := awa.VoterSet{Index: 7, UIDs: []string{"a", "b"}}
	if err := st.SetVoters(voters); err != nil {
		t.Fatal(err)
	}
	snap := sentSnapshot(t, from)
	for name, held := range map[string]int{"empty": 0, "behind": page - 1, "the same": len(all)} {
		t.Run(name, func(t *testing.T) {
			m, st := newTestFSM(t, all[:held])
			var told awa.VoterSet
			m.voters = func(v awa.VoterSet) { told = v }
			if err := m.Restore(io.NopCloser(strings.NewReader(snap))); err != nil {
				t.Fatal(err)
			}
			got, err := st.Changes(0, 0)
			if err != nil || !reflect.DeepEqual(got, all) {
				t.Errorf("%d changes were restored of %d (%v)", len(got), len(all), err)
			}
			if !reflect.DeepEqual(told, voters) {
				t.Errorf("it was told the voters %+v", told)
			}
		})
	}
}

func TestFSM_RestoreChangesNothing(t *testing.T) {
	all := testlist.Changes(t, 9)
	few, _ := newTestFSM(t, all[:4])
	snap := sentSnapshot(t, few)
	for name, test := range map[string]struct{ snap, err string }{
		"an older one":       {snap: snap},
		"cut short":          {strings.Replace(snap, `"state":4`, `"state":12`, 1), "read change 5 of the snapshot: EOF"},
		"another cluster":    {strings.Replace(snap, `"cluster":"c"`, `"cluster":"d"`, 1), "is not of this list"},
		"another history":    {strings.Replace(snap, `"history":"1-`, `"history":"2-`, 1), "is not of this list"},
		"another version":    {strings.Replace(snap, `"version":1`, `"version":3`, 1), "is not of this list"},
		"no snapshot at all": {"", "read snapshot: EOF"},
		"something else":     {"<html>", "read snapshot"},
		"a change is missing": {strings.Replace(strings.Replace(snap, `"state":4`, `"state":10`, 1), `"ID":4`, `"ID":10`,
			1), "change 4 of the snapshot says that it is change 10"},
	} {
		t.Run(name, func(t *testing.T) {
			m, st := newTestFSM(t, all)
			err := m.Restore(io.NopCloser(strings.NewReader(test.snap)))
			if (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
				t.Errorf("the restore ended with %v", err)
			}
			if got, err := st.Changes(0, 0); err != nil || !reflect.DeepEqual(got, all) {
				t.Errorf("the list is now %+v (%v)", got, err)
			}
		})
	}
}

// What an agent keeps as a snapshot is where its list was, and the list has
// the changes: it is proven up to there, or the snapshot is refused.
func TestFSM_RestorePosition(t *testing.T) {
	all := testlist.Changes(t, page+10)
	from, _ := newTestFSM(t, all)
	snap := takeSnapshot(t, from)
	if len(snap) > 1000 {
		t.Errorf("a snapshot of %d changes has %d bytes", len(all), len(snap))
	}
	other := slices.Clone(all)
	other[page].Data = strings.Replace(other[page].Data, "10.0.0.1", "10.0.0.2", 1)
	for name, test := range map[string]struct {
		held []awa.Change
		err  string
	}{
		"the same list":  {all, ""},
		"a longer list":  {testlist.Changes(t, page+20), ""},
		"an older list":  {all[:page], "has come to change 4096"},
		"an empty list":  {nil, "has come to change 0"},
		"another change": {other, "digest"},
	} {
		t.Run(name, func(t *testing.T) {
			st := testlist.New(t, test.held)
			m := &fsm{list: st, disk: testDisk(), fail: func(err error) { t.Error(err) }, voters: func(awa.VoterSet) {},
				log: slog.New(slog.DiscardHandler)}
			err := m.Restore(io.NopCloser(strings.NewReader(snap)))
			if (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
				t.Fatalf("the restore ended with %v", err)
			}
			want := uint64(len(all))
			if test.err != "" {
				want = 0
			}
			if st.Meta().State != want || int(st.State()) != len(test.held) {
				t.Errorf("the list is proven up to change %d of %d", st.Meta().State, st.State())
			}
		})
	}
}
