//go:build system

package packages

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"are-we-alive/pkg/awatest/testaid"
)

// bootMost is how long a machine may take to boot or to end.
const bootMost = time.Minute

// hosts names the servers, in place of DNS.
const hosts = "127.0.0.1 localhost\n127.0.0.11 web1\n127.0.0.12 web2\n127.0.0.13 web3\n"

// starts is how many machines have been turned on, so that each has a name of its own.
var starts atomic.Int64

// machine is a Debian of its own, booted in a container without a network but
// for loopback.
type machine struct {
	t    *testing.T
	name string
	dir  string // its files, as seen from outside

	beside *machine  // whose network it has; nil for one of its own
	cmd    *exec.Cmd // systemd-nspawn
	ended  chan struct{}
	init   string // the process id of its systemd
	screen bytes.Buffer
}

// copyTree returns a folder with a minimal Debian of the test's own.
func copyTree(t *testing.T, name string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), name)
	must(t, "cp", "-a", theStage.tree, dir)
	return dir
}

// treeWith is copyTree with further packages of Debian, from the mirror that this machine uses.
func treeWith(t *testing.T, name string, packages ...string) string {
	t.Helper()
	tree := copyTree(t, name)
	must(t, "systemd-nspawn", "--quiet", "--pipe", "--register=no", "--keep-unit", "--directory="+tree,
		"sh", "-c", "apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "+
			strings.Join(packages, " "))
	return tree
}

// boot starts a minimal Debian, see bootTree.
func boot(t *testing.T, name string, beside *machine) *machine {
	t.Helper()
	return bootTree(t, name, copyTree(t, name), beside)
}

// bootTree starts a machine out of a folder and waits until it is up. It is
// gone when the test has ended, and turned off when the test's process dies. A
// machine joins the network of another one, unless that is nil.
func bootTree(t *testing.T, name, dir string, beside *machine) *machine {
	t.Helper()
	m := &machine{t: t, name: name, dir: dir, beside: beside}
	m.write("/etc/hostname", name+"\n")
	m.write("/etc/hosts", hosts)
	m.start()
	return m
}

// start turns the machine on, and waits until it is up.
func (m *machine) start() {
	m.t.Helper()
	name, t := m.name, m.t
	network := "--private-network"
	if m.beside != nil {
		network = "--network-namespace-path=/proc/" + m.beside.init + "/ns/net"
	}
	m.ended = make(chan struct{})
	ended := m.ended
	into := ""
	id := fmt.Sprint(name, "-", starts.Add(1))
	for _, cgroup := range ownCgroups(t, id) {
		into += "echo $$ >" + cgroup + "/cgroup.procs && "
	}
	m.cmd = exec.Command("sh", "-c", into+`exec "$@"`, "sh", "systemd-nspawn", "--quiet", "--boot", "--register=no",
		"--keep-unit", network,
		"--kill-signal=SIGRTMIN+4", "--console=pipe", "--machine=awa-"+id, "--directory="+m.dir)
	m.cmd.Stdout, m.cmd.Stderr = &m.screen, &m.screen
	// At SIGTERM it turns the machine off; killed, it would leave it running.
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := m.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	cmd := m.cmd
	go func() {
		cmd.Wait() // what it says is in screen
		close(ended)
	}()
	t.Cleanup(m.stop)
	testaid.Await(t, bootMost, m.up)
}

// reboot has the machine reboot. Since it does not run as a service, systemd-nspawn ends
// for that, and is to be started again (--keep-unit).
func (m *machine) reboot() {
	m.t.Helper()
	m.run("systemctl", "reboot") // it may end before it has answered
	select {
	case <-m.ended:
	case <-time.After(bootMost):
		m.t.Fatal("the machine does not go down")
	}
	m.start()
}

// up says what the machine lacks to be up.
func (m *machine) up() error {
	select {
	case <-m.ended:
		m.t.Fatalf("the machine has ended:\n%s", &m.screen)
	default:
	}
	pid := strconv.Itoa(m.cmd.Process.Pid)
	children, err := os.ReadFile("/proc/" + pid + "/task/" + pid + "/children")
	if err != nil || len(strings.Fields(string(children))) == 0 {
		return fmt.Errorf("it has not begun to boot (%v)", err)
	}
	m.init = strings.Fields(string(children))[0]
	if r := m.run("systemctl", "is-system-running"); r.out != "running\n" {
		return errors.New("it is " + r.out + r.errors)
	}
	return nil
}

