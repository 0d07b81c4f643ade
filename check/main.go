// Command check_awa asks an agent which servers of its cluster are alive and
// says it in the words of the monitoring system at hand: a Nagios or Icinga
// plugin's line and exit code, a table, Influx line protocol or JSON.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	// With SIGPIPE ignored, a closed stdout is an error of Write and not the
	// end of the process by a signal.
	signal.Ignore(syscall.SIGPIPE)
	ctx, _ := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT)
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
