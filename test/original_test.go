//go:build system

package test

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"are-we-alive/pkg/api"
	"are-we-alive/pkg/awatest/testaid"
)

// TestOriginal has a client of the original program's kind (Ruby, SQLite)
// read our cluster: it syncs with any agent and sees every node online.
func TestOriginal(t *testing.T) {
	needRuby(t)
	if out, err := exec.CommandContext(t.Context(), "ruby", "-e", "require 'sqlite3'").CombinedOutput(); err != nil {
		testaid.Skip(t, "the original program's client: ruby lacks sqlite3, test/install-debian.sh installs it: ",
			string(out))
	}
	c := newCluster(t, 3)
	dir := t.TempDir()
	status := func(a *agent, database string) string {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		out, err := exec.CommandContext(ctx, "ruby", "original/status_client.rb", "127.0.0.1", a.port(),
			filepath.Join(dir, database)).CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return string(out)
	}
	table := func(rows ...[2]string) string {
		lines := []string{row("Name", "Host", "Port", "Status")}
		for _, r := range rows {
			port := "1"
			for _, a := range c.agents {
				if a.name == r[0] {
					port = a.port()
				}
			}
			lines = append(lines, row(r[0], "127.0.0.1", port, r[1]))
		}
		return strings.Join(lines, "")
	}
	node := func(args ...string) {
		t.Helper()
		if r := run(t, "awa-agent", append(append([]string{"node"}, args...), "--agent",
			c.agents[1].addr())...); r.code != 0 {
			t.Fatalf("awa-agent node %v: %+v", args, r)
		}
	}

	all := table([2]string{"a1", "Online"}, [2]string{"a2", "Online"}, [2]string{"a3", "Online"})
	for _, a := range c.agents {
		if out := status(a, a.name); out != all {
			t.Errorf("agent %s:\n%swant\n%s", a.name, out, all)
		}
	}

	// The same client later: it asks only for what it lacks, and its own ids
	// still agree, although the newest node was removed in between.
	node("add", "gone", "127.0.0.1", "1")
	node("remove", "gone")
	node("add", "dead", "127.0.0.1", "2")
	node("set", "dead", "--name", "down", "--port", "1", "--label", "role=database")
	c.agents[2].kill()
	want := table([2]string{"a1", "Online"}, [2]string{"a2", "Online"}, [2]string{"a3", "Offline"},
		[2]string{"down", "Offline"})
	for _, database := range []string{"a1", "again"} {
		if out := status(c.agents[1], database); out != want {
			t.Errorf("with the database %s:\n%swant\n%s", database, out, want)
		}
	}
}

func needRuby(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("ruby"); err != nil {
		testaid.Skip(t, "the original program: there is no ruby here, test/install-debian.sh installs it")
	}
}

// TestOriginal_server has a server of the original program's kind push itself onto a
// cluster without a key: it counts as online, and gets each change.
func TestOriginal_server(t *testing.T) {
	needRuby(t)
	c := newCluster(t, 2)
	port := freePort(t)
	cmd := exec.Command("ruby", "original/server.rb", "old1", port, c.agents[1].addr())
	var log testaid.Log
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	client := api.NewClient(api.ClientConfig{})
	defer client.Close()
	for i, change := range []string{"", "first", "second"} {
		if change != "" {
			r := run(t, "awa-agent", "node", "set", "old1", "--label", "seen="+change, "--agent", c.agents[0].addr())
			if r.code != 0 {
				t.Fatal(r.errors)
			}
		}
		testaid.Await(t, 30*time.Second, func() error {
			r := run(t, "check_awa", "-H", c.agents[0].addr(), "-o", "table")
			if !strings.Contains(r.out, "old1") || !strings.Contains(r.out, "original program") || r.code != 0 {
				return fmt.Errorf("check_awa says %s%s", r.out, log.String())
			}
			self, err := client.Ping(t.Context(), "127.0.0.1:"+port, true)
			ours, oursErr := client.Ping(t.Context(), c.agents[0].addr(), true)
			if err != nil || oursErr != nil || self.State != ours.State {
				return fmt.Errorf("change %d: it has state %d, the agent %d (%v, %v)", i, self.State, ours.State, err, oursErr)
			}
			return nil
		})
	}
	cmd.Process.Kill()
	cmd.Wait()
	r := run(t, "check_awa", "-H", c.agents[0].addr())
	if r.code != 2 || !strings.Contains(r.out, "old1 (the host answers, its agent is not running") {
		t.Errorf("exit code %d: %s", r.code, r.out)
	}
}

// row is a line of the client's table.
func row(name, host, port, status string) string {
	pad := func(s string, n int) string { return s + strings.Repeat(" ", max(n-len(s), 0)) }
	return pad(name, 12) + " " + pad(host, 20) + " " + pad(port, 6) + " " + status + "\n"
}
