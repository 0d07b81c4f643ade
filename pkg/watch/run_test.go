package watch_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/watch"
)

// sweepTimes runs background sweeps for a while, and returns when they pinged
// the first node.
func sweepTimes(t *testing.T, n int, span time.Duration, change func(*watch.Config, *network, []awa.Node)) []time.Time {
	list := nodes(n)
	net := newNetwork(list)
	w := newWatcher(net, list, func(c *watch.Config) { change(c, net, list) })
	ctx, cancel := context.WithTimeout(t.Context(), span)
	defer cancel()
	if err := w.Run(ctx); err != nil {
		t.Errorf("Run: %v", err)
	}
	net.underWay(t)
	var times []time.Time
	for _, a := range net.attempts[list[0].Addr()] {
		times = append(times, a.at)
	}
	return times
}

func TestWatcher_Run_pauses(t *testing.T) {
	for name, c := range map[string]struct {
		nodes, kept int
		every       time.Duration
		least, most time.Duration
	}{
		"the default":         {3, 0, 0, 4500 * ms, 5500 * ms},
		"as told":             {3, 0, time.Minute, 54 * time.Second, 66 * time.Second},
		"250 nodes at 5 s":    {250, 250, 0, 5 * time.Second, 6112 * ms},
		"1000 nodes, a share": {1000, 0, 0, 7500 * ms, 9500 * ms}, // nobody says of any that it watches it
		"300 nodes, 250 kept": {300, 250, 0, 15 * time.Second, 18334 * ms},
		"1000 nodes, 1 min":   {1000, 0, time.Minute, 54 * time.Second, 66 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				times := sweepTimes(t, c.nodes, 60*c.most, func(cfg *watch.Config, _ *network, _ []awa.Node) {
					cfg.Watch,
						cfg.Kept = c.every, c.kept
				})
				if len(times) < 60 || !times[0].Equal(began) {
					t.Fatalf("%d sweeps, the first after %s; want it at once", len(times), times[0].Sub(began))
				}
				least, most := times[1].Sub(times[0]), times[1].Sub(times[0])
				for i := range times[1:] {
					d := times[i+1].Sub(times[i])
					least, most = min(least, d), max(most, d)
				}
				if least < c.least || most > c.most {
					t.Errorf("pauses of %s to %s, want %s to %s", least, most, c.least, c.most)
				}
				if spread := c.most - c.least; most-least < spread*7/10 {
					t.Errorf("pauses of %s to %s: too little jitter", least, most)
				}
			})
		})
	}
}

// A new cluster's list is empty for a moment; the node that then stands on it
// does not wait a whole pause.
func TestWatcher_Run_empty_list(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		filled := time.Now().Add(3500 * ms)
		times := sweepTimes(t, 1, 5*time.Second, func(cfg *watch.Config, _ *network, list []awa.Node) {
			cfg.Watch = time.Minute
			cfg.Nodes = func() []awa.Node {
				if time.Now().Before(filled) {
					return nil
				}
				return list
			}
		})
		if len(times) != 1 || times[0].Sub(filled) > time.Second {
			t.Errorf("pings at %v, want one within 1 s from %v on", times, filled)
		}
	})
}

// A sweep that takes longer than the pause is followed by the next at once,
// and never runs beside it.
func TestWatcher_Run_slow_sweeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		times := sweepTimes(t, 2, 10500*ms, func(cfg *watch.Config, net *network, list []awa.Node) {
			cfg.Watch = 100 * ms
			net.set(list[1], blackHole)
		})
		if len(times) != 11 {
			t.Errorf("%d sweeps of 1 s in 10.5 s, want 11", len(times))
		}
	})
}

func TestWatcher_Run_ends_with_its_context(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := nodes(100)
		net := newNetwork(list)
		for _, n := range list {
			net.set(n, blackHole)
		}
		w := newWatcher(net, list)
		ctx, cancel := context.WithCancel(t.Context())
		began := time.Now()
		time.AfterFunc(400*ms, cancel) // second attempts are under way
		if err := w.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
		if took := time.Since(began); took != 400*ms {
			t.Errorf("ended after %s, want 400ms", took)
		}
		net.underWay(t)
		if l := w.Last(); !l.At.IsZero() || l.Took != 0 || l.Nodes != nil {
			t.Errorf("a sweep that was cut short is the last: %+v", l)
		}
	})
}

func TestWatcher_Last(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := nodes(3)
		net := newNetwork(list)
		net.set(list[1], blackHole)
		w := newWatcher(net, list)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		began := time.Now()
		go w.Run(ctx)
		pass(999 * ms)
		if l := w.Last(); !l.At.IsZero() || l.Nodes != nil {
			t.Errorf("before the end of the first sweep: %+v", l)
		}
		pass(2 * ms)
		l := w.Last()
		at, took, statuses := l.At, l.Took, l.Nodes
		if !at.Equal(began) || took != time.Second || len(statuses) != 3 || online(statuses) != 2 {
			t.Errorf("at %s, took %s, %v", at.Sub(began), took, statuses)
		}
		pass(15 * time.Second)
		l = w.Last()
		at, statuses = l.At, l.Nodes
		if at.Sub(began) < 9*time.Second || !statuses[0].Since.Equal(began) || statuses[1].Since.Sub(began) != time.Second {
			t.Errorf("at %s: n1 since %s, n2 since %s", at.Sub(began), statuses[0].Since.Sub(began),
				statuses[1].Since.Sub(began))
		}

		// A live sweep is not the last one in the background.
		net.reset()
		w.Sweep(ctx)
		if same := w.Last(); !same.At.Equal(at) || online(same.Nodes) != 2 {
			t.Errorf("a live sweep changed Last")
		}
		<-ctx.Done()
		synctest.Wait()
	})
}

// A sweep that never ends is what a supervisor wants to know of.
func TestWatcher_Overdue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := nodes(2)
		net := newNetwork(list)
		stuck := make(chan struct{})
		var stick atomic.Bool
		w := newWatcher(net, list, func(c *watch.Config) {
			c.Nodes = func() []awa.Node {
				if stick.Load() {
					<-stuck
				}
				return list
			}
		})
		if late := w.Overdue(); late != 0 {
			t.Errorf("before Run it is %s late", late)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var over sync.WaitGroup
		over.Go(func() { w.Run(ctx) })
		for range 600 {
			time.Sleep(100 * ms)
			if late := w.Overdue(); late != 0 {
				t.Fatalf("while it sweeps it is %s late", late)
			}
		}
		stick.Store(true)
		time.Sleep(time.Minute)
		if late := w.Overdue(); late < 40*time.Second || late > time.Minute {
			t.Errorf("after a minute in one sweep it is %s late", late)
		}
		close(stuck)
		cancel()
		over.Wait()
		if late := w.Overdue(); late != 0 {
			t.Errorf("after Run it is %s late", late)
		}
	})
}
