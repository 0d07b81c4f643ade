//go:build system

package faults

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"syscall"
	"time"
)

// How soon check_awa must know: at once what an answer tells, be it a refusal,
// and else after two ping timeouts and a fifth. Both leave the programs some
// time to start, on a machine with two cores.
const (
	slack  = 500 * time.Millisecond
	atOnce = 300*time.Millisecond + slack
	inAll  = 2200*time.Millisecond + slack
)

// rows is the truth table: what happens to whom, and what is said of it.
func rows() []row {
	return slices.Concat(deaths(), cuts(), impostors(), resolving(), delays(), edits())
}

// asked is what one agent must say.
func asked(number, alarm int, nodes ...node) expect {
	return expect{ask: []int{number}, alarm: alarm, nodes: nodes}
}

func offline(name string) node     { return node{name: name, verdict: "offline"} }
func unreachable(name string) node { return node{name: name, verdict: "unreachable"} }

func mismatch(name, reason string) node {
	return node{name: name, verdict: "mismatch", error: reason}
}

// deaths are rows of processes that end or stand still.
func deaths() []row {
	refused := node{name: "n3", verdict: "offline", stage: "connect", error: "connection refused"}
	killed := asked(1, 2, refused)
	killed.says = "n3 (the host answers, its agent is not running (connection refused)"
	return []row{{
		name:   "process killed (-9)",
		breaks: func(c *cluster) { c.n(3).kill() },
		expect: []expect{killed},
		within: atOnce,
		mend:   func(c *cluster) { c.n(3).revive() },
	}, {
		name:   "process stopped (SIGSTOP)",
		breaks: func(c *cluster) { c.n(3).signal(syscall.SIGSTOP) },
		expect: []expect{asked(1, 2, offline("n3"))},
		within: inAll,
		mend:   func(c *cluster) { c.n(3).signal(syscall.SIGCONT) },
	}, {
		name: "agent restarted within the sweep",
		breaks: func(c *cluster) {
			c.n(3).stop()
			c.n(3).start()
		},
		expect: []expect{asked(1, 0), asked(2, 0)},
		within: atOnce,
		mend:   func(*cluster) {},
	}, {
		name: "the asked agent stopped for 10 s and continued",
		breaks: func(c *cluster) {
			c.n(1).signal(syscall.SIGSTOP)
			<-time.After(10 * time.Second)
			c.n(1).signal(syscall.SIGCONT)
		},
		expect: []expect{asked(1, 0)},
		within: inAll,
		quiet:  []int{1},
		mend:   func(*cluster) {},
	}}
}

// cuts are rows of hosts and paths that lose all packets.
func cuts() []row {
	mend := func(c *cluster) {
		for _, h := range c.hosts() {
			h.open()
		}
	}
	return []row{{
		name:   "host cut off (all packets dropped)",
		breaks: func(c *cluster) { c.n(3).host.cutOff() },
		expect: []expect{asked(1, 2, offline("n3")), asked(2, 2, offline("n3"))},
		within: inAll,
		mend:   mend,
	}, {
		name:   "path cut between the asked agent and one node",
		breaks: func(c *cluster) { c.cut([]int{1}, []int{3}) },
		expect: []expect{asked(1, 1, unreachable("n3")), asked(3, 1, unreachable("n1")), asked(2, 0)},
		within: inAll,
		mend:   mend,
	}, {
		name:   "path cut in one direction (n1 to n3)",
		breaks: func(c *cluster) { c.n(3).host.deafTo(c.n(1).host) },
		expect: []expect{asked(1, 1, unreachable("n3")), asked(3, 1, unreachable("n1")), asked(2, 0)},
		within: inAll,
		mend:   mend,
	}, {
		name:   "the asked agent cut off from all",
		breaks: func(c *cluster) { c.cut([]int{1}, []int{2, 3, 4, 5}) },
		expect: []expect{
			{ask: []int{1}, alarm: 2, isolated: true, nodes: []node{offline("n2"), offline("n3"), offline("n4"), offline("n5")}},
			{ask: []int{1, 2}, alarm: 2, view: "n2", nodes: []node{offline("n1")}},
		},
		within: 2 * inAll, // two agents are asked, one after the other
		mend:   mend,
	}, {
		name:   "two halves (2 | 3)",
		breaks: func(c *cluster) { c.cut([]int{1, 2}, []int{3, 4, 5}) },
		expect: []expect{
			asked(1, 2, offline("n3"), offline("n4"), offline("n5")),
			asked(3, 2, offline("n1"), offline("n2")),
		},
		within: inAll,
		mend:   mend,
	}}
}

