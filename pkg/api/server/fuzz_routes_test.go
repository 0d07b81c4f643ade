package server

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"are-we-alive/pkg/api/internal/wire"
	"are-we-alive/pkg/awatest/testaid"
)

// The targets of the routes: any method, query, header and body. What none of
// them can send, any bytes on a connection, FuzzServer and FuzzWeb do.

func FuzzRoute_ping(f *testing.F)    { fuzzRoute(f, "/ping") }
func FuzzRoute_status(f *testing.F)  { fuzzRoute(f, "/status") }
func FuzzRoute_sync(f *testing.F)    { fuzzRoute(f, "/sync") }
func FuzzRoute_push(f *testing.F)    { fuzzRoute(f, "/push") }
func FuzzRoute_status1(f *testing.F) { fuzzRoute(f, "/v1/status") }
func FuzzRoute_nodes(f *testing.F)   { fuzzRoute(f, "/v1/nodes") }
func FuzzRoute_changes(f *testing.F) { fuzzRoute(f, "/v1/changes") }
func FuzzRoute_probe(f *testing.F)   { fuzzRoute(f, "/v1/probe") }
func FuzzRoute_view(f *testing.F)    { fuzzRoute(f, "/v1/view") }
func FuzzRoute_raft(f *testing.F)    { fuzzRoute(f, "/v1/raft") }
func FuzzRoute_events(f *testing.F)  { fuzzRoute(f, "/v1/events") }
func FuzzRoute_goodbye(f *testing.F) { fuzzRoute(f, "/v1/goodbye") }

func FuzzRoute_availability(f *testing.F) { fuzzRoute(f, "/v1/availability") }
func FuzzRoute_notified(f *testing.F)     { fuzzRoute(f, "/v1/notified") }

// Each route has a target, and so the seeds of the bad requests.
func TestFuzz_everyRoute(t *testing.T) {
	text, err := os.ReadFile("fuzz_routes_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range routes() {
		if want := fmt.Sprintf("{ fuzzRoute(f, %q) }", r.path); !strings.Contains(string(text), want) {
			t.Errorf("%s has no fuzz test: add one with %s", r.path, want)
		}
	}
}

const (
	// fuzzAnswer is the most bytes of one answer of the fake agent, whose list
	// holds two nodes and what the request adds.
	fuzzAnswer = 64 << 10
	// fuzzTime is far more than a request takes, on a busy machine too.
	fuzzTime = 10 * time.Second
)

// fuzzRoute sends one request for a path.
func fuzzRoute(f *testing.F, path string) {
	for _, bad := range BadRequests() {
		head, body, _ := strings.Cut(bad.Raw, "\r\n\r\n")
		lines := strings.Split(head, "\r\n")
		words := strings.Split(lines[0], " ")
		target, query, _ := strings.Cut(words[min(1, len(words)-1)], "?")
		if target != path || len(bad.Raw) > 4096 {
			continue
		}
		name, value, _ := strings.Cut(lines[len(lines)-1], ": ")
		f.Add(words[0], query, name, value, []byte(body))
	}
	for _, method := range []string{"GET", "HEAD", "POST", "PUT", "BREW"} {
		f.Add(method, "state=-1&since=1&limit=1&cached=1", "Idempotency-Key", "k",
			[]byte(`{"action":"DELETE","data":{"id":2},"nodes":[1,2],"id":3,"within_ms":1}`))
		f.Add(method, "", "Awa-Uid", testUID, []byte(`{"id":3,"action":"DELETE","data":"{\"id\":2}"}`))
		f.Add(method, "", "Upgrade", "awa-raft", []byte(nil))
	}
	f.Fuzz(func(t *testing.T, method, query, name, value string, body []byte) {
		if query != "" {
			query = "?" + query
		}
		head := fmt.Sprintf("%s %s%s HTTP/1.1\r\nHost: n1\r\n%s: %s\r\nContent-Length: %d\r\n\r\n", method, path, query,
			name, value, len(body))
		agent := newFake(t)
		log := &testaid.Log{}
		s := NewServer(Config{Agent: agent, Log: slog.New(slog.NewTextHandler(log, nil))})
		fuzzServe(t, s, agent, append([]byte(head), body...))
		if log.String() != "" {
			t.Errorf("it logged:\n%s", log)
		}
	})
}

