package store

import (
	"maps"
	"net/netip"

	bolt "go.etcd.io/bbolt"
)

// bucketAddresses has the address at which each name answered last. It is made when
// there is one to keep.
const bucketAddresses = "addresses"

// Addresses returns what KeepAddresses kept, by name. It leaves out what it can't read,
// since the agent can start without it.
func (s *Store) Addresses() (map[string]string, error) {
	all := map[string]string{}
	err := s.view(func(tx *bolt.Tx) error {
		b := in(tx, bucketAddresses)
		if b == nil {
			return nil
		}
		return b.ForEach(func(name, addr []byte) error {
			if _, err := netip.ParseAddr(string(addr)); err == nil {
				all[string(name)] = string(addr)
			}
			return nil
		})
	})
	return all, err
}

// KeepAddresses keeps the addresses of names in place of those that were kept. It
// writes only when they differ.
func (s *Store) KeepAddresses(all map[string]string) error {
	kept, err := s.Addresses()
	if err != nil || maps.Equal(kept, all) {
		return err
	}
	return s.update(func(tx *bolt.Tx) error {
		if in(tx, bucketAddresses) != nil {
			if err := tx.DeleteBucket([]byte(bucketAddresses)); err != nil {
				return err
			}
		}
		b, err := tx.CreateBucket([]byte(bucketAddresses))
		if err != nil {
			return err
		}
		for name, addr := range all {
			if err := b.Put([]byte(name), []byte(addr)); err != nil {
				return err
			}
		}
		return nil
	})
}
