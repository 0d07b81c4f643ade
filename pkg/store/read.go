package store

import (
	"are-we-alive/pkg/awa"

	bolt "go.etcd.io/bbolt"
)

// PageBytes is about the most that Page copies into memory, in bytes as the
// changes stand on disk. A page may exceed it by its last change, which is at
// most some 2 * awa.MaxData.
const PageBytes = 4 << 10

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
	return s.read(since, func(read, bytes int) bool { return read < limit && bytes < PageBytes })
}

// read returns changes as long as more, which is asked with their number and
// bytes so far, allows another one.
func (s *Store) read(since uint64, more func(read, bytes int) bool) ([]awa.Change, error) {
	var changes []awa.Change
	if since+1 == 0 {
		return nil, nil
	}
	err := s.view(func(tx *bolt.Tx) error {
		c, bytes := in(tx, bucketChanges).Cursor(), 0
		for k, v := c.Seek(idKey(since + 1)); k != nil && more(len(changes), bytes); k, v = c.Next() {
			id, err := parseIDKey(k)
			if err != nil {
				return err
			}
			change, err := decodeChange(id, v)
			if err != nil {
				return err
			}
			changes = append(changes, change)
			bytes += len(v)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return changes, nil
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
