package consensus

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/hashicorp/raft"

	"are-we-alive/pkg/awa"
)

// askPause is how many ticks pass between two questions to the other voters.
const askPause = 5

// confirmWithin is how long the other voters may take to answer.
const confirmWithin = time.Second

// retireIfRemoved lets this agent drop its part in Raft when it lost its vote: nobody
// tells a removed voter so by Raft. A leader that is silent, and to a voter a hint from
// anybody, is the reason to ask the voters of the configuration that it holds. A majority
// of them must say that there is a newer one without it.
func (c *Consensus) retireIfRemoved(ctx context.Context, hinted bool) error {
	r := c.running()
	if r == nil || r.State() == raft.Leader {
		return nil
	}
	config, err := servers(r)
	if err != nil || len(config) == 0 { // Raft is stopping, or this agent has no part in it
		return nil
	}
	t := c.cfg.Timing
	hinted = hinted && c.votes(r) // to an agent that is about to become a voter everybody says so
	if time.Since(c.asked) < askPause*t.Tick || !hinted && c.silence(r) < 3*t.Heartbeat {
		return nil
	}
	c.asked = time.Now()
	index, err := c.configIndex()
	if err != nil {
		return err
	}
	if v, ok := c.confirmed(ctx, c.otherVoters(config), index); ok {
		return c.retire(v)
	}
	return nil
}

// confirmed asks the other voters of this agent's configuration, which has an index, for
// theirs. ok is true when a majority has a newer one without this agent; v is the oldest
// of those.
func (c *Consensus) confirmed(ctx context.Context, voters []string, index uint64) (v awa.VoterSet, ok bool) {
	ctx, cancel := context.WithTimeout(ctx, confirmWithin)
	defer cancel()
	answers := c.cfg.Peers.Ask(ctx, true, voters...)
	without := func(self awa.Self) bool {
		return self.Voters != nil && self.Voters.Index > index && !slices.Contains(self.Voters.UIDs, c.uid)
	}
	count := 0
	for _, self := range answers {
		// A voter of the version before names only the leader: it stands behind what
		// that one says.
		if self.Voters == nil {
			at := slices.IndexFunc(answers, func(other awa.Self) bool { return other.UID == self.Leader })
			if at >= 0 {
				self = answers[at]
			}
		}
		if !without(self) {
			continue
		}
		count++
		if v.Index == 0 || self.Voters.Index < v.Index {
			v = *self.Voters
		}
	}
	// A majority of the configuration; of two voters the other one alone.
	return v, count > 0 && count >= min((len(voters)+1)/2+1, len(voters))
}

// retire makes this agent dormant again when v, voters that a majority of those in Raft's
// own configuration says were agreed on after it, are without this agent: a removed voter
// would stand for election for ever. Whatever was agreed on with its vote is held by the
// voters of v, so the log may go; and the snapshots must, since they may name this agent
// as a voter, the founder's even as the only one. The term and the vote are kept, so that
// no vote can be given twice.
func (c *Consensus) retire(v awa.VoterSet) error {
	r := c.running()
	if r == nil || slices.Contains(v.UIDs, c.uid) || r.State() == raft.Leader || !c.votes(r) {
		return nil
	}
	if index, err := c.configIndex(); err != nil || v.Index <= index {
		return err // it got a vote since
	}
	c.log.Info("this agent is not a voter any more")
	text, err := json.Marshal(v)
	if err == nil {
		err = c.list.SetStable(retiredKey, text)
	}
	if err == nil {
		err = c.Stop(stopWithin)
	}
	if err == nil {
		err = c.drop(v.Index)
	}
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		return fmt.Errorf("stop being a voter: %w", err)
	}
	return nil
}

// dropNow drops the log and the snapshots, and goes on with that after a crash.
func (c *Consensus) dropNow() error {
	if err := c.list.SetStable(droppingKey, []byte{1}); err != nil {
		return err
	}
	return c.finishDropping()
}

// drop decides that the log and the snapshots go, unless a configuration from
// at on came in until Raft was stopped.
func (c *Consensus) drop(at uint64) error {
	index, err := c.configIndex()
	if err != nil || index >= at {
		return err
	}
	if err := c.setFloor(); err != nil {
		return err
	}
	return c.list.SetStable(droppingKey, []byte{1})
}

// finishDropping drops the log and the snapshots when that was decided.
func (c *Consensus) finishDropping() error {
	mark, ok, err := c.list.Stable(droppingKey)
	if err != nil || !ok || len(mark) != 1 || mark[0] != 1 {
		return err
	}
	if err := Forget(c.list, c.cfg.Dir); err != nil {
		return fmt.Errorf("drop the voters' log: %w", err)
	}
	return c.list.SetStable(droppingKey, []byte{0})
}

// configIndex finds the index of the newest configuration that this agent
// holds, in the log or in the snapshot; raft does not return it.
func (c *Consensus) configIndex() (uint64, error) {
	newest, err := snapshotConfig(c.cfg.Dir)
	if err != nil {
		return 0, err
	}
	first, last, err := c.list.LogBounds()
	if err != nil {
		return 0, err
	}
	for i := last; i > newest && i >= first; i-- {
		l, ok, err := c.entry(i)
		if err != nil {
			return 0, err
		}
		if ok && l.Type == raft.LogConfiguration {
			return i, nil
		}
	}
	return newest, nil
}

// snapshotConfig is the index of the configuration in the newest snapshot, 0
// when there is none.
func snapshotConfig(dir string) (uint64, error) {
	snaps, err := openSnapshots(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		return 0, err
	}
	all, err := snaps.List()
	if err != nil || len(all) == 0 {
		return 0, err
	}
	return all[0].ConfigurationIndex, nil
}
