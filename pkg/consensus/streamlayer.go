package consensus

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// streamLayer is Raft's network: connections that agents open to each other over
// the API's port. A server's address is its agent's uid, so that a changed
// host or port needs no change of the configuration.
type streamLayer struct {
	uid      string
	dial     func(ctx context.Context, uid string) (net.Conn, error)
	incoming chan net.Conn
	ctx      context.Context
	cancel   context.CancelFunc

	mu    sync.Mutex
	open  map[*stream]bool // closed by Close, since raft leaves inbound ones open
	drops int              // how often drop was called
}

func newStreamLayer(uid string, dial func(context.Context, string) (net.Conn, error)) *streamLayer {
	s := &streamLayer{uid: uid, dial: dial, incoming: make(chan net.Conn), open: map[*stream]bool{}}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// stream is a connection of a streamLayer.
type stream struct {
	net.Conn
	of *streamLayer
}

// Close closes the connection.
func (c *stream) Close() error {
	c.of.mu.Lock()
	delete(c.of.open, c)
	c.of.mu.Unlock()
	return c.Conn.Close()
}

// dropped returns how often drop was called so far.
func (s *streamLayer) dropped() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.drops
}

// track keeps a connection, unless it was begun before the last drop.
func (s *streamLayer) track(conn net.Conn, drops int) (net.Conn, error) {
	c := &stream{conn, s}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil || drops != s.drops {
		conn.Close()
		return nil, net.ErrClosed
	}
	s.open[c] = true
	return c, nil
}

// accept hands in a connection that another agent opened.
func (s *streamLayer) accept(conn net.Conn) {
	c, err := s.track(conn, s.dropped())
	if err != nil {
		return
	}
	select {
	case s.incoming <- c:
	case <-s.ctx.Done():
		c.Close()
	}
}

// Accept implements net.Listener.
func (s *streamLayer) Accept() (net.Conn, error) {
	select {
	case c := <-s.incoming:
		return c, nil
	case <-s.ctx.Done():
		return nil, net.ErrClosed
	}
}

// Dial implements raft.StreamLayer.
func (s *streamLayer) Dial(to raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(s.ctx, timeout)
	defer cancel()
	drops := s.dropped()
	conn, err := s.dial(ctx, string(to))
	if err != nil {
		return nil, fmt.Errorf("raft stream to %s: %w", to, err)
	}
	return s.track(conn, drops)
}

// Close closes all streams and ends Accept.
func (s *streamLayer) Close() error {
	s.cancel()
	s.drop()
	return nil
}

// drop closes all streams, those too that are being opened, and returns how many
// were open. Raft opens them again.
func (s *streamLayer) drop() int {
	s.mu.Lock()
	open := s.open
	s.open = map[*stream]bool{}
	s.drops++
	s.mu.Unlock()
	for c := range open {
		c.Conn.Close()
	}
	return len(open)
}

// Addr implements net.Listener.
func (s *streamLayer) Addr() net.Addr { return address(s.uid) }

// address is a uid as a net.Addr.
type address string

func (address) Network() string  { return "awa" }
func (a address) String() string { return string(a) }
