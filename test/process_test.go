package test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"are-we-alive/pkg/awatest/testaid"
)

// agent is an awa-agent with a data folder, started as often as a test wants.
type agent struct {
	t    *testing.T
	name string
	dir  string                 // holds the data folder; the process runs in it
	args []string               // of run, besides the usual ones
	env  []string               // besides the test's own, without its AWA_…
	log  *logBook               // of the newest start
	at   atomic.Pointer[string] // host:port of the newest start

	cmd   *exec.Cmd
	ended chan struct{} // closed when the process has ended
}

// newAgent prepares an agent; args are further ones for run. What is left of
// it is killed when the test ends.
func newAgent(t *testing.T, name string, args ...string) *agent {
	t.Helper()
	a := &agent{t: t, name: name, dir: t.TempDir(), args: args}
	// So that no file of this machine is found.
	if err := os.WriteFile(filepath.Join(a.dir, "cluster_info.json"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		a.kill()
		if a.log != nil {
			a.log.check(t, a.name)
		}
	})
	return a
}

// addr is where the agent listens, or listened last: host:port.
func (a *agent) addr() string { return *a.at.Load() }

// data is the agent's data folder.
func (a *agent) data() string { return filepath.Join(a.dir, "data") }

// start starts the agent and waits until it listens: on the port it had, or
// on another one when somebody has taken that.
func (a *agent) start() {
	a.t.Helper()
	listen := "127.0.0.1:0"
	if at := a.at.Load(); at != nil {
		listen = *at
	}
	if a.launch(listen) {
		return
	}
	if !strings.Contains(a.log.String(), "address already in use") || !a.launch("127.0.0.1:0") {
		a.t.Fatalf("agent %s ended before it listened:\n%s", a.name, a.log)
	}
}

// launch starts the process, and reports whether it came to listen.
func (a *agent) launch(listen string) bool {
	a.t.Helper()
	args := []string{"run", "--my-name", a.name, "--my-host", "127.0.0.1", "--listen", listen, "--data-dir", a.data(),
		"--watch", "200ms", "--log-format", "json"}
	a.spawn(append(args, a.args...), nil)
	line := a.log.wait(a.t, 30*time.Second, func(l logLine) bool { return l.Msg == "listening" }, a.ended)
	if line.Addr == "" {
		return false
	}
	a.at.Store(&line.Addr)
	return true
}

// spawn starts awa-agent with any arguments.
func (a *agent) spawn(args []string, change func(*exec.Cmd)) {
	a.t.Helper()
	cmd := exec.Command(program("awa-agent"), args...)
	cmd.Dir = a.dir
	cmd.Env = environment(a.env...)
	a.log = &logBook{}
	cmd.Stderr = a.log
	// The process dies with the test, whatever becomes of the test.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if change != nil {
		change(cmd)
	}
	if err := cmd.Start(); err != nil {
		a.t.Fatal(err)
	}
	ended := make(chan struct{})
	a.cmd, a.ended = cmd, ended
	go func() {
		cmd.Wait() // the exit code is in cmd.ProcessState
		close(ended)
	}()
}

// environment is that of a process: the test's own, except what awa-agent
// would read, and what the race detector is told.
func environment(more ...string) []string {
	var env []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "AWA_") {
			env = append(env, v)
		}
	}
	return append(append(env, "GORACE=halt_on_error=1 atexit_sleep_ms=0"), more...)
}

// alive reports whether the process runs.
func (a *agent) alive() bool {
	if a.cmd == nil {
		return false
	}
	select {
	case <-a.ended:
		return false
	default:
		return true
	}
}

func (a *agent) signal(sig syscall.Signal) {
	a.t.Helper()
	if err := a.cmd.Process.Signal(sig); err != nil {
		a.t.Fatalf("%v to agent %s: %v", sig, a.name, err)
	}
}

// kill kills the process and waits until it is gone.
func (a *agent) kill() {
	if a.alive() {
		a.cmd.Process.Kill() // fails when it has just ended
	}
	if a.cmd != nil {
		<-a.ended
	}
}

// stop sends a signal and returns the exit code, and how long the end took. It
// fails the test when the process doesn't end.
func (a *agent) stop(sig syscall.Signal) (code int, took time.Duration) {
	a.t.Helper()
	begin := time.Now()
	a.signal(sig)
	return a.wait(20 * time.Second), time.Since(begin)
}

// wait waits for the end of the process and returns its exit code.
func (a *agent) wait(most time.Duration) int {
	a.t.Helper()
	select {
	case <-a.ended:
		return a.cmd.ProcessState.ExitCode()
	case <-time.After(most):
		a.t.Fatalf("agent %s has not ended after %v:\n%s", a.name, most, a.log)
		return -1
	}
}

// port is the port of the agent's address.
func (a *agent) port() string {
	_, port, err := net.SplitHostPort(a.addr())
	if err != nil {
		a.t.Fatal(err)
	}
	return port
}

// result is what a program has come to.
type result struct {
	code        int
	out, errors string
}

// run runs a program under test to its end, in an empty folder, with nothing
// to read.
func run(t *testing.T, name string, args ...string) result {
	t.Helper()
	return runIn(t, t.TempDir(), nil, name, args...)
}

// runIn runs a program in a folder, with more in its environment.
func runIn(t *testing.T, dir string, env []string, name string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program(name), args...)
	cmd.Dir, cmd.Env = dir, environment(env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return result{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
}

// logLine is a line of the agent's log in JSON.
type logLine struct {
	Time                          time.Time
	Level, Msg, Addr, Text, Error string
}

// logBook is a log whose lines are JSON.
type logBook struct{ testaid.Log }

// wait returns the first line that match takes, or the zero line when the
// process ended without one. It fails the test when the time is over.
func (l *logBook) wait(t *testing.T, most time.Duration, match func(logLine) bool, ended <-chan struct{}) logLine {
	t.Helper()
	over := time.After(most)
	for last := false; ; {
		text, more := l.Read()
		for line := range strings.Lines(text) {
			var found logLine
			if json.Unmarshal([]byte(line), &found) == nil && match(found) {
				return found
			}
		}
		if last {
			return logLine{}
		}
		select {
		case <-more:
		case <-ended:
			last = true
		case <-over:
			t.Fatalf("the line has not come after %v:\n%s", most, l)
		}
	}
}

// check looks for what no log may hold.
func (l *logBook) check(t *testing.T, name string) {
	text := l.String()
	for _, bad := range []string{"DATA RACE", "panic", "fatal error", `"level":"ERROR"`} {
		if strings.Contains(text, bad) {
			t.Errorf("the log of agent %s holds %q:\n%s", name, bad, shorten(text))
			return
		}
	}
	if t.Failed() {
		t.Logf("the log of agent %s:\n%s", name, shorten(text))
	}
}

// shorten leaves out what an agent says of the writers' nodes, which are all
// offline.
func shorten(log string) string {
	var b strings.Builder
	for line := range strings.Lines(log) {
		if !strings.Contains(line, `"addr":"127.0.0.1:1"`) {
			b.WriteString(line)
		}
	}
	return b.String()
}
