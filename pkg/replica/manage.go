package replica

import (
	"context"
	"maps"
	"slices"
	"time"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/consensus"
)

// manage keeps the right number of voters while this agent leads: each tick
// it takes one step, and lets all voters learn of it before the next.
func (r *Replica) manage(ctx context.Context) error {
	tick := time.NewTicker(r.cfg.Timing.Tick)
	defer tick.Stop()
	for last := ""; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-r.wakeManager:
		}
		if err := r.tend(ctx); err != nil && !r.raft.Disk.Failed(err) {
			return err
		}
		now := r.Leader()
		if now != "" {
			r.led.Store(time.Now().UnixNano())
		}
		if now != last {
			last = now
			r.logLeader(now)
		}
		for ctx.Err() == nil && r.IsLeader() {
			took, err := r.raft.ChangeVoters(ctx, r.agents())
			if err != nil && ctx.Err() == nil {
				r.log.Info("the voters could not be changed, trying again", "error", err)
			}
			if !took || err != nil {
				break
			}
		}
	}
}

// tend looks after this agent's own part in Raft.
func (r *Replica) tend(ctx context.Context) error {
	_, voters := r.claim()
	hinted := len(voters) > 0 && !slices.Contains(voters, r.uid)
	if err := r.raft.Maintain(ctx, hinted); err != nil {
		return err
	}
	if err := r.reconcile(ctx); err != nil {
		return err
	}
	return r.holdOrRelease()
}

func (r *Replica) logLeader(uid string) {
	if uid == "" {
		r.log.Warn("there is no leader: the list can't be edited until there is one")
		return
	}
	r.log.Info("the leader is known", "node", r.name(uid), "uid", uid)
}

// agents returns what this agent knows of those that are or may become voters.
func (r *Replica) agents() []consensus.Agent {
	all := map[string]consensus.Agent{}
	nodes := r.list.Nodes()
	// One that is removed when it is away must not be needed for a majority; but where
	// there are no others, such agents vote.
	others := slices.ContainsFunc(nodes, func(n awa.Node) bool {
		return n.Ephemeral == "" && n.UID != "" && (n.UID == r.uid || r.online(n.UID))
	})
	for _, n := range nodes {
		if n.UID == "" {
			continue
		}
		a := consensus.Agent{UID: n.UID, Listed: n.Ephemeral == "" || !others}
		if s, ok := r.cfg.Seen(n.UID); ok {
			a.Online, a.For = s.Online, s.For
			if s.Unfit > 0 { // it keeps no entry of the log
				a.Online, a.For = false, s.Unfit
			}
		}
		all[n.UID] = a
	}
	voters := r.list.Meta().Voters.UIDs
	for uid, s := range r.currentSuccessors() {
		all[uid] = consensus.Agent{
			UID: uid, Listed: true, Online: true, Successor: slices.Contains(voters, s.of),
			For: max(all[uid].For, r.cfg.Timing.Settle),
		}
	}
	return slices.Collect(maps.Values(all))
}
