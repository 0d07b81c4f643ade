package api

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"are-we-alive/pkg/awa"
)

func newClient(t *testing.T) *Client {
	t.Helper()
	c := NewClient(ClientConfig{})
	t.Cleanup(c.Close)
	return c
}

// peer is the other side of a client: each connection is served by f. It
// counts, and waits for its connections to end when the test does, so that a
// client that leaks one fails the test.
type peer struct {
	addr  string
	mu    sync.Mutex
	conns int // opened so far
	open  int
}

func newPeer(t *testing.T, f func(conn net.Conn, n int)) *peer {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{addr: ln.Addr().String()}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			conn.SetDeadline(time.Now().Add(20 * time.Second))
			p.mu.Lock()
			p.conns, p.open = p.conns+1, p.open+1
			n := p.conns
			p.mu.Unlock()
			all.Go(func() {
				f(conn, n)
				// The client's end shows as the end of what it sends.
				if _, err := io.Copy(io.Discard, conn); err != nil && awa.IsTimeout(err) {
					t.Errorf("connection %d to %s is still open", n, p.addr)
				}
				conn.Close()
				p.mu.Lock()
				p.open--
				p.mu.Unlock()
			})
		}
	})
	t.Cleanup(func() { ln.Close(); all.Wait() })
	return p
}

func (p *peer) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.conns
}

// request reads one, and returns "" when there is none.
func readRequest(r *bufio.Reader) string {
	req, err := http.ReadRequest(r)
	if err != nil {
		return ""
	}
	body, _ := io.ReadAll(req.Body)
	return req.Method + " " + req.RequestURI + " " + string(body)
}

// reply writes an answer with a length.
func reply(conn net.Conn, body string) { io.WriteString(conn, withLength(body)) }

func withLength(body string) string {
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

const pong = `{"status":{"macaddr":"1a:d6:6e:ce:b5:5f","db_state":2,"name":"n1","uid":"2965c4ba819f866b0b62263dab403dee"}}`

// pongs answers each request as a ping.
func pongs(conn net.Conn, _ int) {
	for r := bufio.NewReader(conn); readRequest(r) != ""; {
		reply(conn, pong)
	}
}

// TestClient_badAnswers has servers that answer badly or not at all.
func TestClient_badAnswers(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n"
	say := func(s string) func(net.Conn, int) {
		return func(conn net.Conn, _ int) { io.WriteString(conn, s); conn.(*net.TCPConn).CloseWrite() }
	}
	endless := func(begin, more string) func(net.Conn, int) {
		return func(conn net.Conn, _ int) {
			for _, err := io.WriteString(conn, begin); err == nil; _, err = io.WriteString(conn, more) {
			}
		}
	}
	const noAgent = "reply: something answers there that is not an awa-agent"
	tests := map[string]struct {
		serve func(net.Conn, int)
		text  string // "": anything
	}{
		"it hangs": {func(net.Conn, int) {}, "reply: no answer in time"},
		"it hangs after a while": {func(conn net.Conn, _ int) { io.WriteString(conn, ok+"Content-Le") },
			"reply: no answer in time"},
		"it hangs in the body": {func(conn net.Conn, _ int) { io.WriteString(conn, ok+"Content-Length: 9\r\n\r\n{") },
			"reply: no answer in time"},
		"it sends for ever": {endless(ok+"Transfer-Encoding: chunked\r\n\r\n", "10\r\n0123456789abcdef\r\n"),
			noAgent + " (its answer is larger than 64 KiB)"},
		"it sends 100 for ever":     {endless("", "HTTP/1.1 100 Continue\r\n\r\n"), ""},
		"it sends headers for ever": {endless(ok, "X: "+strings.Repeat("y", 1000)+"\r\n"), ""},
		"it closes":                 {say(""), "reply: the connection was closed without an answer"},
		"it closes in the head":     {say(ok + "Content-Le"), ""},
		"it closes in the body":     {say(ok + "Content-Length: 9\r\n\r\n{"), ""},
		"it resets":                 {func(conn net.Conn, _ int) { conn.(*net.TCPConn).SetLinger(0); conn.Close() }, ""},
		"garbage":                   {say(strings.Repeat("\x00\xff", 500)), ""},
		"SSH":                       {say("SSH-2.0-OpenSSH_9.2\r\n"), ""},
		"an answer of 300 MiB": {func(conn net.Conn, _ int) {
			io.WriteString(conn, ok+"Content-Length: "+
				"314572800\r\n\r\n{")
		}, noAgent + " (its answer is larger than 64 KiB)"},
		"an absurd length":     {say(ok + "Content-Length: 99999999999999999999\r\n\r\n{"), ""},
		"a web page":           {say(ok + "Content-Type: text/html\r\nContent-Length: 15\r\n\r\n<html>hi</html>"), noAgent},
		"JSON of another kind": {say(ok + "Content-Length: 2\r\n\r\n[]"), noAgent},
		"no JSON at all":       {say(ok + "Content-Length: 0\r\n\r\n"), noAgent},
		"not found":            {say("HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnope"), noAgent + " (HTTP status 404)"},
		"a redirect": {say("HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n"),
			noAgent + " (HTTP status 302)"},
		"an error without a sentence": {say("HTTP/1.1 500 Oh\r\nContent-Length: 18\r\n\r\n" + `{"code":"internal"`),
			noAgent + " (HTTP status 500)"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPeer(t, test.serve)
			c := NewClient(ClientConfig{})
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			start := time.Now()
			_, err := c.Ping(ctx, p.addr, false)
			took := time.Since(start)
			c.Close()
			var ping *awa.PingError
			if !errors.As(err, &ping) || ping.Stage != awa.StageReply && name != "it resets" || test.text != "" &&
				err.Error() != test.text {
				t.Errorf("%v, want %s", err, test.text)
			}
			if none := strings.Contains(fmt.Sprint(err), noAgent); errors.Is(err, awa.ErrNoAgent) != none {
				t.Errorf("%v has the code no_agent: %v", err, !none)
			}
			if err != nil && strings.ContainsAny(err.Error(), "\n\x00") || strings.Contains(err.Error(), p.addr) {
				t.Errorf("the sentence is not fit for one line: %q", err)
			}
			if took > 5*time.Second {
				t.Errorf("it took %v with a deadline of 300ms", took)
			}
			c.pool.mu.Lock()
			defer c.pool.mu.Unlock()
			if c.pool.count != 0 {
				t.Error("the connection was kept")
			}
		})
	}
}

