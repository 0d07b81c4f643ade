package server

import (
	"container/list"
	"log/slog"
	"net"
	"net/netip"
	"sync"
)

// limits bound the connections that are open. A connection is pending until
// its client has shown in a first request that it has a role: strangers hold
// none but pending ones, those with a key soon none.
type limits struct {
	// all and perAddr bound the open connections. A further one is closed at
	// once.
	all, perAddr int
	// pending and pendingPerAddr bound the pending ones. When they are too many,
	// the oldest of the address is closed, or of the address that has the most:
	// a client of ours needs some milliseconds for its first request, a stranger
	// takes as long as it may.
	pending, pendingPerAddr int
}

// standardLimits fit clusters of some thousand agents. Each agent keeps one
// or two connections to each other one, and many may come from one address: a
// gateway's, or one machine's. All those agents may connect at once after this
// one was started again, so that the pending ones must be hundreds. In memory
// a connection costs about 23 KiB with TLS (6 KiB without) and one file
// descriptor: strangers can hold some 25 MiB, and holders of keys 200 MiB.
func standardLimits() limits {
	return limits{all: 8192, perAddr: 4096, pending: 1024, pendingPerAddr: 384}
}

// guard is a listener that keeps strangers from holding more connections than
// limits allow. It works below TLS, before anything is computed for a
// stranger, and its memory is that of the open connections.
type guard struct {
	net.Listener
	limits limits
	log    *ration

	mu      sync.Mutex
	open    int
	pending list.List // of *guarded, the oldest first
	places  map[netip.Prefix]*place
}

// place is an address: of IPv6 a whole /64, which one machine may have.
type place struct {
	open    int
	pending list.List // of *guarded, the oldest first
}

// guarded is a connection that a guard counts.
type guarded struct {
	net.Conn
	of     *guard
	at     netip.Prefix
	closed bool          // guarded by of.mu
	all    *list.Element // its place in guard.pending; nil when it isn't pending
	here   *list.Element // likewise in place.pending
}

func newGuard(inner net.Listener, l limits, log *ration) *guard {
	return &guard{Listener: inner, limits: l, log: log, places: map[netip.Prefix]*place{}}
}

// Accept gives the next connection that there is room for.
func (g *guard) Accept() (net.Conn, error) {
	for {
		conn, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if c, ok := g.admit(conn); ok {
			return c, nil
		}
	}
}

// admit takes a connection in, or closes it.
func (g *guard) admit(conn net.Conn) (*guarded, bool) {
	c := &guarded{Conn: conn, of: g, at: placeOf(conn.RemoteAddr())}
	g.mu.Lock()
	oldest := g.makeRoom(c.at)
	full := g.open >= g.limits.all || g.places[c.at] != nil && g.places[c.at].open >= g.limits.perAddr
	if !full {
		g.add(c)
	}
	g.mu.Unlock()
	if oldest != nil {
		g.log.line(slog.LevelWarn, "pending", "too many connections of strangers are open, the oldest are closed", "of", oldest.at.String())
		oldest.Conn.Close()
	}
	if full {
		g.log.line(slog.LevelWarn, "full", "too many connections are open, a further one is closed", "from", c.at.String())
		conn.Close()
	}
	return c, !full
}

// makeRoom takes the connection out that must be closed before another one
// may be pending; nil when there is room. The caller holds mu.
func (g *guard) makeRoom(at netip.Prefix) *guarded {
	var oldest *list.Element
	if p := g.places[at]; p != nil && p.pending.Len() >= g.limits.pendingPerAddr {
		oldest = p.pending.Front()
	} else if g.pending.Len() >= g.limits.pending {
		oldest = g.ofTheMost()
	}
	if oldest == nil {
		return nil
	}
	c := oldest.Value.(*guarded)
	g.remove(c)
	return c
}

// ofTheMost finds the oldest pending connection of the address that has the
// most of them, so that a crowd from a few addresses pushes out its own only.
// It looks at no more than limits.pending. The caller holds mu.
func (g *guard) ofTheMost() *list.Element {
	var found *list.Element
	most := 0
	for e := g.pending.Front(); e != nil; e = e.Next() {
		if n := g.places[e.Value.(*guarded).at].pending.Len(); n > most {
			found, most = e, n
		}
	}
	return found
}

// add counts a connection; the caller holds mu.
func (g *guard) add(c *guarded) {
	p := g.places[c.at]
	if p == nil {
		p = &place{}
		g.places[c.at] = p
	}
	g.open++
	p.open++
	c.all, c.here = g.pending.PushBack(c), p.pending.PushBack(c)
}

// remove forgets a connection; the caller holds mu.
func (g *guard) remove(c *guarded) {
	if c.closed {
		return
	}
	c.closed = true
	g.unpend(c)
	g.open--
	p := g.places[c.at]
	if p.open--; p.open == 0 {
		delete(g.places, c.at)
	}
}

// unpend takes a connection from the pending ones; the caller holds mu.
func (g *guard) unpend(c *guarded) {
	if c.all == nil {
		return
	}
	g.pending.Remove(c.all)
	g.places[c.at].pending.Remove(c.here)
	c.all, c.here = nil, nil
}

// closePending closes all connections on which nobody has asked anything.
func (g *guard) closePending() {
	g.mu.Lock()
	var all []*guarded
	for e := g.pending.Front(); e != nil; e = g.pending.Front() {
		c := e.Value.(*guarded)
		all = append(all, c)
		g.remove(c)
	}
	g.mu.Unlock()
	for _, c := range all {
		c.Conn.Close()
	}
}

// settle says that the connection's client has a role.
func (c *guarded) settle() {
	c.of.mu.Lock()
	defer c.of.mu.Unlock()
	c.of.unpend(c)
}

// Close closes the connection.
func (c *guarded) Close() error {
	c.of.mu.Lock()
	c.of.remove(c)
	c.of.mu.Unlock()
	return c.Conn.Close()
}

// CloseWrite ends this side's half, where the connection has halves.
func (c *guarded) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// placeOf is the address that connections are counted under; the zero Prefix
// for what is no TCP.
func placeOf(addr net.Addr) netip.Prefix {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	ip := tcp.AddrPort().Addr().Unmap().WithZone("")
	bits := 64
	if ip.Is4() {
		bits = 32
	}
	p, err := ip.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}
