package server_test

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"are-we-alive/pkg/api/server"
	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/awatest/testaid"
	"are-we-alive/pkg/daemon"
	"are-we-alive/pkg/trust"
)

// secretName is a node's name that no stranger may learn.
const secretName = "db-prod-3"

// runWithKey starts an agent with a key, the first of its cluster.
func runWithKey(t *testing.T, key trust.Key) (d *daemon.Daemon, keyFile string) {
	t.Helper()
	keyFile = filepath.Join(t.TempDir(), "cluster.key")
	if err := trust.WriteFile(keyFile, key); err != nil {
		t.Fatal(err)
	}
	d, err := daemon.Open(daemon.Config{
		Name: secretName, Host: "127.0.0.1", Listen: "127.0.0.1:0", DataDir: t.TempDir(), First: true,
		KeyFile: keyFile, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-ended, d.Close()); err != nil {
			t.Error(err)
		}
	})
	return d, keyFile
}

// exported is a certificate as awa-agent key cert returns it, and its CA.
func exported(t *testing.T, key trust.Key, role awa.Role) (tls.Certificate, *x509.Certificate) {
	t.Helper()
	dir := t.TempDir()
	if err := trust.Export(dir, []trust.Key{key}, role); err != nil {
		t.Fatal(err)
	}
	cert, err := tls.LoadX509KeyPair(filepath.Join(dir, trust.CertFile), filepath.Join(dir, trust.KeyFile))
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, trust.CAFile))
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	ca, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return cert, ca
}

// forged is a certificate with an agent's names, valid until a moment; signed
// by itself unless there is a CA with its key.
func forged(t *testing.T, names []string, until time.Time, ca *x509.Certificate,
	signer ed25519.PrivateKey) tls.Certificate {
	t.Helper()
	pub, own, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(7), Subject: pkix.Name{Organization: []string{"are-we-alive"},
			CommonName: "are-we-alive member CA"},
		NotBefore: time.Unix(0, 0), NotAfter: until, DNSNames: names, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, BasicConstraintsValid: true,
	}
	if ca == nil {
		ca, signer = template, own
	} else {
		template.AuthorityKeyId = ca.SubjectKeyId // which is not set by itself for the CA's own name
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca, pub, signer)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: own}
}

// memberSigner is the private key of a cluster key's member CA.
func memberSigner(t *testing.T, key trust.Key) ed25519.PrivateKey {
	t.Helper()
	secret, err := base64.StdEncoding.DecodeString(strings.Fields(key.Line())[2])
	if err != nil {
		t.Fatal(err)
	}
	seed, err := hkdf.Key(sha256.New, secret, nil, "are-we-alive awa1 member CA", 32)
	if err != nil {
		t.Fatal(err)
	}
	return ed25519.NewKeyFromSeed(seed)
}

// caller is somebody who calls an agent.
type caller struct {
	cert  *tls.Certificate // nil: none
	plain bool             // no TLS at all
	role  awa.Role         // "" is let in as nobody
}

// everybody is all who may call.
func everybody(t *testing.T, addr string, key trust.Key) map[string]caller {
	t.Helper()
	all := map[string]caller{"plain HTTP": {plain: true}, "no certificate": {}}
	add := func(name string, c tls.Certificate, role awa.Role) { all[name] = caller{cert: &c, role: role} }
	member, ca := exported(t, key, awa.RoleMember)
	check, _ := exported(t, key, awa.RoleCheck)
	foreign, _ := exported(t, trust.NewKey(), awa.RoleMember)
	add("member role", member, awa.RoleMember)
	add("check role", check, awa.RoleCheck)
	add("other cluster's", foreign, "")
	conn, err := dial(addr, caller{cert: &member})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	names := conn.(*tls.Conn).ConnectionState().PeerCertificates[0].DNSNames
	if len(names) < 2 {
		t.Fatalf("the agent's names are %v", names)
	}
	add("expired", forged(t, names, time.Now().Add(-time.Hour), ca, memberSigner(t, key)), "")
	add("self-made with our names", forged(t, names, time.Now().Add(time.Hour), nil, nil), "")
	// Shows that it is the time alone that makes the expired one bad.
	add("made with the key", forged(t, names, time.Now().Add(time.Hour), ca, memberSigner(t, key)), awa.RoleMember)
	return all
}

