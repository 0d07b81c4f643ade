package store

import (
	"bytes"
	"encoding/json"
	"reflect"

	"are-we-alive/pkg/awa"

	bolt "go.etcd.io/bbolt"
)

// content is what a good file holds.
type content struct {
	meta   awa.Meta
	list   *awa.List
	digest awa.Digest // of the list
	high   place      // highest place in the Raft log
	txid   int        // of the newest transaction
	plain  bool       // it is of formatPlain
}

// load reads the file and checks that it makes sense: ids without gaps, each
// node as its last change left it, and as many nodes as the changes made.
func load(tx *bolt.Tx) (content, error) {
	b := tx.Bucket([]byte(bucketMeta))
	if b == nil {
		return content{}, damage("it holds no node list")
	}
	version := string(b.Get([]byte(keyFormat)))
	switch version {
	case format, formatPlain:
	case "":
		return content{}, damage("it holds no format version")
	default:
		return content{}, awa.Faultf(awa.ErrFormat, "%s has the format version %q, this program knows version %s: use "+
			"the program that wrote it", tx.DB().Path(), version, format)
	}
	if version == formatPlain && b.Get([]byte(keySum)) != nil {
		return content{}, damage("its format version is not what was written")
	}
	for _, name := range allBuckets() {
		if tx.Bucket([]byte(name)) == nil {
			return content{}, damage("the bucket %s is missing", name)
		}
	}
	if err := eachID(tx, bucketSightings, func(uint64, []byte) error { return nil }); err != nil {
		return content{}, err
	}
	if err := checkSums(tx, version == format); err != nil {
		return content{}, err
	}
	m, head, high, err := getMeta(tx)
	if err != nil {
		return content{}, damage("%v", err)
	}
	seen, err := loadChanges(tx, m.Cluster, version == format)
	if err != nil {
		return content{}, err
	}
	nodes, err := loadNodes(tx)
	if err != nil {
		return content{}, err
	}
	switch {
	case head.NextID != seen.created+1 || uint64(len(nodes)) != seen.created-seen.deleted:
		return content{}, damage("%d nodes and %d as the next id don't fit %d created and %d deleted ones", len(nodes),
			head.NextID, seen.created, seen.deleted)
	case high.index < seen.index:
		return content{}, damage("it is said to end at log index %d and holds changes up to %d", high.index, seen.index)
	case m.State != unproven && m.State > seen.state:
		return content{}, damage("it is said to be decided up to change %d and holds %d", m.State, seen.state)
	case m.Cluster == "" && seen.state != 0:
		return content{}, damage("it holds changes of no cluster")
	}
	list, err := awa.LoadList(seen.state, head, nodes, seen.keys)
	if err != nil {
		return content{}, damage("%v", err)
	}
	if m.State == unproven { // the program that wrote the file believed all of it
		m.State = seen.state
	}
	return content{meta: m, list: list, digest: seen.digest, high: high, txid: tx.ID(), plain: version == formatPlain}, nil
}

// checkSums checks the buckets whose values stand behind their sums.
func checkSums(tx *bolt.Tx, summed bool) error {
	err := eachID(tx, bucketLog, func(index uint64, value []byte) error {
		if _, ok := withoutSum(idKey(index), value); summed && !ok {
			return damage("entry %d of the voters' log is not what was written: its sum differs", index)
		}
		return nil
	})
	if err != nil || !summed {
		return err
	}
	return in(tx, bucketStable).ForEach(func(key, value []byte) error {
		if _, ok := withoutSum(key, value); !ok {
			return damage("the value of %q in %s is not what was written: its sum differs", key, bucketStable)
		}
		return nil
	})
}

// summary is what the changes come to.
type summary struct {
	state, created, deleted uint64
	index                   uint64 // highest place in the voters' log
	digest                  awa.Digest
	keys                    map[string]uint64 // idempotency keys of the last awa.KeyWindow changes
}

// loadChanges reads all changes. digested is true when each holds its digest, which
// it does in every format except formatPlain.
func loadChanges(tx *bolt.Tx, cluster string, digested bool) (summary, error) {
	s := summary{keys: map[string]uint64{}, digest: awa.FirstDigest(cluster)}
	newest := uint64(0)
	if k, _ := in(tx, bucketChanges).Cursor().Last(); k != nil {
		newest, _ = parseIDKey(k)
	}
	err := eachID(tx, bucketChanges, func(id uint64, value []byte) error {
		if id != s.state+1 {
			return damage("change %d is missing", s.state+1)
		}
		c, digest, err := decodeChange(id, value)
		if err != nil {
			return err
		}
		if s.digest = s.digest.Next(c); digested && digest != s.digest {
			return damage("change %d is not what was written: its digest differs", id)
		}
		switch {
		case c.Action == awa.Create:
			s.created++
		case c.Action == awa.Delete && s.deleted < s.created:
			s.deleted++
		case c.Action != awa.Update:
			return damage("change %d can't have the action %q", id, c.Action)
		}
		if !json.Valid([]byte(c.Data)) {
			return damage("the data of change %d can't be read", id)
		}
		s.state, s.index = id, max(s.index, c.Index)
		if c.Key != "" && newest-id < awa.KeyWindow {
			s.keys[c.Key] = id
		}
		return nil
	})
	return s, err
}

// loadNodes reads the nodes, each from the change that it says was its last.
func loadNodes(tx *bolt.Tx) ([]awa.Node, error) {
	var nodes []awa.Node
	changes := in(tx, bucketChanges)
	err := eachID(tx, bucketNodes, func(id uint64, value []byte) error {
		var fields map[string]json.RawMessage
		var changed uint64
		if json.Unmarshal(value, &fields) != nil || json.Unmarshal(fields["changed"], &changed) != nil {
			return damage("node %d can't be read", id)
		}
		c, _, err := decodeChange(changed, changes.Get(idKey(changed)))
		if err != nil {
			return damage("node %d: %v", id, err)
		}
		n, _, _, err := c.Node()
		if err != nil || n.ID != id || c.Action == awa.Delete || !holds(value, n) {
			return damage("node %d is not what change %d made of it", id, changed)
		}
		nodes = append(nodes, n)
		return nil
	})
	return nodes, err
}

// holds reports whether a value of bucketNodes is the node. Another version of
// this program may have put its keys in another order.
func holds(value []byte, n awa.Node) bool {
	want, err := json.Marshal(n)
	if err != nil || bytes.Equal(value, want) {
		return err == nil
	}
	var a, b any
	return json.Unmarshal(value, &a) == nil && json.Unmarshal(want, &b) == nil && reflect.DeepEqual(a, b)
}

// eachID calls f for each entry of a bucket whose keys are ids, in order.
func eachID(tx *bolt.Tx, bucket string, f func(id uint64, value []byte) error) error {
	c := in(tx, bucket).Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() {
		id, err := parseIDKey(k)
		if err != nil {
			return damage("the bucket %s: %v", bucket, err)
		}
		if err := f(id, v); err != nil {
			return err
		}
	}
	return nil
}
