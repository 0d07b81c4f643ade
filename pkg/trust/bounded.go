package trust

import (
	"crypto/tls"
	"errors"
	"net"
	"sync/atomic"
)

// errTooMuch is a peer that sent maxHandshake bytes without a whole handshake.
var errTooMuch = errors.New("the handshake has too many bytes")

// unbounded is bounded.left without a bound.
const unbounded = -1

// bounded is a connection from which no more than some bytes can be read
// until it is released. It lies below TLS, and what follows a handshake is
// none of its business: a read that would pass the bound is shortened, so that
// nothing is lost.
type bounded struct {
	net.Conn
	left atomic.Int64 // bytes, or unbounded
}

// bound bounds what is read of a connection before its handshake is complete.
func bound(c net.Conn) *bounded {
	b := &bounded{Conn: c}
	b.left.Store(maxHandshake)
	return b
}

// release ends the bound of a connection whose handshake is complete.
func release(c *tls.Conn) {
	if b, ok := c.NetConn().(*bounded); ok && b.left.Load() != unbounded {
		b.left.Store(unbounded)
	}
}

// Read reads as long as there is something left. It fails with errTooMuch.
func (b *bounded) Read(p []byte) (int, error) {
	left := b.left.Load()
	switch {
	case left == unbounded:
		return b.Conn.Read(p)
	case left == 0:
		return 0, errTooMuch
	case int64(len(p)) > left:
		p = p[:left]
	}
	n, err := b.Conn.Read(p)
	b.left.Add(-int64(n))
	return n, err
}

// NetConn returns the connection below, as tls.Conn.NetConn does.
func (b *bounded) NetConn() net.Conn { return b.Conn }

// CloseWrite ends this side's half, where the connection has halves.
func (b *bounded) CloseWrite() error {
	if half, ok := b.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}
