//go:build system

package test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"are-we-alive/pkg/awatest/testaid"
)

// eventLine is an event in awa-agent events -o json.
type eventLine struct {
	Event string
	Why   string
}

// eventsOf returns what an agent says of a node, as "event: why".
func (a *agent) eventsOf(node string) (lines []string) {
	a.t.Helper()
	r := run(a.t, "awa-agent", "events", "--agent", a.addr(), "--key-file", "", "--node", node, "-o", "json")
	if r.code != 0 {
		a.t.Fatal(r)
	}
	for line := range strings.Lines(r.out) {
		var e eventLine
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			a.t.Fatalf("%s: %v", line, err)
		}
		if e.Event == "raised" || e.Event == "cleared" {
			continue // that the list was behind for a moment, say
		}
		text := strings.TrimSuffix(e.Event+": "+e.Why, ": ")
		if e.Event == "maintenance" {
			text = e.Event
		}
		lines = append(lines, text)
	}
	return lines
}

// notices are the runs of the agents' handler, which has a file for each.
type notices struct {
	t       *testing.T
	dir     string
	program string
	seen    int
}

// newNotices makes a handler that keeps what it reads.
func newNotices(t *testing.T) *notices {
	t.Helper()
	n := &notices{t: t, dir: t.TempDir(), program: filepath.Join(t.TempDir(), "handler")}
	n.write(`cat >"` + n.dir + `/new.$$" && mv "` + n.dir + `/new.$$" "` + n.dir + `/$(date +%s%N).$$"`)
	return n
}

// write replaces the handler, as a package does: by a new file.
func (n *notices) write(text string) {
	n.t.Helper()
	if err := errors.Join(os.WriteFile(n.program+".new", []byte("#!/bin/sh\n"+text+"\n"), 0o755),
		os.Rename(n.program+".new", n.program)); err != nil {
		n.t.Fatal(err)
	}
}

// all returns the texts of all runs, in their order: who ran it, and what it says.
func (n *notices) all() (texts []string) {
	n.t.Helper()
	files, err := filepath.Glob(n.dir + "/[0-9]*")
	if err != nil {
		n.t.Fatal(err)
	}
	slices.Sort(files)
	for _, file := range files {
		b, err := os.ReadFile(file)
		var m struct {
			Agent, Text string
			Again       bool
		}
		if err == nil {
			err = json.Unmarshal(b, &m)
		}
		if err != nil {
			n.t.Fatalf("%s: %v", b, err)
		}
		text, _, _ := strings.Cut(m.Text, ":")
		if m.Again {
			text += " again"
		}
		texts = append(texts, text)
	}
	return texts
}

// atLowPriority is how much longer the end of a run may take on a busy machine: a handler
// has the lowest priority.
const atLowPriority = 30 * time.Second

// await waits for further runs with these texts, and for no others.
func (n *notices) await(most time.Duration, texts ...string) {
	n.t.Helper()
	if len(texts) > 0 {
		most += atLowPriority
	}
	testaid.Await(n.t, most, func() error {
		if all := n.all()[n.seen:]; !slices.Equal(all, texts) {
			return fmt.Errorf("the runs are %q, want %q", all, texts)
		}
		return nil
	})
	n.seen += len(texts)
}

// witnesses are all agents of a cluster but one, and what each has said of that one before.
type witnesses struct {
	t      *testing.T
	victim *agent
	all    []*agent
	before map[*agent]int
}

func (c *cluster) witnesses(victim *agent) *witnesses {
	c.t.Helper()
	w := &witnesses{t: c.t, victim: victim, before: map[*agent]int{}}
	for _, a := range c.agents {
		if a != victim {
			w.all = append(w.all, a)
			w.before[a] = len(a.eventsOf(victim.name))
		}
	}
	return w
}

