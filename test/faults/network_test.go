//go:build system

package faults

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"are-we-alive/pkg/awatest/testaid"
)

// prefix is that of all namespaces, so that what a killed run left behind is
// found by the next one.
const prefix = "awa-faults-"

// lockFile is held by the one run that a machine can have at a time.
const lockFile = "/run/awa-faults.lock"

// The network of the hosts is one for documentation (RFC 5737), and is known
// inside of the namespaces only.
const (
	subnet   = "198.51.100."
	dnsAddr  = subnet + "53" // a name server on the bridge
	confDir  = "/etc/netns"  // what `ip netns exec` mounts over /etc
	netnsDir = "/run/netns"
)

// network is some hosts on a bridge, which has a namespace of its own. Two networks
// know nothing of each other, and have the same addresses.
type network struct {
	t      *testing.T
	prefix string // of its namespaces
	bridge *host
}

// networks counts those of this run.
var networks atomic.Int64

// host is a network namespace. Its only way out is eth0, to the bridge.
type host struct {
	t    *testing.T
	name string
	ns   string // its namespace
	addr string
}

// newNetwork makes a bridge. When the test ends, nothing may be left on it but
// empty hosts, and those are removed.
func newNetwork(t *testing.T) *network {
	t.Helper()
	if os.Geteuid() != 0 {
		testaid.Skip(t, "network namespaces take root: run  sudo make fault-test")
	}
	n := &network{t: t, prefix: fmt.Sprintf("%s%d-", prefix, networks.Add(1))}
	n.bridge = n.newHost("bridge", dnsAddr)
	t.Cleanup(func() {
		if err := remove(n.prefix); err != nil {
			t.Error(err)
		}
	})
	n.bridge.add()
	n.bridge.ip("link", "add", "br0", "type", "bridge", "forward_delay", "0", "mcast_snooping", "0")
	n.bridge.ip("addr", "add", dnsAddr+"/24", "dev", "br0")
	n.bridge.ip("link", "set", "br0", "up")
	return n
}

// lock keeps out a second run, whose load would spoil the times of both, until the
// file is closed.
func lock() (*os.File, error) {
	f, err := os.OpenFile(lockFile, os.O_CREATE|os.O_RDWR|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w: another run is under way on this machine", lockFile, err)
	}
	return f, nil
}

func (n *network) newHost(name, addr string) *host {
	return &host{t: n.t, name: name, ns: n.prefix + name, addr: addr}
}

// addHost adds a host whose address ends in the number given.
func (n *network) addHost(name string, number int) *host {
	n.t.Helper()
	h := n.newHost(name, subnet+strconv.Itoa(number))
	h.add()
	h.ip("link", "add", "eth0", "type", "veth", "peer", "name", name, "netns", n.bridge.ns)
	h.ip("addr", "add", h.addr+"/24", "dev", "eth0")
	h.ip("link", "set", "eth0", "up")
	n.bridge.ip("link", "set", name, "master", "br0", "up")
	return h
}

// add makes the namespace. Names are resolved by the server on the bridge.
func (h *host) add() {
	h.t.Helper()
	conf := filepath.Join(confDir, h.ns)
	err := errors.Join(
		os.MkdirAll(conf, 0o755),
		os.WriteFile(filepath.Join(conf, "resolv.conf"), nameservers(dnsAddr), 0o644),
		os.WriteFile(filepath.Join(conf, "hosts"), []byte("127.0.0.1 localhost\n"), 0o644),
	)
	if err != nil {
		h.t.Fatal(err)
	}
	must(h.t, "ip", "netns", "add", h.ns)
	h.ip("link", "set", "lo", "up")
}

// nameservers is a resolv.conf that names these.
func nameservers(addrs ...string) []byte {
	return []byte("nameserver " + strings.Join(addrs, "\nnameserver ") + "\n")
}

// resolveBy has the programs that are started on the host from now on ask these name
// servers, in turn.
func (h *host) resolveBy(addrs ...string) {
	h.t.Helper()
	path := filepath.Join(confDir, h.ns, "resolv.conf")
	if err := os.WriteFile(path, nameservers(addrs...), 0o644); err != nil {
		h.t.Fatal(err)
	}
}

// ip runs `ip` on the host.
func (h *host) ip(args ...string) {
	h.t.Helper()
	must(h.t, "ip", append([]string{"-n", h.ns}, args...)...)
}

