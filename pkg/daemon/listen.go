package daemon

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"

	"are-we-alive/pkg/awa"
)

// saysLoopback reports whether a host is a loopback address, or the name of it. Other
// names are not looked up: this machine's own name often is such an address for itself
// alone.
func saysLoopback(host string) bool {
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback() || strings.EqualFold(strings.TrimSuffix(host, "."), "localhost")
}

// onLoopback reports whether an address of an agent is one of this machine alone.
func onLoopback(addr string) bool {
	host, _, err := awa.ParseAddr(addr, awa.DefaultPort)
	return err == nil && isLoopback(host)
}

// listenAddr is the address to listen on.
func (c Config) listenAddr() (string, error) {
	host, port := strings.Trim(c.Listen, "[]"), c.Port
	if port == 0 {
		port = awa.DefaultPort
	}
	number := port.String()
	if h, p, err := net.SplitHostPort(c.Listen); err == nil {
		host, number = h, p
		if _, err := awa.ParsePort(p); err != nil && p != "0" {
			return "", err
		}
	}
	if c.KeyFile != "" || c.Insecure {
		return net.JoinHostPort(host, number), nil
	}
	if c.Listen == "" {
		host = c.Host
	}
	if !isLoopback(host) {
		return "", fmt.Errorf("%s is not a loopback address, and without a key every stranger who reaches it could edit "+
			"the node list: make the cluster's key with awa-agent key new, or copy it from another server, use 127.0.0.1 "+
			"for a trial on one machine (with --my-host 127.0.0.1), or --insecure on a network that you trust", describe(host))
	}
	return net.JoinHostPort(host, number), nil
}

// insecure reports whether everybody may do everything, at any address.
func (c Config) insecure() bool { return c.Insecure && c.KeyFile == "" }

func describe(host string) string {
	if host == "" {
		return "every address of this machine"
	}
	return host
}

// isLoopback reports whether a host can only be reached from this machine.
func isLoopback(host string) bool {
	if ip := net.ParseIP(host); ip != nil {
		return ip.IsLoopback()
	}
	if host == "" {
		return false
	}
	ips, err := net.LookupIP(host)
	return err == nil && !slices.ContainsFunc(ips, func(ip net.IP) bool { return !ip.IsLoopback() })
}

// listen opens the port.
func (d *Daemon) listen() error {
	addr, err := d.cfg.listenAddr()
	if err != nil {
		return err
	}
	if d.ln = d.cfg.Listener; d.ln != nil {
		return nil
	}
	if d.ln, err = net.Listen("tcp", addr); err != nil {
		return err
	}
	at, ok := d.ln.Addr().(*net.TCPAddr)
	if !ok || d.cfg.Listen != "" || !at.IP.IsLoopback() {
		return nil
	}
	// The host's own name often is 127.0.1.1 for itself, where nobody looks for an agent.
	usual := net.JoinHostPort(awa.DefaultAgent, fmt.Sprint(at.Port))
	if usual == at.String() {
		return nil
	}
	also, err := net.Listen("tcp", usual)
	if err != nil {
		d.log.Info("another program has the usual address, so this agent has its own only", "addr", at.String(), "error", err)
		return nil
	}
	d.ln = newListeners(d.ln, also)
	return nil
}

// listeners are two listeners as one, which has the address of the first.
type listeners struct {
	net.Listener
	also     net.Listener
	accepted chan accepted
	closed   chan struct{}
	close    func() error
}

// accepted is what an Accept returned.
type accepted struct {
	conn net.Conn
	err  error
}

func newListeners(first, also net.Listener) *listeners {
	l := &listeners{Listener: first, also: also, accepted: make(chan accepted), closed: make(chan struct{})}
	l.close = sync.OnceValue(func() error {
		close(l.closed)
		return errors.Join(first.Close(), also.Close())
	})
	for _, ln := range []net.Listener{first, also} {
		go l.acceptFrom(ln)
	}
	return l
}

// acceptFrom passes on what a listener accepts, until it is closed.
func (l *listeners) acceptFrom(ln net.Listener) {
	for {
		conn, err := ln.Accept()
		select {
		case l.accepted <- accepted{conn, err}:
		case <-l.closed:
			if conn != nil {
				conn.Close()
			}
			return
		}
		if errors.Is(err, net.ErrClosed) {
			return
		}
	}
}

// Accept implements net.Listener.
func (l *listeners) Accept() (net.Conn, error) {
	select {
	case a := <-l.accepted:
		return a.conn, a.err
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (l *listeners) Close() error { return l.close() }
