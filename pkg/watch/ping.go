package watch

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"are-we-alive/pkg/awa"
)

// sweep is one ping to every node. Each ping has a goroutine, and begins once it has a
// permit. A ping that is slow returns its permit and waits on without it, so that dead
// nodes don't hold up the others.
type sweep struct {
	w     *Watcher
	ctx   context.Context
	began time.Time // before the list was read
	due   time.Time // when not zero, the sweep must be over then
	last  time.Time // when not zero, no ping begins later
	ends  time.Time // when not zero, no ping lasts longer
	ours  awa.Self
	of    scope
	nodes []awa.Node

	short atomic.Pointer[error] // why some nodes could not be looked at

	// One element for each node, written by its ping.
	out      []awa.NodeStatus // Verdict stays empty when nothing was learned
	pings    []time.Time      // when each ping began; zero without one
	opinions []opinion        // of others; zero when nobody was asked
}

func newSweep(ctx context.Context, w *Watcher) *sweep {
	began := time.Now()
	nodes := w.cfg.Nodes()
	s := &sweep{w: w, ctx: ctx, began: began, ours: w.cfg.Self()}
	s.setNodes(nodes)
	return s
}

// setNodes makes these nodes the ones to ping.
func (s *sweep) setNodes(nodes []awa.Node) {
	n := len(nodes)
	s.nodes = nodes
	s.out, s.pings, s.opinions = make([]awa.NodeStatus, n), make([]time.Time, n), make([]opinion, n)
}

// indices are those of the nodes for which f holds.
func (s *sweep) indices(f func(i int) bool) []int {
	var all []int
	for i := range s.nodes {
		if f(i) {
			all = append(all, i)
		}
	}
	return all
}

// run returns when all nodes are pinged, or ctx ended, and no goroutine of
// the sweep is left.
func (s *sweep) run() {
	s.ping(s.indices(func(int) bool { return true }))
}

// ping pings some nodes, by their indices, as run does.
func (s *sweep) ping(nodes []int) {
	s.pingAll(nodes)
	for _, i := range nodes {
		if st := &s.out[i]; st.Verdict == "" {
			st.Node, st.Verdict, st.Error = s.nodes[i], awa.Unjudged, "no time was left for it"
		}
	}
}

// pingAll begins with few permits. Each one that comes back brings another one with it, so
// that their number doubles in the time of one ping, unless this process is busy: then
// more of them would make all pings later, and none of them sooner.
//
// A permit is how long its ping may hold it.
func (s *sweep) pingAll(nodes []int) {
	most := s.w.cfg.InFlight
	granted := min(most, firstPermits)
	free, permit := granted, s.w.permitTime()
	returned := make(chan time.Duration, most)
	ctx := s.ctx // in which pings begin
	if !s.last.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, s.last)
		defer cancel()
	}
	var pings sync.WaitGroup
	defer pings.Wait()
	for _, i := range nodes {
		if free == 0 {
			select {
			case permit = <-returned:
				free++
			case <-ctx.Done():
				return
			}
			if granted < most && !s.w.cfg.Busy() {
				granted++
				free++
			}
		}
		if s.tooSlow() {
			s.lacks(awa.Faultf(awa.ErrShortage, "%d pings at once, which is what its limit of open files leaves, were too few "+
				"for %d nodes, some of which do not answer: raise the limit, with LimitNOFILE= in its systemd unit or "+
				"ulimit -n in its shell", s.w.cfg.MaxOpen, len(nodes)))
			return
		}
		if !s.w.acquire(ctx) {
			return
		}
		free--
		hold := permit
		pings.Go(func() {
			defer func() { <-s.w.open }()
			s.pingOne(i, hold, func(next time.Duration) {
				<-s.w.permits
				returned <- next
			})
		})
	}
}

// acquire waits until one more ping may be under way, over all sweeps. It reports false
// when ctx ended first.
func (w *Watcher) acquire(ctx context.Context) bool {
	if ctx.Err() != nil { // else select may choose either
		return false
	}
	select {
	case w.open <- struct{}{}:
	case <-ctx.Done():
		return false
	}
	select {
	case w.permits <- struct{}{}:
		return true
	case <-ctx.Done():
		<-w.open
		return false
	}
}

// permitTime is how long a ping may hold a permit when the ping before it was
// answered. It ends before the second attempt starts.
func (w *Watcher) permitTime() time.Duration { return min(permitTime, w.cfg.Retry) }

// shorter returns how long a ping may hold a permit when the ping before it was
// slow. Dead nodes in a row so pass ever faster, and a thousand of them cost little more
// than one.
func (w *Watcher) shorter(permit time.Duration) time.Duration {
	return max(permit/2, w.permitTime()/64)
}

// ping is the ping of one node: one attempt, and a second one beside it when the first is
// slow, or after it when the connection broke. A ping that waits for its answer is one
// goroutine, or two: thousands wait at once when a network is cut.
type ping struct {
	s       *sweep
	i       int
	began   time.Time
	time    time.Duration   // that it has
	ctx     context.Context // ends with the time of the ping
	hold    time.Duration   // the permit, at most
	release func(next time.Duration)

	mu     sync.Mutex // guards what follows, which slow shares with pingOne
	timer  *time.Timer
	held   bool         // the permit
	first  bool         // the first attempt has ended
	second chan attempt // of the second one; nil as long as none was begun
	over   bool
}

