//go:build system

package hostile

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"are-we-alive/test/program"
)

// impostor answers in place of an agent: a node list with n1, and to the nth
// edit the nth of these, then the last one over and over. "" is none, a text
// that begins with { one with 200, CODE a refusal.
func impostor(t *testing.T, edits ...string) (addr string, asked *atomic.Int64) {
	t.Helper()
	asked = &atomic.Int64{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Awa-Cluster", "c")
		w.Header().Set("Awa-History", "1-ab")
		w.Header().Set("Awa-State", "1")
		switch {
		case r.Method == http.MethodPost:
		case r.URL.Path == "/v1/nodes":
			fmt.Fprint(w, `{"cluster":"c","history":"1-ab","state":1,"nodes":[{"id":1,"name":"n1","host":"10.0.0.1",`+
				`"port":"1","changed":1}]}`)
			return
		default: // as older ones ask
			fmt.Fprint(w, `[[1,"CREATE","{\"id\":1,\"name\":\"n1\",\"host\":\"10.0.0.1\",\"port\":\"1\"}"]]`)
			return
		}
		switch a := edits[min(int(asked.Add(1)), len(edits))-1]; {
		case a == "":
			panic(http.ErrAbortHandler)
		case strings.HasPrefix(a, "{"):
			fmt.Fprint(w, a)
		default:
			w.WriteHeader(http.StatusConflict)
			fmt.Fprintf(w, `{"error":"so it is: \u001b[2J\u009b2J","code":%q}`, a)
		}
	}))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://"), asked
}

// TestCommands edits through what is not the agent that it should be. What the
// commands say must be true, and must not reach the terminal as anything but
// text.
func TestCommands(t *testing.T) {
	const unknown = "it is not known whether the edit was made"
	const made = `{"id":2,"node":{"id":1,"name":"n1","host":"10.0.0.1","port":"1","labels":{"x":"y"},"changed":2}}`
	for name, c := range map[string]struct {
		edits []string
		args  string // of node, where it matters
		code  int
		says  string
		never string
	}{
		"an empty answer":              {[]string{`{}`}, "", 1, unknown, "is node 0"},
		"an answer to something else":  {[]string{`{"ok":true,"data":[]}`}, "", 1, unknown, "is node 0"},
		"an empty answer to a removal": {[]string{`{}`}, "remove n1", 1, unknown, "Removed"},
		"a name that steers": {edits: []string{`{"id":2,"node":{"id":1,"name":"\u001b]0;x\u0007","host":"h","port":"1",` +
			`"changed":2}}`}, code: 1, says: unknown, never: "is node"},
		"lost, then made":              {[]string{"", made}, "", 0, "n1 is node 1 at 10.0.0.1:1 (change 2).", ""},
		"lost three times":             {[]string{""}, "", 1, unknown, "is it running"},
		"lost, then another cluster":   {[]string{"", "other_cluster"}, "", 1, unknown, ""},
		"lost, then forbidden":         {[]string{"", "forbidden"}, "", 1, unknown, ""},
		"lost, then the name is taken": {[]string{"", "name_taken"}, "add n1 10.0.0.1 1", 1, unknown, ""},
		"refused":                      {[]string{"name_taken"}, "add n1 10.0.0.1 1", 1, "so it is", unknown},
		"not known":                    {[]string{"unknown_outcome"}, "", 1, unknown, ""},
	} {
		t.Run(name, func(t *testing.T) {
			addr, _ := impostor(t, c.edits...)
			args := c.args
			if args == "" {
				args = "set n1 --label x=y"
			}
			for _, output := range []string{"table", "json"} {
				r := program.Run(t, "awa-agent", append(append([]string{"node"}, strings.Fields(args)...), "--agent", addr,
					"-o", output)...)
				if all := r.Out + r.Errors; r.Code != c.code || output == "table" && !strings.Contains(all, c.says) ||
					c.never != "" && strings.Contains(all, c.never) || r.Code != 0 && r.Out != "" {
					t.Errorf("exit code %d\n%q\n%q\nwant %d and %q", r.Code, r.Out, r.Errors, c.code, c.says)
				}
				steers(t, r.Out+r.Errors)
				if len(c.edits) > 1 {
					break // the next one would begin with the last answer
				}
			}
		})
	}
	t.Run("the agent goes away after a lost answer", func(t *testing.T) {
		var s *httptest.Server
		s = httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			s.Listener.Close()
			panic(http.ErrAbortHandler)
		}))
		defer s.Close()
		r := program.Run(t, "awa-agent", "node", "add", "n2", "10.0.0.2", "--agent", strings.TrimPrefix(s.URL, "http://"))
		if r.Code != 1 || !strings.Contains(r.Errors, unknown) || strings.Contains(r.Errors, "is it running") {
			t.Errorf("%d %s%s", r.Code, r.Out, r.Errors)
		}
	})
	t.Run("nobody is there", func(t *testing.T) {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ln.Close()
		r := program.Run(t, "awa-agent", "node", "add", "n2", "10.0.0.2", "--agent", ln.Addr().String())
		if r.Code != 1 || strings.Contains(r.Errors, unknown) || !strings.Contains(r.Errors, "is it running") {
			t.Errorf("%d %s%s", r.Code, r.Out, r.Errors)
		}
	})
}

// TestCommands_read lists what an impostor says.
func TestCommands_read(t *testing.T) {
	const evil = `\u001b]0;owned\u0007\u009b31m\u202e`
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch r.URL.Path {
		case "/v1/changes":
			fmt.Fprint(w, `{"cluster":"c","history":"1-ab","state":1,"changes":[`)
			if r.URL.Query().Get("since") == "0" {
				fmt.Fprint(w, `{"id":1,"action":"CREATE","data":{"id":1,"name":"n1","host":"h",`+
					`"port":"1","by":"`+strings.ReplaceAll(evil, `\u001b]0;owned\u0007`, "")+`"}}`)
			}
			fmt.Fprint(w, `]}`)
		case "/v1/nodes":
			fmt.Fprint(w, `{"cluster":"c","history":"1-ab","state":1,"nodes":[{"id":1,"name":"n1","host":"h","port":"1",`+
				`"maintenance":"2199-01-01T00:00:00Z","changed":1,"labels":{"a":"`+strings.ReplaceAll(evil,
				`\u001b]0;owned\u0007`, "")+`"}}]}`)
		default:
			w.WriteHeader(http.StatusConflict)
			fmt.Fprint(w, `{"error":"`+evil+`","code":"`+evil+`"}`)
		}
	}))
	defer s.Close()
	for _, args := range []string{"node list", "node list -o json", "changes", "changes -o json", "backup x"} {
		r := program.Run(t, "awa-agent", append(strings.Fields(args), "--agent", strings.TrimPrefix(s.URL, "http://"))...)
		if r.Out+r.Errors == "" {
			t.Errorf("%s says nothing", args)
		}
		steers(t, r.Out+r.Errors)
	}
}

// steers fails the test when a terminal would act on a text.
func steers(t *testing.T, text string) {
	t.Helper()
	if strings.ContainsAny(text, "\x1b\x07\x7f\u009b\u202e") {
		t.Errorf("this reaches the terminal: %q", text)
	}
}
