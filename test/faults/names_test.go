//go:build system

package faults

import (
	"cmp"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// A condition of an agent takes two sweeps to be known everywhere: its own, and that of
// the agent that is asked; an agent that is not on the list is told of after 15 s.
const known = 30 * time.Second

// TestNames plays servers that are replaced, copied, renamed and misconfigured, and
// names and addresses that lead nowhere. Every agent is asked.
func TestNames(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.spare = c.net.addHost("h6", 6)
	var report strings.Builder
	for _, r := range slices.Concat(claims(), unreached(), addresses(), views()) {
		t.Run(r.name, func(t *testing.T) { report.WriteString(c.play(t, r)) })
	}
	fmt.Printf("\nNames, addresses and health; times in seconds.\n%-58s %-34s %6s %6s %6s\n%s\n",
		"what happens", "asked: verdict", "known", "check", "mended", report.String())
}

// everyone has each of the agents say the same.
func everyone(e expect, numbers ...int) []expect {
	all := make([]expect, len(numbers))
	for i, number := range numbers {
		all[i] = e
		all[i].ask = []int{number}
		if number == 6 {
			all[i].view = cmp.Or(e.view, "n3")
		}
	}
	return all
}

// claims are rows of agents that claim a node.
func claims() []row {
	begin := func(c *cluster, a *agent, args ...string) {
		c.extra = a
		a.log.expected = true
		for range 3 { // as systemd does it with one that ends
			a.start(args...)
			a.kill()
		}
		a.start(args...)
		c.n(3).stop()
		c.n(3).start()
	}
	duplicate := expect{alarm: 2, health: []string{"DUPLICATE"}, also: []string{subnet + "3:25483", subnet + "6:25483"}}
	stop := func(c *cluster) { c.extra.kill() }
	removed := expect{alarm: 1, count: 4, health: []string{"UNLISTED"}}
	gone := removed
	gone.also, gone.view = []string{"this agent was removed from the list by "}, "n3"
	removed.also = []string{"n3 at " + subnet + "3:25483"}
	better := removed
	better.ask, better.view = []int{3, 1}, "n1"
	return []row{{
		name: "a second machine with a node's name",
		breaks: func(c *cluster) {
			begin(c, c.newAgent("n3", c.spare, c.spare.addr), "--join", c.n(1).host.addr)
		},
		expect: everyone(duplicate, 1, 2, 3, 4, 5, 6),
		within: known, mend: stop,
	}, {
		name: "a copy of a node's data folder on a second machine",
		breaks: func(c *cluster) {
			a := c.newAgent("n3", c.spare, c.spare.addr)
			c.n(3).stop()
			must(c.t, "cp", "-a", c.n(3).data(), a.data())
			c.n(3).start()
			begin(c, a)
		},
		expect: everyone(duplicate, 1, 2, 3, 4, 5, 6),
		within: known, mend: stop,
	}, {
		name: "a server rebuilt at its address",
		breaks: func(c *cluster) {
			c.n(3).kill()
			c.n(3).empty()
			c.n(3).start("--join", c.n(1).host.addr)
		},
		expect: everyone(expect{alarm: 0}, 1, 2, 3, 4, 5),
		within: waitMost, mend: func(*cluster) {},
	}, {
		name: "a node that runs is removed, and started again",
		breaks: func(c *cluster) {
			c.edit(c.n(1), "node", "remove", "n3")
			c.n(3).stop()
			c.n(3).start()
		},
		expect: append(everyone(removed, 1, 2, 4, 5), append(everyone(gone, 3), better)...),
		within: known,
		mend: func(c *cluster) {
			c.n(3).stop()
			c.n(3).start("--join", c.n(1).host.addr)
		},
	}}
}

// unreached are rows of a newcomer, n6, that the others can't reach.
func unreached() []row {
	newcomer := func(at string, before func(*cluster)) func(*cluster) {
		return func(c *cluster) {
			if before != nil {
				before(c)
			}
			c.extra = c.newAgent("n6", c.spare, cmp.Or(at, c.spare.addr))
			c.extra.start("--join", c.n(1).host.addr)
		}
	}
	mend := func(c *cluster) {
		c.extra.kill()
		c.spare.open()
		c.edit(c.n(1), "node", "remove", "n6")
		c.names.forget("n6.awa.test")
	}
	says := func(verdict, stage, addr, advice string) []expect {
		there := expect{alarm: 2, count: 6, nodes: []node{{name: "n6", verdict: verdict, stage: stage}}}
		itself := expect{alarm: 1, count: 6, view: "n6", health: []string{"NOT_REACHED"},
			also: []string{"of 5 agents cannot reach this agent at " + addr + " (" + stage + ": ", advice}}
		return append(everyone(there, 1, 2, 3, 4, 5), everyone(itself, 6)...)
	}
	return []row{{
		name:   "a newcomer whose name the others can't resolve",
		breaks: newcomer("n6.nowhere.test", nil),
		expect: says("offline", "resolve", "n6.nowhere.test:25483", "set my_host to a name that their name servers know"),
		within: known, mend: mend,
	}, {
		name: "a newcomer whose port is blocked",
		breaks: newcomer("", func(c *cluster) {
			c.spare.iptables("-A", "INPUT", "!", "-i", "lo", "!", "-s", c.monitor.addr, "-p", "tcp", "--dport", port, "-j",
				"DROP")
		}),
		expect: says("offline", "connect", subnet+"6:25483", "open that port in the firewall"),
		within: known, mend: mend,
	}, {
		name:   "a newcomer whose name stands for 127.0.1.1",
		breaks: newcomer("n6.awa.test", func(c *cluster) { c.names.set("n6.awa.test", "127.0.1.1") }),
		expect: says("mismatch", "reply", "n6.awa.test:25483", "something else answers there"),
		within: known, mend: mend,
	}, {
		name:   "a newcomer that registers an address behind a NAT",
		breaks: newcomer(subnet+"222", nil),
		expect: says("offline", "connect", subnet+"222:25483", "set my_host and my_port to an address that they can reach"),
		within: known, mend: mend,
	}}
}

// addresses are rows of addresses and names that work, though not at once or not
// for all.
func addresses() []row {
	var stop func()
	all := func(e expect) []expect { return everyone(e, 1, 2, 3, 4, 5) }
	planned := func(error string) []expect {
		return all(expect{alarm: 2, count: 6, nodes: []node{{name: "n9", verdict: "offline", stage: "resolve", error: error}},
			says: "n9 (resolve: " + error})
	}
	unplan := func(c *cluster) {
		c.names.silence(false)
		c.edit(c.n(1), "node", "remove", "n9")
	}
	slow := all(expect{alarm: 0, times: 5})
	for i := range slow {
		slow[i].args = []string{"--skew-warning", "0.1"}
	}
	return []row{{
		name: "a host with an IPv6 zone (fe80::…%eth0)",
		breaks: func(c *cluster) {
			c.n(4).stop()
			c.n(4).at = c.n(4).host.linkLocal() + "%eth0"
			c.n(4).start()
		},
		expect: all(expect{alarm: 0, more: func(got answer) error {
			if !slices.ContainsFunc(got.Nodes, func(n nodeAnswer) bool { return strings.HasSuffix(n.Host, "%eth0") }) {
				return errors.New("n4 is not known by its zone")
			}
			return nil
		}}),
		within: waitMost,
		mend: func(c *cluster) {
			c.n(4).stop()
			c.n(4).at = "n4.awa.test"
			c.n(4).start()
		},
	}, {
		name: "an agent that can't reach its own address (NAT)",
		breaks: func(c *cluster) {
			c.n(5).host.iptables("-A", "OUTPUT", "-d", c.n(5).host.addr, "-p", "tcp", "--dport", port, "-j", "DROP")
		},
		expect: all(expect{alarm: 0}),
		within: inAll,
		mend:   func(c *cluster) { c.n(5).host.open() },
	}, {
		name:   "a planned node with a name that nobody knows",
		breaks: func(c *cluster) { c.edit(c.n(1), "node", "add", "n9", "n9.nowhere.test") },
		expect: planned("no such host"),
		within: inAll, mend: unplan,
	}, {
		name: "the same, and the name server is silent",
		breaks: func(c *cluster) {
			c.names.silence(true)
			c.edit(c.n(1), "node", "add", "n9", "n9.silent.test")
		},
		expect: planned("name server " + dnsAddr + ": "),
		within: known, mend: unplan, // the lookup of a name that never had an address takes 10 s
	}, {
		name: "check_awa -H NAME, and the name server falls silent",
		breaks: func(c *cluster) {
			home := "HOME=" + c.t.TempDir()
			for _, silent := range []bool{false, true} {
				c.names.silence(silent)
				cmd := c.monitor.command(program("check_awa"), "-H", c.n(4).at, "-k", c.checkKey())
				cmd.Env = append(cmd.Env, home, "XDG_CACHE_HOME=")
				if out, err := cmd.CombinedOutput(); err != nil {
					c.t.Errorf("check_awa -H %s, the name server silent %v: %v: %s", c.n(4).at, silent, err, out)
				}
			}
		},
		expect: all(expect{alarm: 0}),
		within: inAll,
		mend:   func(c *cluster) { c.names.silence(false) },
	}, {
		name: "a connection that takes 300 ms, and --skew-warning 0.1",
		breaks: func(c *cluster) {
			stop = c.net.slow(c.n(3).host, 100*time.Millisecond) // for TCP, TLS and the answer
			c.n(3).stop()
			c.n(3).start()
		},
		expect: slow,
		within: waitMost,
		mend:   func(*cluster) { stop() },
	}}
}

// views are rows in which what one agent says must be short, or quick, or together
// with what the others say.
func views() []row {
	open := func(c *cluster) {
		for _, h := range c.hosts() {
			h.open()
		}
	}
	rack := func(c *cluster, action func(name, addr string) []string) {
		for i := 1; i <= 4; i++ {
			c.edit(c.n(1), action(fmt.Sprintf("app%d", i), fmt.Sprintf("%s%d", subnet, 200+i))...)
		}
	}
	var dead []node
	for i := 1; i <= 4; i++ {
		dead = append(dead, offline(fmt.Sprintf("app%d", i)))
	}
	quick := expect{alarm: 0, count: 1, quick: true, args: []string{"--node", "n2"}}
	mesh := func(rows ...string) func(answer) error {
		return func(got answer) error {
			var said []string
			for _, row := range got.Mesh.Rows {
				said = append(said, strings.Join(row.Agents, " ")+": "+strings.Join(row.Blind, " "))
			}
			if !slices.Equal(said, rows) || len(got.Mesh.Nobody) > 0 {
				return fmt.Errorf("the mesh is %q, and nobody sees %v", said, got.Mesh.Nobody)
			}
			return nil
		}
	}
	look := func(number, alarm int, rows []string, nodes ...node) expect {
		return expect{ask: []int{number}, alarm: alarm, nodes: nodes, args: []string{"--mesh"}, more: mesh(rows...)}
	}
	one, other := "n1: n3", "n3: n1" // each of which only the others can ask
	both := []string{one, other}
	return []row{{
		name: "all nodes of a rack dead",
		breaks: func(c *cluster) {
			rack(c, func(name, addr string) []string { return []string{"node", "add", name, addr, "--label", "rack=r7"} })
		},
		expect: everyone(expect{alarm: 2, count: 9, nodes: dead, says: "4 of 9 nodes offline, all 4 of rack=r7: "}, 1, 2, 3,
			4, 5),
		within: inAll,
		mend: func(c *cluster) {
			rack(c, func(name, _ string) []string { return []string{"node", "remove", name} })
		},
	}, {
		name:   "a host check beside a host that is cut off",
		breaks: func(c *cluster) { c.n(3).host.cutOff() },
		expect: everyone(quick, 1, 2, 4, 5),
		within: waitMost, mend: open,
	}, {
		name:   "one path cut, and the mesh",
		breaks: func(c *cluster) { c.cut([]int{1}, []int{3}) },
		expect: []expect{
			look(2, 0, both), look(4, 0, both), look(5, 0, both),
			look(1, 1, []string{one}, unreachable("n3")), look(3, 1, []string{other}, unreachable("n1")),
		},
		within: waitMost, mend: open,
	}}
}

// linkLocal is the IPv6 address that the host has given itself.
func (h *host) linkLocal() string {
	h.t.Helper()
	out := must(h.t, "ip", "-n", h.ns, "-6", "-o", "addr", "show", "dev", "eth0", "scope", "link")
	fields := strings.Fields(out)
	i := slices.Index(fields, "inet6")
	if i < 0 || i+1 == len(fields) {
		h.t.Fatalf("host %s has no link-local address: %q", h.name, out)
	}
	addr, _, _ := strings.Cut(fields[i+1], "/")
	return addr
}

// TestNoLeader parts five voters from each other and from nobody else: each is alive
// for the two other agents, and there is no leader.
func TestNoLeader(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	for i := 6; i <= 7; i++ {
		h := c.net.addHost(fmt.Sprintf("h%d", i), i)
		a := c.newAgent(fmt.Sprintf("n%d", i), h, h.addr)
		c.agents = append(c.agents, a)
		a.start("--join", c.n(1).host.addr)
	}
	c.edit(c.n(1), "node", "add", "planned", subnet+"99")
	c.edit(c.n(1), "node", "maintain", "planned", "--for", "1h")
	count := expect{ask: []int{6}, alarm: 0, count: 8, nodes: []node{offline("planned")}}
	if _, err := c.until(count, time.Now(), waitMost); err != nil {
		t.Fatal(err)
	}
	for i := 1; i <= 5; i++ {
		for j := i + 1; j <= 5; j++ {
			c.cut([]int{i}, []int{j})
		}
	}
	began := time.Now()
	for _, number := range []int{6, 7} {
		e := expect{ask: []int{number}, alarm: 1, count: 8, nodes: []node{offline("planned")}, health: []string{"NO_LEADER"},
			more: func(got answer) error {
				if got.Leader != "" {
					return fmt.Errorf("the leader is %q", got.Leader)
				}
				return nil
			}}
		if _, err := c.until(e, began, known); err != nil {
			t.Errorf("n%d after %v: %v", number, time.Since(began).Round(time.Millisecond), err)
		}
	}
	for _, h := range c.hosts() {
		h.open()
	}
	if _, err := c.until(count, time.Now(), waitMost); err != nil {
		t.Error(err)
	}
}

// TestRefusedHosts starts agents with hosts that others could not reach.
func TestRefusedHosts(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	h := c.net.addHost("h6", 6)
	for _, host := range []string{"localhost", "0.0.0.0", "::", "224.0.0.1", "255.255.255.255", "10.80.0.300"} {
		a := c.newAgent("n6", h, host)
		out, err := a.command("--join", c.n(1).host.addr).CombinedOutput()
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok || exit.ExitCode() != 2 || !strings.Contains(string(out), "my_host: ") || !strings.Contains(string(out),
			host) {
			t.Errorf("my_host %s: %v: %s", host, err, out)
		}
		cmd := c.monitor.command(program("awa-agent"), "node", "add", "x", host, "--agent", c.n(1).host.addr,
			"--key-file", c.clusterKey())
		if out, err := cmd.CombinedOutput(); err == nil && host != "localhost" {
			t.Errorf("node add x %s: %s", host, out)
		}
	}
}
