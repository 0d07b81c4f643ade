package server

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/valyala/fasthttp"

	"are-we-alive/pkg/awa"
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
	return door{newGuard(nil, l, &rateLimitedLog{log: slog.New(slog.NewTextHandler(log, nil))}), log}
}

// come lets somebody connect.
func (d door) come(from string) (*comer, *guarded) {
	c := &comer{from: net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(from), 1234))}
	return c, d.admit(c)
}

// enter lets somebody connect, show a role and have an answer.
func (d door) enter(t *testing.T, from string, role awa.Role) *comer {
	t.Helper()
	c, g := d.come(from)
	if !markAuthorized(g, role) {
		t.Fatalf("a %s from %s is not let in", role, from)
	}
	g.turn(false)
	return c
}

// addr makes an address by its number.
func addr(i int) string {
	return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}).String()
}

func TestGuard_pending(t *testing.T) {
	d := newDoor(limits{pending: {4, 2}, trusted: {100, 100}})
	first, _ := d.come("192.0.2.1")
	second, settled := d.come("192.0.2.1")
	markAuthorized(settled, awa.RoleMember)
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
	if second.closed || !other.closed || d.open != [kinds]int{trusted: 1} {
		t.Errorf("%d are open", d.open)
	}
}

// A crowd does not push out somebody else, who may be slow since the machine is.
func TestGuard_pending_crowd(t *testing.T) {
	d := newDoor(limits{pending: {6, 4}})
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

// TestGuard_shares fills each share of an agent's limits to its edge.
func TestGuard_shares(t *testing.T) {
	for name, c := range map[string]struct {
		kind         kind
		all, perAddr int // as the constants say
		role         awa.Role
	}{
		"check keys": {checking, maxChecks, maxChecksPerAddr, awa.RoleCheck},
		"members":    {trusted, maxConns - maxPending - maxChecks - maxStreams, maxMembersPerAddr, awa.RoleMember},
	} {
		t.Run(name, func(t *testing.T) {
			t.Run("of a caller", func(t *testing.T) {
				d := newDoor(standardLimits())
				other := d.enter(t, "198.51.100.1", c.role)
				first := d.enter(t, "2001:db8::1", c.role)
				second := d.enter(t, "2001:db8::2", c.role)
				for i := range c.perAddr - 2 {
					d.enter(t, fmt.Sprintf("2001:db8::%x:1", i+1), c.role)
				}
				if first.closed || d.open[c.kind] != c.perAddr+1 {
					t.Fatalf("%d are open", d.open[c.kind])
				}
				d.enter(t, "2001:db8::ffff:1:2:3", c.role)
				if !first.closed || second.closed || other.closed || d.open[c.kind] != c.perAddr+1 {
					t.Errorf("one more than its share doesn't close the caller's idlest, and no other: %d are open", d.open[c.kind])
				}
			})
			t.Run("in all", func(t *testing.T) {
				d := newDoor(standardLimits())
				var large []*comer
				for range c.perAddr {
					large = append(large, d.enter(t, "192.0.2.1", c.role))
				}
				var small []*comer
				for i := range c.all - c.perAddr {
					small = append(small, d.enter(t, addr(i), c.role))
				}
				if large[0].closed || d.open[c.kind] != c.all {
					t.Fatalf("%d are open, and the first is closed: %t", d.open[c.kind], large[0].closed)
				}
				d.enter(t, "198.51.100.1", c.role)
				if !large[0].closed || large[1].closed || d.open[c.kind] != c.all {
					t.Error("a further caller doesn't push out the idlest of the caller that has the most")
				}
				for _, one := range small {
					if one.closed {
						t.Fatal("a caller with one connection was pushed out")
					}
				}
			})
		})
	}
}

// TestGuard_shares_pending fills the share of strangers to its edges.
func TestGuard_shares_pending(t *testing.T) {
	for name, limits := range map[string]limits{"the agent's port": standardLimits(),
		"the port for Prometheus": webLimits(maxWebConns)} {
		t.Run(name, func(t *testing.T) {
			all, perAddr := maxPending, maxPendingPerAddr
			if limits[trusted].all == 0 {
				all, perAddr = maxWebConns, maxWebConnsPerAddr
			}
			d := newDoor(limits)
			first, _ := d.come("192.0.2.1")
			second, _ := d.come("192.0.2.1")
			for range perAddr - 2 {
				d.come("192.0.2.1")
			}
			if first.closed || d.open[pending] != perAddr {
				t.Fatalf("%v are open", d.open)
			}
			d.come("192.0.2.1")
			if !first.closed || second.closed || d.open[pending] != perAddr {
				t.Error("one more than the share of an address doesn't close its oldest, and no other")
			}
			for i := range all - perAddr {
				d.come(addr(i))
			}
			if second.closed || d.open[pending] != all {
				t.Fatalf("%v are open", d.open)
			}
			d.come("198.51.100.1")
			if !second.closed || d.open[pending] != all {
				t.Error("one more than all may have doesn't close the oldest of the address that has the most")
			}
		})
	}
}

// The others can take no member's place, however many they are; and their own
// last places never.
func TestGuard_members_get_in(t *testing.T) {
	d := newDoor(standardLimits())
	for i := range 2 * maxChecks {
		d.enter(t, addr(i), awa.RoleCheck)
	}
	for i := range 2 * maxPending {
		d.come(addr(i))
	}
	if d.open != [kinds]int{pending: maxPending, checking: maxChecks} {
		t.Fatalf("open are %v", d.open)
	}
	var members []*comer
	for i := range d.limits[trusted].all {
		members = append(members, d.enter(t, addr(i), awa.RoleMember))
	}
	d.enter(t, addr(1<<20), awa.RoleCheck)
	d.come(addr(1 << 20))
	for _, m := range members {
		if m.closed {
			t.Fatal("a member was pushed out by others, or found no room")
		}
	}
	total := 0
	for _, n := range d.open {
		total += n
	}
	if total > maxConns {
		t.Errorf("%d connections are open, at most %d may be", total, maxConns)
	}
}

// A connection with a request under way is not idle, however old.
func TestGuard_busy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(limits{pending: {9, 9}, checking: {4, 2}})
		old, busy := d.come("192.0.2.1")
		markAuthorized(busy, awa.RoleCheck)
		second := d.enter(t, "192.0.2.1", awa.RoleCheck)
		third, also := d.come("192.0.2.1")
		markAuthorized(also, awa.RoleCheck)
		if old.closed || !second.closed {
			t.Fatal("the one with a request under way was closed, and not the idle one")
		}

		// Now both have a request under way: a further one waits for their end.
		fourth, waits := d.come("192.0.2.1")
		settled := make(chan bool, 1)
		go func() { settled <- markAuthorized(waits, awa.RoleCheck) }()
		synctest.Wait()
		if len(settled) > 0 {
			t.Fatal("it did not wait")
		}
		busy.turn(false)
		if !<-settled || !old.closed || third.closed || fourth.closed {
			t.Error("it did not take the place of the one that has its answer")
		}

		// And not for ever.
		fifth, late := d.come("192.0.2.1")
		began := time.Now()
		if markAuthorized(late, awa.RoleCheck) || time.Since(began) != roomTime || third.closed || fourth.closed || fifth.closed {
			t.Errorf("after %v: it is let in, or another one closed", time.Since(began))
		}
		late.Close()

		// Another caller need not wait, even when all share is taken.
		d.enter(t, "192.0.2.2", awa.RoleCheck)
		_, b := d.come("192.0.2.3")
		markAuthorized(b, awa.RoleCheck)
		newcomer := d.enter(t, "192.0.2.4", awa.RoleCheck)
		if newcomer.closed || !third.closed {
			t.Error("the caller that has the most keeps all, since it does not read its answers")
		}
	})
}

