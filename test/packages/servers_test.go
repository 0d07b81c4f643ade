//go:build system

package packages

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"are-we-alive/pkg/awatest/testaid"
)

// TestDebian_servers does what the README says, on three fresh servers. Then the leader is
// upgraded, and servers are stopped.
func TestDebian_servers(t *testing.T) {
	t.Parallel()
	first := founder(t, "web1")
	second := joined(t, first, "web2", 2)
	lateJoin(t, first, second)
	workstation(t, first, second)
	third := joined(t, first, "web3", 3)
	upgradedLeader(t, []*machine{first, second, third})
	told := notified(t, []*machine{first, second, third})
	stopped(t, first, second)
	told()
}

// notified configures a program for the agents of some servers to run, within what their unit
// allows, and returns what wants it to have been run.
func notified(t *testing.T, servers []*machine) (told func()) {
	t.Helper()
	for _, m := range servers {
		m.sh(`printf '#!/bin/sh\nexec cat >>/var/lib/are-we-alive/told\n' >/usr/local/bin/told && chmod 755 /usr/local/bin/told`)
		m.sh(`sed -i 's|^{|{"on_event": "/usr/local/bin/told", |' /etc/are-we-alive/cluster_info.json`)
		m.must("systemctl", "reload", "awa-agent")
	}
	return func() {
		t.Helper()
		testaid.Await(t, bootMost, func() error {
			all := ""
			for _, m := range servers {
				text, _ := os.ReadFile(m.path("/var/lib/are-we-alive/told")) // the leader alone has one
				all += string(text)
			}
			// The others did not stand for two sweeps. It may be one message with that of an upgrade, and
			// on a slow machine, where they did, the last change of a node that is flapping.
			want := regexp.MustCompile(`"why":"[^"]*its agent was stopped \(by systemd, the machine is shutting down\), 1 other does`)
			if n := len(want.FindAllString(all, -1)); n != 1 {
				return fmt.Errorf("%s was told %d times:\n%s", want, n, all)
			}
			return nil
		})
	}
}

// eventsOf returns what an agent says of a node, as "event: why", except of health codes.
func (m *machine) eventsOf(node string) (lines []string) {
	m.t.Helper()
	out := m.must("awa-agent", "events", "--agent", m.name, "--node", node, "-o", "json")
	for line := range strings.Lines(out) {
		var e struct{ Event, Why string }
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			m.t.Fatalf("%s: %v", line, err)
		}
		if e.Event != "raised" && e.Event != "cleared" {
			lines = append(lines, strings.TrimSuffix(e.Event+": "+e.Why, ": "))
		}
	}
	return lines
}

// stopped: the agent of a server is stopped in all ways that systemd has, and its machine
// reboots. Another one says of each what was done, word by word.
func stopped(t *testing.T, watcher, victim *machine) {
	before := len(watcher.eventsOf(victim.name))
	want := func(lines ...string) {
		t.Helper()
		testaid.Await(t, bootMost, func() error {
			if all := watcher.eventsOf(victim.name)[before:]; !slices.Equal(all, lines) {
				return fmt.Errorf("%s says of %s\n%s\nwant\n%s", watcher.name, victim.name, strings.Join(all, "\n"),
					strings.Join(lines, "\n"))
			}
			return nil
		})
		before += len(lines)
	}
	const restarted, down = "restarted: its agent was restarted", ", 1 other does not see it either"
	victim.must("systemctl", "restart", "awa-agent")
	want("stopped: by systemd, to start it again", restarted)

	victim.must("systemctl", "stop", "awa-agent")
	want("stopped: by systemd", "offline: its agent was stopped (by systemd)"+down)
	at := time.Now()
	r := watcher.run("check_awa", "-H", watcher.name)
	if text := regexp.MustCompile(`web2 \(its agent was stopped at \d\d:\d\d \(by systemd\)`); r.code != 2 ||
		!text.MatchString(r.out) {
		t.Errorf("at %v check_awa says %s", at, r.all())
	}
	victim.must("systemctl", "start", "awa-agent")
	want(restarted)

	victim.reboot()
	all := func() []string { return watcher.eventsOf(victim.name)[before:] }
	testaid.Await(t, bootMost, func() error { // whether a sweep saw it away depends on how fast it boots
		if lines := slices.DeleteFunc(all(), func(line string) bool {
			return strings.HasPrefix(line, "offline: its agent was stopped (by systemd, the machine is rebooting)")
		}); !slices.Equal(lines, []string{"stopped: by systemd, the machine is rebooting",
			"rebooted: its machine was rebooted"}) {
			return fmt.Errorf("%s says of %s\n%s", watcher.name, victim.name, strings.Join(all(), "\n"))
		}
		return nil
	})
	before += len(all())

	victim.run("systemctl", "poweroff") // it may end before it has answered
	const off = "offline: its agent was stopped (by systemd, the machine is shutting down)" + down
	testaid.Await(t, bootMost, func() error { // where a sweep saw it away in the reboot, this is its sixth change
		lines := all()
		if len(lines) == 2 {
			lines[1] = strings.TrimPrefix(lines[1], "flapping: 6 changes in 10 minutes, the last to ")
		}
		if !slices.Equal(lines, []string{"stopped: by systemd, the machine is shutting down", off}) {
			return fmt.Errorf("%s says of %s\n%s", watcher.name, victim.name, strings.Join(all(), "\n"))
		}
		return nil
	})
}

