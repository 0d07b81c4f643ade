//go:build system

package faults

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"are-we-alive/pkg/awatest/testaid"
)

// chaos is a cluster to which everything happens, and what is known of it.
type chaos struct {
	*cluster
	rand    *rand.Rand
	kept    map[*agent]string // a copy of a data folder, from some time ago
	happens map[string]int
	differ  int // how often lists that contradict each other were seen
}

// TestChaos kills, stops, cuts off, rolls back and reinstalls agents in random
// order, while each of them takes edits. In the end all lists are the same, and hold
// every acknowledged edit once, except those that a majority had with an agent that
// was rolled back: these stand in a file that was set aside. check_awa never says OK while lists contradict each
// other.
func TestChaos(t *testing.T) {
	lasts := lasting(t, envChaos, 4*time.Minute)
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv(envSeed); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("%s: %v", envSeed, err)
		}
	}
	fmt.Printf("The chaos lasts %v; its seed is %d (%s=%d has it happen again).\n", lasts, seed, envSeed, seed)
	c := &chaos{cluster: newCluster(t), rand: rand.New(rand.NewPCG(seed, 15)), kept: map[*agent]string{},
		happens: map[string]int{}}
	for _, a := range c.agents {
		a.log.expected = true // it says so loudly when it gives way
	}
	var writers []*writer
	for _, a := range c.agents {
		writers = append(writers, startWriter(t, a))
	}
	for end := time.Now().Add(lasts); time.Now().Before(end) && !t.Failed(); {
		c.happen()
	}
	c.heal()
	acked, sent := map[string]bool{}, 0
	for _, w := range writers {
		said := w.end(t)
		sent += len(said["sent"])
		for _, key := range said["acked"] {
			acked[key] = true
		}
	}
	final := c.awaitSame()
	c.account(final, acked)
	fmt.Printf("It happened: %v. %d edits were sent, %d acknowledged; the list has %d changes. Lists contradicted each "+
		"other %d times.\n",
		c.happens, sent, len(acked), len(final), c.differ)
	if len(acked) < int(lasts.Seconds()) {
		t.Errorf("only %d edits were acknowledged", len(acked))
	}
}

// happen has one thing happen to the cluster, and waits until it is over.
func (c *chaos) happen() {
	victim := c.agents[c.rand.IntN(len(c.agents))]
	events := []struct {
		name string
		do   func(*agent)
	}{
		{"kill -9", c.killOne}, {"kill -9", c.killOne}, {"kill -9 of two", c.killTwo},
		{"SIGSTOP", c.freeze}, {"partition", c.part}, {"partition", c.part},
		{"rolled back", c.rollBack}, {"reinstalled", c.reinstall},
	}
	e := events[c.rand.IntN(len(events))]
	c.happens[e.name]++
	c.t.Logf("%s: %s %s", time.Now().Format(time.TimeOnly), e.name, victim.name)
	e.do(victim)
	c.pause(3 * time.Second)
}

// pause lets what has happened last for up to so long, and compares the lists
// meanwhile.
func (c *chaos) pause(most time.Duration) {
	over := time.NewTimer(time.Duration(c.rand.Int64N(int64(most))))
	defer over.Stop()
	for {
		c.neverOKWhileDifferent()
		select {
		case <-over.C:
			return
		default:
		}
	}
}

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

// rollBack puts a voter's folder back to a copy from some time ago, or makes the
// copy. One of five is no majority, so nothing may be lost.
func (c *chaos) rollBack(a *agent) {
	a.kill()
	data := filepath.Join(a.dir, "data")
	if copied, ok := c.kept[a]; ok {
		must(c.t, "rm", "-rf", data)
		must(c.t, "cp", "-a", copied, data)
		delete(c.kept, a)
	} else {
		copied := filepath.Join(c.t.TempDir(), a.name)
		must(c.t, "cp", "-a", data, copied)
		c.kept[a] = copied
	}
	a.start()
}

// reinstall empties a folder. The founder is still told to begin a cluster, and
// whom to join before that: edits come in at once, and on a list of its own they
// would be in its way back.
func (c *chaos) reinstall(a *agent) {
	a.kill()
	delete(c.kept, a) // it has another uid
	must(c.t, "rm", "-rf", filepath.Join(a.dir, "data"))
	other := c.agents[(slices.Index(c.agents, a)+1)%len(c.agents)]
	if a == c.agents[0] {
		a.start("--first", "--join", other.host.addr)
	} else {
		a.start("--join", other.host.addr)
	}
	c.settled()
}

// settled waits until a reinstalled server is a voter again, as check_awa tells:
// that is when an administrator goes on.
func (c *chaos) settled() {
	testaid.Await(c.t, 2*time.Minute, func() error {
		got := c.ask(c.n(1), c.n(2))
		if got.Leader == "" || len(got.Voters) < 5 {
			return fmt.Errorf("the leader is %q, the voters are %v: %s", got.Leader, got.Voters, got.Text)
		}
		return nil
	})
}

// heal ends all that is going on.
func (c *chaos) heal() {
	for _, h := range c.hosts() {
		h.open()
	}
	for _, a := range c.agents {
		a.signal(syscall.SIGCONT)
		a.revive()
	}
}

