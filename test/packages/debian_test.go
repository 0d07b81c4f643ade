//go:build system

package packages

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"are-we-alive/pkg/awatest/testaid"
)

// TestDebian_life is a server's whole life with the package, step by step: each
// goes on where the one before has left off.
func TestDebian_life(t *testing.T) {
	t.Parallel()
	m := boot(t, "web1", nil)
	before := m.files()
	steps := []struct {
		name string
		step func(*testing.T, *machine)
	}{
		{"install", installed}, {"wrong configuration", misconfigured}, {"set up", setUp}, {"the key's owner", keyOwner},
		{"monitoring host", monitored}, {"without IPv6", withoutIPv6}, {"restart and reload", restarted}, {"killed",
			killed}, {"watchdog", watched},
		{"restore", restored}, {"upgrade", upgraded}, {"upgrade of a stopped one", upgradedStopped}, {"remove",
			removed}, {"purge", purged},
	}
	for _, s := range steps {
		ok := t.Run(s.name, func(t *testing.T) {
			m.t = t
			s.step(t, m)
		})
		if m.t = t; !ok {
			return
		}
	}
	after := m.files()
	for name := range after {
		if !before[name] {
			t.Errorf("purge leaves %s", name)
		}
	}
	for name := range before {
		if !after[name] {
			t.Errorf("purge took %s, which is not of the package", name)
		}
	}
}

// transient are folders and files that change by themselves, and those of dpkg,
// apt and shadow about what they do. The service's user stays, see postrm.
var transient = []string{
	"/dev", "/proc", "/run", "/sys", "/tmp", "/root", "/var/tmp", "/var/log", "/var/cache", "/var/lib/apt",
	"/var/lib/systemd/timers", "/var/lib/systemd/random-seed", "/var/lib/private", "/var/lib/dpkg/status-old",
	"/var/lib/dpkg/available-old",
	"/etc/.pwd.lock", "/etc/passwd-", "/etc/group-", "/etc/shadow-", "/etc/gshadow-",
}

// files are all files of the machine that something should have an owner for.
func (m *machine) files() map[string]bool {
	m.t.Helper()
	skip := map[string]bool{}
	for _, name := range transient {
		skip[name] = true
	}
	all := map[string]bool{}
	err := filepath.WalkDir(m.dir, func(path string, d fs.DirEntry, err error) error {
		name := strings.TrimPrefix(path, m.dir)
		switch {
		case err != nil:
			return err
		case skip[name] && d.IsDir():
			return fs.SkipDir
		case !skip[name]:
			all[name] = true
		}
		return nil
	})
	if err != nil || len(all) < 5000 {
		m.t.Fatalf("the machine has %d files (%v)", len(all), err)
	}
	return all
}

// wantText wants all of the texts in another one.
func wantText(t *testing.T, what, text string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(text, w) {
			t.Errorf("%s does not say %q:\n%s", what, w, text)
		}
	}
}

// installed: the service is there, waits, and everything says for what.
func installed(t *testing.T, m *machine) {
	wantText(t, "apt", m.install(file(t, theStage.first, kinds[0])), "/etc/are-we-alive/cluster_info.json",
		"awa-agent key new", "systemctl enable --now awa-agent")
	const waits = "ConditionPathExists=/etc/are-we-alive/cluster_info.json was not met"
	wantText(t, "systemctl status", m.status(), "inactive (dead)", "enabled", waits, "man:awa-agent(8)")
	m.must("systemctl", "start", "awa-agent")
	wantText(t, "the journal", m.journal(), "was skipped because of an unmet condition check "+
		"(ConditionPathExists=/etc/are-we-alive/cluster_info.json)")
	if failed := m.must("systemctl", "--failed", "--no-legend", "--plain"); failed != "" {
		t.Errorf("an agent that is not set up counts as failed: %s", failed)
	}
	if got := m.sh("stat -c '%U:%G %a' /etc/are-we-alive"); got != "root:root 755\n" {
		t.Errorf("/etc/are-we-alive is %s", got)
	}
	wantText(t, "the link", m.sh("readlink -f /usr/bin/check_awa"), "/usr/lib/nagios/plugins/check_awa\n")
	wantText(t, "the user", m.sh("getent passwd _awa-agent"), ":/usr/sbin/nologin\n")
}

