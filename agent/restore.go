package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/daemon"
	"are-we-alive/pkg/store"
)

// restoreCmd is awa-agent restore.
type restoreCmd struct {
	keyFlag
	File    string `arg:"" help:"File that awa-agent backup wrote."`
	DataDir string `placeholder:"DIR" default:"${data_dir}" env:"AWA_DATA_DIR" help:"${help_restore_data_dir}"`
}

// Run puts the list into an empty data folder.
func (c *restoreCmd) Run(ctx context.Context, std streams) error {
	set, err := store.ReadBackup(c.File)
	if err != nil {
		return err
	}
	client, err := c.client(awa.RoleMember)
	if err != nil {
		return err
	}
	defer client.Close()
	ask := func(ctx context.Context, addr string) (awa.Self, error) { return client.Ping(ctx, addr, true) }
	if set.History.Epoch, err = daemon.HighestEpoch(ctx, set, ask); err != nil {
		return err
	}
	if err := daemon.BecomeOwner(c.DataDir); err != nil {
		return err
	}
	h, err := daemon.Restore(c.DataDir, set)
	if errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("%w: run it as the user of the agent", err)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(std.out, "%s now holds the list at state %d as history %s, with this agent as its only voter. "+
		"Start this agent; the others follow it when they are started, with their old data or with empty folders and "+
		"--join.\n", c.DataDir, set.State, h)
	return err
}
