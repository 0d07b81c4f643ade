package watch_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/watch"
)

const ms = time.Millisecond

// The ping of one node: what it does with each attempt, and what must come of it.
func TestWatcher_Sweep(t *testing.T) {
	reset := reply{stage: awa.StageReply, err: errReset}
	silent := reply{hangs: true, stage: awa.StageReply}
	unknown := reply{stage: awa.StageResolve, err: errNoSuchHost}
	for name, c := range map[string]struct {
		replies []reply
		verdict awa.Verdict
		failure string // stage: error
		took    time.Duration
		rtt     time.Duration
		starts  []time.Duration // of the attempts; the second must be fresh
	}{
		"an answer": {[]reply{answers}, awa.Online, "", 0, 0, []time.Duration{0}},
		"a slow answer": {replies: []reply{answers.in(299 * ms)}, verdict: awa.Online, took: 299 * ms, rtt: 299 * ms,
			starts: []time.Duration{0}},
		"a lost SYN": {replies: []reply{blackHole, answers.in(10 * ms)}, verdict: awa.Online, took: 310 * ms, rtt: 10 * ms,
			starts: []time.Duration{0, 300 * ms}},
		"the first answers after all": {replies: []reply{answers.in(500 * ms), silent}, verdict: awa.Online, took: 500 * ms,
			rtt: 500 * ms, starts: []time.Duration{0, 300 * ms}},
		"the second fails, the first answers": {replies: []reply{answers.in(500 * ms), refuses}, verdict: awa.Online,
			took: 500 * ms, rtt: 500 * ms, starts: []time.Duration{0, 300 * ms}},
		"the first fails beside the second": {replies: []reply{reset.in(400 * ms), answers.in(150 * ms)},
			verdict: awa.Online, took: 450 * ms, rtt: 150 * ms, starts: []time.Duration{0, 300 * ms}},
		"black hole": {replies: []reply{blackHole}, verdict: awa.Offline, failure: "connect: no answer within 1s",
			took: time.Second, starts: []time.Duration{0, 300 * ms}},
		"connects but says nothing": {replies: []reply{blackHole, silent}, verdict: awa.Offline,
			failure: "reply: no answer within 1s", took: time.Second, starts: []time.Duration{0, 300 * ms}},
		"refused": {replies: []reply{refuses.in(ms)}, verdict: awa.Offline, failure: "connect: connection refused",
			took: ms, starts: []time.Duration{0}},
		"no such host": {replies: []reply{unknown.in(20 * ms)}, verdict: awa.Offline, failure: "resolve: no such host",
			took: 20 * ms, starts: []time.Duration{0}},
		"refused late": {replies: []reply{refuses.in(400 * ms), blackHole}, verdict: awa.Offline,
			failure: "connect: connection refused", took: time.Second, starts: []time.Duration{0, 300 * ms}},
		"silence, then refused": {replies: []reply{blackHole, refuses}, verdict: awa.Offline,
			failure: "connect: connection refused", took: time.Second, starts: []time.Duration{0, 300 * ms}},
		"a dead kept connection": {replies: []reply{reset.in(10 * ms), answers.in(5 * ms)}, verdict: awa.Online,
			took: 15 * ms, rtt: 5 * ms, starts: []time.Duration{0, 10 * ms}},
		"a dead kept connection, then silence": {replies: []reply{reset.in(10 * ms), silent}, verdict: awa.Offline,
			failure: "reply: connection reset by peer", took: 1000 * ms, starts: []time.Duration{0, 10 * ms}},
		"a dead kept connection, then refused": {replies: []reply{reset.in(10 * ms), refuses}, verdict: awa.Offline,
			failure: "connect: connection refused", took: 10 * ms, starts: []time.Duration{0, 10 * ms}},
		"a dead kept connection, second slow": {replies: []reply{reset.in(100 * ms), answers.in(400 * ms)},
			verdict: awa.Online, took: 500 * ms, rtt: 400 * ms, starts: []time.Duration{0, 100 * ms}},
		"two failures of one stage": {replies: []reply{reset, {stage: awa.StageReply, err: errors.New("not HTTP")}},
			verdict: awa.Offline, failure: "reply: connection reset by peer", starts: []time.Duration{0, 0}},
		"TLS that says why it failed": {replies: []reply{{stage: awa.StageTLS, err: &awa.Fault{Code: "other_key",
			Text: "it has another key"}}}, verdict: awa.Mismatch, failure: "tls: it has another key",
			starts: []time.Duration{0}},
		"another program answers": {replies: []reply{{stage: awa.StageReply, err: awa.ErrNoAgent}}, verdict: awa.Mismatch,
			failure: "reply: no_agent", starts: []time.Duration{0, 0}},
		"it takes our key no more": {replies: []reply{{stage: awa.StageReply, err: awa.ErrForbidden}},
			verdict: awa.Mismatch, failure: "reply: forbidden"},
		"an agent that is stopping": {replies: []reply{{stage: awa.StageReply, err: awa.ErrStopping}}, verdict: awa.Offline,
			failure: "reply: stopping"},
		"an agent that ends in the middle of TLS": {replies: []reply{{stage: awa.StageTLS, err: errReset}, refuses},
			verdict: awa.Offline, failure: "connect: connection refused", starts: []time.Duration{0, 0}},
		"TLS that breaks off": {replies: []reply{{stage: awa.StageTLS, err: errReset}, answers}, verdict: awa.Online,
			starts: []time.Duration{0, 0}},
		"silence, then TLS that says why it failed": {replies: []reply{blackHole,
			{stage: awa.StageTLS, err: awa.Code("other_key")}}, verdict: awa.Mismatch, failure: "tls: other_key",
			took: time.Second, starts: []time.Duration{0, 300 * ms}},
		"an error without a stage is one of reply": {replies: []reply{{err: errors.New("odd")}}, verdict: awa.Offline,
			failure: "reply: odd", starts: []time.Duration{0, 0}},
		"an answer when the permit ends": {replies: []reply{answers.in(50 * ms)}, verdict: awa.Online,
			took: 50 * ms, rtt: 50 * ms, starts: []time.Duration{0}},
		"an answer when half the time has long gone": {[]reply{answers.in(999 * ms)}, awa.Online, "", 999 * ms, 999 * ms,
			nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				list := nodes(1)
				net := newNetwork(list)
				net.set(list[0], c.replies...)
				w := newWatcher(net, list)
				began := time.Now()
				st := w.Sweep(t.Context())[0]
				if took := time.Since(began); took != c.took {
					t.Errorf("took %s, want %s", took, c.took)
				}
				failure := ""
				if st.Stage != awa.StageNone || st.Error != "" {
					failure = fmt.Sprintf("%s: %s", st.Stage, st.Error)
				}
				if st.Verdict != c.verdict || failure != c.failure {
					t.Errorf("%s (%s), want %s (%s)", st.Verdict, failure, c.verdict, c.failure)
				}
				if st.RTT != c.rtt || (st.Self != nil) != (c.verdict == awa.Online) {
					t.Errorf("rtt %s, self %v; want rtt %s", st.RTT, st.Self, c.rtt)
				}
				var starts []time.Duration
				for i, a := range net.attempts[list[0].Addr()] {
					starts = append(starts, a.at.Sub(began))
					if a.fresh != (i > 0) {
						t.Errorf("attempt %d: fresh is %v", i+1, a.fresh)
					}
				}
				if c.starts != nil && !slices.Equal(starts, c.starts) {
					t.Errorf("attempts began at %s, want %s", starts, c.starts)
				}
				net.underWay(t)
			})
		})
	}
}