// misconfigured: wrong configuration ends the service once, with a sentence.
func misconfigured(t *testing.T, m *machine) {
	m.sh("awa-agent key new /etc/are-we-alive/other.key") // only the usual one is given to the service
	for text, want := range map[string]string{
		`my_name = web1`: "/etc/are-we-alive/cluster_info.json:1:1 is not JSON",
		`{"first": true, "my_host": "192.0.2.1"}`: "make the cluster's key with awa-agent key new, or copy it from " +
			"another server",
		`{"first": true, "key_file": "/etc/are-we-alive/other.key"}`: "key file: open /etc/are-we-alive/other.key: " +
			"permission denied: this runs as _awa-agent, so give the file to that user with chown",
		`{"my_host": "127.0.0.1"}`: "in cluster_info.json: \"first\": true, or \"join\": [\"HOST\"]",
	} {
		m.write("/etc/are-we-alive/cluster_info.json", text)
		if r := m.run("systemctl", "start", "awa-agent"); r.code == 0 {
			t.Errorf("it starts with %s", text)
		}
		wantText(t, "systemctl status", m.status(), "awa-agent: ", want, "status=2", "Active: failed")
		wantText(t, "the journal's errors", m.must("journalctl", "--no-pager", "-u", "awa-agent", "-o", "cat", "-p", "err"),
			want)
		if n := m.property("NRestarts"); n != "0" {
			t.Errorf("with %s it was started again %s times", text, n)
		}
	}
	m.must("systemctl", "reset-failed", "awa-agent")
}

// setUp follows the README: a key, a configuration, a start.
func setUp(t *testing.T, m *machine) {
	// as it stands, it is a first server
	m.sh("cp /etc/are-we-alive/cluster_info.json.example /etc/are-we-alive/cluster_info.json")
	m.sh("systemctl enable --now awa-agent") // before there is a key
	const noKey = "1 of 1 node online, leader web1; no key: loopback only"
	m.awaitStatus(noKey)
	m.awaitJournal("this agent has no key, so it listens on loopback only")
	m.awaitOK(1) // at 127.0.0.1, though the host's name is another address
	m.must("systemctl", "reload", "awa-agent")
	m.awaitJournal("this agent still has no key")
	m.awaitStatus(noKey)
	pid := m.property("MainPID")
	m.sh("awa-agent key new")
	m.must("systemctl", "reload", "awa-agent")
	m.awaitStatus("1 of 1 node online, leader web1")
	if now := m.property("MainPID"); now != pid {
		t.Errorf("the reload with a new key ended the process %s, and %s runs", pid, now)
	}
	wantText(t, "check_awa -v", m.must("check_awa", "-v"), "AWA OK - 1 of 1 node online", "web1:25483")
	for property, want := range map[string]string{"User": "_awa-agent", "Type": "notify", "NRestarts": "0",
		"LimitNOFILE": "32768"} {
		if got := m.property(property); got != want {
			t.Errorf("the service has %s=%s, want %s", property, got, want)
		}
	}
	m.awaitStatus("1 of 1 node online, leader web1")
	// All agents ping at once: connections that wait for the agent must not be
	// fewer than the machine allows, which it reads in /proc.
	most := strings.TrimSpace(m.must("cat", "/proc/sys/net/core/somaxconn"))
	if queue := strings.Fields(must(t, "nsenter", "--target", m.init, "--net", "ss", "-Hltn",
		"sport = :25483")); len(queue) < 3 || queue[2] != most {
		t.Errorf("the agent listens with %q, want a queue of %s", queue, most)
	}
	m.must("awa-agent", "node", "set", "web1", "--label", "rack=7")
	if got := m.sh("stat -c '%U %a' /var/lib/are-we-alive"); got != "_awa-agent 700\n" {
		t.Errorf("/var/lib/are-we-alive is %s", got)
	}
}

