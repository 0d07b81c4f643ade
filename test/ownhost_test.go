//go:build system

package test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"are-we-alive/pkg/awatest/testaid"
)

// envOwnHost tells a test that it has a host of its own.
const envOwnHost = "AWA_TEST_OWN_HOST"

// ownHost runs a test again in a process with a network, a file system and
// processes of its own, so that programs can be configured where a distribution
// has them configured, on the ports they have by default, and none outlives the
// test. It reports whether this is that process; the other one is done then.
//
// The network is lo with the addresses given. The files are the machine's, but
// for folders that were handed to ownFolder. The test needs root and the
// programs named.
func ownHost(t *testing.T, addrs []string, programs ...string) bool {
	t.Helper()
	if os.Getenv(envOwnHost) != "" {
		err := syscall.Mount("proc", "/proc", "proc", 0, "")
		if err != nil {
			t.Fatal("mount /proc: ", err)
		}
		must(t, "ip", "link", "set", "lo", "up")
		for _, a := range addrs {
			must(t, "ip", "addr", "add", a+"/32", "dev", "lo")
		}
		return true
	}
	if os.Geteuid() != 0 {
		testaid.Skip(t, "a host of its own takes root: run  sudo make system-test")
	}
	for _, name := range append(programs, "ip") {
		if _, err := exec.LookPath(name); err != nil {
			testaid.Skip(t, err, "; test/install-debian.sh installs it")
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=4m")
	cmd.Env = append(os.Environ(), envOwnHost+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Unshareflags: syscall.CLONE_NEWNS, // this way nothing mounted in there is seen out here
		Cloneflags:   syscall.CLONE_NEWNET | syscall.CLONE_NEWPID,
		Pdeathsig:    syscall.SIGKILL,
	}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Fatalf("on a host of its own: %v\n%s", err, out)
	}
	return false
}

// ownFolder makes what happens in a folder of the machine happen in a copy,
// which only this host sees.
func ownFolder(t *testing.T, dirs ...string) {
	t.Helper()
	for _, dir := range dirs {
		own := t.TempDir()
		must(t, "cp", "-a", dir+"/.", own)
		if err := syscall.Mount(own, dir, "", syscall.MS_BIND, ""); err != nil {
			t.Fatal("mount ", dir, ": ", err)
		}
	}
}

// must runs a program of the machine and returns its output.
func must(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// install copies a file to where its users have it, with an owner and a mode.
func install(t *testing.T, from, to, owner string, mode os.FileMode) {
	t.Helper()
	who, err := user.Lookup(owner)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.Atoi(who.Uid)
	gid, _ := strconv.Atoi(who.Gid)
	err = errors.Join(
		os.MkdirAll(filepath.Dir(to), 0o755),
		os.WriteFile(to, text, mode),
		os.Chmod(to, mode),
		os.Chown(to, uid, gid),
	)
	if err != nil {
		t.Fatal(err)
	}
}

// installCheckKey puts a site's check key where check_awa looks for it. This
// host has an /etc of its own by then; an installed package of ours may have
// left a folder in it that only its own user reads.
func installCheckKey(t *testing.T, s *site, owner string) {
	t.Helper()
	const dir = "/etc/are-we-alive"
	must(t, "rm", "-rf", dir)
	install(t, s.checkKey, filepath.Join(dir, "check.key"), owner, 0o400)
}

// asUser runs a command as a user of the machine, and die with the test.
func asUser(t *testing.T, cmd *exec.Cmd, name string) {
	t.Helper()
	who, err := user.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.ParseUint(who.Uid, 10, 32)
	gid, _ := strconv.ParseUint(who.Gid, 10, 32)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)},
		Pdeathsig:  syscall.SIGKILL,
	}
}

// site is a cluster with a key: agents at the default port, each at an
// address of its own.
type site struct {
	agents   map[string]*agent
	keyFile  string
	checkKey string // the file of the check key
}

// siteNode is a node of a site; labels are those of "awa-agent node set".
type siteNode struct{ name, host, label string }

// newSite starts the agents one after the other.
func newSite(t *testing.T, nodes ...siteNode) *site {
	t.Helper()
	return newSiteWith(t, nil, nodes...)
}

// newSiteWith is newSite with further arguments for the agents.
func newSiteWith(t *testing.T, args []string, nodes ...siteNode) *site {
	t.Helper()
	dir := t.TempDir()
	s := &site{agents: map[string]*agent{}, keyFile: filepath.Join(dir, "cluster.key"),
		checkKey: filepath.Join(dir, "check.key")}
	for _, args := range [][]string{{"new", s.keyFile}, {"check", "--key-file", s.keyFile, s.checkKey}} {
		if r := run(t, "awa-agent", append([]string{"key"}, args...)...); r.code != 0 {
			t.Fatal(r)
		}
	}
	for i, n := range nodes {
		how := []string{"--first"}
		if i > 0 {
			how = []string{"--join", nodes[0].host}
		}
		a := newAgent(t, n.name, append(how, "--key-file", s.keyFile, "--my-host", n.host, "--listen", n.host+":25483")...)
		a.args = append(a.args, args...)
		a.start()
		s.agents[n.name] = a
		s.awaitOK(t, n.host, i+1) // one after the other, so that their ids are in this order
	}
	for _, n := range nodes {
		s.node(t, "set", n.name, "--label", n.label, "--agent", nodes[0].host)
	}
	return s
}

// awaitOK waits until the agent at a host sees so many nodes, all online.
func (s *site) awaitOK(t *testing.T, host string, nodes int) {
	t.Helper()
	testaid.Await(t, 30*time.Second, func() error {
		r := run(t, "check_awa", "-H", host, "-k", s.checkKey)
		if r.code != 0 || !strings.HasPrefix(r.out, fmt.Sprintf("AWA OK - %d of %[1]d ", nodes)) {
			return errors.New(r.out)
		}
		return nil
	})
}

// node runs awa-agent node.
func (s *site) node(t *testing.T, args ...string) {
	t.Helper()
	if r := run(t, "awa-agent", append(append([]string{"node"}, args...), "--key-file", s.keyFile)...); r.code != 0 {
		t.Fatalf("awa-agent node %v: %s", args, r.errors)
	}
}
