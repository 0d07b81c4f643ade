package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// fakeAgent is an agent as its supervisor sees it.
type fakeAgent struct {
	ready, waiting chan struct{}

	mu      sync.Mutex
	check   error
	hangs   bool
	summary string
	reload  error
}

func (f *fakeAgent) Ready() <-chan struct{}   { return f.ready }
func (f *fakeAgent) Waiting() <-chan struct{} { return f.waiting }

func (f *fakeAgent) Check(ctx context.Context) error {
	f.mu.Lock()
	err, hangs := f.check, f.hangs
	f.mu.Unlock()
	if hangs {
		<-ctx.Done()
		return ctx.Err()
	}
	return err
}

func (f *fakeAgent) Summary() string { f.mu.Lock(); defer f.mu.Unlock(); return f.summary }
func (f *fakeAgent) Reload() error   { f.mu.Lock(); defer f.mu.Unlock(); return f.reload }

func (f *fakeAgent) set(change func()) { f.mu.Lock(); defer f.mu.Unlock(); change() }

// superviseFake runs a test on a supervisor that looks every 5 s. told returns the
// lines that systemd was sent since it was last called.
func superviseFake(t *testing.T, f *fakeAgent, test func(told func() []string, hangups chan<- os.Signal, stop func())) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var states []string
		hangups := make(chan os.Signal, 1)
		f.ready, f.waiting = make(chan struct{}), make(chan struct{})
		s := &supervisor{agent: f, log: slog.New(slog.DiscardHandler), every: checkEvery, hangups: hangups,
			send: func(state string) error {
				mu.Lock()
				defer mu.Unlock()
				states = append(states, strings.Split(state, "\n")...)
				return nil
			}}
		ctx, cancel := context.WithCancel(t.Context())
		var over sync.WaitGroup
		over.Go(func() { s.run(ctx) })
		stop := func() { cancel(); over.Wait() }
		defer stop()
		test(func() []string {
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			all := states
			states = nil
			return all
		}, hangups, stop)
	})
}

func wantTold(t *testing.T, when string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: systemd was told %q, want %q", when, got, want)
	}
}

func TestSupervisor_start(t *testing.T) {
	t.Run("ready with the list, and kept alive", func(t *testing.T) {
		f := &fakeAgent{summary: "no list"}
		superviseFake(t, f, func(told func() []string, _ chan<- os.Signal, stop func()) {
			<-time.After(2 * time.Second) // of synctest's time
			wantTold(t, "before", told(), "STATUS=no list")
			f.set(func() { f.summary = "3 of 3" })
			close(f.ready)
			wantTold(t, "with the list", told(), "WATCHDOG=1", "READY=1", "STATUS=3 of 3")
			time.Sleep(5 * time.Second)
			wantTold(t, "later", told(), "WATCHDOG=1")
			f.set(func() { f.summary = "2 of 3" })
			time.Sleep(statusEvery)
			wantTold(t, "a second after a node's end", told(), "STATUS=2 of 3")
			stop()
			wantTold(t, "at the end", told(), "STOPPING=1")
		})
	})
	t.Run("nobody to join", func(t *testing.T) {
		superviseFake(t, &fakeAgent{summary: "joining"}, func(told func() []string, _ chan<- os.Signal, _ func()) {
			time.Sleep(joinPatience - time.Millisecond)
			if got := told(); slices.Contains(got, "READY=1") {
				t.Errorf("ready without a list, too soon: %q", got)
			}
			time.Sleep(time.Second)
			if got := told(); !slices.Contains(got, "READY=1") {
				t.Errorf("systemd still waits: %q", got)
			}
		})
	})
	t.Run("it is known that nobody is there to join", func(t *testing.T) {
		f := &fakeAgent{summary: "joining"}
		superviseFake(t, f, func(told func() []string, _ chan<- os.Signal, _ func()) {
			close(f.waiting)
			wantTold(t, "at once", told(), "WATCHDOG=1", "READY=1", "STATUS=joining")
		})
	})
	t.Run("the port does not answer", func(t *testing.T) {
		f := &fakeAgent{check: errors.New("no answer"), summary: "1 of 1"}
		superviseFake(t, f, func(told func() []string, _ chan<- os.Signal, _ func()) {
			close(f.ready)
			wantTold(t, "at first", told(), "STATUS=not well: no answer")
			f.set(func() { f.check = nil })
			time.Sleep(6 * time.Second)
			wantTold(t, "then", told(), "WATCHDOG=1", "READY=1", "STATUS=1 of 1")
		})
	})
}

func TestSupervisor_watchdog(t *testing.T) {
	for name, broken := range map[string]func(*fakeAgent){
		"the check fails": func(f *fakeAgent) { f.check = errors.New("it\nfailed") },
		"the check hangs": func(f *fakeAgent) { f.hangs = true },
	} {
		t.Run(name, func(t *testing.T) {
			f := &fakeAgent{summary: "1 of 1"}
			superviseFake(t, f, func(told func() []string, _ chan<- os.Signal, _ func()) {
				close(f.ready)
				wantTold(t, "well", told(), "WATCHDOG=1", "READY=1", "STATUS=1 of 1")
				f.set(func() { broken(f) })
				time.Sleep(time.Minute)
				if got := told(); len(got) != 1 || !strings.HasPrefix(got[0], "STATUS=not well: ") {
					t.Errorf("not well: systemd was told %q, want the reason and no keep-alive", got)
				}
				f.set(func() { f.check, f.hangs = nil, false })
				time.Sleep(11 * time.Second)
				if got := told(); len(got) < 2 || !slices.Contains(got, "WATCHDOG=1") || !slices.Contains(got, "STATUS=1 of 1") {
					t.Errorf("well again: systemd was told %q", got)
				}
			})
		})
	}
}

func TestSupervisor_reload(t *testing.T) {
	f := &fakeAgent{summary: "1 of 1"}
	superviseFake(t, f, func(told func() []string, hangups chan<- os.Signal, _ func()) {
		hangups <- syscall.SIGHUP
		wantTold(t, "before the start", told())
		close(f.ready)
		told()
		hangups <- syscall.SIGHUP
		wantTold(t, "reload", told(), "RELOADING=1", "READY=1")
		f.set(func() { f.reload = errors.New("line 2 is not a key") })
		hangups <- syscall.SIGHUP
		wantTold(t, "a reload that fails", told(), "RELOADING=1", "READY=1", "STATUS=1 of 1; the last reload changed "+
			"nothing: line 2 is not a key")
		f.set(func() { f.reload = nil })
		hangups <- syscall.SIGHUP
		wantTold(t, "a reload that works", told(), "RELOADING=1", "READY=1", "STATUS=1 of 1")
	})
}
