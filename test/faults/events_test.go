//go:build system

package faults

import (
	"encoding/json"
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

// eventsOf returns what an agent says of a node, as "event: why", except of health codes.
func (c *cluster) eventsOf(at *agent, node string) (lines []string) {
	c.t.Helper()
	out, err := c.monitor.command(program("awa-agent"), "events", "--agent", at.host.addr, "--key-file", c.checkKey(),
		"--node", node, "-o", "json").Output()
	if err != nil {
		c.t.Fatalf("events of %s: %v", at.name, err)
	}
	for line := range strings.Lines(string(out)) {
		var e struct{ Event, Why string }
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			c.t.Fatalf("%s: %v", line, err)
		}
		if e.Event != "raised" && e.Event != "cleared" {
			lines = append(lines, strings.TrimSuffix(e.Event+": "+e.Why, ": "))
		}
	}
	return lines
}

// TestEvents cuts a path, and then has a link flap: 5 s on, 5 s off for two minutes. Each
// agent has the events of what it saw, and people are told each once.
func TestEvents(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	runs := t.TempDir()
	program := filepath.Join(c.dir, "handler")
	if err := os.WriteFile(program, []byte("#!/bin/sh\ncat >"+runs+"/.$$ && mv "+runs+"/.$$ "+runs+"/$(date +%s%N)\n"),
		0o755); err != nil {
		t.Fatal(err)
	}
	conf, err := json.Marshal(map[string]string{"on_event": program})
	if err != nil {
		t.Fatal(err)
	}
	before := map[*agent]int{}
	const flapping, cut = "n5", "n3"
	for _, a := range c.agents { // they read it again
		if err := os.WriteFile(filepath.Join(a.dir, "cluster_info.json"), conf, 0o600); err != nil {
			t.Fatal(err)
		}
		a.signal(syscall.SIGHUP)
	}
	since := func(a *agent, node string) []string { return c.eventsOf(a, node)[before[a]:] }
	mark := func(node string) {
		for _, a := range c.agents {
			before[a] = len(c.eventsOf(a, node))
		}
	}

	mark(cut)
	c.cut([]int{1}, []int{3})
	const away, back = "unreachable: seen by ", "online"
	await := func(want func(a *agent, lines []string) error) {
		t.Helper()
		testaid.Await(t, waitMost, func() error {
			for _, a := range c.agents {
				if err := want(a, since(a, cut)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	await(func(a *agent, lines []string) error {
		if a == c.n(1) && (len(lines) != 1 || !strings.HasPrefix(lines[0], away)) || a != c.n(1) && len(lines) != 0 {
			return fmt.Errorf("%s says of %s: %q", a.name, cut, lines)
		}
		return nil
	})
	for _, a := range c.agents {
		a.host.open()
	}
	await(func(a *agent, lines []string) error {
		if a == c.n(1) && (len(lines) != 2 || lines[1] != back) || a != c.n(1) && len(lines) != 0 {
			return fmt.Errorf("%s says of %s: %q", a.name, cut, lines)
		}
		return nil
	})

	mark(flapping)
	tick := time.NewTicker(5 * time.Second)
	defer tick.Stop()
	for range 12 {
		c.n(5).host.cutOff()
		<-tick.C
		c.n(5).host.open()
		<-tick.C
	}
	c.awaitAll(c.n(1))
	flap := 0
	for _, a := range c.agents[:4] {
		lines := since(a, flapping)
		t.Logf("%s says of %s:\n%s", a.name, flapping, strings.Join(lines, "\n"))
		for i, line := range lines {
			switch {
			case strings.HasPrefix(line, "flapping: 6 changes in 10 minutes, the last to ") && i == 5 && len(lines) == 6:
				flap++
			case i%2 == 1 && i < 5 && line == back:
			case i%2 == 0 && i < 5 && (strings.HasPrefix(line, "offline: ") || strings.HasPrefix(line, away)):
			default:
				t.Errorf("%s says of %s, as number %d: %s", a.name, flapping, i+1, line)
			}
		}
	}
	if flap < 3 { // one whose sweeps met the link at the same moments has seen fewer changes
		t.Errorf("%d of 4 agents say that %s is flapping", flap, flapping)
	}
	files, err := filepath.Glob(runs + "/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(files)
	var texts []string
	for _, file := range files {
		b, err := os.ReadFile(file)
		var m struct{ Agent, Text string }
		if err == nil {
			err = json.Unmarshal(b, &m)
		}
		if err != nil {
			t.Fatalf("%s: %v", b, err)
		}
		texts = append(texts, m.Agent+": "+m.Text)
	}
	t.Logf("people were told:\n%s", strings.Join(texts, "\n"))
	if n := len(slices.DeleteFunc(slices.Clone(texts), func(text string) bool {
		return !strings.Contains(text, flapping+" flapping")
	})); n > 1 {
		t.Errorf("people were told %d times that %s is flapping", n, flapping)
	}
	for i := range texts {
		if i > 0 && texts[i] == texts[i-1] {
			t.Errorf("people were told twice: %s", texts[i])
		}
	}
}
