//go:build simulation

package watch_test

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/watch"
)

// Simulations run the watchers of a cluster, as they are, on a network in memory and a
// simulated clock. AWA_TEST_AGENTS are the numbers of agents, by comma: `make simulation`.
// Where that is more than memory has room for, AWA_TEST_WATCHERS of them are whole, and models
// stand in for the others. AWA_TEST_LOSS is for how long attempts are lost.

// world is that network.
type world struct {
	list    []awa.Node
	agents  []*member
	indices map[string]int // by address
	loss    float64        // of one attempt
	wrong   atomic.Int64   // verdicts of agents that are alive and connected
}

// member is one agent.
type member struct {
	*world
	i        int
	watcher  *watch.Watcher           // nil of a model
	sees     atomic.Pointer[[]uint64] // of a model
	dead     atomic.Bool
	unsteady atomic.Bool  // others may not know yet that it is back
	side     atomic.Int64 // agents on different sides don't reach each other

	mu      sync.Mutex
	away    map[uint64]time.Time // what it knows to be away, and since when
	fastest float64              // pings a second, over a sweep and the pause after it
	swept   time.Time            // when the last sweep began
	pinged  int                  // nodes, in that sweep
}

// newWorld makes n agents, the first whole of which are not models.
func newWorld(n, whole int) *world {
	w := &world{list: nodes(n), indices: map[string]int{}}
	for i, node := range w.list {
		w.indices[node.Addr()] = i
		w.agents = append(w.agents, w.newMember(i, i >= whole))
	}
	return w
}

func (w *world) newMember(i int, model bool) *member {
	m := &member{world: w, i: i, away: map[uint64]time.Time{}}
	if model {
		return m
	}
	m.watcher = watch.New(watch.Config{
		Pinger: m, Prober: m,
		Nodes: func() []awa.Node { return w.list },
		Self:  m.self,
		Busy:  func() bool { return false },
		Swept: m.note,
	})
	return m
}

func (m *member) self() awa.Self {
	s := selfOf(m.list[m.i])
	if m.watcher != nil {
		s.Sees, s.Ailing = m.watcher.Sees()
	} else if sees := m.sees.Load(); sees != nil {
		s.Sees = *sees
	}
	return s
}

// modelSweep is how long a model takes to say whom it does not reach: what a sweep takes at most
// when it has to ask others.
const modelSweep = 2200 * time.Millisecond

// model stands in for a watcher: it looks at its share every 5 s and says who is away, and knows of
// nobody else. So others learn less from it than from a watcher, and later.
func (m *member) model(ctx context.Context) {
	var share []*member
	of := awa.WatchShareOf(m.list[m.i].UID, len(m.list))
	for _, other := range m.agents {
		if of.Has(m.list[other.i].ID) {
			share = append(share, other)
		}
	}
	for {
		next := time.Now().Add(time.Duration((0.9 + 0.2*rand.Float64()) * float64(awa.DefaultWatch)))
		away := []uint64{}
		for _, other := range share {
			if !m.reaches(other) {
				away = append(away, m.list[other.i].ID)
			}
		}
		if len(away) > 0 && wait(ctx, modelSweep) != nil {
			return
		}
		m.sees.Store(&away)
		if wait(ctx, time.Until(next)) != nil {
			return
		}
	}
}

// opinions are those of a model: it pings for as long as it may.
func (m *member) opinions(ctx context.Context, ids []uint64, within time.Duration) (all []awa.Opinion) {
	for _, id := range ids {
		o := awa.Opinion{ID: id, Verdict: awa.Online, RTT: time.Millisecond}
		if !m.reaches(m.agents[id-1]) {
			o = awa.Opinion{ID: id, Verdict: awa.Offline, Stage: awa.StageConnect, Error: "no answer"}
		}
		all = append(all, o)
	}
	if slices.ContainsFunc(all, func(o awa.Opinion) bool { return o.Verdict != awa.Online }) {
		wait(ctx, within)
	}
	return all
}

// wait returns after a time, or with the error of ctx.
func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (m *member) note(l watch.Result) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	if !m.swept.IsZero() {
		m.fastest = max(m.fastest, float64(m.pinged)/l.At.Sub(m.swept).Seconds())
	}
	m.swept, m.pinged = l.At, l.Pinged
	if m.dead.Load() || m.unsteady.Load() { // then others are away for it
		return
	}
	for _, n := range l.Nodes {
		if n.Verdict == awa.Online {
			delete(m.away, n.Node.ID)
			continue
		}
		if _, ok := m.away[n.Node.ID]; !ok {
			m.away[n.Node.ID] = now
		}
		if other := m.agents[n.Node.ID-1]; n.Verdict == awa.Offline && m.reaches(other) && !other.unsteady.Load() {
			m.wrong.Add(1)
		}
	}
}

// reaches reports whether another agent is there for this one.
func (m *member) reaches(other *member) bool {
	return !other.dead.Load() && other.side.Load() == m.side.Load()
}

// reach returns the agent at an address, after the time of a ping if there is none.
func (m *member) reach(ctx context.Context, addr string) (*member, error) {
	to := m.agents[m.indices[addr]]
	if m.dead.Load() || !m.reaches(to) || m.loss > 0 && rand.Float64() < m.loss {
		<-ctx.Done()
		return nil, &awa.PingError{Stage: awa.StageConnect, Err: ctx.Err()}
	}
	return to, nil
}

func (m *member) Ping(ctx context.Context, addr string, _ bool) (awa.Self, error) {
	to, err := m.reach(ctx, addr)
	if err != nil {
		return awa.Self{}, err
	}
	return to.self(), nil
}

