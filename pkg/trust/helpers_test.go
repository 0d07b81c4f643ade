package trust

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"are-we-alive/pkg/awa"
)

const (
	uidA = "0123456789abcdef0123456789abcdef"
	uidB = "b0000000000000000000000000000000"
)

// patience is how long a test waits for what must come.
const patience = 20 * time.Second

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func newAgent(t testing.TB, uid, name string, keys ...Key) *Keyring {
	t.Helper()
	return must[*Keyring](t)(NewAgent(keys, uid, name))
}

func newClient(t testing.TB, role awa.Role, keys ...Key) *Keyring {
	t.Helper()
	return must[*Keyring](t)(NewClient(keys, role))
}

func derived(t testing.TB, k Key) authorities {
	t.Helper()
	return must[authorities](t)(k.derive())
}

// met is what two sides saw of each other.
type met struct {
	server, client       tls.ConnectionState
	serverErr, clientErr error // of the handshake and one byte each way
}

// meet lets a client meet a server over loopback.
func meet(t testing.TB, server, client *tls.Config) met {
	t.Helper()
	ln := listen(t)
	defer ln.Close()
	done := make(chan met, 1)
	go func() {
		c, err := ln.Accept()
		if err != nil {
			done <- met{serverErr: err}
			return
		}
		done <- answer(tls.Server(c, server))
	}()
	m := call(t, ln.Addr().String(), client)
	s := <-done
	m.server, m.serverErr = s.server, s.serverErr
	return m
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	return must[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))
}

// answer is the server's side of one meeting: it reads a byte and sends it back.
func answer(c *tls.Conn) (m met) {
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	if m.serverErr = c.Handshake(); m.serverErr != nil {
		linger(c.NetConn()) // as Listener does
		return m
	}
	m.server = c.ConnectionState()
	b := make([]byte, 1)
	if _, m.serverErr = io.ReadFull(c, b); m.serverErr == nil {
		_, m.serverErr = c.Write(b)
	}
	return m
}

// call is the client's side of one meeting.
func call(t testing.TB, addr string, config *tls.Config) (m met) {
	t.Helper()
	raw, err := net.Dial("tcp", addr)
	if err != nil {
		m.clientErr = err
		return m
	}
	c := tls.Client(raw, config)
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	if m.clientErr = c.Handshake(); m.clientErr != nil {
		return m
	}
	b := []byte{'!'}
	if _, m.clientErr = c.Write(b); m.clientErr == nil {
		_, m.clientErr = io.ReadFull(c, b)
	}
	m.client = c.ConnectionState()
	return m
}

// code is the code of a Failure: "" for no error, "?" for any other.
func code(err error) awa.Code {
	if err == nil {
		return ""
	}
	var f *Failure
	if errors.As(err, &f) {
		return f.Code
	}
	return "?"
}

// forge is a certificate as somebody without the right key would make it.
type forge struct {
	subject  string
	names    []string
	uses     []x509.ExtKeyUsage
	ca       bool
	id       []byte // subject key id
	from, to time.Time
	parent   *x509.Certificate // nil: self-signed
	signer   ed25519.PrivateKey
	key      ed25519.PrivateKey // nil: a new one
}

var bothUses = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}

func (f forge) make(t testing.TB) tls.Certificate {
	t.Helper()
	if f.key == nil {
		_, f.key, _ = ed25519.GenerateKey(nil)
	}
	if f.to.IsZero() {
		f.from, f.to = validity()
	}
	tmpl := &x509.Certificate{
		Subject:               pkix.Name{Organization: []string{organisation}, CommonName: f.subject},
		NotBefore:             f.from,
		NotAfter:              f.to,
		DNSNames:              f.names,
		ExtKeyUsage:           f.uses,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
		SubjectKeyId:          f.id,
	}
	if f.ca {
		tmpl.IsCA, tmpl.MaxPathLen, tmpl.KeyUsage = true, -1, x509.KeyUsageCertSign
	}
	parent := f.parent
	if parent == nil {
		parent, f.signer = tmpl, f.key
	}
	der := must[[]byte](t)(x509.CreateCertificate(rand.Reader, tmpl, parent, public(f.key), f.signer))
	return tls.Certificate{
		Certificate: [][]byte{der},
		PrivateKey:  f.key,
		Leaf:        must[*x509.Certificate](t)(x509.ParseCertificate(der)),
	}
}

// under appends certificates to a chain.
func under(c tls.Certificate, chain ...*x509.Certificate) tls.Certificate {
	for _, up := range chain {
		c.Certificate = append(c.Certificate[:len(c.Certificate):len(c.Certificate)], up.Raw)
	}
	return c
}

func keyOf(c tls.Certificate) ed25519.PrivateKey { return c.PrivateKey.(ed25519.PrivateKey) }
