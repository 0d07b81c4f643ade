package replica

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"are-we-alive/pkg/awa"
)

// replicator carries decided changes to where they are missing: the leader pushes
// them to everybody, and whoever hears that another agent is ahead asks it.
type replicator struct {
	list     List
	peers    Peers
	log      *slog.Logger
	uid      string
	isLeader func() bool
	seen     func(uid string) (Seen, bool)
	leader   func() string                           // the leader's address, "" when it is not known
	offline  func() bool                             // the leader was so when this agent looked
	accept   func(changes []awa.Change) (int, error) // returns how many of them the list holds now
	diverged func()                                  // the list contradicts that of an agent that was asked
	timeout  time.Duration                           // of one push
	inFlight *semaphore.Weighted

	wake chan struct{} // capacity 1: there are hints

	mu    sync.Mutex
	busy  map[string]bool      // addresses with a push under way
	hints map[string]uint64    // address → the state that it is said to hold
	idle  map[string]time.Time // addresses that were asked and had nothing, or did not answer

	originals originals
}

const (
	// maxHints bounds how many agents are known to be ahead at a time.
	maxHints = 16
	// idleFor is how long an agent is not asked again that was said to be ahead
	// and had nothing, or did not answer. The leader is always asked.
	idleFor = 10 * time.Second
	// hedge is how long one agent is waited for before the next is asked too.
	hedge = 2 * time.Second
)

// page is how many changes are asked for, or read, at a time.
const page = 4096

// pushesInFlight bounds how many pushes are under way at a time.
const pushesInFlight = 64

func newReplicator(cfg Config, uid string, isLeader func() bool) *replicator {
	return &replicator{
		list: cfg.List, peers: cfg.Peers, log: cfg.Log, uid: uid, isLeader: isLeader, seen: cfg.Seen,
		timeout:  cfg.Timing.Push,
		inFlight: semaphore.NewWeighted(pushesInFlight),
		wake:     make(chan struct{}, 1), busy: map[string]bool{}, hints: map[string]uint64{}, idle: map[string]time.Time{},
		leader:    func() string { return "" },
		offline:   func() bool { return false },
		accept:    func(changes []awa.Change) (int, error) { return len(changes), cfg.List.Apply(changes) },
		diverged:  func() {},
		originals: originals{states: map[string]uint64{}, wake: make(chan struct{}, 1)},
	}
}

// behind notes that another agent is ahead of this one. It never blocks.
func (s *replicator) behind(addr string, state uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if at, ok := s.idle[addr]; ok && time.Since(at) < idleFor && addr != s.leader() {
		return
	}
	if _, known := s.hints[addr]; !known && len(s.hints) >= maxHints {
		return
	}
	s.hints[addr] = state
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// decidedBy notes that another agent answered an edit of this one with a change, whatever
// it was asked in vain before.
func (s *replicator) decidedBy(addr string, id uint64) {
	s.mu.Lock()
	delete(s.idle, addr)
	s.mu.Unlock()
	s.behind(addr, id)
}

// sources are the agents to ask, the leader first: nobody can be ahead of it. It
// comes last where it was seen offline.
func (s *replicator) sources() []string {
	leader, offline := s.leader(), s.offline()
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	if leader != "" && !offline {
		all = append(all, leader)
	}
	ahead := false
	for addr, state := range s.hints { // in random order
		if state > s.list.State() {
			ahead = true
			if addr != leader {
				all = append(all, addr)
			}
		}
	}
	clear(s.hints)
	if leader != "" && offline {
		all = append(all, leader)
	}
	if !ahead {
		return nil
	}
	return all
}

// gaveNothing notes that an agent was asked in vain.
func (s *replicator) gaveNothing(addr string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for other, at := range s.idle {
		if time.Since(at) >= idleFor {
			delete(s.idle, other)
		}
	}
	if len(s.idle) < 64*maxHints {
		s.idle[addr] = time.Now()
	}
}

// run pushes and syncs until ctx ends.
func (s *replicator) run(ctx context.Context) error {
	var all sync.WaitGroup
	defer all.Wait()
	all.Go(func() { s.push(ctx) })
	all.Go(func() { s.pushToOriginals(ctx) })
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.wake:
			s.catchUp(ctx, s.sources())
		}
	}
}

