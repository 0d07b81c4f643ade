package handler_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/awatest/testaid"
	"are-we-alive/pkg/handler"
)

// shelf is a Store without a disk.
type shelf struct {
	mu  sync.Mutex
	all map[string]awa.Notified
}

func (s *shelf) Notified() (all []awa.Notified, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range s.all {
		all = append(all, n)
	}
	return all, nil
}

func (s *shelf) KeepNotified(all []awa.Notified, gone []string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range all {
		s.all[n.Key()] = n
	}
	for _, key := range gone {
		delete(s.all, key)
	}
	return nil
}

// cluster is some agents that see the same, each with a Notifier of its own. Its first node
// is the first agent, and so on.
type cluster struct {
	t        *testing.T
	statuses []awa.NodeStatus
	codes    []awa.Condition
	agents   []*member
	calls    []string // the texts of all runs
	program  string
	log      testaid.Log
	run      func(i int, m handler.Message) error // nil succeeds
}

// member is one agent.
type member struct {
	c      *cluster
	i      int
	dead   bool
	duty   bool
	store  *shelf
	n      *handler.Notifier
	cancel context.CancelFunc
	ended  chan error
}

func newCluster(t *testing.T, agents, nodes int) *cluster {
	t.Helper()
	c := &cluster{t: t, program: filepath.Join(t.TempDir(), "program")}
	if err := os.WriteFile(c.program, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for i := range nodes {
		n := awa.Node{ID: uint64(i + 1), Name: fmt.Sprintf("n%d", i+1), Host: "10.0.0.1", Port: 1, UID: fmt.Sprint("u", i)}
		c.statuses = append(c.statuses, awa.NodeStatus{Node: n, Verdict: awa.Online, Self: &awa.Self{Instance: "a"},
			Since: time.Now()})
	}
	for i := range agents {
		m := &member{c: c, i: i, duty: i == 0, store: &shelf{all: map[string]awa.Notified{}}}
		c.agents = append(c.agents, m)
		m.start()
	}
	t.Cleanup(func() {
		for _, m := range c.agents {
			if !m.dead {
				m.stop()
			}
		}
	})
	c.sweep(2)
	c.want()
	return c
}

func (m *member) start() {
	m.n = handler.New(handler.Config{
		UID: func() string { return fmt.Sprint("u", m.i) }, Store: m.store, Peers: m, Clock: time.Now,
		Log: slog.New(slog.NewTextHandler(&m.c.log, nil)),
		Run: func(_ context.Context, _ string, b []byte, ended func(error)) error {
			var msg handler.Message
			if err := json.Unmarshal(b, &msg); err != nil {
				m.c.t.Errorf("%s: %v", b, err)
			}
			text := msg.Text
			if msg.Again {
				text += " (again)"
			}
			m.c.calls = append(m.c.calls, fmt.Sprintf("%s: %s", msg.Agent, text))
			var err error
			if m.c.run != nil {
				err = m.c.run(m.i, msg)
			}
			ended(err)
			return err
		},
	}, m.c.program)
	ctx, cancel := context.WithCancel(context.Background())
	m.cancel, m.ended, m.dead = cancel, make(chan error, 1), false
	go func() { m.ended <- m.n.Run(ctx) }()
}

func (m *member) stop() {
	m.dead = true
	m.cancel()
	<-m.ended
}

func (m *member) Others() []awa.Node {
	var all []awa.Node
	for j, o := range m.c.agents {
		if j != m.i && !o.dead {
			all = append(all, awa.Node{Name: fmt.Sprint("n", j+1), Host: fmt.Sprint("10.0.0.", j), Port: 1})
		}
	}
	return all
}

func (m *member) at(addr string) (*member, error) {
	var j int
	fmt.Sscanf(addr, "10.0.0.%d:1", &j)
	if m.c.agents[j].dead {
		return nil, errors.New("connection refused")
	}
	return m.c.agents[j], nil
}

func (m *member) Notified(_ context.Context, addr string) ([]awa.Notified, error) {
	o, err := m.at(addr)
	if err != nil {
		return nil, err
	}
	return o.n.Notified(), nil
}

func (m *member) SendNotified(_ context.Context, addr string, all []awa.Notified) error {
	o, err := m.at(addr)
	if err == nil {
		o.n.Take(all)
	}
	return err
}

// sweep has all agents that live sweep some times, 5 s apart.
func (c *cluster) sweep(times int) {
	c.t.Helper()
	for range times {
		for _, m := range c.agents {
			if m.dead {
				continue
			}
			m.n.Swept(handler.Sweep{Cluster: "c", Agent: fmt.Sprint("n", m.i+1), Duty: m.duty, At: time.Now(),
				Nodes: slices.Clone(c.statuses), Conditions: c.codes})
			synctest.Wait()
		}
		<-time.After(5 * time.Second)
	}
}

// be makes a node so, and has the agents hear of it.
func (c *cluster) be(node int, v awa.Verdict, instance string) {
	st := &c.statuses[node-1]
	kind := awa.EventKind(v)
	if v == awa.Online && st.Self.Instance != instance {
		kind = awa.EventRestarted
	}
	e := awa.Event{At: time.Now(), Kind: kind, NodeID: st.Node.ID, Node: st.Node.Name, Verdict: v, Before: st.Verdict}
	if v != awa.Online {
		e.Why = "no answer"
	}
	st.Verdict, st.Since = v, time.Now()
	if v == awa.Online {
		st.Self = &awa.Self{Instance: instance}
	}
	for _, m := range c.agents {
		if !m.dead {
			m.n.Add([]awa.Event{e})
		}
	}
}

// want compares the runs since the last call.
func (c *cluster) want(calls ...string) {
	c.t.Helper()
	if !slices.Equal(c.calls, calls) {
		c.t.Errorf("the runs are\n%s\nwant\n%s", strings.Join(c.calls, "\n"), strings.Join(calls, "\n"))
	}
	c.calls = nil
}

// in runs a test with a cluster in a bubble.
func in(t *testing.T, agents, nodes int, f func(t *testing.T, c *cluster)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(t, newCluster(t, agents, nodes)) })
}

