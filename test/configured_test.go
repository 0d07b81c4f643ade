package test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"are-we-alive/pkg/awatest/testaid"
)

// TestConfigured_labels has the labels of a node follow its agent's configuration, beside
// those that were set by hand.
func TestConfigured_labels(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	asked := c.agents[0].addr()
	a := newAgent(t, "db1", "--join", asked)
	configured := func(text string) {
		t.Helper()
		if a.alive() {
			a.kill()
		}
		write(t, filepath.Join(a.dir, "cluster_info.json"), text)
		a.start()
	}
	listed := func(want string) {
		t.Helper()
		testaid.Await(t, 20*time.Second, func() error {
			r := run(t, "awa-agent", "node", "list", "--agent", asked)
			line := "  " + want + "\n"
			if strings.Contains(want, "*") {
				line += "* set in the configuration of the node's agent\n"
			}
			if !strings.HasSuffix(r.out, line) {
				return fmt.Errorf("the list is\n%s%swant at its end\n%s", r.out, r.errors, line)
			}
			return nil
		})
	}
	set := func(code int, want string, args ...string) {
		t.Helper()
		if r := run(t, "awa-agent", append([]string{"node", "set", "db1", "--agent", asked}, args...)...); r.code != code ||
			!strings.HasPrefix(r.out+r.errors, want) {
			t.Errorf("node set %q: %+v, want %s", args, r, want)
		}
	}
	configured(`{"labels": {"role": "db", "rack": "1"}, "ephemeral": "72h"}`)
	listed("rack=1* role=db* (ephemeral: 72h0m0s*)")
	set(0, "db1 is node 2 at ", "--label", "owner=ops")
	listed("owner=ops rack=1* role=db* (ephemeral: 72h0m0s*)")
	set(1, "awa-agent: the label role of db1 is set in the configuration of its agent (labels): change it there, and restart "+
		"the agent\n", "--label", "owner=dev", "--label", "role=web")
	set(1, "awa-agent: ephemeral of db1 is set in the configuration of its agent (ephemeral)", "--ephemeral", "never")
	configured(`{"labels": {"role": "web"}}`)
	listed("owner=ops role=web*")
	set(0, "db1 is node 2 at ", "--ephemeral", "48h")
	configured(`{"labels": {"owner": "dba"}}`)
	listed("owner=dba* (ephemeral: 48h)")
	configured(`{}`)
	listed("(ephemeral: 48h)")
	set(0, "db1 is node 2 at ", "--ephemeral", "never", "--label", "a=b")
	listed("a=b")
	before := len(c.changes(asked))
	configured(`{}`)
	listed("a=b")
	if after := len(c.changes(asked)); after != before {
		t.Errorf("a start with the same configuration made %d changes", after-before)
	}
}

// TestConfigured_name has an agent whose node has another name on the list say that name when it
// registers.
func TestConfigured_name(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	asked := c.agents[0].addr()
	a := newAgent(t, "db1", "--join", asked)
	a.start()
	c.awaitNodes(2)
	if r := run(t, "awa-agent", "node", "set", "db1", "--name", "web2", "--agent", asked); r.code != 0 {
		t.Fatal(r)
	}
	a.kill()
	// A sweep that is under way may still see it, and then it takes itself for a copy.
	testaid.Await(t, 20*time.Second, func() error {
		if r := run(t, "check_awa", "-H", asked, "--node", "web2"); r.code != 2 {
			return fmt.Errorf("check_awa says %s", r.out)
		}
		return nil
	})
	a.at.Store(nil) // at another port
	a.args = append(a.args, "--take-over")
	a.start()
	testaid.Await(t, 20*time.Second, func() error {
		if !strings.Contains(a.log.String(), `"msg":"registered","name":"web2"`) {
			return fmt.Errorf("its log is\n%s", a.log)
		}
		return nil
	})
}

// changes are the lines of awa-agent changes.
func (c *cluster) changes(asked string) []string {
	c.t.Helper()
	r := run(c.t, "awa-agent", "changes", "--agent", asked)
	if r.code != 0 {
		c.t.Fatal(r)
	}
	return strings.Split(strings.TrimSuffix(r.out, "\n"), "\n")
}