// fuzzServe feeds a server bytes: each answer is whole and not too large,
// each refusal is one of ours, and what was only refused has changed nothing.
func fuzzServe(t *testing.T, s *Server, agent *fakeAgent, raw []byte) {
	before := agent.state()
	conn := &script{Reader: bytes.NewReader(raw)}
	began := time.Now()
	s.http.ServeConn(conn) // its error is that of the connection
	if took := time.Since(began); took > fuzzTime {
		t.Errorf("it took %v", took)
	}
	size := conn.said.Len()
	answers, done := fuzzAnswers(t, &conn.said, bytes.Contains(raw, []byte("HEAD")))
	if size > (answers+1)*fuzzAnswer {
		t.Errorf("%d answers have %d bytes", answers, size)
	}
	if after := agent.state(); !done && after != before {
		t.Errorf("all was refused, and the list is now\n%s", after)
	}
}

// fuzzAnswers reads answers until the end, or until one has no body though
// its head says so, as those to HEAD. done reports whether something may have
// been done.
func fuzzAnswers(t *testing.T, said io.Reader, heads bool) (n int, done bool) {
	for r := bufio.NewReader(said); ; n++ {
		resp, err := http.ReadResponse(r, nil)
		if err == io.ErrUnexpectedEOF || err == io.EOF {
			return n, done || heads
		}
		if err != nil && !heads {
			t.Errorf("answer %d: %v", n, err)
		}
		if err != nil {
			return n, true
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			if !heads {
				t.Errorf("answer %d: %v", n, err)
			}
			return n, true
		}
		media := resp.Header.Get("Content-Type")
		switch {
		case resp.StatusCode == http.StatusSwitchingProtocols:
			return n, true // what follows is not HTTP
		case resp.StatusCode == http.StatusContinue:
		case resp.StatusCode < 300:
			done = true
			if media == "application/json" && !json.Valid(body) {
				if heads { // it was the beginning of the next answer
					return n, true
				}
				t.Errorf("%d %q", resp.StatusCode, body)
			}
		default:
			var refusal wire.ErrorBody
			if resp.StatusCode >= 500 && resp.StatusCode != 503 || media != "application/json" ||
				json.Unmarshal(body, &refusal) != nil || refusal.Error == "" || refusal.Code == "" || !utf8.Valid(body) {
				t.Errorf("%d %s %q", resp.StatusCode, media, body)
			}
		}
	}
}

// FuzzWeb sends any bytes to the port for Prometheus, where nothing can be
// done but read.
func FuzzWeb(f *testing.F) {
	for _, bad := range BadRequests() {
		if len(bad.Raw) < 4096 {
			f.Add([]byte(bad.Raw))
		}
	}
	ok := func([]Param) (CheckResult, error) { return CheckResult{[]byte("AWA OK\n"), true}, nil }
	for _, path := range []string{pathIndex, pathMetrics, pathTargets, pathCheck, pathHealthy, "/check?w=%00", "/sd?x=1",
		"//metrics", "/%6detrics"} {
		f.Add([]byte(message("GET", path, "") + message("HEAD", path, "")))
		f.Add([]byte(message("POST", path, "{}")))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		log := &testaid.Log{}
		s := NewWebServer(&fakeWeb{metrics: text("awa_x 1\n"), targets: text("[]"), check: ok},
			slog.New(slog.NewTextHandler(log, nil)), 0)
		fuzzServe(t, s, newFake(t), raw)
		if log.String() != "" {
			t.Errorf("it logged:\n%s", log)
		}
	})
}
