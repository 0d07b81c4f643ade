//go:build system

package hostile

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"are-we-alive/pkg/awatest/testaid"
	"are-we-alive/test/program"
)

const (
	// leakRequests is how many requests of each kind an agent gets.
	leakRequests = 10_000
	// leakBatch is how many of them go over one connection, one after the other
	// without waiting.
	leakBatch = 50
	// leakClients is how many connections there are at once.
	leakClients = 8
	// leakMemory is how much more memory an agent may have afterwards than
	// after a tenth of it all: some 300 bytes a request.
	leakMemory = 16 << 20
	// leakSpare is how many descriptors and goroutines more there may be:
	// workers that wait for the next connection, and connections to agents.
	leakSpare = 48
)

// leakDial opens a connection to an agent.
type leakDial func() (net.Conn, error)

func call(method, target, body string, headers ...string) string {
	head := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: 127.0.0.1\r\n", method, target)
	for _, h := range headers {
		head += h + "\r\n"
	}
	if body != "" {
		head += fmt.Sprintf("Content-Length: %d\r\n", len(body))
	}
	return head + "\r\n" + body
}

// leakGood are requests that are answered, one for each route.
func leakGood() []string {
	return []string{
		call("GET", "/ping", ""), call("GET", "/status", ""), call("GET", "/sync?state=-1", ""), call("GET", "/v1/status",
			""),
		call("GET", "/v1/status?cached=1", ""), call("GET", "/v1/changes?since=0", ""), call("GET", "/v1/view",
			""), call("HEAD", "/ping", ""),
		call("POST", "/v1/probe", `{"nodes":[1,2],"within_ms":50}`),
		// The same edit again and again, which makes one change.
		call("POST", "/v1/changes", `{"action":"UPDATE","data":{"id":1,"name":"a1","host":"127.0.0.1","port":1}}`,
			"Idempotency-Key: leak", "Awa-Hops: 0"),
	}
}

// leakBad are requests whose parameters or bodies are bad.
func leakBad() []string {
	return []string{
		call("GET", "/sync?state=x", ""), call("GET", "/v1/status?cached=7", ""), call("GET", "/v1/changes?limit=-1", ""),
		call("POST", "/push", `{"id":"x"`), call("POST", "/v1/probe", `{"nodes":[]}`), call("POST", "/v1/raft", `{}`),
		call("POST", "/v1/changes", `{"action":"CREATE","data":{"name":"`+strings.Repeat("x", 3000)+`"}}`),
		call("POST", "/v1/changes", strings.Repeat("[", 3000)),
	}
}

// leakRefused are requests for what there is not.
func leakRefused() []string {
	return []string{
		call("DELETE", "/ping", ""), call("GET", "/push", ""), call("POST", "/status", "{}"), call("GET",
			"/"+strings.Repeat("x", 2000), ""),
		call("GET", "/v1/raft", ""), call("PUT", "/v1/changes", "{}"), call("POST", "/v1/view", "{}"), call("BREW",
			"/v1/probe", "{}"),
	}
}

// leakKinds are the kinds of requests: each makes some over a new connection,
// beginning with the nth, and says how many.
func leakKinds() map[string]func(dial leakDial, n int) (int, error) {
	return map[string]func(leakDial, int) (int, error){
		"good":    func(dial leakDial, n int) (int, error) { return leakAsk(dial, leakGood(), n, 0) },
		"bad":     func(dial leakDial, n int) (int, error) { return leakAsk(dial, leakBad(), n, http.StatusBadRequest) },
		"refused": func(dial leakDial, n int) (int, error) { return leakAsk(dial, leakRefused(), n, http.StatusNotFound) },
		"cut":     leakCut,
		"unread":  leakUnread,
	}
}

// leakAsk sends a batch and reads the answers, whose status must be at least
// the given one, and none of which may be the agent's failure.
func leakAsk(dial leakDial, requests []string, n, atLeast int) (int, error) {
	conn, err := dial()
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for i := range leakBatch {
			io.WriteString(conn, requests[(n+i)%len(requests)]) // the answers tell
		}
	}()
	defer func() { conn.Close(); <-sent }()
	r := bufio.NewReader(conn)
	for i := range leakBatch {
		request := requests[(n+i)%len(requests)]
		method, _, _ := strings.Cut(request, " ")
		resp, err := http.ReadResponse(r, &http.Request{Method: method})
		if err != nil {
			return 0, fmt.Errorf("answer %d, to %.60q: %w", i, request, err)
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode < atLeast || resp.StatusCode >= 500 || resp.StatusCode != 200 && atLeast == 0 {
			return 0, fmt.Errorf("%.60q is answered with %d %.200s (%v)", request, resp.StatusCode, body, err)
		}
	}
	return leakBatch, nil
}

