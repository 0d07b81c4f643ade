package replica

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"are-we-alive/pkg/awa"
)

// What this agent's own Raft has on disk is the measure of all that was learned
// otherwise: here it is read and held against what others say.

// snapshotFiles is Raft's folder of snapshots, and remembers which was opened
// last: Raft doesn't tell the state machine what it restores.
type snapshotFiles struct {
	*raft.FileSnapshotStore
	last atomic.Pointer[raft.SnapshotMeta]
}

// Open implements raft.SnapshotStore.
func (s *snapshotFiles) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	meta, from, err := s.FileSnapshotStore.Open(id)
	if err == nil {
		s.last.Store(meta)
	}
	return meta, from, err
}

// examine brings what the list says of Raft in line with what Raft's log and
// snapshots can prove. Programs of before believed pushes and pings in it. It
// must run before Raft does.
func (o *order) examine(snaps *snapshotFiles) error {
	list := o.cfg.List
	all, err := snaps.List()
	if err != nil {
		return fmt.Errorf("read the folder of snapshots: %w", err)
	}
	_, last, err := list.LogBounds()
	if err != nil {
		return err
	}
	voters := awa.VoterSet{}
	if len(all) == 0 && last == 0 { // no part in Raft
		if err := list.Unprove(); err != nil {
			return err
		}
		if voters, err = o.retired(); err != nil {
			return err
		}
	} else {
		var floor uint64
		if len(all) > 0 {
			floor = all[0].Index
			voters = voterSet(all[0].ConfigurationIndex, all[0].Configuration.Servers)
		}
		was := list.Meta().Index
		bounded, err := list.Bound(floor, max(floor, last))
		if err != nil {
			return err
		}
		if bounded {
			o.log.Warn("the applied index was above the end of the voters' log, as a forged push could have it for a program of before: it was brought back", "was", was, "is", list.Meta().Index)
			o.repaired.Store(true)
		}
	}
	held := list.Meta().Voters
	if proven, err := o.proves(held, voters); err != nil || proven {
		return err
	}
	if held.Index > voters.Index {
		o.log.Warn("the voters on disk are not in the voters' log, as others could have it for a program of before: they were replaced by those that are", "index", held.Index, "was", held.UIDs, "is", voters.UIDs)
	}
	return list.ResetVoters(voters)
}

// proves reports whether a set of voters is one that the log holds, or base.
func (o *order) proves(v, base awa.VoterSet) (bool, error) {
	if v.Index == base.Index {
		return sameVoters(v, base), nil
	}
	var l raft.Log
	switch err := (raftLog{o.cfg.List, o.fail}).GetLog(v.Index, &l); {
	case errors.Is(err, raft.ErrLogNotFound):
		return false, nil
	case err != nil:
		return false, err
	}
	return v.Index > base.Index && l.Type == raft.LogConfiguration &&
		sameVoters(v, voterSet(v.Index, raft.DecodeConfiguration(l.Data).Servers)), nil
}

// Stable values, besides droppingKey.
const (
	retiredKey = "awa.retired" // the voters without this agent, in JSON, as a majority told them
	floorKey   = "awa.floor"   // where the log ended that was dropped: term and index, 8 bytes each
)

// retired is the configuration that took this agent's vote, as it was proven.
func (o *order) retired() (v awa.VoterSet, err error) {
	text, ok, err := o.cfg.List.Stable(retiredKey)
	if err == nil && ok {
		err = json.Unmarshal(text, &v)
	}
	return v, err
}

// floor is where the log ended that this agent dropped last.
func floor(disk Log) (term, index uint64, err error) {
	b, ok, err := disk.Stable(floorKey)
	if err != nil || !ok || len(b) != 16 {
		return 0, 0, err
	}
	return binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:]), nil
}

// setFloor remembers where the log ends that is to be dropped.
func (o *order) setFloor() error {
	_, last, err := o.cfg.List.LogBounds()
	if err != nil || last == 0 {
		return err
	}
	var l raft.Log
	if err := (raftLog{o.cfg.List, o.fail}).GetLog(last, &l); err != nil {
		return err
	}
	return o.cfg.List.SetStable(floorKey, append(bigEndian(l.Term), bigEndian(last)...))
}

// fed reports whether Raft brings this agent the list: then it takes changes
// from nobody else. A voter waits for its leader for as long as it would take
// the others to replace it.
func (o *order) fed() bool {
	r := o.running()
	if r == nil {
		return false
	}
	all, err := servers(r)
	if err != nil {
		return false
	}
	for _, s := range all {
		if string(s.ID) != o.uid {
			continue
		}
		patience := 2 * o.cfg.Timing.Heartbeat
		if s.Suffrage == raft.Voter {
			patience = o.cfg.Timing.Replace
		}
		return r.State() == raft.Leader || o.silence(r) < patience
	}
	return false
}

// silence is how long no leader was heard.
func (o *order) silence(r *raft.Raft) time.Duration {
	at := r.LastContact()
	if at.IsZero() {
		o.mu.RLock()
		at = o.started
		o.mu.RUnlock()
	}
	return time.Since(at)
}

// earlyEntries bounds how many entries a change may be ahead of what Raft has
// applied. Raft itself is there a moment later.
const earlyEntries = 256

// early decides the entries of the own log up to the one of a change that
// another agent says was decided, before Raft does so by itself: see
// Timing.Commit. Nothing of what the other says goes into the list; it only
// says that the entry was agreed on. It reports whether the list holds the
// change now.
func (o *order) early(c awa.Change) (bool, error) {
	applied := o.cfg.List.Meta().Index
	if c.Index <= applied || c.Index-applied > earlyEntries {
		return false, nil
	}
	disk := raftLog{o.cfg.List, o.fail}
	entries := make([]awa.Entry, 0, c.Index-applied)
	// Backwards: once the last one is seen to be the leader's, those before it
	// are so too, and don't change any more.
	for i := c.Index; i > applied; i-- {
		var l raft.Log
		switch err := disk.GetLog(i, &l); {
		case errors.Is(err, raft.ErrLogNotFound):
			return false, nil
		case err != nil:
			return false, err
		}
		if i == c.Index && (l.Term != c.Term || l.Type != raft.LogCommand) {
			return false, nil
		}
		if e, ok := decodeEntry(&l); ok && l.Type == raft.LogCommand {
			entries = append(entries, e)
		}
	}
	slices.Reverse(entries)
	return o.cfg.List.DecideEarly(entries, c)
}