func TestNotifier(t *testing.T) {
	in(t, 3, 5, func(_ *testing.T, c *cluster) {
		c.be(5, awa.Offline, "")
		c.sweep(1)
		c.want() // it must stand for two sweeps
		c.sweep(1)
		c.want("n1: n5 offline: no answer")
		c.sweep(5)
		c.want()
		c.be(5, awa.Online, "a")
		c.sweep(2)
		c.want("n1: n5 online")
		c.be(5, awa.Online, "b")
		c.sweep(3)
		c.want("n1: n5 restarted")
		c.be(5, awa.Offline, "")
		c.sweep(1)
		c.be(5, awa.Online, "b") // it was away for one sweep
		c.sweep(5)
		c.want()
	})
}

// 40 nodes that die are one run, also when the sweep that sees the first of them began
// before the last one died.
func TestNotifier_oneRun(t *testing.T) {
	in(t, 3, 45, func(_ *testing.T, c *cluster) {
		for i := 6; i <= 40; i++ {
			c.be(i, awa.Offline, "")
		}
		c.sweep(1)
		for i := 41; i <= 45; i++ {
			c.be(i, awa.Offline, "")
		}
		c.sweep(1)
		c.want()
		c.sweep(5)
		c.want("n1: 40 offline: n10, n11, n12, n13, n14 and 35 more")
	})
}

// Nodes that change for ever keep nobody else waiting.
func TestNotifier_waitsOnce(t *testing.T) {
	in(t, 3, 10, func(_ *testing.T, c *cluster) {
		c.be(4, awa.Offline, "")
		c.sweep(1)
		for i := 5; i <= 8; i++ {
			c.be(i, awa.Offline, "")
			c.sweep(1)
		}
		c.sweep(3)
		c.want("n1: 2 offline: n4, n5", "n1: 2 offline: n6, n7", "n1: n8 offline: no answer")
	})
}

func TestNotifier_maintenance(t *testing.T) {
	in(t, 3, 5, func(_ *testing.T, c *cluster) {
		c.statuses[4].Node.Maintenance = time.Now().Add(time.Minute).UTC().Format(time.RFC3339)
		c.be(5, awa.Offline, "")
		c.sweep(5)
		c.be(5, awa.Online, "b")
		c.sweep(9) // nobody is told of its restart later either
		c.want()
		c.statuses[4].Node.Maintenance = time.Now().Add(30 * time.Second).UTC().Format(time.RFC3339)
		c.be(5, awa.Offline, "")
		c.sweep(6)
		c.want()
		c.sweep(3) // it is over, and the node is not back
		c.want("n1: n5 offline: no answer")
	})
}

