package daemon

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"os"
	"slices"
	"time"

	"are-we-alive/pkg/api/server"
	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/events"
	"are-we-alive/pkg/handler"
	"are-we-alive/pkg/ratelog"
	"are-we-alive/pkg/replica"
	"are-we-alive/pkg/store"
	"are-we-alive/pkg/watch"
)

var _ server.Agent = (*agent)(nil)

// agent answers the HTTP interface. What its Replica can answer alone, that does.
type agent struct {
	*replica.Replica
	store    *store.Store
	watch    *watch.Watcher
	events   *events.Log
	notifier *handler.Notifier
	log      *slog.Logger
	name     string // as configured; see listedName
	host     string
	instance string // new at each start, see awa.Self
	started  time.Time
	machine  machine
	macAddr  string
	clock    func() time.Time
	hasKey   bool
	insecure bool // everybody may do everything, at any address

	webPort    awa.Port      // see awa.Self
	staleAfter time.Duration // from when on a look in the background is too old

	strangers ratelog.Limiter // agents of other clusters, by uid
}

// macAddr is the hardware address of the first network interface that has one.
func macAddr() string {
	all, _ := net.Interfaces() // without any it is the zero address
	for _, i := range all {
		if len(i.HardwareAddr) == 6 && !bytes.Equal(i.HardwareAddr, make([]byte, 6)) {
			return i.HardwareAddr.String()
		}
	}
	return "00:00:00:00:00:00"
}

// Self implements server.Agent.
func (a *agent) Self() awa.Self {
	now := a.clock()
	self := awa.Self{
		MacAddr: a.macAddr, Time: now.Unix(), TimeMS: now.UnixMilli(),
		Instance: a.instance, Version: awa.Version, WebPort: a.webPort,
		Started: unixAt(a.started, now), Booted: unixAt(a.machine.booted, now), Boot: a.machine.boot,
	}
	a.Describe(&self)
	self.Name = a.listedName()
	self.Sees, self.Ailing = a.watch.Sees()
	if a.watch.NotReached().Of > 0 && !slices.Contains(self.Health, awa.NotReached) {
		self.Health = append(self.Health, awa.NotReached)
	}
	return self
}

// listedName returns this agent's name: the list's, once it is there.
func (a *agent) listedName() string { return listedName(a.store, a.name) }

func listedName(st *store.Store, otherwise string) string {
	if n, ok := st.Agent(st.Meta().UID); ok {
		return n.Name
	}
	return otherwise
}

// hosts returns the names that clients may call this agent by: those of its configuration,
// those of its own entry, and the machine's.
func (a *agent) hosts() []string {
	all := []string{a.name, a.host}
	if n, ok := a.store.Agent(a.store.Meta().UID); ok {
		all = append(all, n.Name, n.Host)
	}
	if machine, err := os.Hostname(); err == nil {
		all = append(all, machine)
	}
	return all
}

// answered passes on what a node's answer to a ping says.
func (a *agent) answered(n awa.Node, self awa.Self) { a.Answered(n.Addr(), self) }

// Heard implements server.Agent.
func (a *agent) Heard(from awa.Caller) {
	if own := a.store.Meta().Cluster; from.Cluster != "" && own != "" && from.Cluster != own {
		a.stranger(from, own)
	}
	a.Replica.Heard(from)
}

// stranger logs that an agent of another cluster calls, once a minute each.
func (a *agent) stranger(from awa.Caller, own string) {
	if _, ok := a.strangers.Allow(from.UID); ok {
		a.log.Warn("an agent of another cluster calls: two clusters never mix; remove its address here, or start it with an "+
			"empty data folder to join", "uid", from.UID, "its_cluster", from.Cluster, "our_cluster", own)
	}
}

// Status implements server.Agent.
func (a *agent) Status(q awa.StatusQuery) (awa.ClusterStatus, error) {
	if err := a.hasList(); err != nil {
		return awa.ClusterStatus{}, err
	}
	var result watch.Result
	if q.Cached {
		result = a.watch.Last()
		result.Short = a.watch.Shortage()
	}
	switch {
	case !result.At.IsZero() || result.Short != nil:
	case len(q.Nodes) > 0: // what is said of the cluster besides takes all nodes
		result = a.watch.Some(a.store.State(), q.Nodes)
		result.Nodes = watch.Merge(a.watch.Last().Nodes, result.Nodes)
	default:
		result = a.watch.Shared(a.store.State(), q.Within)
	}
	if result.Short != nil {
		return awa.ClusterStatus{}, awa.Faultf(awa.ErrShortage,
			"agent %s could not look at all nodes, so it says nothing of them: %v", a.name, result.Short)
	}
	s := a.status(result)
	if len(q.Nodes) > 0 {
		s.Nodes = slices.DeleteFunc(slices.Clone(s.Nodes), func(n awa.NodeStatus) bool {
			return !slices.ContainsFunc(q.Nodes, func(name string) bool { return awa.NameKey(name) == n.Node.Key() })
		})
	}
	return s, nil
}

// hasList says that this agent has none yet.
func (a *agent) hasList() error {
	if a.store.Meta().Cluster != "" {
		return nil
	}
	return awa.NotJoined(a.name)
}

// status is what a sweep saw, with what this agent knows besides. What has left the
// list since is left out.
func (a *agent) status(result watch.Result) awa.ClusterStatus {
	m := a.store.Meta()
	list := a.store.Nodes()
	result.Nodes = stillListed(result.Nodes, list)
	s := awa.ClusterStatus{
		Cluster: m.Cluster, ClusterName: a.store.ClusterName(), History: m.History, Agent: a.listedName(),
		State: a.store.State(), Insecure: a.insecure, Isolated: result.Isolated, SweptAt: result.At,
		Took: result.Took, Health: a.conditions(result), Nodes: result.Nodes,
	}
	names := map[string]string{}
	for _, n := range list {
		if n.UID != "" { // no agent runs there
			names[n.UID] = n.Name
		}
	}
	s.Leader = names[a.Leader()]
	for _, uid := range a.Voters() {
		if name, ok := names[uid]; ok {
			s.Voters = append(s.Voters, name)
		}
	}
	return s
}

// stillListed are the nodes of a sweep that are on the list, both in the order of
// their ids.
func stillListed(seen []awa.NodeStatus, list []awa.Node) []awa.NodeStatus {
	listed := func(n awa.NodeStatus) bool {
		for len(list) > 0 && list[0].ID < n.Node.ID {
			list = list[1:]
		}
		return len(list) > 0 && list[0].ID == n.Node.ID
	}
	i := slices.IndexFunc(seen, func(n awa.NodeStatus) bool { return !listed(n) })
	if i < 0 {
		return seen
	}
	kept := slices.Clone(seen[:i]) // what a sweep saw is shared
	for _, n := range seen[i+1:] {
		if listed(n) {
			kept = append(kept, n)
		}
	}
	return kept
}

// Changes implements server.Agent.
func (a *agent) Changes(since uint64, limit int) ([]awa.Change, error) {
	return a.store.Page(since, limit)
}

// DigestAt implements server.Agent.
func (a *agent) DigestAt(state uint64) (awa.Digest, bool, error) { return a.store.DigestAt(state) }

// Nodes implements server.Agent.
func (a *agent) Nodes() (awa.NodeSet, error) {
	if err := a.hasList(); err != nil {
		return awa.NodeSet{}, err
	}
	return a.store.NodeSet(), nil
}

// Probe implements server.Agent.
func (a *agent) Probe(ctx context.Context, ids []uint64, within time.Duration) []awa.Opinion {
	return a.watch.Probe(ctx, ids, within)
}
