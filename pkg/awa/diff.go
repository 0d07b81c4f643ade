package awa

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Difference is a field in which a node is not as it was.
type Difference struct {
	Field    string // "host", "label role"
	From, To string // "" where there was or is none
}

// Differences returns in which fields a node is not as it was, label by label.
func Differences(before, after Node) []Difference {
	var all []Difference
	add := func(field, from, to string) {
		if from != to {
			all = append(all, Difference{field, from, to})
		}
	}
	for _, f := range nodeFields {
		if f.key != "labels" {
			add(f.key, f.textIn(&before), f.textIn(&after))
		}
	}
	for _, key := range bothKeys(before.Labels, after.Labels) {
		add("label "+key, before.Labels[key], after.Labels[key])
	}
	for _, key := range bothKeys(before.Extra, after.Extra) {
		add(key, string(before.Extra[key]), string(after.Extra[key]))
	}
	return all
}

// DifferencesText says in which fields a node is not as it was: "host 10.0.0.3 → 10.0.0.4".
func DifferencesText(before, after Node) string {
	var parts []string
	for _, d := range Differences(before, after) {
		parts = append(parts, fmt.Sprintf("%s %s → %s", d.Field, cmp.Or(d.From, "none"), cmp.Or(d.To, "none")))
	}
	return cmp.Or(strings.Join(parts, ", "), "nothing was changed")
}

// textIn is the field's value in a node, "" for none.
func (f *nodeField) textIn(n *Node) string {
	if f.isZero(n) {
		return ""
	}
	return f.text(n)
}

// bothKeys returns the keys of both maps, sorted.
func bothKeys[V any](a, b map[string]V) []string {
	all := slices.Sorted(maps.Keys(a))
	for key := range b {
		if _, ok := a[key]; !ok {
			all = append(all, key)
		}
	}
	slices.Sort(all)
	return all
}
