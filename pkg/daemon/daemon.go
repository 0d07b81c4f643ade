// Package daemon wires one agent: the node list on disk, its replication, the
// sweeps, and the HTTP interface over them. It owns the order in which they
// start and end, and what the agent answers out of all of them.
package daemon

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"are-we-alive/pkg/api"
	"are-we-alive/pkg/api/server"
	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/events"
	"are-we-alive/pkg/handler"
	"are-we-alive/pkg/metrics"
	"are-we-alive/pkg/replica"
	"are-we-alive/pkg/store"
	"are-we-alive/pkg/trust"
	"are-we-alive/pkg/watch"
)

// Config configures an agent. Validate returns what is wrong with it.
type Config struct {
	// Name, Host and Port are this node as it stands on the list. Port 0 is
	// the port that is listened on.
	Name, Host string
	Port       awa.Port
	// Labels and Ephemeral are what the configuration sets of this node's entry beside, see
	// awa.Node.Configure.
	Labels    map[string]string
	Ephemeral string
	// ClusterName is how to call the cluster if it has no name yet.
	ClusterName string
	// Listen is the address to listen on, ADDR or ADDR:PORT, where port 0 is
	// any free one. Without an address it is every one with a key or Insecure,
	// and Host with neither; without a port it is Port, and awa.DefaultPort
	// when that is 0.
	Listen string
	// DataDir is the folder of awa.db; made when it is missing.
	DataDir string
	// First makes a new cluster, Join (host:port each) names agents of the
	// one to join. With both, a new one begins only when none of Join answers
	// as one of a cluster. Both only matter as long as the folder holds no list;
	// Join is also asked when the nodes of the list have moved.
	First bool
	Join  []string
	// Rejoin lets an agent register again that was removed from the list. TakeOver lets
	// it register whoever holds its entry.
	Rejoin, TakeOver bool
	// KeyFile is the file of the cluster's keys, which Reload reads again. ""
	// means no key: whoever reaches the port may read and edit the list, and only
	// loopback addresses are listened on.
	KeyFile string
	// Insecure without a KeyFile allows other addresses than loopback. With
	// one it only allows that other users may read the file.
	Insecure bool
	// Watch is the time between background sweeps, 5 s when 0.
	Watch time.Duration
	// PingTimeout is the time of one ping, 1 s when 0.
	PingTimeout time.Duration
	// Web is the address of a second port, ADDR, ADDR:PORT or :PORT, where
	// Prometheus reads /metrics and /sd over plain HTTP: whoever reaches it can
	// read, and nobody edit. "" is none. Without an address it is every one;
	// without a port it is 25484; port 0 is any free one.
	Web string
	// WebNodes is of which nodes /metrics has metrics of their own: all, own or none; ""
	// is of all.
	WebNodes string
	// Clock is this agent's clock, which it sends to others and compares with theirs
	// with it; nil is time.Now. No order of anything hangs on it.
	Clock func() time.Time
	// Timing of the replication; zero fields mean the defaults.
	Timing replica.Timing
	// Ask is asked when the folder holds no list and neither First nor Join
	// is given: whether this is the first node, and else an address to join.
	// When nil, Open fails instead.
	Ask func() (first bool, join string, err error)
	// OnEvent is a program that runs when something happened, see package handler; "" is none.
	OnEvent string
	// BootID is made again at each start of the machine; "" reads the kernel's.
	BootID string
	// StopReason is asked why this agent is being stopped, once it is; nil is a signal.
	StopReason func() awa.StopReason
	Log        *slog.Logger
	// Listener and Dial are the network; nil means TCP. A Listener takes the
	// place of Listen.
	Listener net.Listener
	Dial     api.Dial
}

// Validate says in one sentence what is wrong, with awa.ErrBadInput.
func (c Config) Validate() error {
	bad := func(format string, args ...any) error {
		return awa.Faultf(awa.ErrBadInput, format, args...)
	}
	if err := awa.CheckName(c.Name); err != nil {
		return bad("my_name: %v", err)
	}
	if err := awa.CheckHost(c.Host); err != nil {
		return bad("my_host: %v", err)
	}
	if err := awa.CheckReachable(c.Host); err != nil {
		return bad("my_host: %v", err)
	}
	if c.ClusterName != "" {
		if err := awa.CheckClusterName(c.ClusterName); err != nil {
			return bad("cluster_name: %v", err)
		}
	}
	if err := awa.CheckLabels(c.Labels); err != nil {
		return bad("labels: %v", err)
	}
	if err := awa.CheckEphemeral(c.Ephemeral); c.Ephemeral != "" && err != nil {
		return bad("%v", err)
	}
	if c.DataDir == "" {
		return bad("data_dir is empty: name the folder for the node list")
	}
	for _, addr := range c.Join {
		if _, _, err := awa.ParseAddr(addr, awa.DefaultPort); err != nil {
			return bad("join: %v", err)
		}
	}
	if saysLoopback(c.Host) && len(c.Join) > 0 && !slices.ContainsFunc(c.Join, onLoopback) {
		return bad("my_host: %s is this machine for each that asks, so the agents at %s could not reach it: set "+
			"the DNS name "+
			"or the address under which they do", c.Host, strings.Join(c.Join, ", "))
	}
	if c.Watch < 0 || c.Watch > 0 && c.Watch < 100*time.Millisecond || c.Watch > time.Hour {
		return bad("watch: use 100ms to 1h, not %s", c.Watch)
	}
	if c.PingTimeout < 0 || c.PingTimeout > 0 && c.PingTimeout < 10*time.Millisecond || c.PingTimeout > 10*time.Second {
		return bad("ping_timeout: use 10ms to 10s, not %s", c.PingTimeout)
	}
	if _, err := c.listenAddr(); err != nil {
		return bad("listen: %v", err)
	}
	if _, err := c.webAddr(); err != nil {
		return bad("web: %v", err)
	}
	return nil
}

