package watch

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"are-we-alive/pkg/awa"
)

// What stands in for the zero values of a Config.
const (
	DefaultRetry    = 300 * time.Millisecond
	DefaultInFlight = 128
)

// Limits that nobody needs to set.
const (
	// pingsPerSecond is the most that background sweeps make, averaged over
	// a sweep and the pause after it. A sweep itself pings all nodes at once: a
	// thousand warm pings are 25 ms of work, and were they spread over the whole
	// interval, a dead node would be found one interval later.
	pingsPerSecond = 50
	// coldPing is how many warm pings one costs that opens a connection: a TLS
	// handshake is about 0.9 ms of processor time for both sides together.
	coldPing = 10
	// permitTime is how long a ping may hold a permit without an answer.
	permitTime = 50 * time.Millisecond
	// firstPermits is how many pings a sweep begins with; see pingAll.
	firstPermits = 32
	// maxOpen bounds all pings under way, those without a permit too, and maxSecond how
	// many of them have a second attempt beside the first. So ten thousand silent nodes take
	// two times of a ping, and 49 MB of stacks at most. They are 6,144 connections.
	maxOpen   = 5120
	maxSecond = 1024
	// longSweep is how many times of a ping a sweep of the longest list takes at most.
	longSweep = 10
	// maxProbes is how many requests for a second opinion, or for some nodes alone,
	// are served at once; each is a sweep with its own goroutines.
	maxProbes = 32
)

// Pinger makes one attempt at a ping. It is called from many goroutines at
// once.
type Pinger interface {
	// Ping asks the agent at addr, a host:port, who it is. With fresh it must
	// not reuse a connection that was kept open, since that may be a dead
	// one. It returns soon after ctx ends; ctx always has a deadline. The
	// error is an *awa.PingError: the stage that was reached, and the
	// system's own words without the address. Any other error counts as one
	// of awa.StageReply.
	Ping(ctx context.Context, addr string, fresh bool) (awa.Self, error)
}

// Config is what a Watcher needs. Pinger, Nodes and Self must be set.
type Config struct {
	Pinger Pinger
	// Nodes returns the node list by id. It is not modified.
	Nodes func() []awa.Node
	// Self returns who this agent is: its cluster is the one that others must
	// be of.
	Self func() awa.Self
	// Heard, when set, is called for each answer that a node gave as itself, this
	// agent's own entry included. It is called from many goroutines at once,
	// and must be quick: the sweep waits for it.
	Heard func(awa.Node, awa.Self)
	// Prober asks other agents for second opinions. nil means that nobody is
	// asked.
	Prober Prober
	// Always returns the uids of agents that a background sweep of a long list pings
	// besides its share: those on which edits depend. nil means none.
	Always func() []string
	// Memory keeps over restarts since when each node is as it is. nil means
	// that it counts from the start. Only Run writes to it.
	Memory Memory
	// Clock is this agent's clock, which skews are measured against and since
	// when is taken from. nil means time.Now. Only the pulse of a sweep compares
	// two of its times; nothing is ordered by it.
	Clock func() time.Time

	// PingTimeout is the time of one ping with both its attempts. 0 means 1 s.
	// Longer forgives slower networks; a sweep with a dead node in it takes
	// as long.
	PingTimeout time.Duration
	// Retry is the time without an answer after which a second attempt
	// starts beside the first. 0 means 300 ms; at PingTimeout and above none
	// does. Lower finds lost packets sooner and costs a second connection to
	// every node that is slower than this.
	Retry time.Duration
	// Watch is the time from the start of one background sweep to the next,
	// ±10 %. 0 means 5 s. A sweep of n nodes is made every n/50 s at most, and more
	// seldom when connections have to be opened again (Kept).
	Watch time.Duration
	// Kept is how many connections the Pinger keeps open from one sweep to the
	// next. 0 means all. A ping beyond that opens one, with its handshake, and
	// counts as ten in the rate of background sweeps.
	Kept int
	// InFlight is how many pings run at once, over all sweeps. 0 means 128.
	// Higher is faster where answers take long; it costs connections and
	// bursts of work. Pings that wait for an answer for more than 50 ms are
	// not counted, but those are at most 5120.
	InFlight int
	// MaxOpen is how many pings are under way at once, those too that wait for
	// an answer for long; each holds at most two connections. 0 means 5120, of
	// which 1024 have two. Lower makes sweeps slower, by up to the time of a ping for each dead node:
	// one that takes too long is given up, see Result.Short.
	MaxOpen int
	// Busy reports whether this process has more to do than its processors can:
	// then a sweep runs no more pings at once than it does already. nil means
	// what the Go scheduler says.
	Busy func() bool
	// Events, when set, is called with what a sweep found to have changed, and with each
	// goodbye. It is called from many goroutines at once, and must not wait.
	Events func([]awa.Event)
	// Swept, when set, is called after each background sweep that could look at every
	// node, in their order. The next one waits for it.
	Swept func(Result)
	// Log gets each change of a verdict. nil means none.
	Log *slog.Logger
}

