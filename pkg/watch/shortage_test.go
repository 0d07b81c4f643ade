package watch_test

import (
	"bytes"
	"context"
	"errors"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/watch"
)

// short is what a Pinger ends with that lacks something of its own.
var short = reply{stage: awa.StageConnect, err: &awa.Fault{Code: awa.ErrShortage, Text: "out of descriptors"}}

// TestWatcher_shortage lets this agent lack something in some attempts at the
// second of three nodes. That must never become a verdict.
func TestWatcher_shortage(t *testing.T) {
	broke := reply{stage: awa.StageReply, err: errors.New("connection reset by peer")}
	for name, c := range map[string]struct {
		replies []reply
		want    awa.Verdict // "" for none
	}{
		"at the first attempt":                        {[]reply{short}, ""},
		"at the first, late":                          {[]reply{short.in(900 * ms)}, ""},
		"at the second, after silence":                {[]reply{blackHole, short}, ""},
		"at the first, and the second is silent":      {[]reply{short.in(400 * ms), blackHole}, ""},
		"at the second, after a broken connection":    {[]reply{broke, short}, ""},
		"at the second, after a refusal that is slow": {[]reply{refuses.in(500 * ms), short}, awa.Offline},
		"at the first, and the second is refused":     {[]reply{short.in(400 * ms), refuses}, awa.Offline},
		"at the first, and the second is answered":    {[]reply{short.in(400 * ms), answers}, awa.Online},
		"never": {[]reply{refuses}, awa.Offline},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				list := nodes(3)
				net := newNetwork(list)
				net.set(list[1], c.replies...)
				w := newWatcher(net, list)
				l := w.Shared(1, 0)
				if (l.Short != nil) != (c.want == "") || l.Short != nil && (!errors.Is(l.Short, awa.ErrShortage) ||
					l.Short.Error() != "out of descriptors") {
					t.Errorf("the shortage is %v", l.Short)
				}
				if c.want != "" && l.Nodes[1].Verdict != c.want {
					t.Errorf("the node is %s, want %s", l.Nodes[1].Verdict, c.want)
				}
				seen := w.AllSeen()
				if _, known := seen[list[1].UID]; known != (c.want != "") || len(seen) < 2 {
					t.Errorf("what is remembered: %v", seen)
				}
			})
		})
	}
}

// TestWatcher_Run_shortage shows that a background sweep which could not look
// leaves everything as it was, and is logged once.
func TestWatcher_Run_shortage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := nodes(3)
		net := newNetwork(list)
		net.set(list[2], refuses)
		var log bytes.Buffer
		w := newWatcher(net, list, logTo(&log))
		ctx, cancel := context.WithCancel(t.Context())
		var run sync.WaitGroup
		run.Go(func() { w.Run(ctx) })
		time.Sleep(12 * time.Second) // of the bubble's clock, here and below
		before, seen := w.Last(), w.AllSeen()
		for _, n := range list[1:] {
			net.set(n, short)
		}
		time.Sleep(18 * time.Second)
		after := w.Last()
		if err := w.Shortage(); !errors.Is(err, awa.ErrShortage) {
			t.Errorf("the shortage is %v", err)
		}
		if !after.At.Equal(before.At) || after.Nodes[1].Verdict != awa.Online || after.Nodes[2].Verdict != awa.Offline ||
			!after.Nodes[2].Since.Equal(before.Nodes[2].Since) {
			t.Errorf("what was known is lost: %+v", after)
		}
		if now := w.AllSeen(); !reflect.DeepEqual(now[list[1].UID], seen[list[1].UID]) ||
			!reflect.DeepEqual(now[list[2].UID], seen[list[2].UID]) {
			t.Error("what is remembered has changed")
		}
		if n := strings.Count(log.String(), "could not look at all nodes"); n != 1 {
			t.Errorf("it is logged %d times:\n%s", n, &log)
		}
		net.set(list[1])
		net.set(list[2], refuses)
		time.Sleep(6 * time.Second)
		if last := w.Last(); w.Shortage() != nil || !last.At.After(before.At) ||
			!last.Nodes[2].Since.Equal(before.Nodes[2].Since) {
			t.Errorf("afterwards: %v, %+v", w.Shortage(), last)
		}
		if strings.Count(log.String(), "could look at all nodes again") != 1 {
			t.Errorf("logged:\n%s", &log)
		}
		cancel()
		run.Wait()
	})
}

