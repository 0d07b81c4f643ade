package trust

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"net"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"are-we-alive/pkg/awa"
)

// presented is what a peer may present, and what comes of it.
type presented struct {
	cert tls.Certificate
	role awa.Role // as a client: "" is refused
	// What the other side says of it, as a client and as a server: the code
	// and a part of the sentence.
	client, server         awa.Code
	clientSays, serverSays string
}

// dear is an RSA key of 8192 bits whose signatures cost the most to check:
// nobody knows its other half.
func dear() *rsa.PublicKey {
	n := make([]byte, 1024)
	rand.Read(n)
	n[0], n[len(n)-1] = n[0]|0x80, n[len(n)-1]|1
	return &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: 1<<31 - 1}
}

// expensive is a chain of a leaf that is said to be signed with RSA by n
// intermediates, all named like our CA: crypto/x509 would try each of them, and
// each with each.
func expensive(t testing.TB, n int, names []string) tls.Certificate {
	t.Helper()
	small := must[*rsa.PrivateKey](t)(rsa.GenerateKey(rand.Reader, 2048))
	own := forge{subject: "x"}.make(t)
	from, to := validity()
	name := pkix.Name{Organization: []string{organisation}, CommonName: memberName}
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: name, NotBefore: from, NotAfter: to,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "x"}, NotBefore: from, NotAfter: to,
		ExtKeyUsage: bothUses, DNSNames: names,
	}
	chain := [][]byte{resign(t, must[[]byte](t)(x509.CreateCertificate(rand.Reader, leaf, ca, public(keyOf(own)), small)))}
	for i := range n {
		ca.SerialNumber = big.NewInt(int64(100 + i))
		chain = append(chain, must[[]byte](t)(x509.CreateCertificate(rand.Reader, ca, ca, dear(), keyOf(own))))
	}
	return tls.Certificate{Certificate: chain, PrivateKey: own.PrivateKey}
}

// resign puts a signature that looks like one of 8192 bits into a certificate:
// one of another length would be refused without computing.
func resign(t testing.TB, der []byte) []byte {
	t.Helper()
	var c struct {
		TBS, Algorithm asn1.RawValue
		Signature      asn1.BitString
	}
	if _, err := asn1.Unmarshal(der, &c); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 1024)
	rand.Read(b)
	b[0] = 0 // below any modulus
	c.Signature = asn1.BitString{Bytes: b, BitLength: 8 * len(b)}
	return must[[]byte](t)(asn1.Marshal(c))
}

// leafWith is a certificate of our member CA with any key.
func (s stage) leafWith(t testing.TB, key crypto.Signer, names []string,
	change func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	from, to := validity()
	c := &x509.Certificate{
		Subject: pkix.Name{CommonName: "are-we-alive agent"}, NotBefore: from, NotAfter: to,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: bothUses, BasicConstraintsValid: true, DNSNames: names,
	}
	if change != nil {
		change(c)
	}
	der := must[[]byte](t)(x509.CreateCertificate(rand.Reader, c, s.ours.member.cert, key.Public(), s.ours.member.key))
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// sized is an agent's certificate of exactly so many bytes.
func (s stage) sized(t testing.TB, size int) tls.Certificate {
	t.Helper()
	pad := 1000
	for range 5 {
		own := forge{subject: "x"}.make(t)
		c := s.leafWith(t, keyOf(own), s.names, func(c *x509.Certificate) {
			c.SerialNumber = big.NewInt(7)
			c.ExtraExtensions = []pkix.Extension{{Id: []int{1, 3, 6, 1, 4, 1, 99999}, Value: make([]byte, pad)}}
		})
		if len(c.Certificate[0]) == size {
			return c
		}
		pad += size - len(c.Certificate[0])
	}
	t.Fatalf("no certificate of %d bytes", size)
	return tls.Certificate{}
}

// manyURIs puts names into a certificate that take the longest to parse.
func manyURIs(n int) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.URIs = slices.Repeat([]*url.URL{{Scheme: "a", Opaque: "b"}}, n) }
}

func manyExtensions(n int) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		for i := range n {
			c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: []int{1, 2, i}, Value: []byte{}})
		}
	}
}

