package api

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/netip"
	"time"

	"are-we-alive/pkg/awa"
)

const (
	// nextAddress is how long one address of a name is waited for before the next one
	// is tried beside it: the Connection Attempt Delay of RFC 8305, section 5.
	nextAddress = 250 * time.Millisecond
	// addressesAtOnce is how many are tried at a time; the permits count on it.
	addressesAtOnce = 2
)

// connect opens a connection to a host: an address, or a name, whose addresses are
// tried one after the other. The error is an *awa.PingError.
func (c *Client) connect(ctx context.Context, host string, port awa.Port) (net.Conn, error) {
	if _, err := netip.ParseAddr(host); err == nil {
		conn, err := c.cfg.Dial(ctx, "tcp", awa.Addr(host, port))
		if err != nil {
			return nil, connectError(err, awa.Addr(host, port))
		}
		return conn, nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	a := &attempts{c: c, ctx: ctx, host: host, port: port, known: map[string]bool{}, done: make(chan dialed)}
	return a.run()
}

func connectError(err error, addr string) error {
	return &awa.PingError{Stage: awa.StageConnect, Err: cmp.Or(shortageOf(err, addr), plain(err))}
}

// attempts are those to connect to the addresses of a name.
type attempts struct {
	c    *Client
	ctx  context.Context
	host string
	port awa.Port

	known   map[string]bool // the addresses that were met
	queue   []string        // those that were not tried yet
	running []running       // the oldest first
	done    chan dialed
}

// running is an attempt that is under way.
type running struct {
	addr   string
	cancel context.CancelFunc
}

// dialed is what came of one.
type dialed struct {
	addr string
	conn net.Conn
	err  error
}

// run waits for the lookup, or for as long as it may take where addresses are
// remembered, and then for the first address that answers.
func (a *attempts) run() (net.Conn, error) {
	looking, remembered, patience := a.c.names.begin(a.host)
	fallback := time.NewTimer(patience)
	defer fallback.Stop()
	next := time.NewTicker(nextAddress)
	defer next.Stop()
	failure := error(&awa.PingError{Stage: awa.StageResolve, Err: errNoAnswer})
	for looking != nil || len(a.running) > 0 {
		select {
		case <-looking:
			looking = nil
			addrs, err := a.c.names.result(a.host)
			if err != nil && len(a.known) == 0 {
				failure = lookupError(err)
			}
			a.add(addrs)
		case <-fallback.C:
			a.add(remembered)
		case <-next.C:
			a.try()
		case d := <-a.done:
			a.drop(d.addr)
			if d.err == nil {
				a.c.names.answered(a.host, d.addr)
				return d.conn, nil
			}
			failure = connectError(d.err, awa.Addr(d.addr, a.port))
			a.try()
		case <-a.ctx.Done():
			if len(a.running) > 0 {
				return nil, connectError(a.ctx.Err(), "")
			}
			// The lookup before may have said which name server is silent.
			if _, err := a.c.names.result(a.host); err != nil {
				return nil, lookupError(err)
			}
			return nil, failure
		}
	}
	return nil, failure
}

// add queues the addresses that are new, and tries one unless one is being tried.
func (a *attempts) add(addrs []string) {
	for _, addr := range addrs {
		if !a.known[addr] {
			a.known[addr] = true
			a.queue = append(a.queue, addr)
		}
	}
	if len(a.running) == 0 {
		a.try()
	}
}

// try tries the next address. If too many attempts are under way, it cancels the
// oldest one.
func (a *attempts) try() {
	if len(a.queue) == 0 {
		return
	}
	if len(a.running) == addressesAtOnce {
		a.running[0].cancel()
		a.running = a.running[1:]
	}
	addr := a.queue[0]
	a.queue = a.queue[1:]
	ctx, cancel := context.WithCancel(a.ctx)
	a.running = append(a.running, running{addr, cancel})
	go func() {
		conn, err := a.c.cfg.Dial(ctx, "tcp", awa.Addr(addr, a.port))
		if ctx.Err() == nil {
			select {
			case a.done <- dialed{addr, conn, err}:
				return
			case <-ctx.Done():
			}
		}
		if err == nil {
			conn.Close()
		}
	}()
}

// drop takes an attempt that has ended off those under way.
func (a *attempts) drop(addr string) {
	for i, r := range a.running {
		if r.addr == addr {
			r.cancel()
			a.running = append(a.running[:i:i], a.running[i+1:]...)
			return
		}
	}
}

// lookupError is the error of a name that can't be looked up.
func lookupError(err error) error {
	short := shortageOf(errors.Join(err, outOfFiles()), "")
	return &awa.PingError{Stage: awa.StageResolve, Err: cmp.Or(short, plain(err))}
}
