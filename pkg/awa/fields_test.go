package awa

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// Every field of a Node is in the table, by its key in JSON: one that was forgotten would
// be neither read nor checked nor kept by an edit.
func TestNodeFields(t *testing.T) {
	beside := []string{"changed", "-"} // set by the list alone; Extra
	node := reflect.TypeFor[Node]()
	seen := 0
	for f := range node.Fields() {
		key, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if slices.Contains(beside, key) {
			continue
		}
		seen++
		entry := fieldOf(key)
		if entry == nil {
			t.Errorf("the field %s has no line in nodeFields with the key %q", f.Name, key)
			continue
		}
		var n Node
		if at := reflect.ValueOf(entry.at(&n)).Pointer(); at != reflect.ValueOf(&n).Elem().FieldByIndex(f.Index).Addr().Pointer() {
			t.Errorf("the line %q in nodeFields is not about the field %s", key, f.Name)
		}
		if optional := strings.HasSuffix(f.Tag.Get("json"), ",omitempty"); optional != entry.optional {
			t.Errorf("%s: optional is %v, and its tag says %v", key, entry.optional, optional)
		}
	}
	if seen != len(nodeFields) {
		t.Errorf("%d of the %d lines of nodeFields are fields of a node", seen, len(nodeFields))
	}
}

// Each field gets through an edit, into the list and out again.
func TestNodeFields_edit(t *testing.T) {
	full := Node{
		ID: 1, Name: "n1", Host: "10.0.0.1", Port: 25483, UID: strings.Repeat("ab", 16),
		Labels: map[string]string{"role": "web"}, Maintenance: "2026-11-23T18:00:00Z", Reason: "new disk",
		Ephemeral: "72h", Configured: []string{"ephemeral", "labels.role"},
		Extra: map[string]json.RawMessage{"rack": []byte(`"r1"`)},
	}
	b, err := json.Marshal(full)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range nodeFields {
		if f.isZero(&full) || !strings.Contains(string(b), fmt.Sprintf("%q:", f.key)) {
			t.Errorf("this test says nothing of %s", f.key)
		}
	}
	create := strings.Replace(string(b), `"id":1,`, "", 1)
	d := NewList().Draft()
	c, decided, err := d.Decide(Edit{Action: Create, Data: []byte(create)}, 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	full.Changed = 1
	read, _, _, err := c.Node()
	if err != nil || !reflect.DeepEqual(read, full) || !reflect.DeepEqual(decided, full) {
		t.Errorf("the edit made %+v, which reads as %+v (%v)", decided, read, err)
	}
	var stored Node
	if b, err = json.Marshal(full); err == nil {
		err = json.Unmarshal(b, &stored)
	}
	if err != nil || !reflect.DeepEqual(stored, full) {
		t.Errorf("%s reads as %+v (%v)", b, stored, err)
	}
}
