package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"time"

	"golang.org/x/term"

	"are-we-alive/pkg/api"
	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/report"
)

// fetcher asks one agent for its view of the cluster.
type fetcher interface {
	ClusterStatus(ctx context.Context, addr string, cached bool, nodes ...string) (awa.ClusterStatus, error)
	Close()
}

var _ fetcher = (*api.Client)(nil)

// run is the whole program except its signals: it checks once and returns the
// exit code, 0 to 3 whatever happens. When ctx ends, it says so and stops.
func run(ctx context.Context, args []string, _ io.Reader, stdout, stderr io.Writer) int {
	return check(ctx, connect, args, stdout, stderr)
}

// check is run with agents of the caller.
func check(ctx context.Context, connect func(config) (fetcher, error), args []string, stdout,
	stderr io.Writer) (code int) {
	start := time.Now()
	p := printer{ctx: ctx, stdout: stdout, stderr: stderr, format: formatOf(args), deadline: start.Add(defaultTimeout)}
	defer func() {
		if v := recover(); v != nil {
			fmt.Fprintf(stderr, "%v\n\n%s", v, debug.Stack())
			p.forced = true
			code = p.print(report.NoResult(fmt.Sprintf("internal error: %v", v), time.Now()))
		}
	}()
	if err := enoughFiles(); err != nil {
		p.forced, p.bare = true, true
		return p.print(report.NoResult(err.Error(), start))
	}
	cfg, help, err := parse(args)
	switch {
	case err != nil:
		p.forced = true
		return p.print(report.NoResult(err.Error()+" (see check_awa -h)", start))
	case help != "":
		p.write([]byte(help))
		return report.Unknown.ExitCode() // as the monitoring plugins do
	}
	p.format, p.options, p.deadline = cfg.format, cfg.options, start.Add(cfg.timeout)

	agents, err := connect(cfg)
	if err != nil {
		p.forced = true
		return p.print(report.NoResult(err.Error(), start))
	}
	defer agents.Close()
	st, failures, err := ask(ctx, agents, cfg, start)
	switch {
	case ctx.Err() != nil:
		p.forced = true
		return p.print(report.NoResult("stopped by a signal before an agent answered", time.Now()))
	case err != nil:
		r := cfg.without(failures, err)
		r.Took = time.Since(start)
		return p.print(r)
	}
	r := report.Evaluate(st, cfg.selection, cfg.rules, time.Now())
	r.Failures, r.Took, r.ShowMesh = failures, time.Since(start), cfg.options.Mesh
	return p.print(r)
}

// printer writes a result and knows the exit code that goes with it.
type printer struct {
	ctx            context.Context // its end ends a write that hangs
	stdout, stderr io.Writer
	format         report.Format
	options        report.Options
	// forced keeps the exit code that of the result, also where the format's
	// reader wants another: when no check was made.
	forced   bool
	deadline time.Time // by which everything must be written
	bare     bool      // Go's timers can't be used, see enoughFiles
}

// print writes the result in the chosen format and returns the exit code: the
// result's state, UNKNOWN when it could not be written, and 0 for Influx
// lines, since Telegraf throws away what a failing command printed.
func (p printer) print(r report.Result) int {
	var b bytes.Buffer
	p.options.Color = p.color()
	err := p.format.Write(&b, r, p.options)
	if err == nil {
		err = p.write(b.Bytes())
	}
	switch {
	case err != nil:
		fmt.Fprintf(p.stderr, "check_awa: %v\n", err)
		return report.Unknown.ExitCode()
	case p.forced:
		return r.State.ExitCode()
	}
	return p.format.ExitCode(r)
}

// write gives up at the deadline, and when ctx ends: a pipe that nobody reads
// must not keep the process alive.
func (p printer) write(b []byte) error {
	if p.bare {
		_, err := p.stdout.Write(b)
		return err
	}
	done := make(chan error, 1)
	go func() {
		_, err := p.stdout.Write(b)
		done <- err
	}()
	wait, stopped := time.Until(p.deadline), p.ctx.Done()
	if p.ctx.Err() != nil { // then this is the line that says so
		wait, stopped = min(wait, time.Second), nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case err := <-done:
		return err
	case <-timer.C:
	case <-stopped:
	}
	select {
	case err := <-done: // just so
		return err
	default:
		return errors.New("stdout took nothing until the time was over")
	}
}

// color reports whether stdout is a terminal that shows colors
// (no-color.org).
func (p printer) color() bool {
	f, ok := p.stdout.(*os.File)
	return ok && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && term.IsTerminal(int(f.Fd()))
}
