package store

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"strconv"

	"are-we-alive/pkg/awa"

	bolt "go.etcd.io/bbolt"
)

// format is the version of the layout below. A program that changes the
// layout counts it up, and reads the older ones or refuses them.
const format = "1"

// The buckets. Ids and indexes are keys of 8 bytes, big-endian, so that bbolt
// keeps them in their order.
const (
	bucketNodes     = "nodes"         // node id → the node, as awa.Node writes it in JSON
	bucketChanges   = "nodes_changes" // change id → changeValue in JSON; ids are 1, 2, 3, … without gaps
	bucketMeta      = "meta"          // the keys below → text
	bucketLog       = "raft_log"      // log index → a voter's log entry, opaque here
	bucketStable    = "raft_stable"   // key → value, both opaque here
	bucketSightings = "sightings"     // node id → verdict and since when
)

// The keys of bucketMeta. A key whose value would be empty is absent.
const (
	keyFormat  = "format"    // see format
	keyUID     = "uid"       // the agent's own uid, 32 hex digits
	keyCluster = "cluster"   // the cluster's id
	keyHistory = "history"   // as awa.History writes it
	keyIndex   = "index"     // highest place in the Raft log of all that was decided or learned, decimal
	keyTerm    = "term"      // its term, decimal
	keyProven  = "proven"    // provenValue in JSON
	keyNext    = "next_node" // id that the next CREATE gives, decimal
	keyVoters  = "voters"    // awa.VoterSet in JSON
)

// provenValue is up to where this agent's own Raft has decided the list. A
// program of before wrote only keyIndex, and moves it without this one: so it
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
}

func allBuckets() []string {
	return []string{bucketNodes, bucketChanges, bucketMeta, bucketLog, bucketStable, bucketSightings}
}

// in gives a bucket, which must be there: Open has seen it.
func in(tx *bolt.Tx, bucket string) *bolt.Bucket { return tx.Bucket([]byte(bucket)) }

func idKey(id uint64) []byte { return binary.BigEndian.AppendUint64(nil, id) }

func parseIDKey(key []byte) (uint64, error) {
	if len(key) != 8 {
		return 0, fmt.Errorf("%x is no id", key)
	}
	return binary.BigEndian.Uint64(key), nil
}

func encodeChange(c awa.Change) ([]byte, error) {
	return json.Marshal(changeValue{c.Action, c.Data, c.Index, c.Term, c.Key, c.Asked})
}

func decodeChange(id uint64, value []byte) (awa.Change, error) {
	var v changeValue
	if err := json.Unmarshal(value, &v); err != nil {
		return awa.Change{}, fmt.Errorf("change %d can't be read: %w", id, err)
	}
	return awa.Change{ID: id, Action: v.Action, Data: v.Data, Index: v.Index, Term: v.Term, Key: v.Key, Asked: v.Asked}, nil
}

// putMeta writes what differs from what is there; next is the next node id,
// highest the highest place in the Raft log of any change.
func putMeta(tx *bolt.Tx, m awa.Meta, next uint64, highest place) error {
	highest = highest.max(m.Index, m.Term)
	proven, err := json.Marshal(provenValue{highest.index, m.Index, m.Term, m.State})
	if err != nil {
		return err
	}
	voters := ""
	if m.Voters.Index != 0 {
		b, err := json.Marshal(m.Voters)
		if err != nil {
			return err
		}
		voters = string(b)
	}
	b := in(tx, bucketMeta)
	for _, p := range [][2]string{
		{keyFormat, format},
		{keyUID, m.UID},
		{keyCluster, m.Cluster},
		{keyHistory, m.History.String()},
		{keyIndex, number(highest.index)},
		{keyTerm, number(highest.term)},
		{keyProven, string(proven)},
		{keyNext, number(next)},
		{keyVoters, voters},
	} {
		if p[1] == string(b.Get([]byte(p[0]))) {
			continue
		}
		if err := b.Put([]byte(p[0]), []byte(p[1])); err != nil {
			return err
		}
	}
	return nil
}

// getMeta reads what putMeta wrote. In a file of an older program the state of
// the Meta is unproven.
func getMeta(tx *bolt.Tx) (m awa.Meta, next uint64, highest place, err error) {
	b := in(tx, bucketMeta)
	get := func(key string) string { return string(b.Get([]byte(key))) }
	m.UID, m.Cluster = get(keyUID), get(keyCluster)
	if m.UID == "" {
		return awa.Meta{}, 0, place{}, fmt.Errorf("it holds no uid")
	}
	if m.History, err = awa.ParseHistory(get(keyHistory)); err != nil {
		return awa.Meta{}, 0, place{}, err
	}
	if (m.Cluster == "") != (m.History == awa.History{}) {
		return awa.Meta{}, 0, place{}, fmt.Errorf("it holds a cluster or a history, and not both")
	}
	for key, to := range map[string]*uint64{keyIndex: &highest.index, keyTerm: &highest.term, keyNext: &next} {
		if text := get(key); text != "" {
			if *to, err = strconv.ParseUint(text, 10, 64); err != nil {
				return awa.Meta{}, 0, place{}, fmt.Errorf("the value of %s is no number: %w", key, err)
			}
		}
	}
	if text := get(keyVoters); text != "" {
		if err = json.Unmarshal([]byte(text), &m.Voters); err != nil {
			return awa.Meta{}, 0, place{}, fmt.Errorf("the voters can't be read: %w", err)
		}
	}
	proven := provenValue{State: unproven, Index: highest.index, Term: highest.term}
	if text := get(keyProven); text != "" {
		var v provenValue
		if err = json.Unmarshal([]byte(text), &v); err != nil {
			return awa.Meta{}, 0, place{}, fmt.Errorf("the value of %s can't be read: %w", keyProven, err)
		}
		if v.Of == highest.index {
			proven = v
		}
	}
	m.Index, m.Term, m.State = proven.Index, proven.Term, proven.State
	return m, next, highest, nil
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
