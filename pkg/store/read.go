package store

import (
	"bytes"

	"are-we-alive/pkg/awa"

	bolt "go.etcd.io/bbolt"
)

// PageBytes is about the most that Page copies into memory, in bytes. A page may exceed it by its
// last change, which is at
// most some 2 * awa.MaxData.
const PageBytes = 4 << 10

// changeBytes is what a change has besides its texts: numbers, the digest.
const changeBytes = 32

// releaseAfter is how many changes are read before the memory that holds them is
// given back: some 8 MB.
const releaseAfter = 1 << 14

// Changes returns the changes with an id above since, in order, at most limit
// of them; a limit of 0 is none.
func (s *Store) Changes(since uint64, limit int) ([]awa.Change, error) {
	return s.read(since, func(read, _ int) bool { return limit <= 0 || read < limit })
}

// Page returns the first changes with an id above since, in order: at most
// limit of them, and no more than fill PageBytes. It is empty only when there
// are none, or limit is 0. The transaction that it reads in has ended when it
// returns, so that whoever passes a page on slowly holds back no write.
func (s *Store) Page(since uint64, limit int) ([]awa.Change, error) {
	return s.read(since, func(read, size int) bool { return read < limit && size < PageBytes })
}

// read returns changes as long as more, which is asked with their number and
// size so far, allows another one. Each is held against its digest, so that
// nothing that the disk has altered since Open is passed on: the error is a
// Fault with awa.ErrDamaged then.
func (s *Store) read(since uint64, more func(read, size int) bool) ([]awa.Change, error) {
	var changes []awa.Change
	if since+1 == 0 {
		return nil, nil
	}
	err := s.view(func(tx *bolt.Tx) error {
		c, size := in(tx, bucketChanges).Cursor(), 0
		var at awa.Digest
		for k, v := c.Seek(idKey(since + 1)); k != nil && more(len(changes), size); k, v = c.Next() {
			id, err := parseIDKey(k)
			if err != nil {
				return err
			}
			if len(changes) == 0 {
				if at, err = digestAt(tx, clusterOf(tx), id-1); err != nil {
					return err
				}
			}
			change, digest, err := decodeChange(id, v)
			if err != nil {
				return err
			}
			if at = at.Next(change); digest != at {
				return damage("change %d is not what was written: its digest differs", id)
			}
			changes = append(changes, change)
			size += len(change.Data) + len(change.Key) + len(change.Asked) + changeBytes
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if s.reads.Add(int64(len(changes))) > releaseAfter {
		s.reads.Store(0)
		s.release()
	}
	return changes, nil
}

// DigestAt is the digest of the list as it was at a state, and whether the
// list has come that far.
func (s *Store) DigestAt(state uint64) (d awa.Digest, held bool, err error) {
	s.mu.Lock()
	have, newest := s.list.State(), s.digest
	s.mu.Unlock()
	if state >= have {
		return newest, state == have, nil
	}
	err = s.view(func(tx *bolt.Tx) (err error) {
		// Rebase may have cut the list meanwhile.
		if last, _ := in(tx, bucketChanges).Cursor().Last(); bytes.Compare(last, idKey(state)) < 0 {
			return nil
		}
		d, err = digestAt(tx, clusterOf(tx), state)
		held = err == nil
		return err
	})
	return d, held, err
}

// NodeSet returns the node list with what it is a list of, from memory, all of
// one moment. As with Nodes, the caller must not modify what it refers to.
func (s *Store) NodeSet() awa.NodeSet {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.nodes == nil {
		s.nodes = s.list.Nodes()
	}
	return awa.NodeSet{Cluster: s.meta.Cluster, History: s.meta.History, State: s.list.State(), Nodes: s.nodes}
}
