//go:build system

package packages

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRPM_life installs, upgrades and erases the .rpm in a root of its own. The
// scripts run there, without a systemd that runs; the root is a Debian, whose
// packages rpm knows nothing of.
func TestRPM_life(t *testing.T) {
	root := copyTree(t, "rpm")
	rpm := func(args ...string) string {
		t.Helper()
		out, err := command("", "rpm", append([]string{"--root", root}, args...)...)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	in := func(line string) string { t.Helper(); return must(t, "chroot", root, "sh", "-c", line) }

	wantText(t, "rpm -i", rpm("-i", "--nodeps", file(t, theStage.first, kinds[2])), "awa-agent is installed and waits "+
		"for its configuration")
	wantText(t, "the plugin", in("readlink -f /usr/bin/check_awa"), "/usr/lib64/nagios/plugins/check_awa\n")
	wantText(t, "awa-agent", in("awa-agent --version"), "awa-agent ")
	wantText(t, "/etc/are-we-alive", in("stat -c '%U:%G %a' /etc/are-we-alive"), "root:root 755\n")
	wantText(t, "the licence", rpm("-q", "--licensefiles", "are-we-alive"), "/usr/share/licenses/are-we-alive/LICENSE\n")
	if changed := rpm("-V", "--nodeps", "are-we-alive"); changed != "" {
		t.Errorf("rpm -V: %s", changed)
	}

	in(`echo '{"first": true}' >/etc/are-we-alive/cluster_info.json; echo '# mine' ` +
		`>>/etc/are-we-alive/cluster_info.json.example; mkdir -p /var/lib/are-we-alive; echo data ` +
		`>/var/lib/are-we-alive/awa.db`)
	rpm("-U", "--nodeps", file(t, theStage.newer, kinds[2]))
	if v := rpm("-q", "--qf", "%{VERSION}", "are-we-alive"); v != newVersion {
		t.Errorf("after the upgrade it is version %s", v)
	}
	wantText(t, "the files after the upgrade", in("cat /etc/are-we-alive/* /var/lib/are-we-alive/awa.db"),
		`{"first": true}`, "# mine", "data")
	if !exists(filepath.Join(root, "usr/lib/systemd/system/awa-agent.service")) {
		t.Error("the upgrade took the service")
	}

	rpm("-e", "are-we-alive")
	for name, want := range map[string]bool{
		"usr/bin/awa-agent": false, "usr/bin/check_awa": false, "usr/lib64/nagios/plugins/check_awa": false,
		"usr/lib/systemd/system/awa-agent.service": false,
		"usr/share/doc/are-we-alive":               false, "etc/systemd/system/multi-user.target.wants/awa-agent.service": false,
		"etc/are-we-alive/cluster_info.json": true, "var/lib/are-we-alive/awa.db": true,
	} {
		if exists(filepath.Join(root, name)) != want {
			t.Errorf("after rpm -e, that %s is there is not %v", name, want)
		}
	}
}

// TestRPM_service has dnf install, upgrade and remove the .rpm on a machine with
// a systemd that runs. The machine is a Debian with dnf, in which a package of
// the test's own stands for what every system of RPM has.
func TestRPM_service(t *testing.T) {
	t.Parallel()
	m := bootTree(t, "web1", treeWith(t, "web1", "dnf"), nil)
	dnf := func(what string) string { t.Helper(); return m.sh("dnf --releasever=1 -y " + what + " 2>&1") }
	dnf("install " + m.bring(shellRPM(t)))

	wantText(t, "dnf", dnf("install "+m.bring(file(t, theStage.first, kinds[2]))), "awa-agent is installed and waits "+
		"for its configuration")
	wantText(t, "systemctl status", m.status(), "inactive (dead)")
	m.sh("awa-agent key new")
	m.sh(`echo '{"first": true}' >/etc/are-we-alive/cluster_info.json`)
	m.sh("systemctl enable --now awa-agent")
	m.awaitOK(1)
	m.must("awa-agent", "node", "set", "web1", "--label", "rack=7")
	list, pid := m.must("awa-agent", "node", "list"), m.property("MainPID")

	newer := m.bring(file(t, theStage.newer, kinds[2]))
	dnf("install " + newer)
	m.awaitRestart(pid)
	m.awaitOK(1)
	if after := m.must("awa-agent", "node", "list"); after != list {
		t.Errorf("after the upgrade the list is\n%s\nit was\n%s", after, list)
	}
	m.sh("systemctl stop awa-agent")
	dnf("reinstall " + newer)
	if state := m.property("ActiveState") + " " + m.property("UnitFileState"); state != "inactive enabled" {
		t.Errorf("an agent that was stopped is %s after an upgrade", state)
	}
	m.sh("systemctl start awa-agent")

	dnf("remove are-we-alive")
	if running := m.sh("readlink /proc/[0-9]*/exe"); strings.Contains(running, "awa-agent") || !strings.Contains(running,
		"systemd") {
		t.Errorf("an agent still runs: %s", running)
	}
	if !exists(m.path("/var/lib/are-we-alive/awa.db")) ||
		exists(m.path("/etc/systemd/system/multi-user.target.wants/awa-agent.service")) {
		t.Error("after dnf remove the data are gone, or the service is enabled")
	}
}

// shellRPM makes a package that provides /bin/sh.
func shellRPM(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	text := "name: shell\narch: all\nversion: 1\nmaintainer: nobody <nobody@are-we-alive.example>\ndescription: a " +
		"shell\nprovides: [/bin/sh]\n"
	if err := os.WriteFile(filepath.Join(dir, "nfpm.yaml"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	script := must(t, "sed", "-n", "s/^nfpm=//p", "../../packaging/build.sh")
	must(t, "go", "run", strings.TrimSpace(script), "package", "--config", filepath.Join(dir, "nfpm.yaml"), "--packager",
		"rpm", "--target", dir)
	return file(t, dir, ".rpm")
}

func TestRPM_scripts(t *testing.T) {
	sysusers, err := os.ReadFile("../../packaging/systemd/awa-agent.sysusers")
	if err != nil {
		t.Fatal(err)
	}
	_, user, _ := strings.Cut(string(sysusers), "\n") // below the comment
	for _, kind := range kinds[2:] {
		out := must(t, "rpm", "-qp", "--scripts", file(t, theStage.first, kind))
		wantText(t, "rpm -qp --scripts", out, "preinstall scriptlet (using /bin/sh)", "postinstall scriptlet",
			"preuninstall scriptlet", "postuninstall scriptlet", strings.TrimSpace(user), "try-restart awa-agent.service")
	}
}
