package store

import (
	"encoding/json"
	"fmt"
	"sort"

	"are-we-alive/pkg/awa"

	bolt "go.etcd.io/bbolt"
)

// Decide brings entries of the voters' log into the list, in their order, and
// returns the outcome of each. All changes that come of it share one
// transaction. An entry up to the applied index is a replay and changes
// nothing: its outcome is the change with its index, or the zero Outcome when
// it made none. An edit with the key of one of the last awa.KeyWindow changes
// has the outcome of that one if it is the same edit, and else is refused with
// awa.ErrKeyReused. What the list has learned from others is held against what
// is decided here, and gives way to it. An error means that the disk failed,
// or that the file holds no list yet (awa.ErrNotJoined): nothing was done.
func (s *Store) Decide(entries []awa.Entry) ([]awa.Outcome, error) {
	s.deciding.Lock()
	defer s.deciding.Unlock()
	if s.meta.Cluster == "" {
		return nil, s.notJoined()
	}
	m, err := s.confirm(entries)
	if err != nil {
		return nil, err
	}
	base, err := s.base(m)
	if err != nil {
		return nil, err
	}
	d := base.Draft()
	outcomes := make([]awa.Outcome, len(entries))
	for i, e := range entries {
		if e.Index <= m.Index {
			outcomes[i], err = s.replayed(d, e)
		} else {
			m.Index, m.Term = e.Index, e.Term
			outcomes[i], err = s.decide(d, e)
		}
		if err != nil {
			return nil, err
		}
	}
	m.State = d.State()
	if err := s.advance(base, d, m); err != nil {
		return nil, err
	}
	return outcomes, nil
}

// decide adds the change that comes of an edit to the draft, if any does. An
// error is the disk's; a refusal is in the outcome.
func (s *Store) decide(d *awa.Draft, e awa.Entry) (awa.Outcome, error) {
	edit, err := e.Edit.Parse()
	if err != nil {
		return awa.Outcome{Err: err}, nil
	}
	if id, ok := d.Repeated(e.Edit.Key); ok {
		o, err := s.outcome(d, id)
		if err == nil && !edit.Made(o.Change) {
			o = awa.Outcome{Err: awa.Faultf(awa.ErrKeyReused, "the Idempotency-Key %s was used for another edit before, which "+
				"made change %d: nothing was changed now; send each edit with a key of its own", e.Edit.Key, id)}
		}
		return o, err
	}
	c, n, err := d.DecideParsed(edit, e.Index, e.Term)
	return awa.Outcome{Change: c, Node: n, Err: err}, nil
}

// replayed finds the outcome of an entry that was decided before: by its key,
// which is in memory, or else by its index, since indexes rise with the ids.
func (s *Store) replayed(d *awa.Draft, e awa.Entry) (awa.Outcome, error) {
	if id, ok := d.Repeated(e.Edit.Key); ok {
		if o, err := s.outcome(d, id); err != nil || o.Change.Index == e.Index {
			return o, err
		}
	}
	var err error
	id := 1 + sort.Search(int(d.State()), func(i int) bool {
		c, e2 := s.change(d, uint64(i)+1)
		if e2 != nil {
			err = e2
		}
		return c.Index >= e.Index
	})
	if err != nil || uint64(id) > d.State() {
		return awa.Outcome{}, err
	}
	o, err := s.outcome(d, uint64(id))
	if o.Change.Index != e.Index {
		return awa.Outcome{}, err
	}
	return o, err
}

func (s *Store) outcome(d *awa.Draft, id uint64) (awa.Outcome, error) {
	c, err := s.change(d, id)
	if err != nil {
		return awa.Outcome{}, err
	}
	n, _, _, err := c.Node()
	return awa.Outcome{Change: c, Node: n}, err
}

// change returns a change of the draft or of the list under it.
func (s *Store) change(d *awa.Draft, id uint64) (awa.Change, error) {
	if changes := d.Changes(); len(changes) > 0 && id >= changes[0].ID {
		return changes[id-changes[0].ID], nil
	}
	held, err := s.Changes(id-1, 1)
	if err == nil && (len(held) != 1 || held[0].ID != id) {
		err = fmt.Errorf("read %s: change %d is missing", s.path, id)
	}
	if err != nil {
		return awa.Change{}, err
	}
	return held[0], nil
}

// Apply adds changes that were decided elsewhere, in one transaction. They
// count as learned, not as decided: they don't move the applied index. Those
// that are held already are skipped, after a look at whether they are the
// same; if not, the error is a Fault with awa.ErrDamaged. A change that does
// not follow the state returns awa.ErrGap, one that can't belong to this list
// the error of awa.Draft.Apply, an empty file awa.ErrNotJoined. After any
// error nothing was applied.
func (s *Store) Apply(changes []awa.Change) error {
	s.deciding.Lock()
	defer s.deciding.Unlock()
	d := s.list.Draft()
	if s.meta.Cluster == "" {
		return s.notJoined()
	}
	if err := s.apply(d, changes); err != nil {
		return err
	}
	return s.commit(d, s.meta)
}