// want waits until each says just this besides what it said before.
func (w *witnesses) want(lines ...string) {
	w.t.Helper()
	testaid.Await(w.t, 30*time.Second, func() error {
		for _, a := range w.all {
			if all := a.eventsOf(w.victim.name)[w.before[a]:]; !slices.Equal(all, lines) {
				return fmt.Errorf("%s says of %s\n%s\nwant\n%s", a.name, w.victim.name, strings.Join(all, "\n"),
					strings.Join(lines, "\n"))
			}
		}
		return nil
	})
	for _, a := range w.all {
		w.before[a] += len(lines)
	}
}

// Whole agents are treated in every way. Each of the others has one event for each thing
// that was done, word by word, and people are told each once.
func TestEvents(t *testing.T) {
	t.Parallel()
	told := newNotices(t)
	c := newCluster(t, 3, "--on-event", told.program)
	c.awaitVoters(3)
	_, others := c.awaitLeader("")
	victim := others[1]
	w := c.witnesses(victim)
	const refused = "offline: the host answers, its agent is not running (connection refused), 1 other does not see it either"

	victim.kill()
	w.want(refused)
	told.await(20*time.Second, victim.name+" offline")
	victim.start()
	w.want("restarted: its agent was restarted")
	told.await(20*time.Second, victim.name+" restarted")

	victim.signal(syscall.SIGTERM)
	victim.wait(20 * time.Second)
	w.want("stopped: by a signal", "offline: its agent was stopped (by a signal), 1 other does not see it either")
	told.await(20*time.Second, victim.name+" offline")
	if r := run(t, "check_awa", "-H", others[0].addr(), "-k", "", "--stopped-state", "ok"); r.code != 0 ||
		!strings.Contains(r.out, "1 of 3 nodes stopped: "+victim.name+" (its agent was stopped at ") {
		t.Errorf("check_awa: %+v", r)
	}
	if r := run(t, "check_awa", "-H", others[0].addr(), "-k", ""); r.code != 2 ||
		!strings.Contains(r.out, "1 of 3 nodes offline: "+victim.name+" (its agent was stopped at ") {
		t.Errorf("check_awa: %+v", r)
	}
	victim.start()
	w.want("restarted: its agent was restarted")
	told.await(20*time.Second, victim.name+" restarted")

	victim = others[0] // so that none is flapping
	w = c.witnesses(victim)
	victim.signal(syscall.SIGSTOP)
	w.want("offline: reply: no answer within 1s, 1 other does not see it either")
	told.await(20*time.Second, victim.name+" offline")
	victim.signal(syscall.SIGCONT)
	w.want("online")
	told.await(20*time.Second, victim.name+" online")

	for _, args := range [][]string{{"--for", "1h"}, {"--off"}} {
		if r := run(t, "awa-agent", append([]string{"node", "maintain", victim.name, "--agent", w.all[0].addr(), "--key-file",
			""}, args...)...); r.code != 0 {
			t.Fatal(r)
		}
		if args[0] == "--for" {
			w.want("maintenance")
			victim.kill()
			w.want(refused)
			victim.start()
			w.want("restarted: its agent was restarted")
		} else {
			w.want("maintenance_ended")
		}
	}
	told.await(0) // nothing was told of it

	other := newAgent(t, "a4", "--join", c.agents[0].addr())
	other.start()
	c.awaitNodes(4)
	if r := run(t, "awa-agent", "node", "remove", "a4", "--agent", c.agents[0].addr(), "--key-file", ""); r.code != 0 {
		t.Fatal(r)
	}
	other.kill()
	testaid.Await(t, 20*time.Second, func() error {
		all := w.all[0].eventsOf("a4")
		if len(all) != 3 || all[0] != "joined: at "+other.addr() || all[1] != "online" || all[2] != "removed" {
			return fmt.Errorf("%q", all)
		}
		return nil
	})
}

// Leaders are killed 20 times, in five clusters, since one that is killed three times is
// flapping. Each time the successor says so, once, and nobody says anything twice.
func TestEvents_leaderKills(t *testing.T) {
	t.Parallel()
	for range 5 {
		t.Run("cluster", func(t *testing.T) {
			t.Parallel()
			told := newNotices(t)
			c := newCluster(t, 3, "--on-event", told.program)
			c.awaitVoters(3)
			for range 4 { // none leads again at once
				leader, _ := c.awaitLeader("")
				c.killLeader(leader, told)
				leader.start()
				told.await(30*time.Second, leader.name+" restarted")
				// Not in the moment between the end of its handler and its word to the others.
				<-time.After(time.Duration(rand.Int64N(int64(time.Second))))
			}
		})
	}
}

