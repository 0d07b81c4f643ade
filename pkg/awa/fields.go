package awa

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// nodeField is a key of a node in JSON, in a change's data and in an edit.
type nodeField struct {
	key      string
	optional bool   // an edit may leave it out, and null removes it
	kind     string // what its value must be, when it can't be read
	at       func(n *Node) any
	check    func(n *Node) error
	copy     func(to, from *Node)
	isZero   func(n *Node) bool
	same     func(a, b *Node) bool
	text     func(n *Node) string // as a message names it
}

// nodeFields are all fields of a Node except Changed, which the list alone sets, and
// Extra. What reads, checks, merges or compares nodes goes by this table, which nobody
// modifies.
var nodeFields = [...]nodeField{
	field("id", "the number of a node", func(n *Node) *uint64 { return &n.ID }, checkID),
	field("name", "a string", func(n *Node) *string { return &n.Name }, CheckName),
	field("host", "a string", func(n *Node) *string { return &n.Host }, CheckHost),
	field("port", "", func(n *Node) *Port { return &n.Port }, Port.check),
	optional(field("uid", "a string", func(n *Node) *string { return &n.UID }, CheckUID)),
	optional(labelsField()),
	optional(field("maintenance", "a string", func(n *Node) *string { return &n.Maintenance }, checkMaintenance)),
	optional(field("reason", "a string", func(n *Node) *string { return &n.Reason }, checkReason)),
	optional(field("ephemeral", "a string", func(n *Node) *string { return &n.Ephemeral }, CheckEphemeral)),
	optional(configuredField()),
}

// field makes the field that lies at a place of a Node. check gets its value, unless that
// is the zero value of an optional one. kind is "" when the error of the value's own
// UnmarshalJSON says what it must be.
func field[T comparable](key, kind string, at func(*Node) *T, check func(T) error) nodeField {
	return nodeField{
		key: key, kind: kind,
		at:     func(n *Node) any { return at(n) },
		check:  func(n *Node) error { return check(*at(n)) },
		copy:   func(to, from *Node) { *at(to) = *at(from) },
		isZero: func(n *Node) bool { var zero T; return *at(n) == zero },
		same:   func(a, b *Node) bool { return *at(a) == *at(b) },
		text:   func(n *Node) string { return fmt.Sprint(*at(n)) },
	}
}

func optional(f nodeField) nodeField {
	f.optional = true
	return f
}

func labelsField() nodeField {
	return nodeField{
		key: "labels", kind: "an object of strings",
		at:     func(n *Node) any { return &n.Labels },
		check:  func(n *Node) error { return CheckLabels(n.Labels) },
		copy:   func(to, from *Node) { to.Labels = from.Labels },
		isZero: func(n *Node) bool { return len(n.Labels) == 0 },
		same:   func(a, b *Node) bool { return maps.Equal(a.Labels, b.Labels) },
		text:   func(n *Node) string { return fmt.Sprint(slices.Sorted(maps.Keys(n.Labels))) },
	}
}

func configuredField() nodeField {
	return nodeField{
		key: "configured", kind: "an array of strings",
		at:     func(n *Node) any { return &n.Configured },
		check:  func(n *Node) error { return checkConfigured(n.Configured) },
		copy:   func(to, from *Node) { to.Configured = from.Configured },
		isZero: func(n *Node) bool { return len(n.Configured) == 0 },
		same:   func(a, b *Node) bool { return slices.Equal(a.Configured, b.Configured) },
		text:   func(n *Node) string { return strings.Join(n.Configured, " ") },
	}
}

// fieldOf returns the field with a key, or nil.
func fieldOf(key string) *nodeField {
	for i := range nodeFields {
		if nodeFields[i].key == key {
			return &nodeFields[i]
		}
	}
	return nil
}

// read reads and checks the field's value into a node.
func (f *nodeField) read(n *Node, value json.RawMessage) error {
	if err := json.Unmarshal(value, f.at(n)); err != nil {
		if f.kind == "" {
			return err
		}
		return fmt.Errorf("%s must be %s", f.key, f.kind)
	}
	return f.checkIn(n)
}

// checkIn returns what is wrong with the field in a node, if anything.
func (f *nodeField) checkIn(n *Node) error {
	if f.optional && f.isZero(n) {
		return nil
	}
	return f.check(n)
}

func checkID(id uint64) error {
	if id == 0 {
		return errors.New("id must be the number of a node")
	}
	return nil
}

func (p Port) check() error {
	if p == 0 {
		return errors.New("port must be a number from 1 to 65535")
	}
	return nil
}

// The bounds of Node.Ephemeral.
const (
	MinEphemeral = time.Minute
	MaxEphemeral = 366 * 24 * time.Hour
)

// CheckEphemeral returns what is wrong with a Node's Ephemeral, if anything.
func CheckEphemeral(s string) error {
	if d, err := time.ParseDuration(s); err != nil || d < MinEphemeral || d > MaxEphemeral {
		return fmt.Errorf("ephemeral must be a time from 1m to 8784h, such as 72h, and not %q", Clip(s))
	}
	return nil
}

func checkMaintenance(until string) error {
	if _, err := time.Parse(time.RFC3339, until); err != nil {
		return errors.New("maintenance must be the time at which it ends, such as 2026-11-23T18:00:00Z")
	}
	return nil
}

func checkReason(s string) error {
	switch {
	case len(s) > MaxReason:
		return fmt.Errorf("the reason has %d characters: at most %d are allowed", len(s), MaxReason)
	case !isLine(s):
		return errors.New("the reason must be one line without control characters, in UTF-8")
	}
	return nil
}

// MarshalJSON writes the known keys, then the unknown ones.
func (n Node) MarshalJSON() ([]byte, error) {
	b, err := json.Marshal(NodeFields(n))
	if err != nil || len(n.Extra) == 0 {
		return b, err
	}
	return appendFields(b, n.Extra)
}

// UnmarshalJSON reads what MarshalJSON wrote. A key that differs from a known
// one by case is an unknown one, as in a change's data.
func (n *Node) UnmarshalJSON(b []byte) error {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(b, &fields); err != nil {
		return err
	}
	var read Node
	take := func(key string, to any) error {
		value, ok := fields[key]
		if !ok {
			return nil
		}
		delete(fields, key)
		if err := json.Unmarshal(value, to); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		return nil
	}
	for _, f := range nodeFields {
		if err := take(f.key, f.at(&read)); err != nil {
			return err
		}
	}
	if err := take("changed", &read.Changed); err != nil {
		return err
	}
	if len(fields) > 0 {
		read.Extra = fields
	}
	*n = read
	return nil
}

// appendFields adds fields, sorted by key, to the JSON object b.
func appendFields(b []byte, fields map[string]json.RawMessage) ([]byte, error) {
	if len(fields) == 0 {
		return b, nil
	}
	more, err := json.Marshal(fields)
	if err != nil {
		return nil, err
	}
	if len(b) > 2 { // more than {}
		more[0] = ','
	} else {
		more[0] = '{'
		b = b[:1]
		return append(b[:0], more...), nil
	}
	return append(b[:len(b)-1], more...), nil
}
