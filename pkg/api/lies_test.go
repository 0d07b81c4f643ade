package api

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode"

	"are-we-alive/pkg/awa"
)

// said is an answer as a server says it.
func said(status int, heads, body string) *strings.Reader {
	return strings.NewReader(fmt.Sprintf("HTTP/1.1 %d X\r\n%sContent-Length: %d\r\n\r\n%s", status, heads, len(body),
		body))
}

// TestClient_lies answers calls with what are well formed, and that no agent
// sends: nothing of them reaches the caller but a sentence that names what is
// wrong. TestClient_truth are the same without the lie.
func TestClient_lies(t *testing.T) {
	calls := map[string]oneCall{}
	for _, c := range allCalls() {
		calls[c.name] = c
	}
	long := strings.Repeat("9", 20<<10)
	for _, lie := range []struct{ call, old, new, field string }{
		{"GET /ping", `"version":"0.1.0"`, `"version":"` + long + `"`, "version"},
		{"GET /ping", `"version":"0.1.0"`, `"version":"\u001b[2J"`, "version"},
		{"GET /ping", `"name":"n1"`, `"name":"n1\u0000"`, "name"},
		{"GET /ping", `"name":"n1"`, `"name":["n1"]`, "name"},
		{"GET /ping", `"db_state":2`, `"db_state":18446744073709551615`, "db_state"},
		{"GET /ping", `"db_state":2`, `"db_state":18446744073709551616`, ""},
		{"GET /ping", `"db_state":2`, `"db_state":2,"db_state":9223372036854775808`, "db_state"},
		{"GET /ping", `"time_ms":1795423597123`, `"time_ms":-9223372036854775808`, "time_ms"},
		{"GET /ping", `"time_ms":1795423597123`, `"time_ms":1e300`, ""},
		{"GET /ping", `"history":"1-abc71fa72cf3fd26"`, `"history":"18446744073709551615-ab"`, ""},
		{"GET /ping", `"history":"1-abc71fa72cf3fd26"`, `"history":"1-\u001b[2J"`, ""},
		{"GET /ping", `"log_index":4`, `"log_index":4,"voters":{"uids":["` + strings.Repeat(`a","`, 16) + `a"]}`, "voters"},
		{"GET /ping", `"uid":"` + testUID + `"`, `"uid":""`, ""},
		{"GET /ping", `"time":1795423597`, `"time":1795423597,"started":-1`, "started"},
		{"GET /ping", `"time":1795423597`, `"time":1795423597,"boot":"\u001b"`, "boot"},
		{"GET /v1/events", `"event":"offline"`, `"event":"\u001b"`, "event"},
		{"GET /v1/events", `"node":"n7"`, `"node":"n|7"`, "node"},
		{"GET /v1/events", `"id":9`, `"id":0`, "event 0"},
		{"GET /v1/events", `"through":9`, `"through":8`, "event 9"},
		{"GET /v1/events", `"lasted_s":1.5`, `"lasted_s":-1.5`, "lasted_s"},
		{"GET /v1/events", `"lasted_s":1.5`, `"lasted_s":1e300`, ""},
		{"GET /v1/events", `"at":"2026-`, `"at":"0001-`, "at is in the year 1"},
		{"GET /v1/availability", `"online_s":1,`, `"online_s":3,`, "online_s"},
		{"GET /v1/availability", `"name":"n7"`, `"name":"\u001b"`, ""},
		{"GET /v1/notified", `"by":"u"`, `"by":""`, "by is"},
		{"GET /v1/view", `"changed":3`, `"changed":3,"flapping":-1`, "flapping"},
		{"GET /v1/view", `"changed":3`, `"changed":3,"goodbye":{"reason":"\u001b"}`, "reason"},
		{"GET /v1/status", `"agent":"n1"`, `"agent":""`, ""},
		{"GET /v1/status", `"agent":"n1"`, `"agent":"\u001b[31m"`, "agent"},
		{"GET /v1/status", `2026-11-23T18:00:00Z`, `0001-01-01T00:00:01Z`, "swept_at"},
		{"GET /v1/status", `"took_ms":2.5`, `"took_ms":1e308`, "took_ms"},
		{"GET /v1/status", `"took_ms":2.5`, `"took_ms":-1e308`, "took_ms"},
		{"GET /v1/view", `"name":"n7"`, `"name":"n|7"`, "name"},
		{"GET /v1/view", `"port":"25483"`, `"port":"0"`, ""},
		{"GET /v1/view", `"changed":3`, `"changed":3,"rtt_ms":1e308`, "rtt_ms"},
		{"GET /v1/view", `"changed":3`, `"changed":3,"behind":18446744073709551615`, "behind"},
		{"GET /v1/view", `"changed":3`, `"changed":3,"labels":{"a":"\u001b"}`, "label"},
		{"GET /v1/view", `"changed":3`, `"changed":3,"seen_by":["\n"]`, "seen_by"},
		{"GET /v1/view", `"status":null`, `"status":{"uid":"u","name":"n1","version":"\u001b"}`, "version"},
		{"POST /v1/probe", `"id":7`, `"id":8`, "node 8 was not asked"},
		{call: "POST /v1/probe", old: `{"id":7,"verdict":"online","rtt_ms":1.5}`,
			new: `{"id":7,"verdict":"online"},{"id":7,"verdict":"offline"}`, field: "node 7 was not asked"},
		{"POST /v1/probe", `"verdict":"online"`, `"verdict":"fine"`, "verdict"},
		{"POST /v1/probe", `"rtt_ms":1.5`, `"rtt_ms":1e308`, "rtt_ms"},
		{"GET /sync", `[3,`, `[4,`, "change 4 was sent where change 3 must stand"},
		{"GET /sync", `[3,`, `[18446744073709551615,`, "change 18446744073709551615"},
		{"GET /sync", `\"id\":7,`, ``, "change 3"},
		{"GET /sync", `\"port\":\"25483\"`, `\"port\":\"25483\",\"x\":\"` + strings.Repeat("x", awa.MaxData) + `\"`,
			"change 3"},
		{"GET /sync", `,9,2,"k"]`, `,9,2,"k"],[4,"DELETE","{\"id\":7}"]`, "2 changes"},
		{"GET /sync", `,9,2,"k"]`, `,9223372036854775808,2,"k"]`, "index"},
		{"GET /sync", `,9,2,"k"]`, `,9,2,"\r\n"]`, "key"},
		{"GET /sync", "Awa-State: 3", "Awa-State: 2", "state is 2"},
		{"GET /sync", "Awa-State: 3", "Awa-State: x", "Awa-State"},
		{"GET /sync", "Awa-State: 3", "Awa-State: 18446744073709551615", "state"},
		{"GET /sync", "Awa-Cluster: c", "Awa-Cluster: c d", "cluster"},
		{"GET /sync", "Awa-History: 1-ab", "Awa-History: 1", "history"},
		{"GET /v1/changes", `"id":3`, `"id":9`, "change 9"},
		{"GET /v1/changes", `"state":3`, `"state":2`, "state is 2"},
		{"GET /v1/changes", `"host":"10.0.0.7"`, `"host":"\u001b[2J"`, "change 3"},
		{"POST /v1/changes", `{"id":3`, `{"id":0`, "change 0"},
		{"POST /v1/changes", `{"id":3,"node":` + goodNode + `}`, `{}`, "change 0"},
		{"POST /v1/changes", `{"id":3,"node":` + goodNode + `}`, `{"ok":true}`, "change 0"},
		{"POST /v1/changes", `{"id":3,"node":` + goodNode + `}`, `{"id":3}`, "no node"},
		{"POST /v1/changes", `"name":"n7"`, `"name":"n7\u001b[2J"`, "name"},
		{"POST /v1/changes", `"name":"n7"`, `"name":"n8"`, "name"},
		{"POST /v1/changes", `"host":"10.0.0.7"`, `"host":"10.0.0.8"`, "host"},
		{"POST /v1/changes", `"port":"25483"`, `"port":"1"`, "port"},
		{"POST /push", "Change applied", "OK", "other words"},
		{"POST /push", "Change applied", `{"status":"Change applied"}`, "other words"},
		{"POST /push", "Change applied", "", "other words"},
	} {
		t.Run(lie.call+" "+lie.field, func(t *testing.T) {
			c := calls[lie.call]
			heads, body := strings.Replace(c.heads, lie.old, lie.new, 1), strings.Replace(c.body, lie.old, lie.new, 1)
			if heads == c.heads && body == c.body {
				t.Fatalf("%s does not stand in the answer", lie.old)
			}
			_, err := answered(c.make, said(200, heads, body))
			var ping *awa.PingError
			if !errors.As(err, &ping) || ping.Stage != awa.StageReply || !errors.Is(err, awa.ErrNoAgent) ||
				errors.Is(err, awa.ErrBadInput) || !strings.Contains(err.Error(), lie.field) {
				t.Fatalf("%v, want %s", err, lie.field)
			}
			if text := err.Error(); len(text) > awa.MaxText+200 || strings.ContainsFunc(text,
				func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Errorf("the sentence is not fit to be shown: %q", text)
			}
		})
	}
}

