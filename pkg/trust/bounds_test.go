package trust

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"are-we-alive/pkg/awa"
)

func TestBounded(t *testing.T) {
	for name, c := range map[string]struct {
		size, step int
		want       error
	}{
		"as much as allowed":          {maxHandshake, 1000, nil},
		"all at once":                 {maxHandshake, 2 * maxHandshake, nil},
		"a byte more":                 {maxHandshake + 1, 1000, errTooMuch},
		"a byte more and all at once": {maxHandshake + 1, 2 * maxHandshake, errTooMuch},
	} {
		t.Run(name, func(t *testing.T) {
			sent := bytes.Repeat([]byte("x"), c.size)
			a, b := pair(t)
			defer a.Close()
			go func() { b.Write(sent); b.Close() }()
			conn := bound(a)
			var got []byte
			var err error
			for buf := make([]byte, c.step); err == nil; {
				var n int
				n, err = conn.Read(buf)
				got = append(got, buf[:n]...)
				if len(got) == maxHandshake && c.want == nil {
					break
				}
			}
			if !errors.Is(err, c.want) || len(got) != maxHandshake {
				t.Errorf("%d bytes, %v", len(got), err)
			}
			conn.left.Store(unbounded)
			rest, err := io.ReadAll(conn)
			if err != nil || len(rest) != c.size-maxHandshake {
				t.Errorf("released: %d bytes are lost, %v", c.size-maxHandshake-len(rest), err)
			}
		})
	}
}

// counted counts what is written, which no handshake writes from two
// goroutines.
type counted struct {
	net.Conn
	written int
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.written += n
	return n, err
}

// padded tunes something until a handshake sends exactly so many bytes.
func padded(t *testing.T, want int, shake func(pad int) (sent int, err error)) error {
	t.Helper()
	for pad := want / 2; ; {
		sent, err := shake(pad)
		if sent == want {
			return err
		}
		if pad += want - sent; pad < 0 || pad > 2*want {
			t.Fatalf("no handshake of %d bytes", want)
		}
	}
}

// What a whole handshake may have is maxHandshake bytes, on both sides.
func TestKeyring_bytes(t *testing.T) {
	s := newStage(t)
	agent, client := newAgent(t, uidA, "n1", s.key), newClient(t, awa.RoleCheck, s.key.Check())
	said := newTold()
	ln := listen(t)
	startHTTP(t, agent.Listener(ln, said.tell))
	asClient := func(pad int) (int, error) {
		raw := must[net.Conn](t)(net.Dial("tcp", ln.Addr().String()))
		c := &counted{Conn: raw}
		config := client.Client(Target{UID: uidA})
		for ; pad > 1; pad -= 200 {
			config.NextProtos = append(config.NextProtos, strings.Repeat("x", max(1, min(pad, 200)-1)))
		}
		conn := tls.Client(c, config)
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(patience))
		if err := conn.Handshake(); err != nil {
			return c.written, err
		}
		sent := c.written
		io.WriteString(conn, "GET / HTTP/1.0\r\n\r\n")
		answer, err := io.ReadAll(conn)
		if err == nil && !bytes.HasSuffix(answer, []byte("hello")) {
			err = errors.New("no answer")
		}
		return sent, err
	}
	asServer := func(pad int) (int, error) {
		pools := x509.NewCertPool()
		pools.AddCert(s.ours.member.cert)
		large := *s.ours.check.cert
		large.RawSubject = make([]byte, pad) // is copied into the request for a certificate
		large.Raw = []byte("another")
		pools.AddCert(&large)
		config := agent.now.Load().server.Clone()
		config.ClientCAs, config.SessionTicketsDisabled = pools, true
		a, b := pair(t)
		c := &counted{Conn: a}
		sent := make(chan int, 1)
		go func() {
			conn := tls.Server(c, config)
			conn.Handshake()
			sent <- c.written
			conn.Close()
		}()
		conn, err := client.Connect(t.Context(), b, Target{UID: uidA})
		if err == nil {
			conn.Close()
		}
		return <-sent, err
	}
	t.Run("a client", func(t *testing.T) {
		if err := padded(t, maxHandshake, asClient); err != nil {
			t.Error(err)
		}
		said.none(t)
		if err := padded(t, maxHandshake+1, asClient); err == nil {
			t.Error("a byte more is read")
		}
		if err := said.next(t); code(err) != awa.ErrNoAgent || !strings.Contains(err.Error(), "a client sends "+
			"more than 8 KiB") {
			t.Error(err)
		}
	})
	t.Run("a server", func(t *testing.T) {
		if err := padded(t, maxHandshake, asServer); err != nil {
			t.Error(err)
		}
		if err := padded(t, maxHandshake+1, asServer); code(err) != awa.ErrNoAgent || !strings.Contains(err.Error(),
			"sends more than 8 KiB") {
			t.Error(err)
		}
	})
}

