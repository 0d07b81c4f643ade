package store

import (
	"bytes"
	"fmt"
	"slices"

	"are-we-alive/pkg/awa"

	bolt "go.etcd.io/bbolt"
)

// appendFill is how full bbolt leaves the pages of a bucket that only grows at
// its end. Its own 50 % would leave half the file empty.
const appendFill = 0.9

// SetVoters keeps a set of voters if its index is higher than the held one's.
// It must be one that this agent's own Raft agreed on.
func (s *Store) SetVoters(v awa.VoterSet) error {
	v.UIDs = slices.Clone(v.UIDs)
	return s.setMeta(func(m *awa.Meta) bool {
		newer := v.Index > m.Voters.Index
		if newer {
			m.Voters = v
		}
		return newer
	})
}

// ResetVoters keeps a set of voters whatever is held.
func (s *Store) ResetVoters(v awa.VoterSet) error {
	v.UIDs = slices.Clone(v.UIDs)
	return s.setMeta(func(m *awa.Meta) bool {
		m.Voters = v
		return true
	})
}

// setMeta writes the meta when f says that it changed it.
func (s *Store) setMeta(f func(m *awa.Meta) bool) error {
	s.deciding.Lock()
	defer s.deciding.Unlock()
	m := s.meta
	if !f(&m) {
		return nil
	}
	head := s.list.Head()
	err := s.update(func(tx *bolt.Tx) error { return putMeta(tx, m, head, s.high) })
	if err == nil {
		s.publish(nil, m, s.digest)
	}
	return err
}

// LogBounds returns the first and the last index of the voters' log; 0 and 0
// when it is empty.
func (s *Store) LogBounds() (first, last uint64, err error) {
	err = s.view(func(tx *bolt.Tx) error {
		c := in(tx, bucketLog).Cursor()
		k, _ := c.First()
		if k == nil {
			return nil
		}
		if first, err = parseIDKey(k); err != nil {
			return err
		}
		k, _ = c.Last()
		last, err = parseIDKey(k)
		return err
	})
	return first, last, err
}

// LogEntry returns a log entry, and whether there is one.
func (s *Store) LogEntry(index uint64) ([]byte, bool, error) {
	return s.get(bucketLog, idKey(index))
}

// AppendLog writes entries with the indexes first, first+1, …, in one
// transaction. It replaces those that are there.
func (s *Store) AppendLog(first uint64, entries [][]byte) error {
	if len(entries) == 0 {
		return nil
	}
	return s.update(func(tx *bolt.Tx) error {
		b := in(tx, bucketLog)
		b.FillPercent = appendFill
		for i, e := range entries {
			key := idKey(first + uint64(i))
			if err := b.Put(key, withSum(key, e)); err != nil {
				return err
			}
		}
		return nil
	})
}

// DeleteLog removes the log entries from index min to index max, both
// included. Indexes without an entry don't matter.
func (s *Store) DeleteLog(min, max uint64) error {
	return s.update(func(tx *bolt.Tx) error {
		b := in(tx, bucketLog)
		var keys [][]byte // a bbolt cursor may skip entries once it has deleted one
		end, c := idKey(max), b.Cursor()
		for k, _ := c.Seek(idKey(min)); k != nil && bytes.Compare(k, end) <= 0; k, _ = c.Next() {
			keys = append(keys, bytes.Clone(k))
		}
		for _, k := range keys {
			if err := b.Delete(k); err != nil {
				return err
			}
		}
		return nil
	})
}

// ClearLog removes all log entries. The stable values stay, because a vote
// that was given must be remembered.
func (s *Store) ClearLog() error {
	return s.update(func(tx *bolt.Tx) error {
		if err := tx.DeleteBucket([]byte(bucketLog)); err != nil {
			return err
		}
		_, err := tx.CreateBucket([]byte(bucketLog))
		return err
	})
}

// Stable returns a value that was set, and whether there is one.
func (s *Store) Stable(key string) ([]byte, bool, error) {
	return s.get(bucketStable, []byte(key))
}

// SetStable sets a value. The key must not be empty.
func (s *Store) SetStable(key string, value []byte) error {
	if key == "" {
		return fmt.Errorf("write %s: a stable value needs a key", s.path)
	}
	return s.update(func(tx *bolt.Tx) error {
		return in(tx, bucketStable).Put([]byte(key), withSum([]byte(key), value))
	})
}

// get copies a value out of a bucket whose values stand behind their sums.
func (s *Store) get(bucket string, key []byte) (value []byte, ok bool, err error) {
	err = s.view(func(tx *bolt.Tx) error {
		v := in(tx, bucket).Get(key)
		if v == nil {
			return nil
		}
		if value, ok = withoutSum(key, v); !ok {
			return damage("the value of %q in %s is not what was written: its sum differs", key, bucket)
		}
		value = bytes.Clone(value)
		return nil
	})
	return value, ok, err
}
