//go:build system

package hostile

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"are-we-alive/pkg/api"
	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/awatest/testaid"
	"are-we-alive/pkg/trust"
	"are-we-alive/test/program"
)

// fileLimit makes a command start with a limit of open files.
func fileLimit(n int) func(*exec.Cmd) {
	return func(cmd *exec.Cmd) {
		cmd.Args = append([]string{"sh", "-c", `ulimit -n "$0" && exec "$@"`, strconv.Itoa(n), cmd.Path}, cmd.Args[1:]...)
		cmd.Path = "/bin/sh"
	}
}

// lowered changes the soft limit of a process that runs.
func lowered(t *testing.T, pid int, n uint64) (restore func()) {
	t.Helper()
	var before syscall.Rlimit
	set := func(to, from *syscall.Rlimit) {
		t.Helper()
		_, _, errno := syscall.RawSyscall6(syscall.SYS_PRLIMIT64, uintptr(pid), syscall.RLIMIT_NOFILE,
			uintptr(unsafe.Pointer(to)), uintptr(unsafe.Pointer(from)), 0, 0)
		if errno != 0 {
			testaid.Skip(t, "prlimit: ", errno)
		}
	}
	set(nil, &before)
	set(&syscall.Rlimit{Cur: n, Max: before.Max}, nil)
	return func() { t.Helper(); set(&before, nil) }
}

// fakeAgents are listed nodes that answer pings, as members when there are keys.
// Each keeps its connections open for as long as the caller wants.
func fakeAgents(t *testing.T, keys string, n int) []awa.Node {
	t.Helper()
	var all []awa.Node
	for i := range n {
		name, uid := fmt.Sprintf("fake%d", i), awa.NewUID()
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port := awa.Port(ln.Addr().(*net.TCPAddr).Port)
		if keys != "" {
			read, err := trust.ReadFile(keys, false)
			if err != nil {
				t.Fatal(err)
			}
			ring, err := trust.NewAgent(read, uid, name)
			if err != nil {
				t.Fatal(err)
			}
			ln = ring.Listener(ln, func(net.Addr, error) {})
		}
		body, err := json.Marshal(map[string]awa.Self{"status": {Name: name, UID: uid, Time: time.Now().Unix()}})
		if err != nil {
			t.Fatal(err)
		}
		s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(body) })}
		var served sync.WaitGroup
		served.Go(func() { s.Serve(ln) })
		t.Cleanup(func() { s.Close(); served.Wait() })
		all = append(all, awa.Node{Name: name, Host: "127.0.0.1", Port: port})
	}
	return all
}

// add puts nodes on a cluster's list.
func add(t *testing.T, c *api.Client, addr string, nodes []awa.Node) {
	t.Helper()
	for _, n := range nodes {
		data := fmt.Sprintf(`{"name":%q,"host":%q,"port":%d}`, n.Name, n.Host, n.Port)
		if _, _, err := c.Edit(t.Context(), addr, awa.Edit{Action: awa.Create, Data: []byte(data)}, 0); err != nil {
			t.Fatal(err)
		}
	}
}

