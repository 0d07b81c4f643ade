// Command check_awa asks an agent which servers of its cluster are alive and
// says it in the words of the monitoring system at hand: a Nagios or Icinga
// plugin's line and exit code, a table, Influx line protocol or JSON.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"are-we-alive/pkg/conf"
)

func main() {
	// With SIGPIPE ignored, a closed stdout is an error of Write and not the
	// end of the process by a signal.
	signal.Ignore(syscall.SIGPIPE)
	ctx, cancel := context.WithCancel(context.Background())
	stop := make(chan os.Signal, 1)
	// To handle a signal costs some 0.1 ms of the three that a usual run takes.
	// So SIGTERM, which monitoring systems send, comes before anything else, and
	// the others, which come from a terminal, while the agent is asked.
	signal.Notify(stop, syscall.SIGTERM)
	go func() {
		signal.Notify(stop, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT)
		<-stop
		cancel()
	}()
	conf.UnsetEmpty()
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