// dial calls an agent, and does not mind who answers: it looks for what
// strangers learn.
func dial(addr string, c caller) (net.Conn, error) {
	raw, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	raw.SetDeadline(time.Now().Add(20 * time.Second))
	if c.plain {
		return raw, nil
	}
	config := &tls.Config{InsecureSkipVerify: true,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			if c.cert == nil {
				return &tls.Certificate{}, nil
			}
			return c.cert, nil
		}}
	conn := tls.Client(raw, config)
	return conn, conn.Handshake() // with TLS 1.3 strangers get through this
}

// ask sends a request and returns all that comes back.
func ask(conn net.Conn, method, target, body string) (status int, answer string, err error) {
	raw := method + " " + target + " HTTP/1.1\r\nHost: x\r\n"
	if method == http.MethodPost {
		raw += "Awa-Uid: 0123456789abcdef0123456789abcdef\r\nAwa-State: 0\r\nUpgrade: awa-raft/1\r\n"
	}
	raw += "Content-Length: " + big.NewInt(int64(len(body))).String() + "\r\n\r\n" + body
	if _, err := io.WriteString(conn, raw); err != nil {
		return 0, "", err
	}
	in := bufio.NewReader(conn)
	resp, err := http.ReadResponse(in, &http.Request{Method: method})
	if err != nil {
		return 0, "", err
	}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return resp.StatusCode, "", nil
	}
	b, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	resp.Header.Del("Date")
	head, _ := json.Marshal(resp.Header)
	return resp.StatusCode, string(head) + string(b), err
}

// calls are requests that are tried: every call there is, by its method and
// path, and some that are none.
func calls(t *testing.T) map[string][2]string {
	t.Helper()
	tried := map[string][2]string{ // target, body
		"GET /ping":        {"/ping", ""},
		"GET /status":      {"/status", ""},
		"GET /sync":        {"/sync?state=-1", ""},
		"POST /push":       {"/push", `{"id":900,"action":"CREATE","data":"{}"}`},
		"GET /v1/status":   {"/v1/status", ""},
		"GET /v1/nodes":    {"/v1/nodes", ""},
		"GET /v1/changes":  {"/v1/changes", ""},
		"POST /v1/changes": {"/v1/changes", `{"action":"DELETE","data":{"id":1}}`},
		"POST /v1/probe":   {"/v1/probe", `{"nodes":[]}`},
		"GET /v1/view":     {"/v1/view", ""},
		"POST /v1/raft":    {"/v1/raft", ""},
		"GET /v1/events":   {"/v1/events", ""},

		"GET /v1/availability": {"/v1/availability", ""},
		"POST /v1/goodbye":     {"/v1/goodbye", `{"reason":""}`},
		"GET /v1/notified":     {"/v1/notified", ""},
		"POST /v1/notified":    {"/v1/notified", `{"notified":[{}]}`},
	}
	for call := range server.Routes() {
		if _, ok := tried[call]; !ok {
			t.Errorf("nobody tries %s: add it", call)
		}
	}
	for _, more := range []string{"HEAD /status", "GET /nothing", "GET /", "DELETE /push", "GET /push", "POST /status"} {
		_, target, _ := strings.Cut(more, " ")
		tried[more] = [2]string{target, ""}
	}
	return tried
}

// TestAccess has everybody call everything.
func TestAccess(t *testing.T) {
	key := trust.NewKey()
	d, _ := runWithKey(t, key)
	all := everybody(t, d.Addr(), key)
	member := all["member role"]
	testaid.Await(t, 20*time.Second, func() error { // the agent registers itself
		_, list, err := askNew(d.Addr(), member, "GET", "/sync?state=-1", "")
		if err == nil && !strings.Contains(list, secretName) {
			err = errors.New("the list is empty")
		}
		return err
	})
	list := func() string {
		conn, err := dial(d.Addr(), member)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_, answer, err := ask(conn, "GET", "/sync?state=-1", "")
		if err != nil {
			t.Fatal(err)
		}
		return answer
	}
	before := list()
	for name, c := range all {
		for call, try := range calls(t) {
			if c.role == awa.RoleMember && strings.HasPrefix(call, "POST /v1/changes") {
				continue // it would be done
			}
			t.Run(name+"/"+call, func(t *testing.T) {
				method, _, _ := strings.Cut(call, " ")
				status, answer, err := askNew(d.Addr(), c, method, try[0], try[1])
				checkAnswer(t, c, call, status, answer, err)
			})
		}
	}
	if after := list(); after != before {
		t.Errorf("the list changed from\n%s\nto\n%s", before, after)
	}
}

