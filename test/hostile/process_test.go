//go:build system

package hostile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"are-we-alive/pkg/awatest/testaid"
	"are-we-alive/test/program"
)

// logPipe is a pipe on which agents log. Its reader passes the lines on to the
// agent's log, until it goes away or stops reading.
type logPipe struct {
	t    *testing.T
	r, w *os.File
	stop chan struct{}
	read chan struct{} // closed when nobody reads any more
}

func newLogPipe(t *testing.T, a *program.Agent) *logPipe {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p := &logPipe{t: t, r: r, w: w, stop: make(chan struct{})}
	t.Cleanup(func() { r.Close(); w.Close() })
	a.Change = func(cmd *exec.Cmd) {
		cmd.Stderr = w
		p.resume(a.Log)
	}
	return p
}

// resume begins to read again.
func (p *logPipe) resume(to io.Writer) {
	p.stop, p.read = make(chan struct{}), make(chan struct{})
	go func() {
		defer close(p.read)
		for b := make([]byte, 4096); ; {
			select {
			case <-p.stop:
				return
			default:
			}
			p.r.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
			n, err := p.r.Read(b)
			to.Write(b[:n])
			if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
				return
			}
		}
	}()
}

// rest stops reading; the pipe stays open.
func (p *logPipe) rest() {
	close(p.stop)
	<-p.read
}

// fill fills the pipe with what is not a line of the log.
func (p *logPipe) fill() {
	p.t.Helper()
	// A description of its own, so that the agent's stays blocking.
	f, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", p.w.Fd()), os.O_WRONLY, 0)
	if err != nil {
		p.t.Fatal(err)
	}
	defer f.Close()
	for size := 4096; size > 0; size /= 2 {
		for {
			f.SetWriteDeadline(time.Now().Add(10 * time.Millisecond))
			if n, err := f.Write(bytes.Repeat([]byte("\n"), size)); err != nil || n == 0 {
				break
			}
		}
	}
}

// checkSays waits until check_awa at an agent says something.
func checkSays(t *testing.T, addr, want string) {
	t.Helper()
	testaid.Await(t, 20*time.Second, func() error {
		if r := program.Run(t, "check_awa", "-H", addr, "-k", ""); !strings.Contains(r.Out, want) {
			return fmt.Errorf("check_awa ends with %d: %s%s", r.Code, r.Out, r.Errors)
		}
		return nil
	})
}

// TestLog_readerGone closes the reading end of the log, as `| head -1` does,
// and a journal that is restarted.
func TestLog_readerGone(t *testing.T) {
	for name, shell := range map[string]string{
		"SIGPIPE as usual":    `exec "$@"`,
		"SIGPIPE was ignored": `trap "" PIPE; exec "$@"`,
		"stdout is gone, too": `exec "$@" 1>&2`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := program.NewAgent(t, "a1", "--first", "--key-file", "")
			p := newLogPipe(t, a)
			pipe := a.Change
			a.Change = func(cmd *exec.Cmd) {
				underShell(cmd, shell, cmd.Args[1:])
				pipe(cmd)
			}
			a.Start()
			p.rest()
			p.r.Close()
			a.Signal(syscall.SIGHUP) // a line of the log
			b := program.NewAgent(t, "a2", "--join", a.Addr(), "--key-file", "")
			b.Start()
			checkSays(t, a.Addr(), "2 of 2 nodes online")
			b.Kill()
			checkSays(t, a.Addr(), "1 of 2 nodes offline")
			a.Signal(syscall.SIGHUP)
			a.Signal(syscall.SIGTERM)
			if code := a.Wait(10 * time.Second); code != 0 {
				t.Errorf("it ended with %d", code)
			}
		})
	}
}

// TestLog_nowhere starts agents whose log can't be written at all.
func TestLog_nowhere(t *testing.T) {
	for name, shell := range map[string]string{
		"closed":       `exec "$@" 2>&-`,
		"a full disk":  `exec "$@" 2>/dev/full`,
		"only to read": `exec "$@" 2</dev/null`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := program.NewAgent(t, "a1")
			addr := unusedAddr(t)
			a.Spawn(nil, func(cmd *exec.Cmd) {
				underShell(cmd, shell, []string{"run", "--my-name", "a1", "--my-host", "127.0.0.1", "--listen", addr,
					"--data-dir", a.Data(), "--first", "--key-file", ""})
			})
			checkSays(t, addr, "1 of 1 node online")
			a.Signal(syscall.SIGTERM)
			if code := a.Wait(10 * time.Second); code != 0 {
				t.Errorf("it ended with %d", code)
			}
		})
	}
}

// underShell starts the program from a shell.
func underShell(cmd *exec.Cmd, script string, args []string) {
	path := cmd.Path
	cmd.Path, cmd.Args = "/bin/sh", append([]string{"sh", "-c", script, "sh", path}, args...)
}