func (m *member) Probe(ctx context.Context, addr string, ids []uint64, within time.Duration) ([]awa.Opinion, error) {
	to, err := m.reach(ctx, addr)
	if err != nil {
		return nil, err
	}
	if to.watcher == nil {
		return to.opinions(ctx, ids, cmp.Or(within, awa.DefaultPingTimeout)), nil
	}
	return to.watcher.Probe(ctx, ids, within), nil
}

// start runs all agents, and returns what ends them.
func (w *world) start(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	for _, m := range w.agents {
		all.Go(func() {
			switch { // they were not started together
			case wait(ctx, rand.N(5*time.Second)) != nil:
			case m.watcher == nil:
				m.model(ctx)
			default:
				m.watcher.Run(ctx)
			}
		})
	}
	return func() { cancel(); all.Wait() }
}

// knowing returns, sorted, how long after a moment each living agent that is not a model has known of all
// nodes that it can't reach; an hour of those that don't know.
func (w *world) knowing(since time.Time) []time.Duration {
	var all []time.Duration
	for _, m := range w.agents {
		if m.watcher == nil || m.dead.Load() {
			continue
		}
		m.mu.Lock()
		var latest time.Duration
		for _, other := range w.agents {
			if m.reaches(other) {
				continue
			}
			if at, ok := m.away[w.list[other.i].ID]; ok {
				latest = max(latest, at.Sub(since))
			} else {
				latest = time.Hour
			}
		}
		m.mu.Unlock()
		all = append(all, latest)
	}
	slices.Sort(all)
	return all
}

// within returns the time within which a share of the agents knew.
func within(all []time.Duration, share float64) time.Duration {
	return all[min(int(float64(len(all))*share), len(all)-1)].Round(10 * time.Millisecond)
}

// settle is how long all agents have swept before something happens.
const settle = 20 * time.Second

// mostPromised is the largest cluster of which it is promised when all know.
const mostPromised = 1000

// simulation is something that happens to n agents.
type simulation struct {
	name    string
	loss    float64
	happens func(*world) // nil: nothing
	most    time.Duration
	lasts   time.Duration // after it has happened
}

func simulations(n int) []simulation {
	seen := 40 * time.Second // for so long they have to notice
	if n > mostPromised {
		seen = 2 * time.Minute
	}
	die := func(dead int) func(*world) {
		return func(w *world) {
			for _, i := range rand.Perm(n)[:dead] {
				w.agents[i].dead.Store(true)
			}
		}
	}
	return []simulation{
		{"1 death", 0, die(1), 12 * time.Second, seen},
		{"40 deaths", 0, die(40), 12 * time.Second, seen},
		{"half of all die", 0, die(n / 2), 20 * time.Second, seen},
		{"cut in halves", 0, func(w *world) {
			for _, i := range rand.Perm(n)[:n/2] {
				w.agents[i].side.Store(1)
			}
		}, 20 * time.Second, seen},
		{"a node flaps", 0, func(w *world) {
			w.agents[0].unsteady.Store(true)
			for range 10 {
				pass(7 * time.Second)
				w.agents[0].dead.Store(!w.agents[0].dead.Load())
			}
		}, 0, seen},
		{"one attempt in a hundred is lost", 0.01, nil, 0, lossLasts()},
	}
}

// lossLasts returns for how long attempts are lost.
func lossLasts() time.Duration {
	if d, err := time.ParseDuration(os.Getenv("AWA_TEST_LOSS")); err == nil {
		return d
	}
	return 3 * time.Minute
}

// TestSimulation has things happen to clusters of some sizes. What no agent may ever say is
// that a node is offline which it can reach, and none may ping more than 50 nodes a second.
func TestSimulation(t *testing.T) {
	fmt.Printf("%-8s%-36s%8s%8s%8s%8s%10s\n", "agents", "what happens", "half", "99 %", "99.9 %", "all", "pings/s")
	for text := range strings.SplitSeq(os.Getenv("AWA_TEST_AGENTS"), ",") {
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatalf("AWA_TEST_AGENTS: %v", err)
		}
		whole, err := strconv.Atoi(cmp.Or(os.Getenv("AWA_TEST_WATCHERS"), text))
		if err != nil {
			t.Fatalf("AWA_TEST_WATCHERS: %v", err)
		}
		for _, s := range simulations(n) {
			t.Run(fmt.Sprintf("%d agents, %s", n, s.name), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { s.run(t, n, whole) })
			})
		}
	}
}

func (s simulation) run(t *testing.T, n, whole int) {
	w := newWorld(n, whole)
	w.loss = s.loss
	stop := w.start(t.Context())
	pass(settle)
	began := time.Now()
	if s.happens != nil {
		s.happens(w)
	}
	pass(s.lasts)
	stop()
	fastest := 0.0
	for _, m := range w.agents {
		fastest = max(fastest, m.fastest)
	}
	line := fmt.Sprintf("%-8d%-36s", n, s.name)
	if s.most > 0 {
		known := w.knowing(began)
		for _, share := range []float64{0.5, 0.99, 0.999, 1} {
			line += fmt.Sprintf("%8.1f", within(known, share).Seconds())
		}
		if got := within(known, 0.999); got > s.most && n <= mostPromised {
			t.Errorf("99.9 %% of the agents know after %v, not within %v", got, s.most)
		}
	} else {
		line += fmt.Sprintf("%32s", "")
	}
	fmt.Printf("%s%10.1f\n", line, fastest)
	if fastest > 50.05 {
		t.Errorf("an agent pings %.1f nodes a second", fastest)
	}
	if wrong := w.wrong.Load(); wrong > 0 {
		t.Errorf("%d times an agent says of a node that it can reach that it is offline", wrong)
	}
}
