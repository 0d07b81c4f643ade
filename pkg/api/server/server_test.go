package server

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"are-we-alive/pkg/api"
	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/awatest/testaid"
)

func newClient(t *testing.T) *api.Client {
	t.Helper()
	c := api.NewClient(api.ClientConfig{})
	t.Cleanup(c.Close)
	return c
}

func TestServer_Shutdown(t *testing.T) {
	start := func(t *testing.T, agent *fakeAgent) (s *Server, addr string, ended chan error) {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		s, ended = NewServer(Config{Agent: agent, Log: slog.New(slog.DiscardHandler)}), make(chan error, 1)
		go func() { ended <- s.Serve(ln) }()
		return s, ln.Addr().String(), ended
	}
	t.Run("lets the requests under way finish and closes the port", func(t *testing.T) {
		agent := newFake(t)
		agent.entered, agent.leave = make(chan struct{}), make(chan struct{})
		s, addr, ended := start(t, agent)
		dialed := &closing{}
		c := api.NewClient(api.ClientConfig{Dial: func(ctx context.Context, network, addr string) (_ net.Conn, err error) {
			dialed.Conn, err = new(net.Dialer).DialContext(ctx, network, addr)
			return dialed, err
		}})
		t.Cleanup(c.Close)
		answered := make(chan error, 1)
		go func() {
			st, err := c.ClusterStatus(t.Context(), addr, false)
			if err == nil && len(st.Nodes) != 2 {
				err = errors.New("the status is not whole")
			}
			answered <- err
		}()
		<-agent.entered
		down := make(chan error, 1)
		go func() { down <- s.Shutdown(t.Context()) }()
		if err := <-ended; err != nil { // the port is closed
			t.Error(err)
		}
		close(agent.leave)
		if err := <-answered; err != nil {
			t.Error(err)
		}
		if err := <-down; err != nil {
			t.Error(err)
		}
		if !dialed.closed.Load() {
			t.Error("the last answer didn't say that the connection ends with it")
		}
		if _, err := net.Dial("tcp", addr); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("a further connection: %v", err)
		}
	})
	t.Run("ends with its context when a request hangs", func(t *testing.T) {
		agent := newFake(t)
		agent.entered, agent.leave = make(chan struct{}), make(chan struct{})
		s, addr, ended := start(t, agent)
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		io.WriteString(conn, message("GET", "/v1/status", ""))
		<-agent.entered
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		begin := time.Now()
		if err := s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if took := time.Since(begin); took > 5*time.Second {
			t.Errorf("it took %v", took)
		}
		close(agent.leave)
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Run("does not wait for connections that are kept open", func(t *testing.T) {
		s, addr, ended := start(t, newFake(t))
		c := newClient(t)
		for range 3 {
			if _, err := c.Ping(t.Context(), addr, false); err != nil {
				t.Fatal(err)
			}
		}
		begin := time.Now()
		if err := errors.Join(s.Shutdown(t.Context()), <-ended); err != nil {
			t.Error(err)
		}
		if took := time.Since(begin); took > 3*time.Second {
			t.Errorf("it took %v", took)
		}
		var gone *awa.PingError
		if _, err := c.Ping(t.Context(), addr, false); !errors.As(err, &gone) || gone.Stage != awa.StageConnect ||
			!errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("a further ping: %v", err)
		}
	})
}

// TestServer_raft upgrades to a stream and back-to-back sends through it.
func TestServer_raft(t *testing.T) {
	agent := newFake(t)
	addr, _ := serve(t, agent, nil)
	history, err := awa.ParseHistory(testHistory)
	if err != nil {
		t.Fatal(err)
	}
	c := api.NewClient(api.ClientConfig{Caller: func() awa.Caller {
		return awa.Caller{UID: "u", Cluster: testCluster,
			History: history, State: 1}
	}})
	t.Cleanup(c.Close)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	near, err := c.DialRaft(ctx, addr, testUID)
	if err != nil {
		t.Fatal(err)
	}
	defer near.Close()
	cancel() // it bounds the dial, not the stream
	far := <-agent.streams
	for _, end := range [][2]net.Conn{{near, far}, {far, near}} {
		sent := bytes.Repeat([]byte("raft"), 100_000)
		go end[0].Write(sent)
		got := make([]byte, len(sent))
		if _, err := io.ReadFull(end[1], got); err != nil || !bytes.Equal(got, sent) {
			t.Fatalf("the stream carried something else (%v)", err)
		}
	}
	// A blocked read ends when the other side's agent closes the stream.
	read := make(chan error, 1)
	go func() { _, err := near.Read(make([]byte, 1)); read <- err }()
	far.Close()
	if err := <-read; err == nil {
		t.Error("the stream goes on after it was closed")
	}

	// Bytes right behind the request belong to the stream.
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, message("POST", "/v1/raft", "", "Connection: Upgrade", "Upgrade: awa-raft/1",
		"Awa-To: "+testUID, "Awa-Uid: u", "Awa-State: 0")+"early")
	far = <-agent.streams
	defer far.Close()
	got := make([]byte, 5)
	if _, err := io.ReadFull(far, got); err != nil || string(got) != "early" {
		t.Errorf("%q, %v", got, err)
	}

	agent.err = &awa.Fault{Code: awa.ErrStopping, Text: "so it is"}
	if _, err := c.DialRaft(t.Context(), addr, testUID); !errors.Is(err, awa.ErrStopping) || err.Error() != "so it is" {
		t.Errorf("a refused stream: %v", err)
	}
}

// closing is a connection that knows whether it was closed.
type closing struct {
	net.Conn
	closed atomic.Bool
}

func (c *closing) Close() error { c.closed.Store(true); return c.Conn.Close() }

// scarce is a listener that is short of something for a while.
type scarce struct {
	net.Listener
	errs []error
}

func (s *scarce) Accept() (net.Conn, error) {
	if len(s.errs) == 0 {
		return nil, net.ErrClosed
	}
	err := s.errs[0]
	s.errs = s.errs[1:]
	if err != nil {
		return nil, &net.OpError{Op: "accept", Err: err}
	}
	near, _ := net.Pipe()
	return near, nil
}

func TestServer_shortage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &testaid.Log{}
		p := patient{&scarce{errs: []error{syscall.EMFILE, syscall.ENFILE, syscall.ECONNABORTED, nil}},
			slog.New(slog.NewTextHandler(log, nil))}
		begin := time.Now()
		conn, err := p.Accept()
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
		if took := time.Since(begin); took != 35*time.Millisecond || strings.Count(log.String(),
			"can't accept a connection") != 3 {
			t.Errorf("it took %v and logged\n%s", took, log)
		}
		if _, err := p.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("a closed listener: %v", err)
		}
	})
}
