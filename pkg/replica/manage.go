package replica

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/raft"

	"are-we-alive/pkg/awa"
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
		if err := r.tend(ctx); err != nil && !r.order.disk.failed(err) {
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
			took, err := r.manageOnce(ctx)
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
	if err := r.recoverDisk(); err != nil {
		return err
	}
	if err := r.retire(ctx); err != nil {
		return err
	}
	if err := r.reconcile(ctx); err != nil {
		return err
	}
	if err := r.holdOrRelease(); err != nil {
		return err
	}
	r.order.noteLevel()
	r.order.pace()
	return r.tidy()
}

// recoverDisk hands over the leadership while the disk takes no writes. Once it does
// again, Raft is restarted: an append that failed may have left it with another
// idea of its log than what is on the disk.
func (r *Replica) recoverDisk() error {
	again := r.order.disk.probe()
	switch {
	case again && !r.IsLeader():
		if err := r.order.stop(10 * time.Second); err != nil {
			return fmt.Errorf("stop Raft: %w", err)
		}
		return r.order.start()
	case r.order.disk.condition().Code != "" && r.IsLeader():
		r.order.handOver()
	}
	return nil
}

// tidy is what a leader does about a list that is not Raft's alone.
func (r *Replica) tidy() error {
	rf := r.order.running()
	if rf == nil {
		return nil
	}
	// The next voters get the list with a snapshot that has all of it: what was
	// learned by a program of before can't be made out of the log.
	if r.order.repaired.Load() && r.Leader() != "" && rf.AppliedIndex() > 0 {
		err := within(5*time.Second, rf.Snapshot())
		if err == nil || errors.Is(err, raft.ErrNothingNewToSnapshot) {
			r.order.repaired.Store(false)
		} else {
			r.log.Info("a snapshot could not be made, trying again", "error", err)
		}
	}
	if m := r.list.Meta(); !r.IsLeader() || m.State == r.list.State() {
		return nil
	}
	// All that was decided before it led is applied after a barrier.
	if within(r.cfg.Timing.Heartbeat, rf.Barrier(r.cfg.Timing.Heartbeat)) != nil || !r.IsLeader() {
		return nil
	}
	before := r.list.Dropped()
	if err := r.list.DropLearned(); err != nil {
		return fmt.Errorf("write the node list: %w", err)
	}
	if n := r.list.Dropped() - before; n > 0 {
		r.log.Error("the list held changes that the voters never agreed on: they were dropped, and the list is now that of the voters", "changes", n, "state", r.list.State())
	}
	return nil
}

func (r *Replica) logLeader(uid string) {
	if uid == "" {
		r.log.Warn("there is no leader: the list can't be edited until there is one")
		return
	}
	r.log.Info("the leader is known", "node", r.name(uid), "uid", uid)
}

// manageOnce takes the next step, if there is one.
func (r *Replica) manageOnce(ctx context.Context) (took bool, err error) {
	rf := r.order.running()
	if rf == nil {
		return false, nil
	}
	// Raft must not know a newer configuration than the one agreed on last. It
	// checks that itself by the index; here it saves the waiting.
	agreed := r.list.Meta().Voters
	config, err := servers(rf)
	if err != nil || !sameVoters(voterSet(agreed.Index, config), agreed) {
		return false, err
	}
	t := r.cfg.Timing
	next := nextStep(r.uid, r.look(ctx, config, rf.LastIndex()), t.Settle, t.Replace)
	if next.kind == stay || next.kind == await {
		return false, nil
	}
	r.log.Info("changing the voters", "step", string(next.kind), "node", r.name(next.uid), "uid", next.uid)
	if next.kind == resign {
		r.order.handOver()
		return false, nil
	}
	// The last sweep may be a while ago. A step that the voters who are left
	// can't agree on would be worse than none.
	if err := within(t.Heartbeat, rf.VerifyLeader()); err != nil {
		return false, fmt.Errorf("ask the voters: %w", err)
	}
	index, err := changeVoters(rf, next, agreed.Index, t.Heartbeat)
	if err != nil {
		return false, fmt.Errorf("%s %s: %w", next.kind, r.name(next.uid), err)
	}
	return true, r.spreadVoters(ctx, rf, index)
}

func sameVoters(a, b awa.VoterSet) bool {
	missing := func(uid string) bool { return !slices.Contains(b.UIDs, uid) }
	return len(a.UIDs) == len(b.UIDs) && !slices.ContainsFunc(a.UIDs, missing)
}

