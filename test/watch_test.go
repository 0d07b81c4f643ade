//go:build system

package test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"are-we-alive/pkg/awatest/testaid"
)

// window is a terminal that tmux draws, in which a person types.
type window struct {
	t      *testing.T
	socket string
}

// newWindow opens a window with a shell.
func newWindow(t *testing.T, columns, lines int) *window {
	t.Helper()
	testaid.Tool(t, "tmux")
	w := &window{t, filepath.Join(t.TempDir(), "tmux")}
	w.tmux("-f", "/dev/null", "new-session", "-d", "-x", strconv.Itoa(columns), "-y", strconv.Itoa(lines),
		"env PS1='$ ' LANG=C.UTF-8 TERM=xterm sh")
	t.Cleanup(func() { exec.Command("tmux", "-S", w.socket, "kill-server").Run() }) // it may have ended
	w.shows(`^\$`)
	return w
}

// tmux runs a command of tmux and returns what it prints.
func (w *window) tmux(args ...string) string {
	w.t.Helper()
	out, err := exec.Command("tmux", append([]string{"-S", w.socket, "-u"}, args...)...).CombinedOutput()
	if err != nil {
		w.t.Fatalf("tmux %q: %v: %s", args, err, out)
	}
	return string(out)
}

// types sends keys.
func (w *window) types(keys ...string) { w.tmux(append([]string{"send-keys"}, keys...)...) }

// screen returns what is on the screen.
func (w *window) screen() string { return w.tmux("capture-pane", "-p") }

// shows waits until a regular expression fits the screen, and returns that.
func (w *window) shows(want string) (screen string) {
	w.t.Helper()
	re := regexp.MustCompile(`(?m)` + want)
	testaid.Await(w.t, 30*time.Second, func() error {
		if screen = w.screen(); !re.MatchString(screen) {
			return fmt.Errorf("the screen does not show %s:\n%s", want, screen)
		}
		return nil
	})
	return screen
}

// narrow reports the lines of a screen that are wider.
func (w *window) narrow(screen string, columns, lines int) {
	w.t.Helper()
	all := strings.Split(strings.TrimRight(screen, "\n"), "\n")
	if len(all) > lines {
		w.t.Errorf("the screen has %d lines:\n%s", len(all), screen)
	}
	for _, line := range all {
		if len([]rune(line)) > columns {
			w.t.Errorf("a line is wider than %d: %s", columns, line)
		}
	}
}

// TestWatch_program has watch(1) run check_awa. Its colors are those of a program that is
// not at a terminal: none, unless the environment wants them.
func TestWatch_program(t *testing.T) {
	t.Parallel()
	testaid.Tool(t, "watch")
	a := newCluster(t, 1).agents[0]
	for env, colored := range map[string]bool{"CLICOLOR_FORCE=": false, "CLICOLOR_FORCE=1": true} {
		w := newWindow(t, 80, 24)
		w.types(fmt.Sprintf("clear; %s watch --color %s -v -H %s", env, program("check_awa"), a.addr()), "Enter")
		w.shows(`^a1 +Online `)
		screen := w.tmux("capture-pane", "-p", "-e")
		if strings.Contains(screen, "\x1b[32mOnline") != colored {
			t.Errorf("with %s the screen is\n%q", env, screen)
		}
	}
}

