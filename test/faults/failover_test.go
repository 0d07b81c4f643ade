//go:build system

package faults

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"are-we-alive/pkg/awatest/testaid"
)

// failures is of how many failures of the leader TestFailover takes the median.
const failures = 10

// TestFailover measures how long edits are blocked when the leader fails: from the
// failure until an edit at another agent succeeds. It also measures how much longer an
// edit takes at the ends of a line of five agents, each of which reaches only its
// neighbors, than at the leader.
func TestFailover(t *testing.T) {
	c := newSmallCluster(t, 5)
	c.startAll()
	var out strings.Builder
	report := func(name string, times []time.Duration, most time.Duration) {
		fmt.Fprintf(&out, "%-36s %-24s %.1f\n", name, spread(times), most.Seconds())
		if median := slices.Sorted(slices.Values(times))[len(times)/2]; median > most {
			t.Errorf("%s: the median is %v, more than %v", name, median, most)
		}
	}
	for _, f := range []struct {
		name   string
		breaks func(*agent)
		mend   func(*agent)
		most   time.Duration
	}{
		{"the leader is killed", (*agent).kill, func(a *agent) { a.start() }, 2500 * time.Millisecond},
		{"the leader hangs", func(a *agent) { a.signal(syscall.SIGSTOP) }, func(a *agent) { a.signal(syscall.SIGCONT) },
			3 * time.Second},
		{"the leader is cut off", func(a *agent) { a.host.cutOff() }, func(a *agent) { a.host.open() }, 3 * time.Second},
	} {
		var times []time.Duration
		for i := range failures {
			leader, other := c.awaitLeader(), c.n(1)
			if leader == other {
				other = c.n(2)
			}
			broken := time.Now()
			f.breaks(leader)
			c.awaitEdit(other, fmt.Sprint(strings.ReplaceAll(f.name, " ", "-"), i))
			times = append(times, time.Since(broken))
			f.mend(leader)
		}
		report(f.name, times, f.most)
	}

	c.electionIsNoAlarm()

	for i := 1; i <= 5; i++ {
		for j := i + 2; j <= 5; j++ {
			c.cut([]int{i}, []int{j})
		}
	}
	leader := c.awaitLineLeader()
	more := map[int][]time.Duration{}
	for i := range failures {
		at := c.awaitEdit(leader, fmt.Sprint("leader", i))
		for _, end := range []int{1, 5} {
			more[end] = append(more[end], c.awaitEdit(c.n(end), fmt.Sprintf("end%d-%d", end, i))-at)
		}
	}
	for end, times := range more {
		report(fmt.Sprintf("at n%d of a line, led by %s", end, leader.name), times, time.Second)
	}
	fmt.Printf("\nEdits, min / median / max of %d, in seconds.\n%-36s %-24s %s\n%s\n", failures, "what",
		"until one is decided", "at most", out.String())
}

// electionIsNoAlarm kills the leader, and asks for the health until there is another.
func (c *cluster) electionIsNoAlarm() {
	c.t.Helper()
	old := c.awaitLeader()
	old.kill()
	others := slices.DeleteFunc(slices.Clone(c.agents), func(a *agent) bool { return a == old })
	testaid.Await(c.t, waitMost, func() error {
		got := c.ask(others...)
		if got.says("NO_LEADER", "") || got.says("NO_LEADER", others[0].name) {
			c.t.Errorf("check_awa says of an election: %v", got.Health)
		}
		if got.Leader == "" || got.Leader == old.name {
			return fmt.Errorf("the leader is %q", got.Leader)
		}
		return nil
	})
	old.start()
	c.awaitLeader()
}

// awaitLeader waits until all five agents vote and follow one leader, as each says.
func (c *cluster) awaitLeader() (leader *agent) {
	c.t.Helper()
	testaid.Await(c.t, voterMost, func() error {
		leader = nil
		for _, a := range c.agents {
			got := c.ask(a)
			if len(got.Voters) != 5 || got.Leader == "" || leader != nil && got.Leader != leader.name {
				return fmt.Errorf("%s says that the leader is %q, the voters are %v: %s", a.name, got.Leader, got.Voters, got.Text)
			}
			leader = c.named(got.Leader)
		}
		return nil
	})
	return leader
}

// awaitLineLeader waits until one leads that reaches a majority of the line.
func (c *cluster) awaitLineLeader() (leader *agent) {
	c.t.Helper()
	testaid.Await(c.t, voterMost, func() error {
		for _, a := range c.agents[1:4] {
			if c.ask(a).Leader == a.name {
				leader = a
			}
		}
		if leader == nil {
			return errors.New("nobody leads")
		}
		c.awaitEdit(leader, "in-a-line")
		return nil
	})
	return leader
}

// named is the agent of that name.
func (c *cluster) named(name string) *agent {
	i := slices.IndexFunc(c.agents, func(a *agent) bool { return a.name == name })
	if i < 0 {
		c.t.Fatalf("there is no agent %s", name)
	}
	return c.agents[i]
}
