package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"are-we-alive/pkg/awa"
)

// answers is a server that answers each edit with one of these, the last one over
// and over. "" is a connection that ends without an answer, a text that begins
// with { an answer with 200, CODE a refusal. Its list has one node, n1.
func answers(t *testing.T, edits *atomic.Int64, all ...string) (addr string) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.Method == http.MethodGet {
			fmt.Fprint(w, `{"cluster":"c","history":"1-ab","state":5,"nodes":[{"id":1,"name":"n1","host":"h","port":"1",`+
				`"changed":5}]}`)
			return
		}
		switch a := all[min(int(edits.Add(1)), len(all))-1]; {
		case a == "":
			panic(http.ErrAbortHandler)
		case strings.HasPrefix(a, "{"):
			fmt.Fprint(w, a)
		default:
			w.WriteHeader(http.StatusConflict)
			fmt.Fprintf(w, `{"error":"so says %s","code":%q}`, a, a)
		}
	}))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

// TestEdit_outcome checks that a command says what is true after each course of things.
func TestEdit_outcome(t *testing.T) {
	const (
		made    = `{"id":6,"node":{"id":1,"name":"n1","host":"h","port":"2","changed":6}}`
		unknown = "it is not known whether the edit was made: it was sent to the agent at ADDR and got no definite " +
			"answer (reply: the connection was closed without an answer)"
		after = "; see awa-agent node list or awa-agent changes, and repeat the command if the edit is not there\n"
		odd   = "reply: something answers there that is not an awa-agent"
	)
	then := func(code awa.Code) string {
		return unknown + ", and a further try got: so says " + string(code) + after
	}
	for name, c := range map[string]struct {
		answers []string
		tries   int64
		code    int
		errs    string // the beginning of it, or all when it ends a line
	}{
		"made":                              {[]string{made}, 1, 0, ""},
		"lost, then made":                   {[]string{"", made}, 2, 0, ""},
		"lost twice, then made":             {[]string{"", "", made}, 3, 0, ""},
		"lost":                              {[]string{""}, editTries, 1, unknown + after},
		"refused":                           {[]string{string(awa.ErrNameTaken)}, 1, 1, "so says name_taken\n"},
		"of another cluster":                {[]string{string(awa.ErrOtherCluster)}, 1, 1, "so says other_cluster\n"},
		"no majority":                       {[]string{string(awa.ErrNoMajority)}, 1, 1, "so says no_majority\n"},
		"lost, then of another cluster":     {[]string{"", string(awa.ErrOtherCluster)}, 2, 1, then(awa.ErrOtherCluster)},
		"lost, then forbidden":              {[]string{"", string(awa.ErrForbidden)}, 2, 1, then(awa.ErrForbidden)},
		"lost, then taken":                  {[]string{"", string(awa.ErrNameTaken)}, 2, 1, then(awa.ErrNameTaken)},
		"lost, then changed":                {[]string{"", string(awa.ErrConflict)}, 2, 1, then(awa.ErrConflict)},
		"lost, then no majority, then made": {[]string{"", string(awa.ErrNoMajority), made}, 3, 0, ""},
		"lost, then no majority":            {[]string{"", string(awa.ErrNoMajority)}, editTries, 1, then(awa.ErrNoMajority)},
		"lost, then malformed":              {[]string{"", string(awa.ErrBadInput)}, 2, 1, "so says bad_input\n"},
		"unknown": {answers: []string{string(awa.ErrUnknownOutcome)}, tries: editTries, code: 1,
			errs: strings.Replace(unknown, "reply: the connection was closed without an answer", "so says unknown_outcome",
				1) + after},
		"unknown, then made": {[]string{string(awa.ErrUnknownOutcome), made}, 2, 0, ""},
		"an empty object": {answers: []string{`{}`}, tries: 1, code: 1, errs: "it is not known whether the edit was " +
			"made: it was sent to the agent at ADDR and got no definite answer (" + odd},
		"no change": {[]string{strings.Replace(made, `"id":6`, `"id":0`, 1)}, 1, 1, "it is not known"},
		"a name that is none": {answers: []string{strings.Replace(made, `n1`, `\u001b]0;x\u0007`, 1)}, tries: 1, code: 1,
			errs: "it is not known"},
		"changed by somebody else, then ok": {[]string{string(awa.ErrConflict), string(awa.ErrConflict), made}, 3, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var edits atomic.Int64
			addr := answers(t, &edits, c.answers...)
			out, errs := &bytes.Buffer{}, &bytes.Buffer{}
			code := run(t.Context(), []string{"node", "set", "n1", "--port", "2", "--key-file=", "--agent", addr}, nil, out,
				errs)
			want := strings.ReplaceAll(c.errs, "ADDR", addr)
			if want != "" {
				want = "awa-agent: " + want
			}
			got := errs.String()
			if code != c.code || edits.Load() != c.tries || !strings.HasPrefix(got, want) || strings.HasSuffix(want, "\n") &&
				got != want || want == "" && got != "" {
				t.Errorf("%d tries, exit code %d with\n%q, want %d tries, %d with\n%q", edits.Load(), code, got, c.tries,
					c.code, want)
			}
			if wantOut := map[int]string{0: "n1 is node 1 at h:2 (change 6).\n"}[c.code]; out.String() != wantOut {
				t.Errorf("it printed %q", out)
			}
		})
	}
}