// askNew asks over a new connection.
func askNew(addr string, c caller, method, target, body string) (int, string, error) {
	conn, err := dial(addr, c)
	if err != nil {
		return 0, "", err
	}
	defer conn.Close()
	status, answer, err := ask(conn, method, target, body)
	if secure, ok := conn.(*tls.Conn); ok {
		for _, cert := range secure.ConnectionState().PeerCertificates {
			answer += string(cert.Raw)
		}
	}
	return status, answer, err
}

func checkAnswer(t *testing.T, c caller, call string, status int, answer string, err error) {
	t.Helper()
	need, known := server.Routes()[call]
	if call == "HEAD /status" {
		need, known = awa.RoleCheck, true
	}
	if c.role == "" && (strings.Contains(answer, secretName) || strings.Contains(answer, "127.0.0.1")) {
		t.Errorf("a stranger learns %s", answer)
	}
	switch {
	case c.plain:
		if err != nil || status != http.StatusBadRequest || !strings.Contains(answer, "plain_http") &&
			!strings.HasPrefix(call, "HEAD") {
			t.Errorf("%d %s, %v", status, answer, err)
		}
	case c.role == "":
		if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("let in: %d %s, %v", status, answer, err)
		}
	case !known:
		if err != nil || status != http.StatusNotFound && status != http.StatusMethodNotAllowed {
			t.Errorf("%d %s, %v", status, answer, err)
		}
	case !c.role.May(need):
		if err != nil || status != http.StatusForbidden || !strings.Contains(answer, `"code":"forbidden"`) ||
			strings.Contains(answer, secretName) {
			t.Errorf("not refused: %d %s, %v", status, answer, err)
		}
	case need == awa.RoleCheck:
		if err != nil || status != http.StatusOK || !strings.HasPrefix(call, "HEAD") && !strings.Contains(answer,
			secretName) {
			t.Errorf("%d %s, %v", status, answer, err)
		}
	case call == "GET /v1/notified":
		if err != nil || status != http.StatusOK {
			t.Errorf("%d %s, %v", status, answer, err)
		}
	default: // it was looked at
		if err != nil || status != http.StatusConflict && status != http.StatusBadRequest &&
			status != http.StatusSwitchingProtocols && status != http.StatusMisdirectedRequest {
			t.Errorf("%d %s, %v", status, answer, err)
		}
	}
}

// Whoever has an open connection when the key is removed is nobody from then
// on: the same answer to everything.
func TestAccess_removedKey(t *testing.T) {
	old := trust.NewKey()
	d, keyFile := runWithKey(t, old)
	cert, _ := exported(t, old, awa.RoleMember)
	open := map[string]net.Conn{}
	for call := range calls(t) {
		conn, err := dial(d.Addr(), caller{cert: &cert})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if status, answer, err := ask(conn, "GET", "/ping", ""); err != nil || status != http.StatusOK {
			t.Fatalf("%d %s, %v", status, answer, err)
		}
		open[call] = conn
	}
	if err := os.WriteFile(keyFile, []byte(trust.NewKey().Line()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := d.Reload(); err != nil {
		t.Fatal(err)
	}
	const want = `{"error":"this agent does not accept the key of this connection any more: use the key file that the ` +
		`servers of the cluster have now, and connect again","code":"forbidden"}`
	for call, try := range calls(t) {
		method, _, _ := strings.Cut(call, " ")
		status, answer, err := ask(open[call], method, try[0], try[1])
		if err != nil || status != http.StatusForbidden || method != "HEAD" && !strings.HasSuffix(answer, want) ||
			strings.Contains(answer, "Allow") {
			t.Errorf("%s: %d %s, %v", call, status, answer, err)
		}
		if n, err := open[call].Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
			t.Errorf("%s: the connection stays open: %v", call, err)
		}
	}
}