var (
	_ watch.Pinger  = (*api.Client)(nil)
	_ watch.Prober  = (*api.Client)(nil)
	_ watch.Memory  = (*store.Store)(nil)
	_ events.Store  = (*store.Store)(nil)
	_ handler.Store = (*store.Store)(nil)
)

// Daemon is one agent.
type Daemon struct {
	cfg      Config
	log      *slog.Logger
	instance string // new at each start, see awa.Self
	store    *store.Store
	ln       net.Listener
	keys     *trust.Keyring // nil without a key
	files    descriptors
	names    *api.Names
	client   *api.Client
	pings    *api.Client // the same, unless descriptors are scarce
	server   *server.Server
	replica  *replica.Replica
	watch    *watch.Watcher
	agent    *agent
	history  *history
	notifier *handler.Notifier
	stopping atomic.Bool // it was told to, and does not end by itself
	web      *web        // nil without one
	unfitMu  sync.Mutex
	unfit    map[string]time.Time   // since when an agent says that it can't keep a log, by uid
	listed   chan struct{}          // closed once this agent holds the list and stands on it
	waiting  chan struct{}          // closed once it must wait for others to get the list
	joining  atomic.Pointer[string] // why it has none yet, as far as it has tried
	close    func() error
}

// Open opens the data folder and the port; nothing runs yet. The errors that
// a person must act on are *awa.Fault: awa.ErrBadInput for the configuration,
// awa.ErrInUse, awa.ErrDamaged and awa.ErrFormat for the data folder.
func Open(cfg Config) (*Daemon, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		return nil, fmt.Errorf("make the data folder: %w; name another one with --data-dir", err)
	}
	st, err := store.Open(filepath.Join(cfg.DataDir, "awa.db"))
	if err != nil {
		return nil, err
	}
	debug.FreeOSMemory() // what it took to read the whole file
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	d := &Daemon{cfg: cfg, log: cfg.Log, instance: awa.NewUID()[:16], store: st,
		listed: make(chan struct{}), waiting: make(chan struct{}), unfit: map[string]time.Time{}}
	if err = d.shareDescriptors(); err == nil {
		err = d.openKeys()
	}
	if err == nil {
		err = d.requireStartMode()
	}
	if err != nil {
		return nil, errors.Join(err, st.Close())
	}
	if err := d.listen(); err != nil {
		return nil, errors.Join(fmt.Errorf("open the port: %w", err), st.Close())
	}
	if err := d.openWeb(); err != nil {
		return nil, errors.Join(err, d.ln.Close(), st.Close())
	}
	if d.cfg.Port == 0 {
		d.cfg.Port = awa.Port(d.ln.Addr().(*net.TCPAddr).Port)
	}
	switch {
	case d.cfg.insecure():
		d.log.Warn("INSECURE: this agent has no key, and everybody who reaches this port may read and edit the node "+
			"list; awa-agent key new makes a key, --key-file names it", "addr", d.ln.Addr().String())
	case d.keys == nil && d.cfg.Listen == "":
		d.log.Warn("this agent has no key, so it listens on loopback only, where no other server reaches it: make the "+
			"cluster's key with awa-agent key new, or copy it from another server, and reload this agent",
			"addr", d.ln.Addr().String())
	}
	d.wire()
	d.close = sync.OnceValue(func() error {
		d.names.Close()
		d.client.Close()
		d.pings.Close()
		d.ln.Close()
		d.closeWeb()
		return st.Close()
	})
	return d, nil
}

// requireStartMode makes sure that an agent without a list knows where to get one.
func (d *Daemon) requireStartMode() error {
	if d.store.Meta().Cluster != "" || d.cfg.First || len(d.cfg.Join) > 0 {
		return nil
	}
	if d.cfg.Ask == nil {
		return awa.Faultf(awa.ErrBadInput, "%s holds no node list yet: start the first agent of a new cluster with "+
			"--first, and every other one with --join HOST[:PORT] of an agent that runs (in cluster_info.json: \"first\": "+
			"true, or \"join\": [\"HOST\"])", d.cfg.DataDir)
	}
	first, join, err := d.cfg.Ask()
	if err != nil {
		return err
	}
	d.cfg.First = first
	if !first {
		d.cfg.Join = []string{join}
	}
	return d.cfg.Validate()
}