// keyOwner: a key that root has brought is given to the service, at a start
// and at a reload; one that others can read stays refused.
func keyOwner(t *testing.T, m *machine) {
	const key = "/etc/are-we-alive/cluster.key"
	m.sh("systemctl stop awa-agent; chown root:root " + key)
	m.must("systemctl", "start", "awa-agent")
	if got := m.sh("stat -c '%U %a' " + key); got != "_awa-agent 600\n" {
		t.Errorf("the key file is %s", got)
	}
	m.sh("cp " + key + " /root/k; chown root:root /root/k; chmod 600 /root/k; mv /root/k " + key)
	m.must("systemctl", "reload", "awa-agent")
	m.awaitJournal("read the key file again")

	m.sh("chmod 644 " + key)
	m.must("systemctl", "reload", "awa-agent")
	m.awaitStatus("1 of 1 node online, leader web1; the last reload changed nothing: key file " + key +
		": other users may read it (its mode is 0644): run chmod 600 on it, and make a new key if somebody may " +
		"have read it")
	m.sh("chmod 600 " + key)
	m.awaitOK(1) // it works on with the key it had
	m.must("systemctl", "reload", "awa-agent")
	m.awaitStatus("1 of 1 node online, leader web1")
}

// awaitJournal waits for a line of the service.
func (m *machine) awaitJournal(text string) {
	m.t.Helper()
	testaid.Await(m.t, bootMost, func() error {
		if !strings.Contains(m.journal(), text) {
			return fmt.Errorf("the journal has no %q", text)
		}
		return nil
	})
}

// monitored: who runs the plugin reads a check key, and not the cluster's.
func monitored(t *testing.T, m *machine) {
	m.sh("useradd --system --create-home nagios")
	m.sh("awa-agent key check /etc/are-we-alive/check.key && chown nagios /etc/are-we-alive/check.key")
	if r := m.run("runuser", "-u", "nagios", "--", "/usr/lib/nagios/plugins/check_awa"); r.code != 0 ||
		!strings.HasPrefix(r.out, "AWA OK") {
		t.Errorf("for nagios check_awa ends with %d: %s", r.code, r.all())
	}
	if r := m.run("runuser", "-u", "nagios", "--", "awa-agent", "node", "remove", "web1"); r.code == 0 {
		t.Error("nagios may edit the list")
	}
	m.sh("userdel -r nagios 2>&1 || true")
}

// withoutIPv6: many turn it off, which leaves sockets of it that can be listened
// on and not be reached. The agent, which listens on such a one, still looks at
// itself.
func withoutIPv6(t *testing.T, m *machine) {
	turn := func(off string) {
		m.sh("for link in all lo; do f=/proc/sys/net/ipv6/conf/$link/disable_ipv6; [ ! -e $f ] || echo " + off + " >$f; done")
	}
	turn("1")
	m.must("systemctl", "restart", "awa-agent")
	m.awaitOK(1)
	m.awaitStatus("1 of 1 node online, leader web1")
	turn("0")
}

func restarted(t *testing.T, m *machine) {
	before := m.property("MainPID")
	m.must("systemctl", "restart", "awa-agent")
	pid := m.awaitRestart(before)
	m.awaitOK(1)
	m.must("systemctl", "reload", "awa-agent")
	m.awaitOK(1)
	if now := m.property("MainPID"); now != pid || m.property("NRestarts") != "0" {
		t.Errorf("a reload has restarted it: %s, then %s", pid, now)
	}
}

func killed(_ *testing.T, m *machine) {
	pid := m.property("MainPID")
	m.sh("kill -9 " + pid)
	m.awaitRestart(pid)
	m.awaitOK(1)
}

// watched: a main process that stands still is ended and started again, though
// the exit code of a Go program that is aborted would be that of a wrong
// configuration.
func watched(t *testing.T, m *machine) {
	m.write("/etc/systemd/system/awa-agent.service.d/quick.conf", "[Service]\nWatchdogSec=2\n")
	m.sh("systemctl daemon-reload && systemctl restart awa-agent")
	m.awaitOK(1)
	pid := m.property("MainPID")
	m.sh("kill -STOP " + pid)
	m.awaitRestart(pid)
	m.awaitOK(1)
	wantText(t, "the journal", m.journal(), "Watchdog timeout", "Scheduled restart job", "goroutine ")
	m.sh("rm -r /etc/systemd/system/awa-agent.service.d && systemctl daemon-reload && systemctl restart awa-agent")
	m.awaitOK(1)
}

