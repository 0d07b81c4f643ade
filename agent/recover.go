package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/daemon"
)

// recoverCmd is awa-agent recover.
type recoverCmd struct {
	keyFlag
	DataDir string `placeholder:"DIR" default:"${data_dir}" env:"AWA_DATA_DIR" help:"${help_recover_data_dir}"`
	Force   bool   `help:"${help_recover_force}"`
}

// Help is shown below the flags' head.
func (c *recoverCmd) Help() string {
	return "For a cluster that has lost the majority of its voters for good, so that its list can't be edited any more. " +
		"Stop the agent that holds the longest list, run this there, start it again: it is then the only voter of a new " +
		"history, and all agents that reach it follow. It asks the others first, and refuses where it would do harm."
}

// Run makes this agent the only voter.
func (c *recoverCmd) Run(ctx context.Context, std streams) error {
	client, err := c.client(awa.RoleMember)
	if err != nil {
		return err
	}
	defer client.Close()
	if err := daemon.BecomeOwner(c.DataDir); err != nil {
		return err
	}
	ask := func(ctx context.Context, addr string) (awa.Self, error) { return client.Ping(ctx, addr, true) }
	done, err := daemon.Recover(ctx, c.DataDir, ask, c.Force)
	if errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("%w: run it as root, or as the user of the agent", err)
	}
	if err != nil {
		return err
	}
	others := "No other agent answers."
	if len(done.Answered) > 0 {
		others = "These agents answer, and follow it as soon as it runs: " + printable(strings.Join(done.Answered, ", ")) +
			"."
	}
	if len(done.Silent) > 0 && len(done.Answered) > 0 {
		others += " These don't: " + printable(strings.Join(done.Silent, ", ")) + "."
	}
	_, err = fmt.Fprintf(std.out, "This agent is now the only voter of history %s, with its list at state %d.\n%s\n"+
		"Next: start it (systemctl start awa-agent). What an old voter holds beyond this list it sets aside in a file "+
		"when it returns.\n", done.History, done.State, others)
	return err
}
