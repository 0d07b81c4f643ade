package server

import (
	"container/list"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"are-we-alive/pkg/awa"
)

// kind is what is known of a connection's client.
type kind int

const (
	pending   kind = iota // it has not shown any role yet: strangers stay here
	checking              // it has a check key
	trusted               // it is a member; without a key everybody is
	streaming             // it is a member's Raft stream
	kinds                 // how many there are
)

// kindOf is the kind of a client with a role.
func kindOf(role awa.Role) kind {
	if role == awa.RoleMember {
		return trusted
	}
	return checking
}

// share bounds the open connections of one kind: in all, and those of one
// caller. A caller is an address (see placeOf), since whoever holds a key can
// make any number of certificates.
type share struct{ all, perAddr int }

// limits are the shares of the kinds. No kind takes a place of another one:
// whatever strangers and holders of the check key do, members get in. Within
// a share a further connection takes the place of another one: of the caller's
// own when it has all that it may have, else of the caller that has the most.
type limits [kinds]share

// The most connections at a time. Measured: an idle connection costs the agent
// connCost with TLS, 11 KiB without, and one file descriptor; a Raft stream
// streamCost. So strangers can hold 26 MiB, all holders of check keys together
// 26 MiB and one of them 1.6 MiB, and members 175 MiB.
const (
	// maxConns is for all together. It fits clusters of some thousand agents,
	// each of which keeps one or two connections to each other one.
	maxConns = 8192
	// maxPending is for clients that have not shown a role yet. It must be
	// hundreds: all agents may connect at once after this one was started again.
	maxPending = 1024
	// maxPendingPerAddr must be hundreds too: many agents may come from one
	// address, a gateway's or one machine's.
	maxPendingPerAddr = 384
	// maxChecks is for all holders of check keys.
	maxChecks = 1024
	// maxChecksPerAddr is for one holder of a check key. A monitoring host uses
	// one connection for each check that runs at the same moment.
	maxChecksPerAddr = 64
	// maxMembersPerAddr is for the members at one address; without a key, for
	// any client.
	maxMembersPerAddr = 4096
	// maxStreams is for Raft streams. Each of the other four voters at most opens
	// up to four.
	maxStreams = 64
	// maxStreamsPerAddr is for the Raft streams from one address, which may be
	// all voters'.
	maxStreamsPerAddr = 32
)

// What an open connection costs at most, in bytes of resident memory.
const (
	connCost   = 26 << 10  // TLS, idle
	streamCost = 290 << 10 // TLS, and Raft's buffer of 256 KiB
)

// standardLimits are those of an agent that is short of nothing.
func standardLimits() limits { return limitsFor(maxConns) }

// limitsFor are the limits of a server that may hold n connections in all, of
// which members have half.
func limitsFor(n int) limits {
	n = max(4, min(n, maxConns))
	p, c, s := min(maxPending, n/4), min(maxChecks, n/4), min(maxStreams, n/4)
	m := n - p - c - s
	return limits{
		pending:  {p, min(maxPendingPerAddr, p)},
		checking: {c, min(maxChecksPerAddr, c)},
		trusted:  {m, min(maxMembersPerAddr, m)},

		streaming: {s, min(maxStreamsPerAddr, s)},
	}
}

// roomTime is how long a request waits while its caller has a request under
// way on each connection that it may have: a live status takes 2.2 pings.
const roomTime = 5 * time.Second

// guard is a listener that keeps anybody from holding more connections than
// limits allow. It works below TLS, before anything is computed for a
// stranger, and its memory is that of the open connections.
type guard struct {
	net.Listener
	limits limits
	log    *rateLimitedLog
	born   time.Time

	waiting atomic.Int32 // requests that wait for a place

	mu     sync.Mutex
	open   [kinds]int
	places map[netip.Prefix]*place
	freed  chan struct{} // closed when a place may be free; nil while nobody waits
}

// place is an address with its connections, of each kind the oldest first.
type place [kinds]list.List // of *guarded

