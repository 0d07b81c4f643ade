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

// spread carries decided changes to where they are missing: the leader pushes
// them to everybody, and whoever hears that another agent is ahead asks it.
type spread struct {
	list     List
	peers    Peers
	log      *slog.Logger
	uid      string
	isLeader func() bool
	seen     func() map[string]Seen
	timeout  time.Duration // of one push
	inFlight *semaphore.Weighted

	ahead chan hint // capacity 1: the newest hint that somebody is ahead

	mu   sync.Mutex
	busy map[string]bool // addresses with a push under way
}

// hint says that an agent holds a state.
type hint struct {
	addr  string
	state uint64
}

// pushesInFlight bounds how many pushes are under way at a time.
const pushesInFlight = 64

func newSpread(cfg Config, uid string, isLeader func() bool) *spread {
	return &spread{
		list: cfg.List, peers: cfg.Peers, log: cfg.Log, uid: uid, isLeader: isLeader, seen: cfg.Seen, timeout: cfg.Timing.Push,
		inFlight: semaphore.NewWeighted(pushesInFlight),
		ahead:    make(chan hint, 1), busy: map[string]bool{},
	}
}

// behind notes that another agent is ahead of this one. It never blocks.
func (s *spread) behind(addr string, state uint64) {
	for {
		select {
		case s.ahead <- hint{addr, state}:
			return
		case old := <-s.ahead:
			if old.state > state {
				addr, state = old.addr, old.state
			}
		}
	}
}

// run pushes and syncs until ctx ends.
func (s *spread) run(ctx context.Context) error {
	var all sync.WaitGroup
	defer all.Wait()
	all.Go(func() { s.push(ctx) })
	for {
		select {
		case <-ctx.Done():
			return nil
		case h := <-s.ahead:
			if err := s.sync(ctx, h); err != nil && ctx.Err() == nil {
				s.log.Warn("sync failed, the next ping tries again", "from", h.addr, "state", h.state, "error", err)
			}
		}
	}
}

// sync asks an agent for what is missing here. A leader holds everything that
// was decided already, or is about to by itself.
func (s *spread) sync(ctx context.Context, h hint) error {
	for h.state > s.list.State() && !s.isLeader() {
		n, err := s.syncPage(ctx, h.addr)
		if err != nil || n == 0 {
			return err
		}
	}
	return nil
}

// syncTimeout bounds the fetching of one page of changes.
const syncTimeout = 10 * time.Second

func (s *spread) syncPage(ctx context.Context, addr string) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, syncTimeout)
	defer cancel()
	got, err := s.peers.Sync(ctx, addr, s.list.State(), page)
	if err != nil {
		return 0, err
	}
	m := s.list.Meta()
	if got.Cluster != m.Cluster || got.History != m.History {
		return 0, fault(awa.ErrOtherHistory, "the agent holds the list of cluster %s, history %s; this one that of cluster %s, history %s", got.Cluster, got.History, m.Cluster, m.History)
	}
	if len(got.Changes) == 0 {
		return 0, nil
	}
	return len(got.Changes), s.list.Apply(got.Changes)
}

// push sends the newest change to every node whenever the list has grown and
// this agent leads. Who lacks one before it asks for it then, so nothing
// needs to be queued.
func (s *spread) push(ctx context.Context) {
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
		seen := s.seen()
		for _, n := range s.list.Nodes() {
			if look, ok := seen[n.UID]; ok && !look.Online {
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
func (s *spread) begin(addr string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy[addr] {
		return false
	}
	s.busy[addr] = true
	return true
}

func (s *spread) end(addr string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.busy, addr)
}

// done marks an address as free, unless the list has grown past sent.
func (s *spread) done(addr string, sent uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sent < s.list.State() && s.isLeader() {
		return false
	}
	delete(s.busy, addr)
	return true
}

// pushTo pushes the newest change, again while newer ones come in.
func (s *spread) pushTo(ctx context.Context, addr string) {
	for sent := uint64(0); !s.done(addr, sent); {
		err := s.pushNewest(ctx, addr, &sent)
		if err != nil && !errors.Is(err, awa.ErrGap) {
			s.log.Debug("push failed, the node will ask by itself", "to", addr, "change", sent, "error", err)
			s.end(addr)
			return
		}
	}
}

func (s *spread) pushNewest(ctx context.Context, addr string, sent *uint64) error {
	newest, err := s.list.Changes(s.list.State()-1, 1)
	if err != nil {
		return err
	}
	*sent = newest[0].ID
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	return s.peers.Push(ctx, addr, newest[0])
}
