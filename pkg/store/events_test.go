package store

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"are-we-alive/pkg/awa"
)

// eventsAt are events a second apart.
func eventsAt(began time.Time, n int) []awa.Event {
	all := make([]awa.Event, n)
	for i := range all {
		all[i] = awa.Event{At: began.Add(time.Duration(i) * time.Second), Kind: awa.EventOffline, NodeID: uint64(i%10 + 1),
			Node: fmt.Sprintf("n%d", i%10+1), Verdict: awa.Offline, Before: awa.Online, Lasted: awa.Seconds(90 * time.Second),
			Why: "the host answers, its agent is not running (connection refused), 2 others do not see it either"}
	}
	return all
}

// readAll reads all events that a query wants, page by page.
func readAll(t *testing.T, st *Store, q awa.EventQuery) (all []awa.Event) {
	t.Helper()
	for {
		set, err := st.Events(q)
		if err != nil {
			t.Fatal(err)
		}
		if set.Agent = "n1"; set.Check(q) != nil {
			t.Fatalf("%+v: %v", q, set.Check(q))
		}
		all = append(all, set.Events...)
		if set.Through == q.After {
			return all
		}
		q.After = set.Through
	}
}

func TestStore_Events(t *testing.T) {
	path := filepath.Join(t.TempDir(), "awa.db")
	st := open(t, path)
	if all := readAll(t, st, awa.EventQuery{}); len(all) != 0 {
		t.Errorf("a new file has %d events", len(all))
	}
	began := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	want := eventsAt(began, 100)
	if err := st.AppendEvents(want, 1000, began.Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	st = open(t, path)
	all := readAll(t, st, awa.EventQuery{})
	for i := range want {
		if want[i].ID = uint64(i + 1); len(all) != len(want) || fmt.Sprint(all[i]) != fmt.Sprint(want[i]) {
			t.Fatalf("%d events, of which number %d is %+v", len(all), i, all[min(i, len(all)-1)])
		}
	}
	for name, c := range map[string]struct {
		q    awa.EventQuery
		n    int
		from uint64
	}{
		"of a node":             {awa.EventQuery{Nodes: []string{"N3"}}, 10, 3},
		"of nobody":             {awa.EventQuery{Nodes: []string{"n11"}}, 0, 0},
		"since a time":          {awa.EventQuery{Since: began.Add(90 * time.Second)}, 10, 91},
		"since before":          {awa.EventQuery{Since: began.Add(-time.Hour)}, 100, 1},
		"since later":           {awa.EventQuery{Since: began.Add(time.Hour)}, 0, 0},
		"after one":             {awa.EventQuery{After: 95}, 5, 96},
		"after all":             {awa.EventQuery{After: 4711}, 0, 0},
		"page by page":          {awa.EventQuery{Limit: 7}, 100, 1},
		"a node since, by page": {awa.EventQuery{Nodes: []string{"n1"}, Since: began.Add(time.Minute), Limit: 1}, 4, 61},
	} {
		t.Run(name, func(t *testing.T) {
			all := readAll(t, st, c.q)
			if len(all) != c.n || len(all) > 0 && all[0].ID != c.from {
				t.Errorf("%d events: %+v", len(all), all)
			}
		})
	}
}

func TestStore_AppendEvents_bounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "awa.db")
	st := open(t, path)
	const most, batch = 100_000, 5000
	began := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	size := func() int64 {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	full := int64(0)
	for i := range 32 {
		if err := st.AppendEvents(eventsAt(began.Add(time.Duration(i*batch)*time.Second), batch), most, began); err != nil {
			t.Fatal(err)
		}
		if i == 23 { // it holds most of them, and has dropped some
			full = size()
		}
	}
	set, err := st.Events(awa.EventQuery{})
	if err != nil || set.Newest != 32*batch || set.Events[0].ID != 32*batch-most+1 {
		t.Errorf("the oldest is %d, the newest %d, %v", set.Events[0].ID, set.Newest, err)
	}
	if size() > full || full > 64<<20 {
		t.Errorf("with %d events the file has %d MiB, and later %d", most, full>>20, size()>>20)
	}
	// None is older than it may be, and ids go on.
	late := began.Add(365 * 24 * time.Hour)
	for range most / (batch/5 + 1001) {
		if err := st.AppendEvents(eventsAt(late, batch/5), most, late.Add(-time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	all := readAll(t, st, awa.EventQuery{Since: began.Add(-time.Hour)})
	if first := all[0]; first.At.Before(late) && len(all) > most {
		t.Errorf("%d events, the first of %v", len(all), first.At)
	}
	if all[len(all)-1].ID != set.Newest+uint64(most/(batch/5+1001)*batch/5) {
		t.Errorf("the newest is %d", all[len(all)-1].ID)
	}
}

func TestStore_Watched(t *testing.T) {
	path := filepath.Join(t.TempDir(), "awa.db")
	st := open(t, path)
	if at, err := st.Watched(); err != nil || !at.IsZero() {
		t.Errorf("a new file says %v, %v", at, err)
	}
	at := time.Date(2026, 11, 25, 12, 0, 0, 123e6, time.UTC)
	if err := st.KeepWatched(at); err != nil {
		t.Fatal(err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := open(t, path).Watched(); err != nil || !got.Equal(at) {
		t.Errorf("it says %v, %v", got, err)
	}
}

func TestStore_Notified(t *testing.T) {
	path := filepath.Join(t.TempDir(), "awa.db")
	st := open(t, path)
	at := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	node := awa.Notified{NodeID: 3, Verdict: awa.Offline, At: at, By: "u", Done: true}
	code := awa.Notified{Code: awa.DiskFull, Agent: "n1", Raised: true, At: at, By: "u"}
	if err := st.KeepNotified([]awa.Notified{code, node}, nil); err != nil {
		t.Fatal(err)
	}
	node.Done = false
	if err := st.KeepNotified([]awa.Notified{node}, []string{code.Key(), "nothing"}); err != nil {
		t.Fatal(err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	all, err := open(t, path).Notified()
	if err != nil || len(all) != 1 || all[0] != node {
		t.Errorf("it keeps %+v, %v", all, err)
	}
}
