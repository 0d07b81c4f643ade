package server

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"

	"are-we-alive/pkg/awa"
)

// refused checks a refusal: its status, and that its body is one JSON object
// of a sentence and a code. It returns both.
func refused(t *testing.T, r *http.Response, status int) (code, text string) {
	t.Helper()
	var b struct {
		Error string
		Code  string
	}
	body := bodyOf(r)
	if err := json.Unmarshal([]byte(body), &b); err != nil || !utf8.ValidString(body) {
		t.Fatalf("%d with a body that is not JSON (%v): %.200q", r.StatusCode, err, body)
	}
	if r.StatusCode != status || r.Header.Get("Content-Type") != "application/json" || b.Error == "" || b.Code == "" {
		t.Errorf("%d %s\n%s\nwant %d", r.StatusCode, r.Header.Get("Content-Type"), body, status)
	}
	return b.Code, b.Error
}

func TestHandler_badInput(t *testing.T) {
	agent := newFake(t)
	addr, log := serve(t, agent, nil)
	before := agent.state()
	for _, bad := range BadRequests() {
		t.Run(bad.Name, func(t *testing.T) {
			own := strings.NewReplacer("CLUSTER", testCluster, "HISTORY", testHistory, "OWNUID", testUID)
			r := talk(t, addr, own.Replace(bad.Raw), false, "POST")[0]
			code, text := refused(t, r, bad.Status)
			if want := own.Replace(bad.Text); code != bad.Code || text != want {
				t.Errorf("code %s: %s\nwant %s: %s", code, text, bad.Code, want)
			}
			if after := agent.state(); after != before {
				t.Errorf("it changed the list from\n%s\nto\n%s", before, after)
				before = after
			}
		})
	}
	if text := log.String(); text != "" {
		t.Errorf("a client's mistakes are logged:\n%s", text)
	}
}

// TestHandler_method tries every method on every path.
func TestHandler_method(t *testing.T) {
	agent := newFake(t)
	addr, _ := serve(t, agent, nil)
	before := agent.state()
	allowed := map[string]string{
		"/ping": "GET", "/status": "GET", "/sync": "GET", "/push": "POST",
		"/v1/status": "GET", "/v1/changes": "GET, POST", "/v1/raft": "POST", "/v1/probe": "POST", "/v1/view": "GET",
		"/v1/nodes": "GET", "/v1/events": "GET", "/v1/availability": "GET", "/v1/goodbye": "POST",
		"/v1/notified": "GET, POST",
	}
	for _, r := range routes() {
		if allowed[r.path] == "" {
			t.Errorf("the path %s is not tested", r.path)
		}
	}
	for path, allow := range allowed {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "get", "FOO"} {
			if strings.Contains(allow, method) || method == "HEAD" && strings.Contains(allow, "GET") {
				continue
			}
			t.Run(method+" "+path, func(t *testing.T) {
				r := talk(t, addr, message(method, path, ""), false, method)[0]
				if got := r.Header.Get("Allow"); r.StatusCode != 405 || got != allow {
					t.Fatalf("%d with Allow: %q, want 405 with %q", r.StatusCode, got, allow)
				}
				if method == "HEAD" { // without a body
					return
				}
				code, text := refused(t, r, 405)
				if want := path + " does not take " + method + ": use " + allow; code != "method_not_allowed" || text != want {
					t.Errorf("code %s: %s\nwant %s", code, text, want)
				}
			})
		}
	}
	if after := agent.state(); after != before {
		t.Errorf("the list was changed to\n%s", after)
	}
}

// TestHandler_noList has an agent that has not joined yet refuse what needs
// a list, and answer pings.
func TestHandler_noList(t *testing.T) {
	agent := newFake(t)
	agent.self.Cluster, agent.self.History, agent.self.Leader = "", awa.History{}, ""
	agent.err = &awa.Fault{Code: awa.ErrNotJoined, Text: "agent n1 holds no list yet: ask another one, or wait until " +
		"it has joined"}
	addr, _ := serve(t, agent, nil)
	for name, raw := range map[string]string{
		"status":    message("GET", "/status", ""),
		"sync":      message("GET", "/sync?state=-1", ""),
		"push":      message("POST", "/push", `{"id":3,"action":"DELETE","data":"{\"id\":2}"}`),
		"v1 status": message("GET", "/v1/status", ""),
		"changes":   message("GET", "/v1/changes", ""),
		"edit":      message("POST", "/v1/changes", `{"action":"DELETE","data":{"id":2}}`),
		"events":    message("GET", "/v1/events", ""),
		"shares":    message("GET", "/v1/availability", ""),
		"goodbye":   message("POST", "/v1/goodbye", `{"reason":"signal"}`, "Awa-Uid: x", "Awa-State: 0"),
		"notified":  message("GET", "/v1/notified", ""),
		"notify":    message("POST", "/v1/notified", `{"notified":[]}`),
		"raft":      message("POST", "/v1/raft", "", "Connection: Upgrade", "Upgrade: awa-raft/1", "Awa-Uid: x", "Awa-State: 0"),
	} {
		t.Run(name, func(t *testing.T) {
			code, text := refused(t, talk(t, addr, raw, false, "POST")[0], 503)
			if want := "agent n1 holds no list yet: ask another one, or wait until it has joined"; code != "not_joined" ||
				text != want {
				t.Errorf("code %s: %s", code, text)
			}
		})
	}
	if r := talk(t, addr, message("GET", "/ping", ""), false, "GET")[0]; r.StatusCode != 200 ||
		!strings.Contains(bodyOf(r), `"cluster":"","history":""`) {
		t.Errorf("ping: %d %s", r.StatusCode, bodyOf(r))
	}
}
