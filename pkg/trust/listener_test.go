package trust

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"are-we-alive/pkg/awa"
)

// told collects what a listener tells.
type told struct {
	mu   sync.Mutex
	errs []error
	more chan struct{}
}

func newTold() *told { return &told{more: make(chan struct{}, 1000)} }

func (c *told) tell(remote net.Addr, err error) {
	c.mu.Lock()
	c.errs = append(c.errs, err)
	c.mu.Unlock()
	c.more <- struct{}{}
}

func (c *told) next(t *testing.T) error {
	t.Helper()
	select {
	case <-c.more:
	case <-time.After(patience):
		t.Fatal("nothing was told")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	err := c.errs[0]
	c.errs = c.errs[1:]
	return err
}

func (c *told) none(t *testing.T) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.errs) > 0 {
		t.Errorf("told: %v", c.errs)
	}
}

// startHTTP answers "hello" behind a listener.
func startHTTP(t *testing.T, ln net.Listener) {
	t.Helper()
	srv := &http.Server{ReadTimeout: patience, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		io.WriteString(w, "hello")
	})}
	var running sync.WaitGroup
	running.Go(func() { srv.Serve(ln) })
	t.Cleanup(func() { srv.Close(); running.Wait() })
}

func TestKeyring_Listener(t *testing.T) {
	k := NewKey()
	agent, client := newAgent(t, uidA, "n1", k), newClient(t, awa.RoleCheck, k)
	said := newTold()
	ln := listen(t)
	startHTTP(t, agent.Listener(ln, said.tell))
	addr := ln.Addr().String()

	t.Run("a client with a key", func(t *testing.T) {
		tr := &http.Transport{TLSClientConfig: client.Client(Target{})}
		defer tr.CloseIdleConnections()
		r, err := (&http.Client{Transport: tr, Timeout: patience}).Get("https://" + addr)
		if err != nil {
			t.Fatal(client.ClientError(err))
		}
		body, _ := io.ReadAll(r.Body)
		r.Body.Close()
		if string(body) != "hello" {
			t.Errorf("%s", body)
		}
		said.none(t)
	})
	t.Run("a plain HTTP client is told so", func(t *testing.T) {
		for _, method := range []string{"GET", "POST", "DELETE", "OPTIONS"} {
			// The body is much more than the TLS side reads by itself.
			req, _ := http.NewRequest(method, "http://"+addr+"/v1/status", bytes.NewReader(make([]byte, 30<<10)))
			r, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}).Do(req)
			if err != nil {
				t.Fatal(err)
			}
			var body struct{ Error, Code string }
			err = json.NewDecoder(r.Body).Decode(&body)
			r.Body.Close()
			if err != nil || r.StatusCode != http.StatusBadRequest || body.Code != string(awa.ErrPlainHTTP) ||
				!strings.Contains(body.Error, "speaks TLS only") {
				t.Errorf("%v, %d, %+v", err, r.StatusCode, body)
			}
			if err := said.next(t); code(err) != awa.ErrPlainHTTP {
				t.Errorf("%v", err)
			}
		}
		said.none(t)
	})
	t.Run("others", func(t *testing.T) {
		for name, c := range map[string]struct {
			send string
			want awa.Code
		}{
			"garbage":                {"\x00\x01\x02\x03\x04\x05", ErrNoTLS},
			"SSH":                    {"SSH-2.0-OpenSSH_9.2p1\r\n", ErrNoTLS},
			"an old SSL":             {"\x80\x2e\x01\x03\x01\x00\x15\x00\x00", ErrNoTLS},
			"half a handshake":       {"\x16\x03\x01\x02\x00\x01\x00", "?"},
			"nothing":                {"", "?"},
			"a letter":               {"G", "?"},
			"a handshake of garbage": {"\x16\x03\x01\x00\x04abcd", "?"},
		} {
			conn := must[net.Conn](t)(net.Dial("tcp", addr))
			io.WriteString(conn, c.send)
			conn.(*net.TCPConn).CloseWrite()
			conn.SetDeadline(time.Now().Add(patience))
			answer, _ := io.ReadAll(conn)
			conn.Close()
			if err := said.next(t); code(err) != c.want {
				t.Errorf("%s: %v", name, err)
			}
			if bytes.HasPrefix(answer, []byte("HTTP")) {
				t.Errorf("%s: is answered with %q", name, answer)
			}
		}
		said.none(t)
	})
	t.Run("strangers are told once each", func(t *testing.T) {
		for range 3 {
			c := tls.Client(must[net.Conn](t)(net.Dial("tcp", addr)), &tls.Config{InsecureSkipVerify: true})
			c.SetDeadline(time.Now().Add(patience))
			io.WriteString(c, "GET / HTTP/1.1\r\nHost: n1\r\n\r\n")
			answer, err := io.ReadAll(c)
			c.Close()
			if len(answer) > 0 || code(client.ClientError(err)) != ErrNoCertificate {
				t.Errorf("%q, %v", answer, err)
			}
			if err := said.next(t); code(err) != ErrNoCertificate {
				t.Error(err)
			}
		}
		said.none(t)
	})
}

