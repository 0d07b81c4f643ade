package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"are-we-alive/pkg/awa"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// Store is an open awa.db. All its methods are safe for concurrent use; those
// that write do so one after the other, and return once the disk has it. After
// Close those that need the disk fail with awa.ErrStopping.
type Store struct {
	path string
	db   *bolt.DB

	// Guarded by deciding: see proven.go.
	proven *awa.List // the list at meta.State, once it was needed while the list is further
	high   place     // highest place in the Raft log of any change
	early  []early

	// deciding is held from looking at the list to carrying the outcome into
	// it. What mu guards changes only while deciding is held too, so its
	// holder may read list and meta without mu.
	deciding sync.Mutex

	mu      sync.Mutex
	list    *awa.List
	digest  awa.Digest // of the list
	meta    awa.Meta
	nodes   []awa.Node    // by id; nil when the list has changed since
	moved   chan struct{} // closed when the state moves, and by Close
	closed  bool
	dropped uint64 // see Dropped

	writing sync.Mutex
	failed  error // why nothing can be written any more

	damaged atomic.Pointer[error] // the first damage that was met since Open
	reads   atomic.Int64          // changes that were read since the last release
}

// Close closes the file once the calls under way have ended. A second Close
// does nothing.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	close(s.moved)
	s.mu.Unlock()
	if err := s.db.Close(); err != nil {
		return fmt.Errorf("close %s: %w", s.path, err)
	}
	return nil
}

// Meta returns what the file says of itself, from memory. Its Index, Term and
// State may be ahead of the disk by entries that changed nothing there:
// deciding those again comes to the same. The caller must not modify the slice in it.
func (s *Store) Meta() awa.Meta {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.meta
}

// State is the id of the newest change on disk, 0 when there is none.
func (s *Store) State() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.list.State()
}

// Position is where the list is.
func (s *Store) Position() awa.Position {
	s.mu.Lock()
	defer s.mu.Unlock()
	return awa.Position{State: s.list.State(), Digest: s.digest}
}

// Nodes returns the node list by id. All callers share the slice, which is made
// again after a change: they must not modify it nor what it refers to.
func (s *Store) Nodes() []awa.Node {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.nodes == nil {
		s.nodes = s.list.Nodes()
	}
	return s.nodes
}

// ClusterName returns how people call the cluster, "" for no name.
func (s *Store) ClusterName() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.list.Head().ClusterName
}

// Agent returns the node of the agent with a uid, and whether there is one. The
// caller must not modify what the node refers to.
func (s *Store) Agent(uid string) (awa.Node, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.list.Agent(uid)
}

// Wait returns once the state is at least the given one. It fails with the
// context's error, or with awa.ErrStopping when the store is closed before.
func (s *Store) Wait(ctx context.Context, state uint64) error {
	for {
		s.mu.Lock()
		have, moved, closed := s.list.State(), s.moved, s.closed
		s.mu.Unlock()
		switch {
		case have >= state:
			return nil
		case closed:
			return s.stopping()
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return fmt.Errorf("wait for state %d (it is %d): %w", state, have, ctx.Err())
		}
	}
}

// publish makes the memory say what the disk does. d may be nil; if not,
// digest is that of the list with it. The caller holds deciding.
func (s *Store) publish(d *awa.Draft, m awa.Meta, digest awa.Digest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.meta = m
	if d == nil {
		return
	}
	s.digest = digest
	if len(d.Changes()) == 0 {
		return
	}
	d.Commit()
	s.nodes = nil
	if !s.closed {
		close(s.moved)
		s.moved = make(chan struct{})
	}
}

// roomBytes is what the data folder must have room for to count as having some.
const roomBytes = 256 << 10

// Damaged is the first damage that a read has met since the file was opened, as
// its reader got it, or nil.
func (s *Store) Damaged() error {
	if err := s.damaged.Load(); err != nil {
		return *err
	}
	return nil
}

// Room tries whether the data folder takes writes, and returns the system's error
// when not.
func (s *Store) Room() (err error) {
	f, err := os.CreateTemp(filepath.Dir(s.path), ".awa-room-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	if _, err := f.Write(make([]byte, roomBytes)); err != nil {
		return err
	}
	return f.Sync()
}

// view runs f in a read transaction. Slices that f gets from bbolt must not
// outlive it.
func (s *Store) view(f func(tx *bolt.Tx) error) error {
	return s.wrap("read", s.db.View(f))
}

// update runs f in a write transaction, which is on disk when update returns
// nil. After an error nothing of it is; where that is not certain, every later
// update fails too, because the memory and the disk may no longer agree.
func (s *Store) update(f func(tx *bolt.Tx) error) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	if s.failed != nil {
		return s.failed
	}
	id, own := 0, error(nil)
	err := s.db.Update(func(tx *bolt.Tx) error {
		id = tx.ID()
		own = f(tx)
		return own
	})
	if err != nil && id != 0 && own == nil {
		s.failed = s.undone(id, err)
	}
	return s.wrap("write", err)
}

// undone looks whether a transaction whose commit failed has left no trace. It
// may have: bbolt writes its meta page, which makes all the rest count, and
// only then may the sync fail. The kernel then shows what the disk may lack.
func (s *Store) undone(id int, cause error) error {
	seen := 0
	err := s.db.View(func(tx *bolt.Tx) error {
		seen = tx.ID()
		return nil
	})
	if err == nil && seen < id {
		return nil
	}
	// Not wrapped: it does not pass when the disk has room again.
	return fmt.Errorf("write %s: %v: whether the last write is on the disk is not known; restart the agent, it then "+
		"reads what is there", s.path, cause)
}

func (s *Store) wrap(operation string, err error) error {
	if errors.Is(err, bolterrors.ErrDatabaseNotOpen) {
		return s.stopping()
	}
	if errors.As(err, new(damageError)) {
		err = openError(s.path, err)
		s.damaged.CompareAndSwap(nil, &err)
		return err
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w", operation, s.path, err)
	}
	return nil
}

func (s *Store) stopping() error {
	return awa.Faultf(awa.ErrStopping, "%s is closed: the agent is stopping", s.path)
}
