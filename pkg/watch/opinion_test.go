package watch_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/watch"
)

// prober is a Prober of fake agents. Those that are not in sees have seen
// nobody; after is how long an answer takes.
type prober struct {
	sees  map[string][]uint64 // by the agent's address: the ids that it sees online
	mute  map[string]bool     // agents that fail
	after time.Duration

	mu    sync.Mutex
	calls []probe
}

type probe struct {
	addr   string
	ids    []uint64
	within time.Duration
}

func (p *prober) Probe(ctx context.Context, addr string, ids []uint64, within time.Duration) ([]awa.Opinion, error) {
	p.mu.Lock()
	p.calls = append(p.calls, probe{addr, slices.Clone(ids), within})
	sees := p.sees[addr]
	p.mu.Unlock()
	if p.after > 0 {
		select {
		case <-time.After(p.after):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if p.mute[addr] {
		return nil, errors.New("no answer")
	}
	all := []awa.Opinion{{ID: 4711, Verdict: awa.Online}} // which nobody asked for
	for _, id := range ids {
		o := awa.Opinion{ID: id, Verdict: awa.Offline, Stage: awa.StageConnect}
		if slices.Contains(sees, id) {
			o = awa.Opinion{ID: id, Verdict: awa.Online}
		}
		all = append(all, o, o) // one agent has one voice
	}
	return all, nil
}

// asked is how many requests there were.
func (p *prober) asked() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.calls)
}

func with(p *prober) func(*watch.Config) { return func(c *watch.Config) { c.Prober = p } }

// What others say decides between unreachable and what we saw ourselves.
func TestWatcher_Sweep_second_opinion(t *testing.T) {
	list := nodes(4) // n1 is us, n4 the one in question
	n2, n3 := list[1].Addr(), list[2].Addr()
	stranger := reply{stage: awa.StageReply, err: awa.ErrNoAgent}
	for name, c := range map[string]struct {
		own    reply
		sees   map[string][]uint64
		mute   map[string]bool
		want   awa.Verdict
		asked  int
		seenBy []string
	}{
		"nobody sees it": {refuses, nil, nil, awa.Offline, 2, nil},
		"one sees it":    {refuses, map[string][]uint64{n3: {4}}, nil, awa.Unreachable, 2, []string{"n3"}},
		"all see it": {own: blackHole, sees: map[string][]uint64{n3: {4}, n2: {4}}, want: awa.Unreachable, asked: 2,
			seenBy: []string{"n2", "n3"}},
		"they see another one": {refuses, map[string][]uint64{n3: {2}, n2: {3}}, nil, awa.Offline, 2, nil},
		"one has no opinion":   {refuses, nil, map[string]bool{n2: true}, awa.Offline, 1, nil},
		"one sees it, one has none": {own: refuses, sees: map[string][]uint64{n3: {4}}, mute: map[string]bool{n2: true},
			want: awa.Unreachable, asked: 1, seenBy: []string{"n3"}},
		"nobody has an opinion":          {refuses, nil, map[string]bool{n2: true, n3: true}, awa.Offline, 0, nil},
		"a stranger, and nobody sees it": {stranger, nil, nil, awa.Mismatch, 2, nil},
		"a stranger here, itself there":  {stranger, map[string][]uint64{n2: {4}}, nil, awa.Unreachable, 2, []string{"n2"}},
		"online is not asked about":      {answers, nil, nil, awa.Online, 0, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				net := newNetwork(list)
				net.set(list[3], c.own)
				p := &prober{sees: c.sees, mute: c.mute}
				st := newWatcher(net, list, first(list), with(p)).Sweep(t.Context())[3]
				if st.Verdict != c.want || st.Asked != c.asked || !slices.Equal(st.SeenBy, c.seenBy) {
					t.Errorf("%s, %d asked, seen by %v; want %s, %d, %v", st.Verdict, st.Asked, st.SeenBy, c.want, c.asked, c.seenBy)
				}
				if (st.Verdict == awa.Online) != (st.Stage == "" && st.Error == "") {
					t.Errorf("stage %q, error %q: they are those of our own ping", st.Stage, st.Error)
				}
				if want := 2; c.want != awa.Online && len(p.calls) != want {
					t.Errorf("%d requests, want %d", len(p.calls), want)
				}
				if c.want == awa.Online && len(p.calls) != 0 {
					t.Errorf("somebody was asked about nothing: %v", p.calls)
				}
			})
		})
	}
}

// All that failed go in one request each to three agents that answered, which
// are not always the same ones.
func TestWatcher_Sweep_whom_it_asks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := nodes(12)
		net := newNetwork(list)
		dead := []uint64{3, 7, 9}
		for _, id := range dead {
			net.set(list[id-1], refuses)
		}
		other := selfOf(list[10]) // of another history: its list may differ
		other.History = awa.History{Epoch: 2, ID: "aa"}
		net.answerAs(list[10], other)
		p := &prober{}
		w := newWatcher(net, list, first(list), with(p))
		counts := map[string]int{}
		for range 100 {
			p.calls = nil
			w.Sweep(t.Context())
			if len(p.calls) != 3 {
				t.Fatalf("%d requests, want 3", len(p.calls))
			}
			for _, call := range p.calls {
				if !slices.Equal(call.ids, dead) {
					t.Fatalf("asked for %v, want %v", call.ids, dead)
				}
				counts[call.addr]++
			}
		}
		for i, n := range list {
			never := i == 0 || i == 10 || slices.Contains(dead, n.ID)
			if got := counts[n.Addr()]; never != (got == 0) || got > 100 {
				t.Errorf("%s was asked %d times in 100 sweeps", n.Name, got)
			}
		}
	})
}

