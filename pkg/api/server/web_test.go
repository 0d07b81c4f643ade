package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/awatest/testaid"
)

// fakeWeb is what a web server shows.
type fakeWeb struct {
	metrics, targets func() ([]byte, error)
	check            func([]Param) (CheckResult, error)
	healthy          error
	page             PageResult
	pageErr          error
}

func (f *fakeWeb) Check(query []Param) (CheckResult, error) { return f.check(query) }

func (f *fakeWeb) Page(query []Param) (PageResult, error) { return f.page, f.pageErr }

func (f *fakeWeb) Healthy() error { return f.healthy }

func (f *fakeWeb) Metrics() ([]byte, string, error) {
	b, err := f.metrics()
	return b, "text/metrics", err
}

func (f *fakeWeb) Targets() ([]byte, error) { return f.targets() }

func text(s string) func() ([]byte, error) {
	return func() ([]byte, error) { return []byte(s), nil }
}

func failing(err error) func() ([]byte, error) {
	return func() ([]byte, error) { return nil, err }
}

// openWeb answers for a Web on a free port until the test ends.
func openWeb(t *testing.T, pages Web) (addr string, log *testaid.Log) {
	t.Helper()
	return openWebWith(t, pages, func(*Server) {})
}

// openWebWith is openWeb with a server that is changed before it starts.
func openWebWith(t *testing.T, pages Web, change func(*Server)) (addr string, log *testaid.Log) {
	t.Helper()
	log = &testaid.Log{}
	s := NewWebServer(pages, slog.New(slog.NewTextHandler(log, nil)), 0)
	change(s)
	return testaid.Serve(t, s), log
}

func TestWeb(t *testing.T) {
	const jsonType, failed = "application/json",
		`{"error":"the agent failed at this request: see its log","code":"internal"}`
	empty := &awa.Fault{Code: awa.ErrNoNodes, Text: "no node"}
	ok := &fakeWeb{metrics: text("awa_x 1\n"), targets: text("[]"), check: func(q []Param) (CheckResult, error) {
		return CheckResult{fmt.Appendln(nil, q), len(q) == 0}, nil
	}, page: PageResult{Body: []byte("<p>"), MediaType: "text/html"}}
	wrong := &awa.Fault{Code: awa.ErrBadInput, Text: "no such node"}
	for name, c := range map[string]struct {
		pages  *fakeWeb
		send   string
		status int
		media  string
		body   string
		logged string
	}{
		"metrics":                  {ok, message("GET", "/metrics", ""), 200, "text/metrics", "awa_x 1\n", ""},
		"with a parameter":         {ok, message("GET", "/metrics?name[]=x", ""), 200, "text/metrics", "awa_x 1\n", ""},
		"targets":                  {ok, message("GET", "/sd", ""), 200, jsonType, "[]", ""},
		"the page":                 {ok, message("GET", "/", ""), 200, "text/html", "<p>", ""},
		"HEAD":                     {ok, message("HEAD", "/sd", ""), 200, jsonType, "", ""},
		"a body that nobody wants": {ok, message("GET", "/sd", "x"), 200, jsonType, "[]", ""},

		"another path": {pages: ok, send: message("GET", "/v1/status", ""), status: 404, media: jsonType,
			body: `{"error":"there is no /v1/status here: this port has /, /metrics, /sd, /check and /healthz","code":"not_found"}`},
		"another path, edited": {pages: ok, send: message("POST", "/v1/changes", "{}"), status: 404, media: jsonType,
			body: `{"error":"there is no /v1/changes here: this port has /, /metrics, /sd, /check and /healthz","code":"not_found"}`},
		"POST": {pages: ok, send: message("POST", "/sd", "[]"), status: 405, media: jsonType,
			body: `{"error":"/sd does not take POST: use GET","code":"method_not_allowed"}`},
		"DELETE": {pages: ok, send: message("DELETE", "/metrics", ""), status: 405, media: jsonType,
			body: `{"error":"/metrics does not take DELETE: use GET","code":"method_not_allowed"}`},
		"OPTIONS": {pages: ok, send: message("OPTIONS", "/", ""), status: 405, media: jsonType,
			body: `{"error":"/ does not take OPTIONS: use GET","code":"method_not_allowed"}`},
		"a body that is too big": {pages: ok, send: message("POST", "/sd", strings.Repeat("x", maxWebBody+1)), status: 413,
			media: jsonType, body: `{"error":"the body is larger than 4096 bytes: nothing was changed","code":"too_large"}`},
		"a head that is too big": {pages: ok, send: message("GET", "/sd", "", "X: "+strings.Repeat("x", maxHeader)),
			status: 431, media: jsonType, body: `{"error":"the request's head is larger than 8192 bytes","code":"too_large"}`},
		"no HTTP": {pages: ok, send: "\x16\x03\x01\x02\x00\x01\r\n\r\n", status: 400, media: jsonType,
			body: `{"error":"this is not an HTTP request that can be read: nothing was changed","code":"bad_input"}`},

		"no nodes": {pages: &fakeWeb{targets: failing(empty)}, send: message("GET", "/sd", ""), status: 503,
			media: jsonType, body: `{"error":"no node","code":"no_nodes"}`},
		"just started": {pages: &fakeWeb{targets: failing(&awa.Fault{Code: awa.ErrStarting, Text: "wait"})},
			send: message("GET", "/sd", ""), status: 503, media: jsonType, body: `{"error":"wait","code":"starting"}`},
		"no list": {pages: &fakeWeb{targets: failing(&awa.Fault{Code: awa.ErrNotJoined, Text: "no list"})},
			send: message("GET", "/sd", ""), status: 503, media: jsonType, body: `{"error":"no list","code":"not_joined"}`},
		"an unknown failure": {pages: &fakeWeb{metrics: failing(errors.New("secret"))}, send: message("GET", "/metrics",
			""), status: 500, media: jsonType, body: failed, logged: "secret"},
		"a check": {pages: ok, send: message("GET", "/check", ""), status: 200, media: plainText, body: "[]\n"},
		"a bad check": {pages: ok, send: message("GET", "/check?node=a%20b&label=x%3D1&node=", ""), status: 503,
			media: plainText, body: "[{node a b} {label x=1} {node }]\n"},
		"a wrong check": {pages: &fakeWeb{check: func([]Param) (CheckResult, error) { return CheckResult{}, wrong }},
			send: message("GET", "/check", ""), status: 400, media: jsonType,
			body: `{"error":"no such node","code":"bad_input"}`},
		"a check of too much": {pages: ok, send: message("GET", "/check?"+strings.Repeat("w&", 1001), ""), status: 400,
			media: jsonType,
			body:  `{"error":"the query has 1001 parameters: at most 1000 are allowed","code":"bad_input"}`},
		"healthy": {pages: ok, send: message("GET", "/healthz", ""), status: 200, media: plainText, body: "ok\n"},
		"not healthy": {pages: &fakeWeb{healthy: errors.New("the disk\nhangs")}, send: message("GET", "/healthz", ""),
			status: 503, media: plainText, body: "the disk hangs\n"},
		"a page that fails": {pages: &fakeWeb{pageErr: errors.New("secret")}, send: message("GET", "/", ""), status: 500,
			media: jsonType, body: failed, logged: "secret"},
		"a panic": {pages: &fakeWeb{metrics: func() ([]byte, error) { panic("secret") }}, send: message("GET", "/metrics",
			""), status: 500, media: jsonType, body: failed, logged: "secret"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr, log := openWeb(t, c.pages)
			method, _, _ := strings.Cut(c.send, " ")
			r := talk(t, addr, c.send, false, method)[0]
			if r.StatusCode != c.status || r.Header.Get("Content-Type") != c.media || bodyOf(r) != c.body {
				t.Errorf("%s, %s\n%s\nwant %d, %s\n%s", r.Status, r.Header.Get("Content-Type"), bodyOf(r), c.status, c.media,
					c.body)
			}
			if allow := r.Header.Get("Allow"); (allow == "GET, HEAD") != (c.status == http.StatusMethodNotAllowed) {
				t.Errorf("Allow: %q", allow)
			}
			if method == http.MethodHead && r.ContentLength != 2 {
				t.Errorf("the length of what GET gives is %d", r.ContentLength)
			}
			if c.logged != "" && !strings.Contains(log.String(), c.logged) || c.logged == "" && log.String() != "" {
				t.Errorf("logged: %s", log)
			}
		})
	}
}

