package replica

import (
	"context"
	"errors"
	"fmt"
	"time"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/consensus"
)

// catchUpFirst is for an only voter that is started: its disk may be older than it
// was, and then the others hold what was decided since. It would assign the
// same ids to other changes. So it asks all agents of its list, and where one holds
// more of the same list, it takes that as decided before it leads.
func (r *Replica) catchUpFirst(ctx context.Context) error {
	m := r.list.Meta()
	if len(m.Voters.UIDs) != 1 || m.Voters.UIDs[0] != r.uid {
		return nil
	}
	addr, ahead := r.furthestList(ctx)
	if addr == "" {
		return nil
	}
	before := r.list.State()
	for r.list.State() < ahead.State {
		asking, cancel := context.WithTimeout(ctx, syncTimeout)
		set, err := r.cfg.Peers.Sync(asking, addr, r.list.Position(), page)
		cancel()
		if err == nil && len(set.Changes) > 0 {
			err = r.list.Apply(set.Changes)
		}
		if errors.Is(err, awa.ErrDiverged) {
			return nil // this agent is the majority, and the other one follows
		}
		if err != nil || len(set.Changes) == 0 {
			r.log.Warn("an agent holds more of the list than this only voter, and could not send all of it", "from", addr,
				"its_state", ahead.State, "state", r.list.State(), "error", err)
			break
		}
	}
	state := r.list.State()
	if state == before {
		return nil
	}
	r.log.Error("the data folder of this only voter was older than the list that another agent holds, as after a "+
		"rollback: it took over what it lacked", "from", addr, "state", before, "now", state)
	if err := consensus.Rebootstrap(r.list, r.cfg.Dir, m.History); err != nil {
		return fmt.Errorf("begin Raft's log: %w", err)
	}
	return nil
}

// furthestList asks all agents of the list for theirs, and returns the answer and
// the address of the one that is furthest ahead, "" when none is ahead of this one.
func (r *Replica) furthestList(ctx context.Context) (addr string, most awa.Self) {
	var uids []string
	for _, n := range r.list.Nodes() {
		uids = append(uids, n.UID)
	}
	most.State = r.list.State()
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	for _, self := range (voters{r}).Ask(ctx, true, uids...) {
		if self.State > most.State && self.Digest != (awa.Digest{}) {
			most = self
		}
	}
	if most.UID == "" {
		return "", most
	}
	addr, _ = r.listed(most.UID)
	return addr, most
}
