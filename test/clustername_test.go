package test

import (
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"are-we-alive/pkg/awatest/testaid"
)

// TestClusterName names a cluster in the configuration and by a command, and looks for the
// name where people look.
func TestClusterName(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, "--cluster-name", "prod-eu", "--web", "127.0.0.1:0")
	a := c.agents[0]
	says := func(want string, name string, args ...string) {
		t.Helper()
		if r := run(t, name, args...); !strings.HasPrefix(r.out+r.errors, want) {
			t.Errorf("%s %q: %+v, want %s", name, args, r, want)
		}
	}
	says("AWA OK - prod-eu: 1 of 1 node online", "check_awa", "-H", a.addr())
	says("prod-eu: 1 node online · leader a1", "check_awa", "-H", a.addr(), "-o", "table")
	says("prod-eu\n", "awa-agent", "cluster", "name", "--agent", a.addr())
	says("     1  20", "awa-agent", "changes", "--agent", a.addr())
	began := "CREATE  a1: node 1 at " + a.addr() + "; cluster name none → prod-eu"
	if lines := c.changes(a.addr()); !strings.Contains(lines[0], began) {
		t.Errorf("the changes are %q", lines)
	}

	other := newAgent(t, "a2", "--join", a.addr(), "--cluster-name", "test")
	other.start()
	warned := `"msg":"the cluster has another name, which holds: awa-agent cluster name changes it","name":"prod-eu",` +
		`"cluster_name":"test"`
	testaid.Await(t, 10*time.Second, func() error {
		if !strings.Contains(other.log.String(), warned) {
			return fmt.Errorf("its log is\n%s", other.log)
		}
		return nil
	})

	says(`awa-agent: "a b" is not a name for a cluster: use 1 to 63`,
		"awa-agent", "cluster", "name", "a b", "--agent", a.addr())
	says("The name of the cluster is prod-us (change 3).\n", "awa-agent", "cluster", "name", "prod-us", "--agent", other.addr())
	if lines := c.changes(a.addr()); !strings.Contains(lines[2], "UPDATE  cluster name prod-eu → prod-us  (") {
		t.Errorf("the changes are %q", lines)
	}
	backup := filepath.Join(t.TempDir(), "list.json")
	says("Saved the list of cluster prod-us (", "awa-agent", "backup", backup, "--agent", a.addr())
	a.kill()
	a.start()
	c.awaitNodes(2)
	says("prod-us: 2 nodes online", "check_awa", "-H", a.addr(), "-o", "table")
	says(`{"state":0,"text":"prod-us: 2 of 2 nodes online`, "check_awa", "-H", other.addr(), "-o", "json")
	says("{\n  \"cluster\": \"", "awa-agent", "cluster", "name", "-o", "json", "--agent", other.addr())
	web := a.log.wait(t, 20*time.Second, func(l logLine) bool { return l.Msg == "listening for Prometheus" }, a.ended).Addr
	awaitWeb(t, web, "/metrics", `cluster_name="prod-us",node="a1"} 1`)
	awaitWeb(t, web, "/", "<title>AWA OK - prod-us: 2 of 2 nodes online</title>")
	awaitWeb(t, web, "/sd", `"__meta_awa_cluster_name":"prod-us"`)

	a.kill() // it would follow the restored list
	other.kill()
	restored := newAgent(t, "a3")
	if r := run(t, "awa-agent", "restore", backup, "--data-dir", restored.data()); r.code != 0 {
		t.Fatal(r)
	}
	restored.start()
	says("prod-us\n", "awa-agent", "cluster", "name", "--agent", restored.addr())
}

// TestClusterName_two asks agents of two clusters in the same words: the answers say which is
// which.
func TestClusterName_two(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"prod-eu", "prod-us"} {
		a := newCluster(t, 1, "--cluster-name", name).agents[0]
		for _, want := range []struct{ format, text string }{
			{"nagios", "AWA OK - " + name + ": 1 of 1 node online"}, {"table", name + ": 1 node online"},
			{"json", `"cluster_name":"` + name + `"`}, {"influx", "cluster_name=" + name + " "},
		} {
			if r := run(t, "check_awa", "-H", a.addr(), "-o", want.format); !strings.Contains(r.out, want.text) {
				t.Errorf("-o %s: %+v, want %s", want.format, r, want.text)
			}
		}
	}
}

// awaitWeb waits until a page of an agent's second port holds a text.
func awaitWeb(t *testing.T, addr, path, want string) {
	t.Helper()
	testaid.Await(t, 20*time.Second, func() error {
		r, err := http.Get("http://" + addr + path)
		if err != nil {
			return err
		}
		defer r.Body.Close()
		body, err := io.ReadAll(r.Body)
		if err == nil && !strings.Contains(string(body), want) {
			err = fmt.Errorf("%s is\n%s\nwant in it %s", path, body, want)
		}
		return err
	})
}