// guarded is a connection that a guard counts.
type guarded struct {
	net.Conn
	of         *guard
	at         netip.Prefix
	authorized atomic.Bool  // its client has shown a role
	busy       atomic.Bool  // a request is under way; a Raft stream is one too
	turned     atomic.Int64 // when it became busy or idle, as guard.now

	// Guarded by of.mu:
	kind kind
	here *list.Element // in its place; nil once it is closed
}

func newGuard(inner net.Listener, l limits, log *rateLimitedLog) *guard {
	return &guard{Listener: inner, limits: l, log: log, born: time.Now(), places: map[netip.Prefix]*place{}}
}

// now is the time since the guard was made.
func (g *guard) now() int64 { return int64(time.Since(g.born)) }

// Accept returns the next connection.
func (g *guard) Accept() (net.Conn, error) {
	conn, err := g.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return g.admit(conn), nil
}

// admit takes a connection in, and closes another one when there are too many.
func (g *guard) admit(conn net.Conn) *guarded {
	c := &guarded{Conn: conn, of: g, at: placeOf(conn.RemoteAddr())}
	c.turned.Store(g.now())
	g.mu.Lock()
	out, _ := g.room(pending, c.at) // none of the pending ones counts as busy
	g.add(c, pending)
	g.mu.Unlock()
	g.pushOut(out, pending)
	return c
}

// room makes room for one more connection from an address: it returns the one
// that must be closed for it, already taken out; nil when none must. It fails
// when the caller has all that it may have, and a request under way on each.
// The caller holds mu.
func (g *guard) room(k kind, at netip.Prefix) (out *guarded, ok bool) {
	if p := g.places[at]; p != nil && p[k].Len() >= g.limits[k].perAddr {
		if out = p.idlest(k); out == nil || out.busy.Load() {
			return nil, false
		}
	} else if g.open[k] >= g.limits[k].all {
		out = g.ofTheMost(k)
	}
	if out != nil {
		g.remove(out)
	}
	return out, true
}

// ofTheMost finds the idlest connection of the caller that has the most of a
// kind, so that a crowd from a few addresses pushes out its own only. When that
// caller has a request under way on each, the one that takes the longest goes:
// otherwise it could keep everybody out by not reading its answers. The caller
// holds mu.
func (g *guard) ofTheMost(k kind) (found *guarded) {
	most := 0
	for _, p := range g.places {
		n := p[k].Len()
		if n < most || n == 0 {
			continue
		}
		if c := p.idlest(k); n > most || c.before(found) {
			most, found = n, c
		}
	}
	return found
}

// idlest finds the connection that has been idle for the longest time, or when
// none is, the one whose request takes the longest; nil when there is none.
func (p *place) idlest(k kind) (found *guarded) {
	if e := p[k].Front(); e != nil && k == pending { // these never turn, so the oldest is first
		return e.Value.(*guarded)
	}
	for e := p[k].Front(); e != nil; e = e.Next() {
		if c := e.Value.(*guarded); found == nil || c.before(found) {
			found = c
		}
	}
	return found
}

// before reports whether a connection is to be closed rather than another one.
func (c *guarded) before(other *guarded) bool {
	if busy := c.busy.Load(); busy != other.busy.Load() {
		return !busy
	}
	return c.turned.Load() < other.turned.Load()
}

// pushOut closes a connection that room took out.
func (g *guard) pushOut(c *guarded, k kind) {
	if c == nil {
		return
	}
	message := "too many connections of strangers are open, the oldest are closed"
	switch k {
	case checking:
		message = "too many connections of clients with a check key are open, the idlest are closed"
	case trusted:
		message = "too many connections are open, the idlest are closed"
	case streaming:
		message = "too many Raft streams are open, the oldest are closed"
	}
	g.log.line(slog.LevelWarn, message, message, "of", c.at.String())
	c.Conn.Close()
}

