package replica

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
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
	list    List
	last    atomic.Pointer[raft.SnapshotMeta]
	sending atomic.Bool // Raft runs: a position is opened in order to be sent
}

// place is where the newest snapshot ends in Raft's log.
func (s *snapshotFiles) place() logPlace {
	all, err := s.List()
	if err != nil || len(all) == 0 {
		return logPlace{}
	}
	return logPlace{all[0].Term, all[0].Index}
}

// Open implements raft.SnapshotStore. An agent that gets a snapshot needs all
// changes, so a position is filled up with them on the way there.
func (s *snapshotFiles) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	meta, from, err := s.FileSnapshotStore.Open(id)
	if err != nil {
		return nil, nil, err
	}
	s.last.Store(meta)
	if !s.sending.Load() {
		return meta, from, nil
	}
	start := bufio.NewReader(from)
	line, err := start.ReadBytes('\n')
	var head snapshotHead
	if err == nil {
		err = json.Unmarshal(line, &head)
	}
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("read snapshot %s: %w", id, err), from.Close())
	}
	if head.Version != snapshotPosition {
		from.Close()
		return s.FileSnapshotStore.Open(id)
	}
	if err := from.Close(); err != nil {
		return nil, nil, err
	}
	// Whoever gets it must know its size before.
	var size counter
	if err := writeWhole(&size, s.list, head); err != nil {
		return nil, nil, err
	}
	whole := *meta
	whole.Size = int64(size)
	reader, writer := io.Pipe()
	go func() { writer.CloseWithError(writeWhole(writer, s.list, head)) }() // ends when the reader is closed
	return &whole, reader, nil
}

// counter counts what is written to it.
type counter int64

// Write implements io.Writer.
func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

// tidyFolder removes what a crash in the middle of a snapshot has left, and all
// but the newest one.
func (s *snapshotFiles) tidyFolder(dir string) error {
	all, err := filepath.Glob(filepath.Join(dir, "snapshots", "*.tmp"))
	if err != nil {
		return err
	}
	for _, left := range all {
		if err := os.RemoveAll(left); err != nil {
			return err
		}
	}
	return s.ReapSnapshots()
}

// newest is the index of the newest snapshot, 0 when there is none, or says why
// one can't be used.
func (s *snapshotFiles) newest(dir string) (index uint64, broken string, err error) {
	all, err := s.List()
	if err != nil {
		return 0, "", fmt.Errorf("read the folder of snapshots: %w", err)
	}
	folders, err := os.ReadDir(filepath.Join(dir, "snapshots"))
	if err != nil {
		return 0, "", err
	}
	if len(folders) > len(all) { // one whose description can't be read is not listed
		broken = "a snapshot's description can't be read"
	}
	for _, meta := range all {
		if err := s.check(meta.ID); err != nil {
			broken = fmt.Sprintf("snapshot %s: %v", meta.ID, err)
			continue
		}
		index = max(index, meta.Index)
	}
	return index, broken, nil
}

// check says why a snapshot can't be restored here.
func (s *snapshotFiles) check(id string) error {
	_, from, err := s.FileSnapshotStore.Open(id) // compares its sum
	if err != nil {
		return err
	}
	defer from.Close()
	line, err := bufio.NewReader(from).ReadBytes('\n')
	var head snapshotHead
	if err == nil {
		err = json.Unmarshal(line, &head)
	}
	if err != nil || head.Version != snapshotPosition {
		return err
	}
	digest, held, err := s.list.DigestAt(head.State)
	if err == nil && (!held || digest != head.Digest) {
		err = fmt.Errorf("it is of a list with the digest %s at change %d, and awa.db holds an older or another one",
			head.Digest, head.State)
	}
	return err
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
		if voters, err = retired(list); err != nil {
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
	switch err := (raftLog{o.cfg.List, o.fail, o.disk}).GetLog(v.Index, &l); {
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

// retired is the configuration that took this agent's vote, as it was proven; its
// index is 0 when none did.
func retired(disk Log) (v awa.VoterSet, err error) {
	text, ok, err := disk.Stable(retiredKey)
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
	if err := (raftLog{o.cfg.List, o.fail, o.disk}).GetLog(last, &l); err != nil {
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

// starved reports whether Raft alone brings this agent the list, and no leader is
// heard that would.
func (o *order) starved() bool {
	r := o.running()
	return r != nil && r.State() != raft.Leader && o.fed() && o.silence(r) > o.cfg.Timing.Heartbeat
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
	disk := raftLog{o.cfg.List, o.fail, o.disk}
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
