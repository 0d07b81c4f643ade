package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"are-we-alive/pkg/api"
	"are-we-alive/pkg/daemon"
	"are-we-alive/pkg/store"
)

// backupCmd is awa-agent backup.
type backupCmd struct {
	keyFlag
	File  string `arg:"" help:"File to write; it must not exist."`
	Agent string `placeholder:"HOST[:PORT]" default:"127.0.0.1" env:"AWA_AGENT" help:"Agent to ask; any of the cluster will do (${default})."`
}

// Run saves the list.
func (c *backupCmd) Run(ctx context.Context, std streams) error {
	return target{keyFlag: c.keyFlag, Agent: c.Agent}.read(ctx, func(ctx context.Context, client *api.Client, addr string) error {
		set, err := fetch(ctx, client, addr)
		if err != nil {
			return err
		}
		if err := store.WriteBackup(c.File, set); err != nil {
			return err
		}
		_, err = fmt.Fprintf(std.out, "Saved the list of cluster %s at state %d to %s.\n", set.Cluster, set.State, c.File)
		return err
	})
}

// restoreCmd is awa-agent restore.
type restoreCmd struct {
	File    string `arg:"" help:"File that awa-agent backup wrote."`
	DataDir string `placeholder:"DIR" default:"/var/lib/are-we-alive" env:"AWA_DATA_DIR" help:"Empty data folder of a stopped agent (${default})."`
}

// Run puts the list into an empty data folder.
func (c *restoreCmd) Run(_ context.Context, std streams) error {
	set, err := store.ReadBackup(c.File)
	if err != nil {
		return err
	}
	h, err := daemon.Restore(c.DataDir, set)
	if errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("%w: run it as the user of the agent", err)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(std.out, "%s now holds the list at state %d as history %s, with this agent as its only voter. Start this agent; start the others with empty data folders and --join.\n", c.DataDir, set.State, h)
	return err
}
