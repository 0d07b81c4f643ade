//go:build system

package hostile

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"are-we-alive/pkg/awatest/testaid"
	"are-we-alive/test/program"
)

// What a stranger may cost in a handshake: processor time and bytes read. On a
// slow machine the time is so many times that of an ordinary stranger, a
// self-signed certificate, in the same run.
const (
	mostTime  = time.Millisecond
	mostTimes = 5
	mostRead  = 16 << 10
)

// allowed is the processor time that a handshake may cost.
func allowed(ordinary time.Duration) time.Duration { return max(mostTime, mostTimes*ordinary) }

// dear is a chain of 100 intermediates with RSA keys of 8192 bits and the
// largest exponent, named like an agent's CA: 139 KB. To find out that it is
// none of ours by computing takes a quarter of a second.
var dear = sync.OnceValues(func() (tls.Certificate, error) {
	const intermediates, bytes = 100, 1024
	pub, priv, err := ed25519.GenerateKey(nil)
	if err != nil {
		return tls.Certificate{}, err
	}
	any, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return tls.Certificate{}, err
	}
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{Organization: []string{"are-we-alive"},
			CommonName: "are-we-alive member CA"},
		NotBefore: time.Unix(0, 0), NotAfter: time.Now().AddDate(10, 0,
			0), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "x"}, NotBefore: ca.NotBefore, NotAfter: ca.NotAfter,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth,
			x509.ExtKeyUsageServerAuth}, DNSNames: []string{"agent.awa.internal"},
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, ca, pub, any)
	if err != nil {
		return tls.Certificate{}, err
	}
	// A signature as long as those keys': others are refused without computing.
	var signed struct {
		TBS, Algorithm asn1.RawValue
		Signature      asn1.BitString
	}
	if _, err := asn1.Unmarshal(der, &signed); err != nil {
		return tls.Certificate{}, err
	}
	junk := make([]byte, bytes)
	rand.Read(junk[1:])
	signed.Signature = asn1.BitString{Bytes: junk, BitLength: 8 * bytes}
	if der, err = asn1.Marshal(signed); err != nil {
		return tls.Certificate{}, err
	}
	chain := [][]byte{der}
	for i := range intermediates {
		n := make([]byte, bytes) // nobody knows its factors, and nobody needs them
		rand.Read(n)
		n[0], n[bytes-1] = n[0]|0x80, n[bytes-1]|1
		ca.SerialNumber = big.NewInt(int64(100 + i))
		der, err := x509.CreateCertificate(rand.Reader, ca, ca, &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: 1<<31 - 1},
			priv)
		if err != nil {
			return tls.Certificate{}, err
		}
		chain = append(chain, der)
	}
	return tls.Certificate{Certificate: chain, PrivateKey: priv}, nil
})

func dearChain(t *testing.T) tls.Certificate {
	t.Helper()
	c, err := dear()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// ordinary is a stranger's certificate, signed by itself.
func ordinary(t *testing.T) tls.Certificate {
	t.Helper()
	pub, priv, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "x"},
		NotAfter: time.Now().AddDate(10, 0, 0)}
	der, err := x509.CreateCertificate(rand.Reader, leaf, leaf, pub, priv)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: priv}
}

// errLetIn is a stranger whose handshake an agent completed.
var errLetIn = errors.New("a stranger was let in")

// knock makes a handshake with an agent. The error is nil when it was refused.
func knock(addr string, cert tls.Certificate, protocols ...string) error {
	raw, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		return err
	}
	defer raw.Close()
	return shake(raw, cert, protocols...)
}

func shake(raw net.Conn, cert tls.Certificate, protocols ...string) error {
	raw.SetDeadline(time.Now().Add(20 * time.Second))
	c := tls.Client(raw, &tls.Config{
		InsecureSkipVerify: true, MinVersion: tls.VersionTLS13, CurvePreferences: []tls.CurveID{tls.X25519},
		NextProtos:           append([]string{"http/1.1"}, protocols...),
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil },
	})
	if c.Handshake() == nil {
		if _, err := c.Read(make([]byte, 1)); err == nil {
			return errLetIn
		}
	}
	return nil
}

