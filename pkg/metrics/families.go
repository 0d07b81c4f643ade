package metrics

import (
	"slices"
	"strings"
	"time"

	"are-we-alive/pkg/awa"
)

// view is a status and the time at which it is shown.
type view struct {
	awa.ClusterStatus
	now     time.Time
	perNode []awa.NodeStatus // those with metrics of their own
}

// swept reports whether a sweep has ended. What only a sweep can know is left
// out before, since a 0 would be a false alarm.
func (v view) swept() bool { return !v.SweptAt.IsZero() }

// add adds a metric to a family, with the values of the family's labels.
type add func(value float64, labels ...string)

// family is a metric by name, with all its labels. All are gauges. The names
// follow https://prometheus.io/docs/practices/naming/: base units, in the name.
type family struct {
	name, help string
	labels     []string
	collect    func(view, add)
}

// families are all metrics of an agent.
func families() []family {
	return append(agentFamilies(), append(clusterFamilies(), nodeFamilies()...)...)
}

// agentFamilies are about the agent and its list, and need no sweep.
func agentFamilies() []family {
	return []family{
		{"awa_build_info", "The agent's version; the value is always 1.", []string{"version"}, func(_ view, add add) {
			add(1, awa.Version)
		}},
		{"awa_agent_info", "The name of this agent's node, the id of its cluster and how that is called; the value is " +
			"always 1.",
			[]string{"cluster", "cluster_name", "node"}, func(v view, add add) {
				if v.Cluster != "" {
					add(1, v.Cluster, label(v.ClusterName), label(v.Agent))
				}
			}},
		{"awa_list_state", "Number of the newest change in this agent's node list; 0 while it holds no list.", nil,
			func(v view, add add) {
				add(float64(v.State))
			}},
		{"awa_has_leader", "1 when this agent knows of a leader, which decides the order of edits, else 0.", nil,
			func(v view, add add) {
				add(number(v.Leader != ""))
			}},
		{"awa_is_leader", "1 when this agent is the leader, else 0.", nil, func(v view, add add) {
			add(number(v.Leader != "" && v.Leader == v.Agent))
		}},
		{"awa_voters", "Voters of the cluster, as far as this agent knows: an edit needs a majority of them.", nil,
			func(v view, add add) {
				add(float64(len(v.Voters)))
			}},
	}
}

// clusterFamilies are what the last sweep saw of the whole cluster.
func clusterFamilies() []family {
	return []family{
		{"awa_last_sweep_timestamp_seconds", "Unix time at which the last background sweep began, from which all that is " +
			"said of nodes comes.", nil, fromSweep(func(v view) float64 {
			return seconds(v.SweptAt)
		})},
		{"awa_last_sweep_duration_seconds", "How long the last background sweep took.", nil, fromSweep(func(v view) float64 {
			return v.Took.Seconds()
		})},
		{"awa_isolated", "1 when this agent reaches no other one, though there are some: the fault is likelier its " +
			"own; else 0.", nil, fromSweep(func(v view) float64 {
			return number(v.Isolated)
		})},
		{"awa_voters_alive", "Voters that answer this agent, or another one; absent while one of them is too new for " +
			"the last sweep.", nil, func(v view, add add) {
			if alive, known := v.votersAlive(); known {
				add(float64(alive))
			}
		}},
		{"awa_majority", "1 when a majority of the voters is alive, so that the node list can be edited, else 0; absent " +
			"while awa_voters_alive is.", nil, func(v view, add add) {
			if alive, known := v.votersAlive(); known {
				add(number(alive > len(v.Voters)/2))
			}
		}},
		{"awa_nodes", "Nodes by verdict, those under maintenance too: online, unreachable (it answers other agents " +
			"only), mismatch (somebody else answers at its address), offline.", []string{"verdict"}, func(v view, add add) {
			if !v.swept() {
				return
			}
			for _, verdict := range verdicts {
				add(float64(v.count(func(n awa.NodeStatus) bool { return n.Verdict == verdict })), string(verdict))
			}
		}},
		{"awa_health", "1 for each health code that holds, by the node it is about, which is empty for the cluster: see " +
			"the manual.", []string{"code", "node"}, func(v view, add add) {
			for _, c := range v.Health {
				add(1, string(c.Code), label(c.Agent))
			}
		}},
		{"awa_problem_nodes", "Nodes that are not online and not under maintenance.", nil, fromSweep(func(v view) float64 {
			return float64(v.count(func(n awa.NodeStatus) bool {
				return n.Verdict != awa.Online &&
					!n.Node.InMaintenance(v.now)
			}))
		})},
	}
}