// everything is what a peer may present.
func (s stage) everything(t testing.TB) map[string]presented {
	agent := agentLeaf(uidA, "n1", []authorities{s.ours})
	ours := s.leafOf(t, s.ours.member, agent)
	refused := func(c tls.Certificate, what string) presented {
		return presented{c, "", awa.ErrNoAgent, awa.ErrNoAgent,
			"its certificate names this cluster and is not that of an agent (" + what,
			"the certificate of a client names this cluster and is not one that it makes (" + what}
	}
	stranger := func(c tls.Certificate) presented {
		return presented{c, "", awa.ErrNoAgent, awa.ErrNoAgent, "what answers there in TLS is not an agent", "is issued by"}
	}
	otherKey := func(c tls.Certificate) presented {
		return presented{c, "", ErrOtherKey, ErrOtherKey, "the agent there has another key (", "a client has another key ("}
	}
	cut := func(c tls.Certificate) presented {
		return presented{cert: c, client: awa.ErrNoAgent, server: awa.ErrNoAgent, clientSays: "what answers there in TLS " +
			"sends more than 8 KiB", serverSays: "a client sends more than 8 KiB"}
	}
	rsaKey := must[*rsa.PrivateKey](t)(rsa.GenerateKey(rand.Reader, 2048))
	ecdsaKey := must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	// A key that can't sign, of X25519, is refused by crypto/tls itself.
	exchange := tls.Certificate{PrivateKey: ours.PrivateKey, Certificate: [][]byte{
		bytes.Replace(ours.Certificate[0], []byte("\x2b\x65\x70\x03\x21"), []byte("\x2b\x65\x6e\x03\x21"), 1),
	}}
	self := func(key crypto.Signer) tls.Certificate {
		from, to := validity()
		c := &x509.Certificate{Subject: pkix.Name{CommonName: "www.example.org"}, NotBefore: from, NotAfter: to}
		return tls.Certificate{Certificate: [][]byte{must[[]byte](t)(x509.CreateCertificate(rand.Reader, c, c, key.Public(),
			key))}, PrivateKey: key}
	}
	stapled := s.leafOf(t, s.ours.member, agent)
	stapled.OCSPStaple = []byte("x")
	foreign := s.leafOf(t, s.theirs.member, agentLeaf(uidA, "n1", []authorities{s.theirs}))
	expired := forge{
		subject: agent.subject, names: s.names, uses: bothUses, parent: s.ours.member.cert, signer: s.ours.member.key,
		from: time.Unix(0, 0), to: time.Now().Add(-time.Hour),
	}.make(t)
	nameless := s.leafWith(t, keyOf(ours), s.names, func(c *x509.Certificate) {
		c.Subject = pkix.Name{Organization: []string{organisation}, CommonName: memberName} // the issuer's: no key id then
	})
	return map[string]presented{
		"one of ours":              {cert: ours, role: awa.RoleMember},
		"one of ours and its CA":   {cert: under(ours, s.ours.member.cert), role: awa.RoleMember},
		"its CA as of a check key": {cert: under(ours, s.stolen.member.cert), role: awa.RoleMember},
		"of the size allowed":      {cert: s.sized(t, maxCertificate), role: awa.RoleMember},

		"two of ours":      refused(under(ours, s.leafOf(t, s.ours.member, agent).Leaf), "it comes with another one"),
		"the same twice":   refused(under(ours, ours.Leaf), "it comes with another one"),
		"the other CA":     refused(under(ours, s.ours.check.cert), "it comes with another one"),
		"three":            refused(under(ours, s.ours.member.cert, s.ours.member.cert), "it comes with 3 certificates"),
		"a byte too large": refused(s.sized(t, maxCertificate+1), "it has 2049 bytes"),
		"ours, of RSA":     refused(s.leafWith(t, rsaKey, s.names, nil), "its key is of RSA"),
		"ours, of ECDSA":   refused(s.leafWith(t, ecdsaKey, s.names, nil), "its key is of ECDSA"),
		"ours, of X25519": {cert: exchange, client: awa.ErrNoAgent, server: awa.ErrNoAgent, clientSays: "its certificate " +
			"is of an unknown kind", serverSays: "the certificate of a client is of an unknown kind"},
		"with a stapled reply": refused(stapled, "it comes with a stapled"),

		"RSA":          stranger(self(rsaKey)),
		"ECDSA":        stranger(self(ecdsaKey)),
		"a stranger's": stranger(self(keyOf(ours))),
		"our CA first": {cert: under(tls.Certificate{Certificate: [][]byte{s.ours.member.cert.Raw},
			PrivateKey: ours.PrivateKey}, ours.Leaf), client: awa.ErrNoAgent, server: awa.ErrNoAgent,
			clientSays: "names this cluster", serverSays: "names this cluster"},
		"another cluster's":    otherKey(foreign),
		"another's, then ours": otherKey(under(foreign, s.ours.member.cert)),
		"without the CA's id":  otherKey(nameless),
		"expired": {cert: expired, client: ErrExpired, server: ErrExpired, clientSays: "its certificate is valid from",
			serverSays: "its certificate is valid from"},
		"expired and its CA": {cert: under(expired, s.ours.member.cert), client: ErrExpired, server: ErrExpired,
			clientSays: "its certificate is valid from", serverSays: "its certificate is valid from"},
		"4 costly intermediates": otherKey(expensive(t, 4, s.names)),
		"100 costly ones":        cut(expensive(t, 100, s.names)),
		"12 KiB in one":          cut(s.sized(t, 12<<10)),
		"100 copies of our CA":   cut(under(ours, slices.Repeat([]*x509.Certificate{s.ours.member.cert}, 100)...)),
		"7 KiB of names":         refused(s.leafWith(t, keyOf(ours), nil, manyURIs(1400)), "it has 7"),
		"7 KiB of extensions":    refused(s.leafWith(t, keyOf(ours), nil, manyExtensions(750)), "it has 7"),
	}
}