// behind sends what is written in one piece with what follows it, until
// something is read.
type behind struct {
	net.Conn
	held bytes.Buffer
	hold atomic.Bool
}

func (b *behind) Write(p []byte) (int, error) {
	if b.hold.Load() {
		return b.held.Write(p)
	}
	return b.Conn.Write(p)
}

// What comes behind the handshake is not bounded, not even in one packet with
// its end.
func TestKeyring_bytes_behind(t *testing.T) {
	k := NewKey()
	agent, client := newAgent(t, uidA, "n1", k), newClient(t, awa.RoleCheck, k)
	said := newTold()
	inner := listen(t)
	defer inner.Close()
	ln := agent.Listener(inner, said.tell)
	const size = 20 * maxHandshake
	ended := make(chan error, 1)
	go func() {
		c, err := ln.Accept()
		if err == nil {
			c.SetDeadline(time.Now().Add(patience))
			_, err = io.CopyN(c, c, size)
			c.Close()
		}
		ended <- err
	}()
	b := &behind{Conn: must[net.Conn](t)(net.Dial("tcp", inner.Addr().String()))}
	config := client.Client(Target{UID: uidA})
	accept := config.VerifyConnection
	config.VerifyConnection = func(s tls.ConnectionState) error {
		b.hold.Store(true) // the client's last words of the handshake come after this
		return accept(s)
	}
	c := tls.Client(b, config)
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	sent := bytes.Repeat([]byte("0123456789abcdef"), size/16)
	if _, err := c.Write(sent[:2*maxHandshake]); err != nil {
		t.Fatal(err)
	}
	b.hold.Store(false)
	b.Conn.Write(b.held.Bytes())
	go c.Write(sent[2*maxHandshake:])
	got := make([]byte, size)
	if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%v, or other bytes", err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	said.none(t)
}

// The largest certificates that there are fit, also where a session is offered
// first that the agent doesn't take.
func TestKeyring_largest(t *testing.T) {
	var keys []Key
	for range maxKeys {
		keys = append(keys, NewKey())
	}
	name := strings.Repeat("x", awa.MaxName)
	asking := newAgent(t, uidB, name, keys...)
	const addr = "n1:1" // under which the session is kept
	for range 2 {
		agent := newAgent(t, uidA, name, keys...)
		size := len(agent.now.Load().own.Certificate[0])
		if size > maxCertificate {
			t.Errorf("an agent's certificate has %d bytes, allowed are %d", size, maxCertificate)
		}
		said := newTold()
		ln := must[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))
		for i := range 2 {
			go func() {
				c, err := agent.Listener(ln, said.tell).Accept()
				if err == nil {
					io.Copy(c, c)
					c.Close()
				}
			}()
			b := &counted{Conn: must[net.Conn](t)(net.Dial("tcp", ln.Addr().String()))}
			b.SetDeadline(time.Now().Add(patience))
			c, err := asking.Connect(t.Context(), b, Target{UID: uidA, Addr: addr})
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("a certificate of %d bytes, a handshake of %d", size, b.written)
			c.Write([]byte("x"))
			if _, err := c.Read(make([]byte, 1)); err != nil {
				t.Error(err)
			}
			if resumed := c.(*clientConn).ConnectionState().DidResume; resumed != (i == 1) {
				t.Errorf("resumed: %t", resumed)
			}
			c.Close()
		}
		said.none(t)
		ln.Close()
	}
}

// A client keeps no session whose ticket is too large.
func TestKeyring_ticket(t *testing.T) {
	k := NewKey()
	agent := newAgent(t, uidA, "n1", k)
	for _, size := range []int{maxTicket, maxTicket + 1} {
		client := newClient(t, awa.RoleCheck, k)
		config := agent.now.Load().server.Clone()
		var kept *tls.SessionState
		config.WrapSession = func(_ tls.ConnectionState, s *tls.SessionState) ([]byte, error) {
			kept = s
			return make([]byte, size), nil
		}
		config.UnwrapSession = func([]byte, tls.ConnectionState) (*tls.SessionState, error) { return kept, nil }
		for i := range 2 {
			a, b := pair(t)
			m := ok(t, meetAt(a, b, config, client.Client(Target{UID: uidA, Addr: "n1:1"})))
			if want := i == 1 && size <= maxTicket; m.client.DidResume != want {
				t.Errorf("a ticket of %d bytes, visit %d: resumed %t", size, i, m.client.DidResume)
			}
		}
	}
}

