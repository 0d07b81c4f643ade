//go:build system

package faults

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"are-we-alive/pkg/daemon"
)

// envClock tells this program to be an agent whose clock is ahead by so much,
// since a host of our kind has the clock of the whole machine.
const envClock = "AWA_TEST_CLOCK"

// runAhead runs that agent until it is told to end: its name, host, data
// folder and key file are the arguments.
func runAhead(ahead string, args []string) int {
	by, err := time.ParseDuration(ahead)
	if err == nil && len(args) != 4 {
		err = fmt.Errorf("%d arguments, not 4", len(args))
	}
	if err == nil {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		var d *daemon.Daemon
		d, err = daemon.Open(daemon.Config{
			Name: args[0], Host: args[1], DataDir: args[2], KeyFile: args[3],
			Clock: func() time.Time { return time.Now().Add(by) },
			Log:   slog.New(slog.NewJSONHandler(os.Stderr, nil)),
		})
		if err == nil {
			err = errors.Join(d.Run(ctx), d.Close())
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}