// TestClient_truth holds that the answers which the lies are made of are good.
func TestClient_truth(t *testing.T) {
	for _, c := range allCalls() {
		status := 200
		if c.body == "" {
			status = 101
		}
		if _, err := answered(c.make, said(status, c.heads, c.body)); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// TestClient_lies_results holds that a refused answer leaves nothing behind.
func TestClient_lies_results(t *testing.T) {
	var got []any
	for _, c := range []struct {
		body string
		call func(context.Context, *Client) error
	}{
		{strings.Replace(goodPing, "0.1.0", `\u001b`, 1), func(ctx context.Context, c *Client) error {
			self, err := c.Ping(ctx, "127.0.0.1:1", false)
			got = append(got, self)
			return err
		}},
		{strings.Replace(goodStatus, `"took_ms":2.5`, `"took_ms":-1`, 1), func(ctx context.Context, c *Client) error {
			s, err := c.View(ctx, "127.0.0.1:1")
			got = append(got, s)
			return err
		}},
		{strings.Replace(goodChanges, `"state":3`, `"state":2`, 1), func(ctx context.Context, c *Client) error {
			s, err := c.Changes(ctx, "127.0.0.1:1", 2, 1)
			got = append(got, s)
			return err
		}},
		{strings.Replace(goodEdit, `"n7"`, `"n8"`, 1), func(ctx context.Context, c *Client) error {
			id, node, err := c.Edit(ctx, "127.0.0.1:1", theEdit(), 0)
			got = append(got, id, node)
			return err
		}},
	} {
		if _, err := answered(c.call, said(200, "", c.body)); err == nil {
			t.Errorf("%s is believed", c.body)
		}
	}
	for _, v := range got {
		if !reflect.ValueOf(v).IsZero() {
			t.Errorf("a refused answer gave %+v", v)
		}
	}
}

// TestPing_refused answers a ping with an error: it is not from an agent, and its
// code is not a condition of this process.
func TestPing_refused(t *testing.T) {
	ping := func(ctx context.Context, c *Client) error {
		_, err := c.Ping(ctx, "127.0.0.1:1", false)
		return err
	}
	for _, code := range []awa.Code{awa.ErrShortage, awa.ErrStopping, awa.ErrBadInput, "of_the_future"} {
		_, err := answered(ping, said(503, "", `{"error":"so it is","code":"`+string(code)+`"}`))
		const text = "reply: what answers there refuses a ping: so it is"
		if !errors.Is(err, awa.ErrNoAgent) || errors.Is(err, code) || err.Error() != text {
			t.Errorf("%s: %v", code, err)
		}
	}
	if _, err := answered(ping, said(403, "", `{"error":"no","code":"forbidden"}`)); !errors.Is(err, awa.ErrForbidden) {
		t.Errorf("forbidden: %v", err)
	}
}

// TestClient_sentences is about agents that say what speaks to a terminal, or never ends.
func TestClient_sentences(t *testing.T) {
	bad := `\u001b]0;x\u0007\u009b31m|\n` + strings.Repeat("x", 5000)
	want := awa.CleanText("\x1b]0;x\x07\u009b31m|\n" + strings.Repeat("x", 5000))
	var fault *awa.Fault
	if _, err := answered(dialRaft, said(409, "", `{"error":"`+bad+`","code":"conflict"}`)); !errors.As(err, &fault) ||
		fault.Text != want || fault.Code != awa.ErrConflict {
		t.Errorf("a refusal: %v", err)
	}
	if _, err := answered(dialRaft, said(409, "", `{"error":"x","code":"\u001b"}`)); !errors.Is(err, awa.ErrNoAgent) ||
		errors.As(err, &fault) && fault.Code == "\x1b" {
		t.Errorf("a code: %v", err)
	}
	_, err := answered(func(ctx context.Context, c *Client) error {
		s, err := c.View(ctx, "127.0.0.1:1")
		if err == nil && s.Nodes[0].Error != want {
			t.Errorf("the reason of a node: %q", s.Nodes[0].Error)
		}
		return err
	}, said(200, "", strings.Replace(goodStatus, "connection refused", bad, 1)))
	if err != nil {
		t.Error(err)
	}
	_, err = answered(func(ctx context.Context, c *Client) error {
		all, err := c.Probe(ctx, "127.0.0.1:1", []uint64{7}, time.Second)
		if err == nil && all[0].Error != want {
			t.Errorf("the reason of an opinion: %q", all[0].Error)
		}
		return err
	}, said(200, "", strings.Replace(goodProbe, `"rtt_ms":1.5`, `"error":"`+bad+`"`, 1)))
	if err != nil {
		t.Error(err)
	}
}

// TestClient_Ping_keeps holds that what is kept of an answer does not keep the
// rest of it.
func TestClient_Ping_keeps(t *testing.T) {
	body := goodPing[:len(goodPing)-1] + strings.Repeat(" ", 50<<10) + "}"
	var kept []awa.Self
	before := heapInUse()
	for range 200 {
		if _, err := answered(func(ctx context.Context, c *Client) error {
			self, err := c.Ping(ctx, "127.0.0.1:1", false)
			kept = append(kept, self)
			return err
		}, said(200, "", body)); err != nil {
			t.Fatal(err)
		}
	}
	if grown := heapInUse() - before; grown > 5<<20 { // all of it: 10 MB
		t.Errorf("200 answers keep %d bytes", grown)
	}
	if kept[199].Name != "n1" {
		t.Error(kept[199])
	}
}