// position is where an agent's list is.
type position struct {
	History string `json:"history"`
	State   uint64 `json:"db_state"`
	Digest  string `json:"digest"`
}

// positions are those of the agents that answer.
func (c *chaos) positions() map[*agent]position {
	all := map[*agent]position{}
	for _, a := range c.agents {
		var got struct{ Status position }
		if out, err := c.get(a, "/ping"); err == nil && json.Unmarshal(out, &got) == nil && got.Status.Digest != "" {
			all[a] = got.Status
		}
	}
	return all
}

// contradicts reports whether an agent says that its list is not the same as
// another one up to a position.
func (c *chaos) contradicts(a *agent, at position) bool {
	out, err := c.get(a, fmt.Sprintf("/sync?state=%d&digest=%s&limit=1", at.State, at.Digest))
	return err == nil && strings.Contains(string(out), `"code":"diverged"`)
}

// get asks an agent over HTTP, with a certificate of the cluster.
func (c *chaos) get(a *agent, path string) ([]byte, error) {
	certs := filepath.Join(c.dir, "certs")
	if _, err := os.Stat(certs); err != nil {
		must(c.t, program("awa-agent"), "key", "cert", "--role", "check", "--out", certs, "--key-file", c.clusterKey())
	}
	in := func(name string) string { return filepath.Join(certs, name) }
	return c.monitor.command("curl", "-sS", "--max-time", "1", "--cacert", in("ca.pem"), "--cert", in("cert.pem"),
		"--key", in("key.pem"),
		"--connect-to", "::"+a.host.addr+":"+port, "https://agent.awa.internal"+path).Output()
}

// neverOKWhileDifferent looks for two lists that contradict each other, and asks
// check_awa. That must not say OK when they still do so afterwards.
func (c *chaos) neverOKWhileDifferent() {
	all := c.positions()
	for a := range all {
		for b, at := range all {
			if a == b || all[a].History == at.History && !c.contradicts(a, at) {
				continue
			}
			got := c.ask(a)
			now := c.positions()
			still := now[a].History != "" && now[b] == at && (now[a].History != at.History || c.contradicts(a, at))
			if !still {
				continue
			}
			if c.differ++; got.State == 0 {
				c.t.Errorf("the lists of %s (%v) and %s (%v) differ, and check_awa says OK: %s", a.name, now[a], b.name, at, got.Text)
			}
			return
		}
	}
}

// awaitSame waits until all lists are the same, check_awa says OK, and an edit is
// made; it returns the changes.
func (c *chaos) awaitSame() (final []finalChange) {
	c.t.Helper()
	testaid.Await(c.t, 2*time.Minute, func() error {
		all := c.positions()
		if len(all) < len(c.agents) {
			return errors.New("an agent does not answer")
		}
		for _, a := range c.agents {
			if all[a] != all[c.agents[0]] {
				return fmt.Errorf("%s has %v, %s %v", c.agents[0].name, all[c.agents[0]], a.name, all[a])
			}
		}
		return nil
	})
	for i, a := range c.agents {
		out, err := c.get(a, "/sync?state=-1")
		if err != nil {
			c.t.Fatal(err)
		}
		var rows [][]json.RawMessage
		if err := json.Unmarshal(out, &rows); err != nil {
			c.t.Fatal(err)
		}
		var all []finalChange
		for _, row := range rows {
			var f finalChange
			if err := errors.Join(json.Unmarshal(row[0], &f.id), json.Unmarshal(row[2], &f.data),
				json.Unmarshal(row[5], &f.key)); err != nil {
				c.t.Fatal(err)
			}
			all = append(all, f)
		}
		if i > 0 && !slices.Equal(final, all) {
			c.t.Errorf("the list of %s is another one than that of %s", a.name, c.agents[0].name)
		}
		final = all
	}
	return final
}

// finalChange is a change of the list in the end.
type finalChange struct {
	id        uint64
	data, key string
}

// account holds the list in the end against what was acknowledged.
func (c *chaos) account(final []finalChange, acked map[string]bool) {
	c.t.Helper()
	held := map[string]int{}
	for i, f := range final {
		if f.id != uint64(i)+1 {
			c.t.Errorf("change %d stands at place %d", f.id, i+1)
		}
		if f.key != "" {
			if held[f.key]++; held[f.key] > 1 {
				c.t.Errorf("the edit %s was made twice", f.key)
			}
		}
	}
	aside := c.setAside()
	for key := range acked {
		switch inFile := strings.Contains(aside, `"key": "`+key+`"`); {
		case held[key] > 0:
		case inFile && c.happens["rolled back"] > 0:
			c.t.Logf("the acknowledged edit %s was set aside", key)
		default:
			c.t.Errorf("the acknowledged edit %s is lost", key)
		}
	}
}

// setAside is the text of all files that agents have set aside.
func (c *chaos) setAside() string {
	var all strings.Builder
	for _, a := range c.agents {
		files, err := filepath.Glob(filepath.Join(a.dir, "data", "set-aside-*.json"))
		if err != nil {
			c.t.Fatal(err)
		}
		for _, file := range files {
			b, err := os.ReadFile(file)
			if err != nil {
				c.t.Fatal(err)
			}
			all.Write(b)
		}
	}
	return all.String()
}
