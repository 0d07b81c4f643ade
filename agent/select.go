package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"are-we-alive/pkg/api"
	"are-we-alive/pkg/awa"
)

// selection is which nodes a command edits.
type selection struct {
	Name  []string          `arg:"" optional:"" complete:"node" help:"Names of nodes."`
	Label map[string]string `placeholder:"K=V" mapsep:"none" help:"${help_label_selection}"`
}

// check returns what is wrong with it, if anything.
func (s selection) check() error {
	switch {
	case len(s.Name) == 0 && len(s.Label) == 0:
		return errors.New("the nodes are missing: give their names, or --label")
	case len(s.Name) > 0 && len(s.Label) > 0:
		return errors.New("names and --label exclude each other: give one of them")
	}
	return nil
}

// of returns the nodes of a list that are selected, each once. When a name is not on the
// list, there are none.
func (s selection) of(list []awa.Node) ([]awa.Node, error) {
	if len(s.Label) > 0 {
		return s.labelled(list)
	}
	var nodes []awa.Node
	var unknown []string
	for _, name := range s.Name {
		i := slices.IndexFunc(list, func(n awa.Node) bool { return n.Key() == awa.NameKey(name) })
		switch {
		case i < 0:
			unknown = append(unknown, name)
		case !slices.ContainsFunc(nodes, func(n awa.Node) bool { return n.ID == list[i].ID }):
			nodes = append(nodes, list[i])
		}
	}
	if len(unknown) > 0 {
		return nil, fmt.Errorf("the list has no node %s, so nothing was changed: awa-agent node list shows the names",
			strings.Join(unknown, ", "))
	}
	return nodes, nil
}

// labelled returns the nodes that have all the labels.
func (s selection) labelled(list []awa.Node) ([]awa.Node, error) {
	var nodes []awa.Node
	for _, n := range list {
		all := true
		for key, value := range s.Label {
			has, ok := n.Labels[key]
			all = all && ok && has == value
		}
		if all {
			nodes = append(nodes, n)
		}
	}
	if nodes == nil {
		return nil, fmt.Errorf("no node has the label %s, so nothing was changed: awa-agent node list shows the labels",
			labelText(s.Label))
	}
	return nodes, nil
}

// fieldsOf returns the fields of a node's edit.
type fieldsOf func(awa.Node) (map[string]any, error)

// editNodes makes an edit of each node that is selected, and has done called with it. It
// edits all, or none when a name is unknown or fields fails. An error in the midst says what
// was done.
func (t target) editNodes(ctx context.Context, s selection, a awa.Action, fields fieldsOf, done func(made) error) error {
	if err := s.check(); err != nil {
		return usageError{err}
	}
	var nodes []awa.Node
	err := t.call(ctx, awa.RoleMember, func(ctx context.Context, client *api.Client, addr string) error {
		set, err := client.Nodes(ctx, addr)
		if err != nil {
			return unsentError{err}
		}
		nodes, err = s.of(set.Nodes)
		return err
	})
	if err != nil {
		return err
	}
	for _, n := range nodes {
		if _, err := fields(n); err != nil {
			return err
		}
	}
	for i, n := range nodes {
		var m made
		err := t.call(ctx, awa.RoleMember, func(ctx context.Context, client *api.Client, addr string) (err error) {
			m, err = editNode(ctx, client, addr, n, a, fields)
			return err
		})
		if err == nil {
			err = done(m)
		}
		if err != nil && len(nodes) > 1 {
			err = fmt.Errorf("%s: %w (%d of %d nodes were edited)", n.Name, err, i, len(nodes))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// editNode edits a node on what the list says of it. When somebody else was faster, it
// reads the list again, so that no edit is undone unseen.
func editNode(ctx context.Context, client *api.Client, addr string, n awa.Node, a awa.Action,
	fields fieldsOf) (made, error) {
	for try, pauses := 1, newPauses(); ; try++ {
		f, err := fields(n)
		if err != nil {
			return made{}, err
		}
		f["id"] = n.ID
		m, err := nodeEdit{action: a, fields: f, ifChanged: n.Changed}.edit(ctx, client, addr)
		if a == awa.Delete {
			m.node = n
		}
		if !errors.Is(err, awa.ErrConflict) || try == editConflicts || pauses.Wait(ctx) != nil {
			return m, err
		}
		set, err := client.Nodes(ctx, addr)
		if err != nil {
			return made{}, unsentError{err}
		}
		i := slices.IndexFunc(set.Nodes, func(other awa.Node) bool { return other.ID == n.ID })
		if i < 0 {
			return made{}, fmt.Errorf("somebody has removed the node %s meanwhile", n.Name)
		}
		n = set.Nodes[i]
	}
}
