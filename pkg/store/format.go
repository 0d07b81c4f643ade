package store

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"math"
	"strconv"

	"are-we-alive/pkg/awa"

	bolt "go.etcd.io/bbolt"
)

// format is the version of the layout below. A program that changes the
// layout counts it up, and reads the older ones or refuses them. formatPlain
// has neither digests nor sums; Open makes it format.
const (
	format      = "2"
	formatPlain = "1"
)

// The buckets. Ids and indexes are keys of 8 bytes, big-endian, so that bbolt
// keeps them in their order.
const (
	bucketNodes     = "nodes"         // node id → the node, as awa.Node writes it in JSON
	bucketChanges   = "nodes_changes" // change id → changeValue in JSON; ids are 1, 2, 3, … without gaps
	bucketMeta      = "meta"          // the keys below → text
	bucketLog       = "raft_log"      // log index → a voter's log entry, opaque here, behind its sum
	bucketStable    = "raft_stable"   // key → value, both opaque here, the value behind its sum
	bucketSightings = "sightings"     // node id → verdict and since when
)

// The keys of bucketMeta. A key whose value would be empty is absent.
const (
	keyFormat  = "format"    // see format
	keyUID     = "uid"       // the agent's own uid, 32 hex digits
	keyCluster = "cluster"   // the cluster's id
	keyHistory = "history"   // as awa.History writes it
	keyFork    = "fork"      // awa.Position in JSON, where that history began
	keyEpoch   = "epoch"     // highest epoch of a history that was followed or met, decimal
	keyIndex   = "index"     // highest place in the Raft log of all that was decided or learned, decimal
	keyTerm    = "term"      // its term, decimal
	keyProven  = "proven"    // provenValue in JSON
	keyNext    = "next_node" // id that the next CREATE assigns, decimal
	keyName    = "cluster_name"
	keyVoters  = "voters" // awa.VoterSet in JSON
	keySum     = "sum"    // of all the others, see metaSum
)

// provenValue is up to where this agent's own Raft has decided the list. A
// program of an earlier version wrote only keyIndex, and moves it without this one: so it
// only counts while Of is what keyIndex holds.
type provenValue struct {
	Of    uint64 `json:"of"`
	Index uint64 `json:"index"`
	Term  uint64 `json:"term"`
	State uint64 `json:"state"`
}

// place is a place in the Raft log.
type place struct{ index, term uint64 }

func (p place) max(index, term uint64) place {
	if index > p.index {
		return place{index, term}
	}
	return p
}

// changeValue is a change on disk; its id is the key.
type changeValue struct {
	Action awa.Action `json:"action"`
	Data   string     `json:"data"` // a JSON object
	Index  uint64     `json:"index,omitempty"`
	Term   uint64     `json:"term,omitempty"`
	Key    string     `json:"key,omitempty"`
	Asked  string     `json:"asked,omitempty"` // see awa.Change
	// Digest is that of the list with this change as its newest, and Sum that
	// of the fields which the digest leaves out. Both are absent in formatPlain.
	Digest awa.Digest `json:"digest,omitzero"`
	Sum    uint32     `json:"sum,omitempty"`
}

// castagnoli is the polynomial of all sums, the one that processors know.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sum is the sum of the fields that the digest leaves out, and of the digest.
func (v changeValue) sum() uint32 {
	return crc32.Checksum(fmt.Appendf(nil, "%s %d %d %s", v.Digest, v.Index, v.Term, v.Asked), castagnoli)
}

// sumSize is the size of the sum before a value of bucketLog and bucketStable.
const sumSize = 4

// withSum puts the sum of a key and its value before the value.
func withSum(key, value []byte) []byte {
	b := make([]byte, sumSize, sumSize+len(value))
	binary.BigEndian.PutUint32(b, crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, value))
	return append(b, value...)
}

// withoutSum returns the value that withSum was called with; ok is false when what is
// stored can't come from it.
func withoutSum(key, stored []byte) (value []byte, ok bool) {
	if len(stored) < sumSize {
		return nil, false
	}
	value = stored[sumSize:]
	return value, binary.BigEndian.Uint32(stored) == crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, value)
}

// metaSum is the sum of all of bucketMeta but keySum.
func metaSum(tx *bolt.Tx) string {
	sum := uint32(0)
	c := in(tx, bucketMeta).Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() { // in their order
		if string(k) != keySum {
			sum = crc32.Update(sum, castagnoli, fmt.Appendf(nil, "%q %q\n", k, v))
		}
	}
	return strconv.FormatUint(uint64(sum), 16)
}

func allBuckets() []string {
	return []string{bucketNodes, bucketChanges, bucketMeta, bucketLog, bucketStable, bucketSightings}
}

// in returns a bucket, which must be there: Open has seen it.
func in(tx *bolt.Tx, bucket string) *bolt.Bucket { return tx.Bucket([]byte(bucket)) }

func idKey(id uint64) []byte { return binary.BigEndian.AppendUint64(nil, id) }

func parseIDKey(key []byte) (uint64, error) {
	if len(key) != 8 {
		return 0, fmt.Errorf("%x is not an id", key)
	}
	return binary.BigEndian.Uint64(key), nil
}

// encodeChange writes a change, and the digest of the list up to it.
func encodeChange(c awa.Change, d awa.Digest) ([]byte, error) {
	v := changeValue{c.Action, c.Data, c.Index, c.Term, c.Key, c.Asked, d, 0}
	v.Sum = v.sum()
	return json.Marshal(v)
}

