package server

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestServer_wire sends what is not quite HTTP. It is refused, and the
// connection ends, since nobody knows where the next request would begin.
func TestServer_wire(t *testing.T) {
	const (
		host     = "Host: n1\r\n"
		edit     = `{"action":"DELETE","data":{"id":2}}`
		noHTTP   = "this is not an HTTP request that can be read: nothing was changed"
		tooLarge = "the body is larger than 1048576 bytes: nothing was changed"
		longHead = "the request's head is larger than 8192 bytes"
		noJSON   = notJSON + exampleEdit
	)
	tests := map[string]struct {
		raw    string
		status int // 0: the connection just ends
		text   string
	}{
		"NUL bytes":              {strings.Repeat("\x00", 64), 400, noHTTP},
		"a word":                 {"hello\r\n\r\n", 400, noHTTP},
		"TLS":                    {"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" + strings.Repeat("\x17", 200), 400, noHTTP},
		"SSH":                    {"SSH-2.0-OpenSSH_9.2\r\n", 400, noHTTP},
		"HTTP/0.9":               {"GET /ping\r\n\r\n", 400, noHTTP},
		"HTTP/2":                 {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, noHTTP},
		"a version that is none": {"GET /ping HTTP/x\r\n" + host + "\r\n", 400, noHTTP},
		"a space in the path":    {"GET /pi ng HTTP/1.1\r\n" + host + "\r\n", 400, noHTTP},
		"no path":                {"GET HTTP/1.1\r\n" + host + "\r\n", 400, noHTTP},
		"half a head":            {"GET /ping HTTP/1.1\r\nHo", 400, noHTTP},
		"half a body":            {"POST /v1/changes HTTP/1.1\r\n" + host + "Content-Length: 100\r\n\r\n" + edit, 400, noHTTP},
		"half a chunk": {raw: "POST /v1/changes HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n23\r\n{",
			status: 400, text: noHTTP},
		"chunks without an end": {raw: "POST /v1/changes HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n23\r\n" +
			edit + "\r\n"},
		"a chunk's size is none": {raw: "POST /v1/changes HTTP/1.1\r\n" + host + "Transfer-Encoding: " +
			"chunked\r\n\r\nxyz\r\n" + edit + "\r\n0\r\n\r\n", status: 400, text: noHTTP},
		"a chunk's size is absurd": {raw: "POST /v1/changes HTTP/1.1\r\n" + host + "Transfer-Encoding: " +
			"chunked\r\n\r\nffffffffffffffff\r\n" + edit + "\r\n0\r\n\r\n", status: 400, text: noHTTP},
		"a large chunk": {raw: "POST /v1/changes HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n7fffffff\r\n" +
			edit, status: 413, text: tooLarge},
		"a length that is none": {"POST /v1/changes HTTP/1.1\r\n" + host + "Content-Length: many\r\n\r\n" + edit, 400,
			noHTTP},
		"a length below 0": {"POST /v1/changes HTTP/1.1\r\n" + host + "Content-Length: -1\r\n\r\n" + edit, 400, noHTTP},
		"two lengths": {raw: "POST /v1/changes HTTP/1.1\r\n" + host + "Content-Length: 35\r\nContent-Length: 3\r\n\r\n" +
			edit, status: 400, text: noHTTP},
		"a length and chunks": {raw: "POST /v1/changes HTTP/1.1\r\n" + host + "Content-Length: 35\r\nTransfer-Encoding: " +
			"chunked\r\n\r\n" + edit, status: 400, text: noHTTP},
		"an unknown encoding": {raw: "POST /v1/changes HTTP/1.1\r\n" + host + "Transfer-Encoding: " +
			"gzip\r\nContent-Length: 35\r\n\r\n" + edit, status: 400, text: noHTTP},
		"a header without a colon": {"GET /ping HTTP/1.1\r\n" + host + "Awa-Uid\r\n\r\n", 400, noHTTP},
		"a NUL byte in a header":   {"GET /ping HTTP/1.1\r\n" + host + "Awa-Uid: \x00\r\n\r\n", 400, noHTTP},
		"a head of 100 KiB": {raw: "GET /ping HTTP/1.1\r\n" + host + "X: " + strings.Repeat("x", 100<<10) + "\r\n\r\n",
			status: 431, text: longHead},
		"a path of 100 KiB": {"GET /" + strings.Repeat("x", 100<<10) + " HTTP/1.1\r\n" + host + "\r\n", 431, longHead},
		"ten thousand headers": {raw: "GET /ping HTTP/1.1\r\n" + host + strings.Repeat("X: y\r\n", 10_000) + "\r\n",
			status: 431, text: longHead},
		"a large body is announced": {raw: "POST /v1/changes HTTP/1.1\r\n" + host +
			"Expect: 100-continue\r\nContent-Length: 1048577\r\n\r\n", status: 413, text: tooLarge},
		"a form with files": {raw: "POST /v1/changes HTTP/1.1\r\n" + host + "Content-Type: multipart/form-data; " +
			"boundary=x\r\nContent-Length: 35\r\nConnection: close\r\n\r\n" + edit, status: 400, text: noHTTP},
		"a packed body": {raw: "POST /v1/changes HTTP/1.1\r\n" + host + "Content-Encoding: gzip\r\nContent-Length: " +
			"4\r\nConnection: close\r\n\r\n\x1f\x8b\x08\x00", status: 400, text: noJSON},
		"a length too small": {raw: "POST /v1/changes HTTP/1.1\r\n" + host + "Content-Length: 10\r\nConnection: " +
			"close\r\n\r\n" + edit, status: 400, text: noJSON},
	}
	agent := newFake(t)
	addr, log := serve(t, agent, nil)
	before := agent.state()
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(20 * time.Second))
			sent := make(chan struct{})
			go func() {
				defer close(sent)
				io.WriteString(conn, test.raw) // fails when the server answers before the end
				conn.(*net.TCPConn).CloseWrite()
			}()
			defer func() { conn.Close(); <-sent }()
			r := bufio.NewReader(conn)
			if test.status != 0 {
				resp := final(t, r)
				if _, text := refused(t, resp, test.status); text != test.text {
					t.Errorf("it says: %s\nwant: %s", text, test.text)
				}
			}
			if rest, _ := io.ReadAll(r); len(rest) > 0 { // a reset ends it as well
				t.Errorf("it goes on with %q", rest)
			}
			if after := agent.state(); after != before {
				t.Errorf("it changed the list to\n%s", after)
				before = after
			}
		})
	}
	if text := log.String(); text != "" {
		t.Errorf("a client's mistakes are logged:\n%s", text)
	}
}

