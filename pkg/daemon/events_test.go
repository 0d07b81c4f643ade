package daemon_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/awatest"
	"are-we-alive/pkg/daemon"
)

// happened returns what agent i says of a node, as "event: why", except of health codes.
func happened(t *testing.T, c *awatest.Cluster, i int, node string) (lines []string) {
	t.Helper()
	set, err := c.Client().Events(t.Context(), c.Addr(i), awa.EventQuery{Nodes: []string{node}})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range set.Events {
		if e.Code == "" {
			lines = append(lines, strings.TrimSuffix(string(e.Kind)+": "+e.Why, ": "))
		}
	}
	return lines
}

// awaitHappened waits until the newest events of a node at agent i are these.
func awaitHappened(t *testing.T, c *awatest.Cluster, i int, node string, lines ...string) {
	t.Helper()
	c.Wait(fmt.Sprint("events of ", node), func() error {
		all := happened(t, c, i, node)
		if n := len(all) - len(lines); n < 0 || !slices.Equal(all[n:], lines) {
			return fmt.Errorf("agent %d says of %s\n%s\nwant\n%s", i, node, strings.Join(all, "\n"), strings.Join(lines, "\n"))
		}
		return nil
	})
}

func TestEvents(t *testing.T) {
	c := awatest.New(t, 3)
	c.WaitSame()
	const offline = "offline: its agent was stopped (by a signal), 1 other does not see it either"
	awaitHappened(t, c, 0, "n2", "joined: at "+c.Addr(2), "online")
	c.Stop(2)
	awaitHappened(t, c, 0, "n2", "stopped: by a signal", offline)
	awaitHappened(t, c, 1, "n2", "stopped: by a signal", offline)
	c.Start(2)
	awaitHappened(t, c, 1, "n2", offline, "restarted: its agent was restarted")
	awaitHappened(t, c, 2, "n2", "stopped: by a signal", "watching: again: what happened meanwhile was not seen",
		"restarted: its agent was restarted")

	maintain := func(until string) {
		n := c.Nodes(0)["n1"]
		e := awa.Edit{Action: awa.Update, Key: awa.NewUID(), Data: fmt.Appendf(nil,
			`{"id":%d,"name":"n1","host":%q,"port":%d,"maintenance":%q,"by":"ops"}`, n.ID, n.Host, n.Port, until)}
		if _, _, err := c.Client().Edit(t.Context(), c.Addr(0), e, 0); err != nil {
			t.Fatal(err)
		}
	}
	until := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	maintain(until)
	awaitHappened(t, c, 2, "n1", "maintenance: until "+until)
	maintain("")
	awaitHappened(t, c, 2, "n1", "maintenance: until "+until, "maintenance_ended")
	maintain(time.Now().Add(time.Second).UTC().Format(time.RFC3339))
	c.Wait("the maintenance is over", func() error {
		if all := happened(t, c, 2, "n1"); all[len(all)-1] != "maintenance_ended: its time is over" {
			return fmt.Errorf("%q", all)
		}
		return nil
	})

	e := awatest.CreateEdit("gone")
	e.Key = awa.NewUID()
	_, node, err := c.Client().Edit(t.Context(), c.Addr(0), e, 0)
	if err != nil {
		t.Fatal(err)
	}
	// How many others do not see it depends on how many have heard of it by then.
	const refused = "offline: the host answers, its agent is not running (connection refused)"
	c.Wait("gone is offline", func() error {
		all := happened(t, c, 1, "gone")
		if len(all) != 2 || all[0] != "joined: at "+node.Addr() || !strings.HasPrefix(all[1], refused) {
			return fmt.Errorf("%q", all)
		}
		return nil
	})
	del := awa.Edit{Action: awa.Delete, Key: awa.NewUID(), Data: fmt.Appendf(nil, `{"id":%d,"by":"ops"}`, node.ID)}
	if _, _, err := c.Client().Edit(t.Context(), c.Addr(0), del, 0); err != nil {
		t.Fatal(err)
	}
	c.Wait("it is removed", func() error {
		set, err := c.Client().Events(t.Context(), c.Addr(1), awa.EventQuery{Nodes: []string{"gone"}})
		if last := set.Events[len(set.Events)-1]; err != nil || last.Kind != awa.EventRemoved || last.By != "ops" {
			return fmt.Errorf("%+v, %v", last, err)
		}
		return nil
	})

	agent, shares, err := c.Client().Availability(t.Context(), c.Addr(0))
	if err != nil || agent != "n0" || len(shares) != 3 {
		t.Fatalf("%s: %+v, %v", agent, shares, err)
	}
	for _, s := range shares {
		day := s.Shares[0]
		if well := day.Online == day.Watched; well != (s.Name != "n2") || day.Watched == 0 {
			t.Errorf("%s was online for %v of %v", s.Name, time.Duration(day.Online), time.Duration(day.Watched))
		}
	}
}