// nodeFamilies are what the last sweep saw of each node.
func nodeFamilies() []family {
	node := []string{"node"}
	online := func(value func(awa.NodeStatus) float64) func(view, add) {
		return perNode(func(n awa.NodeStatus, _ view) (float64, bool) {
			return value(n), n.Verdict == awa.Online && n.Told == 0
		})
	}
	return []family{
		{"awa_node_online", "1 when the node answered this agent's last ping, as itself, else 0: awa_node_verdict says " +
			"what it is then.", node, perNode(func(n awa.NodeStatus, _ view) (float64, bool) {
			return number(n.Verdict == awa.Online), true
		})},
		{"awa_node_verdict", "1 for the node's verdict, 0 for the others: online, unreachable (it answers other agents " +
			"only), mismatch (somebody else answers at its address), offline.", []string{"node", "verdict"}, func(v view,
			add add) {
			for _, n := range v.perNode {
				for _, verdict := range verdicts {
					add(number(n.Verdict == verdict), label(n.Node.Name), string(verdict))
				}
			}
		}},
		{"awa_node_since_timestamp_seconds", "Unix time since when the node has its verdict, or since when its agent " +
			"runs if that is later.", node,
			perNode(func(n awa.NodeStatus, _ view) (float64, bool) {
				return seconds(n.Since), !n.Since.IsZero()
			})},
		{"awa_node_started_timestamp_seconds", "Unix time at which the node's agent was started, by the node's clock; of " +
			"online nodes only.", node, perNode(func(n awa.NodeStatus, _ view) (float64, bool) {
			return ofSelf(n, func(s awa.Self) int64 { return s.Started })
		})},
		{"awa_node_booted_timestamp_seconds", "Unix time at which the node's machine was started, by the node's clock; of " +
			"online nodes only.", node, perNode(func(n awa.NodeStatus, _ view) (float64, bool) {
			return ofSelf(n, func(s awa.Self) int64 { return s.Booted })
		})},
		{"awa_node_maintenance", "1 while the node is under maintenance, and no problem whatever its verdict is, else 0.",
			node, perNode(func(n awa.NodeStatus, v view) (float64, bool) {
				return number(n.Node.InMaintenance(v.now)), true
			})},
		{"awa_node_rtt_seconds", "How long the node took to answer the last ping; of online nodes only.", node,
			online(func(n awa.NodeStatus) float64 {
				return n.RTT.Seconds()
			})},
		{"awa_node_behind_changes", "Changes that the node's list lacks, compared with this agent's; of online nodes only.",
			node, online(func(n awa.NodeStatus) float64 {
				return float64(n.Behind)
			})},
		{"awa_node_clock_skew_seconds", "How far the node's clock is ahead of this agent's (behind it when negative), " +
			"give or take half of awa_node_rtt_seconds; of online nodes only.", node, perNode(func(n awa.NodeStatus,
			_ view) (float64, bool) {
			return n.Skew.Seconds(), n.Verdict == awa.Online && n.SkewError > 0
		})},
	}
}

// ofSelf is what an online node says of itself; 0 is not known.
func ofSelf(n awa.NodeStatus, value func(awa.Self) int64) (x float64, known bool) {
	if n.Verdict != awa.Online || n.Self == nil {
		return 0, false
	}
	v := value(*n.Self)
	return float64(v), v > 0
}

// verdicts are all there are.
var verdicts = [...]awa.Verdict{awa.Online, awa.Unreachable, awa.Mismatch, awa.Offline}

// fromSweep collects one value, once a sweep has ended.
func fromSweep(value func(view) float64) func(view, add) {
	return func(v view, add add) {
		if v.swept() {
			add(value(v))
		}
	}
}

// perNode collects a value for each node of which it is known.
func perNode(value func(awa.NodeStatus, view) (x float64, known bool)) func(view, add) {
	return func(v view, add add) {
		for _, n := range v.perNode {
			if x, known := value(n, v); known {
				add(x, label(n.Node.Name))
			}
		}
	}
}

func (v view) count(match func(awa.NodeStatus) bool) (n int) {
	for _, node := range v.Nodes {
		if match(node) {
			n++
		}
	}
	return n
}

// votersAlive counts the voters that answered anybody. It is not known when the
// last sweep did not ping all of them, since the list it read lacked one.
func (v view) votersAlive() (alive int, known bool) {
	voters := func(n awa.NodeStatus) bool { return slices.Contains(v.Voters, n.Node.Name) }
	asked := v.count(voters)
	alive = v.count(func(n awa.NodeStatus) bool {
		return voters(n) && (n.Verdict == awa.Online || n.Verdict == awa.Unreachable)
	})
	return alive, asked > 0 && asked == len(v.Voters)
}

// label makes a text fit for a label's value, which must be UTF-8. The names of
// nodes are ASCII; but a scrape that fails would hide every node.
func label(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// seconds is a Unix time, to the microsecond, which is what a float64 holds.
func seconds(t time.Time) float64 { return float64(t.UnixMicro()) / 1e6 }