// stop turns the machine off, and kills it when it takes too long.
func (m *machine) stop() {
	select {
	case <-m.ended: // a test has turned it off
		return
	default:
	}
	if m.t.Failed() {
		m.t.Logf("the journal of %s:\n%s", m.name, m.run("journalctl", "--no-pager", "-n", "100", "-u", "awa-agent").out)
	}
	m.cmd.Process.Signal(syscall.SIGTERM) // fails when it has ended
	select {
	case <-m.ended:
		return
	case <-time.After(bootMost):
		m.t.Error("the machine does not turn off, killing it")
	}
	if init, err := strconv.Atoi(m.init); err == nil {
		syscall.Kill(init, syscall.SIGKILL) // and with it all that runs there
	}
	m.cmd.Process.Kill()
	<-m.ended
}

// result is what a command has come to.
type result struct {
	code        int
	out, errors string
}

// all is both outputs.
func (r result) all() string { return r.out + r.errors }

// run runs a command on the machine, as root.
func (m *machine) run(args ...string) result {
	m.t.Helper()
	cmd := exec.Command("nsenter", append([]string{"--target", m.init, "--all", "--wdns=/root",
		"env", "-i", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C.UTF-8",
		"DEBIAN_FRONTEND=noninteractive"}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		m.t.Fatal(err)
	}
	return result{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
}

// must runs a command on the machine that must succeed, and returns its stdout.
func (m *machine) must(args ...string) string {
	m.t.Helper()
	r := m.run(args...)
	if r.code != 0 {
		m.t.Fatalf("%v on %s: exit code %d\n%s", args, m.name, r.code, r.all())
	}
	return r.out
}

// sh runs a line of shell on the machine, as an administrator types it.
func (m *machine) sh(line string) string { m.t.Helper(); return m.must("sh", "-c", line) }

// path is where a file of the machine is, seen from outside.
func (m *machine) path(name string) string { return filepath.Join(m.dir, name) }

func (m *machine) write(name, text string) {
	m.t.Helper()
	if err := os.MkdirAll(filepath.Dir(m.path(name)), 0o755); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(m.path(name), []byte(text), 0o644); err != nil {
		m.t.Fatal(err)
	}
}

// bring copies a file from outside to /root, and returns its name there.
func (m *machine) bring(path string) string {
	m.t.Helper()
	name := "/root/" + filepath.Base(path)
	must(m.t, "cp", path, m.path(name))
	return name
}

// install has apt install a package from outside.
func (m *machine) install(path string) string {
	m.t.Helper()
	name := m.bring(path)
	defer os.Remove(m.path(name))
	return m.sh("apt-get -o APT::Sandbox::User=root install -y --reinstall " + name + " 2>&1")
}

// property returns one of the service's.
func (m *machine) property(name string) string {
	m.t.Helper()
	return strings.TrimSpace(m.must("systemctl", "show", "--value", "-p", name, "awa-agent"))
}

// status is systemctl status with the newest lines of the journal.
func (m *machine) status() string {
	m.t.Helper()
	m.must("journalctl", "--sync")
	return m.run("systemctl", "status", "--no-pager", "--full", "awa-agent").all()
}

// journal holds all that the service has said.
func (m *machine) journal() string {
	m.t.Helper()
	m.must("journalctl", "--sync")
	return m.must("journalctl", "--no-pager", "-u", "awa-agent", "-o", "cat")
}

// awaitStatus waits until the service's line in systemctl status is this one.
func (m *machine) awaitStatus(want string) {
	m.t.Helper()
	testaid.Await(m.t, bootMost, func() error {
		if text := m.property("StatusText"); text != want {
			return fmt.Errorf("the service says %q, want %q", text, want)
		}
		return nil
	})
}

// awaitOK waits until check_awa says OK of a number of nodes.
func (m *machine) awaitOK(nodes int) {
	m.t.Helper()
	want := fmt.Sprintf("AWA OK - %d of %d node", nodes, nodes)
	testaid.Await(m.t, bootMost, func() error {
		if r := m.run("check_awa"); r.code != 0 || !strings.HasPrefix(r.out, want) {
			return fmt.Errorf("check_awa on %s says, with exit code %d: %s", m.name, r.code, r.all())
		}
		return nil
	})
}

// awaitRestart waits until another main process than the one given runs, and
// returns its id.
func (m *machine) awaitRestart(before string) string {
	m.t.Helper()
	var pid string
	testaid.Await(m.t, bootMost, func() error {
		pid = m.property("MainPID")
		if state := m.property("ActiveState"); pid == before || pid == "0" || state != "active" {
			return fmt.Errorf("the service is %s with the main process %s:\n%s", state, pid, m.status())
		}
		return nil
	})
	return pid
}
