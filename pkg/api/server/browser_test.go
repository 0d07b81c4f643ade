package server

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"

	"are-we-alive/pkg/api"
	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/awatest/testaid"
)

// TestHandler_browser refuses what a web page makes a browser send.
func TestHandler_browser(t *testing.T) {
	const page = "a web page asks (the request has the header Origin or Sec-Fetch-Site), and no page may: use " +
		"awa-agent, check_awa or curl"
	const edit = `{"action":"DELETE","data":{"id":2}}`
	host := func(name string) string {
		return "the request is for " + name + ", which is not a name of this agent, so a web page may have sent it: use " +
			"the agent's IP address, its name or its host on the node list, or give the agents a key"
	}
	media := func(m string) string {
		return "a body that says it is " + m + " may come from a web page, and no page may ask: send Content-Type: " +
			"application/json"
	}
	raw := func(first string, headers ...string) string {
		return first + " HTTP/1.1\r\n" + strings.Join(append(headers, "\r\n"), "\r\n")
	}
	for name, c := range map[string]struct {
		send string
		want string // "" for an answer
	}{
		"another origin":  {message("GET", "/ping", "", "Origin: http://evil.example"), page},
		"its own origin":  {message("GET", "/ping", "", "Origin: http://n1"), page},
		"the origin null": {message("GET", "/v1/status", "", "Origin: null"), page},
		"an empty origin": {message("GET", "/v1/status", "", "Origin:"), page},
		"an edit":         {message("POST", "/v1/changes", edit, "Origin: http://evil.example", "Content-Type: text/plain"), page},
		"a push":          {message("POST", "/push", edit, "origin: x"), page},
		"a probe":         {message("POST", "/v1/probe", `{"nodes":[2]}`, "ORIGIN: x"), page},
		"a preflight":     {message("OPTIONS", "/v1/changes", "", "Origin: x", "Access-Control-Request-Method: POST"), page},
		"an unknown path": {message("GET", "/x", "", "Origin: x"), page},
		"another site":    {message("GET", "/ping", "", "Sec-Fetch-Site: cross-site"), page},
		"the same site":   {message("GET", "/ping", "", "Sec-Fetch-Site: same-origin"), page},
		"a typed address": {message("GET", "/ping", "", "Sec-Fetch-Site: none"), ""},
		"a form":          {message("POST", "/v1/changes", edit, "Content-Type: Text/Plain; charset=utf-8"), media("text/plain")},
		"a form with files": {message("POST", "/v1/changes", edit, "Content-Type: multipart/form-data"),
			media("multipart/form-data")},
		"curl -d":                {message("POST", "/v1/changes", edit, "Content-Type: application/x-www-form-urlencoded"), ""},
		"JSON":                   {message("POST", "/v1/changes", edit, "Content-Type: application/json"), ""},
		"a name that was bound":  {raw("GET /v1/status", "Host: evil.example:25483"), host("evil.example:25483")},
		"a name like an address": {raw("GET /v1/status", "Host: 127.0.0.1.evil.example"), host("127.0.0.1.evil.example")},
		"the name of the target": {raw("GET http://evil.example/ping", "Host: n1"), host("evil.example")},
		"a name like ours":       {raw("GET /ping", "Host: n1.evil.example"), host("n1.evil.example")},
		"our name":               {raw("GET /ping", "Host: N1:25483"), ""},
		"our host":               {raw("GET /ping", "Host: Web1.Example.com.:1"), ""},
		"localhost":              {raw("GET /ping", "Host: localhost:25483"), ""},
		"an address":             {raw("GET /ping", "Host: 10.1.2.3"), ""},
		"an address with a port": {raw("GET /ping", "Host: 10.1.2.3:80"), ""},
		"IPv6":                   {raw("GET /ping", "Host: [::1]:25483"), ""},
		"IPv6 without a port":    {raw("GET /ping", "Host: [fe80::1]"), ""},
		"HTTP/1.0":               {"GET /ping HTTP/1.0\r\n\r\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			agent := newFake(t)
			before := agent.state()
			s := NewServer(Config{Agent: agent, Log: slog.New(slog.DiscardHandler),
				Hosts: func() []string { return []string{"n1", "", "web1.example.com"} }})
			addr := testaid.Serve(t, s)
			method, _, _ := strings.Cut(c.send, " ")
			r := talk(t, addr, c.send, false, method)[0]
			if c.want == "" {
				if r.StatusCode != 200 {
					t.Errorf("%s %s", r.Status, bodyOf(r))
				}
				return
			}
			if code, text := refused(t, r, http.StatusForbidden); code != string(awa.ErrForbidden) || text != c.want {
				t.Errorf("%s: %s\nwant %s", code, text, c.want)
			}
			if agent.state() != before || r.Header.Get("Access-Control-Allow-Origin") != "" {
				t.Error("the list was changed, or the page may read the refusal")
			}
		})
	}
}

// TestWeb_browser lets people look at the second port with a browser, and no
// page read it.
func TestWeb_browser(t *testing.T) {
	addr, _ := openWeb(t, &fakeWeb{metrics: text("awa_x 1\n")})
	for name, c := range map[string]struct {
		headers []string
		status  int
	}{
		"Prometheus, by any name": {[]string{"User-Agent: Prometheus/3"}, 200},
		"a typed address":         {[]string{"Sec-Fetch-Site: none", "Sec-Fetch-Dest: document"}, 200},
		"a link":                  {[]string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Dest: document"}, 200},
		"a page's fetch":          {[]string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Dest: empty"}, 403},
		"a page of a bound name":  {[]string{"Sec-Fetch-Site: same-origin", "Sec-Fetch-Dest: empty"}, 403},
		"a frame":                 {[]string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Dest: iframe"}, 403},
		"an origin":               {[]string{"Origin: http://evil.example", "Sec-Fetch-Dest: document"}, 403},
	} {
		if r := talk(t, addr, message("GET", "/metrics", "", c.headers...), false, "GET")[0]; r.StatusCode != c.status {
			t.Errorf("%s: %s", name, r.Status)
		}
	}
}

// TestClient_host has our client ask by whatever name: what it sends as Host
// is an address.
func TestClient_host(t *testing.T) {
	agent := newFake(t)
	addr := testaid.Serve(t, NewServer(Config{Agent: agent, Log: slog.New(slog.DiscardHandler),
		Hosts: func() []string { return nil }}))
	c := api.NewClient(api.ClientConfig{Dial: func(ctx context.Context, network, at string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, addr) // wherever the name leads
	}})
	defer c.Close()
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"127.0.0.1", "localhost", "ip6-localhost"} {
		if self, err := c.Ping(t.Context(), net.JoinHostPort(name, port), true); err != nil && name != "ip6-localhost" ||
			err == nil && self.Name != "n1" {
			t.Errorf("as %s: %v", name, err)
		}
	}
}
