//go:build system

package packages

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"are-we-alive/pkg/awatest/testaid"
)

// TestDebian_two_servers types what the README says, on two fresh servers, until
// check_awa -v. The servers share one loopback network, so each is told the
// address to listen on besides.
func TestDebian_two_servers(t *testing.T) {
	first := boot(t, "web1", nil)
	second := boot(t, "web2", first)
	deb := file(t, theStage.first, kinds[0])

	first.install(deb)
	first.sh("awa-agent key new")
	first.sh(`echo '{"first": true, "listen": "127.0.0.11"}' >/etc/are-we-alive/cluster_info.json`)
	first.sh("systemctl enable --now awa-agent")
	wantText(t, "check_awa on the first", first.must("check_awa", "-H", "web1", "-v"), "AWA OK - 1 of 1 node online")

	second.install(deb)
	key, err := os.ReadFile(first.path("/etc/are-we-alive/cluster.key")) // as scp does, by root
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(second.path("/etc/are-we-alive/cluster.key"), key, 0o600); err != nil {
		t.Fatal(err)
	}
	second.sh(`echo '{"join": ["web1"], "listen": "127.0.0.12"}' >/etc/are-we-alive/cluster_info.json`)
	second.sh("systemctl enable --now awa-agent")
	wantText(t, "check_awa on the second", second.must("check_awa", "-H", "web2", "-v"), "AWA OK - 2 of 2 nodes online", "web1  web1", "web2  web2")

	// An agent whose cluster can't be reached starts, and its status says so.
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
