package watch

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"are-we-alive/pkg/awa"
)

// sweep is one ping to every node. A few workers, one a lane, take the nodes
// from the front of the list; a worker whose ping is slow is replaced.
type sweep struct {
	w     *Watcher
	ctx   context.Context
	began time.Time // before the list was read
	ends  time.Time // when not zero, no ping lasts longer
	ours  awa.Self
	of    scope
	nodes []awa.Node

	short atomic.Pointer[error] // why some nodes could not be looked at

	next    atomic.Int64   // the first node that no worker has taken
	workers atomic.Int64   // those that have a lane or wait for one
	wg      sync.WaitGroup // workers and second attempts

	// One element for each node, written by its worker.
	out      []awa.NodeStatus // Verdict stays empty when nothing was learned
	selfs    []awa.Self       // what out[i].Self points to
	pings    []time.Time      // when each ping began
	opinions []opinion        // of others; zero when nobody was asked
}

func newSweep(ctx context.Context, w *Watcher) *sweep {
	began := time.Now()
	nodes := w.cfg.Nodes()
	s := &sweep{w: w, ctx: ctx, began: began, ours: w.cfg.Self()}
	s.take(nodes)
	return s
}

// take makes these nodes the ones to ping.
func (s *sweep) take(nodes []awa.Node) {
	n := len(nodes)
	s.nodes = nodes
	s.out, s.selfs = make([]awa.NodeStatus, n), make([]awa.Self, n)
	s.pings, s.opinions = make([]time.Time, n), make([]opinion, n)
}

// run returns when all nodes are pinged, or ctx ended, and no goroutine of
// the sweep is left.
func (s *sweep) run() {
	for range min(len(s.nodes), s.w.cfg.InFlight, firstWorkers) {
		s.startWorker(s.w.laneTime())
	}
	s.wg.Wait()
	for i := range s.out {
		if st := &s.out[i]; st.Verdict == "" {
			st.Node, st.Verdict, st.Error = s.nodes[i], awa.Offline, "not known: the sweep was cut short"
		}
	}
}

// startWorker may be called while another worker is not done, so that the
// WaitGroup is not at zero.
func (s *sweep) startWorker(patience time.Duration) {
	s.workers.Add(1)
	s.wg.Go(func() { s.work(patience) })
}

// grow starts one more worker. It is called after each ping, so that their
// number doubles in the time of one, unless this process is busy: then more of
// them would make all pings later, and none of them sooner.
func (s *sweep) grow(patience time.Duration) {
	if int(s.workers.Load()) < s.w.cfg.InFlight && int(s.next.Load()) < len(s.nodes) && !s.w.cfg.Busy() {
		s.startWorker(patience)
	}
}

// work pings one node after the other until there are no more, or until a
// ping is slow, lost its lane, and another worker was started in its place.
// patience is how long the first ping may hold the lane.
func (s *sweep) work(patience time.Duration) {
	if !s.enter() {
		s.workers.Add(-1)
		return
	}
	defer func() { <-s.w.open }()
	p := &ping{s: s}
	for s.ctx.Err() == nil {
		i := int(s.next.Add(1)) - 1
		if i >= len(s.nodes) {
			break
		}
		if s.tooSlow() {
			s.lacks(&awa.Fault{Code: awa.ErrShortage, Text: fmt.Sprintf("%d pings at once, which is what its limit of open files leaves, were too few for %d nodes, some of which do not answer: raise the limit, with LimitNOFILE= in its systemd unit or ulimit -n in its shell", s.w.cfg.MaxOpen, len(s.nodes))})
			break
		}
		if !p.run(i, patience) {
			return
		}
		patience = s.w.laneTime()
		s.grow(patience)
	}
	s.leave()
}

// leave gives a lane back.
func (s *sweep) leave() {
	s.workers.Add(-1)
	<-s.w.lanes
}

// enter takes a place and a lane; false means that ctx ended first.
func (s *sweep) enter() bool {
	select {
	case s.w.open <- struct{}{}:
	case <-s.ctx.Done():
		return false
	}
	select {
	case s.w.lanes <- struct{}{}:
		return true
	case <-s.ctx.Done():
		<-s.w.open
		return false
	}
}

// laneTime is how long a ping may hold a lane when the one before it there
// was answered. It ends before the second attempt starts.
func (w *Watcher) laneTime() time.Duration { return min(laneTime, w.cfg.Retry) }

// lessPatience is how long a ping may hold a lane when the one before it
// there was slow. Dead nodes in a row so pass ever faster, and a thousand of
// them cost little more than one.
func (w *Watcher) lessPatience(patience time.Duration) time.Duration {
	return max(patience/2, w.laneTime()/8)
}

