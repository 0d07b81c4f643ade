package store

import (
	"fmt"
	"slices"

	"are-we-alive/pkg/awa"

	bolt "go.etcd.io/bbolt"
)

// A list consists of two parts. Up to meta.State this agent's own Raft has
// decided it. What comes after that was learned from other agents (Apply): an
// agent that is not a voter has nothing else. Learned changes may be wrong in all
// that they hold, their Raft index included, so nothing that Raft does rests on
// them: Decide and Prove work on the list as it was at meta.State (base), hold
// what they come to against what is there, and replace what differs. On a
// voter both parts end at the same change, and none of this costs anything.

// early is an entry of Raft's log that was decided before Raft applied it.
type early struct {
	place
	state uint64 // of the list before it
}

// maxEarly bounds how many entries are decided before Raft applies them. Raft
// is a few hundred milliseconds behind at most.
const maxEarly = 4096

// base is the list at m.State. The caller holds deciding.
func (s *Store) base(m awa.Meta) (*awa.List, error) {
	if m.State == s.list.State() {
		s.proven = nil
		return s.list, nil
	}
	if s.proven == nil || s.proven.State() != m.State {
		list, err := s.prefix(m.State)
		if err != nil {
			return nil, err
		}
		s.proven = list
	}
	return s.proven, nil
}

// pageSize is how many changes are read at a time.
const pageSize = 4096

// prefix makes the list that the first changes make.
func (s *Store) prefix(state uint64) (*awa.List, error) {
	list := awa.NewList()
	for list.State() < state {
		changes, err := s.Changes(list.State(), int(min(pageSize, state-list.State())))
		if err == nil && len(changes) == 0 {
			err = fmt.Errorf("read %s: change %d is missing", s.path, list.State()+1)
		}
		d := list.Draft()
		for i := 0; err == nil && i < len(changes); i++ {
			err = d.Apply(changes[i])
		}
		if err != nil {
			return nil, err
		}
		d.Commit()
	}
	return list, nil
}

// advance writes what a draft on base comes to. The caller holds deciding.
func (s *Store) advance(base *awa.List, d *awa.Draft, m awa.Meta) error {
	if base == s.list {
		return s.commit(d, m)
	}
	made := d.Changes()
	var held []awa.Change
	if len(made) > 0 {
		var err error
		if held, err = s.Changes(base.State(), len(made)); err != nil {
			return err
		}
	}
	var correct []awa.Change // the same change, learned with another place or without what was asked
	for i := range min(len(held), len(made)) {
		if !sameChange(held[i], made[i]) {
			return s.replace(base, d, m, uint64(i))
		}
		if held[i] != made[i] {
			correct = append(correct, made[i])
		}
	}
	if d.State() > s.list.State() {
		return s.replace(base, d, m, uint64(len(held)))
	}
	level := d.State() == s.list.State()
	if len(correct) > 0 || level {
		high := s.high
		err := s.update(func(tx *bolt.Tx) error {
			if _, err := putChanges(tx, m.Cluster, correct, &high); err != nil {
				return err
			}
			return putMeta(tx, m, s.list.Head(), high)
		})
		if err != nil {
			return err
		}
		s.high = high
	}
	d.Commit()
	if level {
		s.proven = nil
	}
	s.publish(nil, m, s.digest)
	return nil
}

