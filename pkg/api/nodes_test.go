package api

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"are-we-alive/pkg/awa"
)

// TestClient_Nodes takes a list, and nothing that can't be one.
func TestClient_Nodes(t *testing.T) {
	const n1, n3 = `{"id":1,"name":"n1","host":"h","port":"1","labels":{"a":"b"},"changed":2}`,
		`{"id":3,"name":"n3","host":"::1","port":1,"changed":5}`
	body := func(nodes string) string { return `{"cluster":"c","history":"1-ab","state":5,"nodes":[` + nodes + `]}` }
	for name, c := range map[string]struct {
		body string
		ok   bool
	}{
		"two nodes":           {body(n1 + "," + n3), true},
		"none":                {body(""), true},
		"no list":             {`{}`, false},
		"no JSON":             {`<html>`, false},
		"one node twice":      {body(n1 + "," + n1), false},
		"the order":           {body(n3 + "," + n1), false},
		"no id":               {body(strings.Replace(n1, `"id":1`, `"id":0`, 1)), false},
		"a name that is none": {body(strings.Replace(n1, "n1", `\u001b[2J`, 1)), false},
		"a host that is none": {body(strings.Replace(n1, `"h"`, `"a b"`, 1)), false},
		"no port":             {body(`{"id":1,"name":"n1","host":"h","changed":2}`), false},
		"a bad label":         {body(strings.Replace(n1, `"b"`, `"\u0007"`, 1)), false},
		"a later change":      {body(strings.Replace(n1, `"changed":2`, `"changed":6`, 1)), false},
		"no change":           {body(strings.Replace(n1, `"changed":2`, `"changed":0`, 1)), false},
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, c.body) }))
			defer s.Close()
			client := NewClient(ClientConfig{})
			defer client.Close()
			set, err := client.Nodes(t.Context(), strings.TrimPrefix(s.URL, "http://"))
			if c.ok != (err == nil) || !c.ok && !errors.Is(err, awa.ErrNoAgent) || len(set.Nodes) > 0 && set.Nodes[1].Port != 1 {
				t.Errorf("%+v, %v", set, err)
			}
		})
	}
}

// remote is a connection with an address.
type remote struct {
	net.Conn
	at net.Addr
}

func (r remote) RemoteAddr() net.Addr { return r.at }

// TestHostOf has requests name the address that they went to, so that an alias
// in DNS will do for an agent that has no key and doesn't know it.
func TestHostOf(t *testing.T) {
	tcp := func(ip, zone string) net.Addr { return &net.TCPAddr{IP: net.ParseIP(ip), Port: 80, Zone: zone} }
	for want, at := range map[string]net.Addr{
		"10.0.0.1:80": tcp("10.0.0.1", ""), "[fe80::1]:80": tcp("fe80::1", "eth0"), "10.0.0.2:80": tcp("::ffff:10.0.0.2", ""),
		"alias.example.com:80": &net.UnixAddr{Name: "x"},
	} {
		if got := hostOf(remote{at: at}, "alias.example.com:80"); got != want {
			t.Errorf("%v: %s, want %s", at, got, want)
		}
	}
	for _, addr := range []string{"10.0.0.1:80", "[fe80::1]:80"} {
		if got := hostOf(remote{at: tcp("10.0.0.9", "")}, addr); got != addr {
			t.Errorf("%s: %s, want itself", addr, got)
		}
	}
	if got := hostOf(remote{at: tcp("fe80::1", "eth0")}, "[fe80::1%eth0]:80"); got != "[fe80::1]:80" {
		t.Errorf("the zone is sent: %s", got)
	}
}