// memberClient is a client with the cluster's key.
func memberClient(t *testing.T, keys string) *api.Client {
	t.Helper()
	d := newDialer(t, "127.0.0.1", "")
	if keys != "" {
		read, err := trust.ReadFile(keys, false)
		if err == nil {
			d.ring, err = trust.NewClient(read, awa.RoleMember)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return d.client(t)
}

// TestDescriptors starts an agent with ulimit -n 64 in a cluster of 125 nodes,
// 43 of which live. It sees every one of them, in each sweep, and they see it.
func TestDescriptors(t *testing.T) {
	const limit, listed, fakes = 64, 125, 40
	eachKey(t, func(t *testing.T, keys string) {
		agents := program.Cluster(t, keys, 2)
		c := memberClient(t, keys)
		add(t, c, agents[0].Addr(), fakeAgents(t, keys, fakes))
		dead := make([]awa.Node, listed-3-fakes)
		for i := range dead {
			dead[i] = awa.Node{Name: fmt.Sprintf("dead%d", i), Host: "127.0.0.9", Port: awa.Port(1 + i)}
		}
		add(t, c, agents[0].Addr(), dead)
		small := program.NewAgent(t, "small", "--key-file", keys, "--join", agents[0].Addr())
		small.Change = fileLimit(limit)
		small.Start()
		testaid.Await(t, 30*time.Second, func() error {
			if s, err := c.ClusterStatus(t.Context(), small.Addr(), false); err != nil || len(s.Nodes) != listed {
				return fmt.Errorf("%d nodes: %w", len(s.Nodes), err)
			}
			return nil
		})

		most := 0
		for round := range 10 {
			var all sync.WaitGroup
			for _, asked := range []*program.Agent{small, small, agents[0]} {
				all.Go(func() {
					s, err := c.ClusterStatus(t.Context(), asked.Addr(), false)
					if err != nil {
						t.Errorf("round %d at %s: %v", round, asked.Name, err)
					}
					for _, n := range s.Nodes {
						gone := strings.HasPrefix(n.Node.Name, "dead")
						if want := map[bool]awa.Verdict{true: awa.Offline, false: awa.Online}[gone]; n.Verdict != want ||
							gone && n.Error != "connection refused" {
							t.Errorf("round %d: for %s, %s is %s: %s", round, asked.Name, n.Node.Name, n.Verdict, n.Error)
						}
					}
				})
			}
			all.Wait()
			most = max(most, small.Descriptors())
		}
		if most >= limit {
			t.Errorf("it has %d descriptors open, all that it may have", most)
		}
		r := small.Check(keys, "-c", "~:")
		if r.Code != 0 || !strings.Contains(r.Out, "online=43") || r.Took > 5*time.Second {
			t.Errorf("check_awa at %s: %d after %v: %s%s", small.Name, r.Code, r.Took, r.Out, r.Errors)
		}
		t.Logf("%d of %d descriptors were open at most", most, limit)
		warned := strings.Count(small.Log.String(), "the limit of open files is low for this list")
		if warned != 1 || !strings.Contains(small.Log.String(), `"limit":64`) {
			t.Errorf("the warning stands %d times in the log", warned)
		}
		if strings.Contains(small.Log.String(), "too many open files") {
			t.Error("something lacked a descriptor")
		}
	})
}

// TestDescriptors_shortage takes the descriptors from an agent that runs. It
// says that it could not look, and keeps what it knew.
func TestDescriptors_shortage(t *testing.T) {
	eachKey(t, func(t *testing.T, keys string) {
		agents := program.Cluster(t, keys, 3)
		a := agents[0]
		c := memberClient(t, keys)
		add(t, c, a.Addr(), []awa.Node{{Name: "dead", Host: "127.0.0.9", Port: 1}})
		before := status(t, c, a)
		restore := lowered(t, a.PID(), 4)
		testaid.Await(t, 20*time.Second, func() error {
			_, err := c.ClusterStatus(t.Context(), a.Addr(), false) // over the connection that is open
			if !errors.Is(err, awa.ErrShortage) {
				return fmt.Errorf("without descriptors it says: %w", err)
			}
			if !strings.Contains(err.Error(), "LimitNOFILE=") {
				t.Errorf("the sentence doesn't say what to do: %v", err)
			}
			return nil
		})
		testaid.Await(t, 20*time.Second, func() error {
			if _, err := c.ClusterStatus(t.Context(), a.Addr(), true); !errors.Is(err, awa.ErrShortage) {
				return fmt.Errorf("its last sweep: %w", err)
			}
			return nil
		})
		restore()
		testaid.Await(t, 20*time.Second, func() error {
			if r := a.Check(keys, "-c", "~:"); r.Code != 0 || !strings.Contains(r.Out, "online=3") {
				return fmt.Errorf("afterwards: %d %s", r.Code, r.Out)
			}
			return nil
		})
		after := status(t, c, a)
		for i, n := range after {
			if n.Verdict != before[i].Verdict || !n.Since.Equal(before[i].Since) {
				t.Errorf("%s was %s since %v, and is %s since %v", n.Node.Name, before[i].Verdict, before[i].Since, n.Verdict,
					n.Since)
			}
		}
		if n := strings.Count(a.Log.String(), "could not look at all nodes"); n != 1 {
			t.Errorf("it is logged %d times", n)
		}
		if strings.Count(a.Log.String(), "node is offline") > 1 { // the one that is
			t.Error("the log names living nodes offline")
		}
	})
}

func status(t *testing.T, c *api.Client, a *program.Agent) []awa.NodeStatus {
	t.Helper()
	s, err := c.ClusterStatus(t.Context(), a.Addr(), false)
	if err != nil {
		t.Fatal(err)
	}
	return s.Nodes
}

// TestDescriptors_check starts check_awa with ever fewer descriptors: it works
// or is UNKNOWN, and never takes what it lacks for a dead cluster.
func TestDescriptors_check(t *testing.T) {
	eachKey(t, func(t *testing.T, keys string) {
		a := program.Cluster(t, keys, 2)[0]
		unknown := 0
		for limit := 4; limit <= 16; limit++ {
			cmd := exec.Command(program.Path("check_awa"), "-H", a.Addr(), "-k", keys)
			cmd.Dir, cmd.Env = t.TempDir(), os.Environ()
			fileLimit(limit)(cmd)
			out, err := cmd.Output()
			code := cmd.ProcessState.ExitCode()
			if code == 3 && strings.HasPrefix(string(out), "AWA UNKNOWN - ") && strings.Contains(string(out), "ulimit -n") {
				unknown++
			} else if code != 0 {
				t.Errorf("with %d descriptors: %v %s", limit, err, out)
			}
		}
		if unknown == 0 || unknown > 8 {
			t.Errorf("of the limits from 4 to 16, it did not work with %d", unknown)
		}
	})
}

// TestDescriptors_too_few starts an agent that could never do its work.
func TestDescriptors_too_few(t *testing.T) {
	a := program.NewAgent(t, "a1")
	a.Spawn([]string{"run", "--my-name", "a1", "--my-host", "127.0.0.1", "--listen", "127.0.0.1:0", "--data-dir",
		a.Data(), "--first"}, fileLimit(24))
	if code := a.Wait(20 * time.Second); code != 2 || !strings.Contains(a.Log.String(), "LimitNOFILE=") {
		t.Errorf("exit code %d:\n%s", code, a.Log)
	}
}
