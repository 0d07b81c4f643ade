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

// Check says what is wrong with the edit, if anything, as far as can be told
// without a list. The error is a Fault with ErrBadInput.
func (e Edit) Check() error {
	_, err := e.parse()
	return err
}

// parse is Check, and gives what it has read.
func (e Edit) parse() (data, error) {
	if !usableKey(e.Key) {
		return data{}, badInput("the idempotency key is not usable: send 1 to %d visible ASCII characters", MaxKey)
	}
	d, err := parseData(e.Data)
	if err == nil {
		err = d.check(e.Action)
	}
	return d, err
}

// Node gives the node as it is after the change, by and at, and fails with
// ErrBadInput when the data is not what the action needs. Of a DELETE only
// the id is set.
func (c Change) Node() (n Node, by, at string, err error) {
	d, err := parseData([]byte(c.Data))
	if err == nil {
		err = d.check(c.Action)
	}
	if err == nil && d.node.ID == 0 {
		err = badInput("the data of change %d names no node id", c.ID)
	}
	if err != nil {
		return Node{}, "", "", err
	}
	d.node.Changed = c.ID
	return d.node, d.by, d.at, nil
}

// Stamp fills in who makes the edit and when, where the data does not say so.
func (e *Edit) Stamp(by string, at time.Time) error {
	d, err := parseData(e.Data)
	if err != nil {
		return err
	}
	if d.by == "" {
		d.by = by
	}
	if d.at == "" {
		d.at = at.UTC().Format(time.RFC3339)
	}
	add, err := json.Marshal(stampFields{d.by, d.at})
	if err != nil {
		return err
	}
	delete(d.fields, "by")
	delete(d.fields, "at")
	e.Data, err = appendFields(add, d.fields)
	return err
}

type stampFields struct {
	By string `json:"by,omitempty"`
	At string `json:"at,omitempty"`
}

// data is the checked content of a change's data.
type data struct {
	fields map[string]json.RawMessage // all keys, as sent
	node   Node                       // the known ones; Extra holds the rest
	by, at string
}

// parseData reads a change's data and checks each key that is there.
func parseData(raw []byte) (data, error) {
	if len(raw) > MaxData {
		return data{}, badInput("the data has %d bytes: at most %d are allowed", len(raw), MaxData)
	}
	if !utf8.Valid(raw) { // JSON on disk and on the wire would change it
		return data{}, badInput("the data is not UTF-8")
	}
	var d data
	if t := bytes.TrimSpace(raw); len(t) == 0 || t[0] != '{' || json.Unmarshal(raw, &d.fields) != nil {
		return data{}, badInput("the data is not a JSON object: send one such as {\"name\":\"n1\",\"host\":\"10.0.0.1\",\"port\":\"25483\"}")
	}
	for _, key := range slices.Sorted(maps.Keys(d.fields)) { // so that all agents find the same fault first
		if err := d.read(key, d.fields[key]); err != nil {
			return data{}, badInput("%w", err)
		}
	}
	return d, nil
}

// read checks the value of one key.
func (d *data) read(key string, value json.RawMessage) (err error) {
	n := &d.node
	switch key {
	case "id":
		if json.Unmarshal(value, &n.ID) != nil || n.ID == 0 {
			return fmt.Errorf("id must be the number of a node")
		}
	case "name":
		if err = readString(key, value, &n.Name); err == nil {
			err = CheckName(n.Name)
		}
	case "host":
		if err = readString(key, value, &n.Host); err == nil {
			err = CheckHost(n.Host)
		}
	case "port":
		err = n.Port.UnmarshalJSON(value)
	case "uid":
		if err = readString(key, value, &n.UID); err == nil && n.UID != "" {
			err = checkUID(n.UID)
		}
	case "labels":
		if string(value) != "null" && json.Unmarshal(value, &n.Labels) != nil {
			return fmt.Errorf("labels must be an object of strings")
		}
		err = CheckLabels(n.Labels)
	case "maintenance":
		if err = readString(key, value, &n.Maintenance); err == nil && n.Maintenance != "" {
			if _, e := time.Parse(time.RFC3339, n.Maintenance); e != nil {
				return fmt.Errorf("maintenance must be the time at which it ends, such as 2026-11-23T18:00:00Z")
			}
		}
	case "by":
		err = readStamp(key, value, &d.by)
	case "at":
		err = readStamp(key, value, &d.at)
	case "changed": // ours alone to give
	default:
		if n.Extra == nil {
			n.Extra = map[string]json.RawMessage{}
		}
		n.Extra[key] = value
	}
	return err
}

// readString reads a string; null gives "".
func readString(key string, value json.RawMessage, to *string) error {
	if json.Unmarshal(value, to) != nil {
		return fmt.Errorf("%s must be a string", key)
	}
	return nil
}

func readStamp(key string, value json.RawMessage, to *string) error {
	if err := readString(key, value, to); err != nil {
		return err
	}
	if len(*to) > MaxLabelValue || strings.ContainsFunc(*to, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return fmt.Errorf("%s must be at most %d characters and no control characters", key, MaxLabelValue)
	}
	return nil
}

func checkUID(uid string) error {
	if len(uid) != 32 || strings.Trim(uid, "0123456789abcdef") != "" {
		return fmt.Errorf("%q is no uid: it is 32 hex digits", clip(uid))
	}
	return nil
}

// check says whether the data holds what the action needs.
func (d data) check(a Action) error {
	var need []string
	switch a {
	case Create:
		need = []string{"name", "host", "port"}
	case Update:
		need = []string{"id", "name", "host", "port"}
	case Delete:
		need = []string{"id"}
	default:
		return badInput("%q is no action: use CREATE, UPDATE or DELETE", clip(string(a)))
	}
	for _, key := range need {
		if v, ok := d.fields[key]; !ok || string(v) == "null" {
			return badInput("the data of %s must hold %s", a, key)
		}
	}
	return nil
}

// badInput makes a Fault with ErrBadInput.
func badInput(format string, args ...any) error {
	return &Fault{ErrBadInput, fmt.Errorf(format, args...).Error()}
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
