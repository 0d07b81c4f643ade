//go:build system

package hostile

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/awatest/testaid"
	"are-we-alive/pkg/consensus"
	"are-we-alive/pkg/store"
	"are-we-alive/pkg/trust"
	"are-we-alive/test/program"
)

// What readers who don't read may cost an agent, in bytes.
const (
	longList    = 300_000  // changes
	idleReaders = 200      // of a long list
	readersGrow = 30 << 20 // what they may cost in all
	listedNodes = 1_000    // of a long status, each with labels of 7 KiB
	statusReads = 24       // of it, each of another sweep
	// what they may cost: the 32 MiB that the agent promises, and as much again until it is collected
	statusesGrow = 64 << 20
)

// folderWith makes a data folder, whose agent is not on the list yet.
func folderWith(t *testing.T, changes []awa.Change) string {
	t.Helper()
	dir := t.TempDir()
	st, err := store.Open(filepath.Join(dir, "awa.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	set := awa.ChangeSet{Cluster: awa.NewUID(), History: awa.NewHistory(awa.History{}), State: uint64(len(changes)),
		Changes: changes}
	if err := consensus.BootstrapFrom(st, filepath.Join(dir, "raft"), set); err != nil {
		t.Fatal(err)
	}
	return dir
}

// startOn starts the only agent of a cluster on a copy of a data folder, and
// waits until check_awa says OK.
func startOn(t *testing.T, folder, keys string, args ...string) *program.Agent {
	t.Helper()
	a := program.NewAgent(t, "a1", append([]string{"--key-file", keys}, args...)...)
	if err := os.CopyFS(a.Data(), os.DirFS(folder)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(a.Data(), 0o700); err != nil {
		t.Fatal(err)
	}
	a.Start()
	testaid.Await(t, 60*time.Second, func() error {
		if r := a.Check(keys); r.Code != 0 {
			return fmt.Errorf("check_awa: %d %s%s", r.Code, r.Out, r.Errors)
		}
		return nil
	})
	return a
}

// connect opens a connection to an agent as a member, until the test ends.
func connect(t *testing.T, a *program.Agent, keys string) net.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", a.Addr())
	if err == nil && keys != "" {
		var all []trust.Key
		var ring *trust.Keyring
		if all, err = trust.ReadFile(keys, false); err == nil {
			ring, err = trust.NewClient(all, awa.RoleMember)
		}
		if err == nil {
			conn, err = ring.Connect(ctx, conn, trust.Target{Addr: a.Addr()})
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// ask sends a request, and returns what reads the answer once that has begun.
func ask(t *testing.T, conn net.Conn, addr, target string) *bufio.Reader {
	t.Helper()
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", target, addr)
	r := bufio.NewReader(conn)
	if _, err := r.Peek(1); err != nil {
		t.Fatalf("%s: no answer: %v", target, err)
	}
	return r
}

// whole reads an answer to its end.
func whole(t *testing.T, r *bufio.Reader) []byte {
	t.Helper()
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s, %d bytes: %v", resp.Status, len(body), err)
	}
	return body
}

// grown fails the test when an agent's memory has grown by more than most.
func grown(t *testing.T, a *program.Agent, before, most int, by string) {
	t.Helper()
	if now := a.PeakRSS(); now-before > most {
		t.Fatalf("%s: the agent grew from %d to %d MiB, at most %d more are allowed", by, before>>20, now>>20, most>>20)
	}
}

// patience is how long a check may take: a second, and on a machine that is busy
// with something else a multiple of what one takes without any readers.
func patience(a *program.Agent, keys string) time.Duration {
	most := time.Second
	for range 5 {
		most = max(most, 8*a.Check(keys).Took)
	}
	return most
}

// TestLongList has readers who don't read ask for a list of many changes, and
// the command line work on it as on a short one.
func TestLongList(t *testing.T) {
	changes := make([]awa.Change, 0, longList)
	for id := uint64(1); id < longList; id += 2 {
		node := (id + 1) / 2
		changes = append(changes,
			awa.Change{ID: id, Action: awa.Create,
				Data: fmt.Sprintf(`{"id":%d,"name":"node%d","host":"10.0.0.1","port":"25483","by":"ops@example.com",`+
					`"at":"2026-11-23T18:00:00Z"}`, node, node)},
			awa.Change{ID: id + 1, Action: awa.Delete,
				Data: fmt.Sprintf(`{"id":%d,"by":"ops@example.com","at":"2026-11-23T18:00:00Z"}`, node)})
	}
	folder := folderWith(t, changes)
	changes = nil
	none := folderWith(t, nil)
	eachKey(t, func(t *testing.T, keys string) {
		a := startOn(t, folder, keys)
		short := startOn(t, none, keys)
		t.Run("the command line", func(t *testing.T) { commandLine(t, a, short, keys) })
		t.Run("readers who don't read", func(t *testing.T) { idle(t, a, keys) })
	})
}

// commandLine reads and edits the list, with the short one as a yardstick.
func commandLine(t *testing.T, a, short *program.Agent, keys string) {
	run := func(at *program.Agent, args ...string) time.Duration {
		t.Helper()
		r := program.Run(t, "awa-agent", append(append([]string{"node"}, args...), "--agent", at.Addr(), "--key-file",
			keys)...)
		if r.Code != 0 {
			t.Fatalf("node %v: %d %s%s", args, r.Code, r.Out, r.Errors)
		}
		return r.Took
	}
	for _, args := range [][]string{{"list"}, {"set", "a1", "--label", "x=y"}, {"maintain", "a1", "--for", "1h"},
		{"maintain", "a1", "--off"}} {
		yardstick := run(short, args...)
		before := a.CPU()
		if took := run(a, args...); took > 4*yardstick+500*time.Millisecond {
			t.Errorf("node %v took %v with a long list and %v with a short one", args, took, yardstick)
		}
		if used := a.CPU() - before; used > 300*time.Millisecond {
			t.Errorf("node %v cost the agent %v of processor time", args, used)
		}
	}
}

// idle has readers ask for the whole list and not read it.
func idle(t *testing.T, a *program.Agent, keys string) {
	end := sync.OnceValue(a.Witness(keys, patience(a, keys)))
	defer end()
	before, open := a.RSS(), a.Descriptors()
	a.ResetPeak()
	var crowd []net.Conn
	for i := range idleReaders {
		conn := connect(t, a, keys)
		ask(t, conn, a.Addr(), []string{"/sync?state=-1", "/v1/changes"}[i%2])
		crowd = append(crowd, conn)
		grown(t, a, before, readersGrow, fmt.Sprintf("%d readers who don't read", i+1))
	}
	// None of them holds up an edit, or one who reads.
	if r := program.Run(t, "awa-agent", "node", "set", "a1", "--label", "x=z", "--agent", a.Addr(), "--key-file",
		keys); r.Code != 0 {
		t.Errorf("node set: %d %s%s", r.Code, r.Out, r.Errors)
	}
	<-time.After(time.Second)
	grown(t, a, before, readersGrow, fmt.Sprintf("%d readers who don't read", len(crowd)))
	t.Logf("%d readers who don't read: the agent grew from %d to %d MiB", len(crowd), before>>20, a.PeakRSS()>>20)
	if end() == 0 {
		t.Error("nobody asked")
	}
	var all []json.RawMessage
	if body := whole(t, ask(t, connect(t, a, keys), a.Addr(), "/sync?state=0")); json.Unmarshal(body, &all) != nil ||
		len(all) <= longList {
		t.Errorf("one who reads gets %d changes in %d bytes", len(all), len(body))
	}
	for _, conn := range crowd {
		conn.Close()
	}
	testaid.Await(t, 20*time.Second, func() error {
		if now := a.Descriptors(); now > open+20 {
			return fmt.Errorf("%d descriptors are open, before it were %d", now, open)
		}
		return nil
	})
}

// TestLongStatus has readers ask an agent with many nodes for what it sees, each
// at another time, and not read it.
func TestLongStatus(t *testing.T) {
	var changes []awa.Change
	labels := map[string]string{}
	for i := range 28 {
		labels[fmt.Sprintf("label%d", i)] = strings.Repeat("x", 250)
	}
	for id := uint64(1); id <= listedNodes; id++ { // under maintenance, so that the cluster is well
		data, err := json.Marshal(awa.Node{ID: id, Name: fmt.Sprintf("node%d", id), Host: "127.0.0.1", Port: 1,
			Labels: labels, Maintenance: "2199-01-01T00:00:00Z"})
		if err != nil {
			t.Fatal(err)
		}
		changes = append(changes, awa.Change{ID: id, Action: awa.Create, Data: string(data)})
	}
	a := startOn(t, folderWith(t, changes), "", "--web", "127.0.0.1:0")
	for range 3 { // what a sweep leaves behind is there
		whole(t, ask(t, connect(t, a, ""), a.Addr(), "/v1/status"))
	}
	before := a.RSS()
	a.ResetPeak()
	for i := range statusReads {
		ask(t, connect(t, a, ""), a.Addr(), []string{"/v1/status", "/status"}[i%2])
		grown(t, a, before, statusesGrow, fmt.Sprintf("%d readers who don't read", i+1))
	}
	t.Logf("%d readers who don't read: the agent grew from %d to %d MiB", statusReads, before>>20, a.PeakRSS()>>20)
	var st struct{ Nodes []json.RawMessage }
	if body := whole(t, ask(t, connect(t, a, ""), a.Addr(), "/v1/status")); json.Unmarshal(body, &st) != nil ||
		len(st.Nodes) != listedNodes+1 {
		t.Errorf("one who reads gets %d nodes in %d bytes", len(st.Nodes), len(body))
	}
}
