package awa

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"
)

// fingerprintSize is how many bytes of the hash are kept: two edits that share
// a key by mistake differ in it for certain, and nobody gains by finding two
// that don't.
const fingerprintSize = 12

// notAsked are the keys of an edit's data that don't belong to what it asks
// for: who asked and when differs between repetitions of the same edit, and
// "changed" is never read.
var notAsked = []string{"by", "at", "changed"}

// Made reports whether this edit, which has the key of the change, is the one
// that made it. Where the change has no fingerprint, the edit counts as the
// same when it asks for nothing that the change has not done.
func (p ParsedEdit) Made(c Change) bool {
	in := p.data
	if p.edit.Action != c.Action {
		return false
	}
	if c.Asked != "" {
		return p.fingerprint() == c.Asked
	}
	was, err := parseData([]byte(c.Data))
	if err != nil || in.node.ID != 0 && in.node.ID != was.node.ID {
		return false
	}
	asked, done := in.asked(), was.asked()
	for key, value := range asked {
		// A CREATE or UPDATE writes an empty value by leaving the key out.
		if got, ok := done[key]; ok && got != value || !ok && !isEmpty(value) {
			return false
		}
	}
	return true
}

// fingerprint returns the hash of all that an edit asks for, in the same form
// however its JSON was written.
func (p ParsedEdit) fingerprint() string {
	e, asked := p.edit, p.data.asked()
	b, err := json.Marshal(struct {
		Action    Action
		ID        uint64
		IfChanged uint64
		Keys      []string
		Asked     map[string]string
	}{e.Action, e.ID, e.IfChanged, slices.Sorted(maps.Keys(asked)), asked})
	if err != nil {
		panic(err) // strings and numbers
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:fingerprintSize])
}

// asked are the keys that are named, each with its value in one form.
func (d data) asked() map[string]string {
	all := map[string]string{}
	for key, value := range d.fields {
		switch {
		case slices.Contains(notAsked, key):
		case key == "port" && string(value) != "null":
			all[key] = d.node.Port.String() // sent as a number or as a string
		default:
			all[key] = canonical(value)
		}
	}
	return all
}

// canonical writes JSON with the keys of its objects in order, no blanks, and
// numbers as they were.
func canonical(raw json.RawMessage) string {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil {
		return string(raw)
	}
	b, err := json.Marshal(v)
	if err != nil {
		return string(raw)
	}
	return string(b)
}

// isEmpty reports whether a value stands for an optional key that is left out.
func isEmpty(value string) bool { return value == "null" || value == `""` || value == "{}" }
