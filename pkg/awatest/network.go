package awatest

import (
	"context"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"are-we-alive/pkg/api"
)

// network is what the agents of one cluster talk through: TCP on loopback, in
// which it is known who calls whom, so that it can be cut. Addresses that are
// no agent's refuse every connection: nothing leaves the machine.
type network struct {
	mu      sync.Mutex
	ports   []*port // by agent
	conns   map[*conn]bool
	side    map[int]int // of a partition, by agent; all others are on side 0
	silent  bool        // calls across the cut hang, else they are refused
	changed chan struct{}
}

// outside is who calls when it is the test and no agent. It reaches all sides.
const outside = -1

// port is an agent's listener. It stays bound while the agent is down, so that
// nobody else gets its number meanwhile.
type port struct {
	of   *network
	host int // index of the agent
	tcp  *net.TCPListener
	up   bool
}

func newNetwork() *network {
	return &network{conns: map[*conn]bool{}, side: map[int]int{}, changed: make(chan struct{})}
}

// add returns the next agent a port.
func (n *network) add() (int, error) {
	tcp, err := listenLoopback()
	if err != nil {
		return 0, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ports = append(n.ports, &port{of: n, host: len(n.ports), tcp: tcp})
	return len(n.ports) - 1, nil
}

func listenLoopback() (*net.TCPListener, error) {
	return net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
}

// addr is the address of an agent.
func (n *network) addr(host int) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.ports[host].tcp.Addr().String()
}

// move returns an agent that is down another port.
func (n *network) move(host int) error {
	tcp, err := listenLoopback()
	if err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	old := n.ports[host].tcp
	n.ports[host] = &port{of: n, host: host, tcp: tcp}
	return old.Close()
}

// swap exchanges the ports of two agents that are down.
func (n *network) swap(a, b int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ports[a].tcp, n.ports[b].tcp = n.ports[b].tcp, n.ports[a].tcp
}

// attach opens an agent's port for one life of it.
func (n *network) attach(host int) net.Listener {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.ports[host]
	p.up = true
	p.tcp.SetDeadline(time.Time{})
	return &listener{port: p, closed: make(chan struct{})}
}

// kill closes all connections of an agent at once and lets no new ones come
// about, in either direction, until it is attached again.
func (n *network) kill(host int) {
	n.mu.Lock()
	n.ports[host].up = false
	n.touch()
	n.mu.Unlock()
	n.drop(func(c *conn) bool { return c.from == host || c.to == host })
}

// cut parts some agents from all others, and from those of other cuts.
func (n *network) cut(silent bool, hosts []int) {
	n.mu.Lock()
	n.silent = silent
	next := 0
	for _, side := range n.side {
		next = max(next, side)
	}
	for _, h := range hosts {
		n.side[h] = next + 1
	}
	n.touch()
	n.mu.Unlock()
	n.drop(func(c *conn) bool { return n.parted(c.from, c.to) })
}

// heal undoes all cuts.
func (n *network) heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.side)
	n.touch()
}

// touch wakes the calls that hang; the caller holds mu.
func (n *network) touch() {
	close(n.changed)
	n.changed = make(chan struct{})
}

// parted reports whether a cut is between two agents; the caller holds mu.
func (n *network) parted(from, to int) bool {
	return from != outside && to != outside && n.side[from] != n.side[to]
}

// drop resets connections: what they have not delivered yet is lost.
func (n *network) drop(which func(*conn) bool) {
	n.mu.Lock()
	var conns []*conn
	for c := range n.conns {
		if which(c) {
			conns = append(conns, c)
		}
	}
	n.mu.Unlock()
	for _, c := range conns {
		c.TCPConn.SetLinger(0)
		c.Close()
	}
}

// close releases the ports.
func (n *network) close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, p := range n.ports {
		p.tcp.Close()
	}
}

// dialer is the network as an agent has it, or the test (outside).
func (n *network) dialer(from int) api.Dial {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		to, err := n.way(ctx, from, addr)
		if err != nil {
			return nil, err
		}
		c, err := new(net.Dialer).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return n.track(c, from, to)
	}
}

// way finds out whose address it is. While a silent cut is in between it
// hangs, as a call into a black hole does.
func (n *network) way(ctx context.Context, from int, addr string) (int, error) {
	for {
		n.mu.Lock()
		to := n.find(addr)
		refused := to < 0 || !n.ports[to].up || from != outside && !n.ports[from].up
		parted := !refused && n.parted(from, to)
		silent, changed := n.silent, n.changed
		n.mu.Unlock()
		switch {
		case refused || parted && !silent:
			return 0, refusal()
		case !parted:
			return to, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// find returns the agent at an address, or -1; the caller holds mu.
func (n *network) find(addr string) int {
	for _, p := range n.ports {
		if p.tcp.Addr().String() == addr {
			return p.host
		}
	}
	return -1
}

func refusal() error {
	return &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
}

// conn is a connection of which the network knows both ends. Of one that an
// agent accepted only that agent is known, as both.
type conn struct {
	*net.TCPConn
	of       *network
	from, to int
}

// track takes a new connection in, unless the way was cut meanwhile.
func (n *network) track(tcp net.Conn, from, to int) (net.Conn, error) {
	c := &conn{tcp.(*net.TCPConn), n, from, to}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.parted(from, to) || !n.ports[to].up || from != outside && !n.ports[from].up {
		c.TCPConn.Close()
		return nil, refusal()
	}
	n.conns[c] = true
	return c, nil
}

// Close closes the connection.
func (c *conn) Close() error {
	c.of.mu.Lock()
	delete(c.of.conns, c)
	c.of.mu.Unlock()
	return c.TCPConn.Close()
}

// listener is a port during one life of its agent.
type listener struct {
	port   *port
	once   sync.Once
	closed chan struct{}
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	for {
		tcp, err := l.port.tcp.Accept()
		select {
		case <-l.closed:
			if err == nil {
				tcp.Close()
			}
			return nil, net.ErrClosed
		default:
		}
		if err != nil {
			return nil, err
		}
		if c, err := l.port.of.track(tcp, l.port.host, l.port.host); err == nil {
			return c, nil
		}
	}
}

// Close implements net.Listener. It wakes Accept and keeps the port bound.
func (l *listener) Close() error {
	l.once.Do(func() {
		close(l.closed)
		l.port.of.mu.Lock()
		l.port.up = false
		l.port.of.mu.Unlock()
		l.port.tcp.SetDeadline(time.Unix(1, 0))
	})
	return nil
}

// Addr implements net.Listener.
func (l *listener) Addr() net.Addr { return l.port.tcp.Addr() }
