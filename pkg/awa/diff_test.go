package awa

import (
	"encoding/json"
	"testing"
)

// TestDifferencesText changes each field of a node.
func TestDifferencesText(t *testing.T) {
	before := Node{ID: 1, Name: "db1", Host: "10.0.0.3", Port: 25483, Labels: map[string]string{"role": "db", "rack": "1"},
		Extra: map[string]json.RawMessage{"x": json.RawMessage(`"a"`)}}
	for want, change := range map[string]func(n *Node){
		"nothing was changed":                       func(n *Node) { n.Changed = 7 },
		"name db1 → db2":                            func(n *Node) { n.Name = "db2" },
		"host 10.0.0.3 → ::1":                       func(n *Node) { n.Host = "::1" },
		"port 25483 → 7":                            func(n *Node) { n.Port = 7 },
		"uid none → ab":                             func(n *Node) { n.UID = "ab" },
		"label rack 1 → none":                       func(n *Node) { n.Labels = map[string]string{"role": "db"} },
		"label rack 1 → none, label role db → none": func(n *Node) { n.Labels = nil },
		"label role db → web":                       func(n *Node) { n.Labels = map[string]string{"role": "web", "rack": "1"} },
		"maintenance none → 2026-12-01T12:00:00Z, reason none → kernel": func(n *Node) {
			n.Maintenance, n.Reason = "2026-12-01T12:00:00Z", "kernel"
		},
		`x "a" → none, y none → 2`: func(n *Node) { n.Extra = map[string]json.RawMessage{"y": json.RawMessage("2")} },
	} {
		after := before
		change(&after)
		if got := DifferencesText(before, after); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
