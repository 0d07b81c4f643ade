package store

import (
	"encoding/json"
	"slices"
	"time"

	"are-we-alive/pkg/awa"

	bolt "go.etcd.io/bbolt"
)

// The buckets of what happened. They are made when there is something to keep.
const (
	bucketEvents   = "events"   // event id → awa.Event in JSON; ids are without gaps
	bucketWatched  = "watched"  // keyUntil → RFC 3339
	bucketNotified = "notified" // awa.Notified.Key → awa.Notified in JSON

	keyUntil = "until"
)

// readEvents is how many events one transaction reads, wanted or not.
const readEvents = 5000

// dropEvents is how many old events one transaction drops, besides as many as it adds.
const dropEvents = 1000

// outOfOrder is how much earlier than the event before it an event may have been seen: one
// that was held back.
const outOfOrder = time.Minute

// AppendEvents keeps events, with the next ids, and drops the oldest until there are at
// most so many, and none from before a time.
func (s *Store) AppendEvents(all []awa.Event, most int, oldest time.Time) error {
	return s.update(func(tx *bolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists([]byte(bucketEvents))
		if err != nil {
			return err
		}
		b.FillPercent = 0.9 // ids count up
		for _, e := range all {
			if e.ID, err = b.NextSequence(); err != nil {
				return err
			}
			e.At = e.At.UTC().Truncate(time.Millisecond)
			value, err := json.Marshal(e)
			if err != nil {
				return err
			}
			if err := b.Put(idKey(e.ID), value); err != nil {
				return err
			}
		}
		return trimEvents(b, most, oldest, dropEvents+len(all))
	})
}

// trimEvents drops at most so many of the oldest events.
func trimEvents(b *bolt.Bucket, most int, oldest time.Time, drop int) error {
	last := b.Sequence()
	c := b.Cursor()
	var old [][]byte
	for k, v := c.First(); k != nil && len(old) < drop; k, v = c.Next() {
		id, err := parseIDKey(k)
		if err == nil && last-id < uint64(most) && !eventOf(id, v).At.Before(oldest) {
			break
		}
		old = append(old, slices.Clone(k))
	}
	for _, k := range old {
		if err := b.Delete(k); err != nil {
			return err
		}
	}
	return nil
}

// eventOf reads an event. Of one that can't be read it has the id alone: it is worth less
// than an agent that starts.
func eventOf(id uint64, value []byte) awa.Event {
	var e awa.Event
	if json.Unmarshal(value, &e) != nil {
		e = awa.Event{}
	}
	e.ID = id
	return e
}

// Events returns the events that a query wants. It looks at some thousand events in one
// call, and says how far it has come: whoever wants more asks for what is after that.
func (s *Store) Events(q awa.EventQuery) (set awa.EventSet, err error) {
	set.Through = q.After
	err = s.view(func(tx *bolt.Tx) error {
		b := in(tx, bucketEvents)
		if b == nil {
			return nil
		}
		set.Newest = b.Sequence()
		c := b.Cursor()
		looked := 0
		for k, v := c.Seek(idKey(seekEvent(b, q))); k != nil && looked < readEvents; k, v = c.Next() {
			id, err := parseIDKey(k)
			if err != nil {
				return damage("the key of an event is not an id: %v", err)
			}
			looked++
			set.Through = id
			if e := eventOf(id, v); e.Kind != "" && q.Wants(e) {
				if set.Events = append(set.Events, e); len(set.Events) == q.Limit {
					break
				}
			}
		}
		return nil
	})
	return set, err
}

// seekEvent returns the id of the first event that a query can want.
func seekEvent(b *bolt.Bucket, q awa.EventQuery) uint64 {
	first, _ := b.Cursor().First()
	if first == nil {
		return q.After + 1
	}
	from, _ := parseIDKey(first)
	from = max(from, q.After+1)
	if q.Since.IsZero() {
		return from
	}
	since := q.Since.Add(-outOfOrder)
	for to := b.Sequence() + 1; from < to; { // the first that is not before it
		middle := from + (to-from)/2
		if eventOf(middle, b.Get(idKey(middle))).At.Before(since) {
			from = middle + 1
		} else {
			to = middle
		}
	}
	return from
}

// KeepWatched keeps until when this agent has watched the others.
func (s *Store) KeepWatched(until time.Time) error {
	return s.update(func(tx *bolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists([]byte(bucketWatched))
		if err != nil {
			return err
		}
		return b.Put([]byte(keyUntil), []byte(until.UTC().Format(time.RFC3339Nano)))
	})
}

// Watched returns what KeepWatched kept, the zero time when that is nothing.
func (s *Store) Watched() (until time.Time, err error) {
	err = s.view(func(tx *bolt.Tx) error {
		if b := in(tx, bucketWatched); b != nil {
			until, _ = time.Parse(time.RFC3339Nano, string(b.Get([]byte(keyUntil)))) // zero when it can't be read
		}
		return nil
	})
	return until, err
}

// Notified returns what KeepNotified kept, in the order of the keys.
func (s *Store) Notified() (all []awa.Notified, err error) {
	err = s.view(func(tx *bolt.Tx) error {
		b := in(tx, bucketNotified)
		if b == nil {
			return nil
		}
		return b.ForEach(func(key, value []byte) error {
			var n awa.Notified
			if json.Unmarshal(value, &n) == nil && n.Key() == string(key) {
				all = append(all, n)
			}
			return nil
		})
	})
	return all, err
}

// KeepNotified keeps what people were notified of, in place of what was kept with the same
// keys, and forgets some keys.
func (s *Store) KeepNotified(all []awa.Notified, gone []string) error {
	return s.update(func(tx *bolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists([]byte(bucketNotified))
		if err != nil {
			return err
		}
		for _, n := range all {
			value, err := json.Marshal(n)
			if err != nil {
				return err
			}
			if err := b.Put([]byte(n.Key()), value); err != nil {
				return err
			}
		}
		for _, key := range gone {
			if err := b.Delete([]byte(key)); err != nil {
				return err
			}
		}
		return nil
	})
}