// ping is the ping of one node. It lives in its worker's goroutine, which
// makes the first attempt, and has a clock beside it. While pings are quick
// one ping serves all nodes of a worker, and its clock never strikes.
type ping struct {
	s        *sweep
	clock    *time.Timer // runs strike
	i        int
	addr     string
	began    time.Time
	time     time.Duration // that it has
	patience time.Duration
	ctx      context.Context // ends with the time of the ping
	cancel   context.CancelFunc

	mu      sync.Mutex
	inLane  bool
	noMore  bool         // a second attempt must not be started any more
	done    bool         // the ping has ended
	running chan attempt // gives the second attempt that runs beside the first; nil when there is none
}

// run pings node i and writes down what it found. It tells whether it kept
// its lane.
func (p *ping) run(i int, patience time.Duration) bool {
	p.start(i, patience)
	first := p.try(p.began, false)
	p.mu.Lock()
	p.noMore = true
	running := p.running
	p.mu.Unlock()

	best := first
	switch {
	case running != nil:
		if first.err == nil {
			p.cancel()
			<-running
		} else {
			best = better(first, <-running)
		}
	case p.again(first):
		best = better(first, p.try(time.Now(), true))
	}
	p.cancel()
	p.conclude(best)

	p.mu.Lock()
	defer p.mu.Unlock()
	// The clock may strike yet. It then finds the ping done, or takes the
	// lane from the next one before its time, which does no harm.
	p.clock.Stop()
	p.done = true
	return p.inLane
}

func (p *ping) start(i int, patience time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.i, p.addr, p.patience = i, p.s.nodes[i].Addr(), patience
	p.began = time.Now()
	p.s.pings[i] = p.began
	if p.time = p.s.w.cfg.Timeout; !p.s.ends.IsZero() {
		p.time = max(min(p.time, p.s.ends.Sub(p.began)), 0)
	}
	p.ctx, p.cancel = context.WithDeadline(p.s.ctx, p.began.Add(p.time))
	p.inLane, p.noMore, p.done, p.running = true, false, false, nil
	if p.clock == nil {
		p.clock = time.AfterFunc(patience, p.strike)
	} else {
		p.clock.Reset(patience)
	}
}

// again tells whether a second attempt is worth while although the first has
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

// strike is called by the clock: first when the ping has held its lane for
// long enough, then when it is time for a second attempt. Both wait while this
// process is busy.
func (p *ping) strike() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.done {
		return
	}
	if p.s.w.cfg.Busy() {
		p.clock.Reset(p.s.w.laneTime() / 4)
		return
	}
	if p.inLane {
		p.inLane = false
		p.s.leave()
		if int(p.s.next.Load()) < len(p.s.nodes) {
			less := p.s.w.lessPatience(p.patience)
			p.s.startWorker(less)
			p.s.grow(less)
		}
		p.clock.Reset(time.Until(p.began.Add(p.s.w.cfg.Retry)))
		return
	}
	if p.noMore {
		return
	}
	running := make(chan attempt, 1)
	p.running = running
	p.s.wg.Go(func() {
		second := p.try(time.Now(), true)
		if second.err == nil {
			p.cancel() // the first attempt need not wait any longer
		}
		running <- second
	})
}

// try makes one attempt.
func (p *ping) try(start time.Time, fresh bool) attempt {
	self, err := p.s.w.cfg.Pinger.Ping(p.ctx, p.addr, fresh)
	end := time.Now()
	a := attempt{self: self, err: err, end: end, at: p.s.w.cfg.Now(), rtt: end.Sub(start)}
	if err != nil {
		a.stage, a.text = explain(err)
		a.late = end.Sub(p.began) >= p.time
	}
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
	case a.late && p.time < p.s.w.cfg.Timeout/4:
		return // so little time was left for it that silence tells nothing
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
	if st.Error = stranger(&st.Node, &a.self, p.s.ours.Cluster); st.Error != "" {
		st.Verdict, st.Stage, st.Self = awa.Mismatch, awa.StageReply, &p.s.selfs[p.i]
		p.s.selfs[p.i] = a.self
		return
	}
	p.s.selfs[p.i] = a.self
	st.Verdict, st.Self, st.RTT = awa.Online, &p.s.selfs[p.i], a.rtt
	st.Skew, st.SkewError = skewOf(a.self, a.at, a.rtt)
	if heard := p.s.w.cfg.Heard; heard != nil {
		heard(st.Node, a.self)
	}
}

// cutShort tells whether the caller's time was over at a moment.
func (s *sweep) cutShort(at time.Time) bool {
	end, ok := s.ctx.Deadline()
	return s.ctx.Err() != nil || ok && !at.Before(end)
}