// A connection that waits for room, and is closed, is not waited for.
func TestGuard_closed_while_waiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(limits{pending: {9, 9}, checking: {1, 1}})
		_, busy := d.come("192.0.2.1")
		markAuthorized(busy, awa.RoleCheck)
		_, waits := d.come("192.0.2.1")
		settled := make(chan bool, 1)
		go func() { settled <- markAuthorized(waits, awa.RoleCheck) }()
		synctest.Wait()
		waits.Close()
		if began := time.Now(); <-settled || time.Since(began) > 0 {
			t.Error("it was let in after its end, or waited on")
		}
		busy.Close()
		busy.Close() // twice counts once
		if d.open != [kinds]int{} || len(d.places) != 0 || d.waiting.Load() != 0 {
			t.Errorf("something is left: %v, %v", d.open, d.places)
		}
	})
}

// Of Raft streams, which are always in use, the oldest goes.
func TestGuard_streams(t *testing.T) {
	d := newDoor(standardLimits())
	stream := func(from string) *comer {
		c, g := d.come(from)
		markAuthorized(g, awa.RoleMember)
		onState(g, fasthttp.StateHijacked)
		return c
	}
	first, second := stream("192.0.2.1"), stream("192.0.2.1")
	for range maxStreamsPerAddr - 2 {
		stream("192.0.2.1")
	}
	if first.closed || d.open != [kinds]int{streaming: maxStreamsPerAddr} {
		t.Fatalf("%v are open", d.open)
	}
	stream("192.0.2.1")
	if !first.closed || second.closed {
		t.Error("one more than the share of an address doesn't close its oldest, and no other")
	}
	for i := range maxStreams - maxStreamsPerAddr {
		stream(addr(i))
	}
	if second.closed || d.open[streaming] != maxStreams {
		t.Fatalf("%v are open", d.open)
	}
	stream("198.51.100.1")
	if !second.closed || d.open[streaming] != maxStreams {
		t.Error("one more than all may have doesn't close the oldest of the address that has the most")
	}
}