// unusedAddr returns an address of loopback on which nobody listens.
func unusedAddr(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// TestLog_full leaves the log's pipe open and full: an agent whose log nobody
// reads works on, loses no line to a reader that reads again, and ends when it
// is told to.
func TestLog_full(t *testing.T) {
	a := program.NewAgent(t, "a1", "--first", "--key-file", "")
	p := newLogPipe(t, a)
	a.Start()
	b := program.NewAgent(t, "a2", "--join", a.Addr(), "--key-file", "")
	b.Start()
	checkSays(t, a.Addr(), "2 of 2 nodes online")
	p.rest()
	p.fill()
	a.Signal(syscall.SIGHUP)
	end := a.Witness("", time.Second)
	for range 5 {
		for _, args := range [][]string{{"--for", "1h"}, {"--off"}} {
			args = append([]string{"node", "maintain", "a2", "--agent", a.Addr(), "--key-file", ""}, args...)
			if r := program.Run(t, "awa-agent", args...); r.Code != 0 {
				t.Errorf("an edit ended with %d: %s", r.Code, r.Errors)
			}
		}
	}
	end()
	b.Kill()
	lastSweepSees(t, a, `"offline"`, true)
	b.Start()
	lastSweepSees(t, a, `"offline"`, false)

	before := a.Log.String()
	p.resume(a.Log)
	testaid.Await(t, 10*time.Second, func() error {
		if after, ok := strings.CutPrefix(a.Log.String(), before); !ok ||
			!strings.Contains(after, "no key file to read again") {
			return fmt.Errorf("the line of SIGHUP has not come:\n%s", a.Log)
		}
		return nil
	})
	if strings.Contains(a.Log.String(), "were lost") {
		t.Errorf("lines were lost:\n%s", a.Log)
	}
	p.rest()
	p.fill()
	a.Signal(syscall.SIGHUP)
	a.Signal(syscall.SIGTERM)
	if code := a.Wait(15 * time.Second); code != 0 {
		t.Errorf("it ended with %d", code)
	}
}

// lastSweepSees waits until the last background sweep holds a text, or doesn't.
func lastSweepSees(t *testing.T, a *program.Agent, text string, want bool) {
	t.Helper()
	client := http.Client{Timeout: 2 * time.Second}
	testaid.Await(t, 20*time.Second, func() error {
		resp, err := client.Get("http://" + a.Addr() + "/v1/status?cached=1")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err == nil && strings.Contains(string(body), text) != want {
			err = fmt.Errorf("the last sweep is %s", body)
		}
		return err
	})
}

// TestConfig_notAFile names what is not a configuration file, and never ends.
func TestConfig_notAFile(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	if err := syscall.Mkfifo(at("pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("unix", at("socket"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	if err := os.Symlink("pipe", at("link")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(at("large"), bytes.Repeat([]byte(" "), 1<<20+1), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct{ script, want string }{
		"a pipe": {`exec "$0" run --config pipe`, "pipe is a pipe: write what comes out of it to a file, and " +
			"name that file"},
		"a link to a pipe": {`exec "$0" run --config link`, "link is a pipe:"},
		"a device":         {`exec "$0" run --config /dev/zero`, "/dev/zero is a device: name a regular file"},
		"a terminal":       {`exec "$0" run --config /dev/tty`, "/dev/tty is a device: name a regular file"},
		"a socket":         {`exec "$0" run --config socket`, "socket is a socket: name a regular file"},
		"a folder":         {`exec "$0" run --config .`, ". is a folder: name a file in it"},
		"too large":        {`exec "$0" run --config large`, "large is larger than 1 MiB"},
		"standard input":   {`sleep 60 | exec "$0" run --config /dev/stdin`, "/dev/stdin is a pipe:"},
		"a key in a pipe": {`exec "$0" run --first --my-host 127.0.0.1 --data-dir data --key-file pipe`, "key file pipe: " +
			"it is a pipe: a key is read from a regular file only"},
		"a backup in one":  {`exec "$0" restore pipe --data-dir data`, "pipe is a pipe:"},
		"a backup of none": {`exec "$0" restore /dev/zero --data-dir data`, "/dev/zero is a device: name a regular file"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// Should it read a device after all, it can't take the machine's memory.
			cmd := exec.Command("/bin/sh", "-c", "ulimit -v 3000000; "+test.script, program.Path("awa-agent"))
			cmd.Dir = dir
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
			out, err := os.Create(filepath.Join(t.TempDir(), "out"))
			if err != nil {
				t.Fatal(err)
			}
			defer out.Close()
			cmd.Stdout, cmd.Stderr = out, out
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() {
				syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
				cmd.Wait()
			}()
			testaid.Await(t, 10*time.Second, func() error {
				text, err := os.ReadFile(out.Name())
				if err == nil && !strings.Contains(string(text), test.want) {
					err = fmt.Errorf("it says %q, not … %s", text[:min(len(text), 500)], test.want)
				}
				return err
			})
		})
	}
}

// TestSignal_early stops programs that hang before they serve, or elsewhere: a
// lease (fcntl(2)) makes opening a file wait, as a disk that hangs does.
func TestSignal_early(t *testing.T) {
	backup := filepath.Join(t.TempDir(), "list.json")
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	a := program.NewAgent(t, "a1", "--first", "--key-file", "")
	a.Start()
	checkSays(t, a.Addr(), "1 of 1 node online")
	if r := program.Run(t, "awa-agent", "backup", backup, "--agent", a.Addr(), "--key-file", ""); r.Code != 0 {
		t.Fatal(r)
	}
	// What was written to the silent listener is never answered.
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	silent := ln.(*net.TCPListener)
	for name, test := range map[string]struct {
		args   []string
		code   int
		says   string
		leased bool
	}{
		"run": {[]string{"run", "--my-host", "127.0.0.1", "--first", "--key-file", "", "--data-dir", dir}, 0, "", true},
		"restore": {args: []string{"restore", backup, "--data-dir", dir}, code: 1, says: "awa-agent: ended by a signal " +
			"before it was done: try it again, nothing is done twice\n", leased: true},
		"node list": {[]string{"node", "list", "--agent", silent.Addr().String(), "--key-file", ""}, 1, "", false},
		"node add": {args: []string{"node", "add", "x", "127.0.0.1", "--agent", silent.Addr().String(), "--key-file", ""},
			code: 1},
		"changes": {[]string{"changes", "--agent", silent.Addr().String(), "--key-file", ""}, 1, "", false},
		"backup": {args: []string{"backup", filepath.Join(dir, "x"), "--agent", silent.Addr().String(), "--key-file", ""},
			code: 1},
	} {
		for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
			t.Run(fmt.Sprintf("%s/%v", name, sig), func(t *testing.T) {
				hangs := accepted(t, silent)
				if test.leased {
					hangs = lease(t, filepath.Join(dir, "awa.db"))
				}
				b := program.NewAgent(t, "b")
				b.Spawn(test.args, nil)
				testaid.Await(t, 20*time.Second, func() error {
					if !b.Alive() || !hangs() {
						return fmt.Errorf("it does not hang: %s", b.Log)
					}
					return nil
				})
				began := time.Now()
				b.Signal(sig)
				if code := b.Wait(8 * time.Second); code != test.code {
					t.Errorf("it ended with %d, want %d", code, test.code)
				}
				if took := time.Since(began); took > 3*time.Second {
					t.Errorf("it ended after %v", took)
				}
				if text := b.Log.String(); test.leased && text != test.says {
					t.Errorf("it says %q, want %q", text, test.says)
				}
			})
		}
	}
}