// TestWeb_page has the headers that keep a page from doing more than being read.
func TestWeb_page(t *testing.T) {
	pages := &fakeWeb{page: PageResult{Body: []byte("<p>"), MediaType: "text/html", Policy: "default-src 'none'",
		Refresh: 10 * time.Second}}
	addr, _ := openWeb(t, pages)
	r := talk(t, addr, message("GET", "/?x=y", ""), false, "GET")[0]
	for name, want := range map[string]string{"Content-Security-Policy": "default-src 'none'", "Refresh": "10",
		"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"} {
		if got := r.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	pages.page.Refresh = 0
	if r := talk(t, addr, message("GET", "/", ""), false, "GET")[0]; r.Header.Get("Refresh") != "" {
		t.Errorf("it says Refresh: %s", r.Header.Get("Refresh"))
	}
	// A page may link to it, and not ask it otherwise.
	for dest, status := range map[string]int{"document": 200, "iframe": 403, "empty": 403} {
		send := message("GET", "/", "", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Dest: "+dest)
		if r := talk(t, addr, send, false, "GET")[0]; r.StatusCode != status {
			t.Errorf("as %s: %s", dest, r.Status)
		}
	}
}

// TestWeb_crowd has strangers hold as many connections as they like, with and
// without a request on them: Prometheus gets through.
func TestWeb_crowd(t *testing.T) {
	addr, log := openWeb(t, &fakeWeb{metrics: text("awa_x 1\n")})
	var crowd []net.Conn
	for i := range 3 * maxWebConnsPerAddr {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if i%2 == 0 {
			io.WriteString(c, message("GET", "/metrics", "")) // fails when it was closed meanwhile
		}
		crowd = append(crowd, c)
	}
	if r := talk(t, addr, message("GET", "/metrics", ""), false, "GET")[0]; r.StatusCode != 200 ||
		bodyOf(r) != "awa_x 1\n" {
		t.Errorf("%s", r.Status)
	}
	for i, c := range crowd[:2*maxWebConnsPerAddr] {
		c.SetReadDeadline(time.Now().Add(20 * time.Second))
		if _, err := io.Copy(io.Discard, c); awa.IsTimeout(err) {
			t.Fatalf("connection %d of the crowd is still open", i)
		}
	}
	if !strings.Contains(log.String(), "too many connections of strangers") {
		t.Errorf("logged: %s", log)
	}
}

// TestWeb_Shutdown ends with its context, whoever doesn't read what it asked for.
func TestWeb_Shutdown(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	entered := make(chan struct{}, 1)
	s := NewWebServer(&fakeWeb{metrics: func() ([]byte, error) {
		entered <- struct{}{}
		return make([]byte, 64<<20), nil
	}}, slog.New(slog.DiscardHandler), 0)
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ln) }()
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, message("GET", "/metrics", ""))
	<-entered
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.Copy(io.Discard, conn); awa.IsTimeout(err) {
		t.Error("the connection is still open")
	}
}
