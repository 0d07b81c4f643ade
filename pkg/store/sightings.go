package store

import (
	"cmp"
	"encoding/json"
	"slices"
	"time"

	"are-we-alive/pkg/awa"

	bolt "go.etcd.io/bbolt"
)

// sightingValue is a sighting on disk; the id of its node is the key.
type sightingValue struct {
	UID     string      `json:"uid,omitempty"`
	Verdict awa.Verdict `json:"verdict"`
	Since   time.Time   `json:"since"`

	Instance string       `json:"instance,omitempty"`
	Boot     string       `json:"boot,omitempty"`
	Goodbye  *awa.Goodbye `json:"goodbye,omitempty"`
}

// Sightings returns what Remember kept, by node id. One that can't be read is
// left out: it is worth less than an agent that starts.
func (s *Store) Sightings() ([]awa.Sighting, error) {
	var all []awa.Sighting
	err := s.view(func(tx *bolt.Tx) error {
		return eachID(tx, bucketSightings, func(id uint64, b []byte) error {
			var v sightingValue
			if json.Unmarshal(b, &v) == nil && v.Verdict != "" {
				all = append(all, awa.Sighting{ID: id, UID: v.UID, Verdict: v.Verdict, Since: v.Since, Instance: v.Instance,
					Boot: v.Boot, Goodbye: v.Goodbye})
			}
			return nil
		})
	})
	return all, err
}

// Remember keeps sightings, and forgets those of the nodes that are gone, in
// one transaction.
func (s *Store) Remember(seen []awa.Sighting, gone []uint64) error {
	if len(seen)+len(gone) == 0 {
		return nil
	}
	seen = slices.Clone(seen)
	// keys in their order are written faster
	slices.SortFunc(seen, func(a, b awa.Sighting) int { return cmp.Compare(a.ID, b.ID) })
	return s.update(func(tx *bolt.Tx) error {
		b := in(tx, bucketSightings)
		for _, g := range seen {
			value, err := json.Marshal(sightingValue{UID: g.UID, Verdict: g.Verdict, Since: g.Since.Round(0).UTC(),
				Instance: g.Instance, Boot: g.Boot, Goodbye: g.Goodbye})
			if err != nil {
				return err
			}
			if err := b.Put(idKey(g.ID), value); err != nil {
				return err
			}
		}
		for _, id := range gone {
			if err := b.Delete(idKey(id)); err != nil {
				return err
			}
		}
		return nil
	})
}
