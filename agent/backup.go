package main

import (
	"context"
	"fmt"

	"are-we-alive/pkg/api"
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