// accepted returns what reports whether somebody has connected meanwhile, whom
// nobody answers.
func accepted(t *testing.T, ln *net.TCPListener) func() bool {
	return func() bool {
		ln.SetDeadline(time.Now().Add(10 * time.Millisecond))
		conn, err := ln.Accept()
		if err == nil {
			t.Cleanup(func() { conn.Close() })
		}
		return err == nil
	}
}

// lease makes a file whose opening waits until the test ends, and returns what
// reports whether somebody waits.
func lease(t *testing.T, path string) (waits func() bool) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close(); os.Remove(path) })
	if _, err := f.WriteString("not empty"); err != nil {
		t.Fatal(err)
	}
	if _, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_WRLCK); err != nil {
		testaid.Skip(t, "this file system has no leases: ", err)
	}
	return func() bool {
		now, err := unix.FcntlInt(f.Fd(), unix.F_GETLEASE, 0)
		return err == nil && now != unix.F_WRLCK // it is being broken
	}
}

// TestSignal_again ends an agent that is ending in good order, at once.
func TestSignal_again(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	a := program.NewAgent(t, "a1", "--first", "--key-file", "", "--ping-timeout", "10s")
	a.Start()
	checkSays(t, a.Addr(), "1 of 1 node online")
	_, port, _ := net.SplitHostPort(silent.Addr().String())
	if r := program.Run(t, "awa-agent", "node", "add", "silent", "127.0.0.1", port, "--agent", a.Addr(), "--key-file",
		""); r.Code != 0 {
		t.Fatal(r)
	}
	conn, err := net.Dial("tcp", a.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	// A request that keeps the agent from ending for a second.
	if _, err := io.WriteString(conn, "GET /status HTTP/1.1\r\nHost: a1\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := silent.Accept(); err != nil {
		t.Fatal(err)
	}
	for tick := time.NewTicker(50 * time.Millisecond); a.Alive(); <-tick.C {
		syscall.Kill(a.PID(), syscall.SIGTERM)
	}
	if code := a.Wait(time.Second); code != -1 {
		t.Errorf("it ended with %d, and not by the second signal", code)
	}
}
