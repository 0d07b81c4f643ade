package events_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/events"
	"are-we-alive/pkg/store"
	"are-we-alive/pkg/watch"
)

// world is a Pinger of nodes that die, restart and reboot. It keeps for how long each was
// really there.
type world struct {
	mu     sync.Mutex
	nodes  map[string]*being // by address
	online map[uint64]time.Duration
}

type being struct {
	node    awa.Node
	dead    bool
	starts  int
	boots   int
	started time.Time
}

func (w *world) Ping(_ context.Context, addr string, _ bool) (awa.Self, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	b := w.nodes[addr]
	if b.dead {
		return awa.Self{}, &awa.PingError{Stage: awa.StageConnect, Err: fmt.Errorf("%s", awa.Refused)}
	}
	return awa.Self{Name: b.node.Name, UID: b.node.UID, Cluster: "c", Time: time.Now().Unix(), Started: b.started.Unix(),
		Instance: fmt.Sprint(b.starts), Boot: fmt.Sprint(b.boots)}, nil
}

// step counts the time since the step before, and has fate act on every node.
func (w *world) step(fate *rand.Rand, every time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	for _, b := range w.nodes {
		restless := b.node.ID%10 == 0 && now.Unix()/7200%2 == 0 // some flap for two hours of each four
		if !b.dead {
			w.online[b.node.ID] += every
		}
		switch p := fate.IntN(10_000); {
		case b.dead && (p < 400 || restless && p < 5000): // it comes back after 500 s on average
			b.dead, b.started = false, now
			b.starts++
			if p%2 == 0 {
				b.boots++
			}
		case !b.dead && (p < 20 || restless && p < 5000):
			b.dead = true
		case !b.dead && p < 40: // it died after the last sweep, and was started before this one
			up := time.Duration(1+fate.IntN(int(every.Seconds())-1)) * time.Second
			b.started = now.Add(-up)
			b.starts++
			w.online[b.node.ID] -= every - up
		}
	}
}

// A day of a hundred nodes that die, restart and flap, in simulated time: the shares are
// exact to the second, and the events bounded.
func TestDay(t *testing.T) {
	const n, every, day = 100, 20 * time.Second, 24 * time.Hour
	st, err := store.Open(filepath.Join(t.TempDir(), "awa.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	synctest.Test(t, func(t *testing.T) {
		w := &world{nodes: map[string]*being{}, online: map[uint64]time.Duration{}}
		var list []awa.Node
		for i := range n {
			node := awa.Node{ID: uint64(i + 1), Name: fmt.Sprintf("n%d", i+1), Host: fmt.Sprintf("10.0.0.%d", i+1),
				Port: awa.DefaultPort, UID: fmt.Sprintf("%032x", i+1)}
			list = append(list, node)
			w.nodes[node.Addr()] = &being{node: node, started: time.Now().Add(-time.Hour)}
		}
		log := events.New(st, time.Now, slog.New(slog.DiscardHandler))
		watcher := watch.New(watch.Config{
			Pinger: w, Nodes: func() []awa.Node { return list }, Self: func() awa.Self { return awa.Self{Cluster: "c"} },
			Events: func(all []awa.Event) { log.Add(all...) }, Busy: func() bool { return false },
		})
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { log.Run(ctx) })
		log.Begin(list[0])
		fate := rand.New(rand.NewPCG(1, 2))
		watcher.Sweep(t.Context())
		began := time.Now()
		var last []awa.NodeStatus
		for time.Since(began) < day {
			<-time.After(every)
			w.step(fate, every)
			watcher.Sweep(t.Context())
		}
		for settled := time.Now(); time.Since(settled) < 6*time.Minute; { // so that none is flapping
			<-time.After(every)
			for _, b := range w.nodes {
				if !b.dead {
					w.online[b.node.ID] += every
				}
			}
			last = watcher.Sweep(t.Context())
		}
		cancel()
		running.Wait()
		total := time.Since(began)

		tally := events.NewTally(time.Now())
		kinds := map[awa.EventKind]int{}
		if err := log.Each(time.Time{}, func(e awa.Event) { tally.Add(e); kinds[e.Kind]++ }); err != nil {
			t.Fatal(err)
		}
		t.Logf("the events of the day: %v", kinds)
		for _, kind := range []awa.EventKind{awa.EventOffline, awa.EventRestarted, awa.EventRebooted, awa.EventFlapping,
			awa.EventSettled} {
			if kinds[kind] < 10 {
				t.Errorf("only %d are %s: the day tries nothing", kinds[kind], kind)
			}
		}
		const week = 1 // of awa.ShareSpans, which holds all of it
		for _, s := range tally.Shares(last) {
			watched, online := time.Duration(s.Shares[week].Watched), time.Duration(s.Shares[week].Online)
			if (watched-total).Abs() > time.Second || (online-w.online[s.ID]).Abs() > time.Second {
				t.Errorf("%s was online for %v of %v, and it says %v of %v", s.Name, w.online[s.ID], total, online, watched)
			}
			if day := s.Shares[0]; time.Duration(day.Watched) != 24*time.Hour || day.Online > s.Shares[week].Online {
				t.Errorf("%s: of the day it says %v", s.Name, day)
			}
		}
	})
}
