package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"are-we-alive/pkg/awa"
)

func TestStore_Found(t *testing.T) {
	t.Run("an empty list", func(t *testing.T) {
		s := open(t, t.TempDir()+"/awa.db")
		uid := s.Meta().UID
		equal(t, "length of the uid", len(uid), 32)
		ok(t, s.Init(awa.ChangeSet{Cluster: "c1", History: testHistory}))
		s = reopen(t, s)
		equal(t, "meta", s.Meta(), awa.Meta{Cluster: "c1", History: testHistory, UID: uid, Epoch: 1})
		equal(t, "state", s.State(), 0)
		equal(t, "nodes", len(s.Nodes()), 0)
	})
	t.Run("all changes of another agent", func(t *testing.T) {
		a, b := founded(t), open(t, t.TempDir()+"/awa.db")
		decide(t, a, createNode(1), createNode(2), `DELETE - {"id":1}`)
		changes, err := a.Changes(0, 0)
		ok(t, err)
		n := transactions(t, b, func() {
			ok(t, b.Init(awa.ChangeSet{Cluster: "c1", History: testHistory, Changes: changes}))
		})
		equal(t, "transactions", n, 1)
		b = reopen(t, b)
		equal(t, "nodes", b.Nodes(), a.Nodes())
		equal(t, "applied", [2]uint64{b.Meta().Index, b.high.index}, [2]uint64{0, 3})
		if a.Meta().UID == b.Meta().UID {
			t.Error("two agents have one uid")
		}
	})
	t.Run("refused", func(t *testing.T) {
		s := founded(t)
		refuses(t, s.Init(awa.ChangeSet{Cluster: "c2", History: testHistory}), awa.ErrOtherCluster, s.path, "c1")
		s = open(t, t.TempDir()+"/awa.db")
		refuses(t, s.Init(awa.ChangeSet{History: testHistory}), awa.ErrBadInput)
		refuses(t, s.Init(awa.ChangeSet{Cluster: "c1"}), awa.ErrBadInput)
		gap := []awa.Change{{ID: 2, Action: awa.Delete, Data: `{"id":1}`}}
		refuses(t, s.Init(awa.ChangeSet{Cluster: "c1", History: testHistory, Changes: gap}), awa.ErrGap)
		equal(t, "cluster", s.Meta().Cluster, "")
		_, err := s.Decide(edits(s, createNode(1)))
		refuses(t, err, awa.ErrNotJoined, s.path)
		refuses(t, s.Apply(nil), awa.ErrNotJoined, s.path)
	})
}

func TestStore_Agent(t *testing.T) {
	const uid, other = "00000000000000000000000000000001", "00000000000000000000000000000002"
	s := founded(t)
	decide(t, s, createNode(1), `CREATE - {"name":"a","host":"10.0.0.1","port":1,"uid":"`+uid+`"}`)
	n, found := s.Agent(uid)
	equal(t, "name", n.Name, "a")
	equal(t, "found", found, true)
	decide(t, s, `UPDATE - {"id":2,"name":"b","host":"10.0.0.1","port":1,"uid":"`+other+`"}`)
	n, _ = s.Agent(other)
	equal(t, "name after an update", n.Name, "b")
	for _, gone := range []string{uid, "", "nobody"} { // node 1 has no uid
		if n, found := s.Agent(gone); found {
			t.Errorf("%q finds %+v", gone, n)
		}
	}
}

func TestStore_Changes(t *testing.T) {
	s := founded(t)
	var all []awa.Change
	for i := range 10 {
		all = append(all, decide(t, s, createNode(i))[0].Change)
	}
	for _, c := range []struct {
		since    uint64
		limit    int
		from, to int
	}{
		{0, 0, 0, 10}, {0, 3, 0, 3}, {4, 3, 4, 7}, {9, 3, 9, 10}, {10, 0, 10, 10}, {11, 5, 10, 10}, {1<<64 - 1, 0, 10, 10},
	} {
		got, err := s.Changes(c.since, c.limit)
		ok(t, err)
		if len(got) != 0 || c.from != c.to {
			equal(t, fmt.Sprintf("changes since %d, limit %d", c.since, c.limit), got, all[c.from:c.to])
		}
	}
}

func TestStore_Nodes(t *testing.T) {
	s := founded(t)
	decide(t, s, createNode(1))
	before := s.Nodes()
	if after := s.Nodes(); &after[0] != &before[0] {
		t.Error("the list is made again without a change")
	}
	decide(t, s, createNode(2))
	equal(t, "length of a list from before", len(before), 1)
	equal(t, "length", len(s.Nodes()), 2)
}

func TestStore_Wait(t *testing.T) {
	s := founded(t)
	ok(t, s.Wait(t.Context(), 0))
	done := make(chan error, 3)
	for range cap(done) {
		go func() { done <- s.Wait(t.Context(), 2) }()
	}
	decide(t, s, createNode(1))
	select {
	case err := <-done:
		t.Fatalf("Wait returned at state 1: %v", err)
	default:
	}
	decide(t, s, createNode(2))
	for range cap(done) {
		ok(t, <-done)
	}

	ctx, cancel := context.WithCancel(t.Context())
	go func() { done <- s.Wait(ctx, 3) }()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled Wait gives %v", err)
	}
	go func() { done <- s.Wait(t.Context(), 3) }()
	ok(t, s.Close())
	refuses(t, <-done, awa.ErrStopping)
}