// leakCut ends a connection in the middle of a request.
func leakCut(dial leakDial, n int) (int, error) {
	all := append(leakGood(), leakBad()...)
	conn, err := dial()
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	request := all[n%len(all)]
	_, err = io.WriteString(conn, request[:1+n*7%(len(request)-1)])
	return 1, err
}

// leakUnread sends a batch, and goes without reading an answer.
func leakUnread(dial leakDial, n int) (int, error) {
	all := leakGood()
	conn, err := dial()
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	for i := range leakBatch {
		if _, err := io.WriteString(conn, all[(n+i)%len(all)]); err != nil {
			return 0, err
		}
	}
	conn.Read(make([]byte, 1)) // the first answer is there, so the agent was at it
	return leakBatch, nil
}

// leakSend makes count requests of a kind.
func leakSend(t *testing.T, kind string, send func(leakDial, int) (int, error), dial leakDial, count int) {
	t.Helper()
	var mu sync.Mutex
	var all sync.WaitGroup
	sent, next := 0, 0
	var failed error
	for range leakClients {
		all.Go(func() {
			for {
				mu.Lock()
				n, over := next, sent >= count || failed != nil
				next++
				mu.Unlock()
				if over {
					return
				}
				made, err := send(dial, n)
				mu.Lock()
				sent += made
				if err != nil && failed == nil {
					failed = err
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	if failed != nil {
		t.Errorf("%s: %v", kind, failed)
	}
}

// TestLeak_requests asks an agent 10,000 times in each way, and looks what
// is left of it.
func TestLeak_requests(t *testing.T) {
	t.Parallel()
	eachKey(t, func(t *testing.T, keys string) {
		t.Parallel()
		a := program.Cluster(t, keys, 1)[0]
		dial := leakDialer(t, a, keys)
		kinds, count := leakKinds(), map[string]int{}
		if keys != "" {
			kinds["strangers"] = func(leakDial, int) (int, error) { return leakStranger(a.Addr()) }
			// Each of these is a handshake, which costs a millisecond.
			count["cut"], count["strangers"] = leakRequests/10, leakRequests/10
		}
		round := func(share int) {
			for kind, send := range kinds {
				n, set := count[kind]
				if !set {
					n = leakRequests
				}
				leakSend(t, kind, send, dial, n/share)
			}
		}
		leakCheck(t, a, leakSpare, round)
	})
}

// leakDialer opens connections to an agent, with a key those of a member.
func leakDialer(t *testing.T, a *program.Agent, keys string) leakDial {
	t.Helper()
	if keys == "" {
		return func() (net.Conn, error) { return net.Dial("tcp", a.Addr()) }
	}
	dir := filepath.Join(t.TempDir(), "cert")
	if r := program.Run(t, "awa-agent", "key", "cert", "--role", "member", "--out", dir, "--key-file", keys); r.Code != 0 {
		t.Fatal(r)
	}
	cert, err := tls.LoadX509KeyPair(filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{cert}, InsecureSkipVerify: true,
		NextProtos: []string{"http/1.1"}}
	return func() (net.Conn, error) { return tls.Dial("tcp", a.Addr(), config) }
}

// leakStranger speaks no TLS, and then has no certificate.
func leakStranger(addr string) (int, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	io.WriteString(conn, call("GET", "/ping", ""))
	if c, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true}); err == nil {
		c.Read(make([]byte, 1)) // in TLS 1.3 the refusal comes after the handshake
		c.Close()
	}
	return 2, nil
}

// leakCheck compares what an agent holds after a round with what it held
// after a tenth of one, and its goroutines with those of an agent that nobody
// has asked.
func leakCheck(t *testing.T, a *program.Agent, spare int, round func(share int)) {
	t.Helper()
	round(10)
	descriptors, memory := a.Descriptors(), a.RSS()
	began := time.Now()
	round(1)
	took := time.Since(began)
	testaid.Await(t, 20*time.Second, func() error {
		if now := a.Descriptors(); now > descriptors+spare {
			return fmt.Errorf("%d descriptors are open, before there were %d", now, descriptors)
		}
		if now := a.RSS(); now > memory+leakMemory {
			return fmt.Errorf("%d KiB of memory are in use, before there were %d", now>>10, memory>>10)
		}
		return nil
	})
	t.Logf("after %v: descriptors %d, before %d; memory %d KiB, before %d", took.Round(time.Millisecond),
		a.Descriptors(), descriptors, a.RSS()>>10, memory>>10)
	quiet := program.NewAgent(t, "quiet", "--first", "--key-file", "")
	quiet.Start()
	checkSays(t, quiet.Addr(), "1 of 1 node online")
	before, after := leakGoroutines(t, quiet), leakGoroutines(t, a)
	if t.Logf("goroutines %d, without requests %d", after, before); after > before+leakSpare {
		t.Errorf("%d goroutines are left, an agent that nobody asks has %d:\n%s", after, before, a.Log)
	}
}

// leakGoroutines ends an agent with what makes Go write down all goroutines.
func leakGoroutines(t *testing.T, a *program.Agent) int {
	t.Helper()
	a.Errors = append(a.Errors, "panic") // a part of functions' names
	a.Signal(syscall.SIGQUIT)
	if code := a.Wait(20 * time.Second); code != 2 {
		t.Errorf("agent %s ended with %d", a.Name, code)
	}
	n := 0
	for _, stack := range regexp.MustCompile(`(?m)^goroutine \d+ `).Split(a.Log.String(), -1)[1:] {
		// Those of the HTTP server that wait for the next connection end after ten seconds.
		if strings.Contains(stack, "workerFunc") && !strings.Contains(stack, "serveConn") {
			continue
		}
		n++
	}
	return n
}

// TestLeak_peers lets an agent ask peers that answer badly, 10,000 times.
func TestLeak_peers(t *testing.T) {
	t.Parallel()
	const (
		peers = 100
		kept  = 2 // answers after which a connection is kept
	)
	answers := []string{
		"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", // the kept ones
		"", "\r\n", "220 mail.example ESMTP\r\n", "HTTP/1.1 200 OK\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n{", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
		"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 100<<10), "\x16\x03\x03\x00\x02xx", "\x15\x03\x03\x00\x02\x02\x28",
	}
	eachKey(t, func(t *testing.T, keys string) {
		t.Parallel()
		a := program.Cluster(t, keys, 1, "--ping-timeout", "50ms", "--watch", "1m")[0]
		dial := leakDialer(t, a, keys)
		edits := make([]string, peers)
		for i := range edits {
			_, port, _ := net.SplitHostPort(leakPeer(t, answers[i%len(answers)], i%3 == 0))
			edits[i] = call("POST", "/v1/changes",
				fmt.Sprintf(`{"action":"CREATE","data":{"name":"p%d","host":"127.0.0.1","port":%s}}`, i, port))
		}
		for n := 0; n < peers; n += leakBatch {
			if _, err := leakAsk(dial, edits, n, 0); err != nil {
				t.Fatal(err)
			}
		}
		// Sweeps that run at the same time keep a connection each.
		spare := leakSpare + leakClients*kept*(peers/len(answers)+1)
		leakCheck(t, a, spare, func(share int) {
			leakSend(t, "sweep", func(dial leakDial, _ int) (int, error) {
				conn, err := dial()
				if err != nil {
					return 0, err
				}
				defer conn.Close()
				io.WriteString(conn, call("GET", "/status", ""))
				resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
				if err != nil {
					return 0, err
				}
				body, err := io.ReadAll(resp.Body)
				if nodes := bytes.Count(body, []byte(`"port"`)); err == nil && nodes != peers+1 {
					err = fmt.Errorf("%d nodes are told: %.300s", nodes, body)
				}
				return peers, err
			}, dial, leakRequests/share)
		})
	})
}

// leakPeer is a server that says one thing to everybody, and then hangs up or
// waits.
func leakPeer(t *testing.T, says string, waits bool) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	t.Cleanup(func() { ln.Close(); all.Wait() })
	all.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer conn.Close()
				conn.SetDeadline(time.Now().Add(5 * time.Second))
				conn.Read(make([]byte, 4096))
				io.WriteString(conn, says)
				if waits {
					conn.Read(make([]byte, 1)) // until the agent hangs up
				}
			})
		}
	})
	return ln.Addr().String()
}