// TestEdit_gone has the agent go away after it has lost an answer: what was
// sent may have been done, so that "not reached" would not be true.
func TestEdit_gone(t *testing.T) {
	var addr string
	var s *httptest.Server
	s = httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		s.Listener.Close()
		panic(http.ErrAbortHandler)
	}))
	defer s.Close()
	addr = strings.TrimPrefix(s.URL, "http://")
	errs := &bytes.Buffer{}
	code := run(t.Context(), []string{"node", "add", "n2", "h", "--key-file=", "--agent", addr}, nil, errs, errs)
	if text := errs.String(); code != 1 || !strings.Contains(text, "it is not known whether the edit was made") ||
		!strings.Contains(text, syscall.ECONNREFUSED.Error()) || strings.Contains(text, "is it running") {
		t.Errorf("%d %s", code, text)
	}
}

// TestEdit_conflicts stops at a node that changes under every try.
func TestEdit_conflicts(t *testing.T) {
	t.Parallel()
	var edits atomic.Int64
	addr := answers(t, &edits, string(awa.ErrConflict))
	errs := &bytes.Buffer{}
	code := run(t.Context(), []string{"node", "remove", "n1", "--key-file=", "--agent", addr}, nil, errs, errs)
	if code != 1 || edits.Load() != editConflicts || errs.String() != "awa-agent: so says conflict\n" {
		t.Errorf("%d tries, %d %s", edits.Load(), code, errs)
	}
}

// TestEdit_interrupted has nothing sent, and says so.
func TestEdit_interrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	}))
	defer s.Close()
	errs := &bytes.Buffer{}
	code := run(ctx, []string{"node", "remove", "n1", "--key-file=", "--agent", strings.TrimPrefix(s.URL, "http://")},
		nil, errs, errs)
	if want := "awa-agent: interrupted before an edit was sent: nothing was changed\n"; code != 1 ||
		errs.String() != want {
		t.Errorf("%d %s", code, errs)
	}
}

// TestPrintable writes what a terminal would act on as its number.
func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"web1 ü 日本 €": "web1 ü 日本 €", "\x1b[2J": `\u001b[2J`, "a\nb\tc\r": `a\u000ab\u0009c\u000d`,
		"\x7f\u009b1m":  `\u007f\u009b1m`,
		"\u202egnp.exe": `\u202egnp.exe`, "x\u2028y": `x\u2028y`, "\x9b1m": "\ufffd1m",
	} {
		if got := printable(in); got != want {
			t.Errorf("%q is printed as %q, want %q", in, got, want)
		}
	}
	var b bytes.Buffer
	if err := printJSON(&b, map[string]string{"a": "\x1b\u009b\u202e\n"}); err != nil || b.String() != "{\n  \"a\": "+
		"\"\\u001b\\u009b\\u202e\\n\"\n}\n" {
		t.Errorf("%v %q", err, b.String())
	}
}