// replace makes base with its draft the list. The first same changes of the
// draft are those that the list holds, what it holds after them is dropped.
func (s *Store) replace(base *awa.List, d *awa.Draft, m awa.Meta, same uint64) error {
	from, to := base.State()+same+1, s.list.State()
	high, digest := s.high, awa.Digest{}
	err := s.update(func(tx *bolt.Tx) (err error) {
		changes := in(tx, bucketChanges)
		for id := from; id <= to; id++ {
			if err := changes.Delete(idKey(id)); err != nil {
				return err
			}
		}
		if _, err := putChanges(tx, m.Cluster, d.Changes(), &high); err != nil {
			return err
		}
		if digest, err = digestAt(tx, m.Cluster, d.State()); err != nil {
			return err
		}
		if err := tx.DeleteBucket([]byte(bucketNodes)); err != nil {
			return err
		}
		if _, err := tx.CreateBucket([]byte(bucketNodes)); err != nil {
			return err
		}
		for _, n := range base.Nodes() {
			if err := putNode(tx, n); err != nil {
				return err
			}
		}
		if err := putTouched(tx, d); err != nil {
			return err
		}
		return putMeta(tx, m, d.Head(), high)
	})
	if err != nil {
		return err
	}
	d.Commit()
	s.high, s.proven = high, nil
	s.mu.Lock()
	defer s.mu.Unlock()
	s.meta, s.list, s.digest, s.nodes = m, base, digest, nil
	if from <= to {
		s.dropped += to - from + 1
	}
	if !s.closed {
		close(s.moved)
		s.moved = make(chan struct{})
	}
	return nil
}

// Dropped is how many learned changes had to give way to what Raft decided
// since the file was opened.
func (s *Store) Dropped() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dropped
}

// Prove adds changes of a snapshot that Raft has taken, as Decide does with
// what it decides. They must follow Meta().State, or are skipped up to there.
// The last call for a snapshot names its place in Raft's log, and those before
// 0. The errors are those of Apply.
func (s *Store) Prove(changes []awa.Change, index, term uint64) error {
	s.deciding.Lock()
	defer s.deciding.Unlock()
	m := s.meta
	if m.Cluster == "" {
		return s.notJoined()
	}
	base, err := s.base(m)
	if err != nil {
		return err
	}
	d := base.Draft()
	for _, c := range changes {
		if c.ID <= d.State() {
			continue
		}
		if err := d.Apply(c); err != nil {
			return fmt.Errorf("apply change %d: %w", c.ID, err)
		}
	}
	m.State = d.State()
	if index > m.Index {
		m.Index, m.Term = index, term
	}
	s.early = nil
	return s.advance(base, d, m)
}

// DecideEarly decides entries of this agent's own Raft log before Raft applies
// them, because somebody has said what the last one came to. Nothing is done,
// and the answer is false, unless they follow the applied index and it comes
// to exactly that. Should Raft have another entry at one of those places in
// the end, Decide finds that out and goes back.
func (s *Store) DecideEarly(entries []awa.Entry, want awa.Change) (bool, error) {
	s.deciding.Lock()
	defer s.deciding.Unlock()
	m := s.meta
	entries = entries[sortedAfter(entries, m.Index):]
	if m.State != s.list.State() || len(entries) == 0 || len(s.early)+len(entries) > maxEarly {
		return false, nil
	}
	d := s.list.Draft()
	var all []early
	var out awa.Outcome
	for _, e := range entries {
		var err error
		all = append(all, early{place{e.Index, e.Term}, d.State()})
		if out, err = s.decide(d, e); err != nil {
			return false, err
		}
		m.Index, m.Term = e.Index, e.Term
	}
	c := out.Change
	if out.Err != nil || !sameChange(c, want) || c.Index != want.Index || c.Term != want.Term || m.Index != want.Index {
		return false, nil
	}
	m.State = d.State()
	if err := s.commit(d, m); err != nil {
		return false, err
	}
	s.early = append(s.early, all...)
	return true, nil
}

// sortedAfter is the place of the first entry after an index.
func sortedAfter(entries []awa.Entry, index uint64) int {
	i := slices.IndexFunc(entries, func(e awa.Entry) bool { return e.Index > index })
	if i < 0 {
		return len(entries)
	}
	return i
}