// iptables runs `iptables` on the host.
func (h *host) iptables(args ...string) string {
	h.t.Helper()
	return must(h.t, "ip", append([]string{"netns", "exec", h.ns, "iptables", "-w"}, args...)...)
}

// command prepares a program that runs on the host. It dies with the test,
// whatever becomes of the test.
func (h *host) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command("ip", append([]string{"netns", "exec", h.ns, name}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "AWA_") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	return cmd
}

// inside calls f on a thread that is on the host: sockets that f opens are the
// host's. f must not start processes or goroutines that open any.
func (h *host) inside(f func() error) {
	h.t.Helper()
	done := make(chan error)
	go func() { done <- within(filepath.Join(netnsDir, h.ns), f) }()
	if err := <-done; err != nil {
		h.t.Fatalf("on host %s: %v", h.name, err)
	}
}

// within calls f in another network namespace. A thread that doesn't find back
// ends with its goroutine.
func within(netns string, f func() error) error {
	runtime.LockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return err
	}
	defer home.Close()
	there, err := os.Open(netns)
	if err != nil {
		return err
	}
	defer there.Close()
	if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
		return err
	}
	err = f()
	if back := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); back != nil {
		return errors.Join(err, back)
	}
	runtime.UnlockOSThread()
	return err
}

// cutOff drops all packets from and to the host.
func (h *host) cutOff() {
	h.iptables("-A", "INPUT", "!", "-i", "lo", "-j", "DROP")
	h.iptables("-A", "OUTPUT", "!", "-o", "lo", "-j", "DROP")
}

// deafTo drops the packets that come from others.
func (h *host) deafTo(others ...*host) {
	for _, o := range others {
		h.iptables("-A", "INPUT", "-s", o.addr, "-j", "DROP")
	}
}

// open lets all packets pass again.
func (h *host) open() { h.iptables("-F") }

// readdress returns the host another address, and lets all forget the old one.
func (h *host) readdress(addr string, others ...*host) {
	h.ip("addr", "flush", "dev", "eth0", "scope", "global")
	h.ip("addr", "add", addr+"/24", "dev", "eth0")
	for _, o := range others {
		o.ip("neigh", "flush", "all")
	}
}

// must runs a program of the system and returns what it printed.
func must(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// namespaces returns those whose names begin so.
func namespaces(prefix string) ([]string, error) {
	found, err := filepath.Glob(filepath.Join(netnsDir, prefix+"*"))
	for i, path := range found {
		found[i] = filepath.Base(path)
	}
	return found, err
}

// processes returns those that run in a namespace.
func processes(ns string) (pids []int, err error) {
	out, err := exec.Command("ip", "netns", "pids", ns).Output()
	for _, text := range strings.Fields(string(out)) {
		if pid, err := strconv.Atoi(text); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids, err
}

// removeLeftovers ends what a run that was killed left behind. The lock tells
// that no run is under way that it could belong to.
func removeLeftovers() error {
	left, err := namespaces(prefix)
	if err != nil {
		return err
	}
	for _, ns := range left {
		for pids, err := processes(ns); len(pids) > 0 || err != nil; pids, err = processes(ns) {
			if err != nil {
				return fmt.Errorf("ip netns pids %s: %w", ns, err)
			}
			for _, pid := range pids {
				syscall.Kill(pid, syscall.SIGKILL) // fails when it has just ended
			}
		}
	}
	return remove(prefix)
}

// remove removes the hosts whose namespaces begin so. It is an error when one is not
// empty.
func remove(prefix string) error {
	all, err := namespaces(prefix)
	for _, ns := range all {
		pids, listed := processes(ns)
		err = errors.Join(err, listed)
		for _, pid := range pids {
			name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
			err = errors.Join(err, fmt.Errorf("process %d is left in namespace %s: %q", pid, ns, name))
			syscall.Kill(pid, syscall.SIGKILL)
		}
		if out, failed := exec.Command("ip", "netns", "del", ns).CombinedOutput(); failed != nil {
			err = errors.Join(err, fmt.Errorf("ip netns del %s: %w: %s", ns, failed, out))
		}
		err = errors.Join(err, os.RemoveAll(filepath.Join(confDir, ns)))
	}
	return err
}
