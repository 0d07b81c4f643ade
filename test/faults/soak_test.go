//go:build system

package faults

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"
)

// pace is the time from one live check to the next. At this pace 20 minutes
// have 4,800 checks; soakLeast is what must have come of them.
const (
	pace      = 250 * time.Millisecond
	soakLeast = 2000
	soakWhole = 20 * time.Minute
)

// TestSoak checks healthy hosts that lose one packet in fifty, on a machine
// whose cores are all busy. Whatever is said to be wrong, is.
func TestSoak(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	for range runtime.NumCPU() {
		burn(c.monitor)
	}
	for _, h := range c.hosts() {
		h.iptables("-A", "INPUT", "!", "-i", "lo", "-m", "statistic", "--mode", "random", "--probability", "0.02", "-j",
			"DROP")
	}
	var from []int
	for _, a := range c.agents {
		from = append(from, a.log.len())
	}

	lasts := lasting(t, envSoak, 2*time.Minute)
	checks, alarms, wrong, slowest := 0, 0, map[string]int{}, time.Duration(0)
	tick := time.NewTicker(pace)
	defer tick.Stop()
	for end := time.Now().Add(lasts); time.Now().Before(end); <-tick.C {
		got := c.ask(c.agents[checks%len(c.agents)])
		checks++
		slowest = max(slowest, got.took)
		for _, n := range got.Nodes {
			if n.Verdict != "online" {
				wrong[n.Verdict]++
			}
		}
		if got.State != 0 {
			alarms++
			t.Logf("a false alarm: %d, %s", got.State, got.Text)
		}
	}
	logged := 0
	for i, a := range c.agents {
		logged += len(a.log.sightings(from[i]))
	}
	lost := must(t, "ip", "netns", "exec", c.n(1).host.ns, "iptables", "-nvxL", "INPUT")
	fmt.Printf("\nThe soak, %v: %d live checks of 5 healthy nodes, the slowest took %.3f s.\nWrong verdicts: offline "+
		"%d, unreachable %d, mismatch %d. False alarms of check_awa: %d. Wrong lines in the agents' logs: %d.\nPackets "+
		"lost at n1: %s\n",
		lasts, checks, slowest.Seconds(), wrong["offline"], wrong["unreachable"], wrong["mismatch"], alarms, logged,
		lostAt(lost))
	if wrong["offline"] > 0 || alarms > 0 {
		t.Errorf("%d times offline and %d false alarms, of which there may be none", wrong["offline"], alarms)
	}
	if least := int(soakLeast * lasts / soakWhole); checks < least {
		t.Errorf("only %d live checks were made, not %d", checks, least)
	}
	if lostAt(lost) == "0" {
		t.Error("no packet was lost")
	}
}

// burn keeps a core busy, as other work of lower priority does.
func burn(on *host) {
	on.t.Helper()
	cmd := on.command("nice", "-n", "10", "sh", "-c", "while :; do :; done")
	if err := cmd.Start(); err != nil {
		on.t.Fatal(err)
	}
	on.t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
}

// lostAt returns the packets of the first rule that drops some.
func lostAt(rules string) string {
	for line := range strings.Lines(rules) {
		if fields := strings.Fields(line); len(fields) > 2 && fields[2] == "DROP" {
			return fields[0]
		}
	}
	return "0"
}

// TestSoakWithoutDeaths checks five healthy hosts while things happen to them that are
// not deaths. Nobody may be said to be anything but online.
func TestSoakWithoutDeaths(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.spare = c.net.addHost("h6", 6)
	var from []int
	for _, a := range c.agents {
		from = append(from, a.log.len())
	}
	duplicate := func(got answer) bool { return len(got.Health) > 0 && got.Health[0].Code == "DUPLICATE" }
	copied := c.newAgent("n3", c.spare, c.spare.addr)
	copied.log.expected = true
	checks, wrong, alarms := 0, 0, 0
	for _, event := range []struct {
		name  string
		do    func()
		right func(answer) bool // an alarm that is true; nil when there is none
	}{
		{name: "the name server falls silent", do: func() { c.names.silence(true) }},
		{name: "it answers again", do: func() { c.names.silence(false) }},
		{name: "a firewall is loaded again", do: func() {
			for _, a := range c.agents {
				a.host.cutOff()
				<-time.After(100 * time.Millisecond)
				a.host.open()
			}
		}},
		{name: "a node is renamed", do: func() { c.edit(c.n(2), "node", "set", "n5", "--name", "renamed") }},
		{name: "and named as before", do: func() { c.edit(c.n(2), "node", "set", "renamed", "--name", "n5") }},
		{name: "a host moves, and its name with it", do: func() {
			c.names.set(c.n(4).at, subnet+"44")
			c.n(4).host.readdress(subnet+"44", c.hosts()...)
			c.n(4).host.addr = subnet + "44"
		}},
		{name: "a copy of a data folder is started", right: duplicate, do: func() {
			must(t, "cp", "-a", c.n(3).data(), copied.data())
			copied.start()
		}},
		{name: "and stopped", right: duplicate, do: func() { copied.stop() }},
	} {
		event.do()
		tick := time.NewTicker(pace)
		for end := time.Now().Add(8 * time.Second); time.Now().Before(end); <-tick.C {
			got := c.ask(c.agents[checks%len(c.agents)])
			checks++
			for _, n := range got.Nodes {
				if n.Verdict != "online" {
					wrong++
					t.Errorf("%s: asked %s, %s is %s (%s: %s)", event.name, got.Agent, n.Name, n.Verdict, n.Stage, n.Error)
				}
			}
			if got.State != 0 && (event.right == nil || !event.right(got)) {
				alarms++
				t.Errorf("%s: a false alarm: %d, %s", event.name, got.State, got.Text)
			}
		}
		tick.Stop()
	}
	for i, a := range c.agents {
		for _, s := range a.log.sightings(from[i]) {
			t.Errorf("a false alarm in the log of %s: %+v", a.name, s)
		}
	}
	fmt.Printf("\nThe soak without deaths: %d live checks of 5 healthy nodes. Wrong verdicts: %d. False alarms: %d.\n",
		checks, wrong, alarms)
}