func TestNotifier_restarting(t *testing.T) {
	in(t, 3, 5, func(_ *testing.T, c *cluster) {
		c.statuses[4].Goodbye = &awa.Goodbye{At: time.Now(), Reason: awa.StopRestart}
		c.be(5, awa.Offline, "")
		c.sweep(5)
		c.want()
		c.statuses[4].Goodbye = nil
		c.be(5, awa.Online, "b")
		c.sweep(3)
		c.want("n1: n5 restarted")
		c.statuses[4].Goodbye = &awa.Goodbye{At: time.Now(), Reason: awa.StopRestart}
		c.be(5, awa.Offline, "")
		c.sweep(8)
		c.want("n1: n5 offline: no answer")
	})
}

func TestNotifier_flapping(t *testing.T) {
	in(t, 3, 5, func(_ *testing.T, c *cluster) {
		c.statuses[4].Flapping = 6
		c.sweep(3)
		c.want("n1: n5 flapping")
		c.be(5, awa.Offline, "")
		c.sweep(3)
		c.be(5, awa.Online, "b")
		c.sweep(3)
		c.want()
		c.be(5, awa.Offline, "")
		c.statuses[4].Flapping = 0
		c.sweep(3)
		c.want("n1: n5 settled: no answer")
	})
}

func TestNotifier_health(t *testing.T) {
	in(t, 3, 5, func(_ *testing.T, c *cluster) {
		full := awa.Condition{Code: awa.DiskFull, Agent: "n5", Text: "the disk of n5 is full"}
		c.codes = []awa.Condition{full, {Code: awa.LastMajority, Text: "one more"}} // which is OK
		c.sweep(3)
		c.want("n1: DISK_FULL n5 raised: the disk of n5 is full")
		c.be(5, awa.Offline, "")
		c.codes = nil // nobody says any more how its disk is
		c.sweep(5)
		c.want("n1: n5 offline: no answer")
		c.be(5, awa.Online, "b")
		c.codes = []awa.Condition{full}
		c.sweep(3)
		c.want("n1: n5 restarted")
		c.codes = nil
		c.sweep(3)
		c.want("n1: DISK_FULL n5 cleared")
	})
}

// The successor of a leader that died says what that one had not, and nothing twice.
func TestNotifier_successor(t *testing.T) {
	in(t, 3, 8, func(_ *testing.T, c *cluster) {
		c.be(4, awa.Offline, "")
		c.sweep(2)
		c.want("n1: n4 offline: no answer")
		for round := range 20 {
			leader := c.agents[round%3]
			next := c.agents[(round+1)%3]
			c.be(6, awa.Offline, "") // seen by all, and not yet worth a run
			c.sweep(1)
			leader.stop()
			leader.duty = false
			c.be(leader.i+1, awa.Offline, "")
			next.duty = true
			began := time.Now()
			for len(c.calls) == 0 && time.Since(began) < time.Minute {
				c.sweep(1)
			}
			if took := time.Since(began); took > 15*time.Second {
				c.t.Errorf("round %d: the successor needs %v", round, took)
			}
			c.sweep(2)
			c.want(fmt.Sprintf("n%d: 2 offline: n%d, n6", next.i+1, leader.i+1))
			leader.start()
			c.be(leader.i+1, awa.Online, fmt.Sprint("start", round))
			c.be(6, awa.Online, "a")
			c.sweep(4)
			c.want(fmt.Sprintf("n%d: 1 restarted: n%d; 1 online: n6", next.i+1, leader.i+1))
		}
	})
}

// A leader that dies while its program runs has perhaps said it, and perhaps not.
func TestNotifier_diesInARun(t *testing.T) {
	in(t, 3, 5, func(_ *testing.T, c *cluster) {
		hang := make(chan struct{})
		c.run = func(i int, _ handler.Message) error {
			if i == 0 {
				<-hang
			}
			return nil
		}
		c.be(5, awa.Offline, "")
		c.sweep(2)
		c.want("n1: n5 offline: no answer")
		c.agents[1].duty = true // another leader, while the first one still runs it
		c.agents[0].duty = false
		c.sweep(4)
		c.want()
		c.agents[0].dead = true
		c.be(1, awa.Offline, "")
		c.sweep(3)
		c.want("n2: 2 offline: n1, n5 (again)")
		close(hang)
		c.agents[0].cancel()
		<-c.agents[0].ended
	})
}