// add counts a connection; the caller holds mu.
func (g *guard) add(c *guarded, k kind) {
	p := g.places[c.at]
	if p == nil {
		p = &place{}
		g.places[c.at] = p
	}
	g.open[k]++
	c.kind, c.here = k, p[k].PushBack(c)
}

// remove forgets a connection; the caller holds mu.
func (g *guard) remove(c *guarded) {
	if c.here == nil {
		return
	}
	p := g.places[c.at]
	p[c.kind].Remove(c.here)
	c.here = nil
	g.open[c.kind]--
	if p.empty() {
		delete(g.places, c.at)
	}
	g.wake()
}

func (p *place) empty() bool {
	for k := range p {
		if p[k].Len() > 0 {
			return false
		}
	}
	return true
}

// wake lets those look again who wait for a place; the caller holds mu.
func (g *guard) wake() {
	if g.freed != nil {
		close(g.freed)
		g.freed = nil
	}
}

// closePending closes all connections on which nobody has asked anything.
func (g *guard) closePending() {
	g.mu.Lock()
	var all []*guarded
	for _, p := range g.places {
		for e := p[pending].Front(); e != nil; e = e.Next() {
			all = append(all, e.Value.(*guarded))
		}
	}
	for _, c := range all {
		g.remove(c)
	}
	g.mu.Unlock()
	for _, c := range all {
		c.Conn.Close()
	}
}

// authorize says that the connection's client has shown a role, by a request that
// is under way now. It waits while there is no room; false means that there
// still is none, or that the connection was closed meanwhile.
func (c *guarded) authorize(role awa.Role) bool {
	if c.authorized.Load() {
		return true
	}
	k := kindOf(role)
	var over <-chan time.Time
	for {
		ok, freed := c.move(k)
		if freed == nil {
			return ok
		}
		if over == nil {
			c.of.waiting.Add(1)
			defer c.of.waiting.Add(-1)
			timer := time.NewTimer(roomTime)
			defer timer.Stop()
			over = timer.C
			continue // a place may have become free before waiting was counted
		}
		select {
		case <-freed:
		case <-over:
			return false
		}
	}
}

// move makes a connection one of a kind. When there is no room, it returns
// what is closed as soon as there may be some.
func (c *guarded) move(k kind) (ok bool, freed <-chan struct{}) {
	g := c.of
	g.mu.Lock()
	if c.here == nil {
		g.mu.Unlock()
		return false, nil
	}
	out, ok := g.room(k, c.at)
	if !ok {
		defer g.mu.Unlock()
		if g.freed == nil {
			g.freed = make(chan struct{})
		}
		return false, g.freed
	}
	g.remove(c)
	c.busy.Store(k != streaming) // of streams the oldest goes first
	c.turned.Store(g.now())
	g.add(c, k)
	c.authorized.Store(true)
	g.mu.Unlock()
	g.pushOut(out, k)
	return true, nil
}

// turn notes that a request begins or has ended.
func (c *guarded) turn(busy bool) {
	c.turned.Store(c.of.now())
	c.busy.Store(busy)
	if g := c.of; !busy && g.waiting.Load() > 0 {
		g.mu.Lock()
		g.wake()
		g.mu.Unlock()
	}
}

// Close closes the connection.
func (c *guarded) Close() error {
	c.of.mu.Lock()
	c.of.remove(c)
	c.of.mu.Unlock()
	return c.Conn.Close()
}

// guardedBelow finds what a guard counts below a connection; nil when there is
// none.
func guardedBelow(conn net.Conn) *guarded {
	for conn != nil {
		switch c := conn.(type) {
		case *guarded:
			return c
		case interface{ NetConn() net.Conn }: // TLS, or what looks out for it
			conn = c.NetConn()
		default:
			return nil
		}
	}
	return nil
}

// CloseWrite ends this side's half, where the connection has halves.
func (c *guarded) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// placeOf is the address that connections are counted under; the zero Prefix
// for what is not TCP.
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
