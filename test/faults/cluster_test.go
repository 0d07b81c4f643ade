//go:build system

package faults

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"are-we-alive/pkg/awatest/testaid"
)

// Times that only bound a wait.
const (
	waitMost  = 20 * time.Second // for what the agents do at once
	voterMost = time.Minute      // for five voters: an agent must be online for 10 s
)

// port is where all agents listen, each on its own host.
const port = "25483"

// cluster is five agents, n1 to n5, on the hosts h1 to h5, and a host without
// an agent from which they are asked. The node n4 is known by its DNS name.
type cluster struct {
	t       *testing.T
	net     *network
	names   *nameServer
	monitor *host
	agents  []*agent
	spare   *host  // a host more, for agents that a test starts besides; may be nil
	extra   *agent // what runs there
	dir     string // holds the keys
}

// agent is an awa-agent on a host of its own.
type agent struct {
	c     *cluster
	host  *host
	name  string
	at    string        // the host under which the others know it
	key   string        // the file of the cluster's key
	ahead time.Duration // its clock's
	dir   string        // holds the data folder; the process runs in it
	log   *logBook
	cmd   *exec.Cmd
	ended chan struct{} // closed when the process has ended
}

// newCluster starts five agents and waits until all see all, and five vote.
func newCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{t: t, net: newNetwork(t), dir: t.TempDir()}
	c.names = newNameServer(c.net.bridge)
	c.monitor = c.net.addHost("monitor", 100)
	c.newKey(filepath.Base(c.clusterKey()))
	must(t, program("awa-agent"), "key", "check", "--key-file", c.clusterKey(), c.checkKey())
	for i := 1; i <= 5; i++ {
		h := c.net.addHost(fmt.Sprintf("h%d", i), i)
		a := c.newAgent(fmt.Sprintf("n%d", i), h, h.addr)
		if i == 4 {
			a.at = "n4.awa.test"
			c.names.set(a.at, h.addr)
		}
		c.agents = append(c.agents, a)
	}
	for i, a := range c.agents {
		if i == 0 {
			a.start("--first")
		} else {
			a.start("--join", c.n(1).host.addr)
		}
	}
	for _, a := range c.agents {
		c.awaitAll(a)
	}
	testaid.Await(t, voterMost, func() error {
		if got := c.ask(c.n(1)); len(got.Voters) != 5 {
			return fmt.Errorf("the voters are %v", got.Voters)
		}
		return nil
	})
	return c
}

func (c *cluster) clusterKey() string { return filepath.Join(c.dir, "cluster.key") }
func (c *cluster) checkKey() string   { return filepath.Join(c.dir, "check.key") }

// newKey makes the key of a cluster, in a file of that name.
func (c *cluster) newKey(name string) string {
	c.t.Helper()
	path := filepath.Join(c.dir, name)
	must(c.t, program("awa-agent"), "key", "new", path)
	return path
}

// n returns agent n1 to n5, and with 6 the one that a row has started besides.
func (c *cluster) n(number int) *agent {
	if number > len(c.agents) {
		return c.extra
	}
	return c.agents[number-1]
}

// hosts returns all hosts, the monitor too.
func (c *cluster) hosts() []*host {
	all := []*host{c.monitor}
	if c.spare != nil {
		all = append(all, c.spare)
	}
	for _, a := range c.agents {
		all = append(all, a.host)
	}
	return all
}

// newAgent prepares an agent. What is left of it is killed when the test ends.
func (c *cluster) newAgent(name string, h *host, at string) *agent {
	c.t.Helper()
	a := &agent{c: c, host: h, name: name, at: at, key: c.clusterKey(), dir: c.t.TempDir(), log: &logBook{}}
	// So that no file of this machine is found.
	if err := os.WriteFile(filepath.Join(a.dir, "cluster_info.json"), []byte("{}"), 0o600); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() {
		a.kill()
		a.log.check(c.t, name)
	})
	return a
}

