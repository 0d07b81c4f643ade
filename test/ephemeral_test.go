//go:build system

package test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"are-we-alive/pkg/awatest/testaid"
)

// TestEphemeral has servers that come and go: once they have been offline for a minute, one
// after the other is removed, and one that comes back registers again by itself.
func TestEphemeral(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	asked := c.agents[0].addr()
	var all []*agent
	for _, name := range []string{"e1", "e2", "e3", "e4"} {
		a := newAgent(t, name, "--join", asked, "--ephemeral", "1m")
		a.start()
		all = append(all, a)
	}
	c.awaitNodes(7)
	c.awaitVoters(3) // of seven agents, four of which may not vote
	if r := run(t, "awa-agent", "node", "maintain", "e3", "--for", "1h", "--agent", asked); r.code != 0 {
		t.Fatal(r)
	}
	began := time.Now()
	for _, a := range all[:3] {
		a.kill()
	}
	names := func() (names []string) {
		r := run(t, "check_awa", "-H", asked, "-o", "names", "--sort", "name")
		return strings.Fields(r.out)
	}
	testaid.Await(t, 2*time.Minute, func() error {
		if got := names(); slices.Contains(got, "e1") || slices.Contains(got, "e2") {
			return fmt.Errorf("the list is %q", got)
		}
		return nil
	})
	if took := time.Since(began); took < time.Minute {
		t.Errorf("the last one is removed after %v", took)
	}
	if got := names(); !slices.Contains(got, "e3") || !slices.Contains(got, "e4") || len(got) != 5 {
		t.Errorf("the list is %q: e3 is under maintenance, and e4 is online", got)
	}
	var removed []string
	for _, line := range c.changes(asked) {
		if strings.Contains(line, "DELETE") {
			removed = append(removed, line)
		}
	}
	if len(removed) != 2 || !strings.HasSuffix(removed[0], "  (expiry)") || !strings.HasSuffix(removed[1], "  (expiry)") {
		t.Errorf("the removals are %q", removed)
	}
	if events := c.agents[1].eventsOf("e1"); events[len(events)-1] != "removed" {
		t.Errorf("the events of e1 are %q", events)
	}
	all[0].start()
	c.awaitNodes(6)
	st, err := c.agents[0].status(false)
	if err != nil || len(st.Voters) != 3 {
		t.Errorf("the voters are %q (%v)", st.Voters, err)
	}
	for _, name := range st.Voters {
		if strings.HasPrefix(name, "e") {
			t.Errorf("the ephemeral %s votes", name)
		}
	}
}