// threadTime is the processor time of this thread. Getrusage would be good to
// a few milliseconds only.
func threadTime(t testing.TB) time.Duration {
	t.Helper()
	var at unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &at); err != nil {
		t.Fatal(err)
	}
	return time.Duration(at.Nano())
}

// costOf is the processor time that this side takes for something.
func costOf(t testing.TB, do func()) time.Duration {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before := threadTime(t)
	do()
	return threadTime(t) - before
}

// asClient presents a certificate to an agent, and returns what that said and
// what it took.
func asClient(t testing.TB, agent *Keyring, cert *tls.Certificate) (role awa.Role, cost time.Duration, err error) {
	t.Helper()
	inner := listen(t)
	defer inner.Close()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		config := base()
		config.InsecureSkipVerify = true
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }
		call(t, inner.Addr().String(), config)
	}()
	var said error
	ln := agent.Listener(inner, func(_ net.Addr, err error) { said = err })
	conn := must[net.Conn](t)(ln.Accept()).(*serverConn)
	conn.SetDeadline(time.Now().Add(patience))
	cost = costOf(t, func() { err = conn.Handshake() })
	if err == nil {
		role, _ = agent.RoleOf(conn.ConnectionState())
		b := make([]byte, 1)
		conn.Read(b)
		conn.Write(b)
	}
	conn.Close()
	<-ended
	return role, cost, said
}

// asServer presents it to a client that looks for agent A.
func asServer(t testing.TB, client *Keyring, cert *tls.Certificate) (cost time.Duration, err error) {
	t.Helper()
	config := base()
	config.ClientAuth = tls.RequireAnyClientCert
	config.Certificates = []tls.Certificate{*cert}
	addr, stop := serve(t, "127.0.0.1:0", config)
	defer stop()
	raw := must[net.Conn](t)(net.Dial("tcp", addr))
	raw.SetDeadline(time.Now().Add(patience))
	var conn net.Conn
	cost = costOf(t, func() { conn, err = client.Connect(t.Context(), raw, Target{UID: uidA}) })
	if err == nil {
		conn.Close()
	}
	return cost, err
}

// fewest is the least of several measurements: what disturbs one only adds.
func fewest(measure func() time.Duration) time.Duration {
	least := measure()
	for range 6 {
		least = min(least, measure())
	}
	return least
}

// What a peer presents is accepted or refused, with a sentence, and who is
// refused costs no more than any stranger does: no signature is checked for
// it. (One signature of an intermediate costs as much as ten strangers.)
func TestKeyring_presented(t *testing.T) {
	s := newStage(t)
	agent, client := newAgent(t, uidB, "n2", s.key), newClient(t, awa.RoleCheck, s.key.Check())
	all := s.everything(t)
	nobody, plain := tls.Certificate{}, all["a stranger's"].cert
	const times = 4 // the cost of an ordinary stranger: what is parsed of 7 KiB of the costliest names is half of that
	strangers := [2]time.Duration{
		fewest(func() time.Duration { _, cost, _ := asClient(t, agent, &plain); return cost }),
		fewest(func() time.Duration { cost, _ := asServer(t, client, &plain); return cost }),
	}
	t.Logf("an ordinary stranger costs the server %v, the client %v", strangers[0], strangers[1])
	says := func(t *testing.T, err error, code awa.Code, text string) {
		t.Helper()
		if !isFailure(err, code) || !strings.Contains(err.Error(), text) {
			t.Errorf("%v, want %q: …%s…", err, code, text)
		}
		sentences(t, err)
	}
	t.Run("nothing", func(t *testing.T) {
		role, _, err := asClient(t, agent, &nobody)
		if role != "" {
			t.Errorf("its role is %q", role)
		}
		says(t, err, ErrNoCertificate, "a client showed no certificate")
	})
	for name, p := range all {
		t.Run(name, func(t *testing.T) {
			role, _, err := asClient(t, agent, &p.cert)
			if role != p.role {
				t.Errorf("as a client its role is %q, want %q: %v", role, p.role, err)
			}
			_, byClient := asServer(t, client, &p.cert)
			if (byClient == nil) != (p.role == awa.RoleMember) {
				t.Errorf("as a server: %v", byClient)
			}
			if p.role != "" {
				return
			}
			says(t, err, p.server, p.serverSays)
			says(t, byClient, p.client, p.clientSays)
			costs := [2]time.Duration{
				fewest(func() time.Duration { _, cost, _ := asClient(t, agent, &p.cert); return cost }),
				fewest(func() time.Duration { cost, _ := asServer(t, client, &p.cert); return cost }),
			}
			t.Logf("it costs the server %v, the client %v", costs[0], costs[1])
			for side, cost := range costs {
				if cost > times*strangers[side] {
					t.Errorf("it costs the %s %v, and an ordinary stranger %v", []string{"server", "client"}[side], cost,
						strangers[side])
				}
			}
		})
	}
}

func isFailure(err error, want awa.Code) bool { return err != nil && code(err) == want }
