package awa

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Action is what a change does.
type Action string

// The actions, as they stand on the wire and on disk.
const (
	Create Action = "CREATE"
	Update Action = "UPDATE"
	Delete Action = "DELETE"
)

// Change is one edit of the list that was decided: ids are 1, 2, 3, …
// without gaps, and a change never changes again.
type Change struct {
	ID     uint64
	Action Action
	// Data is a JSON object. Of CREATE and UPDATE it is the whole node as it
	// is afterwards, with its id; of DELETE the id. It also says who made the
	// edit ("by") and when ("at"), where that is known.
	Data string
	// Index and Term place the change in the voters' log. They are 0 in a
	// list that was founded from a backup.
	Index, Term uint64
	// Key is the edit's idempotency key, "" for none.
	Key string
	// Asked is the fingerprint of the edit that was asked for (Edit.Asked). It
	// is "" in a change that was learned from another agent or made by an older
	// program.
	Asked string `json:",omitempty"`
}

// Edit is a change that somebody asks for: it has no id yet, and its data may
// leave out what it doesn't want to change.
type Edit struct {
	Action Action
	// Data as sent: CREATE must hold name, host and port, UPDATE an id as
	// well, DELETE just the id. Keys that an UPDATE doesn't name stay as they
	// are, null removes one.
	Data json.RawMessage
	// Key makes the edit safe to repeat; see List.
	Key string
	// ID, when not 0, is the id that the change must get; else it is refused
	// with ErrGap or ErrConflict.
	ID uint64
	// IfChanged, when not 0, refuses an UPDATE or DELETE with ErrConflict
	// unless the node's Changed is this.
	IfChanged uint64
}

// MaxKey is the longest idempotency key.
const MaxKey = 128

// Check returns what is wrong with the edit, if anything, as far as that can be known
// without a list. The error is a Fault with ErrBadInput.
func (e Edit) Check() error {
	_, err := e.Parse()
	return err
}

// ParsedEdit is an Edit that passed Check, with what its data says. It is made by
// Edit.Parse where an edit comes in, so that what is behind need not look at JSON again.
type ParsedEdit struct {
	edit Edit
	data data
}

// Parse is Check, and returns what it has read.
func (e Edit) Parse() (ParsedEdit, error) {
	if !usableKey(e.Key) {
		return ParsedEdit{}, Faultf(ErrBadInput, "the idempotency key is not usable: send 1 to %d visible ASCII characters",
			MaxKey)
	}
	d, err := parseData(e.Data)
	if err == nil {
		err = d.check(e.Action)
	}
	return ParsedEdit{e, d}, err
}

// Edit returns the edit as it is to be sent on.
func (p ParsedEdit) Edit() Edit { return p.edit }

// Node returns the node with the fields that the edit names.
func (p ParsedEdit) Node() Node { return p.data.node }

// WithKey returns the edit with an idempotency key, unless it has one.
func (p ParsedEdit) WithKey(key string) ParsedEdit {
	if p.edit.Key == "" {
		p.edit.Key = key
	}
	return p
}

// Stamped returns the edit with who makes it and when, where its data does not say so. It
// fails with ErrBadInput when the data is too large then.
func (p ParsedEdit) Stamped(by string, at time.Time) (ParsedEdit, error) {
	if p.data.By == "" {
		p.data.By = by
	}
	if p.data.At == "" {
		p.data.At = at.UTC().Format(time.RFC3339)
	}
	stamp, err := json.Marshal(p.data.stamps)
	if err != nil {
		return ParsedEdit{}, err
	}
	asked := maps.Clone(p.data.fields)
	for _, key := range []string{"by", "at", "cluster_name"} {
		delete(asked, key)
	}
	if p.edit.Data, err = appendFields(stamp, asked); err == nil {
		err = checkSize(p.edit.Data)
	}
	return p, err
}

// Node returns the node as it is after the change, by and at, and fails with
// ErrBadInput when the data is not what the action needs. Of a DELETE only
// the id is set.
func (c Change) Node() (n Node, by, at string, err error) {
	d, err := c.parse()
	return d.node, d.By, d.At, err
}

// ClusterName returns the name that the change gives to the cluster, "" where it leaves that
// as it is.
func (c Change) ClusterName() string {
	if !strings.Contains(c.Data, `"cluster_name"`) { // as in all but a few
		return ""
	}
	d, err := c.parse()
	if err != nil {
		return ""
	}
	return d.ClusterName
}

// parse reads and checks the change's data.
func (c Change) parse() (data, error) {
	d, err := parseData([]byte(c.Data))
	if err == nil {
		err = d.check(c.Action)
	}
	if err == nil && d.node.ID == 0 {
		err = Faultf(ErrBadInput, "the data of change %d names no node id", c.ID)
	}
	if err != nil {
		return data{}, err
	}
	d.node.Changed = c.ID
	return d, nil
}