// Watcher pings nodes. It is safe for concurrent use.
type Watcher struct {
	cfg     Config
	permits chan struct{} // filled by pings that hold a permit
	open    chan struct{} // filled by all pings under way
	second  chan struct{} // filled by second attempts beside the first
	probes  chan struct{} // filled by probes under way

	shared singleflight.Group // sweeps under way, by state

	mu        sync.Mutex
	sightings map[uint64]*sighting // by node id
	pending   pendingWrites
	last      Result
	sees      []uint64 // see Sees
	ailing    []uint64 // likewise
	unreached NotReached
	short     error     // of the last background sweep, see Result.Short
	due       time.Time // when a background sweep will be over; zero while none is meant to run
}

// New makes a Watcher and starts nothing.
func New(cfg Config) *Watcher {
	if cfg.PingTimeout <= 0 {
		cfg.PingTimeout = awa.DefaultPingTimeout
	}
	if cfg.Retry <= 0 {
		cfg.Retry = DefaultRetry
	}
	if cfg.Watch <= 0 {
		cfg.Watch = awa.DefaultWatch
	}
	if cfg.InFlight <= 0 {
		cfg.InFlight = DefaultInFlight
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.Busy == nil {
		cfg.Busy = processors.busy
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	most, second := max(maxOpen, cfg.InFlight), maxSecond
	if cfg.MaxOpen > 0 {
		most, second = cfg.MaxOpen, cfg.MaxOpen
		cfg.InFlight = min(cfg.InFlight, cfg.MaxOpen)
	}
	w := &Watcher{
		cfg:       cfg,
		permits:   make(chan struct{}, cfg.InFlight),
		open:      make(chan struct{}, most),
		second:    make(chan struct{}, second),
		probes:    make(chan struct{}, maxProbes),
		sightings: map[uint64]*sighting{},
		pending:   newPendingWrites(),
	}
	w.recall()
	return w
}

// Result is what one sweep saw.
type Result struct {
	At    time.Time // when it began
	Took  time.Duration
	Nodes []awa.NodeStatus // by node id; must not be modified
	// Pinged is how many of the nodes this agent has pinged itself.
	Pinged int
	// Isolated reports whether this agent reached no other one, though there are some.
	Isolated bool
	// Short, when not nil, says that nodes could not be looked at since this
	// agent lacks something (awa.ErrShortage). Of those nothing is known, and
	// Nodes must not be shown to anybody.
	Short error
}

// Sweep pings every node of the list at once, asks other agents about those
// that failed, and returns one status for each, by id. It takes at most 2.2 times
// the time of one ping, however many nodes are dead; twice that when the
// process came to a standstill meanwhile and had to begin again. When ctx ends
// early, so does the sweep: the nodes that it has learned nothing of are then
// offline with a zero Since, and don't count as seen.
func (w *Watcher) Sweep(ctx context.Context) []awa.NodeStatus {
	return w.sweepAndNote(ctx, scope{}).Nodes
}

// sweepAndNote is one sweep with all that belongs to it.
func (w *Watcher) sweepAndNote(ctx context.Context, of scope) Result {
	at := w.cfg.Clock()
	began := time.Now()
	s, late := w.round(ctx, of)
	if late > 0 {
		w.cfg.Log.Info("this agent stood still in the middle of a sweep, and sweeps again before it blames anybody", "late",
			late.Round(time.Millisecond))
		s, _ = w.round(ctx, of)
	}
	all := s.everyone()
	setBehind(s.out, all, s.ours)
	w.note(s)
	return Result{At: at, Took: time.Since(began), Nodes: s.known(), Pinged: s.pinged(), Isolated: isolated(all, s.ours),
		Short: s.shortage()}
}

// round makes a sweep. late is not 0 when nodes failed and the process itself
// may be to blame; nobody else was asked then.
func (w *Watcher) round(ctx context.Context, of scope) (s *sweep, late time.Duration) {
	s = newSweep(ctx, w)
	s.limit(of)
	p := w.startPulse()
	defer p.stop()
	if s.isShare() {
		s.runShare()
		defer s.tell()
	} else {
		s.run()
	}
	s.excuseSelf()
	if s.wellAnswered() {
		return s, 0
	}
	if late = p.lateness(); late < w.tooLate() {
		s.askOthers()
		late = p.lateness()
	}
	if late < w.tooLate() || ctx.Err() != nil {
		return s, 0
	}
	return s, late
}

// wellAnswered reports whether no node failed.
func (s *sweep) wellAnswered() bool {
	return !slices.ContainsFunc(s.out, func(st awa.NodeStatus) bool { return st.Verdict != awa.Online && st.Verdict != "" })
}

// Shared is Sweep for callers of which a thousand may come at once: whoever
// asks while such a sweep is under way gets what that one sees. state is that
// of the node list, so that nobody who has just changed the list gets a sweep
// of the one before. within is for how long the caller waits, 0 for however long a sweep
// takes: the nodes that can't be pinged before are awa.Unjudged.
func (w *Watcher) Shared(state uint64, within time.Duration) Result {
	within = within.Truncate(100 * time.Millisecond) // so that callers alike share a sweep
	if within >= longSweep*w.cfg.PingTimeout {
		within = 0
	}
	key := fmt.Sprint(state, " within ", within)
	v, _, _ := w.shared.Do(key, func() (any, error) {
		// Not one caller's context, whose end would cut short the others'. A
		// sweep ends soon by itself.
		return w.sweepAndNote(context.Background(), scope{within: within}), nil
	})
	return v.(Result)
}

// Run sweeps in the background until ctx ends, at once and then every
// Config.Watch, see interval. It returns nil, after all that it started has
// ended.
func (w *Watcher) Run(ctx context.Context) error {
	var keeper sync.WaitGroup
	keeper.Go(func() { w.writePending(ctx) })
	defer keeper.Wait()
	defer w.expect(time.Time{})
	for {
		began := time.Now()
		w.expect(began)
		l := w.sweepAndNote(ctx, scope{known: w.knownOpinion, share: true})
		if ctx.Err() != nil {
			return nil
		}
		w.keepResult(l)
		w.checkReached(ctx, l)
		if w.cfg.Swept != nil && l.Short == nil {
			w.cfg.Swept(l)
		}

		next := began.Add(interval(w.cfg.Watch, l.Pinged, w.cfg.Kept, rand.Float64()))
		w.expect(next)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Until(next)):
		}
	}
}