// A node that does not answer is not dead as long as nobody else could be asked.
func TestWatcher_shortage_of_opinions(t *testing.T) {
	for name, c := range map[string]struct {
		errs []error // of those who are asked, in turn
		want bool    // whether something is known
	}{
		"all":              {[]error{&awa.PingError{Stage: awa.StageConnect, Err: short.err}}, false},
		"not all":          {[]error{short.err, nil, short.err}, true},
		"not ours to lack": {[]error{errRefused}, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				list := nodes(6)
				net := newNetwork(list)
				net.set(list[5], refuses)
				var n atomic.Int32
				prober := probeFunc(func(ids []uint64) ([]awa.Opinion, error) {
					if err := c.errs[int(n.Add(1)-1)%len(c.errs)]; err != nil {
						return nil, err
					}
					return []awa.Opinion{{ID: ids[0], Verdict: awa.Offline}}, nil
				})
				l := newWatcher(net, list, func(cfg *watch.Config) { cfg.Prober = prober }).Shared(1, 0)
				if known := l.Short == nil; known != c.want || n.Load() != 3 {
					t.Errorf("the shortage is %v, %d were asked", l.Short, n.Load())
				}
			})
		})
	}
}

type probeFunc func(ids []uint64) ([]awa.Opinion, error)

func (f probeFunc) Probe(_ context.Context, _ string, ids []uint64, _ time.Duration) ([]awa.Opinion, error) {
	return f(ids)
}

// TestWatcher_MaxOpen holds pings down to a few at once. Dead nodes then make a
// sweep slower, and one that would take too long says so.
func TestWatcher_MaxOpen(t *testing.T) {
	for name, c := range map[string]struct {
		dead  int
		short bool
	}{"none is dead": {0, false}, "some are": {12, false}, "too many": {40, true}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				list := nodes(125)
				net := newNetwork(list)
				for _, n := range list[1 : 1+c.dead] {
					net.set(n, blackHole)
				}
				w := newWatcher(net, list, func(cfg *watch.Config) { cfg.MaxOpen = 4 })
				began := time.Now()
				l := w.Shared(1, 0)
				if net.peak > 2*4 {
					t.Errorf("%d attempts at once", net.peak)
				}
				if took := time.Since(began); took > 7*time.Second || c.dead == 0 && took > 0 {
					t.Errorf("it took %v", took)
				}
				if c.short != errors.Is(l.Short, awa.ErrShortage) {
					t.Errorf("the shortage is %v", l.Short)
				}
				if n := online(l.Nodes); !c.short && n != 125-c.dead {
					t.Errorf("%d of 125 are online", n)
				}
			})
		})
	}
}

// TestWatcher_Probe_bounds lets many ask for many opinions of one node.
func TestWatcher_Probe_bounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := nodes(3)
		net := newNetwork(list)
		net.set(list[1], blackHole)
		w := newWatcher(net, list)
		ids := slices.Repeat([]uint64{list[1].ID, 1 << 60}, 50_000)
		var all sync.WaitGroup
		var opinions, none atomic.Int32
		for range 200 {
			all.Go(func() {
				switch got := w.Probe(t.Context(), ids, time.Second); len(got) {
				case 0:
					none.Add(1)
				case 1:
					opinions.Add(1)
				default:
					t.Errorf("%d opinions of one node", len(got))
				}
			})
		}
		all.Wait()
		// All come at the same moment, and each ping takes all the time there is.
		if opinions.Load() != watch.MaxProbes || none.Load() != 200-watch.MaxProbes || net.peak > 2*watch.MaxProbes {
			t.Errorf("%d had an opinion, %d had none, and %d attempts were made at once", opinions.Load(), none.Load(), net.peak)
		}
	})
}
