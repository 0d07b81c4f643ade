// Command check_awa asks an agent which servers of its cluster are alive and
// says it in the words of the monitoring system at hand: a Nagios or Icinga
// plugin's line and exit code, a table, Influx line protocol or JSON.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// signalsAfter is how long after the start signals begin to be handled. To
// handle them costs half a millisecond, a tenth of a usual run, which has
// ended by then. Until then one ends the process as it would before main.
const signalsAfter = 15 * time.Millisecond

func main() {
	// With SIGPIPE ignored, a closed stdout is an error of Write and not the
	// end of the process by a signal.
	signal.Ignore(syscall.SIGPIPE)
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(signalsAfter, func() {
		stop := make(chan os.Signal, 1)
		signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT)
		<-stop
		cancel()
	})
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