// A health code that is raised stays so over a restart, which adds no event.
func TestEvents_health(t *testing.T) {
	c := awatest.New(t, 1)
	c.WaitSame()
	codes := func() (all []string) {
		set, err := c.Client().Events(t.Context(), c.Addr(0), awa.EventQuery{})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range set.Events {
			if e.Code == awa.NoKey {
				all = append(all, string(e.Kind)+" "+e.Node)
			}
		}
		return all
	}
	c.Wait("NO_KEY", func() error {
		if all := codes(); !slices.Equal(all, []string{"raised n0"}) {
			return fmt.Errorf("%q", all)
		}
		return nil
	})
	awaitHappened(t, c, 0, "n0", "online") // else a restart is the first that it sees of itself
	c.Stop(0)
	c.Start(0)
	awaitHappened(t, c, 0, "n0", "restarted: its agent was restarted")
	if all := codes(); !slices.Equal(all, []string{"raised n0"}) {
		t.Errorf("after a restart: %q", all)
	}
}

// The program runs on the leader, and once; another one is taken while the agent runs.
func TestOnEvent(t *testing.T) {
	folder := t.TempDir()
	program := func(name string) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte("#!/bin/sh\ncat >>"+path+".got\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	one := program("one")
	c := awatest.New(t, 3, awatest.Configure(func(_ int, cfg *daemon.Config) { cfg.OnEvent = one }))
	c.WaitSame()
	c.Kill(2)
	c.Wait("somebody is told", func() error {
		b, err := os.ReadFile(one + ".got")
		if err == nil && (strings.Count(string(b), "\n") != 1 || !strings.Contains(string(b), `"event":"offline"`)) {
			err = fmt.Errorf("%s", b)
		}
		return err
	})
}

func TestCheck(t *testing.T) {
	c := awatest.New(t, 2, withWeb(nil))
	c.WaitSame()
	want := func(path string, status int, text string) {
		t.Helper()
		c.Wait(path, func() error {
			got, body := page(t, c, 0, path)
			if got != status || !strings.HasPrefix(body, text) {
				return fmt.Errorf("%s: %d %s", path, got, body)
			}
			return nil
		})
	}
	want("/check", 200, "AWA OK - 2 of 2 nodes online")
	want("/check?node=N1", 200, "AWA OK - n1 is online")
	want("/check?health=NO_KEY%3Dwarning", 503, "AWA WARNING - 2 of 2 nodes online, but NO_KEY: n0 has no key")
	want("/check?c=x", 400, `{"error":"critical: \"x\" is not a range`)
	want("/check?verbose=1", 400, `{"error":"\"verbose\" is not a parameter: use those of check_awa's flags that say what `+
		`is a problem: warning, critical, `)
	want("/healthz", 200, "ok\n")
	c.Kill(1)
	want("/check", 503, "AWA CRITICAL - 1 of 2 nodes offline: n1 (")
	want("/check?exclude=n1", 200, "AWA OK - 1 of 1 node online")
	want("/healthz", 200, "ok\n")
}

// An agent that has no list yet works, and knows of no node.
func TestCheck_notJoined(t *testing.T) {
	d, err := daemon.Open(daemon.Config{Name: "n0", Host: "127.0.0.1", Listen: "127.0.0.1:0", DataDir: t.TempDir(),
		Join: []string{"127.0.0.1:1"}, Web: "127.0.0.1:0", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	for path, want := range map[string]string{"/check": "503 AWA UNKNOWN - agent n0 holds no list yet", "/healthz": "200 ok",
		"/": "200 <!DOCTYPE html>"} {
		resp, err := http.Get("http://" + d.WebAddr() + path)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		text := fmt.Sprintf("%d %s", resp.StatusCode, b)
		if path == "/" && !strings.Contains(text, "<h1>AWA UNKNOWN - agent n0 holds no list yet") {
			t.Errorf("the page is %s", text)
		}
		if err != nil || !strings.HasPrefix(text, want) {
			t.Errorf("%s: %s, %v", path, text, err)
		}
	}
	cancel()
	if err := errors.Join(<-ended, d.Close()); err != nil {
		t.Error(err)
	}
}