// impostors are rows in which something else answers in a node's place.
func impostors() []row {
	var stop func()
	var other *agent
	instead := func(secure bool) func(*cluster) {
		return func(c *cluster) {
			c.n(3).kill()
			stop = otherProgram(c.n(3).host, secure)
		}
	}
	otherCluster := func(sameKey bool) func(*cluster) {
		return func(c *cluster) {
			c.n(3).kill()
			other = c.newAgent("n3", c.n(3).host, c.n(3).at)
			if !sameKey {
				other.key = c.newKey("other.key")
			}
			other.start("--first")
		}
	}
	swap := func(c *cluster, three, five string) {
		c.n(3).host.readdress(five, c.hosts()...)
		c.n(5).host.readdress(three, c.hosts()...)
	}
	stopProgram := func(c *cluster) {
		stop()
		c.n(3).revive()
	}
	stopAgent := func(c *cluster) {
		other.kill()
		c.n(3).revive()
	}
	return []row{{
		name:   "another program on the node's port (HTTP)",
		breaks: instead(false),
		expect: []expect{asked(1, 2, mismatch("n3", "plain HTTP"))},
		within: atOnce,
		mend:   stopProgram,
	}, {
		name:   "another program on the node's port (TLS)",
		breaks: instead(true),
		expect: []expect{asked(1, 2, mismatch("n3", "not an agent"))},
		within: atOnce,
		mend:   stopProgram,
	}, {
		name:   "another node's agent on its address (swapped)",
		breaks: func(c *cluster) { swap(c, c.n(3).host.addr, c.n(5).host.addr) },
		expect: []expect{asked(1, 2, mismatch("n3", "n5"), mismatch("n5", "n3"))},
		within: inAll,
		mend:   func(c *cluster) { swap(c, c.n(5).host.addr, c.n(3).host.addr) },
	}, {
		name:   "an agent of another cluster there, with our key",
		breaks: otherCluster(true),
		expect: []expect{asked(1, 2, mismatch("n3", "cluster"))},
		within: atOnce,
		mend:   stopAgent,
	}, {
		name:   "an agent of another cluster there, with its own key",
		breaks: otherCluster(false),
		expect: []expect{asked(1, 2, mismatch("n3", "another key"))},
		within: atOnce,
		mend:   stopAgent,
	}}
}

// resolving are rows of the node that is known by its name, n4. It is started
// again, since nobody resolves a name for a connection that is still open. None of
// them is a fault of n4, so nobody may take it for dead.
func resolving() []row {
	again := func(c *cluster) {
		c.n(4).stop()
		c.n(4).start()
	}
	all := []expect{asked(1, 0), asked(2, 0), asked(3, 0), asked(5, 0)}
	quiet := []int{1, 2, 3, 5}
	return []row{{
		name: "name that doesn't resolve any more",
		breaks: func(c *cluster) {
			c.names.forget(c.n(4).at)
			again(c)
		},
		expect: all, quiet: quiet,
		within: inAll,
		mend:   func(c *cluster) { c.names.set(c.n(4).at, c.n(4).host.addr) },
	}, {
		name: "DNS server that never answers",
		breaks: func(c *cluster) {
			c.names.silence(true)
			again(c)
		},
		expect: all, quiet: quiet,
		within: inAll,
		mend:   func(c *cluster) { c.names.silence(false) },
	}, {
		name: "the same, and the agent that is asked was restarted",
		breaks: func(c *cluster) {
			c.names.silence(true)
			again(c)
			c.n(2).stop()
			c.n(2).start()
		},
		expect: []expect{asked(2, 0), asked(1, 0)}, quiet: []int{1, 2, 3, 5},
		within: inAll,
		mend:   func(c *cluster) { c.names.silence(false) },
	}, {
		name: "the first of two name servers silent, agents restarted",
		breaks: func(c *cluster) {
			for _, number := range []int{1, 2} {
				c.n(number).host.resolveBy(subnet+"54", dnsAddr)
				c.n(number).stop()
				c.n(number).start()
			}
			again(c)
		},
		expect: []expect{asked(1, 0), asked(2, 0), asked(3, 0), asked(5, 0)}, quiet: quiet,
		within: inAll,
		mend: func(c *cluster) {
			c.n(1).host.resolveBy(dnsAddr)
			c.n(2).host.resolveBy(dnsAddr)
		},
	}, {
		name: "name with two addresses, the first silent",
		breaks: func(c *cluster) {
			c.names.set(c.n(4).at, "198.51.100.250", c.n(4).host.addr)
			again(c)
		},
		expect: all, quiet: quiet,
		within: inAll,
		mend:   func(c *cluster) { c.names.set(c.n(4).at, c.n(4).host.addr) },
	}}
}