// data is the agent's data folder.
func (a *agent) data() string { return filepath.Join(a.dir, "data") }

// command prepares the process: awa-agent, except an agent whose clock is
// ahead.
func (a *agent) command(args ...string) *exec.Cmd {
	data := a.data()
	if a.ahead == 0 {
		return a.host.command(program("awa-agent"), append([]string{
			"run", "--my-name", a.name, "--my-host", a.at, "--data-dir", data, "--key-file", a.key, "--log-format", "json"},
			args...)...)
	}
	self, err := os.Executable()
	if err != nil {
		a.c.t.Fatal(err)
	}
	cmd := a.host.command(self, a.name, a.at, data, a.key)
	cmd.Env = append(cmd.Env, envClock+"="+a.ahead.String())
	return cmd
}

// start starts the agent and waits until it listens.
func (a *agent) start(args ...string) {
	a.c.t.Helper()
	from := a.log.len()
	cmd := a.command(args...)
	cmd.Dir, cmd.Stderr = a.dir, a.log
	if err := cmd.Start(); err != nil {
		a.c.t.Fatal(err)
	}
	ended := make(chan struct{})
	a.cmd, a.ended = cmd, ended
	go func() {
		cmd.Wait() // the exit code is in cmd.ProcessState
		close(ended)
	}()
	testaid.Await(a.c.t, waitMost, func() error {
		if !a.log.listens(from) {
			return fmt.Errorf("agent %s does not listen:\n%s", a.name, a.log)
		}
		return nil
	})
}

func (a *agent) signal(sig syscall.Signal) {
	a.c.t.Helper()
	if err := a.cmd.Process.Signal(sig); err != nil {
		a.c.t.Fatalf("%v to agent %s: %v", sig, a.name, err)
	}
}

// kill kills the process, also a stopped one, and waits until it is gone.
func (a *agent) kill() {
	if a.cmd != nil {
		a.cmd.Process.Kill() // fails when it has ended
		<-a.ended
	}
}

// revive starts the agent unless it runs.
func (a *agent) revive() {
	a.c.t.Helper()
	select {
	case <-a.ended:
		a.start()
	default:
	}
}

// stop ends the process as systemd does.
func (a *agent) stop() {
	a.c.t.Helper()
	a.signal(syscall.SIGTERM)
	select {
	case <-a.ended:
	case <-time.After(waitMost):
		a.c.t.Fatalf("agent %s has not ended after %v:\n%s", a.name, waitMost, a.log)
	}
}

// cut drops all packets between two groups of agents.
func (c *cluster) cut(some, others []int) {
	for _, a := range some {
		for _, b := range others {
			c.n(a).host.deafTo(c.n(b).host)
			c.n(b).host.deafTo(c.n(a).host)
		}
	}
}

// followers sees to it that none of the agents leads.
func (c *cluster) followers(numbers ...int) {
	c.t.Helper()
	testaid.Await(c.t, waitMost, func() error {
		leader := c.ask(c.n(1)).Leader
		if leader == "" {
			return errors.New("there is no leader")
		}
		for _, number := range numbers {
			if a := c.n(number); a.name == leader {
				a.stop() // it hands over
				a.start()
				return errors.New(leader + " leads")
			}
		}
		return nil
	})
}

