package api

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"are-we-alive/pkg/awa"
)

// pool keeps connections open for the next request.
type pool struct {
	most int           // idle connections in all
	keep time.Duration // how long one stays idle
	// wanted reports whether somebody waits for a connection to be closed; nil
	// is nobody, ever.
	wanted func() bool

	mu     sync.Mutex
	idle   map[string][]idleConn // by address, the newest last
	count  int
	pruned time.Time
	closed bool
	round  int // how often all were closed
}

type idleConn struct {
	net.Conn
	since time.Time
}

// get returns an idle connection, or nil.
func (p *pool) get(addr string) net.Conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	conns := p.idle[addr]
	for len(conns) > 0 {
		c := conns[len(conns)-1]
		conns = conns[:len(conns)-1]
		p.count--
		if time.Since(c.since) < p.keep {
			p.setIdle(addr, conns)
			return c.Conn
		}
		c.Close()
	}
	p.setIdle(addr, conns)
	return nil
}

func (p *pool) setIdle(addr string, conns []idleConn) {
	if len(conns) == 0 {
		delete(p.idle, addr)
		return
	}
	p.idle[addr] = conns
}

// now returns the round. Whoever takes or opens a connection asks for it before,
// and hands it back with the connection.
func (p *pool) now() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.round
}

// put keeps a connection, or closes it when the pool is full, or when all were
// closed since its round.
func (p *pool) put(addr string, c net.Conn, round int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if time.Since(p.pruned) >= p.keep/4 {
		p.prune()
	}
	if p.closed || p.round != round || p.count >= p.most || p.wanted != nil && p.wanted() {
		c.Close()
		return
	}
	if p.idle == nil {
		p.idle = map[string][]idleConn{}
	}
	p.idle[addr] = append(p.idle[addr], idleConn{c, time.Now()})
	p.count++
}

// prune closes what has been idle for too long. Nobody else would close the
// connections to a node that is gone from the list.
func (p *pool) prune() {
	p.pruned = time.Now()
	for addr, conns := range p.idle {
		fresh := conns[:0]
		for _, c := range conns {
			if time.Since(c.since) < p.keep {
				fresh = append(fresh, c)
				continue
			}
			c.Close()
			p.count--
		}
		p.setIdle(addr, fresh)
	}
}

// dropOldest closes the connection that has been idle for the longest time, and
// reports whether there was one.
func (p *pool) dropOldest() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	oldest, at := "", time.Time{}
	for addr, conns := range p.idle { // the oldest first
		if at.IsZero() || conns[0].since.Before(at) {
			oldest, at = addr, conns[0].since
		}
	}
	if at.IsZero() {
		return false
	}
	conns := p.idle[oldest]
	conns[0].Close()
	p.count--
	p.setIdle(oldest, conns[1:])
	return true
}

// close closes all idle connections, and those of this round when they are
// given back; those of later rounds too when it is for good.
func (p *pool) close(forGood bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, conns := range p.idle {
		for _, c := range conns {
			c.Close()
		}
	}
	p.idle, p.count, p.closed = nil, 0, forGood
	p.round++
}

// dial opens a connection to host:port and makes it safe; uid is the agent meant,
// "" for whichever answers. waited is how much of the time went by until this
// process had a descriptor for it. The error is an *awa.PingError.
func (c *Client) dial(ctx context.Context, addr, uid string) (conn net.Conn, waited time.Duration, err error) {
	host, port, err := awa.ParseAddr(addr, awa.DefaultPort)
	if err != nil {
		return nil, 0, &awa.PingError{Stage: awa.StageResolve, Err: err}
	}
	needs := 1
	if _, err := netip.ParseAddr(host); err != nil {
		needs = 2 // a name's lookup has two sockets, and two of its addresses may be tried at once
	}
	if waited, err = c.permits.acquire(ctx, needs); err != nil {
		return nil, waited, err
	}
	if conn, err = c.connect(ctx, host, port); err != nil {
		c.permits.release(needs)
		return nil, waited, err
	}
	c.permits.release(needs - 1)
	conn = c.permits.releaseOnClose(conn)
	if c.cfg.Secure == nil {
		return conn, waited, nil
	}
	safe, err := c.cfg.Secure(ctx, conn, addr, uid)
	if err != nil {
		return nil, waited, &awa.PingError{Stage: awa.StageTLS, Err: plain(err)}
	}
	return safe, waited, nil
}

// plain takes the addresses out of a network error, which its reader knows
// already, and leaves the system's words: "connection refused".
func plain(err error) error {
	var errno syscall.Errno
	var dns *net.DNSError
	switch {
	case errors.Is(err, context.Canceled):
		return context.Canceled
	case errors.As(err, &dns) && dns.IsTimeout && dns.Server != "":
		return fmt.Errorf("name server %s: %w", serverOf(dns.Server), errNoAnswer)
	case errors.Is(err, context.DeadlineExceeded), awa.IsTimeout(err):
		return errNoAnswer
	case errors.As(err, &dns) && dns.IsNotFound:
		return errors.New("no such host")
	case errors.As(err, &dns) && dns.Server != "":
		return fmt.Errorf("name server %s: %w", serverOf(dns.Server), dnsWords(dns))
	case errors.As(err, &errno):
		return errno
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF): // in a handshake, or TLS without its closing word
		return errClosed
	}
	return err
}

// serverOf is a name server's address without the usual port.
func serverOf(addr string) string { return strings.TrimSuffix(addr, ":53") }

// dnsWords are those of a name server's failure, without the ports that differ each
// time.
func dnsWords(err *net.DNSError) error {
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return errno
	}
	for errno := range slices.Values([]syscall.Errno{syscall.ECONNREFUSED, syscall.ENETUNREACH, syscall.EHOSTUNREACH}) {
		if strings.HasSuffix(err.Err, errno.Error()) {
			return errno
		}
	}
	return errors.New(err.Err)
}

// errNoAnswer is a time that ran out; errors.Is finds
// context.DeadlineExceeded in it.
var errNoAnswer error = noAnswer{}

type noAnswer struct{}

func (noAnswer) Error() string        { return "no answer in time" }
func (noAnswer) Is(target error) bool { return target == context.DeadlineExceeded }

// bound makes a connection end its reads and writes when ctx does. The
// returned function undoes that and reports whether the connection is still
// good.
func bound(ctx context.Context, c net.Conn) (release func() bool) {
	if at, ok := ctx.Deadline(); ok {
		c.SetDeadline(at)
	}
	if ctx.Done() == nil {
		return func() bool { return true }
	}
	stop := context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })
	return func() bool {
		if !stop() {
			return false
		}
		return c.SetDeadline(time.Time{}) == nil
	}
}

// streamConn is a connection whose first bytes were read into a buffer.
type streamConn struct {
	net.Conn
	r *bufio.Reader
}

// Read reads the buffered bytes first.
func (c *streamConn) Read(p []byte) (int, error) { return c.r.Read(p) }
