package watch_test

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/watch"
)

func TestWatcher_Shared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := nodes(10)
		net := newNetwork(list)
		for _, n := range list {
			net.set(n, answers.in(100*ms))
		}
		w := newWatcher(net, list)
		pings := func() int {
			net.mu.Lock()
			defer net.mu.Unlock()
			return len(net.attempts[list[9].Addr()])
		}
		looks := make([]watch.Result, 1000)
		var all sync.WaitGroup
		began := time.Now()
		for i := range looks {
			all.Go(func() { looks[i] = w.Shared(7, 0) })
		}
		all.Wait()
		if n := pings(); n != 1 {
			t.Errorf("a thousand callers had each node pinged %d times", n)
		}
		for _, l := range looks {
			if !l.At.Equal(began) || l.Took != 100*ms || len(l.Nodes) != 10 || online(l.Nodes) != 10 {
				t.Fatalf("a caller got %v, %s, %d nodes", l.At, l.Took, len(l.Nodes))
			}
		}
		// Who comes later, or has just changed the list, gets one of their own.
		all.Go(func() { w.Shared(7, 0) })
		synctest.Wait()
		time.Sleep(50 * ms) // of the bubble's clock
		all.Go(func() {
			if l := w.Shared(8, 0); l.At.Sub(began) != 150*ms {
				t.Errorf("after an edit: a sweep of %s ago", 150*ms-l.At.Sub(began))
			}
		})
		all.Wait()
		if n := pings(); n != 3 {
			t.Errorf("%d sweeps, want 3", n)
		}
	})
}

// A caller who can't wait gets what was found out by then, with second opinions.
func TestWatcher_Shared_within(t *testing.T) {
	for within, least := range map[time.Duration]int{
		1200 * ms: 100, 1700 * ms: 100, 2700 * ms: 200, 3700 * ms: 300, 20 * time.Second: 500,
	} {
		synctest.Test(t, func(t *testing.T) {
			list := nodes(500)
			net := newNetwork(list)
			for _, n := range list[1:] {
				net.set(n, blackHole)
			}
			w := newWatcher(net, list, with(&prober{}), func(c *watch.Config) { c.InFlight, c.MaxOpen = 100, 100 })
			began := time.Now()
			l := w.Shared(1, within)
			took, judged := time.Since(began), 0
			for _, st := range l.Nodes {
				switch {
				case st.Verdict == awa.Unjudged && st.Since.IsZero():
				case st.Verdict == awa.Offline && st.Asked == 1, st.Node.ID == 1 && st.Verdict == awa.Online:
					judged++
				default:
					t.Fatalf("within %v: %+v", within, st)
				}
			}
			if took > within || judged < least {
				t.Errorf("within %v it judged %d in %v, want %d", within, judged, took, least)
			}
		})
	}
}

// A node that answers is online however short the caller's time is against that of a ping.
func TestWatcher_Shared_within_long_pings(t *testing.T) {
	for _, within := range []time.Duration{200 * ms, 500 * ms, time.Second, 3600 * ms, 9 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			list := nodes(3)
			net := newNetwork(list)
			net.set(list[1], answers.in(20*ms))
			net.set(list[2], blackHole)
			w := newWatcher(net, list, with(&prober{}), func(c *watch.Config) { c.PingTimeout = 10 * time.Second })
			began := time.Now()
			l := w.Shared(1, within)
			if took := time.Since(began); took > within || online(l.Nodes) != 2 {
				t.Errorf("within %v it took %v: %+v", within, took, l.Nodes)
			}
			if v := l.Nodes[2].Verdict; v == awa.Online || within < 2*time.Second && v != awa.Unjudged {
				t.Errorf("within %v the silent node is %s", within, v)
			}
		})
	}
}