// look gathers what nextStep needs to know of every agent.
func (r *Replica) look(ctx context.Context, config []raft.Server, last uint64) []server {
	seen := r.cfg.Seen()
	all := map[string]server{r.uid: {uid: r.uid}}
	for _, n := range r.list.Nodes() {
		if n.UID == "" {
			continue
		}
		s := server{uid: n.UID, listed: true}
		if look, ok := seen[n.UID]; ok {
			s.online, s.since = look.Online, look.For
			if look.Unfit > 0 { // it keeps no entry of the log
				s.online, s.since = false, look.Unfit
			}
		}
		all[n.UID] = s
	}
	voters := r.list.Meta().Voters.UIDs
	for uid, h := range r.currentSuccessors() {
		s := all[uid]
		s.uid, s.listed, s.online, s.successor = uid, true, true, slices.Contains(voters, h.of)
		s.since = max(s.since, r.cfg.Timing.Settle)
		all[uid] = s
	}
	for _, c := range config {
		s := all[string(c.ID)]
		s.uid, s.member, s.voter = string(c.ID), true, c.Suffrage == raft.Voter
		if !s.voter {
			s.ready = r.level(ctx, s.uid, last)
		}
		all[s.uid] = s
	}
	self := all[r.uid]
	self.online = true
	all[r.uid] = self
	list := make([]server, 0, len(all))
	for _, s := range all {
		list = append(list, s)
	}
	return list
}

// levelWithin is how far behind the leader's log an agent may be to get a
// vote; it catches up with that in one message.
const levelWithin = 64

// level asks an agent, over a new connection, whether its log is all but level
// with this leader's and holds the configuration by which it was enlisted: raft
// itself doesn't tell. The log alone says nothing while the leader's is short.
func (r *Replica) level(ctx context.Context, uid string, last uint64) bool {
	addr, ok := r.addr(uid)
	if !ok {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Timing.Push)
	defer cancel()
	self, err := r.cfg.Peers.Ping(ctx, addr, true)
	enlisted := r.list.Meta().Voters.Index
	return err == nil && self.UID == uid && self.LogIndex >= enlisted && self.LogIndex+levelWithin >= last &&
		self.Voters != nil && self.Voters.Index >= enlisted
}

func (r *Replica) logIndex(ctx context.Context, uid string) (uint64, bool) {
	addr, ok := r.addr(uid)
	if !ok {
		return 0, false
	}
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Timing.Push)
	defer cancel()
	self, err := r.cfg.Peers.Ping(ctx, addr, false)
	return self.LogIndex, err == nil && self.UID == uid
}

// changeVoters takes one step and gives the index of the new configuration.
// prev is that of the one that it was chosen for: raft refuses the step when
// there is a newer one.
func changeVoters(rf *raft.Raft, s step, prev uint64, timeout time.Duration) (uint64, error) {
	id, addr := raft.ServerID(s.uid), raft.ServerAddress(s.uid)
	var f raft.IndexFuture
	switch s.kind {
	case enlist:
		f = rf.AddNonvoter(id, addr, prev, timeout)
	case promote:
		f = rf.AddVoter(id, addr, prev, timeout)
	case demote:
		f = rf.DemoteVoter(id, prev, timeout)
	case remove:
		f = rf.RemoveServer(id, prev, timeout)
	}
	if err := within(2*timeout, f); err != nil {
		return 0, err
	}
	return f.Index(), nil
}

// spreadVoters waits until all voters that are online have the configuration
// with this index, the newest: a leader that dies before could leave the
// others unable to elect a new one.
func (r *Replica) spreadVoters(ctx context.Context, rf *raft.Raft, index uint64) error {
	config, err := servers(rf)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*r.cfg.Timing.Heartbeat)
	defer cancel()
	seen := r.cfg.Seen()
	for _, c := range config {
		uid := string(c.ID)
		if uid == r.uid || c.Suffrage != raft.Voter || !seen[uid].Online {
			continue
		}
		for pause := 5 * time.Millisecond; ; pause = min(2*pause, 200*time.Millisecond) {
			if at, ok := r.logIndex(ctx, uid); ok && at >= index {
				break
			}
			select {
			case <-time.After(pause):
			case <-ctx.Done():
				return fmt.Errorf("voter %s has not got the new configuration yet: %w", r.name(uid), ctx.Err())
			}
		}
	}
	// The state machine tells when it is agreed on.
	for pause := time.Millisecond; r.list.Meta().Voters.Index < index; pause = min(2*pause, 100*time.Millisecond) {
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return errors.New("the new configuration is not agreed on yet")
		}
	}
	return nil
}
