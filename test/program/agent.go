package program

import (
	"encoding/json"
	"fmt"
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

// Agent is an awa-agent with a data folder, started as often as a test wants.
type Agent struct {
	Name string
	Dir  string   // holds the data folder; the process runs in it
	Args []string // of run, besides the usual ones
	Env  []string // besides the test's own, without its AWA_…
	Log  *Log     // of the newest start
	// Errors are texts that may stand in lines of the level ERROR; any other
	// such line fails the test.
	Errors []string
	// Change, unless nil, may change the command of every start.
	Change func(*exec.Cmd)

	t     testing.TB
	at    atomic.Pointer[string] // host:port of the newest start
	cmd   *exec.Cmd
	ended chan struct{} // closed when the process has ended
}

// NewAgent prepares an agent; args are further ones for run. What is left of
// it is killed when the test ends.
func NewAgent(t testing.TB, name string, args ...string) *Agent {
	t.Helper()
	a := &Agent{t: t, Name: name, Dir: t.TempDir(), Args: args}
	// So that no file of this machine is found.
	if err := os.WriteFile(filepath.Join(a.Dir, "cluster_info.json"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		a.Kill()
		if a.Log != nil {
			a.Log.check(t, a)
		}
	})
	return a
}

// NewKey makes a cluster key and returns its file.
func NewKey(t testing.TB) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "cluster.key")
	if r := Run(t, "awa-agent", "key", "new", file); r.Code != 0 {
		t.Fatalf("key new: %d %s%s", r.Code, r.Out, r.Errors)
	}
	return file
}

// Cluster starts agents a1, a2, … with a key file ("" for none), and waits
// until check_awa says OK at each of them.
func Cluster(t testing.TB, keys string, size int, args ...string) []*Agent {
	t.Helper()
	all := make([]*Agent, size)
	for i := range all {
		more := []string{"--key-file", keys, "--first"}
		if i > 0 {
			more = []string{"--key-file", keys, "--join", all[0].Addr()}
		}
		all[i] = NewAgent(t, fmt.Sprintf("a%d", i+1), append(more, args...)...)
		all[i].Start()
	}
	want := fmt.Sprintf("%d of %d node", size, size) // "nodes online", or of one "node online"
	for _, a := range all {
		testaid.Await(t, 30*time.Second, func() error {
			if r := a.Check(keys); r.Code != 0 || !strings.Contains(r.Out, want) {
				return fmt.Errorf("check_awa at %s: %d %s%s", a.Name, r.Code, r.Out, r.Errors)
			}
			return nil
		})
	}
	return all
}

// Check asks this agent with check_awa; keys is the key file, "" for none.
func (a *Agent) Check(keys string, args ...string) Result {
	a.t.Helper()
	return Run(a.t, "check_awa", append([]string{"-H", a.Addr(), "-k", keys}, args...)...)
}

// Addr is where the agent listens, or listened last: host:port.
func (a *Agent) Addr() string { return *a.at.Load() }

// Data is the agent's data folder.
func (a *Agent) Data() string { return filepath.Join(a.Dir, "data") }

// PID is the process id of the newest start.
func (a *Agent) PID() int { return a.cmd.Process.Pid }

// Start starts the agent and waits until it listens: on the port it had, or
// on another one when somebody has taken that.
func (a *Agent) Start() {
	a.t.Helper()
	listen := "127.0.0.1:0"
	if at := a.at.Load(); at != nil {
		listen = *at
	}
	if a.launch(listen) {
		return
	}
	if !strings.Contains(a.Log.String(), "address already in use") || !a.launch("127.0.0.1:0") {
		a.t.Fatalf("agent %s ended before it listened:\n%s", a.Name, a.Log)
	}
}

// launch starts the process and reports whether it came to listen.
func (a *Agent) launch(listen string) bool {
	a.t.Helper()
	args := []string{"run", "--my-name", a.Name, "--my-host", "127.0.0.1", "--listen", listen, "--data-dir", a.Data(),
		"--watch", "200ms", "--log-format", "json"}
	a.Spawn(append(args, a.Args...), a.Change)
	line := a.Log.Wait(a.t, 30*time.Second, func(l LogLine) bool { return l.Msg == "listening" }, a.ended)
	if line.Addr == "" {
		return false
	}
	a.at.Store(&line.Addr)
	return true
}

// Spawn starts awa-agent with any arguments; change, if not nil, may change
// the command before.
func (a *Agent) Spawn(args []string, change func(*exec.Cmd)) {
	a.t.Helper()
	cmd := exec.Command(Path("awa-agent"), args...)
	cmd.Dir = a.Dir
	cmd.Env = environment(a.Env...)
	a.Log = &Log{}
	cmd.Stderr = a.Log
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

// Alive reports whether the process runs.
func (a *Agent) Alive() bool {
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

// Signal sends a signal to the process.
func (a *Agent) Signal(sig syscall.Signal) {
	a.t.Helper()
	if err := a.cmd.Process.Signal(sig); err != nil {
		a.t.Fatalf("%v to agent %s: %v", sig, a.Name, err)
	}
}

// Kill kills the process and waits until it is gone.
func (a *Agent) Kill() {
	if a.Alive() {
		a.cmd.Process.Kill() // fails when it has just ended
	}
	if a.cmd != nil {
		<-a.ended
	}
}

// Wait waits for the end of the process and returns its exit code, -1 when a
// signal ended it. It fails the test when the process doesn't end.
func (a *Agent) Wait(most time.Duration) int {
	a.t.Helper()
	select {
	case <-a.ended:
		return a.cmd.ProcessState.ExitCode()
	case <-time.After(most):
		a.t.Fatalf("agent %s has not ended after %v:\n%s", a.Name, most, a.Log)
		return -1
	}
}

// Port is the port of the agent's address.
func (a *Agent) Port() string {
	_, port, err := net.SplitHostPort(a.Addr())
	if err != nil {
		a.t.Fatal(err)
	}
	return port
}

// LogLine is a line of the agent's log in JSON.
type LogLine struct{ Level, Msg, Addr string }

// Log is a log whose lines are JSON.
type Log struct{ testaid.Log }

// Wait returns the first line that match accepts, or the zero line when the
// process ended without one. It fails the test when the time is over.
func (l *Log) Wait(t testing.TB, most time.Duration, match func(LogLine) bool, ended <-chan struct{}) LogLine {
	t.Helper()
	over := time.After(most)
	for last := false; ; {
		text, more := l.Read()
		for line := range strings.Lines(text) {
			var found LogLine
			if json.Unmarshal([]byte(line), &found) == nil && match(found) {
				return found
			}
		}
		if last {
			return LogLine{}
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
func (l *Log) check(t testing.TB, a *Agent) {
	text := l.String()
	for line := range strings.Lines(text) {
		bad := strings.Contains(line, "panic") || strings.Contains(line, "fatal error") ||
			strings.Contains(line, `"level":"ERROR"`)
		for _, expected := range a.Errors {
			bad = bad && !strings.Contains(line, expected)
		}
		if bad {
			t.Errorf("the log of agent %s holds %s", a.Name, line)
		}
	}
	if t.Failed() {
		t.Logf("the end of the log of agent %s:\n%s", a.Name, text[max(0, len(text)-4000):])
	}
}
