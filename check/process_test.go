package main

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"reflect"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/term"

	"are-we-alive/pkg/api/server"
	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/awatest/testaid"
)

// TestMain lets the test binary be the program itself, so that signals, pipes
// and exit codes are tested on what users run.
func TestMain(m *testing.M) {
	if os.Getenv("AWA_TEST_MAIN") != "" {
		main()
	}
	os.Exit(m.Run())
}

// command is check_awa as a process of its own.
func command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, args...)
	cmd.Env = append(os.Environ(), "AWA_TEST_MAIN=1", "NO_COLOR=", "TERM=xterm")
	return cmd
}

// exitCode is that of a process that ended; -1 when a signal ended it.
func exitCode(t *testing.T, err error) int {
	t.Helper()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.ExitCode()
	}
	t.Fatal(err)
	return -1
}

// silent accepts connections and never answers. It returns its address, and a
// channel on which each connection appears.
func silent(t *testing.T) (string, <-chan struct{}) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	came, done := make(chan struct{}, 16), make(chan struct{})
	go func() {
		defer close(done)
		var conns []net.Conn
		for {
			c, err := ln.Accept()
			if err != nil {
				break
			}
			conns = append(conns, c)
			came <- struct{}{}
		}
		for _, c := range conns {
			c.Close()
		}
	}()
	t.Cleanup(func() { ln.Close(); <-done })
	return ln.Addr().String(), came
}

// served is an agent that has only a status to give.
type served struct {
	server.Agent
	st  awa.ClusterStatus
	err error
}

func (s served) Status(awa.StatusQuery) (awa.ClusterStatus, error) {
	return s.st, s.err
}

// serve starts a real server with that agent behind it.
func serve(t *testing.T, agent served) string {
	t.Helper()
	return testaid.Serve(t, server.NewServer(server.Config{Agent: agent, Log: slog.New(slog.DiscardHandler)}))
}

func TestProcess(t *testing.T) {
	well := serve(t, served{st: cluster(10)})
	dead := serve(t, served{st: cluster(3, 2)})
	unjoined := serve(t, served{err: &awa.Fault{Code: awa.ErrNotJoined, Text: "this agent holds no list yet"}})
	tests := map[string]struct {
		args string
		code int
		out  string // how stdout begins
	}{
		"all well": {"-H " + well, 0, "AWA OK - 10 of 10 nodes online | online=10;;;0;10 " +
			"offline=0;;0;0;10 unreachable=0;0;;0;10 mismatch=0;;0;0;10 maintenance=0;;;0 health=0;;;0 behind=0;;;0 " +
			"rtt_max=0.000200s;;;0 time=0."},
		"one offline": {"-H " + dead, 2, "AWA CRITICAL - 1 of 3 nodes offline: n2 (the host answers, " +
			"its agent is not running (connection refused)) |"},
		"warning": {"-H " + dead + " -w 0 -c 1", 1, "AWA WARNING - 1 of 3 nodes offline: n2 (the " +
			"host answers, its agent is not running (connection refused)) |"},
		"verbose": {"-v -H " + dead, 2, "AWA CRITICAL - 1 of 3"},
		"table": {"-o table -H " + dead, 2, "1 of 3 not online · leader n1 · 3 voters · " +
			"list 3 · asked n1, "},
		"names": {"-o names --problems -H " + dead, 2, "n2\n"},
		"no watch without a terminal": {"--watch -H " + dead, 3, "AWA UNKNOWN - bad --watch: the output must be " +
			"a terminal"},
		"influx": {"-o influx -H " + dead, 0, "awa_cluster,asked=" + dead + ",cluster="},
		"json": {"-o json -H " + dead, 2, `{"state":2,"text":"1 of 3 nodes offline: n2 (the host ` +
			`answers, its agent is not running (connection refused))",`},
		"the second one": {"-H 127.0.0.1:1 -H " + well, 0, "AWA OK"},
		"no list": {args: "-H " + unjoined, code: 2, out: "AWA CRITICAL - no agent answers: " + unjoined + " (this agent " +
			"holds no list yet) |"},
		"no list, the second": {"-H " + unjoined + " -H " + dead, 2, "AWA CRITICAL - 1 of 3"},
		"nobody":              {"-p 1", 2, "AWA CRITICAL - no agent answers: 127.0.0.1:1 (connect: connection refused) |"},
		"help":                {"-h", 3, "Usage: check_awa [flags]\n"},
		"version":             {"-V", 3, "check_awa v" + awa.Version + " (are-we-alive)\n"},
		"wrong usage":         {"-c x", 3, "AWA UNKNOWN - bad -c: x is not a range"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			cmd := command(t, strings.Fields(test.args)...)
			var out, errs bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &errs
			code := exitCode(t, cmd.Run())
			if code != test.code || !strings.HasPrefix(out.String(), test.out) || errs.Len() > 0 {
				t.Errorf("exit code %d, want %d, with\n%s%s", code, test.code, &out, &errs)
			}
		})
	}
}

// TestProcess_timeout proves that the process ends by -t. The bound has room
// above only for a machine that is busy starting processes.
func TestProcess_timeout(t *testing.T) {
	addr, _ := silent(t)
	start := time.Now()
	cmd := command(t, "-t", "0.7", "-H", addr)
	out, err := cmd.Output()
	code := exitCode(t, err)
	took := time.Since(start)
	want := "AWA UNKNOWN - no agent answers: " + addr + " (reply: no answer within 700ms) | time=0."
	if code != 3 || !strings.HasPrefix(string(out), want) {
		t.Errorf("exit code %d with %q, want 3 with %q", code, out, want)
	}
	if took < 500*time.Millisecond || took > 1500*time.Millisecond {
		t.Errorf("it took %v with -t 0.7", took)
	}
}