// delays are rows of agents that are well, but look as if they were not.
func delays() []row {
	var stop func()
	clock := func(c *cluster, ahead time.Duration) {
		c.n(3).stop()
		c.n(3).ahead = ahead
		c.n(3).start()
	}
	return []row{{
		name: "one SYN lost",
		breaks: func(c *cluster) {
			c.followers(2, 3) // so that no Raft stream opens the next connection
			c.n(3).stop()
			c.n(3).host.iptables("-A", "INPUT", "-p", "tcp", "--syn", "-s", c.n(2).host.addr, "-m", "limit", "--limit",
				"1/hour", "--limit-burst", "1", "-j", "DROP")
			c.n(3).start()
		},
		expect: []expect{asked(2, 0)},
		within: inAll,
		quiet:  []int{2},
		mend: func(c *cluster) {
			if rules := c.n(3).host.iptables("-nvxL", "INPUT"); !strings.Contains(rules, " 1       60 DROP") {
				c.t.Errorf("not just one SYN was lost:\n%s", rules)
			}
			c.n(3).host.open()
		},
	}, {
		// Only over a connection that is open does an answer take one round trip.
		name:   "replies delayed by 900 ms",
		breaks: func(c *cluster) { stop = c.net.slow(c.n(3).host, 900*time.Millisecond) },
		expect: []expect{asked(1, 0, node{name: "n3", verdict: "online", more: func(n nodeAnswer) error {
			if n.RTT < 0.9 || n.RTT > 1 {
				return fmt.Errorf("the round trip to %s took %v s", n.Name, n.RTT)
			}
			return nil
		}})},
		within: inAll,
		mend:   func(*cluster) { stop() },
	}, {
		name:   "clock one hour off",
		breaks: func(c *cluster) { clock(c, time.Hour) },
		expect: []expect{asked(1, 1, node{name: "n3", verdict: "online", more: func(n nodeAnswer) error {
			if math.Abs(n.Skew-3600) > 1 {
				return fmt.Errorf("the clock of %s is said to be ahead by %v s", n.Name, n.Skew)
			}
			return nil
		}})},
		within: inAll,
		mend:   func(c *cluster) { clock(c, 0) },
	}}
}

// move returns n3 another address, and starts it there.
func move(c *cluster, addr string, args ...string) {
	c.n(3).stop()
	c.n(3).host.readdress(addr, c.hosts()...)
	c.n(3).host.addr, c.n(3).at = addr, addr
	c.n(3).start(args...)
}

// edits are rows in which people change the list.
func edits() []row {
	return []row{{
		name:   "node renamed",
		breaks: func(c *cluster) { c.edit(c.n(2), "node", "set", "n3", "--name", "renamed") },
		expect: []expect{asked(1, 0, node{name: "renamed", verdict: "online"}),
			asked(2, 0, node{name: "renamed", verdict: "online"})},
		within: inAll,
		quiet:  []int{1, 2, 4, 5},
		mend:   func(c *cluster) { c.edit(c.n(2), "node", "set", "renamed", "--name", "n3") },
	}, {
		name:   "address changed",
		breaks: func(c *cluster) { move(c, subnet+"33") },
		expect: []expect{asked(1, 0, node{name: "n3", verdict: "online", more: func(n nodeAnswer) error {
			if n.Host != subnet+"33" {
				return fmt.Errorf("%s is still known at %s", n.Name, n.Host)
			}
			return nil
		}})},
		within: 50 * time.Second, // the old address must be silent for 30 s, as the others see it
		mend:   func(c *cluster) { move(c, subnet+"3", "--take-over") },
	}, {
		name: "under maintenance, and killed",
		breaks: func(c *cluster) {
			c.edit(c.n(2), "node", "maintain", "n3", "--for", "5m")
			c.n(3).kill()
		},
		expect: []expect{asked(1, 0, node{name: "n3", verdict: "offline", more: func(n nodeAnswer) error {
			if n.Problem || n.Maintenance == "" {
				return fmt.Errorf("%s is a problem (%v), under maintenance until %q", n.Name, n.Problem, n.Maintenance)
			}
			return nil
		}})},
		within: inAll,
		mend: func(c *cluster) {
			c.n(3).revive()
			c.edit(c.n(2), "node", "maintain", "n3", "--off")
		},
	}}
}
