package replica

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sync/semaphore"

	"are-we-alive/pkg/awa"
)

// recall is for an only voter that is started: its disk may be older than it
// was, and then the others hold what was decided since. It would give the same
// ids to other changes. So it asks all agents of its list, and where one holds
// more of the same list, it takes that as decided before it leads.
func (r *Replica) recall(ctx context.Context) error {
	m := r.list.Meta()
	if len(m.Voters.UIDs) != 1 || m.Voters.UIDs[0] != r.uid {
		return nil
	}
	addr, ahead := r.furthestList(ctx)
	if addr == "" {
		return nil
	}
	state, digest := r.list.Position()
	before := state
	for state < ahead.State {
		asking, cancel := context.WithTimeout(ctx, syncTimeout)
		set, err := r.cfg.Peers.Sync(asking, addr, awa.Position{State: state, Digest: digest}, page)
		cancel()
		if err == nil && len(set.Changes) > 0 {
			err = r.list.Apply(set.Changes)
		}
		if errors.Is(err, awa.ErrDiverged) {
			return nil // this agent is the majority, and the other one follows
		}
		if err != nil || len(set.Changes) == 0 {
			r.log.Warn("an agent holds more of the list than this only voter, and could not give all of it", "from", addr, "its_state", ahead.State, "state", state, "error", err)
			break
		}
		state, digest = r.list.Position()
	}
	if state == before {
		return nil
	}
	r.log.Error("the data folder of this only voter was older than the list that another agent holds, as after a rollback: it took over what it lacked", "from", addr, "state", before, "now", state)
	if err := beginAnew(r.list, r.cfg.Dir, m.History); err != nil {
		return fmt.Errorf("begin Raft's log: %w", err)
	}
	return nil
}

// furthestList asks all agents of the list for theirs, and returns the one that
// is furthest ahead of this agent's, "" when none is.
func (r *Replica) furthestList(ctx context.Context) (addr string, most awa.Self) {
	m := r.list.Meta()
	most.State = r.list.State()
	var all sync.WaitGroup
	var mu sync.Mutex
	few := semaphore.NewWeighted(pushesInFlight)
	for _, n := range r.list.Nodes() {
		if n.UID == "" || n.UID == r.uid || few.Acquire(ctx, 1) != nil {
			continue
		}
		all.Go(func() {
			defer few.Release(1)
			self, err := r.ping(ctx, n.Addr())
			if err != nil || self.UID != n.UID || self.Cluster != m.Cluster || self.History != m.History || self.Digest == (awa.Digest{}) {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			if self.State > most.State {
				addr, most = n.Addr(), self
			}
		})
	}
	all.Wait()
	return addr, most
}

// lookLevel notes when this agent's log has come as far as those of the other
// voters that answer, so that it need not ask them before it votes any more. It
// counts as level once it leads, or hears from a leader and lacks nothing.
func (o *order) lookLevel() {
	r := o.running()
	o.mu.RLock()
	trans := o.trans
	o.mu.RUnlock()
	if r == nil || trans == nil || trans.level.Load() || !o.votes(r) {
		return
	}
	if r.LastContact().IsZero() && !o.isLeader() || o.furthest().after(o.last()) {
		return
	}
	trans.level.Store(true)
}
