package replica

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/hashicorp/raft"

	"are-we-alive/pkg/awa"
)

// rest lets Raft lie dormant again when v, voters that a majority of those in
// Raft's own configuration says were agreed on after it, are without this
// agent: a removed voter would stand for election for ever. Whatever was
// agreed on with its vote is held by the voters of v, so the log may go; and
// the snapshots must, since they may name this agent as a voter, the founder's
// even as the only one. The term and the vote are kept, so that no vote can be
// given twice. It must not run beside stop or start.
func (o *order) rest(v awa.VoterSet) error {
	r := o.running()
	if r == nil || slices.Contains(v.UIDs, o.uid) || r.State() == raft.Leader || !o.votes(r) {
		return nil
	}
	if index, err := o.configIndex(); err != nil || v.Index <= index {
		return err // it got a vote since
	}
	o.log.Info("this agent is no voter any more")
	text, err := json.Marshal(v)
	if err == nil {
		err = o.cfg.List.SetStable(retiredKey, text)
	}
	if err == nil {
		err = o.stop(10 * time.Second)
	}
	if err == nil {
		err = o.drop(v.Index)
	}
	if err == nil {
		err = o.start()
	}
	if err != nil {
		return fmt.Errorf("stop being a voter: %w", err)
	}
	return nil
}

// dropNow drops the log and the snapshots, and goes on with that after a crash.
func (o *order) dropNow() error {
	if err := o.cfg.List.SetStable(droppingKey, []byte{1}); err != nil {
		return err
	}
	return o.finishDropping()
}

// droppingKey, among the stable values, holds 1 while the log and the
// snapshots are being dropped. After a crash in between the rest must go too:
// a snapshot without the log could have this agent lead alone.
const droppingKey = "awa.dropping"

// drop decides that the log and the snapshots go, unless a configuration from
// at on came in until Raft was stopped.
func (o *order) drop(at uint64) error {
	index, err := o.configIndex()
	if err != nil || index >= at {
		return err
	}
	if err := o.setFloor(); err != nil {
		return err
	}
	return o.cfg.List.SetStable(droppingKey, []byte{1})
}

// finishDropping drops the log and the snapshots when that was decided.
func (o *order) finishDropping() error {
	mark, ok, err := o.cfg.List.Stable(droppingKey)
	if err != nil || !ok || len(mark) != 1 || mark[0] != 1 {
		return err
	}
	if err := forget(o.cfg.List, o.cfg.Dir); err != nil {
		return fmt.Errorf("drop the voters' log: %w", err)
	}
	return o.cfg.List.SetStable(droppingKey, []byte{0})
}

// configIndex finds the index of the newest configuration that this agent
// holds, in the log or in the snapshot; raft does not tell it.
func (o *order) configIndex() (uint64, error) {
	newest, err := snapshotConfig(o.cfg.Dir)
	if err != nil {
		return 0, err
	}
	first, last, err := o.cfg.List.LogBounds()
	if err != nil {
		return 0, err
	}
	disk := raftLog{o.cfg.List, o.fail, o.disk}
	for i := last; i > newest && i >= first; i-- {
		var l raft.Log
		switch err := disk.GetLog(i, &l); {
		case errors.Is(err, raft.ErrLogNotFound): // a snapshot stands for it
		case err != nil:
			return 0, err
		case l.Type == raft.LogConfiguration:
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