// A server such as fasthttp calls Handshake only when it finds the method; the
// first Read or Write must do the same.
func TestKeyring_Listener_firstUse(t *testing.T) {
	k := NewKey()
	agent := newAgent(t, uidA, "n1", k)
	for name, use := range map[string]func(net.Conn) error{
		"Handshake": func(c net.Conn) error { return c.(interface{ Handshake() error }).Handshake() },
		"Read":      func(c net.Conn) error { _, err := c.Read(make([]byte, 1)); return err },
		"Write":     func(c net.Conn) error { _, err := c.Write(make([]byte, 1)); return err },
	} {
		said := newTold()
		inner := listen(t)
		ln := agent.Listener(inner, said.tell)
		plain := must[net.Conn](t)(net.Dial("tcp", inner.Addr().String()))
		io.WriteString(plain, "GET / HTTP/1.0\r\n\r\n")
		plain.(*net.TCPConn).CloseWrite()
		conn := must[net.Conn](t)(ln.Accept())
		for range 2 {
			if err := use(conn); err == nil {
				t.Errorf("%s: no error", name)
			}
		}
		conn.Close()
		if err := said.next(t); code(err) != awa.ErrPlainHTTP {
			t.Errorf("%s: %v", name, err)
		}
		said.none(t)
		plain.SetDeadline(time.Now().Add(patience))
		if r, err := http.ReadResponse(bufio.NewReader(plain), nil); err != nil || r.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %v", name, err)
		}
		plain.Close()
		ln.Close()
	}
}

func TestPlainListener(t *testing.T) {
	client := newClient(t, awa.RoleCheck, NewKey())
	said := newTold()
	ln := listen(t)
	startHTTP(t, PlainListener(ln, said.tell))
	addr := ln.Addr().String()
	t.Run("a plain client", func(t *testing.T) {
		r, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}).Get("http://" + addr)
		if err != nil {
			t.Fatal(err)
		}
		r.Body.Close()
		said.none(t)
	})
	t.Run("a TLS client", func(t *testing.T) {
		m := call(t, addr, client.Client(Target{}))
		if err := client.ClientError(m.clientErr); code(err) != awa.ErrPlainHTTP {
			t.Errorf("the client: %v", err)
		}
		if err := said.next(t); code(err) != awa.ErrPlainHTTP {
			t.Errorf("the agent: %v", err)
		}
		said.none(t)
	})
}

// What is none of ours comes back as it was.
func TestKeyring_errorsOfOthers(t *testing.T) {
	k := newClient(t, awa.RoleCheck, NewKey())
	for _, err := range []error{nil, io.EOF, errors.New("x"), &net.OpError{Op: "read", Err: io.EOF},
		&net.OpError{Op: "remote error", Err: io.EOF}, &tls.CertificateVerificationError{Err: io.EOF}} {
		if got := k.ClientError(err); got != err {
			t.Errorf("ClientError(%v) is %v", err, got)
		}
		if got := k.ServerError(err); got != err {
			t.Errorf("ServerError(%v) is %v", err, got)
		}
	}
}