// TestWatch has a person look at a cluster in which agents die, the one asked too.
func TestWatch(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	a1, a2, a3 := c.agents[0], c.agents[1], c.agents[2]
	w := newWindow(t, 80, 24)
	before := w.screen()
	w.types(fmt.Sprintf("clear; %s --watch=1 -H %s -H %s; echo exit code $?", program("check_awa"), a1.addr(), a2.addr()),
		"Enter")

	screen := w.shows(`^3 nodes online · leader `)
	for _, want := range []string{`(?m)^AWA OK - \d\d:\d\d:\d\d, every 1s, q quits$`,
		`(?m)^  a1 +Online +\d+ s +\d+\.\d ms +127`,
		`(?m)^  a3 +Online +`, `(?m) asked a1(?:, \d+ s ago)?$`} {
		if !regexp.MustCompile(want).MatchString(screen) {
			t.Errorf("the screen does not show %s:\n%s", want, screen)
		}
	}
	w.narrow(screen, 80, 24)

	a3.kill()
	screen = w.shows(`^\* a3 +Offline +\d+ s +- +127`)
	w.shows(`^AWA CRITICAL - `)
	w.shows(`^1 of 3 not online · `)
	w.shows(`^\d\d:\d\d:\d\d a3 is offline after \d+ (?:s|min) online: the host answers`) // the event of the agent asked
	w.shows(`^  a3 +Offline `)                                                            // the mark is gone after a while
	w.narrow(screen, 80, 24)

	w.tmux("resize-window", "-x", "120", "-y", "12")
	w.shows(`^1 of 3 not online · leader .* · asked a1`)
	w.shows(`agent not running`)
	w.narrow(w.screen(), 120, 12)
	w.tmux("resize-window", "-x", "40", "-y", "10")
	w.shows(`^  a3 +Offline `)
	w.narrow(w.screen(), 40, 10)
	w.tmux("resize-window", "-x", "80", "-y", "24")

	a1.signal(syscall.SIGSTOP) // it is slow, so the next -H is asked beside it
	w.shows(`^2 of 3 not online · .* asked a2(?:, \d+ s ago)?$`)
	a1.signal(syscall.SIGCONT)
	w.shows(`^1 of 3 not online · .* asked a1(?:, \d+ s ago)?$`)
	a1.kill() // likewise, at once
	w.shows(`^2 of 3 not online · `)
	w.shows(` asked a2(?:, \d+ s ago)?$`)
	a2.kill() // nobody is left: what was seen stays, with its age
	w.shows(`^AWA CRITICAL - no agent answers: `)
	w.shows(`^the last answer \(`)
	w.shows(` asked a2, \d+ s ago$`)
	a2.start()
	w.shows(`^2 of 3 not online · `)
	a1.start()
	a3.start()
	w.shows(`^\* a[13] +Online`)
	w.shows(`^AWA OK - `)

	w.types("q")
	screen = w.shows(`^exit code 0$`)
	if strings.Contains(screen, "Online") {
		t.Errorf("the terminal is not as it was:\n%s\nand was\n%s", screen, before)
	}
	w.types("clear; stty -a | head -1; echo typed", "Enter") // which a raw terminal would not echo
	w.shows(`^\$ clear; stty|^typed$`)

	w.types(fmt.Sprintf("clear; NO_COLOR=1 %s --watch -H %s; echo exit code $?", program("check_awa"), a1.addr()), "Enter")
	w.shows(`^3 nodes online`)
	if colored := w.tmux("capture-pane", "-e", "-p"); strings.Contains(colored, "\x1b[3") {
		t.Errorf("there are colors: %q", colored)
	}
	w.types("C-c")
	w.shows(`^exit code 0$`)

	w.types(fmt.Sprintf("clear; exec %s --watch -H %s", program("check_awa"), a1.addr()), "Enter")
	w.shows(`^3 nodes online`)
	pid := strings.TrimSpace(w.tmux("list-panes", "-F", "#{pane_pid}"))
	w.tmux("kill-server") // the terminal ends, as when a connection breaks
	testaid.Await(t, 10*time.Second, func() error {
		if _, err := os.Stat("/proc/" + pid); err == nil {
			return fmt.Errorf("the process %s goes on without a terminal", pid)
		}
		return nil
	})
}

// TestWait has a script wait until a node is back, with its progress on a terminal.
func TestWait(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	a1, a3 := c.agents[0], c.agents[2]
	a3.kill()
	w := newWindow(t, 80, 24)
	w.types(fmt.Sprintf("clear; %s --wait 5m -H %s; echo exit code $?", program("check_awa"), a1.addr()), "Enter")
	w.narrow(w.shows(`^waiting, [45] min left: AWA CRITICAL - 1 of 3 nodes offline: a3`), 80, 24)
	a3.start()
	screen := w.shows(`^exit code 0$`)
	if !strings.Contains(screen, "AWA OK - 3 of 3 nodes online") || strings.Contains(screen, "waiting") {
		t.Errorf("it ends with\n%s", screen)
	}
}
