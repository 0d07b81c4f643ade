package watch_test

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/watch"
)

// How late a sweep's timers may come is a fifth of the time of a ping.
func TestWatcher_Sweep_how_late(t *testing.T) {
	for timeout, most := range map[time.Duration]time.Duration{
		100 * ms: 20 * ms, time.Second: 200 * ms, 10 * time.Second: 2 * time.Second,
	} {
		for late, sweeps := range map[time.Duration]int{0: 1, most - 1: 1, most: 2, 2 * most: 2} {
			synctest.Test(t, func(t *testing.T) {
				list := nodes(3)
				net := newNetwork(list)
				net.set(list[2], blackHole)
				began := time.Now()
				w := newWatcher(net, list, with(&prober{}), func(cfg *watch.Config) {
					cfg.PingTimeout = timeout
					cfg.Clock = func() time.Time {
						if now := time.Now(); now.Sub(began) < timeout/2 {
							return now
						}
						return time.Now().Add(late)
					}
				})
				w.Sweep(t.Context())
				if n := len(net.attempts[list[1].Addr()]); n != sweeps {
					t.Errorf("with %v for a ping and timers that were late by %v there were %d sweeps, want %d", timeout, late,
						n, sweeps)
				}
			})
		}
	}
}

func TestWatcher_Sees(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := nodes(200)
		net := newNetwork(list)
		w := newWatcher(net, list)
		if got, _ := w.Sees(); got != nil {
			t.Errorf("before the first sweep it sees %v not", got)
		}
		ctx, cancel := context.WithCancel(t.Context())
		go w.Run(ctx)
		pass(time.Second)
		if got, _ := w.Sees(); got == nil || len(got) != 0 {
			t.Errorf("of nodes that are all online it sees %v not", got)
		}
		for _, n := range list[100:] {
			net.set(n, refuses)
		}
		pass(10 * time.Second)
		got, _ := w.Sees()
		if len(got) != 100 || got[0] != 101 {
			t.Errorf("it sees %v not", got)
		}
		cancel()
		synctest.Wait()
	})
}

// What the other agents say in answer to pings, and when they are asked for a ping of
// now, decides whether they can reach this one.
func TestWatcher_NotReached(t *testing.T) {
	own := []uint64{1}
	for name, c := range map[string]struct {
		sees [][]uint64 // of n2, n3, n4, as they answer a ping
		now  []int      // those that reach this agent when they are asked
		want string     // names of those that can't reach it
		asks int        // how many are asked for a ping
	}{
		"all see it":               {[][]uint64{{}, {}, {}}, nil, "", 0},
		"one does not":             {[][]uint64{own, {}, {}}, nil, "", 0},
		"two do not":               {[][]uint64{own, own, {}}, nil, "n2 n3", 2},
		"none does":                {[][]uint64{own, {7, 1}, own}, nil, "n2 n3 n4", 3},
		"none did, and all do now": {[][]uint64{own, own, own}, []int{2, 3, 4}, "", 3},
		"one does now":             {[][]uint64{own, own, own}, []int{3}, "n2 n3 n4", 3},
		"they have not looked yet": {[][]uint64{nil, nil, nil}, nil, "", 0},
		"one has looked":           {[][]uint64{nil, own, nil}, nil, "n3", 1},
		"others are not seen":      {[][]uint64{{4}, {2}, {}}, nil, "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				list := nodes(4)
				net := newNetwork(list)
				p := &prober{sees: map[string][]uint64{}}
				for i, sees := range c.sees {
					self := selfOf(list[i+1])
					self.Sees = sees
					net.answerAs(list[i+1], self)
				}
				for _, i := range c.now {
					p.sees[list[i-1].Addr()] = own
				}
				var log bytes.Buffer
				w := newWatcher(net, list, first(list), with(p), logTo(&log))
				ctx, cancel := context.WithCancel(t.Context())
				defer synctest.Wait()
				defer cancel()
				go w.Run(ctx)
				pass(time.Second)
				got := w.NotReached()
				if by := strings.Join(got.By, " "); by != c.want || p.asked() != c.asks {
					t.Errorf("%q can't reach it, want %q; %d were asked", by, c.want, p.asked())
				}
				if c.want == "" {
					return
				}
				if got.Addr != list[0].Addr() || got.Stage != awa.StageConnect ||
					!strings.Contains(log.String(), "can't reach this one") {
					t.Errorf("%+v, %s", got, &log)
				}
				for _, n := range list[1:] {
					self := selfOf(n)
					self.Sees = []uint64{}
					net.answerAs(n, self)
				}
				pass(10 * time.Second)
				if got := w.NotReached(); got.Of != 0 || !strings.Contains(log.String(), "again") {
					t.Errorf("%+v, %s", got, &log)
				}
			})
		})
	}
}

