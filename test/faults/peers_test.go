//go:build system

package faults

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// nameServer is a DNS server on the bridge. It knows some names, denies the
// others, and can fall silent.
type nameServer struct {
	mu     sync.Mutex
	names  map[string][]net.IP
	silent bool
}

func newNameServer(on *host) *nameServer {
	s := &nameServer{names: map[string][]net.IP{}}
	var conn net.PacketConn
	on.inside(func() (err error) {
		conn, err = net.ListenPacket("udp4", dnsAddr+":53")
		return err
	})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.serve(conn)
	}()
	on.t.Cleanup(func() {
		conn.Close()
		<-ended
	})
	return s
}

func (s *nameServer) set(name string, addrs ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.names[name] = nil
	for _, addr := range addrs {
		s.names[name] = append(s.names[name], net.ParseIP(addr).To4())
	}
}

func (s *nameServer) forget(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.names, name)
}

func (s *nameServer) silence(silent bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.silent = silent
}

// serve answers until the connection is closed.
func (s *nameServer) serve(conn net.PacketConn) {
	buf := make([]byte, 1500)
	for {
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			return
		}
		if out := s.answer(buf[:n]); out != nil {
			conn.WriteTo(out, from)
		}
	}
}

// answer makes the message that answers one question (RFC 1035, section 4).
// A name that is known has addresses of IPv4, and no other kind of record.
func (s *nameServer) answer(in []byte) []byte {
	const (
		headerLen   = 12
		flagsAnswer = 0x8580 // an answer, authoritative, recursion possible
		noSuchName  = 3
		typeA       = 1
	)
	name, end := "", headerLen
	for end < len(in) && in[end] != 0 {
		label := end + 1 + int(in[end])
		if label >= len(in) {
			return nil
		}
		name += string(in[end+1:label]) + "."
		end = label
	}
	if end += 5; end > len(in) { // the last, empty label, type and class
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.silent {
		return nil
	}
	addrs, known := s.names[strings.TrimSuffix(strings.ToLower(name), ".")]
	out := make([]byte, headerLen, 512)
	copy(out, in[:2]) // the id
	flags := uint16(flagsAnswer)
	if !known {
		flags |= noSuchName
	}
	if binary.BigEndian.Uint16(in[end-4:]) != typeA {
		addrs = nil
	}
	binary.BigEndian.PutUint16(out[2:], flags)
	binary.BigEndian.PutUint16(out[4:], 1)
	binary.BigEndian.PutUint16(out[6:], uint16(len(addrs)))
	out = append(out, in[headerLen:end]...)
	for _, addr := range addrs {
		out = append(out, 0xc0, headerLen, 0, typeA, 0, 1, 0, 0, 0, 0, 0, 4) // the same name; to be kept for 0 s
		out = append(out, addr...)
	}
	return out
}

// otherProgram is a web server on a host, at the agents' port, until stop is
// called. With secure it speaks TLS, with a certificate of its own.
func otherProgram(on *host, secure bool) (stop func()) {
	on.t.Helper()
	var ln net.Listener
	on.inside(func() (err error) {
		ln, err = net.Listen("tcp", on.addr+":"+port)
		return err
	})
	if secure {
		ln = tls.NewListener(ln, &tls.Config{Certificates: []tls.Certificate{ownCertificate(on)}})
	}
	s := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			io.WriteString(w, `{"status":"ok"}`)
		}),
		ErrorLog: log.New(io.Discard, "", 0),
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.Serve(ln)
	}()
	stop = sync.OnceFunc(func() {
		s.Close()
		<-ended
	})
	on.t.Cleanup(stop)
	return stop
}

// ownCertificate is signed by nobody else.
func ownCertificate(on *host) tls.Certificate {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		on.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"example.test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		on.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private}
}
