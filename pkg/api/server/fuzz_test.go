package server

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/valyala/fasthttp"

	"are-we-alive/pkg/api/internal/wire"
	"are-we-alive/pkg/awatest/testaid"
)

// script is a connection whose other side has said all it will say.
type script struct {
	io.Reader
	said bytes.Buffer
}

func (s *script) Write(b []byte) (int, error)      { return s.said.Write(b) }
func (s *script) Close() error                     { return nil }
func (s *script) LocalAddr() net.Addr              { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 25483} }
func (s *script) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 40000} }
func (s *script) SetDeadline(time.Time) error      { return nil }
func (s *script) SetReadDeadline(time.Time) error  { return nil }
func (s *script) SetWriteDeadline(time.Time) error { return nil }

// FuzzServer sends any bytes: each answer is whole, each refusal is one of
// ours, nothing panics, and what was only refused has changed nothing.
func FuzzServer(f *testing.F) {
	for _, bad := range BadRequests() {
		if len(bad.Raw) < 4096 {
			f.Add([]byte(bad.Raw))
		}
	}
	f.Add([]byte(message("GET", "/ping", "") + message("HEAD", "/status", "") + message("GET", "/sync?state=-1", "")))
	f.Add([]byte(message("POST", "/v1/changes", `{"action":"CREATE","data":{"name":"n3","host":"h","port":1}}`,
		"Idempotency-Key: k")))
	f.Add([]byte(message("POST", "/push", `{"id":3,"action":"DELETE","data":"{\"id\":2}"}`)))
	f.Add([]byte(message("POST", "/v1/probe", `{"nodes":[1,2],"within_ms":1}`)))
	f.Add([]byte(chunked("POST", "/v1/changes", `{"action":"DELETE",`, `"data":{"id":2}}`)))
	f.Add([]byte("GET /ping HTTP/1.0\r\n\r\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		agent, log := newFake(t), &testaid.Log{}
		s := NewServer(Config{Agent: agent, Log: slog.New(slog.NewTextHandler(log, nil))})
		fuzzServe(t, s, agent, raw)
		if log.String() != "" {
			t.Errorf("it logged:\n%s", log)
		}
	})
}

// FuzzReadBody holds our JSON library to the standard one: what is not JSON is
// refused, and what both read means the same.
func FuzzReadBody(f *testing.F) {
	for _, bad := range BadRequests() {
		if _, body, ok := strings.Cut(bad.Raw, "\r\n\r\n"); ok && len(body) < 4096 {
			f.Add([]byte(body))
		}
	}
	f.Add([]byte(`{"ACTION":"CREATE","Data":{"n\u0061me":"\ud83d\ude00"},"if_changed":1e1}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		ctx := &fasthttp.RequestCtx{}
		ctx.Request.SetBody(body)
		var ours, theirs wire.EditBody
		err, want := readBody(ctx, &ours, "x"), json.Unmarshal(body, &theirs)
		if err == nil && (want != nil || !utf8.Valid(body)) {
			t.Errorf("%q is read, though it is %v", body, want)
		}
		if err == nil && want == nil && (ours.Action != theirs.Action || ours.IfChanged != theirs.IfChanged ||
			!bytes.Equal(bytes.TrimSpace(ours.Data), bytes.TrimSpace(theirs.Data))) {
			t.Errorf("%q is read as %+v, not %+v", body, ours, theirs)
		}
		var push, pushed wire.PushBody
		err, want = readBody(ctx, &push, "x"), json.Unmarshal(body, &pushed)
		if err == nil && (want != nil || push != pushed) {
			t.Errorf("%q is read as %+v, not %+v (%v)", body, push, pushed, want)
		}
	})
}
