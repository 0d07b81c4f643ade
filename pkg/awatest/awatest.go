// Package awatest runs clusters of agents in one process, for tests. The
// agents are those that production runs (daemon.Open and Run), on loopback and
// in folders of the test; only the network between them can be cut.
//
// Whatever a test does with its cluster, in the end the promise of the lists
// must hold, and the clean-up of every test asserts it: see Cluster.finish.
package awatest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"are-we-alive/pkg/api"
	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/consensus"
	"are-we-alive/pkg/daemon"
	"are-we-alive/pkg/replica"
	"are-we-alive/pkg/trust"
)

// Patience is how long any condition is waited for. It only matters when a
// test fails, or on a machine that is very busy.
const Patience = 60 * time.Second

// Timing is that of the agents unless a test sets another: fast, but slow
// enough for a machine that is busy with other things.
var Timing = replica.Timing{
	Timing: consensus.Timing{
		Heartbeat: time.Second, Commit: 50 * time.Millisecond, Settle: 200 * time.Millisecond,
		Replace: 2 * time.Second, Tick: 50 * time.Millisecond,
	},
	Move: 500 * time.Millisecond, Vacate: 3 * time.Second, Patience: 5 * time.Second,
}

// Watch is the time between two background sweeps.
const Watch = 200 * time.Millisecond

// Option changes how a cluster is made.
type Option func(*options)

type options struct {
	configure func(i int, cfg *daemon.Config)
	idle      bool
	anyVoters bool
	keys      []trust.Key
}

// Configure returns a test the last word on the configuration of agent i, each
// time that it starts.
func Configure(f func(i int, cfg *daemon.Config)) Option {
	return func(o *options) { o.configure = f }
}

// Idle makes the cluster and starts none of its agents.
func Idle() Option { return func(o *options) { o.idle = true } }

// KeepVoters has a voter that is down keep its vote for longer than a test lasts.
func KeepVoters() Option {
	return Configure(func(_ int, cfg *daemon.Config) { cfg.Timing.Replace = time.Hour })
}

// AnyVoters has New not wait for the voters.
func AnyVoters() Option { return func(o *options) { o.anyVoters = true } }

// WithKey returns the cluster a key file, from which agents and clients speak
// TLS.
func WithKey(keys ...trust.Key) Option { return func(o *options) { o.keys = keys } }

// Cluster is a number of agents, called by their index. The first one begins
// the cluster, the others are told to join any of those that there are when
// they start. Its methods may be called from several goroutines, as long as
// one agent isn't started and stopped at once; those that fail end the test,
// so only Edit may be called outside the test's own goroutine.
type Cluster struct {
	t      testing.TB
	opts   options
	net    *network
	client *api.Client
	keys   *trust.Keyring // the client's; nil without a key
	file   string         // of the keys, "" without
	ledger ledger
	alone  goleak.Option // the goroutines that were there before

	mu     sync.Mutex
	agents []*agent
}

// agent is one agent in all its lives.
type agent struct {
	name  string
	dir   string
	uid   string // "" before its first start
	first bool
	log   *logbook
	left  bool // the test wants it out of the cluster

	daemon *daemon.Daemon     // of its newest life
	cancel context.CancelFunc // nil while it is down
	done   chan struct{}      // closed when its life is over
	err    error              // what Run returned; read it after done
	died   bool               // it ended by itself, and the test has not asked for that
}

// New makes a cluster of n agents, starts them, and waits until each of them
// holds all of the list and the voters are as many as consensus.TargetVoters says.
func New(t testing.TB, n int, opts ...Option) *Cluster {
	t.Helper()
	c := &Cluster{t: t, net: newNetwork(), alone: goleak.IgnoreCurrent()}
	for _, o := range opts {
		o(&c.opts)
	}
	c.ledger.keys = map[string]*account{}
	folder := t.TempDir() // is removed after the clean-up below
	c.takeKey(folder)
	c.client = api.NewClient(c.asks())
	t.Cleanup(c.finish)
	for i := range n {
		c.add(filepath.Join(folder, fmt.Sprintf("n%d", i)))
	}
	if n > 0 {
		c.agents[0].first = true
	}
	if c.opts.idle {
		return c
	}
	for i := range n {
		c.Start(i)
		if i == 0 {
			c.Wait("the first agent begins a cluster", func() error { _, err := c.joined(0); return err })
		}
	}
	c.WaitAll(n)
	if !c.opts.anyVoters {
		c.WaitVoters(consensus.TargetVoters(n))
	}
	return c
}