// An agent is online for itself, whatever lies between it and its address, unless
// another one answers there.
func TestWatcher_Sweep_itself(t *testing.T) {
	for name, c := range map[string]struct {
		reply reply
		as    int // the node that answers there
		want  awa.Verdict
		note  string
	}{
		"it answers":          {answers, 0, awa.Online, ""},
		"its name is unknown": {reply{stage: awa.StageResolve, err: errNoSuchHost}, 0, awa.Online, "no such host"},
		"nobody answers":      {blackHole, 0, awa.Online, "no answer within 1s"},
		"another one answers": {answers, 1, awa.Mismatch, "another agent answers there: n2 of this cluster"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				list := nodes(3)
				net := newNetwork(list)
				net.set(list[0], c.reply)
				net.answerAs(list[0], selfOf(list[c.as]))
				p := &prober{}
				w := newWatcher(net, list, first(list), with(p))
				st := w.Sweep(t.Context())[0]
				if st.Verdict != c.want || st.Error != c.note || st.Since.IsZero() || st.Self == nil {
					t.Errorf("%+v", st)
				}
				if c.want == awa.Online && p.asked() > 0 {
					t.Error("others were asked whether they see it")
				}
			})
		})
	}
}

// Some of the nodes cost their own pings alone, and the second opinions that they need.
func TestWatcher_Some(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := nodes(300)
		net := newNetwork(list)
		p := &prober{sees: map[string][]uint64{}}
		for _, n := range list[1:] {
			p.sees[n.Addr()] = []uint64{7}
		}
		w := newWatcher(net, list, first(list), with(p))
		some := func(names ...string) (watch.Result, int) {
			net.mu.Lock()
			clear(net.attempts)
			net.mu.Unlock()
			l := w.Some(1, names)
			return l, net.pings()
		}
		if l, pings := some("n5"); len(l.Nodes) != 300 || pings != 300 {
			t.Errorf("before the first sweep there were %d pings for %d nodes", pings, len(l.Nodes))
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer synctest.Wait()
		defer cancel()
		go w.Run(ctx)
		pass(time.Second)

		l, pings := some("N5", "n9", "unknown")
		if len(l.Nodes) != 2 || l.Nodes[0].Node.Name != "n5" || online(l.Nodes) != 2 || pings != 2 || l.Isolated {
			t.Errorf("%d pings, %+v", pings, l)
		}
		net.set(list[6], refuses)
		net.set(list[8], refuses)
		l, pings = some("n7", "n9")
		if pings != 2 || l.Nodes[0].Verdict != awa.Unreachable || l.Nodes[1].Verdict != awa.Offline || l.Nodes[1].Asked != 3 {
			t.Errorf("%d pings, %+v", pings, l.Nodes)
		}
		if n := len(w.Last().Nodes); n != 300 {
			t.Errorf("the last look has %d nodes", n)
		}
		if l, _ := some("n8"); l.Nodes[0].Since.IsZero() {
			t.Errorf("%+v", l.Nodes[0])
		}

		// More requests at once than may be served share one sweep.
		var all sync.WaitGroup
		net.set(list[9], blackHole)
		net.mu.Lock()
		clear(net.attempts)
		net.mu.Unlock()
		for i := range 200 {
			all.Go(func() { w.Some(1, []string{"n10", list[20+i].Name}) })
		}
		all.Wait()
		if n := len(net.attempts[list[9].Addr()]); n > 2*(32+1) {
			t.Errorf("200 requests made %d attempts", n)
		}
		net.set(list[9], answers)

		// Those that were online can't be asked any more: then everything is looked at.
		p.mute = map[string]bool{}
		for _, n := range list {
			p.mute[n.Addr()] = true
		}
		if l, pings := some("n9"); len(l.Nodes) != 300 || pings != 301 {
			t.Errorf("with nobody to ask there were %d pings for %d nodes", pings, len(l.Nodes))
		}
		for _, n := range list[1:] {
			net.set(n, refuses)
		}
		if l, _ := some("n9"); !l.Isolated {
			t.Error("an agent that reaches nobody does not say so")
		}
	})
}

func TestMerge(t *testing.T) {
	of := func(verdict awa.Verdict, ids ...uint64) (all []awa.NodeStatus) {
		for _, id := range ids {
			all = append(all, awa.NodeStatus{Node: awa.Node{ID: id}, Verdict: verdict})
		}
		return all
	}
	for _, c := range []struct{ before, since, ids []uint64 }{
		{[]uint64{1, 2, 3}, nil, []uint64{1, 2, 3}},
		{nil, []uint64{2}, []uint64{2}},
		{[]uint64{1, 3, 5}, []uint64{3}, []uint64{1, 3, 5}},
		{[]uint64{2, 4}, []uint64{1, 3, 4, 9}, []uint64{1, 2, 3, 4, 9}},
	} {
		all := watch.Merge(of(awa.Offline, c.before...), of(awa.Online, c.since...))
		var ids []uint64
		for _, n := range all {
			ids = append(ids, n.Node.ID)
			if want := slices.Contains(c.since, n.Node.ID); want != (n.Verdict == awa.Online) {
				t.Errorf("%+v: node %d is %s", c, n.Node.ID, n.Verdict)
			}
		}
		if !slices.Equal(ids, c.ids) {
			t.Errorf("%+v gave %v", c, ids)
		}
	}
}
