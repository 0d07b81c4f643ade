package api

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/trust"
)

const agentUID = "2965c4ba819f866b0b62263dab403dee"

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// secured is a client with keys, in the check role.
func secured(t *testing.T, keys ...trust.Key) *Client {
	t.Helper()
	ring := must[*trust.Keyring](t)(trust.NewClient(keys, awa.RoleCheck))
	c := NewClient(ClientConfig{Secure: ring.Secure})
	t.Cleanup(c.Close)
	return c
}

// ponger answers every request as a ping, behind a listener made safe by wrap.
func ponger(t *testing.T, wrap func(net.Listener) net.Listener) string {
	t.Helper()
	ln := must[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))
	srv := &http.Server{
		Handler:  http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, pong) }),
		ErrorLog: log.New(io.Discard, "", 0),
	}
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(wrap(ln)) }()
	t.Cleanup(func() { srv.Close(); <-ended })
	return ln.Addr().String()
}

// withKeys is what wraps the listener of an agent with keys.
func withKeys(t *testing.T, keys ...trust.Key) func(net.Listener) net.Listener {
	t.Helper()
	ring := must[*trust.Keyring](t)(trust.NewAgent(keys, agentUID, "n1"))
	return func(ln net.Listener) net.Listener { return ring.Listener(ln, func(net.Addr, error) {}) }
}

func TestClient_Secure(t *testing.T) {
	key, other := trust.NewKey(), trust.NewKey()
	plainAgent := func(ln net.Listener) net.Listener { return trust.PlainListener(ln, func(net.Addr, error) {}) }
	silent := newPeer(t, func(net.Conn, int) {}).addr
	closes := newPeer(t, func(conn net.Conn, _ int) {
		conn.Read(make([]byte, 1))
		conn.(*net.TCPConn).CloseWrite()
	}).addr
	good := ponger(t, withKeys(t, key))
	noKey := ponger(t, plainAgent)
	for name, test := range map[string]struct {
		client *Client
		addr   string
		want   string // of the error
		code   error
	}{
		"the same key":  {secured(t, key), good, "", nil},
		"its check key": {secured(t, key.Check()), good, "", nil},
		"another key":   {secured(t, other), good, "tls: the agent there has another key (", trust.ErrOtherKey},
		"a refusal with the answer": {client: secured(t, other, key), addr: good, want: "tls: it does not " +
			"accept our key (" + other.ID() + "): add this key to its key file, or use the same key file " +
			"on both sides", code: trust.ErrOtherKey},
		"an agent without a key": {client: secured(t, key), addr: noKey, want: "tls: it answers in plain HTTP and not in " +
			"TLS: if it is an agent, give it the key file of the cluster (--key-file) and start it again; else " +
			"correct the address", code: awa.ErrPlainHTTP},
		"a client without a key": {client: newClient(t), addr: good, want: "tls: this agent speaks TLS only: give this " +
			"side the key file of the cluster (--key-file, check_awa -k), or use https with a certificate (awa-agent key " +
			"cert --role check)", code: awa.ErrPlainHTTP},
		"silence":                      {secured(t, key), silent, "tls: no answer in time", context.DeadlineExceeded},
		"a connection that is closed":  {secured(t, key), closes, "tls: the connection was closed without an answer", nil},
		"neither of both sides has it": {newClient(t), noKey, "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			for _, fresh := range []bool{true, false, false} {
				patience := 20 * time.Second
				if test.addr == silent {
					patience = 100 * time.Millisecond
				}
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				_, err := test.client.Ping(ctx, test.addr, fresh)
				cancel()
				if test.want == "" {
					if err != nil {
						t.Fatal(err)
					}
					continue
				}
				var ping *awa.PingError
				if !errors.As(err, &ping) || ping.Stage != awa.StageTLS || !strings.HasPrefix(err.Error(), test.want) ||
					test.code != nil && !errors.Is(err, test.code) {
					t.Errorf("got %v, want %s", err, test.want)
				}
			}
		})
	}
}