// Dead nodes cost the time of one ping, and little more when there are many.
func TestWatcher_Sweep_black_holes(t *testing.T) {
	every3rd := func(i int) bool { return i%10 < 3 }
	for name, c := range map[string]struct {
		nodes int
		dead  func(i int) bool
		most  time.Duration
	}{
		"1 of 10":               {10, func(i int) bool { return i == 4 }, time.Second},
		"300 of 1000":           {1000, every3rd, 1160 * ms},
		"the first 300 of 1000": {1000, func(i int) bool { return i < 300 }, 1100 * ms},
		"the last 300 of 1000":  {1000, func(i int) bool { return i >= 700 }, 1100 * ms},
		"1000 of 1000":          {1000, func(int) bool { return true }, 1140 * ms},
		"4000 of 4000":          {4000, func(int) bool { return true }, 1300 * ms},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				list := nodes(c.nodes)
				net := newNetwork(list)
				dead := 0
				for i, n := range list {
					if c.dead(i) {
						net.set(n, blackHole)
						dead++
					}
				}
				began := time.Now()
				statuses := newWatcher(net, list).Sweep(t.Context())
				if took := time.Since(began); took < time.Second || took > c.most {
					t.Errorf("took %s, want 1s to %s", took, c.most)
				}
				if n := online(statuses); n != c.nodes-dead {
					t.Errorf("%d online, want %d", n, c.nodes-dead)
				}
				for i, st := range statuses {
					if st.Node.ID != list[i].ID || (st.Verdict == awa.Online) == c.dead(i) {
						t.Fatalf("status %d: node %d is %s", i, st.Node.ID, st.Verdict)
					}
				}
			})
		})
	}
}