func TestClient_notReached(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := ln.Addr().String()
	ln.Close()
	for name, test := range map[string]struct {
		addr, text string
		stage      awa.Stage
	}{
		"nobody listens": {closed, "connect: connection refused", awa.StageConnect},
		"no address":     {"a b:1", `resolve: "a b" is not a host: give a DNS name or an IP address`, awa.StageResolve},
		"no such host":   {"no-such-host.invalid:1", "", awa.StageResolve},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			_, err := newClient(t).Ping(ctx, test.addr, false)
			var ping *awa.PingError
			if !errors.As(err, &ping) || ping.Stage != test.stage || test.text != "" && err.Error() != test.text {
				t.Errorf("%v, want %s", err, test.text)
			}
		})
	}
}

// TestClient_cancel ends each call at each stage by its context.
func TestClient_cancel(t *testing.T) {
	hung := make(chan struct{}, 1)
	p := newPeer(t, func(conn net.Conn, _ int) {
		if readRequest(bufio.NewReader(conn)) != "" {
			hung <- struct{}{}
		}
	})
	dialing := make(chan struct{}, 1)
	stuck := NewClient(ClientConfig{Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		dialing <- struct{}{}
		<-ctx.Done()
		return nil, ctx.Err()
	}})
	c := newClient(t)
	for name, call := range map[string]func(context.Context, *Client) error{
		"ping":   func(ctx context.Context, c *Client) error { _, err := c.Ping(ctx, p.addr, true); return err },
		"status": func(ctx context.Context, c *Client) error { _, err := c.ClusterStatus(ctx, p.addr, false); return err },
		"sync": func(ctx context.Context, c *Client) error {
			_, err := c.Sync(ctx, p.addr, awa.Position{}, 0)
			return err
		},
		"changes": func(ctx context.Context, c *Client) error { _, err := c.Changes(ctx, p.addr, 0, 0); return err },
		"push":    func(ctx context.Context, c *Client) error { return c.Push(ctx, p.addr, awa.Change{ID: 1}) },
		"edit": func(ctx context.Context, c *Client) error {
			_, _, err := c.Edit(ctx, p.addr, awa.Edit{Data: []byte("{}"), Key: "k"}, 0)
			return err
		},
		"raft": func(ctx context.Context, c *Client) error { _, err := c.DialRaft(ctx, p.addr, "u"); return err },
	} {
		for _, at := range []struct {
			stage  awa.Stage
			client *Client
			came   chan struct{}
		}{{awa.StageReply, c, hung}, {awa.StageConnect, stuck, dialing}} {
			t.Run(name+" "+string(at.stage), func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				ended := make(chan error, 1)
				go func() { ended <- call(ctx, at.client) }()
				<-at.came
				cancel()
				start := time.Now()
				err := <-ended
				var ping *awa.PingError
				if !errors.As(err, &ping) || ping.Stage != at.stage || !errors.Is(err, context.Canceled) {
					t.Errorf("%v, want %s: context canceled", err, at.stage)
				}
				if took := time.Since(start); took > 2*time.Second {
					t.Errorf("it took %v", took)
				}
			})
		}
	}
}