// Add makes one more agent, which is not started yet, and returns its index.
func (c *Cluster) Add() int {
	c.t.Helper()
	return c.add(c.t.TempDir())
}

func (c *Cluster) add(dir string) int {
	c.t.Helper()
	i, err := c.net.add()
	if err != nil {
		c.t.Fatal(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.agents = append(c.agents, &agent{name: fmt.Sprintf("n%d", i), dir: dir, log: new(logbook)})
	return i
}

func (c *Cluster) agent(i int) *agent {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.agents[i]
}

// Len is the number of agents.
func (c *Cluster) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.agents)
}

// Name is the name of an agent's node.
func (c *Cluster) Name(i int) string { return c.agent(i).name }

// Addr is the address of an agent.
func (c *Cluster) Addr(i int) string { return c.net.addr(i) }

// WebAddr is where Prometheus asks an agent that runs; "" when Config.Web is.
func (c *Cluster) WebAddr(i int) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.agents[i].daemon.WebAddr()
}

// Summary is what an agent that runs says of itself to systemd.
func (c *Cluster) Summary(i int) string {
	c.mu.Lock()
	d := c.agents[i].daemon
	c.mu.Unlock()
	return d.Summary()
}

// Dir is the data folder of an agent.
func (c *Cluster) Dir(i int) string { return c.agent(i).dir }

// UID is the uid of an agent; "" before its first start.
func (c *Cluster) UID(i int) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.agents[i].uid
}

// Logged reports whether an agent has written a line with all of these texts.
func (c *Cluster) Logged(i int, texts ...string) bool { return c.agent(i).log.has(texts) }

// Client asks agents as a client that is not an agent.
func (c *Cluster) Client() *api.Client { return c.client }

// Stranger asks agents as another agent would, which the caller describes.
func (c *Cluster) Stranger(who awa.Caller) *api.Client {
	cfg := c.asks()
	cfg.Caller = func() awa.Caller { return who }
	s := api.NewClient(cfg)
	c.t.Cleanup(s.Close)
	return s
}

// Up reports whether an agent is running.
func (c *Cluster) Up(i int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.agents[i].cancel != nil
}

// Running are the agents that are.
func (c *Cluster) Running() []int {
	var up []int
	for i := range c.Len() {
		if c.Up(i) {
			up = append(up, i)
		}
	}
	return up
}

// Start starts agents that are down, with the folders and the ports of their
// earlier lives.
func (c *Cluster) Start(agents ...int) {
	c.t.Helper()
	for _, i := range agents {
		if err := c.TryStart(i); err != nil {
			c.t.Fatalf("start agent %d: %v", i, err)
		}
	}
}

