package watch_test

import (
	"bytes"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/watch"
)

// A process that stood still in the middle of a sweep doesn't blame others.
func TestWatcher_Sweep_stood_still(t *testing.T) {
	for name, c := range map[string]struct {
		stop   time.Duration // how long it stands still; the clock then says so
		after  time.Duration // the beginning of the sweep; 0: never
		later  reply         // of the dead node in the second sweep
		sweeps int
		want   awa.Verdict
	}{
		"it runs all the time":        {0, 500 * ms, answers, 1, awa.Offline},
		"late by little":              {180 * ms, 500 * ms, answers, 1, awa.Offline},
		"just not late":               {200*ms - 1, 500 * ms, answers, 1, awa.Offline},
		"just late":                   {200 * ms, 500 * ms, answers, 2, awa.Online},
		"stopped for 10 s":            {10 * time.Second, 500 * ms, answers, 2, awa.Online},
		"stopped, the node is dead":   {10 * time.Second, 500 * ms, refuses, 2, awa.Offline},
		"stopped while it asks":       {10 * time.Second, 1500 * ms, answers, 2, awa.Online},
		"the clock is set back":       {-10 * time.Second, 500 * ms, answers, 1, awa.Offline},
		"stopped after all was over ": {10 * time.Second, 5 * time.Second, answers, 1, awa.Offline},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				list := nodes(3)
				net := newNetwork(list)
				net.set(list[2], blackHole, blackHole, c.later)
				var offset atomic.Int64
				var log bytes.Buffer
				p := &prober{after: time.Second}
				w := newWatcher(net, list, with(p), logTo(&log), func(cfg *watch.Config) {
					cfg.Clock = func() time.Time { return time.Now().Add(time.Duration(offset.Load())) }
				})
				clock := time.AfterFunc(c.after, func() { offset.Store(int64(c.stop)) })
				defer clock.Stop()
				st := w.Sweep(t.Context())
				if st[2].Verdict != c.want {
					t.Errorf("%s, want %s", st[2].Verdict, c.want)
				}
				if n := len(net.attempts[list[1].Addr()]); n != c.sweeps {
					t.Errorf("%d sweeps, want %d", n, c.sweeps)
				}
				if again := strings.Contains(log.String(), "sweeps again before it blames anybody"); again != (c.sweeps == 2) {
					t.Errorf("log: %s", &log)
				}
			})
		})
	}
}

// A sweep is repeated once, not for ever; and not at all when all is well.
func TestWatcher_Sweep_stands_still_always(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := nodes(3)
		net := newNetwork(list)
		net.set(list[2], blackHole)
		w := newWatcher(net, list, with(&prober{}), func(cfg *watch.Config) {
			began := time.Now()
			cfg.Clock = func() time.Time { return began.Add(10 * time.Since(began)) }
		})
		began := time.Now()
		if st := w.Sweep(t.Context()); st[2].Verdict != awa.Offline || time.Since(began) > 4400*ms {
			t.Errorf("%s after %s", st[2].Verdict, time.Since(began))
		}
		net.set(list[1], answers.in(290*ms))
		net.set(list[2], answers)
		w.Sweep(t.Context())
		if n := len(net.attempts[list[1].Addr()]); n != 1 {
			t.Errorf("a sweep in which all answered was made %d times", n)
		}
	})
}
