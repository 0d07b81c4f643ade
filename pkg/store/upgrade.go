package store

import (
	"bytes"

	"are-we-alive/pkg/awa"

	bolt "go.etcd.io/bbolt"
)

// upgrade makes a file of formatPlain one of format: each change gets its
// digest, each value of the voters its sum. It goes on where a crash has
// stopped it, since what a change holds already is written again; the version
// comes last, with the sums, which can't be distinguished from the values.
func (s *Store) upgrade() error {
	digest := awa.FirstDigest(s.meta.Cluster)
	for at, more := uint64(0), true; more; {
		err := s.update(func(tx *bolt.Tx) (err error) {
			if at, digest, err = putDigests(tx, at, digest); err != nil {
				return err
			}
			if more = at < s.list.State(); more {
				return nil
			}
			for _, bucket := range []string{bucketLog, bucketStable} {
				if err := putSums(tx, bucket); err != nil {
					return err
				}
			}
			return putMeta(tx, s.meta, s.list.Head(), s.high)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// putDigests writes the digests of the next changes after a state, whose
// digest is given, and returns how far it has come.
func putDigests(tx *bolt.Tx, at uint64, digest awa.Digest) (uint64, awa.Digest, error) {
	b := in(tx, bucketChanges)
	b.FillPercent = appendFill
	for range pageSize {
		value := b.Get(idKey(at + 1))
		if value == nil {
			break
		}
		c, _, err := decodeChange(at+1, value)
		if err != nil {
			return at, digest, err
		}
		digest = digest.Next(c)
		if value, err = encodeChange(c, digest); err != nil {
			return at, digest, err
		}
		if err := b.Put(idKey(c.ID), value); err != nil {
			return at, digest, err
		}
		at = c.ID
	}
	return at, digest, nil
}

// putSums puts the values of a bucket behind their sums.
func putSums(tx *bolt.Tx, bucket string) error {
	b := in(tx, bucket)
	b.FillPercent = appendFill
	var all [][2][]byte // bbolt's own must not be kept over a Put
	err := b.ForEach(func(key, value []byte) error {
		all = append(all, [2][]byte{bytes.Clone(key), bytes.Clone(value)})
		return nil
	})
	for i := 0; err == nil && i < len(all); i++ {
		err = b.Put(all[i][0], withSum(all[i][0], all[i][1]))
	}
	return err
}
