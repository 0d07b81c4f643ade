package main

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"are-we-alive/pkg/api"
	"are-we-alive/pkg/awa"
)

// changesCmd is awa-agent changes.
type changesCmd struct {
	target
	Since  int64 `placeholder:"N" default:"0" help:"Only the changes after the one with this id."`
	Follow bool  `short:"f" help:"Wait for further changes, until interrupted."`
}

// followEvery is how often --follow asks.
const followEvery = time.Second

// Run prints the change log. It reads it from its beginning, since what a change has
// changed shows only beside the one before it.
func (c *changesCmd) Run(ctx context.Context, std streams) error {
	if c.Since < -1 {
		return usageError{fmt.Errorf("--since %d: use a change's id, or 0 for all", c.Since)}
	}
	list := replayed{nodes: map[uint64]awa.Node{}}
	for at := uint64(0); ; {
		changes, err := c.page(ctx, at)
		switch {
		case c.Follow && ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		}
		for _, ch := range changes {
			d, err := list.apply(ch)
			if err == nil && int64(ch.ID) > c.Since {
				err = c.print(std, d)
			}
			if err != nil {
				return err
			}
			at = ch.ID
		}
		switch {
		case len(changes) > 0: // there may be more
			continue
		case !c.Follow:
			return nil
		}
		select {
		case <-time.After(followEvery):
		case <-ctx.Done():
			return nil
		}
	}
}

// page gets the next changes after one. Its time doesn't run while they are
// printed, perhaps to somebody who reads page by page.
func (c *changesCmd) page(ctx context.Context, at uint64) (changes []awa.Change, err error) {
	err = c.read(ctx, func(ctx context.Context, client *api.Client, addr string) error {
		set, err := client.Changes(ctx, addr, at, 0)
		changes = set.Changes
		return err
	})
	return changes, err
}

// doneChange is a change with its node before and after it, as -o json has it, one a line.
type doneChange struct {
	ID     uint64     `json:"id"`
	Action awa.Action `json:"action"`
	Node   uint64     `json:"node"`
	Name   string     `json:"name,omitempty"` // after it, or before a DELETE
	Addr   string     `json:"addr,omitempty"`
	By     string     `json:"by,omitempty"`
	At     string     `json:"at,omitempty"` // RFC 3339
	Before *awa.Node  `json:"before"`       // null for a CREATE
	After  *awa.Node  `json:"after"`        // null for a DELETE
	// ClusterName is the new name of the cluster, where the change gives it one.
	ClusterName string `json:"cluster_name,omitempty"`

	nameBefore string
}

// replayed is the list as the changes so far have made it.
type replayed struct {
	nodes       map[uint64]awa.Node
	clusterName string
}

// apply makes a change of the list.
func (l *replayed) apply(ch awa.Change) (doneChange, error) {
	n, by, at, err := ch.Node()
	if err != nil {
		return doneChange{}, err
	}
	d := doneChange{ID: ch.ID, Action: ch.Action, Node: n.ID, By: by, At: at, ClusterName: ch.ClusterName(),
		nameBefore: l.clusterName}
	l.clusterName = cmp.Or(d.ClusterName, l.clusterName)
	if before, ok := l.nodes[n.ID]; ok {
		d.Before = &before
		d.Name, d.Addr = before.Name, before.Addr()
	}
	if ch.Action == awa.Delete {
		delete(l.nodes, n.ID)
		return d, nil
	}
	l.nodes[n.ID], d.After = n, &n
	d.Name, d.Addr = n.Name, n.Addr()
	return d, nil
}

// text says what was changed.
func (d doneChange) text() string {
	if d.ClusterName == "" {
		return d.nodeText()
	}
	text := fmt.Sprintf("cluster name %s → %s", cmp.Or(d.nameBefore, "none"), d.ClusterName)
	if d.Before == nil || d.After == nil || len(awa.Differences(*d.Before, *d.After)) > 0 {
		text = d.nodeText() + "; " + text
	}
	return text
}

// nodeText says what of the node was changed.
func (d doneChange) nodeText() string {
	if d.Before == nil || d.After == nil {
		text := fmt.Sprintf("%s: node %d at %s", d.Name, d.Node, d.Addr)
		if d.After != nil && len(d.After.Labels) > 0 {
			text += " " + labelText(d.After.Labels)
		}
		return text
	}
	return d.Before.Name + ": " + awa.DifferencesText(*d.Before, *d.After)
}

// print writes one change.
func (c *changesCmd) print(std streams, d doneChange) error {
	if c.Output == "json" {
		return printJSONLine(std.out, d)
	}
	_, err := fmt.Fprintf(std.out, "%6d  %-20s  %-6s  %s  (%s)\n", d.ID, printable(d.At), printable(string(d.Action)),
		printable(d.text()), printable(d.By))
	return err
}
