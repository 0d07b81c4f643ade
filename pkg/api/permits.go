package api

import (
	"context"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"are-we-alive/pkg/awa"
)

// permits bound the file descriptors that the connections of a client hold,
// those too that are being opened. A nil *permits bounds nothing.
type permits struct {
	most int
	// makeRoom closes the connection that has been idle for the longest time,
	// and reports whether there was one.
	makeRoom func() bool

	mu      sync.Mutex
	free    int
	waiting []*permitWait // the first comes first
}

type permitWait struct {
	n       int
	granted chan struct{}
}

func newPermits(most int, makeRoom func() bool) *permits {
	if most == 0 {
		return nil
	}
	return &permits{most: most, free: most, makeRoom: makeRoom}
}

// acquire takes n permits: at once when so many are free or idle connections can
// be closed for it, else as soon as others give theirs back. waited is how
// long that took. The error, when ctx ends before, is an *awa.PingError.
func (p *permits) acquire(ctx context.Context, n int) (waited time.Duration, err error) {
	if p == nil {
		return 0, nil
	}
	w := &permitWait{min(n, p.most), make(chan struct{})}
	for !p.begin(w) && p.makeRoom() { // which returns its permit back
	}
	began := time.Now()
	select {
	case <-w.granted:
		return 0, nil
	default:
	}
	select {
	case <-w.granted:
		return time.Since(began), nil
	case <-ctx.Done():
	}
	p.mu.Lock()
	i := slices.Index(p.waiting, w)
	if i >= 0 {
		p.waiting = slices.Delete(p.waiting, i, i+1)
		p.grant() // those behind may need less
	}
	p.mu.Unlock()
	if i < 0 { // granted in the same moment
		p.release(w.n)
	}
	if context.Cause(ctx) == context.Canceled {
		return time.Since(began), &awa.PingError{Stage: awa.StageConnect, Err: context.Canceled}
	}
	return time.Since(began), &awa.PingError{Stage: awa.StageConnect, Err: tooFewPermits(p.most)}
}

// begin puts a wait into the queue unless it stands there, and reports whether
// it was granted.
func (p *permits) begin(w *permitWait) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-w.granted:
		return true
	default:
	}
	if !slices.Contains(p.waiting, w) {
		p.waiting = append(p.waiting, w)
	}
	p.grant()
	return !slices.Contains(p.waiting, w)
}

// grant hands free permits to those who wait; the caller holds mu.
func (p *permits) grant() {
	for len(p.waiting) > 0 && p.waiting[0].n <= p.free {
		p.free -= p.waiting[0].n
		close(p.waiting[0].granted)
		p.waiting = p.waiting[1:]
	}
}

// release returns n permits.
func (p *permits) release(n int) {
	if p == nil || n == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.free += n
	p.grant()
}

// wanted reports whether somebody waits, so that no connection should be kept.
func (p *permits) wanted() bool {
	if p == nil {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.waiting) > 0
}

// releaseOnClose makes the end of a connection give its permit back.
func (p *permits) releaseOnClose(c net.Conn) net.Conn {
	if p == nil {
		return c
	}
	return &permitConn{Conn: c, of: p}
}

// permitConn is a connection that holds a permit.
type permitConn struct {
	net.Conn
	of     *permits
	closed atomic.Bool
}

// NetConn returns the connection below, as tls.Conn.NetConn does.
func (c *permitConn) NetConn() net.Conn { return c.Conn }

// Close closes the connection.
func (c *permitConn) Close() error {
	err := c.Conn.Close()
	if c.closed.CompareAndSwap(false, true) {
		c.of.release(1)
	}
	return err
}