// stamps are what a change's data says besides its node: who made the edit and when, and how
// the cluster is called from then on. That stands in the change of some node, since the
// original program knows no other changes.
type stamps struct {
	By          string `json:"by,omitempty"`
	At          string `json:"at,omitempty"`
	ClusterName string `json:"cluster_name,omitempty"`
}

// data is the checked content of a change's data.
type data struct {
	fields map[string]json.RawMessage // all keys, as sent
	node   Node                       // the known ones; Extra holds the rest
	stamps
}

// parseData reads a change's data and checks each key that is there.
func parseData(raw []byte) (data, error) {
	if err := checkSize(raw); err != nil {
		return data{}, err
	}
	if !utf8.Valid(raw) { // JSON on disk and on the wire would change it
		return data{}, Faultf(ErrBadInput, "the data is not UTF-8")
	}
	var d data
	if t := bytes.TrimSpace(raw); len(t) == 0 || t[0] != '{' || json.Unmarshal(raw, &d.fields) != nil {
		return data{}, Faultf(ErrBadInput, "the data is not a JSON object: send one such as "+
			"{\"name\":\"n1\",\"host\":\"10.0.0.1\",\"port\":\"25483\"}")
	}
	for _, key := range slices.Sorted(maps.Keys(d.fields)) { // so that all agents find the same fault first
		if err := d.read(key, d.fields[key]); err != nil {
			return data{}, Faultf(ErrBadInput, "%v", err)
		}
	}
	return d, nil
}

func checkSize(raw []byte) error {
	if len(raw) > MaxData {
		return Faultf(ErrBadInput, "the data has %d bytes: at most %d are allowed", len(raw), MaxData)
	}
	return nil
}

// read checks the value of one key.
func (d *data) read(key string, value json.RawMessage) error {
	if f := fieldOf(key); f != nil {
		return f.read(&d.node, value)
	}
	switch key {
	case "by":
		return readStamp(key, value, &d.By)
	case "at":
		return readStamp(key, value, &d.At)
	case "cluster_name":
		if err := readStamp(key, value, &d.ClusterName); err != nil || d.ClusterName == "" {
			return err
		}
		return CheckClusterName(d.ClusterName)
	case "changed": // only the list sets it
		return nil
	}
	if d.node.Extra == nil {
		d.node.Extra = map[string]json.RawMessage{}
	}
	compact, err := json.Marshal(value) // as it is written, so that the list is the same once it is read again
	d.node.Extra[key] = compact
	return err
}

func readStamp(key string, value json.RawMessage, to *string) error {
	if json.Unmarshal(value, to) != nil {
		return fmt.Errorf("%s must be a string", key)
	}
	if len(*to) > MaxLabelValue || strings.ContainsFunc(*to, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return fmt.Errorf("%s must be at most %d characters and no control characters", key, MaxLabelValue)
	}
	return nil
}

// CheckClusterName returns what is wrong with the name of a cluster, if anything.
func CheckClusterName(name string) error {
	if CheckName(name) != nil {
		return fmt.Errorf("%q is not a name for a cluster: use 1 to 63 letters, digits, dots, dashes and underscores, a "+
			"letter or digit first", Clip(name))
	}
	return nil
}

// CheckUID returns what is wrong with an agent's uid, if anything: it is 32 hex digits.
func CheckUID(uid string) error {
	if len(uid) != 32 || strings.Trim(uid, "0123456789abcdef") != "" {
		return fmt.Errorf("%q is not a uid: it is 32 hex digits", Clip(uid))
	}
	return nil
}

// check returns what the data lacks that the action needs, if anything.
func (d data) check(a Action) error {
	var need []string
	switch a {
	case Create, Update:
		for _, f := range nodeFields {
			if !f.optional && (a == Update || f.key != "id") {
				need = append(need, f.key)
			}
		}
	case Delete:
		need = []string{"id"}
	default:
		return Faultf(ErrBadInput, "%q is not an action: use CREATE, UPDATE or DELETE", Clip(string(a)))
	}
	for _, key := range need {
		if v, ok := d.fields[key]; !ok || string(v) == "null" {
			return Faultf(ErrBadInput, "the data of %s must hold %s", a, key)
		}
	}
	return nil
}

// Entry is an edit at its place in the voters' log, ready to be decided.
type Entry struct {
	Index, Term uint64
	Edit        Edit
}

// Outcome is what became of an edit: a change and the node as it was right
// after it, or the reason for its refusal (a Fault).
type Outcome struct {
	Change Change
	Node   Node
	Err    error
}

// ChangeSet is a piece of a list's changes with what it is a piece of.
type ChangeSet struct {
	Cluster string
	History History
	State   uint64 // of the whole list it was taken from
	Digest  Digest // of the whole list; zero when it is not known
	Fork    Position
	Changes []Change
}

// NodeSet is a node list with what it is a list of.
type NodeSet struct {
	Cluster string
	History History
	State   uint64 // id of the newest change in it
	Nodes   []Node // by id
}