// TestLimits holds what strangers and callers may cost against the sizes that
// the comments promise. Who raises a limit must change these sentences too.
func TestLimits(t *testing.T) {
	l := standardLimits()
	mib := func(n, each int) float64 { return float64(n) * float64(each) / (1 << 20) }
	for name, c := range map[string]struct{ cost, most float64 }{
		"strangers":               {mib(l[pending].all, connCost), 26},
		"holders of a check key":  {mib(l[checking].all, connCost), 26},
		"one of them":             {mib(l[checking].perAddr, connCost), 2},
		"members":                 {mib(l[trusted].all, connCost) + mib(l[streaming].all, streamCost), 175},
		"the port for Prometheus": {mib(webLimits(maxWebConns)[pending].all, connCost), 33},
	} {
		if c.cost > c.most {
			t.Errorf("%s can make an agent hold %.0f MiB, at most %.0f are promised", name, c.cost, c.most)
		}
	}
	for k, part := range map[kind]float64{pending: 0.5, checking: 0.1, trusted: 0.7, streaming: 0.5} {
		if one := float64(l[k].perAddr) / float64(l[k].all); one > part {
			t.Errorf("one address can take %.2f of the places of kind %d, at most %.2f are meant", one, k, part)
		}
	}
	if maxWebConns-maxWebConnsPerAddr < 256 {
		t.Error("one address leaves too few places at the second port")
	}
	if roomTime > 10*time.Second {
		t.Errorf("a request without a place waits for %v", roomTime)
	}
	if l[checking].perAddr != 64 {
		t.Errorf("one caller with a check key may hold %d connections, not 64", l[checking].perAddr)
	}
	for _, n := range []int{1, 4, 14, 22, 100, 1000, maxConns, 100 * maxConns} {
		total := 0
		for k, s := range limitsFor(n) {
			total += s.all
			if s.all < 1 || s.perAddr < 1 || s.perAddr > s.all {
				t.Errorf("of %d connections, kind %d may have %+v", n, k, s)
			}
		}
		if want := max(4, min(n, maxConns)); total != want {
			t.Errorf("of %d connections %d are given away, want %d", n, total, want)
		}
	}
}

