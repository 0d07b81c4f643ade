//go:build system

package packages

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"are-we-alive/packaging/manual"
	"are-we-alive/pkg/awatest/testaid"
)

// document reads a document of the project.
func document(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile("../../" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// codeOf returns the blocks of code in a section of a Markdown document.
func codeOf(t *testing.T, text, section string) []string {
	t.Helper()
	_, text, found := strings.Cut(text, "\n"+section+"\n")
	text, _, _ = strings.Cut(text, "\n## ")
	parts := strings.Split(text, "\n```")
	if !found || len(parts) < 3 {
		t.Fatalf("there is no %q, or no code in it", section)
	}
	var blocks []string
	for i := 1; i < len(parts); i += 2 {
		_, block, _ := strings.Cut(parts[i], "\n")
		blocks = append(blocks, block)
	}
	return blocks
}

// follow runs a block of a document, as it stands there, in root's home folder. What a machine
// without a network can't do is done otherwise: apt has no servers to ask, scp copies what lies
// in /root/web1, and since all machines share one loopback network, an agent that is started
// has an address of its own to listen on.
func (m *machine) follow(block, address string) string {
	m.t.Helper()
	return m.sh(`set -e
apt() { apt-get -o APT::Sandbox::User=root install -y "$2" >&2; }
scp() { install -m 600 "/root/web1${1#web1:}" "$2"; }
systemctl() {
	grep -q listen /etc/are-we-alive/cluster_info.json ||
		sed -i '0,/{/s//{"listen": "` + address + `", /' /etc/are-we-alive/cluster_info.json
	command systemctl "$@"
}
` + block)
}

// founder makes the first server of a cluster as the README says.
func founder(t *testing.T, name string) *machine {
	t.Helper()
	m := boot(t, name, nil)
	m.bring(file(t, theStage.first, kinds[0]))
	out := m.follow(codeOf(t, document(t, "README.md"), "## Install")[0], "127.0.0.11")
	wantText(t, "check_awa -v on the first server", out, "AWA OK - 1 of 1 node online", name+":25483")
	return m
}

// joined makes the nth server of a cluster as the README says.
func joined(t *testing.T, first *machine, name string, n int) *machine {
	t.Helper()
	m := boot(t, name, first)
	m.bring(file(t, theStage.first, kinds[0]))
	m.takeKey(first)
	out := m.follow(codeOf(t, document(t, "README.md"), "## Install")[1], fmt.Sprintf("127.0.0.1%d", n))
	wantText(t, "check_awa -v on "+name, out, fmt.Sprintf("AWA OK - %d of %[1]d nodes online", n), name+":25483")
	return m
}

// takeKey lays the cluster's key where scp in follow finds it.
func (m *machine) takeKey(from *machine) {
	m.t.Helper()
	key, err := os.ReadFile(from.path("/etc/are-we-alive/cluster.key"))
	if err != nil {
		m.t.Fatal(err)
	}
	m.write("/root/web1/etc/are-we-alive/cluster.key", string(key))
}

// awaitHealthy waits until all is well, and no voter is missed.
func (m *machine) awaitHealthy(nodes int) {
	m.t.Helper()
	want := fmt.Sprintf("AWA OK - %d of %[1]d nodes online |", nodes)
	testaid.Await(m.t, bootMost, func() error {
		if r := m.run("check_awa"); r.code != 0 || !strings.HasPrefix(r.out, want) {
			return fmt.Errorf("check_awa on %s says, with exit code %d: %s", m.name, r.code, r.all())
		}
		return nil
	})
}

// TestDebian_lost does what awa-agent(8) says for the cases in which servers are lost.
func TestDebian_lost(t *testing.T) {
	t.Parallel()
	first := founder(t, "web1")
	second, third := joined(t, first, "web2", 2), joined(t, first, "web3", 3)
	page := document(t, "packaging/man/awa-agent.8")
	follow := func(m *machine, section string, names ...string) string {
		t.Helper()
		found := manual.ExamplesOf(page, section)
		if len(found) != 1 {
			t.Fatalf("the section %q has %d examples", section, len(found))
		}
		return m.follow(strings.NewReplacer(names...).Replace(found[0]), "127.0.0.1")
	}
	lose := func(all ...*machine) {
		t.Helper()
		for _, m := range all {
			m.sh("systemctl stop awa-agent; rm -rf /var/lib/are-we-alive/*")
		}
	}
	first.awaitHealthy(3)

	lose(third)
	wantText(t, "check_awa", follow(third, "To reinstall a server", "another-server", "web1"), "web3")
	first.awaitHealthy(3)

	third.sh("systemctl stop awa-agent")
	wantText(t, "node remove", follow(first, "To replace a server by another one", "old-name", "web3"), "Removed web3")
	third.sh("rm -rf /var/lib/are-we-alive/*; systemctl start awa-agent")
	first.awaitHealthy(3)

	lose(second, third)
	wantText(t, "recover", follow(first, "When most voters are lost"), "now the only voter",
		"systemctl start awa-agent")
	second.sh("systemctl start awa-agent")
	third.sh("systemctl start awa-agent")
	first.awaitHealthy(3)

	first.sh("awa-agent backup list.json")
	lose(first, second, third)
	follow(first, "When all servers are lost")
	second.sh("systemctl start awa-agent")
	third.sh("systemctl start awa-agent")
	first.awaitHealthy(3)

	lose(third)
	must(t, "sh", "-c", `cp -a "$0"/* "$1"/`, first.path("/var/lib/are-we-alive"), third.path("/var/lib/are-we-alive"))
	third.sh("systemctl start awa-agent")
	testaid.Await(t, bootMost, func() error {
		if r := first.run("check_awa"); !strings.Contains(r.out, "DUPLICATE") {
			return fmt.Errorf("check_awa says %s", r.out)
		}
		return nil
	})
	follow(third, "When a machine was cloned")
	first.awaitHealthy(3)
}

// TestDebian_fromTheOriginal moves two servers of the original program as its page says.
func TestDebian_fromTheOriginal(t *testing.T) {
	t.Parallel()
	blocks := codeOf(t, document(t, "docs/FROM-THE-ORIGINAL.md"), "## How to move")
	if len(blocks) != 2 {
		t.Fatalf("there are %d blocks of commands", len(blocks))
	}
	server := func(name string, first *machine) *machine {
		t.Helper()
		m := boot(t, name, first)
		m.bring(file(t, theStage.first, kinds[0]))
		m.write("/root/cluster_info.json", `{
  "my_name": "`+name+`",
  "my_host": "`+name+`",
  "my_port": "25483"
}
`)
		return m
	}
	first := server("web1", nil)
	first.follow(blocks[0], "127.0.0.11")
	second := server("web2", first)
	second.takeKey(first)
	second.follow(blocks[1], "127.0.0.12")
	for _, m := range []*machine{first, second} {
		m.sh("rm cluster_info.json") // with the original, which was started in this folder
	}
	second.awaitHealthy(2)
	first.awaitHealthy(2)
	wantText(t, "node list", first.must("awa-agent", "node", "list"), "web1", "web2")
}
