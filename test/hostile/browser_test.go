//go:build system

package hostile

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"are-we-alive/test/program"
)

// TestBrowser opens a web page that makes its reader's browser call an agent without a
// key: nothing is read and nothing is changed. People with curl get through,
// and so do our own programs by a name that the agent doesn't know.
func TestBrowser(t *testing.T) {
	a := program.Cluster(t, "", 3)[0]
	const edit = `{"action":"CREATE","data":{"name":"evil","host":"10.6.6.6","port":1}}`
	send := func(method, path, host, body string, headers ...string) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, "http://"+a.Addr()+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host
		for _, h := range headers {
			name, value, _ := strings.Cut(h, ": ")
			req.Header.Set(name, value)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(bytes.TrimSpace(text))
	}
	list := func() string {
		t.Helper()
		code, text := send("GET", "/sync?state=-1", a.Addr(), "")
		if code != http.StatusOK {
			t.Fatalf("%d %s", code, text)
		}
		return text
	}
	before := list()
	for name, c := range map[string]struct {
		host    string
		headers []string
	}{
		"a page of another origin": {a.Addr(), []string{"Origin: http://evil.example"}},
		"a file on the disk":       {a.Addr(), []string{"Origin: null"}},
		"a page without an origin": {a.Addr(), []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors"}},
		"a name bound again":       {"evil.example:" + a.Port(), nil},
		"a page of that name":      {"evil.example:" + a.Port(), []string{"Sec-Fetch-Site: same-origin"}},
		"a name like an address":   {"127.0.0.1.evil.example:" + a.Port(), nil},
	} {
		for _, path := range []string{"/ping", "/status", "/sync?state=-1", "/v1/status", "/v1/nodes", "/v1/changes",
			"/v1/view"} {
			if code, text := send("GET", path, c.host, "", c.headers...); code != http.StatusForbidden ||
				!strings.Contains(text, `"forbidden"`) || !strings.Contains(text, "web page") {
				t.Errorf("%s: GET %s: %d %s", name, path, code, text)
			}
		}
		for _, path := range []string{"/v1/changes", "/push", "/v1/probe", "/v1/raft"} {
			if code, text := send("POST", path, c.host, edit,
				append(c.headers, "Content-Type: text/plain")...); code != http.StatusForbidden {
				t.Errorf("%s: POST %s: %d %s", name, path, code, text)
			}
		}
		if code, text := send("OPTIONS", "/v1/changes", c.host, "",
			append(c.headers, "Access-Control-Request-Method: POST")...); code == http.StatusOK {
			t.Errorf("%s: the preflight is let through: %s", name, text)
		}
	}
	if code, text := send("POST", "/v1/changes", a.Addr(), edit,
		"Content-Type: text/plain"); code != http.StatusForbidden {
		t.Errorf("a form: %d %s", code, text)
	}
	if after := list(); after != before {
		t.Errorf("the list was changed from\n%s\nto\n%s", before, after)
	}

	machine, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{a.Addr(), "localhost:" + a.Port(), "A1:" + a.Port(), "[::1]:" + a.Port(), machine} {
		if code, text := send("GET", "/v1/status", host, ""); code != http.StatusOK {
			t.Errorf("curl to %s: %d %s", host, code, text)
		}
	}
	if code, text := send("POST", "/v1/changes", a.Addr(), strings.ReplaceAll(edit, "evil", "good"),
		"Content-Type: application/x-www-form-urlencoded"); code != http.StatusOK {
		t.Errorf("curl -d: %d %s", code, text)
	}
	if r := program.Run(t, "awa-agent", "node", "remove", "good", "--agent", "localhost:"+a.Port()); r.Code != 0 {
		t.Errorf("node remove: %d %s%s", r.Code, r.Out, r.Errors)
	}
	if r := program.Run(t, "check_awa", "-H", "localhost:"+a.Port()); r.Code != 0 {
		t.Errorf("check_awa: %d %s%s", r.Code, r.Out, r.Errors)
	}
}