// catchUp asks agents for what is missing here, one after the other, until one
// has brought something. One that keeps this agent waiting does not keep it
// from asking the next.
func (s *replicator) catchUp(ctx context.Context, sources []string) {
	ctx, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	done := make(chan bool, len(sources))
	under := 0
	for _, addr := range sources {
		all.Go(func() {
			n, err := s.sync(ctx, addr)
			if err != nil && ctx.Err() == nil {
				s.log.Warn("sync failed, the next ping tries again", "from", addr, "error", err)
			}
			if n == 0 && ctx.Err() == nil {
				s.gaveNothing(addr)
			}
			done <- n > 0 || err == nil && addr == s.leader()
		})
		under++
		next := time.NewTimer(hedge)
		select {
		case got := <-done:
			under--
			if got {
				next.Stop()
				return
			}
		case <-next.C:
		case <-ctx.Done():
		}
		next.Stop()
	}
	for ; under > 0; under-- {
		if <-done {
			return
		}
	}
}

// sync asks an agent for what is missing here until it has no more, and returns
// how much that was. A leader holds everything that was decided already, or is
// about to by itself.
func (s *replicator) sync(ctx context.Context, addr string) (total int, err error) {
	for !s.isLeader() {
		n, more, err := s.syncPage(ctx, addr)
		total += n
		if err != nil || n == 0 || !more {
			return total, err
		}
	}
	return total, nil
}

// syncTimeout bounds the fetching of one page of changes.
const syncTimeout = 10 * time.Second

// syncPage fetches one page and returns how many changes the list took of it,
// and whether the agent says that it has more.
func (s *replicator) syncPage(ctx context.Context, addr string) (n int, more bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, syncTimeout)
	defer cancel()
	since := s.list.Position()
	got, err := s.peers.Sync(ctx, addr, since, page)
	if err != nil {
		if errors.Is(err, awa.ErrDiverged) {
			s.diverged()
		}
		return 0, false, err
	}
	m := s.list.Meta()
	if got.Cluster != m.Cluster || got.History != m.History {
		return 0, false, awa.Faultf(awa.ErrOtherHistory, "the agent holds the list of cluster %s, history %s; this one "+
			"that of cluster %s, history %s", got.Cluster, got.History, m.Cluster, m.History)
	}
	if len(got.Changes) == 0 {
		return 0, false, nil
	}
	n, err = s.accept(got.Changes)
	return n, since.State+uint64(n) < got.State, err
}

// push sends the newest change to every node whenever the list has grown and
// this agent leads. Who lacks one before it asks for it then, so nothing
// needs to be queued.
func (s *replicator) push(ctx context.Context) {
	var all sync.WaitGroup
	defer all.Wait()
	for at := s.list.State(); ; {
		if s.list.Wait(ctx, at+1) != nil {
			return
		}
		at = s.list.State()
		if !s.isLeader() {
			continue
		}
		s.originals.lack()
		for _, n := range s.list.Nodes() {
			if seen, ok := s.seen(n.UID); ok && !seen.Online {
				continue // it will ask when it is back
			}
			if n.UID == s.uid || n.UID == "" || !s.begin(n.Addr()) {
				continue
			}
			if s.inFlight.Acquire(ctx, 1) != nil {
				s.end(n.Addr())
				return
			}
			all.Go(func() {
				defer s.inFlight.Release(1)
				s.pushTo(ctx, n.Addr())
			})
		}
	}
}

// begin marks an address as busy; false when it was already: the push under
// way goes on to the newest change by itself.
func (s *replicator) begin(addr string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy[addr] {
		return false
	}
	s.busy[addr] = true
	return true
}

func (s *replicator) end(addr string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.busy, addr)
}

// done marks an address as free, unless the list has grown past sent.
func (s *replicator) done(addr string, sent uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sent < s.list.State() && s.isLeader() {
		return false
	}
	delete(s.busy, addr)
	return true
}

// pushTo pushes the newest change, again while newer ones come in.
func (s *replicator) pushTo(ctx context.Context, addr string) {
	for sent := uint64(0); !s.done(addr, sent); {
		err := s.pushNewest(ctx, addr, &sent)
		if err != nil && !errors.Is(err, awa.ErrGap) {
			s.log.Debug("push failed, the node will ask by itself", "to", addr, "change", sent, "error", err)
			s.end(addr)
			return
		}
	}
}

func (s *replicator) pushNewest(ctx context.Context, addr string, sent *uint64) error {
	newest, err := s.list.Changes(s.list.State()-1, 1)
	if err != nil {
		return err
	}
	*sent = newest[0].ID
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	return s.peers.Push(ctx, addr, newest[0])
}
