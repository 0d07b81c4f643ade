package server_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"are-we-alive/pkg/api"
	"are-we-alive/pkg/api/server"
	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/awatest/testaid"
	"are-we-alive/pkg/daemon"
)

// TestDaemon_badInput sends every bad request to a whole agent: the refusals
// are those of the fake agent, and nothing is changed, in memory or on disk.
func TestDaemon_badInput(t *testing.T) {
	dir := t.TempDir()
	addr, stop := run(t, dir)
	c := api.NewClient(api.ClientConfig{})
	t.Cleanup(c.Close)
	testaid.Await(t, 20*time.Second, func() error { // the agent registers itself
		_, err := c.Sync(t.Context(), addr, awa.Position{}, 0)
		if err == nil && get(t, addr, "/sync?state=0") == "[]" {
			err = fmt.Errorf("the list is empty")
		}
		return err
	})
	if id, _, err := c.Edit(t.Context(), addr,
		awa.Edit{Action: awa.Create, Data: []byte(`{"name":"n2","host":"127.0.0.2","port":1}`)}, 0); err != nil || id != 2 {
		t.Fatalf("%v: change %d", err, id)
	}
	self, err := c.Ping(t.Context(), addr, false)
	if err != nil {
		t.Fatal(err)
	}
	own := strings.NewReplacer("CLUSTER", self.Cluster, "HISTORY", self.History.String(), "OWNUID", self.UID)
	before := get(t, addr, "/sync?state=-1")
	for _, bad := range server.BadRequests() {
		if strings.HasPrefix(bad.Name, "push, ") && strings.HasPrefix(bad.Text, "apply change") {
			// This agent leads, so that it doesn't even look at the change.
			bad.Status, bad.Code, bad.Text = 409, "conflict", "this agent is the leader: it decides the changes and takes "+
				"none from others, nothing was changed"
		}
		resp, body := send(t, addr, own.Replace(bad.Raw))
		var refusal struct{ Error, Code string }
		if err := json.Unmarshal(body, &refusal); err != nil || resp.StatusCode != bad.Status || refusal.Code != bad.Code ||
			refusal.Error != own.Replace(bad.Text) {
			t.Errorf("%s: %d %s\nwant %d %s: %s", bad.Name, resp.StatusCode, body, bad.Status, bad.Code, own.Replace(bad.Text))
		}
		if after := get(t, addr, "/sync?state=-1"); after != before {
			t.Fatalf("%s: it changed the list from\n%s\nto\n%s", bad.Name, before, after)
		}
	}
	stop()
	addr, _ = run(t, dir)
	// It has another port now, so that an UPDATE of its own may follow.
	if after := get(t, addr, "/sync?state=-1"); !strings.HasPrefix(after, strings.TrimSuffix(before, "]")) {
		t.Errorf("on disk is\n%s\nwant\n%s", after, before)
	}
}

// run starts an agent, the first of its cluster.
func run(t *testing.T, dir string) (addr string, stop func()) {
	t.Helper()
	var mu sync.Mutex
	var log bytes.Buffer
	d, err := daemon.Open(daemon.Config{
		Name: "n1", Host: "127.0.0.1", Listen: "127.0.0.1:0", DataDir: dir, First: true,
		Log: slog.New(slog.NewTextHandler(writer(func(b []byte) { mu.Lock(); log.Write(b); mu.Unlock() }), nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
		if text := log.String(); strings.Contains(text, "level=ERROR") {
			t.Errorf("it logged:\n%s", text)
		}
	})
	t.Cleanup(stop)
	return d.Addr(), stop
}

type writer func([]byte)

func (w writer) Write(b []byte) (int, error) { w(b); return len(b), nil }

func get(t *testing.T, addr, target string) string {
	t.Helper()
	resp, body := send(t, addr, "GET "+target+" HTTP/1.1\r\nHost: n1\r\n\r\n")
	if resp.StatusCode != 200 {
		t.Fatalf("%s: %d %s", target, resp.StatusCode, body)
	}
	return string(body)
}

// send returns the final answer to a request.
func send(t *testing.T, addr, raw string) (*http.Response, []byte) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	sent := make(chan struct{})
	go func() { // the agent may answer and close before it has read all
		defer close(sent)
		io.WriteString(conn, raw)
	}()
	defer func() { conn.Close(); <-sent }()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("%.100q: %v", raw, err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, body
}