// restored: root puts a backup back, and the service can read what root wrote.
func restored(t *testing.T, m *machine) {
	before := m.must("awa-agent", "node", "list")
	m.sh("awa-agent backup /root/list.json && systemctl stop awa-agent && rm -r /var/lib/are-we-alive/*")
	m.sh("awa-agent restore /root/list.json && systemctl start awa-agent")
	m.awaitOK(1)
	if after := m.must("awa-agent", "node", "list"); after != before {
		t.Errorf("the list is\n%s\nit was\n%s", after, before)
	}
}

// upgraded: data, configuration and what was edited stay, and the new program
// runs.
func upgraded(t *testing.T, m *machine) {
	m.sh("echo '# mine' >>/etc/are-we-alive/cluster_info.json.example")
	kept := func() string {
		return m.sh("cat /etc/are-we-alive/cluster_info.json /etc/are-we-alive/cluster_info.json.example " +
			"/etc/are-we-alive/cluster.key; stat -c '%n %U %G %a' /etc/are-we-alive /etc/are-we-alive/* " +
			"/var/lib/are-we-alive; awa-agent node list; awa-agent changes")
	}
	before, pid := kept(), m.property("MainPID")
	m.install(file(t, theStage.newer, kinds[0]))
	m.awaitRestart(pid)
	m.awaitOK(1)
	if after := kept(); after != before {
		t.Errorf("the upgrade has changed what must stay:\n%s\nit was\n%s", after, before)
	}
	if v := m.sh("dpkg-query -W -f '${Version}' are-we-alive"); v != newVersion+"-1" {
		t.Errorf("the version is %s", v)
	}
	// What it runs is the file of now, not one that was deleted.
	if exe := m.sh("readlink /proc/" + m.property("MainPID") + "/exe"); exe != "/usr/bin/awa-agent\n" {
		t.Errorf("it runs %s", exe)
	}
}

// upgradedStopped: one that was stopped stays so, enabled or not.
func upgradedStopped(t *testing.T, m *machine) {
	for before, want := range map[string]string{
		"disable --now awa-agent": "inactive disabled",
		"stop awa-agent":          "inactive enabled",
	} {
		m.sh("systemctl " + before)
		m.install(file(t, theStage.newer, kinds[0])) // scripts and all, as for a newer one
		if state := m.property("ActiveState") + " " + m.property("UnitFileState"); state != want {
			t.Errorf("after systemctl %s and an upgrade, the agent is %s, want %s", before, state, want)
		}
		m.must("systemctl", "enable", "--now", "awa-agent")
		m.awaitOK(1)
	}
}

// removed: the programs go, the agent ends, data and configuration stay; and
// installed again all is as it was.
func removed(t *testing.T, m *machine) {
	m.sh("apt-get remove -y are-we-alive 2>&1")
	if running := m.sh("readlink /proc/[0-9]*/exe"); strings.Contains(running, "awa-agent") || !strings.Contains(running,
		"systemd") {
		t.Errorf("an agent still runs: %s", running)
	}
	for name, want := range map[string]bool{
		"/usr/bin/awa-agent": false, "/usr/bin/check_awa": false, "/lib/systemd/system/awa-agent.service": false,
		"/etc/are-we-alive/cluster_info.json": true, "/etc/are-we-alive/cluster.key": true,
		"/var/lib/are-we-alive/awa.db": true,
	} {
		if exists(m.path(name)) != want {
			t.Errorf("after remove, that %s is there is not %v", name, want)
		}
	}
	m.install(file(t, theStage.newer, kinds[0]))
	m.awaitOK(1)
}

func purged(t *testing.T, m *machine) {
	m.write("/etc/are-we-alive/note", "an administrator's own file\n")
	m.sh("apt-get purge -y are-we-alive 2>&1")
	for _, name := range []string{"/etc/are-we-alive", "/var/lib/are-we-alive"} {
		if _, err := os.Lstat(m.path(name)); err == nil {
			t.Errorf("purge leaves %s", name)
		}
	}
	m.must("getent", "passwd", "_awa-agent")
}
