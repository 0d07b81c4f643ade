package report

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"are-we-alive/pkg/awa"
)

// Selection says which nodes a check is about: those that fit all of it. The
// zero Selection is about every node.
type Selection struct {
	Names   []string // the nodes of these names, compared without regard to case; none: of any
	Labels  []Label  // that a node must have, all of them
	Exclude []Glob   // leaves the nodes out that match any
}

// Label is a label of a node with its value.
type Label struct{ Key, Value string }

// String returns the form that ParseLabel reads.
func (l Label) String() string { return l.Key + "=" + l.Value }

// ParseLabel reads KEY=VALUE. The error names what it got.
func ParseLabel(s string) (Label, error) {
	key, value, ok := strings.Cut(s, "=")
	if !ok || value == "" {
		return Label{}, fmt.Errorf("%q is not a label with a value: write it as role=database", clip(s, maxShort))
	}
	return Label{key, value}, awa.CheckLabels(map[string]string{key: value})
}

// Glob is a pattern that a whole name matches or not: * stands for any
// characters, ? for one, [a-c] for one of these.
type Glob struct{ pattern string }

// String returns the pattern.
func (g Glob) String() string { return g.pattern }

// ParseGlob reads a pattern. The error names what it got.
func ParseGlob(s string) (Glob, error) {
	if _, err := path.Match(s, ""); err != nil || s == "" {
		return Glob{}, fmt.Errorf("%q is not a pattern for names: write one such as web*, db? or n[1-3]", clip(s, maxShort))
	}
	return Glob{s}, nil
}

// matches reports whether a name fits the pattern, without regard to case.
func (g Glob) matches(name string) bool {
	ok, err := path.Match(awa.NameKey(g.pattern), awa.NameKey(name))
	return ok && err == nil
}

// of returns the selected nodes of a status, or a sentence that says why there
// is nothing to judge.
func (s Selection) of(st awa.ClusterStatus) ([]awa.NodeStatus, string) {
	agent := orWord(clip(plain(st.Agent), maxShort), "the agent asked")
	if len(st.Nodes) == 0 && len(s.Names) == 0 {
		return nil, "the node list of " + agent + " is empty, so there is nothing to judge: add nodes with awa-agent node add"
	}
	wanted := make(map[string]bool, len(s.Names)) // by key; true once it was found
	for _, name := range s.Names {
		wanted[awa.NameKey(name)] = false
	}
	selected := make([]awa.NodeStatus, 0, len(st.Nodes))
	for _, n := range st.Nodes {
		if len(s.Names) > 0 {
			if _, ok := wanted[n.Node.Key()]; !ok {
				continue
			}
			wanted[n.Node.Key()] = true
		}
		if s.keeps(n.Node) {
			selected = append(selected, n)
		}
	}
	var unknown []string
	for _, name := range s.Names {
		if !wanted[awa.NameKey(name)] {
			unknown = append(unknown, clip(plain(name), maxShort))
		}
	}
	switch {
	case len(unknown) > 0:
		return nil, "the node list of " + agent + " has no node " + list(unknown, len(unknown), maxOnlyWhy) +
			": correct --node, or add the node (see awa-agent node list)"
	case len(selected) == 0:
		return nil, fmt.Sprintf("none of the %d nodes is selected by %s: correct them (see awa-agent node list for "+
			"names and labels)", len(st.Nodes), clip(plain(s.String()), maxOnlyWhy))
	}
	return selected, ""
}

// keeps reports whether a node has the labels and is not left out.
func (s Selection) keeps(n awa.Node) bool {
	for _, l := range s.Labels {
		if value, ok := n.Labels[l.Key]; !ok || value != l.Value {
			return false
		}
	}
	return !slices.ContainsFunc(s.Exclude, func(g Glob) bool { return g.matches(n.Name) })
}

// String returns the selection as flags: "--label role=database --exclude web*".
func (s Selection) String() string {
	var flags []string
	for _, name := range s.Names {
		flags = append(flags, "--node "+name)
	}
	for _, l := range s.Labels {
		flags = append(flags, "--label "+l.String())
	}
	for _, g := range s.Exclude {
		flags = append(flags, "--exclude "+g.String())
	}
	return strings.Join(flags, " ")
}
