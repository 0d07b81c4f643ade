//go:build system

package faults

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"are-we-alive/pkg/awatest/testaid"
)

// What happens in TestChaos. Each function returns when it is over; an agent may
// still have to catch up then.

func (c *chaos) killOne(a *agent) {
	a.kill()
	c.pause(4 * time.Second)
	a.start()
}

func (c *chaos) killTwo(a *agent) {
	b := c.agents[c.rand.IntN(len(c.agents))]
	a.kill()
	b.kill()
	c.pause(4 * time.Second)
	a.revive()
	b.revive()
}

func (c *chaos) freeze(a *agent) {
	a.signal(syscall.SIGSTOP)
	c.pause(8 * time.Second)
	a.signal(syscall.SIGCONT)
}

func (c *chaos) part(*agent) {
	order := c.rand.Perm(len(c.agents))
	for i := range order {
		order[i]++
	}
	at := 1 + c.rand.IntN(2)
	c.cut(order[:at], order[at:])
	c.pause(12 * time.Second)
	for _, h := range c.hosts() {
		h.open()
	}
}

// rollBack puts an agent's folder back to a copy from some time ago, or makes the
// copy. One of five is not a majority, so nothing may be lost.
func (c *chaos) rollBack(a *agent) {
	a.kill()
	if copied, ok := c.kept[a]; ok {
		a.empty()
		must(c.t, "cp", "-a", copied+"/.", a.data())
		delete(c.kept, a)
	} else {
		c.kept[a] = filepath.Join(c.t.TempDir(), a.name)
		must(c.t, "cp", "-a", a.data(), c.kept[a])
	}
	a.start()
}

// reinstall empties a folder. The founder is still told to begin a cluster, and
// whom to join before that: edits come in at once, and on a list of its own they
// would be in its way back.
func (c *chaos) reinstall(a *agent) {
	a.kill()
	delete(c.kept, a) // it has another uid
	a.empty()
	other := c.agents[(slices.Index(c.agents, a)+1)%len(c.agents)]
	if a == c.agents[0] {
		a.start("--first", "--join", other.host.addr)
	} else {
		a.start("--join", other.host.addr)
	}
	c.settled()
}

// fillDisk leaves an agent without room for a while, in which it may be killed.
func (c *chaos) fillDisk(a *agent) {
	filler := filepath.Join(a.data(), "filler")
	fill(c.t, filler)
	c.pause(8 * time.Second)
	if c.rand.IntN(2) == 0 {
		a.kill()
		a.start()
		c.pause(4 * time.Second)
	}
	if err := os.Remove(filler); err != nil {
		c.t.Fatal(err)
	}
}

// restore has all agents fall at once, and one of them begin a new history with a
// backup; the others start with their old data. It makes the backup the first time.
func (c *chaos) restore(a *agent) {
	if c.saved == "" {
		c.saved = c.backup(a)
		return
	}
	for _, a := range c.agents {
		a.kill()
	}
	a.empty()
	must(c.t, program("awa-agent"), "restore", c.saved, "--data-dir", a.data(), "--key-file", a.key)
	c.saved = "" // of a history that is over
	delete(c.kept, a)
	for _, i := range c.rand.Perm(len(c.agents)) {
		c.agents[i].start()
	}
	c.settled()
}

// recover has three of five fail, and one of the others begin a new history. The
// three come back with their old data.
func (c *chaos) recover(*agent) {
	order := c.rand.Perm(len(c.agents))
	for _, i := range order[:3] {
		c.agents[i].kill()
	}
	c.pause(3 * time.Second)
	for _, i := range order[3:] { // the one with the longer list
		a := c.agents[i]
		a.stop()
		out, err := a.host.command(program("awa-agent"), "recover", "--data-dir", a.data(), "--key-file",
			a.key).CombinedOutput()
		a.start()
		if err == nil {
			fmt.Printf("After recover %s takes an edit in %v.\n", a.name,
				c.awaitEdit(a, fmt.Sprint("recovered", c.happens["recovered"])).Round(time.Millisecond))
			c.saved = ""
			break
		}
		if !strings.Contains(string(out), "longer list") {
			c.t.Errorf("recover on %s: %v: %s", a.name, err, out)
		}
	}
	for _, i := range order[:3] {
		c.agents[i].start()
	}
	c.settled()
}

// settled waits until all five agents vote, as check_awa tells: that is when an
// administrator goes on.
func (c *chaos) settled() {
	c.t.Helper()
	testaid.Await(c.t, 2*time.Minute, func() error {
		c.neverOKWhileDifferent()
		got := c.ask(c.n(1), c.n(2))
		if got.Leader == "" || len(got.Voters) < 5 {
			return fmt.Errorf("the leader is %q, the voters are %v: %s", got.Leader, got.Voters, got.Text)
		}
		all := c.positions()
		for a, at := range all {
			if first := all[c.n(1)]; at.History != first.History {
				return fmt.Errorf("%s follows history %s, and n1 history %s", a.name, at.History, first.History)
			}
		}
		return nil
	})
}

// backup saves the list as an agent has it.
func (c *cluster) backup(a *agent) (file string) {
	c.t.Helper()
	file = filepath.Join(c.t.TempDir(), "backup.json")
	out, err := c.monitor.command(program("awa-agent"), "backup", file, "--agent", a.host.addr, "--key-file",
		c.clusterKey()).CombinedOutput()
	if err != nil {
		c.t.Fatalf("backup of the list of %s: %v: %s", a.name, err, out)
	}
	return file
}

// empty empties the data folder of an agent that is down, all but the files that
// it has set aside: those an administrator saves.
func (a *agent) empty() {
	a.c.t.Helper()
	aside := a.asideDir()
	if err := os.MkdirAll(aside, 0o700); err != nil {
		a.c.t.Fatal(err)
	}
	must(a.c.t, "find", a.data(), "-name", "set-aside-*.json", "-exec", "mv", "-t", aside, "{}", "+")
	must(a.c.t, "find", a.data(), "-mindepth", "1", "-delete")
}