// The same with the sweeps as they are by default.
func TestEvents_leaderKill_default(t *testing.T) {
	t.Parallel()
	told := newNotices(t)
	c := newCluster(t, 3, "--on-event", told.program, "--watch", "5s")
	c.awaitVoters(3)
	leader, _ := c.awaitLeader("")
	c.killLeader(leader, told)
	leader.start()
	told.await(30*time.Second, leader.name+" restarted")
}

// killLeader kills the leader, and waits until people were notified of it. Its successor
// must have started that run within 15 s.
func (c *cluster) killLeader(leader *agent, told *notices) {
	c.t.Helper()
	began := time.Now()
	leader.kill()
	told.await(15*time.Second, leader.name+" offline")
	for _, a := range c.agents {
		for line := range strings.Lines(a.log.String()) {
			var run logLine
			if json.Unmarshal([]byte(line), &run) == nil && run.Msg == "the program of on_event is run" && run.Time.After(began) {
				c.t.Logf("the successor runs the handler %v after the kill", run.Time.Sub(began).Round(time.Millisecond))
				if run.Time.Sub(began) > 15*time.Second {
					c.t.Errorf("that is later than 15s")
				}
				return
			}
		}
	}
	c.t.Error("no log says that the handler was run")
}

// crowd answers pings as nodes of a list that no agent registered.
type crowd struct {
	t       *testing.T
	of      *agent // whose list it is
	servers []*http.Server
	pings   atomic.Int64
	delay   atomic.Int64 // of an answer, in nanoseconds
}

// newCrowd opens so many ports, adds their nodes c1, c2, … to the list of an agent, and
// waits until it sees them.
func newCrowd(t *testing.T, a *agent, n int) *crowd {
	t.Helper()
	c := &crowd{t: t, of: a}
	for range n {
		c.add()
	}
	testaid.Await(t, 30*time.Second, func() error {
		st, err := a.status(true)
		online := 0
		for _, node := range st.Nodes {
			if node.Verdict == "online" {
				online++
			}
		}
		if err == nil && online != n+1 {
			err = fmt.Errorf("%d of %d nodes are online", online, n+1)
		}
		return err
	})
	return c
}

// add opens a port, and adds its node to the list.
func (c *crowd) add() {
	c.t.Helper()
	name, uid := fmt.Sprintf("c%d", len(c.servers)+1), fmt.Sprintf("u%d", len(c.servers)+1)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		c.t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		c.pings.Add(1)
		<-time.After(time.Duration(c.delay.Load()))
		now := time.Now()
		fmt.Fprintf(w, `{"status":{"macaddr":"","db_state":0,"time":%d,"time_ms":%d,"name":%q,"uid":%q,"instance":"a",`+
			`"cluster":"","history":"","leader":"","version":"0.1.0","log_index":0,"digest":"","sees":null}}`,
			now.Unix(), now.UnixMilli(), name, uid)
	})}
	go s.Serve(ln)
	c.t.Cleanup(func() { s.Close() })
	c.servers = append(c.servers, s)
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	r := run(c.t, "awa-agent", "node", "add", name, "127.0.0.1", port, "--agent", c.of.addr(), "--key-file", "")
	if r.code != 0 {
		c.t.Fatalf("%+v", r)
	}
}

// die closes the ports of some nodes at once, and every connection to them.
func (c *crowd) die(from, to int) {
	for _, s := range c.servers[from:to] {
		s.Close()
	}
}

