package watch_test

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

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
			all.Go(func() { looks[i] = w.Shared(7) })
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
		all.Go(func() { w.Shared(7) })
		synctest.Wait()
		time.Sleep(50 * ms) // of the bubble's clock
		all.Go(func() {
			if l := w.Shared(8); l.At.Sub(began) != 150*ms {
				t.Errorf("after an edit: a sweep of %s ago", 150*ms-l.At.Sub(began))
			}
		})
		all.Wait()
		if n := pings(); n != 3 {
			t.Errorf("%d sweeps, want 3", n)
		}
	})
}
