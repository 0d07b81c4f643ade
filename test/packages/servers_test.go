//go:build system

package packages

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"are-we-alive/pkg/awatest/testaid"
)

// TestDebian_servers types what the README says, on three fresh servers, until
// check_awa -v. The servers share one loopback network, so each is told the
// address to listen on besides. Then the leader is upgraded.
func TestDebian_servers(t *testing.T) {
	first := boot(t, "web1", nil)
	deb := file(t, theStage.first, kinds[0])
	first.install(deb)
	first.sh("awa-agent key new")
	first.sh(`echo '{"first": true, "listen": "127.0.0.11"}' >/etc/are-we-alive/cluster_info.json`)
	first.sh("systemctl enable --now awa-agent")
	wantText(t, "check_awa on the first", first.must("check_awa", "-H", "web1", "-v"), "AWA OK - 1 of 1 node online")

	second := joined(t, first, "web2", "127.0.0.12")
	wantText(t, "check_awa on the second", second.must("check_awa", "-H", "web2", "-v"), "AWA OK - 2 of 2 nodes online",
		"web1  web1", "web2  web2")
	lateJoin(t, first, second)
	third := joined(t, first, "web3", "127.0.0.13")
	upgradedLeader(t, []*machine{first, second, third})
}

// joined makes a server whose agent joins that of another one, as the README
// says.
func joined(t *testing.T, first *machine, name, address string) *machine {
	t.Helper()
	m := boot(t, name, first)
	m.install(file(t, theStage.first, kinds[0]))
	key, err := os.ReadFile(first.path("/etc/are-we-alive/cluster.key")) // as scp does, by root
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(m.path("/etc/are-we-alive/cluster.key"), key, 0o600); err != nil {
		t.Fatal(err)
	}
	m.sh(`echo '{"join": ["web1"], "listen": "` + address + `"}' >/etc/are-we-alive/cluster_info.json`)
	m.sh("systemctl enable --now awa-agent")
	return m
}

// lateJoin: an agent whose cluster can't be reached starts, its status says so,
// and it joins when it can.
func lateJoin(t *testing.T, first, second *machine) {
	first.must("systemctl", "stop", "awa-agent")
	second.must("systemctl", "stop", "awa-agent")
	second.sh("rm -r /var/lib/are-we-alive/*")
	second.must("systemctl", "start", "awa-agent")
	if text := second.property("StatusText"); text != "no node list yet, joining web1" {
		t.Errorf("the service says %q", text)
	}
	first.must("systemctl", "start", "awa-agent")
	testaid.Await(t, bootMost, func() error {
		if r := second.run("check_awa", "-H", "web2"); !strings.HasPrefix(r.out, "AWA OK - 2 of 2") {
			return fmt.Errorf("check_awa says %s", r.all())
		}
		return nil
	})
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
	testaid.Await(t, bootMost, func() error {
		if r := leader.run("check_awa", "-H", leader.name); !strings.HasPrefix(r.out, "AWA OK - 3 of 3") {
			return fmt.Errorf("check_awa says %s", r.all())
		}
		return nil
	})
}
