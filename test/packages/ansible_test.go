//go:build system

package packages

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"are-we-alive/pkg/awatest/testaid"
)

// fleet are three machines as Ansible reaches them.
type fleet struct {
	t         *testing.T
	dir       string // of the inventory
	inventory string
	machines  []*machine
}

// newFleet boots three Debians with Python, which Ansible needs there.
func newFleet(t *testing.T) *fleet {
	t.Helper()
	f := &fleet{t: t, dir: t.TempDir()}
	tree := treeWith(t, "python", "python3-apt")
	// What takes the place of ssh: a machine has no network.
	ssh := `#!/bin/sh
while [ $# -gt 2 ]; do shift; done
exec nsenter --target "$(cat "` + f.dir + `/$1")" --all --wdns=/root env -i HOME=/root LC_ALL=C.UTF-8 \
	PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin sh -c "$2"
`
	if err := os.WriteFile(filepath.Join(f.dir, "ssh"), []byte(ssh), 0o755); err != nil {
		t.Fatal(err)
	}
	text := "[are_we_alive]\n"
	for i, name := range []string{"web1", "web2", "web3"} {
		dir := filepath.Join(t.TempDir(), name)
		must(t, "cp", "-a", tree, dir)
		var beside *machine
		if i > 0 {
			beside = f.machines[0]
		}
		m := bootTree(t, name, dir, beside)
		f.machines = append(f.machines, m)
		if err := os.WriteFile(filepath.Join(f.dir, name), []byte(m.init), 0o600); err != nil {
			t.Fatal(err)
		}
		text += fmt.Sprintf("%s awa_settings='{\"listen\": \"127.0.0.1%d\"}'\n", name, i+1)
	}
	text += "[are_we_alive:vars]\nansible_become=false\nansible_ssh_executable=" + filepath.Join(f.dir, "ssh") +
		"\nansible_ssh_transfer_method=piped\nansible_ssh_args=\nansible_python_interpreter=/usr/bin/python3\n"
	f.inventory = filepath.Join(f.dir, "inventory")
	if err := os.WriteFile(f.inventory, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return f
}

// play runs the playbook, and returns what Ansible says.
func (f *fleet) play(args ...string) string {
	f.t.Helper()
	cmd := exec.CommandContext(f.t.Context(), "ansible-playbook", append([]string{"-i", f.inventory,
		"../../packaging/ansible/are-we-alive.yml"}, args...)...)
	cmd.Env = append(os.Environ(), "HOME="+f.dir, "ANSIBLE_PIPELINING=true", "ANSIBLE_NOCOLOR=true")
	out, err := cmd.CombinedOutput()
	if err != nil {
		f.t.Fatalf("ansible-playbook %q: %v\n%s", args, err, out)
	}
	return string(out)
}

// TestAnsible sets up a cluster with the playbook, gives it a new key, and upgrades it.
func TestAnsible(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	old := file(t, theStage.first, kinds[0])
	f.play("-e", "package="+old)
	for _, m := range f.machines {
		m.awaitOK(3)
	}
	first := f.machines[0]
	key := func(m *machine) string { return m.sh("grep -v '^#' /etc/are-we-alive/cluster.key") }
	before := key(first)
	if out := f.play("-e", "package="+old); strings.Count(out, "changed=0") != 3 {
		t.Errorf("played again, it changes something:\n%s", out)
	}

	f.play("--tags", "rotate")
	for _, m := range f.machines {
		if now := key(m); now == before || now != key(first) || strings.Count(now, "\n") != 1 {
			t.Error("the keys are not one new key")
		}
		m.awaitOK(3)
	}
	if r := first.run("ls", "/etc/are-we-alive/new.key"); r.code == 0 {
		t.Error("the new key lies about")
	}

	f.play("-e", "package="+file(t, theStage.newer, kinds[0]))
	for _, m := range f.machines {
		if got := strings.TrimSpace(m.must("dpkg-query", "-W", "-f", "${Version}", "are-we-alive")); got != newVersion+"-1" {
			t.Errorf("%s has the version %s", m.name, got)
		}
	}
	testaid.Await(t, bootMost, func() error {
		r := first.run("check_awa")
		if !strings.HasPrefix(r.out, "AWA OK - 3 of 3 nodes online") {
			return fmt.Errorf("check_awa says %s", r.all())
		}
		return nil
	})
}
