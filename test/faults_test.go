//go:build system

package test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestFaults_kill kills agents of three that are edited all the time. Nothing
// that was acknowledged may be lost or be there twice, and in the end all
// three hold one sequence.
func TestFaults_kill(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	w := c.write(2)
	w.progress(20, c.agents...)
	c.awaitVoters(3)
	w.progress(20, c.agents...)

	t.Run("a follower", func(t *testing.T) {
		leader, others := c.awaitLeader("")
		victim := others[0]
		unwatch := w.watch(leader, others[1])
		victim.kill()
		w.progress(50, leader, others[1])
		unwatch()
		victim.start()
		w.progress(20, c.agents...)
	})
	t.Run("the leader", func(t *testing.T) {
		leader, others := c.awaitLeader("")
		leader.kill()
		w.progress(50, others...)
		leader.start()
		w.progress(20, c.agents...)
	})
	t.Run("all at once", func(t *testing.T) {
		for _, a := range c.agents {
			a.signal(syscall.SIGKILL)
		}
		for _, a := range c.agents {
			a.wait(20 * time.Second)
		}
		for _, a := range c.agents {
			a.start()
		}
		w.progress(20, c.agents...)
	})
	w.end()
	w.check(c.list(w.newest()))

	t.Run("two: no edit is acknowledged, and all that needs no majority works", func(t *testing.T) {
		survivor, victims := c.awaitLeader("")
		for _, a := range victims {
			a.kill()
		}
		before, err := survivor.get("/sync?state=-1")
		if err != nil {
			t.Fatal(err)
		}
		refused := make(chan error, 1)
		go func() {
			_, err := survivor.edit(t.Context(), http.DefaultClient, "CREATE", `{"name":"n","host":"h","port":1}`, "k")
			refused <- err
		}()
		st, err := survivor.status(false)
		if err != nil || len(st.Nodes) < 3 {
			t.Errorf("the status of the survivor: %+v, %v", st, err)
		}
		for _, n := range st.Nodes {
			if online := n.Verdict == "online"; n.UID != "" && online != (n.Name == survivor.name) {
				t.Errorf("node %s is %s", n.Name, n.Verdict)
			}
		}
		err = <-refused
		var r refusal
		if !errors.As(err, &r) || r.Status != 503 || r.Code != "no_majority" && r.Code != "unknown_outcome" {
			t.Fatalf("the edit: %v", err)
		}
		for _, a := range victims {
			if want := fmt.Sprintf("%s (%s: connect: connection refused)", a.name, a.addr()); !strings.Contains(r.Text, want) {
				t.Errorf("%q does not say %q", r.Text, want)
			}
		}
		if after, err := survivor.get("/sync?state=-1"); err != nil || string(after) != string(before) {
			t.Errorf("the list was changed (%v)\n%s", err, difference(before, after))
		}
		for _, a := range victims {
			a.start()
		}
		c.awaitLeader("")
		if _, err := survivor.edit(t.Context(), http.DefaultClient, "CREATE", `{"name":"n","host":"h","port":1}`,
			"k"); err != nil {
			t.Errorf("the edit, with a majority again: %v", err)
		}
	})
	again := c.list(w.newest())
	w.check(again)
	if n := strings.Count(fmt.Sprint(again), `"name":"n"`); n != 1 {
		t.Errorf("the edit that was refused first was made %d times", n)
	}
}

// TestFaults_signals stops agents of three by signals while they are edited.
func TestFaults_signals(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	w := c.write(2)
	c.awaitVoters(3)
	w.progress(20, c.agents...)

	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run("the leader, by "+sig.String(), func(t *testing.T) { stopLeader(t, c, w, sig) })
	}
	t.Run("the leader is frozen and goes on", func(t *testing.T) {
		old, others := c.awaitLeader("")
		old.signal(syscall.SIGSTOP)
		w.progress(50, others...)
		old.signal(syscall.SIGCONT)
		w.progress(20, c.agents...)
		c.awaitLeader("")
	})
	w.end()
	w.check(c.list(w.newest()))
}

// stopLeader stops the leader gracefully: within 3 s, with exit code 0, with
// an answer to what is under way, and with no edit lost at another agent.
func stopLeader(t *testing.T, c *cluster, w *writers, sig syscall.Signal) {
	leader, others := c.awaitLeader("")
	unwatch := w.watch(others...)
	underWay := newHalfEdit(t, leader, "under-way-"+sig.String())
	begin := time.Now()
	leader.signal(sig)
	underWay.finish(t)
	code, took := leader.wait(20*time.Second), time.Since(begin)
	if code != 0 || took > 3*time.Second {
		t.Errorf("the leader ended with exit code %d after %v, want 0 within 3s:\n%s", code, took, leader.log)
	}
	if conn, err := net.Dial("tcp", leader.addr()); err == nil {
		conn.Close()
		t.Error("the port is still open")
	}
	w.progress(50, others...)
	unwatch()
	c.awaitLeader(leader.name)
	leader.start()
	w.progress(20, c.agents...)
	t.Logf("it took %v", took)
}

// halfEdit is an edit whose body the agent waits for.
type halfEdit struct {
	conn net.Conn
	r    *bufio.Reader
	body string
}

func newHalfEdit(t *testing.T, a *agent, name string) *halfEdit {
	t.Helper()
	conn, err := net.Dial("tcp", a.addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	h := &halfEdit{conn: conn, r: bufio.NewReader(conn),
		body: fmt.Sprintf(`{"action":"CREATE","data":{"name":%q,"host":"127.0.0.1","port":1}}`, name)}
	fmt.Fprintf(conn, "POST /v1/changes HTTP/1.1\r\nHost: localhost\r\nIdempotency-Key: %s\r\nExpect: "+
		"100-continue\r\nContent-Length: %d\r\n\r\n", name, len(h.body))
	if line, err := h.r.ReadString('\n'); err != nil || line != "HTTP/1.1 100 Continue\r\n" {
		t.Fatalf("%q, %v", line, err)
	}
	h.r.ReadString('\n') // the empty line
	return h
}

// finish sends the body and wants the edit acknowledged.
func (h *halfEdit) finish(t *testing.T) {
	t.Helper()
	if _, err := io.WriteString(h.conn, h.body); err != nil {
		t.Errorf("the edit under way: %v", err)
		return
	}
	resp, err := http.ReadResponse(h.r, nil)
	if err != nil {
		t.Errorf("the edit under way: %v", err)
		return
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("the edit under way: %v, %d %s", err, resp.StatusCode, body)
	}
}

// TestFaults_onlyVoter kills the first of two agents, which is the only voter until there are
// three. The other one says what an edit lacks.
func TestFaults_onlyVoter(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 2)
	c.agents[0].kill()
	r := run(t, "awa-agent", "node", "add", "x", "127.0.0.1", "1", "--agent", c.agents[1].addr())
	if want := "the only voter is needed, but no answer from a1 ("; r.code == 0 || !strings.Contains(r.errors, want) {
		t.Errorf("node add: %+v, want %s", r, want)
	}
}
