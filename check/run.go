package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"syscall"
	"time"

	"are-we-alive/pkg/api"
	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/report"
)

// fetcher asks one agent for its view of the cluster, and what happened in it.
type fetcher interface {
	ClusterStatus(ctx context.Context, addr string, cached bool, nodes ...string) (awa.ClusterStatus, error)
	Events(ctx context.Context, addr string, q awa.EventQuery) (awa.EventSet, error)
	Close()
}

var _ fetcher = (*api.Client)(nil)

// run is the whole program except its signals: it checks once and returns the
// exit code, 0 to 3 whatever happens. When ctx ends, it says so and stops.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	return check(ctx, connect, args, stdin, stdout, stderr)
}

// check is run with agents of the caller.
func check(ctx context.Context, connect func(config) (fetcher, error), args []string, stdin io.Reader, stdout,
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
	p.color, p.uncut = cfg.color, cfg.options.Verbose > 1

	agents, err := connect(cfg)
	if err != nil {
		p.forced = true
		return p.print(report.NoResult(err.Error(), start))
	}
	defer agents.Close()
	switch {
	case cfg.watch > 0:
		return watch(ctx, agents, cfg, p, stdin)
	case cfg.wait > 0:
		return wait(ctx, agents, cfg, p, start)
	}
	done, err := checkOnce(ctx, agents, cfg, start)
	if err != nil {
		p.forced = true
		return p.print(report.NoResult("stopped by a signal before an agent answered", time.Now()))
	}
	return p.print(done.result)
}

// outcome is what came of asking the agents once.
type outcome struct {
	result report.Result
	asked  time.Time // when that began
	agent  string    // the address of the agent whose view it is, "" when there was none
}

// checkOnce asks the agents once, and judges the answer. It fails only when ctx ends.
func checkOnce(ctx context.Context, agents fetcher, cfg config, start time.Time) (outcome, error) {
	a, failures, err := ask(ctx, agents, cfg, start)
	o := outcome{asked: start}
	switch {
	case ctx.Err() != nil:
		return o, ctx.Err()
	case err != nil:
		o.result = cfg.without(failures, err)
	default:
		o.result = report.Evaluate(a.status, cfg.selection, cfg.rules, time.Now())
		o.result.Failures, o.result.ShowMesh, o.agent = failures, cfg.options.Mesh, cfg.agents[a.agent]
	}
	o.result.Took, o.result.Asked = time.Since(start), cfg.agents
	return o, nil
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
	color    colorMode
	uncut    bool // nothing is cut, also on a terminal
}

// print writes the result in the chosen format and returns the exit code: the
// result's state, UNKNOWN when it could not be written, and 0 for Influx
// lines, since Telegraf throws away what a failing command printed.
func (p printer) print(r report.Result) int {
	var b bytes.Buffer
	columns, lines, isTerminal := sizeOf(p.stdout)
	p.options.Color = p.color.on(isTerminal)
	if isTerminal && !p.uncut {
		p.options.Width, p.options.Lines = columns, lines-1 // the last one is the shell's
	}
	if p.format.NamesOnly() && r.Counts.All() == 0 {
		fmt.Fprintf(p.stderr, "check_awa: %s\n", r.Text())
	}
	err := p.format.Write(&b, r, p.options)
	if err == nil {
		err = p.write(b.Bytes())
	}
	switch {
	case errors.Is(err, syscall.EPIPE): // check_awa | head: who reads has enough
		return report.Unknown.ExitCode()
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
