package daemon

import (
	"are-we-alive/pkg/api"
	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/handler"
	"are-we-alive/pkg/watch"
)

// newNotifier makes what runs the program of Config.OnEvent.
func (d *Daemon) newNotifier() *handler.Notifier {
	return handler.New(handler.Config{
		UID:   func() string { return d.store.Meta().UID },
		Store: d.store, Peers: peers{d, d.client}, Run: handler.Runner{Log: d.log}.Run, Clock: d.cfg.Clock, Log: d.log,
	}, d.cfg.OnEvent)
}

// SetOnEvent has another program run when something happens, "" for none.
func (d *Daemon) SetOnEvent(program string) { d.notifier.SetProgram(program) }

// happened takes in what the sweeps found.
func (d *Daemon) happened(all []awa.Event) {
	d.agent.events.Add(all...)
	d.notifier.Add(all)
}

// swept takes in a background sweep.
func (d *Daemon) swept(result watch.Result) {
	result.Nodes = stillListed(result.Nodes, d.store.Nodes())
	conditions := d.agent.conditions(result)
	d.history.swept(result, conditions)
	d.notifier.Swept(handler.Sweep{
		Cluster: d.store.Meta().Cluster, ClusterName: d.store.ClusterName(),
		Agent: d.agent.listedName(), Isolated: result.Isolated, Duty: d.onDuty(result),
		At: d.cfg.Clock(), Nodes: result.Nodes, Conditions: conditions,
	})
}

// onDuty reports whether this agent is the one that notifies people: the leader, or without
// one for a while the online agent with the lowest id.
func (d *Daemon) onDuty(result watch.Result) bool {
	own := d.store.Meta().UID
	if leader := d.replica.Leader(); leader != "" || d.replica.Leaderless() <= electionMost {
		return leader == own
	}
	for _, n := range result.Nodes {
		if n.Verdict == awa.Online && n.Node.UID != "" {
			return n.Node.UID == own
		}
	}
	return false
}

// peers are the other agents, for what people were notified of.
type peers struct {
	d *Daemon
	*api.Client
}

// Others implements handler.Peers.
func (p peers) Others() []awa.Node { return p.d.others() }

var _ handler.Peers = peers{}

// Notified implements server.Agent.
func (a *agent) Notified() []awa.Notified { return a.notifier.Notified() }

// TakeNotified implements server.Agent.
func (a *agent) TakeNotified(all []awa.Notified) { a.notifier.Take(all) }