// edit runs awa-agent on the monitor, with the cluster's key, at an agent.
func (c *cluster) edit(at *agent, args ...string) {
	c.t.Helper()
	args = append(args, "--agent", at.host.addr, "--key-file", c.clusterKey())
	if out, err := c.monitor.command(program("awa-agent"), args...).CombinedOutput(); err != nil {
		c.t.Fatalf("awa-agent %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// answer is what check_awa -o json prints, and more.
type answer struct {
	State    int          `json:"state"`
	Text     string       `json:"text"`
	Agent    string       `json:"agent"` // whose view it is
	Isolated bool         `json:"isolated"`
	Leader   string       `json:"leader"`
	Voters   []string     `json:"voters"`
	Nodes    []nodeAnswer `json:"nodes"`
	Health   []struct {
		Code  string `json:"code"`
		Agent string `json:"agent"`
		State int    `json:"state"`
		Text  string `json:"text"`
	} `json:"health"`
	Mesh *struct {
		Nobody []string `json:"nobody_sees"`
		Rows   []struct {
			Agents []string `json:"agents"`
			Blind  []string `json:"do_not_see"`
		} `json:"rows"`
	} `json:"mesh"`

	took time.Duration // the whole program
}

// nodeAnswer is what check_awa says of a node.
type nodeAnswer struct {
	Name        string  `json:"name"`
	Host        string  `json:"host"`
	Verdict     string  `json:"verdict"`
	Problem     bool    `json:"problem"`
	Maintenance string  `json:"maintenance"`
	Stage       string  `json:"stage"`
	Error       string  `json:"error"`
	RTT         float64 `json:"rtt_s"`
	Skew        float64 `json:"skew_s"`
}

// ask runs check_awa with its defaults on the monitor, and asks the first of
// the agents that answers.
func (c *cluster) ask(agents ...*agent) answer {
	c.t.Helper()
	return c.askWith(nil, agents...)
}

// askWith is ask with more arguments.
func (c *cluster) askWith(args []string, agents ...*agent) answer {
	c.t.Helper()
	args = append([]string{"-o", "json", "-k", c.checkKey()}, args...)
	for _, a := range agents {
		args = append(args, "-H", a.host.addr)
	}
	cmd := c.monitor.command(program("check_awa"), args...)
	begin := time.Now()
	out, err := cmd.Output()
	got := answer{took: time.Since(begin)}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		c.t.Fatal(err)
	}
	if err := json.Unmarshal(out, &got); err != nil {
		c.t.Fatalf("check_awa %v: %v: %q", args, err, out)
	}
	if code := cmd.ProcessState.ExitCode(); code != got.State {
		c.t.Errorf("check_awa %v exits with %d and says %d", args, code, got.State)
	}
	return got
}

// awaitAll waits until an agent sees all five online and check_awa has no
// alarm, and returns how long that took.
func (c *cluster) awaitAll(at *agent) time.Duration {
	c.t.Helper()
	begin := time.Now()
	testaid.Await(c.t, waitMost, func() error {
		got := c.ask(at)
		if got.State != 0 || len(got.Nodes) != 5 {
			return fmt.Errorf("asked %s: %d, %s", at.name, got.State, got.Text)
		}
		return nil
	})
	return time.Since(begin)
}

// logBook takes the log of an agent over all its starts.
type logBook struct {
	testaid.Log
	expected bool // lines of the level ERROR are
}

func (l *logBook) len() int { return len(l.String()) }

// sighting is what an agent's log says of a node that is not online any more.
type sighting struct {
	Time                           time.Time
	Level, Node, Stage, Msg, Error string
}

// sightings returns those after a position in the log, in their order.
func (l *logBook) sightings(from int) []sighting {
	var all []sighting
	for line := range strings.Lines(l.String()[from:]) {
		var s sighting
		if json.Unmarshal([]byte(line), &s) == nil && s.Level == "WARN" && s.Node != "" && s.Stage != "" {
			all = append(all, s)
		}
	}
	return all
}

// listens reports whether the log says so after a position.
func (l *logBook) listens(from int) bool {
	return strings.Contains(l.String()[from:], `"msg":"listening"`)
}

// check looks for what no log may hold.
func (l *logBook) check(t *testing.T, name string) {
	text := l.String()
	for _, bad := range []string{"panic", "fatal error", `"level":"ERROR"`} {
		if strings.Contains(text, bad) && !(l.expected && strings.Contains(bad, "ERROR")) {
			t.Errorf("the log of agent %s holds %q:\n%s", name, bad, text)
			return
		}
	}
	if t.Failed() {
		t.Logf("the log of agent %s:\n%s", name, text)
	}
}