func TestWatcher_Sweep_in_flight(t *testing.T) {
	inFlight := func(n int) func(*watch.Config) { return func(c *watch.Config) { c.InFlight = n } }

	t.Run("no more pings hold permits than there are, over all sweeps", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			list := nodes(100)
			net := newNetwork(list)
			for _, n := range list {
				net.set(n, answers.in(10*ms))
			}
			w := newWatcher(net, list, inFlight(8))
			began := time.Now()
			var wg sync.WaitGroup
			for range 2 {
				wg.Go(func() {
					if n := online(w.Sweep(t.Context())); n != len(list) {
						t.Errorf("%d online", n)
					}
				})
			}
			wg.Wait()
			if net.peak != 8 {
				t.Errorf("%d pings ran at once, want 8", net.peak)
			}
			if took := time.Since(began); took < 250*ms || took > 270*ms {
				t.Errorf("took %s, want 200 pings of 10 ms with 8 permits", took)
			}
		})
	})

	t.Run("black holes are not all asked at one moment", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			list := nodes(100)
			net := newNetwork(list)
			for _, n := range list {
				net.set(n, blackHole)
			}
			w := newWatcher(net, list, inFlight(8))
			w.Sweep(t.Context())
			for at, n := range net.starts {
				if n > 8 {
					t.Errorf("%d attempts began at %s, want at most 8", n, at)
				}
			}
			// Every permit is returned: a sweep of quick nodes fills them all again.
			net.reset()
			net.peak = 0
			for _, n := range list {
				net.set(n, answers.in(10*ms))
			}
			w.Sweep(t.Context())
			if net.peak != 8 {
				t.Errorf("after it %d pings ran at once, want 8", net.peak)
			}
		})
	})

	t.Run("a permit lasts longer again after an answer", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			list := nodes(8)
			net := newNetwork(list)
			net.set(list[0], blackHole)
			for _, n := range list[2:] {
				net.set(n, answers.in(40*ms))
			}
			w := newWatcher(net, list, inFlight(1), func(c *watch.Config) { c.Retry = c.PingTimeout + time.Hour })
			w.Sweep(t.Context())
			if net.peak != 2 {
				t.Errorf("%d pings were under way at once, want the dead one and one more", net.peak)
			}
		})
	})

	t.Run("waiting pings are bounded too", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			list := nodes(10_000)
			net := newNetwork(list)
			for _, n := range list {
				net.set(n, blackHole)
			}
			w := newWatcher(net, list)
			began := time.Now()
			if n := online(w.Sweep(t.Context())); n != 0 {
				t.Errorf("%d online", n)
			}
			if net.peak != 5120+1024 {
				t.Errorf("%d attempts were under way at once, want 5120 and 1024 second ones", net.peak)
			}
			if took := time.Since(began); took > 2640*ms {
				t.Errorf("took %s", took)
			}
		})
	})
}

// What a ping costs is processor time here, of which there is little: a sweep
// that began them all at once would have them all end too late.
func TestWatcher_Sweep_busy(t *testing.T) {
	const work = 10 * ms // of each ping, one after the other
	for name, c := range map[string]struct {
		dead int
		most time.Duration
	}{
		"all alive":       {0, 4100 * ms},
		"ten black holes": {10, 5 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				list := nodes(400)
				net := newNetwork(list)
				for i := range c.dead {
					net.set(list[40*i], blackHole)
				}
				slow := &processor{pinger: net, work: work, one: make(chan struct{}, 1), hangs: map[string]bool{}}
				for i := range c.dead {
					slow.hangs[list[40*i].Addr()] = true
				}
				w := newWatcher(net, list, func(cfg *watch.Config) { cfg.Pinger, cfg.Busy = slow, slow.busy })
				began := time.Now()
				if n := online(w.Sweep(t.Context())); n != len(list)-c.dead {
					t.Errorf("%d online, want %d", n, len(list)-c.dead)
				}
				if took := time.Since(began); took > c.most {
					t.Errorf("took %s", took)
				}
				if n := net.pings(); n > len(list)+c.dead {
					t.Errorf("%d attempts at %d nodes", n, len(list))
				}
			})
		})
	}
}