// TryStart is Start for an agent that daemon.Open may refuse.
func (c *Cluster) TryStart(i int) error {
	a := c.agent(i)
	if err := c.over(i); err != nil {
		return err
	}
	ln := c.net.attach(i)
	d, err := daemon.Open(c.config(i, ln))
	if err != nil {
		ln.Close()
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	c.mu.Lock()
	a.daemon, a.cancel, a.done, a.uid = d, cancel, done, d.Node().UID
	c.mu.Unlock()
	go func() {
		defer close(done)
		err := errors.Join(d.Run(ctx), d.Close())
		c.net.kill(i) // as the end of its process would
		c.mu.Lock()
		defer c.mu.Unlock()
		a.err, a.cancel, a.died = err, nil, ctx.Err() == nil
	}()
	return nil
}

func (c *Cluster) config(i int, ln net.Listener) daemon.Config {
	a := c.agent(i)
	cfg := daemon.Config{
		Name: a.name, Host: "127.0.0.1", DataDir: a.dir, First: a.first,
		Watch: Watch, Timing: Timing, Log: a.log.logger(),
		Listener: ln, Dial: c.net.dialer(i), KeyFile: c.file,
	}
	for j := range c.Len() {
		if j != i && !a.first {
			cfg.Join = append(cfg.Join, c.Addr(j))
		}
	}
	if c.opts.configure != nil {
		c.opts.configure(i, &cfg)
	}
	return cfg
}

// Stop stops agents as SIGTERM does, all at once, and waits until they have
// ended.
func (c *Cluster) Stop(agents ...int) {
	c.t.Helper()
	began := time.Now()
	for _, i := range agents {
		c.cancel(i)
	}
	for _, i := range agents {
		if err := c.over(i); err != nil {
			c.t.Errorf("agent %d ended with an error: %v", i, err)
		}
	}
	// Three seconds are promised; a busy machine may be late by as much.
	if took := time.Since(began); took > 6*time.Second {
		c.t.Errorf("the agents %v took %s to stop", agents, took)
	}
}

// Kill stops agents as a crash of all of them at once does, as far as others
// can tell: their connections break, and they can neither hand over their
// leadership nor finish a request any more.
func (c *Cluster) Kill(agents ...int) {
	c.t.Helper()
	for _, i := range agents {
		c.net.kill(i)
		c.cancel(i)
	}
}

// cancel asks an agent to stop.
func (c *Cluster) cancel(i int) {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	a := c.agents[i]
	if a.cancel == nil {
		c.t.Errorf("agent %d does not run, and shall be stopped (%v)", i, a.err)
		return
	}
	a.cancel()
	a.cancel = nil
}

// over waits until the life of an agent that was asked to stop, if it had one,
// is over, and returns the error that it ended with.
func (c *Cluster) over(i int) error {
	a := c.agent(i)
	if a.done == nil {
		return nil
	}
	select {
	case <-a.done:
		return a.err
	case <-time.After(Patience):
		return fmt.Errorf("it still runs after %s", Patience)
	}
}

// Ended waits until an agent ends by itself and returns the error of Run. The
// agent does not belong to the cluster any more, until Return.
func (c *Cluster) Ended(i int) error {
	c.t.Helper()
	err := c.over(i)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.agents[i].left, c.agents[i].died, c.agents[i].err = true, false, nil
	return err
}

// Leave takes an agent that is down out of the cluster: the end of the test
// neither starts it nor asks for its list.
func (c *Cluster) Leave(i int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.agents[i].left = true
}

// Return undoes Leave.
func (c *Cluster) Return(i int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.agents[i].left = false
}

// Move returns an agent that is down another port.
func (c *Cluster) Move(i int) {
	c.t.Helper()
	if c.Up(i) {
		c.t.Fatalf("agent %d must be down to get another port", i)
	}
	if err := errors.Join(c.over(i), c.net.move(i)); err != nil {
		c.t.Fatal(err)
	}
}

// Swap returns two agents that are down each other's ports.
func (c *Cluster) Swap(i, j int) {
	c.t.Helper()
	if c.Up(i) || c.Up(j) {
		c.t.Fatalf("agents %d and %d must be down to swap their ports", i, j)
	}
	if err := errors.Join(c.over(i), c.over(j)); err != nil {
		c.t.Fatal(err)
	}
	c.net.swap(i, j)
}

// Wipe empties the data folder of an agent that is down.
func (c *Cluster) Wipe(i int) {
	c.t.Helper()
	if c.Up(i) {
		c.t.Fatalf("agent %d must be down to lose its data", i)
	}
	if err := errors.Join(c.over(i), os.RemoveAll(c.Dir(i))); err != nil {
		c.t.Fatal(err)
	}
}

// Keep copies the data folder of an agent that is down, for PutBack.
func (c *Cluster) Keep(i int) (copied string) {
	c.t.Helper()
	if c.Up(i) {
		c.t.Fatalf("agent %d must be down to have its data copied", i)
	}
	copied = filepath.Join(c.t.TempDir(), c.Name(i))
	if err := errors.Join(c.over(i), os.CopyFS(copied, os.DirFS(c.Dir(i)))); err != nil {
		c.t.Fatal(err)
	}
	return copied
}

// PutBack rolls the data folder of an agent that is down back to a copy.
func (c *Cluster) PutBack(i int, copied string) {
	c.t.Helper()
	c.Wipe(i)
	if err := os.CopyFS(c.Dir(i), os.DirFS(copied)); err != nil {
		c.t.Fatal(err)
	}
}

// Cut parts these agents from all others: connections break, and new ones are
// refused. Agents of different cuts are parted too.
func (c *Cluster) Cut(agents ...int) { c.net.cut(false, agents) }

// CutSilently parts agents as Cut does, but new connections hang.
func (c *Cluster) CutSilently(agents ...int) { c.net.cut(true, agents) }

// Heal undoes all cuts.
func (c *Cluster) Heal() { c.net.heal() }
