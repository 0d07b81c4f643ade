package trust

import (
	"bytes"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unicode"

	"are-we-alive/pkg/awa"
)

// pair is two ends of a connection that takes no port.
func pair(t testing.TB) (a, b net.Conn) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	var ends [2]net.Conn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "pair")
		if ends[i], err = net.FileConn(f); err != nil {
			t.Fatal(err)
		}
		f.Close()
		ends[i].SetDeadline(time.Now().Add(patience))
	}
	return ends[0], ends[1]
}

// meetAt is meet over two ends of a connection.
func meetAt(a, b net.Conn, server, client *tls.Config) (m met) {
	var done sync.WaitGroup
	done.Go(func() {
		s := answer(tls.Server(a, server))
		m.server, m.serverErr = s.server, s.serverErr
	})
	c := tls.Client(b, client)
	m.clientErr = c.Handshake()
	if m.clientErr == nil {
		if _, m.clientErr = c.Write([]byte{'!'}); m.clientErr == nil {
			_, m.clientErr = c.Read(make([]byte, 1))
		}
	}
	m.client = c.ConnectionState()
	c.Close()
	done.Wait()
	return m
}

// wellPut checks a sentence that may hold what a stranger sent.
func wellPut(t *testing.T, err error) {
	t.Helper()
	if err == nil || code(err) == "?" {
		return
	}
	if s := err.Error(); len(s) > 400 || strings.ContainsFunc(s, unicode.IsControl) {
		t.Errorf("%q", s)
	}
}

// split reads certificates out of a fuzzer's bytes: two bytes of length each.
func split(data []byte) (chain [][]byte) {
	for len(data) >= 2 && len(chain) < 8 {
		n := min(int(binary.BigEndian.Uint16(data)), len(data)-2)
		chain = append(chain, data[2:2+n])
		data = data[2+n:]
	}
	return chain
}

func join(chain [][]byte) (data []byte) {
	for _, c := range chain {
		data = append(binary.BigEndian.AppendUint16(data, uint16(len(c))), c...)
	}
	return data
}

// Whatever chain of certificates a peer shows: it is let in, or believed to be
// an agent, when the CA's key signed the first of them and nothing else is
// shown but the CA itself, and only then.
func FuzzCertificates(f *testing.F) {
	own := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32)) // the peer's
	key, foreign := fixed(), newKey(awa.RoleMember, bytes.Repeat([]byte{9}, 32))
	ours, theirs := derived(f, key), derived(f, foreign)
	agent, client := newAgent(f, uidB, "n2", key), newClient(f, awa.RoleCheck, key)

	names := []string{AnyAgent, uidA + uidSuffix}
	good := forge{subject: "a", names: names, uses: bothUses, parent: ours.member.cert, signer: ours.member.key, key: own}
	seeds := []tls.Certificate{good.make(f), under(good.make(f), ours.member.cert)}
	for _, change := range []func(*forge){
		func(g *forge) { g.parent, g.signer = ours.check.cert, ours.check.key },
		func(g *forge) { g.parent, g.signer = theirs.member.cert, theirs.member.key },
		func(g *forge) { g.parent = nil },
		func(g *forge) {
			g.parent = nil
			g.subject = memberName
			g.ca = true
			g.id = ours.member.cert.SubjectKeyId
		},
		func(g *forge) { g.from, g.to = time.Unix(0, 0), time.Unix(1, 0) },
		func(g *forge) { g.uses = nil },
		func(g *forge) { g.names = nil },
		func(g *forge) { g.ca = true },
		func(g *forge) { g.subject = "\x1b[2J\n" + strings.Repeat("x", 500); g.parent = nil },
		func(g *forge) { g.key = anchorSigner() },
	} {
		g := good
		change(&g)
		seeds = append(seeds, g.make(f), under(g.make(f), ours.check.cert, ours.member.cert))
	}
	for _, c := range seeds {
		f.Add(join(c.Certificate))
	}
	f.Add(join([][]byte{ours.member.cert.Raw}))
	f.Add(join([][]byte{{}, {0}, bytes.Repeat([]byte{0x30, 0x80}, 50)}))
	f.Add([]byte{})

	f.Fuzz(func(t *testing.T, data []byte) {
		shown := tls.Certificate{Certificate: split(data), PrivateKey: own}
		signed := func(by authority, use x509.ExtKeyUsage) bool {
			if n := len(shown.Certificate); n == 0 || n > 2 || n == 2 && !sameButSignature(shown.Certificate[1], by.cert) {
				return false
			}
			c, err := x509.ParseCertificate(shown.Certificate[0])
			if err != nil {
				return false
			}
			k, ok := c.PublicKey.(ed25519.PublicKey)
			return ok && k.Equal(own.Public()) && len(c.Raw) <= maxCertificate && ed25519.Verify(public(by.key),
				c.RawTBSCertificate, c.Signature) &&
				time.Now().Before(c.NotAfter) && (c.ExtKeyUsage == nil || slices.Contains(c.ExtKeyUsage, use))
		}

		// One that can't be read at all spoils the whole chain.
		spoilt := slices.ContainsFunc(shown.Certificate, func(der []byte) bool {
			_, err := x509.ParseCertificate(der)
			return err != nil
		})

		a, b := pair(t)
		config := client.Client(Target{})
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &shown, nil }
		m := meetAt(a, b, agent.Server(), config)
		role, _ := agent.RoleOf(m.server)
		var want awa.Role
		switch {
		case spoilt:
		case signed(ours.member, x509.ExtKeyUsageClientAuth):
			want = awa.RoleMember
		case signed(ours.check, x509.ExtKeyUsageClientAuth):
			want = awa.RoleCheck
		}
		if role != want || (m.serverErr == nil) != (want != "") {
			t.Errorf("as a client its role is %q, want %q: %v", role, want, m.serverErr)
		}
		wellPut(t, agent.ServerError(m.serverErr))
		wellPut(t, client.ClientError(m.clientErr))

		a, b = pair(t)
		config = base()
		config.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &shown, nil }
		m = meetAt(a, b, config, client.Client(Target{UID: uidA}))
		if m.clientErr == nil && (!signed(ours.member, x509.ExtKeyUsageServerAuth) ||
			uidIn(m.client.PeerCertificates[0]) != uidA) {
			t.Error("a client takes it for agent A")
		}
		wellPut(t, client.ClientError(m.clientErr))
	})
}