// apply adds changes to a draft.
func (s *Store) apply(d *awa.Draft, changes []awa.Change) error {
	for _, c := range changes {
		if c.ID != 0 && c.ID <= d.State() {
			held, err := s.change(d, c.ID)
			if err != nil {
				return err
			}
			if !sameChange(held, c) {
				return awa.Faultf(awa.ErrDamaged, "the lists differ: change %d is %s %s here and %s %s there; one of the two "+
					"agents must be emptied and join again", c.ID, held.Action, held.Data, c.Action, c.Data)
			}
			continue
		}
		if err := d.Apply(c); err != nil {
			return fmt.Errorf("apply change %d: %w", c.ID, err)
		}
	}
	return nil
}

// sameChange compares what changes do; their places in Raft's log aside.
func sameChange(a, b awa.Change) bool {
	return a.ID == b.ID && a.Action == b.Action && a.Data == b.Data && a.Key == b.Key
}

// Init makes an empty file hold the list of a cluster: none yet at a
// bootstrap, or all changes from the first at a join or a restore. It fails
// when the file holds a cluster already, and as Apply does.
func (s *Store) Init(set awa.ChangeSet) error {
	s.deciding.Lock()
	defer s.deciding.Unlock()
	m, d := s.meta, s.list.Draft()
	switch {
	case m.Cluster != "":
		return awa.Faultf(awa.ErrOtherCluster, "%s holds the list of cluster %s already: move it away first", s.path,
			m.Cluster)
	case set.Cluster == "" || set.History == awa.History{}:
		return awa.Faultf(awa.ErrBadInput, "a node list needs the id of its cluster and a history")
	}
	m.Cluster, m.History, m.Fork, m.Epoch = set.Cluster, set.History, set.Fork, set.History.Epoch
	if err := s.apply(d, set.Changes); err != nil {
		return err
	}
	return s.save(d, m)
}

// commit writes a draft and the meta that goes with it. A draft without
// changes needs no transaction: the applied index alone is not worth one.
func (s *Store) commit(d *awa.Draft, m awa.Meta) error {
	if len(d.Changes()) == 0 {
		s.publish(d, m, s.digest)
		return nil
	}
	return s.save(d, m)
}

func (s *Store) save(d *awa.Draft, m awa.Meta) error {
	high, digest := s.high, s.digest
	if len(d.Changes()) == 0 { // of a list that is just founded
		digest = awa.FirstDigest(m.Cluster)
	}
	err := s.update(func(tx *bolt.Tx) (err error) {
		if len(d.Changes()) > 0 {
			if digest, err = putChanges(tx, m.Cluster, d.Changes(), &high); err != nil {
				return err
			}
		}
		if err := putTouched(tx, d); err != nil {
			return err
		}
		return putMeta(tx, m, d.Head(), high)
	})
	if err == nil {
		s.high = high
		s.publish(d, m, digest)
	}
	return err
}

// putChanges writes changes, moves high to the highest place of theirs, and
// returns the digest of the list up to the last one. The changes before each must
// be there.
func putChanges(tx *bolt.Tx, cluster string, changes []awa.Change, high *place) (digest awa.Digest, err error) {
	b := in(tx, bucketChanges)
	b.FillPercent = appendFill
	for i, c := range changes {
		if i == 0 || changes[i-1].ID+1 != c.ID {
			if digest, err = digestAt(tx, cluster, c.ID-1); err != nil {
				return digest, err
			}
		}
		digest = digest.Next(c)
		value, err := encodeChange(c, digest)
		if err != nil {
			return digest, err
		}
		if err := b.Put(idKey(c.ID), value); err != nil {
			return digest, err
		}
		*high = high.max(c.Index, c.Term)
	}
	return digest, nil
}

// putTouched writes the nodes that a draft touches.
func putTouched(tx *bolt.Tx, d *awa.Draft) error {
	return d.Touched(func(id uint64, n *awa.Node) error {
		if n == nil {
			return in(tx, bucketNodes).Delete(idKey(id))
		}
		return putNode(tx, *n)
	})
}

func putNode(tx *bolt.Tx, n awa.Node) error {
	value, err := json.Marshal(n)
	if err != nil {
		return err
	}
	return in(tx, bucketNodes).Put(idKey(n.ID), value)
}

func (s *Store) notJoined() error {
	return awa.Faultf(awa.ErrNotJoined, "%s holds no node list yet: create a cluster or join one first", s.path)
}