// keptConnections is how many connections to other agents stay open, see
// api.ClientConfig.MaxIdle. Longer lists are swept more seldom.
const keptConnections = 2000

// wire makes the parts and connects them.
func (d *Daemon) wire() {
	d.names = api.NewNames(d.log)
	asks := api.ClientConfig{
		Caller: func() awa.Caller { return replica.Caller(d.store, d.Node().Addr(), d.instance) }, Dial: d.cfg.Dial,
		MaxIdle: d.files.kept, MaxOpen: d.files.calls, Names: d.names,
	}
	if d.keys != nil {
		asks.Secure = d.keys.Secure
	}
	d.client = api.NewClient(asks)
	d.pings = d.client
	if asks.MaxOpen > 0 { // no push and no Raft stream may keep a ping waiting
		asks.MaxOpen = d.files.pingDescriptors()
		d.pings = api.NewClient(asks)
	}
	now := time.Now()
	d.agent = &agent{
		store: d.store, log: d.log, name: d.cfg.Name, host: d.cfg.Host, instance: d.instance, macAddr: macAddr(),
		started: now, machine: thisMachine(now, d.cfg.BootID), clock: d.cfg.Clock, hasKey: d.keys != nil,
		insecure: d.cfg.insecure(), webPort: d.pagePort(), staleAfter: staleAfter(d.cfg.Watch),
	}
	d.watch = watch.New(watch.Config{
		Pinger: d.pings, Nodes: d.store.Nodes, Self: d.agent.Self, Heard: d.agent.answered,
		Prober: d.pings, Always: d.deciders, Memory: d.store, Clock: d.cfg.Clock, Kept: d.files.kept, MaxOpen: d.files.pings,
		PingTimeout: d.cfg.PingTimeout, Watch: d.cfg.Watch, Log: d.log,
		Events: d.happened, Swept: d.swept,
	})
	d.replica = replica.New(d.replicaConfig())
	d.agent.watch, d.agent.Replica = d.watch, d.replica
	d.agent.events = events.New(d.store, d.cfg.Clock, d.log)
	d.history = newHistory(d.store, d.agent, d.agent.events)
	d.notifier = d.newNotifier()
	d.agent.notifier = d.notifier
	d.server = server.NewServer(d.serverConfig())
	if d.web != nil {
		d.web.server = server.NewWebServer(newPages(d.agent, d.Check, metrics.Of(d.cfg.WebNodes)), d.log, d.files.web)
	}
}

func (d *Daemon) replicaConfig() replica.Config {
	contacts := make([]string, len(d.cfg.Join))
	for i, addr := range d.cfg.Join {
		host, port, _ := awa.ParseAddr(addr, awa.DefaultPort) // Validate has read it
		contacts[i] = awa.Addr(host, port)
	}
	return replica.Config{
		List: d.store, Peers: d.client, Dir: filepath.Join(d.cfg.DataDir, "raft"), Instance: d.instance,
		Seen: d.seen, Contacts: contacts, ClusterName: d.cfg.ClusterName,
		Rejoin: d.cfg.Rejoin, TakeOver: d.cfg.TakeOver, Timing: d.cfg.Timing, Log: d.log,
	}
}

// deciders are the uids of the agents on which edits depend.
func (d *Daemon) deciders() []string {
	return append(slices.Clone(d.replica.Voters()), d.replica.Leader())
}

// seen returns what the background sweeps saw, for the replication.
func (d *Daemon) seen(uid string) (seen replica.Seen, ok bool) {
	n, listed := d.store.Agent(uid)
	if !listed {
		return replica.Seen{}, false
	}
	s, ok := d.watch.Seen(n)
	if !ok {
		return replica.Seen{}, false
	}
	seen = replica.Seen{Online: s.Online, For: s.For, RTT: s.RTT}
	d.unfitMu.Lock()
	defer d.unfitMu.Unlock()
	if !unfit(s.Self) {
		delete(d.unfit, uid)
		return seen, true
	}
	if d.unfit[uid].IsZero() {
		d.unfit[uid] = time.Now()
	}
	seen.Unfit = max(time.Since(d.unfit[uid]), 1)
	return seen, true
}

// unfit reports whether an agent says that it can't keep a log.
func unfit(self awa.Self) bool {
	return slices.ContainsFunc(self.Health, func(code awa.HealthCode) bool {
		return code == awa.DiskFull || code == awa.DiskReadOnly || code == awa.DataDamaged
	})
}

// Addr is the address that the agent listens on.
func (d *Daemon) Addr() string { return d.ln.Addr().String() }

// Node is this agent as it stands on the list, except the id.
func (d *Daemon) Node() awa.Node {
	return awa.Node{Name: d.cfg.Name, Host: d.cfg.Host, Port: d.cfg.Port, UID: d.store.Meta().UID, Labels: d.cfg.Labels,
		Ephemeral: d.cfg.Ephemeral}
}

// Close closes the port and the data folder. It is safe to call it twice, and
// after Run has returned.
func (d *Daemon) Close() error { return d.close() }