// 40 nodes that die at once are one call. Whatever the handler does, the sweeps go on.
func TestEvents_massDeath(t *testing.T) {
	t.Parallel()
	told := newNotices(t)
	a := newAgent(t, "a1", "--first", "--on-event", told.program)
	a.start()
	(&cluster{t: t, agents: []*agent{a}}).awaitNodes(1)
	c := newCrowd(t, a, 45)
	told.await(0)
	c.die(0, 40)
	told.await(20*time.Second, "40 offline")
	told.await(0)

	calm := sweeps(t, a, 15)
	for i, wild := range []struct{ name, text string }{
		{"floods its output", "yes"},
		{"forks and hangs", `i=0; while [ $i -lt 50 ]; do (setsid sh -c 'while :; do :; done' &) ; i=$((i+1)); done; sleep 1000`},
		{"exits 1", "exit 1"},
		{"is replaced", "rm -f \"$0\"; sleep 2"},
	} {
		told.write(wild.text)
		c.die(40+i, 41+i)
		a.log.wait(t, 30*time.Second, func(l logLine) bool {
			return l.Msg == "the program of on_event is run" && l.Text == fmt.Sprintf("c%d offline: %s", 41+i,
				"the host answers, its agent is not running (connection refused)")
		}, a.ended)
		t.Logf("a sweep takes %v with a handler that %s, and %v without", sweeps(t, a, 15), wild.name, calm)
		a.signal(syscall.SIGHUP) // the one under way is not ended by that
		if wild.name == "forks and hangs" {
			a.log.wait(t, 60*time.Second, func(l logLine) bool {
				return l.Msg == "the program of on_event failed" && strings.Contains(l.Error, "did not end within 30s")
			}, a.ended)
		}
	}
}

// sweeps waits for so many background sweeps, which must not stop, and returns the median
// of their times.
func sweeps(t *testing.T, a *agent, n int) time.Duration {
	t.Helper()
	var took []time.Duration
	last := ""
	for len(took) < n {
		testaid.Await(t, 5*time.Second, func() error {
			st, err := a.status(true)
			if err == nil && st.SweptAt == last {
				err = errors.New("no further sweep")
			}
			if err == nil {
				last = st.SweptAt
				took = append(took, time.Duration(st.TookMS*float64(time.Millisecond)))
			}
			return err
		})
	}
	slices.Sort(took)
	return took[len(took)/2]
}

// A thousand callers at once are one sweep, and get one answer.
func TestCheck_crowd(t *testing.T) {
	t.Parallel()
	a := newAgent(t, "a1", "--first", "--watch", "1h", "--web", "127.0.0.1:0")
	a.start()
	web := a.log.wait(t, 20*time.Second, func(l logLine) bool { return l.Msg == "listening for Prometheus" }, a.ended).Addr
	testaid.Await(t, 20*time.Second, func() error {
		_, err := a.status(false)
		return err
	})
	c := &crowd{t: t, of: a} // which nobody sweeps before
	c.add()
	c.delay.Store(int64(200 * time.Millisecond))
	const callers = 1000
	conns := make([]net.Conn, callers)
	for i := range conns {
		var err error
		if conns[i], err = net.Dial("tcp", web); err != nil {
			t.Fatal(err)
		}
		defer conns[i].Close()
	}
	before := c.pings.Load()
	var all sync.WaitGroup
	answers := make([]string, callers)
	for i, conn := range conns {
		all.Go(func() {
			io.WriteString(conn, "GET /check HTTP/1.0\r\n\r\n")
			conn.SetDeadline(time.Now().Add(20 * time.Second))
			b, err := io.ReadAll(conn)
			head, body, _ := strings.Cut(string(b), "\r\n\r\n")
			line, _, _ := strings.Cut(head, "\r\n")
			answers[i] = fmt.Sprintf("%s %s%v", line, body, err)
		})
	}
	all.Wait()
	if n := c.pings.Load() - before; n != 1 && n != 2 { // of one sweep, with a second attempt
		t.Errorf("the node was pinged %d times", n)
	}
	for i, answer := range answers {
		if answer != answers[0] || !strings.Contains(answer, "200 OK AWA OK - 2 of 2 nodes online") {
			t.Fatalf("caller %d gets %q", i, answer)
		}
	}
}