// All that can coincide does: answers, failures, the permit's end, the second
// attempt and the ping's end fall on the same moments, in concurrent sweeps.
func TestWatcher_Sweep_coincidences(t *testing.T) {
	at := []time.Duration{0, 50 * ms, 100 * ms, 300 * ms, 350 * ms, time.Second}
	kinds := []reply{answers, refuses, blackHole, {stage: awa.StageReply, err: errReset}}
	for range 20 {
		synctest.Test(t, func(t *testing.T) {
			list := nodes(200)
			net := newNetwork(list)
			for _, n := range list {
				pick := func() reply { return kinds[rand.IntN(len(kinds))].in(at[rand.IntN(len(at))]) }
				net.set(n, pick(), pick(), pick(), pick(), pick())
			}
			w := newWatcher(net, list, func(c *watch.Config) { c.InFlight = 16 })
			var wg sync.WaitGroup
			for range 3 {
				wg.Go(func() {
					for i, st := range w.Sweep(t.Context()) {
						if st.Node.ID != list[i].ID || st.Verdict == "" || (st.Verdict == awa.Online) != (st.Self != nil) ||
							(st.Verdict == awa.Online) != (st.Error == "") {
							t.Errorf("status %d: %+v", i, st)
						}
					}
				})
			}
			wg.Wait()
			net.underWay(t)
		})
	}
}

func TestWatcher_Sweep_cut_short(t *testing.T) {
	for name, end := range map[string]func(context.Context) (context.Context, context.CancelFunc){
		"cancelled": func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			time.AfterFunc(100*ms, cancel)
			return ctx, cancel
		},
		"deadline": func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, 100*ms)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				list := nodes(50)
				net := newNetwork(list)
				for _, n := range list[1:] {
					net.set(n, blackHole)
				}
				w := newWatcher(net, list, func(c *watch.Config) { c.InFlight = 4 })
				ctx, cancel := end(t.Context())
				defer cancel()
				began := time.Now()
				statuses := w.Sweep(ctx)
				if took := time.Since(began); took != 100*ms {
					t.Errorf("took %s, want 100ms", took)
				}
				net.underWay(t)
				if st := statuses[0]; st.Verdict != awa.Online || !st.Since.Equal(began) {
					t.Errorf("the node that answered in time: %+v", st)
				}
				for i, st := range statuses[1:] {
					if st.Node.ID != list[i+1].ID || st.Verdict != awa.Unjudged ||
						st.Error != "no time was left for it" || st.Stage != "" || !st.Since.IsZero() {
						t.Fatalf("a node that nothing was learned of: %+v", st)
					}
				}
				if seen := w.AllSeen(); len(seen) != 1 || !seen[list[0].UID].Online {
					t.Errorf("seen: %v, want the first node only", seen)
				}
			})
		})
	}

	// A Pinger may notice the caller's deadline just before the context does.
	t.Run("a failure after the deadline", func(t *testing.T) {
		list := nodes(1)
		net := newNetwork(list)
		net.set(list[0], refuses)
		st := newWatcher(net, list).Sweep(overdue{t.Context()})[0]
		if st.Error != "no time was left for it" || !st.Since.IsZero() {
			t.Errorf("%+v", st)
		}
	})

	t.Run("before it began", func(t *testing.T) {
		list := nodes(3)
		net := newNetwork(list)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		w := newWatcher(net, list)
		if statuses := w.Sweep(ctx); len(statuses) != 3 || online(statuses) != 0 || len(w.AllSeen()) != 0 {
			t.Errorf("%+v", statuses)
		}
		if len(net.attempts) != 0 {
			t.Errorf("nodes were pinged: %v", net.attempts)
		}
	})
}

// overdue is a context that should have ended, and has not yet.
type overdue struct{ context.Context }

func (overdue) Deadline() (time.Time, bool) { return time.Now().Add(-ms), true }

// Once the time of a ping is over nothing is tried any more.
func TestWatcher_Sweep_no_attempt_after_the_time(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := nodes(1)
		net := newNetwork(list)
		net.set(list[0], reply{hangs: true, stage: awa.StageReply})
		w := newWatcher(net, list, func(c *watch.Config) { c.PingTimeout, c.Retry = 250*ms, 300*ms })
		began := time.Now()
		st := w.Sweep(t.Context())[0]
		if took := time.Since(began); took != 250*ms || st.Error != "no answer within 250ms" {
			t.Errorf("took %s: %+v", took, st)
		}
		if n := len(net.attempts[list[0].Addr()]); n != 1 {
			t.Errorf("%d attempts, want 1", n)
		}
	})
}

func TestWatcher_Sweep_empty_list(t *testing.T) {
	w := watch.New(watch.Config{Nodes: func() []awa.Node { return nil }, Self: func() awa.Self { return awa.Self{} }})
	if st := w.Sweep(t.Context()); len(st) != 0 {
		t.Errorf("%v", st)
	}
}