// What holds for a full handshake holds for a resumed one: whose certificate
// it is, its time, and that its key is ours.
func TestKeyring_accept_resumed(t *testing.T) {
	s := newStage(t)
	agent := newAgent(t, uidB, "n2", s.key)
	leaf := s.leafOf(t, s.ours.member, agentLeaf(uidA, "n1", []authorities{s.ours})).Leaf
	checks := s.leafOf(t, s.ours.check, clientLeaf(awa.RoleCheck)).Leaf
	foreign := s.leafOf(t, s.theirs.member, agentLeaf(uidA, "n1", []authorities{s.theirs})).Leaf
	short := forge{subject: "x", names: s.names, uses: bothUses, parent: s.ours.member.cert, signer: s.ours.member.key,
		from: time.Now().Add(-time.Hour), to: time.Now().Add(time.Hour)}.make(t).Leaf
	now := func(after time.Duration) clock { return func() time.Time { return time.Now().Add(after) } }
	for name, c := range map[string]struct {
		certs          []*x509.Certificate
		at             time.Duration
		client, server awa.Code // what is said of it
	}{
		"ours":                  {[]*x509.Certificate{leaf}, 0, "", ""},
		"ours and its CA":       {[]*x509.Certificate{leaf, s.ours.member.cert}, 0, "", ""},
		"ours for a time":       {[]*x509.Certificate{short}, 0, "", ""},
		"check role":            {[]*x509.Certificate{checks}, 0, awa.ErrNoAgent, ""},
		"whose key was removed": {[]*x509.Certificate{foreign}, 0, ErrOtherKey, ErrOtherKey},
		"over":                  {[]*x509.Certificate{short}, 2 * time.Hour, ErrExpired, ErrExpired},
		"not yet":               {[]*x509.Certificate{short}, -2 * time.Hour, ErrExpired, ErrExpired},
		"another agent's":       {[]*x509.Certificate{agent.now.Load().own.Leaf}, 0, awa.ErrOtherAgent, ""},
		"none":                  {nil, 0, "?", "?"},
	} {
		t.Run(name, func(t *testing.T) {
			h := *agent.now.Load()
			h.clock = now(c.at)
			state := tls.ConnectionState{DidResume: true, PeerCertificates: c.certs}
			if err := agent.ServerError(h.acceptClient(state)); code(err) != c.server {
				t.Errorf("the server: %v, want %q", err, c.server)
			}
			_, err := h.acceptServer(state, uidA+uidSuffix)
			if err := agent.ClientError(err); code(err) != c.client {
				t.Errorf("the client: %v, want %q", err, c.client)
			}
		})
	}
}

// A certificate that ends, or a clock that was set, ends the sessions.
func TestKeyring_resumption_time(t *testing.T) {
	s := newStage(t)
	mine := forge{subject: "x", names: s.names, uses: bothUses, parent: s.ours.member.cert, signer: s.ours.member.key,
		from: time.Now().Add(-time.Hour), to: time.Now().Add(time.Hour)}.make(t)
	later := func() time.Time { return time.Now().Add(2 * time.Hour) }
	set := func(k *Keyring, c clock) {
		h := *k.now.Load()
		h.clock = c
		if h.server != nil {
			h.server = h.serverConfig(k.tickets)
			h.server.Time = c
		}
		k.now.Store(&h)
	}
	for _, side := range []string{"the agent's clock", "the client's clock"} {
		t.Run(side, func(t *testing.T) {
			agent, client := newAgent(t, uidA, "n1", s.key), newClient(t, awa.RoleMember, s.key)
			for _, k := range []*Keyring{agent, client} {
				h := *k.now.Load()
				h.own = mine
				k.now.Store(&h)
				set(k, time.Now)
			}
			addr, _ := serve(t, "127.0.0.1:0", agent.Server())
			visit := func(resumed bool, want awa.Code) {
				t.Helper()
				config := client.Client(Target{UID: uidA, Addr: addr})
				config.Time = client.now.Load().clock
				m := call(t, addr, config)
				if got := code(client.ClientError(m.clientErr)); got != want || m.client.DidResume != resumed {
					t.Errorf("resumed %t, %q: %v", m.client.DidResume, got, m.clientErr)
				}
			}
			visit(false, "")
			visit(true, "")
			if side == "the agent's clock" {
				set(agent, later)
				visit(false, ErrOtherKey) // all that bad_certificate says
			} else {
				set(client, later)
				visit(false, ErrExpired)
			}
			set(agent, time.Now)
			set(client, time.Now)
			// A client that refuses the server forgets the session; the one that
			// the agent refused is as good as before by now.
			visit(side == "the agent's clock", "")
			visit(true, "")
		})
	}
}