// alone starts an agent that is a cluster of its own, and so does little else.
func alone(t *testing.T, keys string) *program.Agent {
	t.Helper()
	a := program.NewAgent(t, "a1", "--key-file", keys, "--first")
	a.Start()
	testaid.Await(t, 30*time.Second, func() error {
		if r := a.Check(keys); r.Code != 0 {
			return fmt.Errorf("check_awa: %d %s%s", r.Code, r.Out, r.Errors)
		}
		return nil
	})
	return a
}

// askAlways asks an agent with check_awa over and over from now on, all of
// whose answers must be OK. The function that it returns ends that and returns
// how long the slowest took.
func askAlways(t *testing.T, a *program.Agent, keys string) (end func() time.Duration) {
	stop, dir := make(chan struct{}), t.TempDir()
	var asking sync.WaitGroup
	count, slowest := 0, time.Duration(0)
	asking.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(100 * time.Millisecond):
			}
			r := program.RunIn(t, dir, nil, "check_awa", "-H", a.Addr(), "-k", keys)
			count++
			slowest = max(slowest, r.Took)
			if r.Code != 0 {
				t.Errorf("check_awa ended with %d after %v: %s%s", r.Code, r.Took, r.Out, r.Errors)
			}
		}
	})
	return func() time.Duration {
		close(stop)
		asking.Wait()
		t.Logf("a live check_awa beside it: %d times, %v at most", count, slowest.Round(time.Millisecond))
		if count == 0 {
			t.Error("nobody asked")
		}
		return slowest
	}
}

// readSoFar is how many bytes an agent's process has read.
func readSoFar(t *testing.T, a *program.Agent) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", a.PID()))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "rchar: ")
	line, _, _ := strings.Cut(rest, "\n")
	n, err := strconv.Atoi(line)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// each is what one of many handshakes costs an agent, which does little else.
func each(t *testing.T, a *program.Agent, times int, handshake func() error) (cpu time.Duration, read int) {
	t.Helper()
	time0, read0 := a.CPU(), readSoFar(t, a)
	for range times {
		if err := handshake(); err != nil {
			t.Fatal(err)
		}
	}
	return (a.CPU() - time0) / time.Duration(times), (readSoFar(t, a) - read0) / times
}

// What a stranger presents is refused before anything is computed for it.
func TestTLS_strangerCosts(t *testing.T) {
	keys := program.NewKey(t)
	a := alone(t, keys)
	plain, chain := ordinary(t), dearChain(t)
	each(t, a, 20, func() error { return knock(a.Addr(), plain) }) // to warm up
	yard, read := each(t, a, 100, func() error { return knock(a.Addr(), plain) })
	t.Logf("an ordinary stranger costs %v and %d bytes read", yard, read)
	for name, handshake := range map[string]func() error{
		"100 RSA-8192 intermediates": func() error { return knock(a.Addr(), chain) },
		"3 of them": func() error {
			return knock(a.Addr(), tls.Certificate{Certificate: chain.Certificate[:4], PrivateKey: chain.PrivateKey})
		},
		"100 copies of a leaf": func() error {
			return knock(a.Addr(), tls.Certificate{Certificate: slices.Repeat(plain.Certificate, 100),
				PrivateKey: plain.PrivateKey})
		},
		"a hello of 30 KB": func() error { return knock(a.Addr(), plain, slices.Repeat([]string{"x"}, 15000)...) },
	} {
		t.Run(name, func(t *testing.T) {
			cpu, read := each(t, a, 30, handshake)
			t.Logf("it costs %v and %d bytes read", cpu, read)
			if cpu > allowed(yard) || read > mostRead {
				t.Errorf("a handshake costs %v of processor time and %d bytes read, allowed are %v and %d; an ordinary "+
					"stranger costs %v", cpu, read, allowed(yard), mostRead, yard)
			}
		})
	}
}