// decodeChange reads what encodeChange wrote. The digest is zero, and nothing
// vouches for the places in Raft's log, in formatPlain.
func decodeChange(id uint64, value []byte) (awa.Change, awa.Digest, error) {
	var v changeValue
	if err := json.Unmarshal(value, &v); err != nil {
		return awa.Change{}, awa.Digest{}, damage("change %d can't be read: %v", id, err)
	}
	if v.Digest != (awa.Digest{}) && v.Sum != v.sum() {
		return awa.Change{}, awa.Digest{}, damage("change %d is not what was written: its sum differs", id)
	}
	return awa.Change{ID: id, Action: v.Action, Data: v.Data, Index: v.Index, Term: v.Term, Key: v.Key,
		Asked: v.Asked}, v.Digest, nil
}

// digestAt is the digest of the list up to a state, which must be there.
func digestAt(tx *bolt.Tx, cluster string, state uint64) (awa.Digest, error) {
	if state == 0 {
		return awa.FirstDigest(cluster), nil
	}
	_, d, err := decodeChange(state, in(tx, bucketChanges).Get(idKey(state)))
	if err == nil && d == (awa.Digest{}) {
		err = damage("change %d holds no digest", state)
	}
	return d, err
}

// clusterOf is the cluster whose list the file holds; "" when it holds none.
func clusterOf(tx *bolt.Tx) string { return string(in(tx, bucketMeta).Get([]byte(keyCluster))) }

// putMeta writes what differs from what is there; next is the next node id,
// highest the highest place in the Raft log of any change.
func putMeta(tx *bolt.Tx, m awa.Meta, head awa.Head, highest place) error {
	highest = highest.max(m.Index, m.Term)
	proven, err := json.Marshal(provenValue{highest.index, m.Index, m.Term, m.State})
	if err != nil {
		return err
	}
	voters, fork := "", ""
	if m.Voters.Index != 0 {
		if voters, err = jsonText(m.Voters); err != nil {
			return err
		}
	}
	if m.Fork != (awa.Position{}) {
		if fork, err = jsonText(m.Fork); err != nil {
			return err
		}
	}
	b := in(tx, bucketMeta)
	for _, p := range [][2]string{
		{keyFormat, format},
		{keyUID, m.UID},
		{keyCluster, m.Cluster},
		{keyHistory, m.History.String()},
		{keyFork, fork},
		{keyEpoch, number(m.Epoch)},
		{keyIndex, number(highest.index)},
		{keyTerm, number(highest.term)},
		{keyProven, string(proven)},
		{keyNext, number(head.NextID)},
		{keyName, head.ClusterName},
		{keyVoters, voters},
	} {
		if p[1] == string(b.Get([]byte(p[0]))) {
			continue
		}
		if err := b.Put([]byte(p[0]), []byte(p[1])); err != nil {
			return err
		}
	}
	return b.Put([]byte(keySum), []byte(metaSum(tx)))
}

func jsonText(v any) (string, error) {
	b, err := json.Marshal(v)
	return string(b), err
}

// getMeta reads what putMeta wrote. In a file of an older program the state of
// the Meta is unproven.
func getMeta(tx *bolt.Tx) (m awa.Meta, head awa.Head, highest place, err error) {
	b := in(tx, bucketMeta)
	get := func(key string) string { return string(b.Get([]byte(key))) }
	if get(keyFormat) == format && get(keySum) != metaSum(tx) {
		return awa.Meta{}, awa.Head{}, place{}, damage("the bucket %s is not what was written: its sum differs", bucketMeta)
	}
	m.UID, m.Cluster = get(keyUID), get(keyCluster)
	if m.UID == "" {
		return awa.Meta{}, awa.Head{}, place{}, fmt.Errorf("it holds no uid")
	}
	if m.History, err = awa.ParseHistory(get(keyHistory)); err != nil {
		return awa.Meta{}, awa.Head{}, place{}, err
	}
	if (m.Cluster == "") != (m.History == awa.History{}) {
		return awa.Meta{}, awa.Head{}, place{}, fmt.Errorf("it holds a cluster or a history, and not both")
	}
	for key, to := range map[string]*uint64{keyIndex: &highest.index, keyTerm: &highest.term, keyNext: &head.NextID,
		keyEpoch: &m.Epoch} {
		if text := get(key); text != "" {
			if *to, err = strconv.ParseUint(text, 10, 64); err != nil {
				return awa.Meta{}, awa.Head{}, place{}, fmt.Errorf("the value of %s is not a number: %w", key, err)
			}
		}
	}
	if text := get(keyVoters); text != "" {
		if err = json.Unmarshal([]byte(text), &m.Voters); err != nil {
			return awa.Meta{}, awa.Head{}, place{}, fmt.Errorf("the voters can't be read: %w", err)
		}
	}
	if text := get(keyFork); text != "" {
		if err = json.Unmarshal([]byte(text), &m.Fork); err != nil {
			return awa.Meta{}, awa.Head{}, place{}, fmt.Errorf("the fork can't be read: %w", err)
		}
	}
	m.Epoch = max(m.Epoch, m.History.Epoch)
	proven := provenValue{State: unproven, Index: highest.index, Term: highest.term}
	if text := get(keyProven); text != "" {
		var v provenValue
		if err = json.Unmarshal([]byte(text), &v); err != nil {
			return awa.Meta{}, awa.Head{}, place{}, fmt.Errorf("the value of %s can't be read: %w", keyProven, err)
		}
		if v.Of == highest.index {
			proven = v
		}
	}
	m.Index, m.Term, m.State = proven.Index, proven.Term, proven.State
	head.ClusterName = get(keyName)
	return m, head, highest, nil
}

// unproven is the state that getMeta returns where the file does not say it.
const unproven = math.MaxUint64

// number writes a number of bucketMeta; 0 is an absent one.
func number(n uint64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatUint(n, 10)
}
