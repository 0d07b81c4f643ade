package main

import (
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

// Run prints the change log.
func (c *changesCmd) Run(ctx context.Context, std streams) error {
	if c.Since < -1 {
		return usageError{fmt.Errorf("--since %d: use a change's id, or 0 for all", c.Since)}
	}
	for at := uint64(max(c.Since, 0)); ; {
		changes, err := c.page(ctx, at)
		switch {
		case c.Follow && ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		}
		for _, ch := range changes {
			if err := c.print(std, ch); err != nil {
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

// changeJSON is a change in -o json, one a line.
type changeJSON struct {
	ID     uint64     `json:"id"`
	Action awa.Action `json:"action"`
	Node   uint64     `json:"node"`
	Name   string     `json:"name,omitempty"`
	Addr   string     `json:"addr,omitempty"`
	By     string     `json:"by,omitempty"`
	At     string     `json:"at,omitempty"` // RFC 3339
}

// print writes one change.
func (c *changesCmd) print(std streams, ch awa.Change) error {
	n, by, at, err := ch.Node()
	if err != nil {
		return err
	}
	if c.Output == "json" {
		j := changeJSON{ID: ch.ID, Action: ch.Action, Node: n.ID, Name: n.Name, By: by, At: at}
		if n.Name != "" {
			j.Addr = n.Addr()
		}
		return printJSONLine(std.out, j)
	}
	what := fmt.Sprintf("node %d", n.ID)
	if ch.Action != awa.Delete {
		what = fmt.Sprintf("node %d: %s at %s", n.ID, n.Name, n.Addr())
		if l := labelText(n.Labels); l != "" {
			what += " " + l
		}
	}
	_, err = fmt.Fprintf(std.out, "%6d  %-20s  %-6s  %s  (%s)\n", ch.ID, printable(at), printable(string(ch.Action)),
		printable(what), printable(by))
	return err
}