// A crowd of strangers with that chain, 300 at once, three times in three
// seconds: the agent goes on answering, and to the others it is alive.
func TestTLS_crowd(t *testing.T) {
	const crowd, rounds, mostMemory = 300, 3, 64 << 20
	keys := program.NewKey(t)
	all := program.Cluster(t, keys, 2)
	chain := dearChain(t)
	before := all[0].RSS()
	all[0].ResetPeak()
	asked, seen, yard := askAlways(t, all[0], keys), askAlways(t, all[1], keys), askAlways(t, alone(t, keys), keys)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	cpu := all[0].CPU()
	var letIn atomic.Int64
	for range rounds {
		var strangers sync.WaitGroup
		for i := range crowd {
			strangers.Go(func() {
				raw, err := net.DialTimeout("tcp", all[0].Addr(), 10*time.Second)
				if err != nil {
					return // refused all the more
				}
				defer raw.Close()
				// All are there at once, and this process does not need all the
				// processors at once.
				<-time.After(time.Duration(i) * 2 * time.Millisecond)
				if shake(raw, chain) != nil {
					letIn.Add(1)
				}
			})
		}
		strangers.Wait() // a crowd that is larger is turned away for its size
		<-tick.C
	}
	<-tick.C // what comes after the last byte
	cpu = all[0].CPU() - cpu
	// Where the machine itself is slow, so is check_awa at an agent that nobody
	// bothers.
	most := max(time.Second, 3*yard())
	for name, slowest := range map[string]time.Duration{"the agent": asked(), "another one": seen()} {
		if slowest > most {
			t.Errorf("check_awa at %s took %v, at most %v are allowed", name, slowest, most)
		}
	}
	grown := all[0].PeakRSS() - before
	t.Logf("%d handshakes cost %v of processor time, and %d KiB of memory at most", crowd*rounds, cpu, grown>>10)
	if letIn.Load() > 0 || grown > mostMemory {
		t.Errorf("%d were let in; the memory grew by %d KiB, allowed are %d", letIn.Load(), grown>>10, mostMemory>>10)
	}
}

// A strange TLS server at the address of a node: what it shows costs each
// sweep no more than any stranger, and the node is a mismatch.
func TestTLS_strangeServer(t *testing.T) {
	keys := program.NewKey(t)
	a := alone(t, keys)
	shown, count := strangeServer(t)
	plain, chain := ordinary(t), dearChain(t)
	_, port, _ := net.SplitHostPort(shown.addr)
	if r := program.Run(t, "awa-agent", "node", "add", "ghost", "127.0.0.1", port, "--agent", a.Addr(), "--key-file",
		keys); r.Code != 0 {
		t.Fatalf("node add: %d %s%s", r.Code, r.Out, r.Errors)
	}
	// cost is the processor time of each visit, and of all that an agent does
	// between two.
	cost := func(cert tls.Certificate, visits int64) time.Duration {
		shown.cert.Store(&cert)
		wait := func(n int64) {
			t.Helper()
			from := count.Load()
			testaid.Await(t, 30*time.Second, func() error {
				if got := count.Load() - from; got < n {
					return fmt.Errorf("%d visits", got)
				}
				return nil
			})
		}
		wait(2)
		cpu, from := a.CPU(), count.Load()
		wait(visits)
		return (a.CPU() - cpu) / time.Duration(count.Load()-from)
	}
	yard := cost(plain, 10)
	got := cost(chain, 10)
	t.Logf("an ordinary server costs %v for each visit with all else, this one %v", yard, got)
	if got > yard+allowed(0)+mostTimes*yard/2 {
		t.Errorf("a visit costs %v of processor time, and to an ordinary server %v", got, yard)
	}
	r := a.Check(keys)
	if r.Code != 2 || !strings.Contains(r.Out, "1 of 2 nodes mismatched: ghost (tls: ") {
		t.Errorf("%d %s%s", r.Code, r.Out, r.Errors)
	}
}

// strange is a TLS server that shows any certificate.
type strange struct {
	addr string
	cert atomic.Pointer[tls.Certificate]
}

// strangeServer serves until the test ends; count is how many came.
func strangeServer(t *testing.T) (s *strange, count *atomic.Int64) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s, count = &strange{addr: ln.Addr().String()}, &atomic.Int64{}
	first := ordinary(t)
	s.cert.Store(&first)
	config := &tls.Config{MinVersion: tls.VersionTLS13, NextProtos: []string{"http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return s.cert.Load(), nil
		}}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			count.Add(1)
			serving.Go(func() {
				defer c.Close()
				c.SetDeadline(time.Now().Add(5 * time.Second))
				tls.Server(c, config).Read(make([]byte, 1))
			})
		}
	})
	t.Cleanup(func() { ln.Close(); serving.Wait() })
	return s, count
}
