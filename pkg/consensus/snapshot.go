package consensus

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/hashicorp/raft"

	"are-we-alive/pkg/awa"
)

// snapshotHead is the first line of a snapshot. In version 1, which agents send
// each other, one line for each change follows. In version 2, which they keep,
// nothing does: the list itself is on the same disk.
type snapshotHead struct {
	Version int         `json:"version"`
	Cluster string      `json:"cluster"`
	History awa.History `json:"history"`
	State   uint64      `json:"state"`
	Digest  awa.Digest  `json:"digest"` // older programs don't write it
	// Voters are those that were agreed on last: raft doesn't pass the state
	// machine the configuration that comes with a snapshot.
	Voters awa.VoterSet `json:"voters"`
	// Index and Term are the place in Raft's log where the list had this state:
	// it may be further than Raft says. Older programs don't write them.
	Index uint64 `json:"index,omitempty"`
	Term  uint64 `json:"term,omitempty"`
}

// The versions of a snapshot.
const (
	snapshotWhole    = 1
	snapshotPosition = 2
)

// snapshot is the list up to a state. Since changes never change, it needs no
// copy: what is written is where the list was.
type snapshot struct{ head snapshotHead }

// headOf is the head of a snapshot of the part of a list that Raft has decided.
func headOf(list List, m awa.Meta, version int) (snapshotHead, error) {
	digest, held, err := list.DigestAt(m.State)
	if err == nil && !held {
		err = fmt.Errorf("the list does not hold change %d", m.State)
	}
	return snapshotHead{
		Version: version, Cluster: m.Cluster, History: m.History, State: m.State, Digest: digest,
		Voters: m.Voters, Index: m.Index, Term: m.Term,
	}, err
}

// Persist implements raft.FSMSnapshot.
func (s *snapshot) Persist(sink raft.SnapshotSink) error {
	if err := json.NewEncoder(sink).Encode(s.head); err != nil {
		return errors.Join(err, sink.Cancel())
	}
	return sink.Close()
}

// Release implements raft.FSMSnapshot.
func (s *snapshot) Release() {}

// page is how many changes are read, sent or applied at a time.
const page = 4096

// writeWhole writes a snapshot of version 1 out of the list.
func writeWhole(to io.Writer, list List, head snapshotHead) error {
	head.Version = snapshotWhole
	w := bufio.NewWriter(to)
	e := json.NewEncoder(w)
	if err := e.Encode(head); err != nil {
		return err
	}
	for at := uint64(0); at < head.State; {
		changes, err := list.Changes(at, int(min(page, head.State-at)))
		if err == nil && len(changes) == 0 {
			err = fmt.Errorf("the list does not hold change %d of the snapshot", at+1)
		}
		if err != nil {
			return err
		}
		for _, c := range changes {
			if err := e.Encode(c); err != nil {
				return err
			}
		}
		at += uint64(len(changes))
	}
	return w.Flush()
}

// snapshotStore is Raft's folder of snapshots, and remembers which was opened
// last: Raft doesn't say to the state machine what it restores.
type snapshotStore struct {
	*raft.FileSnapshotStore
	list    List
	last    atomic.Pointer[raft.SnapshotMeta]
	sending atomic.Bool // Raft runs: a position is opened in order to be sent
}

// openSnapshots opens the folder of Raft's snapshots; one is kept.
func openSnapshots(dir string, log *slog.Logger) (*raft.FileSnapshotStore, error) {
	snaps, err := raft.NewFileSnapshotStoreWithLogger(dir, 1, newRaftLogger(log))
	if err != nil {
		return nil, fmt.Errorf("open the folder of snapshots %s: %w", dir, err)
	}
	return snaps, nil
}

// place returns where the newest snapshot ends in Raft's log.
func (s *snapshotStore) place() place {
	all, err := s.List()
	if err != nil || len(all) == 0 {
		return place{}
	}
	return place{all[0].Term, all[0].Index}
}

// Open implements raft.SnapshotStore. An agent that gets a snapshot needs all
// changes, so a position is filled up with them on the way there.
func (s *snapshotStore) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
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
func (s *snapshotStore) tidyFolder(dir string) error {
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
func (s *snapshotStore) newest(dir string) (index uint64, broken string, err error) {
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
func (s *snapshotStore) check(id string) error {
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