// final reads the next answer that is more than a 100 Continue.
func final(t *testing.T, r *bufio.Reader) *http.Response {
	t.Helper()
	for {
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body = io.NopCloser(bytes.NewReader(body))
		if resp.StatusCode != http.StatusContinue {
			return resp
		}
	}
}

// TestServer_closed has clients that leave without a word in the middle.
func TestServer_closed(t *testing.T) {
	agent := newFake(t)
	addr, log := serve(t, agent, nil)
	before := agent.state()
	whole := message("POST", "/v1/changes", `{"action":"DELETE","data":{"id":2}}`)
	for n := range len(whole) {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, whole[:n]); err != nil {
			t.Fatal(err)
		}
		conn.(*net.TCPConn).SetLinger(0) // a reset
		conn.Close()
	}
	r := talk(t, addr, message("GET", "/ping", ""), false, "GET")[0]
	if after := agent.state(); r.StatusCode != 200 || after != before || log.String() != "" {
		t.Errorf("ping: %d; the list: %s; the log: %s", r.StatusCode, after, log)
	}
}

func TestServer_http10(t *testing.T) {
	addr, _ := serve(t, newFake(t), nil)
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(conn, "GET /ping HTTP/1.0\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	all, err := io.ReadAll(conn) // it closes by itself
	if want := "\r\n\r\n{\"status\":" + selfJSON + "}"; err != nil || !strings.HasPrefix(string(all),
		"HTTP/1.1 200 OK\r\n") || !strings.HasSuffix(string(all), want) {
		t.Errorf("%v: %s", err, all)
	}
}

// TestServer_pipelined answers requests that come in one packet in their
// order, bad ones among them too.
func TestServer_pipelined(t *testing.T) {
	addr, _ := serve(t, newFake(t), nil)
	r := talk(t, addr, message("GET", "/sync?state=1", "")+message("GET", "/sync?state=x", "")+message("POST",
		"/v1/changes", "{")+
		message("PUT", "/ping", "")+chunked("POST", "/v1/changes", `{"action":"DELETE",`, `"data":{"id":2}}`)+message("GET",
		"/sync?state=2", ""),
		false, "GET", "GET", "POST", "PUT", "POST", "GET")
	for i, want := range []struct {
		status int
		begin  string
	}{{200, `[[2,"CREATE"`}, {400, `{"error":"state=x`}, {400, `{"error":"the body`}, {405, `{"error":"/ping`}, {200,
		`{"id":3}`}, {200, `[[3,"DELETE"`}} {
		if r[i].StatusCode != want.status || !strings.HasPrefix(bodyOf(r[i]), want.begin) {
			t.Errorf("answer %d: %d %s, want %d %s…", i+1, r[i].StatusCode, bodyOf(r[i]), want.status, want.begin)
		}
	}
}

// TestServer_continue has a client that asks before it sends its body.
func TestServer_continue(t *testing.T) {
	addr, _ := serve(t, newFake(t), nil)
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	const edit = `{"action":"DELETE","data":{"id":2}}`
	io.WriteString(conn, "POST /v1/changes HTTP/1.1\r\nHost: n1\r\nExpect: 100-continue\r\nContent-Length: 35\r\n\r\n")
	r := bufio.NewReader(conn)
	if line, err := r.ReadString('\n'); err != nil || line != "HTTP/1.1 100 Continue\r\n" {
		t.Fatalf("%q, %v", line, err)
	}
	r.ReadString('\n')
	io.WriteString(conn, edit)
	resp, err := http.ReadResponse(r, nil)
	if err != nil || resp.StatusCode != 200 {
		t.Fatal(resp, err)
	}
}

// TestServer_slow has clients that stall, or send a byte now and then: the
// time for a whole request is bounded.
func TestServer_slow(t *testing.T) {
	const patience = 300 * time.Millisecond
	agent := newFake(t)
	addr, _ := serve(t, agent, func(s *Server) { s.http.ReadTimeout = patience })
	before := agent.state()
	whole := message("POST", "/v1/changes", `{"action":"DELETE","data":{"id":2}}`)
	for name, begin := range map[string]int{"nothing": 0, "a letter": 1, "half the head": 30,
		"half the body": len(whole) - 10} {
		for _, drip := range []bool{false, true} {
			t.Run(name+map[bool]string{true: ", then drop by drop"}[drip], func(t *testing.T) {
				t.Parallel()
				conn, err := net.Dial("tcp", addr)
				if err != nil {
					t.Fatal(err)
				}
				conn.SetDeadline(time.Now().Add(20 * time.Second))
				ended := make(chan struct{})
				start := time.Now()
				go func() {
					defer close(ended)
					all, err := io.ReadAll(conn) // a drop that comes too late causes a reset
					answered := strings.HasPrefix(string(all), "HTTP/1.1 408 ") &&
						strings.HasSuffix(string(all),
							"\r\n\r\n"+`{"error":"the request did not arrive whole within 5s","code":"bad_input"}`)
					if silent := begin == 0 && !drip; !answered && !(silent && len(all) == 0) {
						t.Errorf("%v after %q", err, all)
					}
				}()
				defer conn.Close()
				io.WriteString(conn, whole[:begin])
				tick := time.NewTicker(patience / 10)
				defer tick.Stop()
				for i := begin; ; i++ {
					select {
					case <-ended:
						if took := time.Since(start); took < patience/2 || took > 10*time.Second {
							t.Errorf("it took %v", took)
						}
						return
					case <-tick.C:
						if drip && i < len(whole)-1 {
							io.WriteString(conn, whole[i:i+1])
						}
					}
				}
			})
		}
	}
	t.Cleanup(func() {
		if after := agent.state(); after != before {
			t.Errorf("the list was changed to\n%s", after)
		}
	})
}

// TestServer_bounds keeps the times and sizes that bound what one client
// holds: the tests above lower some of them.
func TestServer_bounds(t *testing.T) {
	s := NewServer(Config{Agent: newFake(t)}).http
	if s.ReadTimeout != 5*time.Second || s.WriteTimeout != 30*time.Second || s.IdleTimeout != 3*time.Minute ||
		s.MaxRequestBodySize != 1<<20 || s.ReadBufferSize != 8<<10 {
		t.Errorf("read %v, write %v, idle %v, body %d, head %d", s.ReadTimeout, s.WriteTimeout, s.IdleTimeout,
			s.MaxRequestBodySize, s.ReadBufferSize)
	}
}