// A whole sweep takes 2.2 times a ping, also when those who are asked take all
// the time they can get.
func TestWatcher_Sweep_whole_time(t *testing.T) {
	for name, dead := range map[string]int{"1 dead": 1, "300 dead": 300, "999 dead": 999} {
		for _, timeout := range []time.Duration{time.Second, 250 * ms} {
			t.Run(fmt.Sprint(name, " at ", timeout), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					list := nodes(1001)
					net := newNetwork(list)
					for _, n := range list[1 : dead+1] {
						net.set(n, blackHole)
					}
					p := &prober{after: time.Hour}
					began := time.Now()
					newWatcher(net, list, with(p), func(c *watch.Config) { c.PingTimeout = timeout }).Sweep(t.Context())
					if took := time.Since(began); took < timeout || took > timeout*22/10 {
						t.Errorf("took %s, want at most %s", took, timeout*22/10)
					}
					if len(p.calls) == 0 || p.calls[0].within < timeout*3/5 || p.calls[0].within > timeout*12/10 {
						t.Errorf("%d were asked, within: %+v", len(p.calls), p.calls[0].within)
					}
				})
			})
		}
	}
}

// The sweeps in the background ask again about a node that stays away now and
// then only; who asks for a live sweep gets a fresh opinion.
func TestWatcher_Run_asks_now_and_then(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := nodes(3)
		net := newNetwork(list)
		net.set(list[2], refuses)
		p := &prober{sees: map[string][]uint64{list[1].Addr(): {3}}}
		w := newWatcher(net, list, first(list), with(p))
		ctx, cancel := context.WithTimeout(t.Context(), 119*time.Second)
		defer cancel()
		go w.Run(ctx)
		pass(29 * time.Second)
		if st := w.Last().Nodes[2]; p.asked() != 1 || st.Verdict != awa.Unreachable || st.Asked != 1 ||
			!slices.Equal(st.SeenBy, []string{"n2"}) {
			t.Errorf("after 29 s: asked %d times, %+v", p.asked(), st)
		}
		p.mu.Lock()
		p.sees = nil
		p.mu.Unlock()
		if st := w.Sweep(ctx)[2]; st.Verdict != awa.Offline || p.asked() != 2 {
			t.Errorf("a live sweep: asked %d times, %+v", p.asked(), st)
		}
		<-ctx.Done()
		synctest.Wait()
		if st := w.Last().Nodes[2]; st.Verdict != awa.Offline || p.asked() < 4 || p.asked() > 5 {
			t.Errorf("after 2 min: asked %d times, %+v", p.asked(), st)
		}
	})
}

func TestWatcher_Probe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := nodes(6)
		net := newNetwork(list)
		net.set(list[1], refuses)
		net.set(list[2], blackHole)
		net.answerAs(list[3], selfOf(list[4]))
		p := &prober{}
		w := newWatcher(net, list, with(p))
		ask := func(within, took time.Duration, ids ...uint64) map[uint64]string {
			t.Helper()
			began := time.Now()
			got := map[uint64]string{}
			for _, o := range w.Probe(t.Context(), ids, within) {
				got[o.ID] = fmt.Sprintf("%s %s: %s", o.Verdict, o.Stage, o.Error)
			}
			if time.Since(began) != took {
				t.Errorf("took %s, want %s", time.Since(began), took)
			}
			return got
		}
		want := map[uint64]string{
			1: "online : ", 2: "offline connect: connection refused", 3: "offline connect: no answer within 700ms",
			4: "mismatch reply: another agent answers there: n5 of this cluster",
		}
		if got := ask(700*ms, 700*ms, 4, 3, 2, 1, 1, 4711); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("got  %v\nwant %v", got, want)
		}
		want = map[uint64]string{3: "offline connect: no answer within 1s"}
		if got := ask(0, time.Second, 3); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("got  %v\nwant %v", got, want)
		}
		if got := ask(time.Hour, time.Second, 3); fmt.Sprint(got) != fmt.Sprint(want) { // a ping is no longer for that
			t.Errorf("got  %v\nwant %v", got, want)
		}
		if got := ask(200*ms, 200*ms, 2, 3); len(got) != 1 || got[2] == "" {
			t.Errorf("silence for a fifth of a ping's time is not an opinion: %v", got)
		}
		if got := ask(time.Second, 0); len(got) != 0 {
			t.Errorf("asked for nothing: %v", got)
		}
		if len(p.calls) != 0 || len(w.AllSeen()) != 0 || len(net.attempts[list[5].Addr()]) != 0 {
			t.Errorf("it asked others (%v), remembered what it saw (%v) or pinged more than it was asked to", p.calls, w.AllSeen())
		}
		net.underWay(t)
	})
}