func TestProcess_signal(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Parallel()
			addr, came := silent(t)
			cmd := command(t, "-t", "60", "-H", addr, "-H", addr)
			var out bytes.Buffer
			cmd.Stdout = &out
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			<-came // SIGTERM is handled long before
			if sig != syscall.SIGTERM {
				<-came // when the second is asked, all are
			}
			if err := cmd.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			code := exitCode(t, cmd.Wait())
			if want := "AWA UNKNOWN - stopped by a signal before an agent answered\n"; code != 3 || out.String() != want {
				t.Errorf("exit code %d with %q, want 3 with %q", code, &out, want)
			}
		})
	}
}

// TestProcess_brokenPipe closes the reading end first: SIGPIPE must not end
// the process.
func TestProcess_brokenPipe(t *testing.T) {
	addr := serve(t, served{st: cluster(10)})
	for _, args := range []string{"-H " + addr, "-o influx -H " + addr, "-h"} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		r.Close()
		cmd := command(t, strings.Fields(args)...)
		var errs bytes.Buffer
		cmd.Stdout, cmd.Stderr = w, &errs
		if code := exitCode(t, cmd.Run()); code != 3 || errs.Len() > 0 {
			t.Errorf("check_awa %s exits with %d, and says %q", args, code, errs.String())
		}
		w.Close()
	}
}

// TestProcess_fullPipe has a stdout that is never read, and more to print
// than a pipe holds.
func TestProcess_fullPipe(t *testing.T) {
	addr := serve(t, served{st: cluster(3000)})
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	cmd := command(t, "-t", "0.5", "-o", "table", "-H", addr)
	cmd.Stdout = w
	start := time.Now()
	code := exitCode(t, cmd.Run())
	if took := time.Since(start); code != 3 || took > 2*time.Second {
		t.Errorf("exit code %d after %v, want 3 after 0.5 s", code, took)
	}
}

// TestProcess_terminal has a terminal for stdout.
func TestProcess_terminal(t *testing.T) {
	addr := serve(t, served{st: cluster(3, 2)})
	const green, plain = "\x1b[32mOnline\x1b[0m", "n1    Online   0.2 ms  10.0.0.1:25483\r\n"
	for name, test := range map[string]struct {
		env   string
		color string
		want  string
		not   string
	}{
		"colors":        {"", "auto", green, plain},
		"NO_COLOR":      {"NO_COLOR=1", "auto", plain, "\x1b"},
		"dumb terminal": {"TERM=dumb", "auto", plain, "\x1b"},
		"always":        {"NO_COLOR=1", "always", green, plain},
		"forced":        {"TERM=dumb CLICOLOR_FORCE=1", "auto", green, plain},
		"forced not":    {"TERM=dumb CLICOLOR_FORCE=0", "auto", plain, "\x1b"},
		"never":         {"", "never", plain, "\x1b"},
	} {
		t.Run(name, func(t *testing.T) {
			master, slave := openTerminal(t)
			cmd := command(t, "-v", "-H", addr, "--color", test.color)
			cmd.Stdout = slave
			cmd.Env = append(cmd.Env, strings.Fields(test.env)...)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			slave.Close()
			out, _ := io.ReadAll(master) // ends with EIO, as a terminal does
			if code := exitCode(t, cmd.Wait()); code != 2 || !bytes.Contains(out, []byte(test.want)) ||
				bytes.Contains(out, []byte(test.not)) {
				t.Errorf("exit code %d with %q", code, out)
			}
			if line, _, _ := strings.Cut(string(out), "\n"); !strings.HasPrefix(line, "AWA CRITICAL - ") ||
				strings.Contains(line, "\x1b") {
				t.Errorf("the plugin's line is %q", line)
			}
		})
	}
}

// TestProcess_watch has a person watch until q, and leaves the terminal as it was.
func TestProcess_watch(t *testing.T) {
	addr := serve(t, served{st: cluster(3, 2)})
	master, slave := openTerminal(t)
	cmd := command(t, "--watch=0.5", "-H", addr)
	cmd.Stdin, cmd.Stdout = slave, slave
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	before, err := term.GetState(int(slave.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	shown := ""
	for buf := make([]byte, 4096); !strings.Contains(shown, "1 of 3 not online"); {
		n, err := master.Read(buf)
		if shown += string(buf[:n]); err != nil {
			t.Fatal(err, shown)
		}
	}
	if _, err := master.WriteString("q"); err != nil {
		t.Fatal(err)
	}
	if code := exitCode(t, cmd.Wait()); code != 2 {
		t.Errorf("exit code %d", code)
	}
	after, err := term.GetState(int(slave.Fd()))
	slave.Close()
	rest, _ := io.ReadAll(master)
	if err != nil || !reflect.DeepEqual(before, after) {
		t.Errorf("the terminal was %v and is %v (%v)", before, after, err)
	}
	if want := wrapLines + showCursor + primaryScreen; !strings.HasSuffix(string(rest), want) {
		t.Errorf("%q does not end with %q", rest, want)
	}
}

// openTerminal opens both ends of a pseudo-terminal (pty(7)).
func openTerminal(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		testaid.Skip(t, "colors on a terminal: this machine has no pseudo-terminal: ", err)
	}
	t.Cleanup(func() { master.Close() })
	number, err := unlockTerminal(master)
	if err != nil {
		t.Fatal(err)
	}
	slave, err = os.OpenFile("/dev/pts/"+strconv.Itoa(number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return master, slave
}