// pingOne pings node i, and writes down what it found. It calls release once, with how long
// the next ping may hold the permit: when it has held the permit for long enough, or has
// ended. While this process is busy it does neither that nor a second attempt, since the
// answer may only be waiting for a processor.
func (s *sweep) pingOne(i int, hold time.Duration, release func(next time.Duration)) {
	p := &ping{s: s, i: i, began: time.Now(), time: s.w.cfg.PingTimeout, hold: hold, release: release, held: true}
	s.pings[i] = p.began
	if !s.ends.IsZero() {
		p.time = max(min(p.time, s.ends.Sub(p.began)), 0)
	}
	ctx, cancel := context.WithDeadline(s.ctx, p.began.Add(p.time))
	defer cancel()
	p.ctx = ctx
	p.mu.Lock()
	p.timer = time.AfterFunc(hold, func() { p.slow(cancel) })
	p.mu.Unlock()

	best := p.try(false)
	if best.err == nil {
		cancel() // the other attempt need not wait any longer
	}
	if second := p.secondAfter(best); second != nil {
		best = better(best, <-second)
	}
	p.conclude(best)

	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
	p.timer.Stop()
	if p.held {
		release(s.w.permitTime())
	}
}

// slow is called once the ping has held its permit for as long as it may, and then when it is
// time for the second attempt, which it makes. cancel ends the first one.
func (p *ping) slow(cancel context.CancelFunc) {
	if !p.beginsSecond() {
		return
	}
	a := p.try(true)
	<-p.s.w.second
	if a.err == nil {
		cancel()
	}
	p.second <- a
}

// beginsSecond does what is due, and reports whether that is the second attempt.
func (p *ping) beginsSecond() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := p.s.w
	switch {
	case p.over, !p.held && (p.first || p.second != nil):
	case w.cfg.Busy():
		p.timer.Reset(w.permitTime() / 16)
	case p.held:
		p.held = false
		p.release(w.shorter(p.hold))
		p.timer.Reset(time.Until(p.began.Add(w.cfg.Retry)))
	default:
		select {
		case w.second <- struct{}{}:
			p.second = make(chan attempt, 1)
			return true
		default: // thousands of nodes are silent
			p.timer.Reset(w.permitTime())
		}
	}
	return false
}

// secondAfter returns where the second attempt comes from once the first one has ended, or nil
// without one.
func (p *ping) secondAfter(first attempt) chan attempt {
	p.mu.Lock()
	p.first = true
	begun := p.second
	p.mu.Unlock()
	if begun == nil && p.again(first) {
		begun = make(chan attempt, 1)
		begun <- p.try(true)
	}
	return begun
}

// again reports whether a second attempt is worth while although the first has
// failed already. A refused connection or an unknown host is an answer, and so
// is TLS that failed with a reason; a connection that broke may have been a kept
// one, or have waited at its agent's door, and the agent was started again.
func (p *ping) again(first attempt) bool {
	if first.err == nil || p.ctx.Err() != nil {
		return false
	}
	_, reason := errors.AsType[awa.Code](first.err)
	return first.stage == awa.StageReply || first.stage == awa.StageTLS && !reason
}

// try makes one attempt.
func (p *ping) try(fresh bool) attempt {
	start := time.Now()
	self, err := p.s.w.cfg.Pinger.Ping(p.ctx, p.s.nodes[p.i].Addr(), fresh)
	end := time.Now()
	a := attempt{err: err, end: end, at: p.s.w.cfg.Clock(), rtt: end.Sub(start)}
	if err == nil {
		who := self // on the heap, and only then
		a.self = &who
		return a
	}
	a.stage, a.text = explain(err)
	a.late = end.Sub(p.began) >= p.time
	return a
}

// conclude turns an attempt into the node's status.
func (p *ping) conclude(a attempt) {
	st := awa.NodeStatus{Node: p.s.nodes[p.i], Since: a.at, Stage: a.stage, Error: a.text}
	switch {
	case a.err == nil:
		p.answered(&st, a)
	case errors.Is(a.err, awa.ErrShortage):
		p.s.lacks(a.err)
		return // the node was not even asked
	case a.late && p.time < p.s.w.cfg.PingTimeout/4:
		return // so little time was left for it that silence proves nothing
	case a.late:
		st.Verdict = awa.Offline
		if a.stage != awa.StageResolve || !strings.HasPrefix(a.text, "name server ") { // which is named where it is known
			st.Error = "no answer within " + p.time.Round(time.Millisecond).String()
		}
	case p.s.cutShort(a.end):
		return // it failed because nobody wants to know any more
	default:
		st.Verdict = verdictOf(a.stage, a.err)
	}
	p.s.out[p.i] = st
}

// answered fills in the status of a node at whose address an agent answered.
func (p *ping) answered(st *awa.NodeStatus, a attempt) {
	if st.Error = stranger(&st.Node, a.self, p.s.ours.Cluster); st.Error != "" {
		st.Verdict, st.Stage, st.Self = awa.Mismatch, awa.StageReply, a.self
		return
	}
	st.Verdict, st.Self, st.RTT = awa.Online, a.self, a.rtt
	st.Skew, st.SkewError = skewOf(*a.self, a.at, a.rtt)
	if heard := p.s.w.cfg.Heard; heard != nil {
		heard(st.Node, *a.self)
	}
}

// cutShort reports whether the caller's time was over at a moment.
func (s *sweep) cutShort(at time.Time) bool {
	end, ok := s.ctx.Deadline()
	return s.ctx.Err() != nil || ok && !at.Before(end)
}
