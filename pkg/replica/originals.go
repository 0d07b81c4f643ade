package replica

import (
	"context"
	"sync"

	"are-we-alive/pkg/awa"
)

// Servers of the original program have no uid and ask for nothing: they take each
// change in its turn, by a push. The leader of a cluster without a key hands them what
// they lack.

// originals are those that answered a ping lately.
type originals struct {
	mu     sync.Mutex
	states map[string]uint64 // by address: the state that each said it has
	wake   chan struct{}     // capacity 1: one lacks something
}

// maxOriginals bounds how many are known.
const maxOriginals = 1000

// original notes that a server of the original program answered at an address.
func (s *replicator) original(addr string, state uint64) {
	if s.originals.note(addr, state); state < s.list.State() {
		s.originals.lack()
	}
}

// note keeps the state of a server.
func (o *originals) note(addr string, state uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, known := o.states[addr]; !known && len(o.states) >= maxOriginals {
		clear(o.states)
	}
	o.states[addr] = state
}

// lack wakes pushToOriginals: a server lacks something.
func (o *originals) lack() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// current returns the originals that nodes of the list without a uid stand for.
func (o *originals) current(nodes []awa.Node) map[string]uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	all := map[string]uint64{}
	for _, n := range nodes {
		if state, ok := o.states[n.Addr()]; ok && n.UID == "" {
			all[n.Addr()] = state
		}
	}
	return all
}

// pushToOriginals hands the originals what they lack, whenever one says so and when
// the list has grown, until ctx ends.
func (s *replicator) pushToOriginals(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.originals.wake:
		}
		if !s.isLeader() {
			continue
		}
		for addr, state := range s.originals.current(s.list.Nodes()) {
			s.pushEach(ctx, addr, state)
		}
	}
}

// pushEach pushes the changes after a state in their order, until one is refused.
func (s *replicator) pushEach(ctx context.Context, addr string, state uint64) {
	for until := s.list.State(); state < until && ctx.Err() == nil; state++ {
		changes, err := s.list.Changes(state, 1)
		if err != nil || len(changes) == 0 {
			return
		}
		within, cancel := context.WithTimeout(ctx, s.timeout)
		err = s.peers.Push(within, addr, changes[0])
		cancel()
		if err != nil {
			s.log.Debug("push to a server of the original program failed", "to", addr, "change", changes[0].ID, "error", err)
			return
		}
		s.originals.note(addr, changes[0].ID)
	}
}
