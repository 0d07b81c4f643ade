package watch_test

import (
	"bytes"
	"maps"
	"reflect"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/watch"
)

// pass lets d go by in a bubble. It sleeps in fake time only.
func pass(d time.Duration) { <-time.After(d) }

func TestWatcher_Sweep_since(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := nodes(2)
		net := newNetwork(list)
		w := newWatcher(net, list)
		born := time.Now()
		want := func(since time.Duration, verdict awa.Verdict) {
			t.Helper()
			st := w.Sweep(t.Context())[1]
			if st.Verdict != verdict || st.Since.Sub(born) != since {
				t.Errorf("after %s: %s since %s, want %s since %s", time.Since(born), st.Verdict, st.Since.Sub(born), verdict,
					since)
			}
		}
		want(0, awa.Online)
		pass(10 * time.Second)
		want(0, awa.Online)
		pass(10 * time.Second)
		net.set(list[1], refuses)
		want(20*time.Second, awa.Offline)
		pass(10 * time.Second)
		net.set(list[1], reply{stage: awa.StageResolve, err: errNoSuchHost})
		want(20*time.Second, awa.Offline) // another reason, the same verdict
		pass(10 * time.Second)
		net.set(list[1], answers)
		want(40*time.Second, awa.Online)

		pass(10 * time.Second)
		list[1].UID = list[0].UID[:31] + "f"
		net.answerAs(list[1], selfOf(list[1]))
		want(50*time.Second, awa.Online) // another agent has taken the entry over
	})
}

func TestWatcher_Sweep_forgets_nodes_that_are_gone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := nodes(2)
		list := all
		net := newNetwork(all)
		w := newWatcher(net, all, func(c *watch.Config) { c.Nodes = func() []awa.Node { return list } })
		w.Sweep(t.Context())
		list = all[:1]
		pass(time.Second)
		w.Sweep(t.Context())
		if seen := w.AllSeen(); len(seen) != 1 {
			t.Errorf("seen: %v, want the node on the list only", seen)
		}
		list = all
		pass(time.Second)
		if st := w.Sweep(t.Context())[1]; time.Since(st.Since) != 0 {
			t.Errorf("since %s ago, want now", time.Since(st.Since))
		}
	})
}

// A slow sweep that began before a node was added does not forget it.
func TestWatcher_Sweep_does_not_forget_new_nodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := nodes(3)
		list := all[:2]
		net := newNetwork(all)
		net.set(all[1], blackHole)
		w := newWatcher(net, all, func(c *watch.Config) { c.Nodes = func() []awa.Node { return list } })
		var wg sync.WaitGroup
		wg.Go(func() { w.Sweep(t.Context()) })
		pass(100 * ms)
		list = all
		net.set(all[1], refuses)
		added := time.Now()
		w.Sweep(t.Context())
		wg.Wait()

		pass(100 * ms)
		if st := w.Sweep(t.Context())[2]; !st.Since.Equal(added) {
			t.Errorf("since %s after it was added, want since then", st.Since.Sub(added))
		}
	})
}

// A sweep that began before another and ends after it has the older news.
func TestWatcher_Sweep_older_news_do_not_count(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := nodes(2)
		net := newNetwork(list)
		var log bytes.Buffer
		w := newWatcher(net, list, logTo(&log))
		net.set(list[1], blackHole)
		var slow []awa.NodeStatus
		var wg sync.WaitGroup
		wg.Go(func() { slow = w.Sweep(t.Context()) })
		pass(900 * ms)
		net.set(list[1], answers)
		fast := w.Sweep(t.Context())
		wg.Wait()
		if fast[1].Verdict != awa.Online || slow[1].Verdict != awa.Offline || !slow[1].Since.IsZero() {
			t.Errorf("the newer sweep: %+v\nthe older one: %+v", fast[1], slow[1])
		}
		if !w.AllSeen()[list[1].UID].Online || log.Len() != 0 {
			t.Errorf("seen: %v, log: %s", w.AllSeen(), &log)
		}
	})
}

func TestWatcher_Sweep_log(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := nodes(3)
		net := newNetwork(list)
		var log bytes.Buffer
		w := newWatcher(net, list, logTo(&log))
		sweep := func(wants string) {
			t.Helper()
			log.Reset()
			w.Sweep(t.Context())
			pass(5 * time.Second)
			if log.String() != wants {
				t.Errorf("log:\n%swant:\n%s", &log, wants)
			}
		}
		net.set(list[2], refuses)
		sweep("level=WARN msg=\"node is offline\" node=n3 addr=10.0.0.3:25483 stage=connect error=\"connection refused\"\n")
		sweep("")
		net.set(list[2], answers)
		sweep("level=INFO msg=\"node is back online\" node=n3 addr=10.0.0.3:25483 after=10s\n")
		net.answerAs(list[1], selfOf(list[0]))
		sweep("level=WARN msg=\"somebody else answers in place of the node\" node=n2 addr=10.0.0.2:25483 stage=reply " +
			"error=\"another agent answers there: n1 of this cluster\" after=15s\n")
	})
}

func TestWatcher_Seen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := nodes(3)
		list[2].UID = ""
		net := newNetwork(list)
		w := newWatcher(net, list)
		want := func(online bool, span time.Duration, state uint64) {
			t.Helper()
			seen := w.AllSeen()
			if got := seen[list[1].UID]; got.Online != online || got.For != span || got.Self.State != state {
				t.Errorf("%+v, want online %v for %s with state %d", got, online, span, state)
			}
			if _, ok := seen[""]; ok || len(seen) > 2 {
				t.Errorf("the node without uid is seen: %v", seen)
			}
		}
		if seen := w.AllSeen(); len(seen) != 0 {
			t.Errorf("seen before any sweep: %v", seen)
		}
		net.set(list[1], refuses)
		w.Sweep(t.Context())
		want(false, 0, 0)
		pass(5 * time.Second)
		want(false, 0, 0) // nobody looked
		w.Sweep(t.Context())
		want(false, 5*time.Second, 0)
		net.set(list[1], answers)
		w.Sweep(t.Context())
		want(true, 0, 12)
		pass(7 * time.Second)
		w.Sweep(t.Context())
		want(true, 7*time.Second, 12)
		net.set(list[1], refuses)
		w.Sweep(t.Context())
		want(false, 0, 12) // what it said last

		seen := w.AllSeen()
		copied := maps.Clone(seen)
		w.Sweep(t.Context())
		if !reflect.DeepEqual(seen, copied) {
			t.Errorf("a sweep changed what Seen gave before")
		}
	})
}

// Many changes of one kind are one line of the log, with their number.
func TestWatcher_Sweep_log_many(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := nodes(40)
		net := newNetwork(list)
		var log bytes.Buffer
		w := newWatcher(net, list, logTo(&log))
		w.Sweep(t.Context())
		for _, n := range list[20:] {
			net.set(n, refuses)
		}
		w.Sweep(t.Context())
		want := `level=WARN msg="many nodes are offline" count=20 first="n21, n22, n23, n24, n25, n26, n27, n28, n29, n30"` + "\n"
		if log.String() != want {
			t.Errorf("log:\n%swant:\n%s", &log, want)
		}
	})
}
