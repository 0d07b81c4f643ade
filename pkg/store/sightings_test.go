package store

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"are-we-alive/pkg/awa"

	bolt "go.etcd.io/bbolt"
)

func TestStore_Sightings(t *testing.T) {
	path := filepath.Join(t.TempDir(), "awa.db")
	s := open(t, path)
	read := func(want ...awa.Sighting) {
		t.Helper()
		got, err := s.Sightings()
		ok(t, err)
		equal(t, "sightings", got, want)
	}
	since := time.Date(2026, 11, 23, 18, 0, 0, 123456789, time.UTC)
	one := awa.Sighting{ID: 1, UID: "u1", Verdict: awa.Online, Since: since}
	two := awa.Sighting{ID: 2, Verdict: awa.Unreachable, Since: since.Add(time.Hour)}
	late := awa.Sighting{ID: 300, UID: "u300", Verdict: awa.Offline, Since: since}

	read()
	ok(t, s.Remember([]awa.Sighting{late, two, one}, nil))
	read(one, two, late)
	two.Verdict = awa.Mismatch
	ok(t, s.Remember([]awa.Sighting{two}, []uint64{300, 4711}))
	read(one, two)
	ok(t, s.Remember(nil, nil))
	ok(t, s.Close())

	s = open(t, path)
	read(one, two)

	// What another version wrote there is passed over; an agent starts all the same.
	ok(t, s.update(func(tx *bolt.Tx) error {
		for id, text := range map[uint64]string{3: "{", 4: `{"verdict":7}`, 5: `{"since":"2026-11-23T18:00:00Z"}`} {
			if err := in(tx, bucketSightings).Put(idKey(id), []byte(text)); err != nil {
				return err
			}
		}
		return nil
	}))
	ok(t, s.Close())
	s = open(t, path)
	read(one, two)
}

// TestStore_Remember_large has a thousand verdicts change at once.
func TestStore_Remember_large(t *testing.T) {
	s := founded(t)
	var all []awa.Sighting
	for i := range 1000 {
		all = append(all, awa.Sighting{ID: uint64(i + 1), UID: fmt.Sprintf("%032x", i), Verdict: awa.Offline,
			Since: time.Unix(int64(i), 0).UTC()})
	}
	ok(t, s.Remember(all, nil))
	got, err := s.Sightings()
	ok(t, err)
	equal(t, "sightings", got, all)
}
