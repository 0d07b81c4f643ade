package test

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"are-we-alive/pkg/awatest/testaid"
)

// terminal is the near end of a pseudo-terminal (pty(7)), at which a person
// would sit.
type terminal struct {
	t    *testing.T
	near *os.File
	far  *os.File // the process's; nil once that has it

	mu    sync.Mutex
	shown strings.Builder
	moved chan struct{} // closed and made again when something is shown
}

func newTerminal(t *testing.T) *terminal {
	t.Helper()
	near, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		testaid.Skip(t, "no pseudo-terminal here: ", err)
	}
	t.Cleanup(func() { near.Close() })
	raw, err := near.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var number int
	var failed error
	err = raw.Control(func(fd uintptr) {
		if failed = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0); failed == nil {
			number, failed = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
		}
	})
	if err != nil || failed != nil {
		t.Fatal(err, failed)
	}
	far, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	term := &terminal{t: t, near: near, far: far, moved: make(chan struct{})}
	go io.Copy(term, near) // ends when the process does, or the test
	return term
}

// Write takes what the process shows.
func (term *terminal) Write(b []byte) (int, error) {
	term.mu.Lock()
	defer term.mu.Unlock()
	close(term.moved)
	term.moved = make(chan struct{})
	return term.shown.Write(b)
}

// sit makes the terminal a command's.
func (term *terminal) sit(cmd *exec.Cmd) {
	cmd.Stdin, cmd.Stdout = term.far, term.far
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 0, Pdeathsig: syscall.SIGKILL}
}

// sees waits until the terminal shows a text after what was seen before.
func (term *terminal) sees(text string) {
	term.t.Helper()
	for over := time.After(20 * time.Second); ; {
		term.mu.Lock()
		shown, moved := term.shown.String(), term.moved
		_, rest, seen := strings.Cut(shown, text)
		if seen {
			term.shown.Reset()
			term.shown.WriteString(rest)
		}
		term.mu.Unlock()
		if seen {
			return
		}
		select {
		case <-moved:
		case <-over:
			term.t.Fatalf("the terminal does not show %q, but %q", text, shown)
		}
	}
}

// says types a line.
func (term *terminal) says(line string) {
	term.t.Helper()
	if _, err := io.WriteString(term.near, line+"\r"); err != nil {
		term.t.Fatal(err)
	}
}

const (
	question     = "Is this the first node in the cluster? (yes/no) "
	hostQuestion = "Host name or address of a node that runs: "
	portQuestion = "Its port (25483): "
)

// TestTerminal_question answers the original program's question.
func TestTerminal_question(t *testing.T) {
	t.Parallel()
	other := newAgent(t, "n1", "--first")
	other.start()
	type line struct{ sees, says string }
	for name, test := range map[string]struct {
		talk []line
		join bool // n1's cluster
	}{
		"yes":                            {[]line{{question, "yes"}}, false},
		"y, in capitals and with spaces": {[]line{{question, "  Y "}}, false},
		"nonsense": {[]line{{question, "maybe"}, {"Please answer yes or no.\r\n" + question, ""},
			{"Please answer yes or no.\r\n" + question, "yes"}}, false},
		"no": {[]line{{question, "no"}, {hostQuestion, "127.0.0.1"}, {portQuestion, "PORT"}}, true},
		"no, then nonsense": {[]line{
			{question, "n"}, {hostQuestion, "a b"}, {portQuestion, ""},
			{"\"a b\" is not a host: give a DNS name or an IP address.\r\n" + hostQuestion, "127.0.0.1"}, {portQuestion, "http"},
			{"\"http\" is not a port: use a number from 1 to 65535.\r\n" + hostQuestion, ""}, {portQuestion, "1"},
			{"the host is empty: give a DNS name or an IP address.\r\n" + hostQuestion, "localhost"}, {portQuestion, "PORT"},
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, term := sitDown(t)
			for _, l := range test.talk {
				term.sees(l.sees)
				term.says(strings.ReplaceAll(l.says, "PORT", other.port()))
			}
			a.listening()
			testaid.Await(t, 20*time.Second, func() error {
				st, err := a.status(true)
				if err == nil && test.join != (len(st.Nodes) > 1 && st.Nodes[0].Name == "n1") {
					err = fmt.Errorf("its nodes are %+v", st.Nodes)
				}
				return err
			})
			if code, _ := a.stop(syscall.SIGTERM); code != 0 {
				t.Errorf("exit code %d", code)
			}
		})
	}
}

// sitDown starts an agent without a list at a terminal.
func sitDown(t *testing.T) (*agent, *terminal) {
	t.Helper()
	a, term := newAgent(t, "seated"), newTerminal(t)
	name := fmt.Sprintf("seated-%d", time.Now().UnixNano()) // the others join the same cluster
	a.spawn([]string{"run", "--my-name", name, "--my-host", "127.0.0.1", "--listen", "127.0.0.1:0", "--data-dir",
		a.data(), "--log-format", "json"}, term.sit)
	term.far.Close()
	return a, term
}

// TestTerminal_noAnswer leaves the question open.
func TestTerminal_noAnswer(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		leave func(*agent, *terminal)
		code  int
		text  string
	}{
		"Ctrl-C": {leave: func(_ *agent, term *terminal) { io.WriteString(term.near, "\x03") }, code: 2,
			text: "awa-agent: no answer: use --first, or --join HOST[:PORT]\n"},
		"Ctrl-D": {leave: func(_ *agent, term *terminal) { io.WriteString(term.near, "\x04") }, code: 2,
			text: "awa-agent: no answer: use --first, or --join HOST[:PORT]\n"},
		"SIGTERM": {leave: func(a *agent, _ *terminal) { a.signal(syscall.SIGTERM) }, code: 2, text: "awa-agent: no " +
			"answer: use --first, or --join HOST[:PORT]\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, term := sitDown(t)
			term.sees(question)
			test.leave(a, term)
			begin := time.Now()
			code := a.wait(20 * time.Second)
			if took := time.Since(begin); code != test.code || took > 3*time.Second || a.log.String() != test.text {
				t.Errorf("exit code %d after %v, want %d within 3s; on stderr\n%swant\n%s", code, took, test.code, a.log, test.text)
			}
		})
	}
}

// TestTerminal_told asks nobody at a terminal who has said it already.
func TestTerminal_told(t *testing.T) {
	t.Parallel()
	a, term := newAgent(t, "n1"), newTerminal(t)
	a.spawn([]string{"run", "--first", "--my-host", "127.0.0.1", "--listen", "127.0.0.1:0", "--data-dir", a.data(),
		"--log-format", "json"}, term.sit)
	term.far.Close()
	a.listening()
	if _, err := net.Dial("tcp", a.addr()); err != nil {
		t.Error(err)
	}
	term.mu.Lock()
	defer term.mu.Unlock()
	if shown := term.shown.String(); shown != "" {
		t.Errorf("the terminal shows %q", shown)
	}
}
