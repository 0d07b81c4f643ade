// Package testaid is what the tests of every package need and none of them
// should have an own copy of: how a test is left out, how it waits, how it
// compares outputs, reads a log and serves. It knows nothing of agents (awatest does), so that
// any package's tests may import it.
package testaid

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"
)

// Skip leaves a test out, loudly: on stderr, which go test shows when all is
// well too. Where nothing may be left out (AWA_TEST_NO_SKIP=1, as in CI), the
// test fails instead.
func Skip(t testing.TB, why ...any) {
	t.Helper()
	text := "NOT TESTED: " + fmt.Sprint(why...)
	if os.Getenv("AWA_TEST_NO_SKIP") != "" {
		t.Fatal(text)
	}
	fmt.Fprintf(os.Stderr, "*** %s: %s\n", t.Name(), text)
	t.Skip(text)
}

// Tool finds a program of others, which Debian has in a package of the same
// name. Without it the test is left out.
func Tool(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		Skip(t, name, " is not installed: test/install-debian.sh ", name)
	}
	return path
}

// Golden compares an output with the file that holds what it should be, or
// writes that file when update is true.
func Golden(t testing.TB, file, got string, update bool) {
	t.Helper()
	if update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the output is not that of %s (go test -update writes it again):\n%.2000s", file, got)
	}
}

// Await waits until f has no error any more, and fails the test when it still
// has one after the longest time.
func Await(t testing.TB, most time.Duration, f func() error) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for over := time.Now().Add(most); ; <-tick.C {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(over) {
			t.Fatalf("after %v still: %v", most, err)
		}
	}
}

// Eventually waits until a condition holds, and fails the test when it does not for
// 20 s.
func Eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	Await(t, 20*time.Second, func() error {
		if !condition() {
			return errors.New("not so: " + what)
		}
		return nil
	})
}

// Log keeps what is written to it by any number of goroutines. The zero Log
// is empty.
type Log struct {
	mu    sync.Mutex
	text  bytes.Buffer
	moved chan struct{} // closed when something more is written; nil while nobody waits
}

// Write implements io.Writer.
func (l *Log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.moved != nil {
		close(l.moved)
		l.moved = nil
	}
	return l.text.Write(b)
}

// String returns all that was written.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// Read returns all that was written, and a channel that is closed when there is
// more.
func (l *Log) Read() (text string, more <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.moved == nil {
		l.moved = make(chan struct{})
	}
	return l.text.String(), l.moved
}

// Server is what Serve runs.
type Server interface {
	Serve(net.Listener) error
	Shutdown(context.Context) error
}

// Serve runs a server on a free port of loopback until the test ends, and
// returns its address. Both its ends must be without an error.
func Serve(t testing.TB, s Server) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ln) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := errors.Join(s.Shutdown(ctx), <-ended); err != nil {
			t.Errorf("the server at %v: %v", ln.Addr(), err)
		}
	})
	return ln.Addr().String()
}