// TestClient_Secure_arguments says what the hook is handed, and how often.
func TestClient_Secure_arguments(t *testing.T) {
	addr := newPeer(t, pongs).addr
	var calls []string
	c := NewClient(ClientConfig{Secure: func(_ context.Context, conn net.Conn, addr, uid string) (net.Conn, error) {
		calls = append(calls, addr+"|"+uid)
		return conn, nil
	}})
	defer c.Close()
	for _, fresh := range []bool{false, false, true} {
		if _, err := c.Ping(t.Context(), addr, fresh); err != nil {
			t.Fatal(err)
		}
	}
	if want := addr + "| " + addr + "|"; strings.Join(calls, " ") != want {
		t.Errorf("called with %q, want %q", calls, want)
	}
}

// TestClient_Secure_cancelled ends a handshake whose caller has gone.
func TestClient_Secure_cancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	addr := newPeer(t, func(conn net.Conn, _ int) { conn.Read(make([]byte, 1)); cancel() }).addr
	_, err := secured(t, trust.NewKey()).Ping(ctx, addr, true)
	if err == nil || !errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) ||
		err.Error() != "tls: context canceled" {
		t.Error(err)
	}
}

// TestClient_Secure_edit hands in an edit that is refused with the first
// answer: it must not pass for one that may have been made.
func TestClient_Secure_edit(t *testing.T) {
	key := trust.NewKey()
	addr := ponger(t, withKeys(t, key))
	_, _, err := secured(t, trust.NewKey(), key).Edit(t.Context(), addr,
		awa.Edit{Action: awa.Delete, Data: []byte(`{"id":1}`), Key: "k"}, 0)
	if ping, ok := errors.AsType[*awa.PingError](err); !ok || ping.Stage != awa.StageTLS {
		t.Error(err)
	}
}

// TestClient_Secure_endOfKept has kept connections whose agent dies without a word,
// which is an unexpected end in TLS.
func TestClient_Secure_endOfKept(t *testing.T) {
	key := trust.NewKey()
	ring := must[*trust.Keyring](t)(trust.NewAgent([]trust.Key{key}, agentUID, "n1"))
	dead := make(chan struct{}, 2)
	p := newPeer(t, func(conn net.Conn, n int) {
		safe := ring.Listener(oneConn{conn}, func(_ net.Addr, err error) { t.Error(err) })
		c := must[net.Conn](t)(safe.Accept())
		r := bufio.NewReader(c)
		for readRequest(r) != "" {
			if n < 3 {
				reply(c, pong)
			}
			if n != 2 {
				conn.(*net.TCPConn).CloseWrite()
				dead <- struct{}{}
				return
			}
		}
	})
	c := secured(t, key)
	if _, err := c.Ping(t.Context(), p.addr, false); err != nil {
		t.Fatal(err)
	}
	<-dead
	if _, err := c.Ping(t.Context(), p.addr, false); err != nil || p.count() != 2 {
		t.Errorf("%v after %d connections, want 2", err, p.count())
	}
	if _, err := c.Ping(t.Context(), p.addr, true); err == nil || err.Error() != "reply: the connection was closed "+
		"without an answer" {
		t.Error(err)
	}
}

// oneConn is a listener that returns one connection.
type oneConn struct{ net.Conn }

func (l oneConn) Accept() (net.Conn, error) { return l.Conn, nil }
func (l oneConn) Addr() net.Addr            { return l.LocalAddr() }

// TestClient_CloseIdle_inUse closes the connections while one is in use: that
// one was opened before, perhaps with a key that is not accepted any more.
func TestClient_CloseIdle_inUse(t *testing.T) {
	asked, answer := make(chan struct{}, 3), make(chan struct{})
	p := newPeer(t, func(conn net.Conn, n int) {
		for r := bufio.NewReader(conn); readRequest(r) != ""; {
			if n == 1 {
				asked <- struct{}{}
				<-answer
			}
			reply(conn, pong)
		}
	})
	c := newClient(t)
	done := make(chan error, 1)
	go func() {
		_, err := c.Ping(t.Context(), p.addr, false)
		done <- err
	}()
	<-asked
	c.CloseIdle()
	close(answer)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := c.Ping(t.Context(), p.addr, false); err != nil {
			t.Fatal(err)
		}
	}
	if p.count() != 2 {
		t.Errorf("%d connections were opened, want 2: the second is kept, the first is not", p.count())
	}
}
