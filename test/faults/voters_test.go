//go:build system

package faults

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"are-we-alive/pkg/awatest/testaid"
)

// newSmallCluster prepares agents on hosts of their own, and starts none.
func newSmallCluster(t *testing.T, size int) *cluster {
	t.Helper()
	c := &cluster{t: t, net: newNetwork(t), dir: t.TempDir()}
	c.monitor = c.net.addHost("monitor", 100)
	c.newKey(filepath.Base(c.clusterKey()))
	must(t, program("awa-agent"), "key", "check", "--key-file", c.clusterKey(), c.checkKey())
	for i := 1; i <= size; i++ {
		h := c.net.addHost(fmt.Sprintf("h%d", i), i)
		c.agents = append(c.agents, c.newAgent(fmt.Sprintf("n%d", i), h, h.addr))
	}
	return c
}

// startAll starts the agents, the first of which begins the cluster, and waits
// until each is on the list.
func (c *cluster) startAll() {
	c.t.Helper()
	for i, a := range c.agents {
		if i == 0 {
			a.start("--first")
		} else {
			a.start("--join", c.n(1).host.addr)
		}
	}
	testaid.Await(c.t, waitMost, func() error {
		if got := c.ask(c.n(1)); len(got.Nodes) != len(c.agents) {
			return fmt.Errorf("%d nodes are on the list: %s", len(got.Nodes), got.Text)
		}
		return nil
	})
}

// awaitVoters waits until so many agents vote.
func (c *cluster) awaitVoters(n int, most time.Duration) {
	c.t.Helper()
	testaid.Await(c.t, most, func() error {
		if got := c.ask(c.agents...); len(got.Voters) != n || got.Leader == "" {
			return fmt.Errorf("the leader is %q, the voters are %v: %s", got.Leader, got.Voters, got.Text)
		}
		return nil
	})
}

// awaitEdit waits until an agent takes an edit, and returns how long that took.
func (c *cluster) awaitEdit(at *agent, name string) time.Duration {
	c.t.Helper()
	began := time.Now()
	testaid.Await(c.t, voterMost, func() error {
		out, err := c.monitor.command(program("awa-agent"), "node", "add", name, "127.0.0.1", "1",
			"--agent", at.host.addr, "--key-file", c.clusterKey()).CombinedOutput()
		if err != nil && !strings.Contains(string(out), "is taken") {
			return fmt.Errorf("%s: %s", at.name, out)
		}
		return nil
	})
	return time.Since(began)
}

// New connections of the leader are dropped for 25 s, while kept ones go on, just
// when it is about to enlist its first voters: a firewall is loaded again. An agent
// that could not get the configuration does not vote, and ten seconds later the
// list can be edited at each agent.
func TestEnlist_newConnectionsDropped(t *testing.T) {
	t.Parallel()
	c := newSmallCluster(t, 3)
	c.startAll()
	first := c.n(1).host
	first.iptables("-A", "OUTPUT", "!", "-o", "lo", "-p", "tcp", "--syn", "-j", "DROP")
	from := c.n(1).log.len()
	testaid.Await(t, waitMost, func() error {
		if !strings.Contains(c.n(1).log.String()[from:], `"step":"enlist"`) {
			return errors.New("it has enlisted nobody")
		}
		return nil
	})
	over := time.NewTimer(25 * time.Second) // that is how long it lasts
	defer over.Stop()
	<-over.C
	first.open()
	healed := time.Now()
	for i, a := range c.agents {
		c.awaitEdit(a, fmt.Sprint("x", i))
	}
	if took := time.Since(healed); took > 10*time.Second {
		t.Errorf("the list could be edited after %v", took)
	}
	c.awaitVoters(3, voterMost)
	c.n(1).kill()
	c.awaitEdit(c.n(2), "with-two-of-three") // so the others do vote
	c.n(1).revive()
}

// A voter's disk is full, and has room again. It says so meanwhile, follows and
// votes within ten seconds afterwards, and leaves nothing behind; also when it is
// restarted in between.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	for name, meanwhile := range map[string]func(a *agent){
		"it goes on":      func(*agent) {},
		"it is restarted": func(a *agent) { a.kill(); a.start() },
	} {
		t.Run(name, func(t *testing.T) { fillUp(t, meanwhile) })
	}
}

func fillUp(t *testing.T, meanwhile func(*agent)) {
	c := newSmallCluster(t, 3)
	full := c.n(2)
	full.log.expected = true // it says so
	full.onTmpfs(3 << 20)
	c.startAll()
	c.awaitVoters(3, voterMost)
	filler := filepath.Join(full.data(), "filler")
	fill(t, filler)
	w := startWriter(t, c.n(1)) // the file still has free pages for a while
	testaid.Await(t, waitMost, func() error {
		if got := c.ask(c.n(1)); got.State != 2 || !got.says("DISK_FULL", full.name) {
			return fmt.Errorf("check_awa says %d, %v", got.State, got.Health)
		}
		return nil
	})
	meanwhile(full)
	c.awaitEdit(c.n(3), "still-full")
	if said := w.end(t); len(said["acked"]) == 0 {
		t.Error("no edit was acknowledged")
	}

	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	testaid.Await(t, waitMost, func() error {
		if got := c.ask(full); got.says("DISK_FULL", full.name) {
			return fmt.Errorf("check_awa says %v", got.Health)
		}
		return c.holds(full, "still-full")
	})
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it was level after %v", took)
	}
	folders, err := filepath.Glob(filepath.Join(full.data(), "raft", "snapshots", "*"))
	if err != nil || len(folders) > 1 {
		t.Errorf("left are %v (%v)", folders, err)
	}
	// It votes: with one of the others it is a majority.
	other := c.n(3)
	if c.ask(c.n(1)).Leader == other.name {
		other = c.n(1)
	}
	other.kill()
	c.awaitEdit(full, "with-its-vote")
	other.revive()
}

// onTmpfs makes an agent's data folder a disk of its own, with room for so many
// bytes.
func (a *agent) onTmpfs(size int) {
	t := a.c.t
	t.Helper()
	options := fmt.Sprintf("size=%d,mode=0700", size)
	if err := errors.Join(os.Mkdir(a.data(), 0o700), syscall.Mount("tmpfs", a.data(), "tmpfs", 0, options)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		a.kill()
		if err := syscall.Unmount(a.data(), 0); err != nil {
			t.Error(err)
		}
	})
}

// fill writes a file until its disk is full.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for block := make([]byte, 4<<10); err == nil; {
		_, err = f.Write(block)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
}

// says reports whether a health code holds of an agent.
func (a answer) says(code, agent string) bool {
	for _, h := range a.Health {
		if h.Code == code && h.Agent == agent {
			return true
		}
	}
	return false
}

// holds fails while a node is not on an agent's list.
func (c *cluster) holds(a *agent, name string) error {
	got := c.ask(a)
	if got.Agent != a.name || !slices.ContainsFunc(got.Nodes, func(n nodeAnswer) bool { return n.Name == name }) {
		return fmt.Errorf("%s does not hold %s", a.name, name)
	}
	return nil
}