// All agents end and start again: what people know is known to them.
func TestNotifier_restartOfAll(t *testing.T) {
	in(t, 3, 5, func(_ *testing.T, c *cluster) {
		c.be(5, awa.Offline, "")
		c.sweep(3)
		c.want("n1: n5 offline: no answer")
		for _, m := range c.agents {
			m.stop()
		}
		for i, m := range c.agents {
			m.start()
			m.duty = i == 2
		}
		c.sweep(4)
		c.want()
		c.be(5, awa.Online, "b")
		c.sweep(3)
		c.want("n3: n5 restarted")
	})
}

func TestNotifier_tryAgain(t *testing.T) {
	in(t, 3, 5, func(_ *testing.T, c *cluster) {
		fails := 2
		c.run = func(int, handler.Message) error {
			if fails--; fails >= 0 {
				return handler.ErrTryAgain
			}
			return nil
		}
		c.be(5, awa.Offline, "")
		c.sweep(5)
		const again = "n1: n5 offline: no answer (again)"
		c.want("n1: n5 offline: no answer", again, again)
		fails = 100
		c.be(5, awa.Online, "a")
		c.sweep(20)
		if n := len(c.calls); n != 5 {
			c.t.Errorf("%d runs: %q", n, c.calls)
		}
		c.calls = nil
		c.run = func(int, handler.Message) error { return errors.New("exit status 1") }
		c.be(5, awa.Offline, "")
		c.sweep(5)
		c.want("n1: n5 offline: no answer")
	})
}

// What a program that is missing should have said is said once it is there.
func TestNotifier_program(t *testing.T) {
	in(t, 3, 5, func(t *testing.T, c *cluster) {
		if err := os.Chmod(c.program, 0o777); err != nil {
			t.Fatal(err)
		}
		c.be(5, awa.Offline, "")
		c.sweep(5)
		c.want()
		if n := strings.Count(c.log.String(), "other users may change"); n != 3 { // by each agent
			t.Errorf("it logged %d times: %s", n, &c.log)
		}
		if err := os.Chmod(c.program, 0o755); err != nil {
			t.Fatal(err)
		}
		c.sweep(1)
		c.want("n1: n5 offline: no answer")
		c.agents[0].n.SetProgram("")
		c.be(5, awa.Online, "a")
		c.sweep(5)
		c.want()
		c.agents[0].n.SetProgram(c.program)
		c.sweep(2)
		c.want("n1: n5 online")
	})
}

// What is not on the list any more is forgotten, and so is a health code that ceased to hold
// a day ago.
func TestNotifier_forgets(t *testing.T) {
	in(t, 1, 5, func(_ *testing.T, c *cluster) {
		c.be(5, awa.Offline, "")
		c.codes = []awa.Condition{{Code: awa.DiskFull, Agent: "n1", Text: "full"}}
		c.sweep(2)
		c.want("n1: 1 offline: n5; 1 raised: DISK_FULL n1")
		c.codes = nil
		c.sweep(3)
		c.want("n1: DISK_FULL n1 cleared")
		c.statuses = c.statuses[:4]
		c.sweep(1)
		if kept := slices.Collect(maps.Keys(c.agents[0].store.all)); len(kept) != 1 {
			c.t.Errorf("it keeps %q", kept)
		}
		<-time.After(25 * time.Hour)
		c.sweep(1)
		if kept := c.agents[0].store.all; len(kept) != 0 || len(c.agents[0].n.Notified()) != 0 {
			c.t.Errorf("a day later it keeps %v", kept)
		}
	})
}

// Another agent's clock may be far ahead.
func TestNotifier_clocks(t *testing.T) {
	in(t, 3, 5, func(_ *testing.T, c *cluster) {
		ahead := awa.Notified{NodeID: 5, Verdict: awa.Offline, At: time.Now().Add(time.Hour), By: "u1", Done: true}
		c.agents[0].n.Take([]awa.Notified{ahead})
		c.sweep(5)
		c.want("n1: n5 online")
	})
}
