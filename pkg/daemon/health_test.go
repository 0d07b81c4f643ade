package daemon_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"are-we-alive/pkg/awatest"
	"are-we-alive/pkg/awatest/testaid"
	"are-we-alive/pkg/daemon"
	"are-we-alive/pkg/replica"
)

// health runs an agent of its own, whose listener and clock the test holds.
type health struct {
	*daemon.Daemon
	t    *testing.T
	stop func() error
}

func startHealth(t *testing.T, cfg daemon.Config) *health {
	t.Helper()
	cfg.Name, cfg.Host, cfg.DataDir = "n1", "127.0.0.1", filepath.Join(t.TempDir(), "data")
	cfg.Listen, cfg.Watch, cfg.PingTimeout = "127.0.0.1:0", 100*time.Millisecond, 100*time.Millisecond
	cfg.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	d, err := daemon.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	h := &health{d, t, nil}
	stopped := false
	h.stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		err := <-ended
		d.Close()
		return err
	}
	t.Cleanup(func() {
		if err := h.stop(); err != nil {
			t.Error(err)
		}
	})
	return h
}

func (h *health) check() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	return h.Check(ctx)
}

// awaitSummary waits until the agent sums up its cluster so.
func (h *health) awaitSummary(want string) {
	h.t.Helper()
	testaid.Await(h.t, awatest.Patience, func() error {
		if text := h.Summary(); text != want+"; no key: loopback only" {
			return fmt.Errorf("it says %q, want %q", text, want)
		}
		return nil
	})
}

func TestDaemon_Check(t *testing.T) {
	t.Run("a first agent", func(t *testing.T) {
		h := startHealth(t, daemon.Config{First: true})
		select {
		case <-h.Ready():
		case <-time.After(awatest.Patience):
			t.Fatal("it is not ready")
		}
		if err := h.check(); err != nil {
			t.Errorf("an agent that works: %v", err)
		}
		h.awaitSummary("1 of 1 node online, leader n1")
		if err := h.stop(); err != nil {
			t.Fatal(err)
		}
		if h.check() == nil {
			t.Error("an agent that has ended passes for one that works")
		}
	})
	t.Run("nobody to join", func(t *testing.T) {
		h := startHealth(t, daemon.Config{Join: []string{"127.0.0.1:1"}})
		if err := h.check(); err != nil {
			t.Errorf("an agent that waits for another: %v", err)
		}
		h.awaitSummary("no node list yet, not joined: 127.0.0.1:1 (connect: connection refused)")
		<-h.Waiting()
		select {
		case <-h.Ready():
			t.Error("ready without a list")
		default:
		}
	})
	t.Run("the port is deaf", func(t *testing.T) {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		h := startHealth(t, daemon.Config{First: true, Listener: deaf{ln, make(chan struct{})}})
		<-h.Ready()
		err = h.check()
		if err == nil || !strings.HasPrefix(err.Error(), "this agent does not answer itself at "+h.Addr()+": ") {
			t.Errorf("an agent that answers nobody: %v", err)
		}
	})
}

// deaf is a listener that never hands out a connection.
type deaf struct {
	net.Listener
	closed chan struct{}
}

func (d deaf) Accept() (net.Conn, error) { <-d.closed; return nil, net.ErrClosed }

func (d deaf) Close() error {
	select {
	case <-d.closed:
	default:
		close(d.closed)
	}
	return d.Listener.Close()
}

// A leader that ends in order costs an edit elsewhere far less than an election,
// which begins after a Heartbeat: packages restart agents on every upgrade.
func TestDaemon_leader_hands_over(t *testing.T) {
	const heartbeat = 10 * time.Second
	timing := awatest.Timing
	timing.Heartbeat, timing.Patience = heartbeat, 40*time.Second
	c := awatest.New(t, 3, awatest.Configure(func(_ int, cfg *daemon.Config) { cfg.Timing = replica.Timing(timing) }))
	leader := c.Leader()
	other := (leader + 1) % c.Len()
	began := time.Now()
	c.Stop(leader)
	c.MustEdit(other, awatest.CreateEdit("after"))
	if took := time.Since(began); took > heartbeat/2 {
		t.Errorf("the end of the leader and an edit then took %v: that was an election", took)
	}
	c.Start(leader)
	c.WaitSame()
}