// TestClient_keptConnections has servers that treat kept connections badly.
func TestClient_keptConnections(t *testing.T) {
	t.Run("one serves many calls", func(t *testing.T) {
		p := newPeer(t, pongs)
		c := newClient(t)
		for range 5 {
			if _, err := c.Ping(t.Context(), p.addr, false); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := c.Ping(t.Context(), p.addr, true); err != nil {
			t.Fatal(err)
		}
		if n := p.count(); n != 2 {
			t.Errorf("%d connections, want 1 and a fresh one", n)
		}
	})
	t.Run("closed between calls", func(t *testing.T) {
		var mu sync.Mutex
		var all []string
		p := newPeer(t, func(conn net.Conn, _ int) {
			req := readRequest(bufio.NewReader(conn))
			mu.Lock()
			all = append(all, req)
			mu.Unlock()
			if strings.HasPrefix(req, "POST ") {
				reply(conn, "Change applied")
			} else {
				reply(conn, pong)
			}
			conn.Close()
		})
		c := newClient(t)
		for i := range 5 {
			if _, err := c.Ping(t.Context(), p.addr, false); err != nil {
				t.Fatalf("ping %d: %v", i+1, err)
			}
			if err := c.Push(t.Context(), p.addr, awa.Change{ID: 1}); err != nil {
				t.Fatalf("push %d: %v", i+1, err)
			}
		}
		if n := p.count(); n != 10 {
			t.Errorf("%d connections for 10 calls", n)
		}
		mu.Lock()
		defer mu.Unlock()
		for _, req := range all {
			if req == "" {
				t.Errorf("a connection carried no request: %q", all)
			}
		}
	})
	t.Run("closed under a call", func(t *testing.T) {
		p := newPeer(t, func(conn net.Conn, n int) {
			r := bufio.NewReader(conn)
			readRequest(r)
			reply(conn, pong)
			if n == 1 {
				readRequest(r) // and no answer
				conn.Close()
			}
			if readRequest(r) != "" {
				reply(conn, `{"id":1}`)
			}
		})
		c := newClient(t)
		if _, err := c.Ping(t.Context(), p.addr, false); err != nil {
			t.Fatal(err)
		}
		// The edit may have been made: who repeats it must know that.
		_, _, err := c.Edit(t.Context(), p.addr, awa.Edit{Action: awa.Delete, Data: []byte(`{"id":1}`), Key: "k"}, 0)
		var ping *awa.PingError
		if !errors.As(err, &ping) || ping.Stage != awa.StageReply || p.count() != 1 {
			t.Errorf("%v, over %d connections", err, p.count())
		}
	})
	t.Run("an answer that came too late", func(t *testing.T) {
		late := make(chan struct{})
		p := newPeer(t, func(conn net.Conn, n int) {
			r := bufio.NewReader(conn)
			readRequest(r)
			if n == 1 {
				<-late
				reply(conn, strings.Replace(pong, `"n1"`, `"late"`, 1))
				return
			}
			reply(conn, pong)
		})
		c := newClient(t)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if _, err := c.Ping(ctx, p.addr, false); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		close(late)
		if self, err := c.Ping(t.Context(), p.addr, false); err != nil || self.Name != "n1" {
			t.Errorf("%v: the answer of %s", err, self.Name)
		}
	})
	t.Run("more than was asked for", func(t *testing.T) {
		p := newPeer(t, func(conn net.Conn, _ int) {
			r := bufio.NewReader(conn)
			readRequest(r)
			more := strings.Replace(pong, `"n1"`, `"more"`, 1)
			io.WriteString(conn, withLength(pong)+withLength(more))
			readRequest(r)
		})
		c := newClient(t)
		for range 3 {
			if self, err := c.Ping(t.Context(), p.addr, false); err != nil || self.Name != "n1" {
				t.Errorf("%v: the answer of %s", err, self.Name)
			}
		}
	})
	t.Run("it says that it will close", func(t *testing.T) {
		p := newPeer(t, func(conn net.Conn, _ int) {
			readRequest(bufio.NewReader(conn))
			io.WriteString(conn, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"+pong)
			conn.(*net.TCPConn).CloseWrite()
		})
		c := newClient(t)
		for range 2 {
			if _, err := c.Ping(t.Context(), p.addr, false); err != nil {
				t.Error(err)
			}
		}
		if p.count() != 2 {
			t.Errorf("%d connections", p.count())
		}
	})
}
