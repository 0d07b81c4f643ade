package server

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"

	"are-we-alive/pkg/awatest/testaid"
)

// comer is a connection from an address; it knows whether it was closed.
type comer struct {
	net.Conn
	from   net.Addr
	closed bool
}

func (c *comer) RemoteAddr() net.Addr { return c.from }
func (c *comer) Close() error         { c.closed = true; return nil }

// door is a guard and those who came.
type door struct {
	*guard
	log *testaid.Log
}

func newDoor(l limits) door {
	log := &testaid.Log{}
	return door{newGuard(nil, l, &ration{log: slog.New(slog.NewTextHandler(log, nil))}), log}
}

// come lets somebody connect.
func (d door) come(from string) (*comer, *guarded) {
	c := &comer{from: net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(from), 1234))}
	g, ok := d.admit(c)
	if ok == c.closed {
		panic("a connection is either let in or closed")
	}
	return c, g
}

func TestGuard_pending(t *testing.T) {
	d := newDoor(limits{all: 100, perAddr: 100, pending: 4, pendingPerAddr: 2})
	first, _ := d.come("192.0.2.1")
	second, settled := d.come("192.0.2.1")
	settle(settled)
	third, _ := d.come("192.0.2.1")
	if first.closed || second.closed || third.closed {
		t.Fatal("there was room")
	}
	fourth, _ := d.come("::ffff:192.0.2.1")
	if !first.closed || second.closed || third.closed || fourth.closed {
		t.Error("the oldest pending one of the address should be closed, and no other")
	}
	other, _ := d.come("192.0.2.2")
	d.come("192.0.2.3")
	if third.closed {
		t.Error("four may be pending")
	}
	d.come("192.0.2.4")
	if !third.closed || fourth.closed || other.closed {
		t.Error("the oldest pending one of all should be closed, and no other")
	}
	if !strings.Contains(d.log.String(), "connections of strangers") {
		t.Errorf("logged: %s", d.log)
	}
	d.closePending()
	if second.closed || !other.closed || d.open != 1 || d.pending.Len() != 0 {
		t.Errorf("%d open, %d pending", d.open, d.pending.Len())
	}
}

// A crowd does not push out somebody else, who may be slow since the machine is.
func TestGuard_pending_crowd(t *testing.T) {
	d := newDoor(limits{all: 100, perAddr: 100, pending: 6, pendingPerAddr: 4})
	lone, _ := d.come("192.0.2.1")
	var crowd []*comer
	for range 20 {
		for _, from := range []string{"192.0.2.2", "192.0.2.3"} {
			c, _ := d.come(from)
			crowd = append(crowd, c)
		}
	}
	if lone.closed {
		t.Error("the one of another address was pushed out")
	}
	for i, c := range crowd {
		if c.closed != (i < len(crowd)-5) {
			t.Errorf("of the crowd's %d, number %d is closed: %t", len(crowd), i, c.closed)
		}
	}
}

func TestGuard_full(t *testing.T) {
	for name, c := range map[string]struct {
		limits limits
		from   [3]string
	}{
		"in all":                {limits{2, 100, 100, 100}, [3]string{"192.0.2.1", "192.0.2.2", "192.0.2.3"}},
		"of an address":         {limits{100, 2, 100, 100}, [3]string{"192.0.2.1", "192.0.2.1", "192.0.2.1"}},
		"of an address of IPv6": {limits{100, 2, 100, 100}, [3]string{"2001:db8::1", "2001:db8::2", "2001:db8::ffff:1:2:3"}},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDoor(c.limits)
			_, a := d.come(c.from[0])
			_, b := d.come(c.from[1])
			settle(a)
			settle(b)
			if third, _ := d.come(c.from[2]); !third.closed {
				t.Error("a third one is let in")
			}
			if !strings.Contains(d.log.String(), "too many connections are open") {
				t.Errorf("logged: %s", d.log)
			}
			elsewhere, g := d.come("198.51.100.1")
			if elsewhere.closed != (name == "in all") {
				t.Error("another address")
			}
			if !elsewhere.closed {
				g.Close()
			}
			a.Close()
			a.Close() // twice counts once
			again, g := d.come(c.from[2])
			if again.closed {
				t.Error("there is room again")
			}
			b.Close()
			g.Close()
			if d.open != 0 || len(d.places) != 0 || d.pending.Len() != 0 {
				t.Errorf("something is left: %d, %v", d.open, d.places)
			}
		})
	}
}

// TestServer_pending shows the guard at work in the server: who has asked
// something stays, and of the others the oldest goes.
func TestServer_pending(t *testing.T) {
	addr, _ := serve(t, newFake(t), func(s *Server) { s.limits = limits{all: 10, perAddr: 10, pending: 2, pendingPerAddr: 2} })
	dial := func() net.Conn {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	ask := func(c net.Conn) error {
		_, err := io.WriteString(c, message("GET", "/ping", ""))
		if err == nil {
			_, err = io.ReadAtLeast(c, make([]byte, 4096), 100)
		}
		return err
	}
	asked := dial()
	if err := ask(asked); err != nil {
		t.Fatal(err)
	}
	first, second, third := dial(), dial(), dial()
	if _, err := first.Read(make([]byte, 1)); err == nil || errors.Is(err, net.ErrClosed) {
		t.Errorf("the oldest connection: %v", err)
	}
	for _, c := range []net.Conn{asked, second, third} {
		if err := ask(c); err != nil {
			t.Error(err)
		}
	}
}