// keepResult keeps what a background sweep saw. One that could not look at every
// node leaves what the one before it saw.
func (w *Watcher) keepResult(l Result) {
	w.mu.Lock()
	before := w.short
	if w.short = l.Short; l.Short == nil {
		w.last, w.sees, w.ailing = l, missing(l.Nodes), ailing(l.Nodes)
	}
	w.mu.Unlock()
	switch {
	case l.Short != nil && before == nil:
		w.cfg.Log.Warn("this agent could not look at all nodes, and keeps to what it knew of them", "error", l.Short)
	case l.Short == nil && before != nil:
		w.cfg.Log.Info("this agent could look at all nodes again")
	}
}

// Shortage says that the last background sweep could not look at every node,
// with awa.ErrShortage; nil when it could, and before the end of the first.
func (w *Watcher) Shortage() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.short
}

// expect notes when a background sweep begins; the zero time is never.
func (w *Watcher) expect(began time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.due = began
	if !began.IsZero() {
		w.due = began.Add(5 * w.cfg.PingTimeout) // see Sweep
		if w.cfg.MaxOpen > 0 {
			w.due = w.due.Add(slowSweep * w.cfg.PingTimeout)
		}
	}
}

// Overdue returns for how long a background sweep should have been over, 0 when
// none is late. A machine that stood still, or is too busy, makes them late;
// one that stays so has come to a standstill itself.
func (w *Watcher) Overdue() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.due.IsZero() {
		return 0
	}
	return max(0, time.Since(w.due))
}

// Last returns what the last background sweep saw that could look at every node,
// the zero Result before the end of the first.
func (w *Watcher) Last() Result {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last
}

// interval is the time from the start of a background sweep of n nodes, to kept
// of which a connection is open, to the start of the next. random, in [0,1),
// keeps agents that were started together from sweeping together. A list that
// is empty is that of a new cluster, whose first agent is just about to stand on
// it.
func interval(every time.Duration, n, kept int, random float64) time.Duration {
	if n == 0 {
		return min(every, time.Second)
	}
	cost := n
	if kept > 0 && n > kept {
		cost += (n - kept) * (coldPing - 1)
	}
	// The shortest jittered interval, nine tenths, must keep the rate too.
	slowest := time.Duration(cost) * time.Second / pingsPerSecond * 10 / 9
	return time.Duration(float64(max(every, slowest)) * (0.9 + 0.2*random))
}
