package main

import (
	"cmp"
	"context"
	"fmt"

	"are-we-alive/pkg/api"
	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/store"
)

// backupCmd is awa-agent backup.
type backupCmd struct {
	askFlags
	File string `arg:"" help:"File to write; it must not exist."`
}

// Run saves the list.
func (c *backupCmd) Run(ctx context.Context, std streams) error {
	first, err := c.page(ctx, 0)
	if err != nil {
		return err
	}
	page, of, name := first.Changes, first, ""
	err = store.CreateBackup(c.File, of, func() ([]awa.Change, error) {
		changes := page
		if len(changes) == 0 {
			return nil, fmt.Errorf("the agent says its state is %d and returns fewer changes", of.State)
		}
		for _, c := range changes {
			name = cmp.Or(c.ClusterName(), name)
		}
		at := changes[len(changes)-1].ID
		if page = nil; at >= of.State {
			return changes, nil
		}
		more, err := c.page(ctx, at)
		if err == nil && (more.Cluster != of.Cluster || more.History != of.History) {
			err = fmt.Errorf("the agent's list became another one in the middle of it (history %s, before %s): try again",
				more.History, of.History)
		}
		page = more.Changes
		return changes, err
	})
	if err != nil {
		return err
	}
	cluster := of.Cluster
	if name != "" {
		cluster = name + " (" + cluster + ")"
	}
	_, err = fmt.Fprintf(std.out, "Saved the list of cluster %s at state %d to %s.\n", printable(cluster), of.State, c.File)
	return err
}

// page gets the next changes after one. Each page has a time of its own, so
// that a list of any length can be saved.
func (c *backupCmd) page(ctx context.Context, at uint64) (set awa.ChangeSet, err error) {
	err = c.read(ctx, func(ctx context.Context, client *api.Client, addr string) error {
		set, err = client.Sync(ctx, addr, awa.Position{State: at}, 0)
		return err
	})
	return set, err
}