// TestServer_limits reads what bounds one client from the servers themselves.
func TestServer_limits(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	agent, web := NewServer(Config{Agent: newFake(t), Log: log}), NewWebServer(&fakeWeb{}, log, 0)
	small := NewServer(Config{Agent: newFake(t), Log: log, MaxConns: 20})
	if agent.limits != standardLimits() || small.limits != limitsFor(20) {
		t.Errorf("the limits are %v and %v", agent.limits, small.limits)
	}
	if web.limits != (limits{pending: {maxWebConns, maxWebConnsPerAddr}}) || NewWebServer(&fakeWeb{}, log,
		3).limits != (limits{pending: {3, 3}}) {
		t.Errorf("the limits for Prometheus are %v", web.limits)
	}
	for s, body := range map[*Server]int{agent: maxBody, web: maxWebBody} {
		h := s.http
		if h.ReadTimeout != readTimeout || h.WriteTimeout != writeTimeout || h.IdleTimeout != idleTimeout {
			t.Errorf("the times are %v, %v, %v", h.ReadTimeout, h.WriteTimeout, h.IdleTimeout)
		}
		if h.ReadBufferSize != maxHeader || h.MaxRequestBodySize != body {
			t.Errorf("a head may have %d bytes, a body %d", h.ReadBufferSize, h.MaxRequestBodySize)
		}
	}
	if readTimeout > 10*time.Second || writeTimeout > time.Minute || idleTimeout > 5*time.Minute || maxHeader > 16<<10 ||
		maxBody > 1<<20 || maxWebBody > 64<<10 {
		t.Error("a bound is more than what the documentation promises")
	}
	if keep := 2 * time.Minute; idleTimeout <= keep {
		t.Errorf("clients keep a connection for %v, and the server closes it after %v", keep, idleTimeout)
	}
}

// TestServer_pending shows the guard at work in the server: who has asked
// something stays, and of the others the oldest goes.
func TestServer_pending(t *testing.T) {
	addr, _ := serve(t, newFake(t), func(s *Server) { s.limits = limits{pending: {2, 2}, trusted: {10, 10}} })
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

// TestServer_times shortens the times and shows that they end what they bound.
func TestServer_times(t *testing.T) {
	const short = 200 * time.Millisecond
	agent := newFake(t)
	for range 20_000 { // an answer that no system's buffers hold
		agent.status.Nodes = append(agent.status.Nodes, agent.status.Nodes[0])
	}
	for name, c := range map[string]struct {
		sends  string
		reads  bool
		change func(*Server)
	}{
		"a client that says nothing": {"", true, func(s *Server) { s.http.ReadTimeout = short }},
		"a request that doesn't end": {sends: "GET /ping HTTP/1.1\r\nHost: x\r\n", reads: true,
			change: func(s *Server) { s.http.ReadTimeout = short }},
		"a client without another request": {message("GET", "/ping", ""), true,
			func(s *Server) { s.http.IdleTimeout = short }},
		"a client that reads no answer": {sends: message("GET", "/v1/status", ""),
			change: func(s *Server) { s.sender.pace.stall = short }},
	} {
		t.Run(name, func(t *testing.T) {
			var server *Server
			addr, _ := serve(t, agent, func(s *Server) { c.change(s); server = s })
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			io.WriteString(conn, c.sends)
			if !c.reads {
				if _, err := conn.Read(make([]byte, 1)); err != nil { // the answer has begun
					t.Fatal(err)
				}
				testaid.Await(t, 20*time.Second, func() error { return server.idle() })
				return
			}
			conn.SetReadDeadline(time.Now().Add(20 * time.Second))
			if _, err := io.Copy(io.Discard, conn); awa.IsTimeout(err) {
				t.Error("the connection is still open")
			}
		})
	}
}

// idle says that connections are open.
func (s *Server) idle() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.guard.mu.Lock()
	defer s.guard.mu.Unlock()
	if s.guard.open != [kinds]int{} {
		return fmt.Errorf("%v connections are open", s.guard.open)
	}
	return nil
}
