package watch_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/watch"
)

// memory is a Memory without a disk.
type memory struct {
	mu    sync.Mutex
	all   map[uint64]awa.Sighting
	calls int
	slow  chan struct{} // when not nil, Remember waits for its end
	err   error
}

func (m *memory) Sightings() (all []awa.Sighting, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, g := range m.all {
		all = append(all, g)
	}
	return all, m.err
}

func (m *memory) Remember(seen []awa.Sighting, gone []uint64) error {
	if m.slow != nil {
		<-m.slow
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls++
	for _, g := range seen {
		if m.all == nil {
			m.all = map[uint64]awa.Sighting{}
		}
		g.Since = g.Since.Round(0) // what the disk does
		m.all[g.ID] = g
	}
	for _, id := range gone {
		delete(m.all, id)
	}
	return m.err
}

func (m *memory) count() (calls, nodes int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.calls, len(m.all)
}

// live runs a Watcher's background sweeps for a while, and returns its last look.
func live(t *testing.T, w *watch.Watcher, span time.Duration) []awa.NodeStatus {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), span)
	defer cancel()
	if err := w.Run(ctx); err != nil {
		t.Errorf("Run: %v", err)
	}
	return w.Last().Nodes
}

// Since when a node is as it is outlives the agent that saw it.
func TestWatcher_Memory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := nodes(4)
		on := list // what the list holds
		net := newNetwork(list)
		m := &memory{}
		var log bytes.Buffer
		start := func() *watch.Watcher {
			return newWatcher(net, list, logTo(&log), func(c *watch.Config) {
				c.Memory, c.Nodes = m, func() []awa.Node { return on }
			})
		}
		born := time.Now()
		want := func(all []awa.NodeStatus, i int, verdict awa.Verdict, since time.Duration) {
			t.Helper()
			if st := all[i]; st.Verdict != verdict || st.Since.Sub(born).Round(time.Millisecond) != since {
				t.Errorf("%s: %s since %s, want %s since %s", st.Node.Name, st.Verdict, st.Since.Sub(born), verdict, since)
			}
		}
		net.set(list[1], refuses)
		live(t, start(), time.Minute)
		if calls, n := m.count(); calls != 1 || n != 4 {
			t.Errorf("a minute in which nothing happened: %d calls, %d nodes kept; want one with all", calls, n)
		}

		// A new life: n2 is still away, n3 has gone meanwhile, n4 has another agent.
		log.Reset()
		net.set(list[2], refuses)
		list[3].UID = strings.Repeat("f", 32)
		net.answerAs(list[3], selfOf(list[3]))
		second := start()
		if seen := second.AllSeen(); len(seen) != 0 {
			t.Errorf("seen before its first sweep: %v", seen)
		}
		all := live(t, second, 20*time.Second)
		want(all, 0, awa.Online, 0)
		want(all, 1, awa.Offline, 0)
		want(all, 2, awa.Offline, time.Minute)
		want(all, 3, awa.Online, time.Minute)
		if got := second.AllSeen()[list[1].UID]; got.Online || got.For < 14*time.Second || got.For > 20*time.Second {
			t.Errorf("seen: %+v; what was before the start must not count", got)
		}
		if n := strings.Count(log.String(), "\n"); n != 1 || !strings.Contains(log.String(),
			`msg="node is offline" node=n3`) {
			t.Errorf("log: %s\nwant the node that has changed only", &log)
		}

		// A third one with a shorter list: what is gone is forgotten.
		on = list[:2]
		live(t, start(), time.Second)
		if _, n := m.count(); n != 2 {
			t.Errorf("%d nodes are kept, want 2", n)
		}

		// A clock that was ahead must not make a since of tomorrow.
		g := m.all[2]
		g.Since = time.Now().Add(time.Hour)
		m.all[2] = g
		now := time.Since(born)
		want(live(t, start(), time.Second), 1, awa.Offline, now)
		if g := m.all[2]; g.Since.Sub(born) != now {
			t.Errorf("kept: since %s, want %s", g.Since.Sub(born), now)
		}
	})
}

// A disk that hangs or fails holds up no sweep, and a burst is one write.
func TestWatcher_Memory_slow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := nodes(300)
		net := newNetwork(list)
		m := &memory{slow: make(chan struct{})}
		w := newWatcher(net, list, func(c *watch.Config) { c.Memory, c.Watch = m, time.Second })
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		go w.Run(ctx)
		for i := range 5 {
			pass(10 * time.Second)
			for _, n := range list {
				if i%2 == 0 {
					net.set(n, refuses)
				} else {
					net.set(n, answers)
				}
			}
		}
		if calls, _ := m.count(); calls != 0 || time.Since(w.Last().At) > 10*time.Second {
			t.Errorf("%d writes, the last sweep was %s ago", calls, time.Since(w.Last().At))
		}
		close(m.slow)
		synctest.Wait()
		if calls, n := m.count(); calls != 2 || n != 300 {
			t.Errorf("%d writes of %d nodes, want what hung and one with all the rest", calls, n)
		}
		<-ctx.Done()
		synctest.Wait()
	})

	t.Run("it fails", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			list := nodes(2)
			var log bytes.Buffer
			m := &memory{err: errors.New("input/output error")}
			all := live(t, newWatcher(newNetwork(list), list, logTo(&log), func(c *watch.Config) { c.Memory = m }),
				20*time.Second)
			if online(all) != 2 || strings.Count(log.String(), "input/output error") != 2 {
				t.Errorf("%s\nlog: %s", fmt.Sprint(all), &log)
			}
		})
	})
}