// confirm holds entries of Raft against those that were decided early, and
// returns the meta from which to go on: the one of now, or that before the
// first early entry that was not the one that Raft has there.
func (s *Store) confirm(entries []awa.Entry) (awa.Meta, error) {
	m := s.meta
	for _, e := range entries {
		for len(s.early) > 0 && s.early[0].index <= e.Index {
			was := s.early[0]
			if was.index == e.Index && was.term == e.Term {
				s.early = s.early[1:]
				continue
			}
			// Raft has another entry there, or none of ours.
			m.Index, m.State = was.index-1, was.state
			s.early = nil
		}
	}
	if m.Index == s.meta.Index {
		return m, nil
	}
	// At once: after a crash the early ones would count as decided.
	head := s.list.Head()
	err := s.update(func(tx *bolt.Tx) error { return putMeta(tx, m, head, s.high) })
	if err == nil {
		s.publish(nil, m, s.digest)
	}
	return m, err
}

// DropLearned drops what the list holds beyond what Raft has decided. A leader
// does so: what it does not have was never decided.
func (s *Store) DropLearned() error {
	s.deciding.Lock()
	defer s.deciding.Unlock()
	if s.meta.State == s.list.State() {
		return nil
	}
	base, err := s.base(s.meta)
	if err != nil {
		return err
	}
	return s.replace(base, base.Draft(), s.meta, 0)
}

// Rebase drops all changes after a state, which must be held, and makes what is
// left the list of a history of a cluster, at whose fork it may be or not. All of
// it counts as learned then. The cluster can only be another one at state 0. It
// fails with awa.ErrConflict unless the list is at the state from, so that
// nothing is dropped that the caller does not know.
func (s *Store) Rebase(from, state uint64, cluster string, h awa.History, fork awa.Position) error {
	s.deciding.Lock()
	defer s.deciding.Unlock()
	m := s.meta
	switch {
	case m.Cluster == "":
		return s.notJoined()
	case from != s.list.State():
		return awa.Faultf(awa.ErrConflict, "the list is at change %d, and not at change %d any "+
			"more: nothing was dropped", s.list.State(), from)
	case state > s.list.State() || cluster != m.Cluster && state != 0 || cluster == "" || h == awa.History{}:
		return awa.Faultf(awa.ErrBadInput, "the list of cluster %s at change %d can't become that "+
			"of cluster %s and history %s from change %d on", m.Cluster, s.list.State(), cluster, h, state)
	}
	base, err := s.prefix(state)
	if err != nil {
		return err
	}
	if cluster != m.Cluster {
		m.Epoch = 0
	}
	m.Cluster, m.History, m.Fork, m.Epoch = cluster, h, fork, max(m.Epoch, h.Epoch)
	m.Index, m.Term, m.State, m.Voters = 0, 0, 0, awa.VoterSet{}
	s.early = nil
	return s.replace(base, base.Draft(), m, 0)
}

// SetEpoch remembers the epoch of a history that was met, if it is the highest.
func (s *Store) SetEpoch(epoch uint64) error {
	return s.setMeta(func(m *awa.Meta) bool {
		higher := epoch > m.Epoch
		m.Epoch = max(m.Epoch, epoch)
		return higher
	})
}

// Unprove makes all of the list count as learned: this agent has no Raft log
// any more, or never had one.
func (s *Store) Unprove() error {
	return s.setMeta(func(m *awa.Meta) bool {
		if m.Index == 0 && m.Term == 0 && m.State == 0 {
			return false
		}
		m.Index, m.Term, m.State = 0, 0, 0
		s.early, s.proven = nil, nil
		return true
	})
}

// Bound brings an applied index that is above last, the end of this agent's
// Raft log, back to the newest change that the log can hold, or to floor, the
// index of its snapshot, and reports whether that was needed. The list stays:
// programs that let a push move the index gave the same list to everybody.
func (s *Store) Bound(floor, last uint64) (bool, error) {
	if s.Meta().Index <= last {
		return false, nil
	}
	to := place{index: floor}
	for at := uint64(0); at < s.State(); {
		changes, err := s.Changes(at, pageSize)
		if err != nil {
			return false, err
		}
		for _, c := range changes {
			if at = c.ID; c.Index <= last {
				to = to.max(c.Index, c.Term)
			}
		}
	}
	return true, s.setMeta(func(m *awa.Meta) bool {
		m.Index, m.Term = to.index, to.term
		return true
	})
}