// sameButSignature reports whether der is a certificate with everything that c
// says.
func sameButSignature(der []byte, c *x509.Certificate) bool {
	parsed, err := x509.ParseCertificate(der)
	return err == nil && bytes.Equal(parsed.RawTBSCertificate, c.RawTBSCertificate)
}

// Whatever bytes a stranger sends, as a client or as a server: it is not let
// in, and what is said of it is one sentence.
func FuzzBytes(f *testing.F) {
	agent, client := newAgent(f, uidA, "n1", fixed()), newClient(f, awa.RoleCheck, fixed())
	for _, s := range []string{
		"", "G", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 400 Bad " +
			"Request\r\n\r\n", "SSH-2.0-x\r\n", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
		"\x80\x2e\x01\x03\x01", "\x15\x03\x03\x00\x02\x02\x30", "\x15\x03\x01\x00\x02\x01\x00", "\x16\x03\x01\xff\xff",
		"\x16\x03\x03\x00\x04\x0e\x00\x00\x00",
		"\x14\x03\x03\x00\x01\x01", "\x17\x03\x03\x00\x00", "\x00\x00\x00\x00\x00\x00", "\x15\x03\x03\x00\x02\x02\xff",
	} {
		f.Add([]byte(s))
	}
	a, b := pair(f)
	hello := make(chan []byte, 1)
	go func() {
		buf := make([]byte, 4096)
		n, _ := a.Read(buf)
		hello <- buf[:n]
		a.Close()
	}()
	tls.Client(b, client.Client(Target{UID: uidA})).Handshake()
	f.Add(<-hello)

	f.Fuzz(func(t *testing.T, data []byte) {
		data = data[:min(len(data), 16<<10)]
		a, b := pair(t)
		said := newTold()
		conn := &serverConn{Conn: tls.Server(a, agent.Server()), of: &tlsListener{keys: agent, failed: said.tell}}
		b.Write(data)
		b.(*net.UnixConn).CloseWrite()
		if _, err := conn.Read(make([]byte, 1)); err == nil {
			t.Error("it was let in")
		}
		wellPut(t, said.next(t))
		said.none(t)
		conn.Close()
		b.Close()

		a, b = pair(t)
		b.Write(data)
		b.(*net.UnixConn).CloseWrite()
		c := tls.Client(a, client.Client(Target{}))
		err := c.Handshake()
		if err == nil {
			t.Error("a client took it for an agent")
		}
		wellPut(t, client.ClientError(err))
		c.Close()
		b.Close()

		a, b = pair(t)
		plain := &plainConn{Conn: a, failed: said.tell}
		b.Write(data)
		b.Close()
		var got []byte
		for buf := make([]byte, 100); ; {
			n, err := plain.Read(buf)
			got = append(got, buf[:n]...)
			if err != nil {
				break
			}
		}
		a.Close()
		if !bytes.Equal(got, data) {
			t.Error("a plain connection lost something")
		}
	})
}