func TestStore_Close(t *testing.T) {
	s := founded(t)
	decide(t, s, createNode(1))
	ok(t, s.Close())
	ok(t, s.Close())
	equal(t, "state", s.State(), 1)
	_, err := s.Decide(edits(s, createNode(2)))
	refuses(t, err, awa.ErrStopping, s.path)
	_, err = s.Changes(0, 0)
	refuses(t, err, awa.ErrStopping)
	refuses(t, s.SetStable("a", nil), awa.ErrStopping)
	_, _, err = s.LogEntry(1)
	refuses(t, err, awa.ErrStopping)
	equal(t, "nodes", len(s.Nodes()), 1)
}

func TestStore_SetVoters(t *testing.T) {
	s := founded(t)
	set := func(index uint64, uids ...string) awa.VoterSet {
		return awa.VoterSet{Index: index, Term: index + 100, UIDs: uids}
	}
	ok(t, s.SetVoters(set(5, "a", "b")))
	ok(t, s.SetVoters(set(4, "x")))
	ok(t, s.SetVoters(set(5, "y")))
	equal(t, "voters", s.Meta().Voters, set(5, "a", "b"))
	newer := set(6, "c")
	ok(t, s.SetVoters(newer))
	newer.UIDs[0] = "modified by the caller"
	equal(t, "voters", s.Meta().Voters, set(6, "c"))
	equal(t, "voters after a restart", reopen(t, s).Meta().Voters, set(6, "c"))
}

func TestStore_Log(t *testing.T) {
	s := founded(t)
	bounds := func(first, last uint64) {
		t.Helper()
		f, l, err := s.LogBounds()
		ok(t, err)
		equal(t, "bounds", [2]uint64{f, l}, [2]uint64{first, last})
	}
	bounds(0, 0)
	ok(t, s.AppendLog(7, nil))
	bounds(0, 0)
	var entries [][]byte
	for i := range 1000 {
		entries = append(entries, fmt.Appendf(nil, "entry %d", i+10))
	}
	equal(t, "transactions", transactions(t, s, func() { ok(t, s.AppendLog(10, entries)) }), 1)
	bounds(10, 1009)
	ok(t, s.AppendLog(1009, [][]byte{[]byte("replaced"), nil}))
	bounds(10, 1010)
	ok(t, s.DeleteLog(0, 500))
	bounds(501, 1010)
	ok(t, s.DeleteLog(900, 1<<64-1))
	bounds(501, 899)
	s = reopen(t, s)
	for index := range uint64(1100) {
		b, there, err := s.LogEntry(index)
		ok(t, err)
		equal(t, fmt.Sprintf("entry %d is there", index), there, index > 500 && index < 900)
		if there {
			equal(t, "entry", string(b), fmt.Sprintf("entry %d", index))
		}
	}
	ok(t, s.AppendLog(900, [][]byte{nil}))
	if b, there, err := s.LogEntry(900); err != nil || !there || len(b) != 0 {
		t.Errorf("an empty entry reads as %q, %t, %v", b, there, err)
	}

	ok(t, s.SetStable("vote", []byte("n1")))
	ok(t, s.ClearLog())
	bounds(0, 0)
	s = reopen(t, s)
	v, there, err := s.Stable("vote")
	equal(t, "the vote after ClearLog", fmt.Sprintf("%s %t %v", v, there, err), "n1 true <nil>")
	_, there, err = s.Stable("term")
	equal(t, "an absent value", fmt.Sprint(there, err), "false <nil>")
	if s.SetStable("", nil) == nil {
		t.Error("a value without a key is taken")
	}
}

func TestStore_readers_see_whole_batches(t *testing.T) {
	const batches, each = 60, 4
	s := founded(t)
	var readers sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		readers.Go(func() {
			for last := uint64(0); ; {
				state, nodes, m := s.State(), s.Nodes(), s.Meta()
				changes, err := s.Changes(last, 0)
				switch {
				case err != nil:
					t.Error(err)
				case state < last || state%each != 0 || len(nodes)%each != 0 || m.Index%each != 0 || len(changes)%each != 0:
					t.Errorf("state %d after %d, %d nodes, index %d, %d changes", state, last, len(nodes), m.Index, len(changes))
				}
				last = state
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	readers.Go(func() { ok(t, s.Wait(t.Context(), batches*each)) })
	readers.Go(func() {
		for i := range uint64(batches) {
			ok(t, s.AppendLog(i+1, [][]byte{make([]byte, 3000)}))
		}
	})
	for i := range batches {
		var all []string
		for j := range each {
			all = append(all, createNode(i*each+j))
		}
		decide(t, s, all...)
	}
	close(stop)
	readers.Wait()
}