// lateJoin: an agent whose cluster can't be reached starts, its status says so,
// and it joins when it can.
func lateJoin(t *testing.T, first, second *machine) {
	first.must("systemctl", "stop", "awa-agent")
	second.must("systemctl", "stop", "awa-agent")
	second.sh("rm -r /var/lib/are-we-alive/*")
	second.must("timeout", "8", "systemctl", "start", "awa-agent") // it does not wait for the cluster
	second.awaitStatus("no node list yet, not joined: web1:25483 (connect: connection refused)")
	first.must("systemctl", "start", "awa-agent")
	testaid.Await(t, bootMost, func() error {
		if r := second.run("check_awa", "-H", "web2"); !strings.HasPrefix(r.out, "AWA OK - 2 of 2") {
			return fmt.Errorf("check_awa says %s", r.all())
		}
		return nil
	})
}

// workstation: a file in /etc/are-we-alive names the agent that check_awa and awa-agent ask,
// for all users.
func workstation(t *testing.T, first, second *machine) {
	t.Helper()
	const file = "/etc/are-we-alive/check.json"
	first.sh("awa-agent key check /etc/are-we-alive/check.key")
	first.write(file, `{"agents": ["`+second.name+`"], "key_file": "/etc/are-we-alive/check.key"}`)
	wantText(t, "check_awa", first.must("check_awa", "-o", "json"), `"agent":"`+second.name+`"`)
	first.write(file, `{"agents": ["nosuch.test"], "key_file": "/etc/are-we-alive/check.key"}`)
	for _, command := range []string{"check_awa", "awa-agent node list"} {
		if r := first.run("sh", "-c", command); r.code == 0 || !strings.Contains(r.all(), "nosuch.test") {
			t.Errorf("%s says, with exit code %d: %s", command, r.code, r.all())
		}
	}
	first.sh("rm " + file)
}

// upgradedLeader: the agent that leads hands that over before the new program
// takes its place, and the list can be edited at once.
func upgradedLeader(t *testing.T, servers []*machine) {
	led := regexp.MustCompile(`"leader":"(\w+)","voters":\["web\d","web\d","web\d"\]`)
	var found []string
	testaid.Await(t, bootMost, func() error { // one becomes a voter when it has been there for a while
		r := servers[0].run("check_awa", "-H", "web1", "-o", "json")
		if found = led.FindStringSubmatch(r.out); found == nil {
			return fmt.Errorf("there are no three voters with a leader: %s", r.all())
		}
		return nil
	})
	i := slices.IndexFunc(servers, func(m *machine) bool { return m.name == found[1] })
	leader, other := servers[i], servers[(i+1)%len(servers)]
	pid := leader.property("MainPID")
	leader.install(file(t, theStage.newer, kinds[0]))
	other.must("awa-agent", "node", "set", other.name, "--label", "rack=7", "--agent", other.name)
	leader.awaitRestart(pid)
	leader.awaitJournal("the leadership was handed over")
	testaid.Await(t, bootMost, func() error { // an upgrade alarms nobody
		all := other.eventsOf(leader.name)
		if n := len(all); n < 2 || !slices.Equal(all[n-2:], []string{"stopped: by systemd, to start it again",
			"restarted: its agent was restarted"}) {
			return fmt.Errorf("%s says of %s\n%s", other.name, leader.name, strings.Join(all, "\n"))
		}
		return nil
	})
	testaid.Await(t, bootMost, func() error {
		if r := leader.run("check_awa", "-H", leader.name); !strings.HasPrefix(r.out, "AWA OK - 3 of 3") {
			return fmt.Errorf("check_awa says %s", r.all())
		}
		return nil
	})
}
