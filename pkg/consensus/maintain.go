package consensus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"
)

// Maintain looks after this agent's own part in Raft. It is to be called once a tick,
// also while Raft is stopped. hinted reports whether the agents name voters without this
// one.
func (c *Consensus) Maintain(ctx context.Context, hinted bool) error {
	if err := c.recoverDisk(); err != nil {
		return err
	}
	if err := c.retireIfRemoved(ctx, hinted); err != nil {
		return err
	}
	c.noteLevel()
	c.pace()
	c.snapshotRepaired()
	return c.dropLearned()
}

// recoverDisk hands the leadership over while the disk takes no writes. Once it does
// again, Raft is restarted: an append that failed may have left it with another idea of
// its log than what is on the disk.
func (c *Consensus) recoverDisk() error {
	again := c.Disk.probe()
	switch {
	case again && !c.IsLeader():
		if err := c.Stop(stopWithin); err != nil {
			return fmt.Errorf("stop Raft: %w", err)
		}
		return c.Start()
	case c.Disk.Condition().Code != "" && c.IsLeader():
		c.HandOver()
	}
	return nil
}

// noteLevel notes when this agent's log has come as far as those of the other voters
// that answer, so that it need not ask them before it votes any more. It counts as level
// once it leads, or hears from a leader and lacks nothing.
func (c *Consensus) noteLevel() {
	r := c.running()
	c.mu.RLock()
	guard := c.guard
	c.mu.RUnlock()
	if r == nil || guard == nil || guard.level.Load() || !c.votes(r) {
		return
	}
	term, index := c.Last()
	if r.LastContact().IsZero() && !c.IsLeader() || c.furthest().after(place{term, index}) {
		return
	}
	guard.level.Store(true)
}

// pace lets a leader send its heartbeats at half the rate that raft derives from the
// time after which the others stand for election: a fifth to two fifths of that time
// apart, which costs a third less when idle.
func (c *Consensus) pace() {
	r := c.running()
	if r == nil {
		return
	}
	timeout := c.cfg.Timing.Heartbeat
	if r.State() == raft.Leader {
		timeout *= 2
	}
	rc := r.ReloadableConfig()
	if rc.HeartbeatTimeout == timeout {
		return
	}
	rc.HeartbeatTimeout, rc.ElectionTimeout = timeout, timeout
	if err := r.ReloadConfig(rc); err != nil {
		c.log.Info("the pace of the heartbeats could not be changed", "error", err)
	}
}

// snapshotRepaired makes a snapshot of all of the list after examine has brought the
// applied index back. The next voters get the list with it: what was learned by an
// earlier version can't be made out of the log.
func (c *Consensus) snapshotRepaired() {
	r := c.running()
	if r == nil || !c.repaired.Load() || r.AppliedIndex() == 0 {
		return
	}
	if uid, _ := c.Leader(); uid == "" {
		return
	}
	err := within(5*time.Second, r.Snapshot())
	if err == nil || errors.Is(err, raft.ErrNothingNewToSnapshot) {
		c.repaired.Store(false)
		return
	}
	c.log.Info("a snapshot could not be made, trying again", "error", err)
}

// dropLearned lets a leader drop the changes of its list that Raft has not decided.
func (c *Consensus) dropLearned() error {
	r, t := c.running(), c.cfg.Timing.Heartbeat
	if r == nil || !c.IsLeader() || c.list.Meta().State == c.list.State() {
		return nil
	}
	// All that was decided before it led is applied after a barrier.
	if within(t, r.Barrier(t)) != nil || !c.IsLeader() {
		return nil
	}
	defer logDropped(c.log, c.list, c.list.Dropped())
	if err := c.list.DropLearned(); err != nil {
		return fmt.Errorf("write the node list: %w", err)
	}
	return nil
}
