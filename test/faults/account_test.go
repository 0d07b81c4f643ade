//go:build system

package faults

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/awatest/testaid"
	"are-we-alive/pkg/store"
)

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
			c.seen[got.Status] = a.name
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
				c.t.Errorf("the lists of %s (%v) and %s (%v) differ, and check_awa says OK: %s", a.name, now[a], b.name, at,
					got.Text)
			}
			return
		}
	}
}

// awaitSame waits until all lists are the same and check_awa says OK; it returns
// the list.
func (c *chaos) awaitSame() (final awa.ChangeSet) {
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
			for _, health := range c.ask(a).Health {
				return fmt.Errorf("%s says %s of %s", a.name, health.Code, health.Agent)
			}
		}
		return nil
	})
	for i, a := range c.agents {
		set, err := store.ReadBackup(c.backup(a))
		if err != nil {
			c.t.Fatal(err)
		}
		if i > 0 && (final.Digest != set.Digest || final.History != set.History) {
			c.t.Errorf("the list of %s is another one than that of %s", a.name, c.agents[0].name)
		}
		final = set
	}
	return final
}

// account holds the list in the end against what was acknowledged, and what was
// seen on the way.
func (c *chaos) account(final awa.ChangeSet, acked map[string]bool) {
	c.t.Helper()
	held, known := map[string]int{}, map[string]bool{}
	walk := func(at awa.Digest, changes []awa.Change) {
		for _, change := range changes {
			at = at.Next(change)
			known[at.String()] = true
		}
	}
	for i, change := range final.Changes {
		if change.ID != uint64(i)+1 {
			c.t.Errorf("change %d stands at place %d", change.ID, i+1)
		}
		if change.Key != "" {
			if held[change.Key]++; held[change.Key] > 1 {
				c.t.Errorf("the edit %s was made twice", change.Key)
			}
		}
	}
	first := awa.FirstDigest(final.Cluster)
	known[first.String()] = true
	walk(first, final.Changes)
	aside := map[string]bool{}
	for _, file := range c.setAside() {
		walk(file.After.Digest, file.Changes)
		for _, change := range file.Changes {
			aside[change.Key] = true
		}
	}
	givenUp := c.happens["rolled back"]+c.happens["restored"]+c.happens["recovered"] > 0
	waiting := 0
	for key := range acked {
		switch {
		case held[key] > 0:
		case aside[key] && givenUp:
			waiting++
		default:
			c.t.Errorf("the acknowledged edit %s is lost", key)
		}
	}
	fmt.Printf("%d acknowledged edits were set aside.\n", waiting)
	for at, name := range c.seen {
		if !known[at.Digest] {
			c.t.Errorf("the list that %s had at change %d of history %s is nowhere any more", name, at.State, at.History)
		}
	}
}

// asideFile is what an agent has set aside.
type asideFile struct {
	After   struct{ Digest awa.Digest }
	Changes []awa.Change
}

// setAside are the files that agents have set aside.
func (c *chaos) setAside() (all []asideFile) {
	for _, a := range c.agents {
		for _, folder := range []string{a.data(), a.asideDir()} {
			files, err := filepath.Glob(filepath.Join(folder, "set-aside-*.json"))
			if err != nil {
				c.t.Fatal(err)
			}
			for _, file := range files {
				var f asideFile
				b, err := os.ReadFile(file)
				if err == nil {
					err = json.Unmarshal(b, &f)
				}
				if err != nil {
					c.t.Fatal(err)
				}
				all = append(all, f)
			}
		}
	}
	return all
}

// asideDir is where the files are that an agent had set aside when its folder was
// emptied.
func (a *agent) asideDir() string { return filepath.Join(a.dir, "aside") }
