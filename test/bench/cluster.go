package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/goccy/go-json"
	"golang.org/x/sync/errgroup"

	"are-we-alive/pkg/api"
	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/consensus"
	"are-we-alive/pkg/daemon"
	"are-we-alive/pkg/replica"
	"are-we-alive/pkg/store"
)

// cluster is a number of agents in this process.
type cluster struct {
	nodes   []awa.Node // the list
	keys    *keys      // nil for none
	caller  awa.Caller // the first agent
	cancel  context.CancelFunc
	running errgroup.Group

	mu      sync.Mutex
	daemons []*daemon.Daemon
}

// run opens and starts a daemon. It may be called from many goroutines.
func (c *cluster) run(ctx context.Context, cfg daemon.Config) error {
	cfg.Log = slog.New(slog.DiscardHandler)
	d, err := daemon.Open(cfg)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.daemons = append(c.daemons, d)
	c.running.Go(func() error { return d.Run(ctx) })
	return nil
}

// stop ends all daemons.
func (c *cluster) stop() error {
	c.cancel()
	err := c.running.Wait()
	for _, d := range c.daemons {
		err = errors.Join(err, d.Close())
	}
	return err
}

// startVoters makes a cluster of three voters by joining, quickly. What an
// edit costs does not depend on the times that are short here.
func startVoters(ctx context.Context, dir string, client *api.Client) (c *cluster, err error) {
	ctx, cancel := context.WithCancel(ctx)
	c = &cluster{cancel: cancel}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.stop())
		}
	}()
	for i := range 3 {
		cfg := daemon.Config{
			Name: fmt.Sprintf("n%d", i+1), Host: "127.0.0.1", Listen: "127.0.0.1:0", DataDir: filepath.Join(dir,
				fmt.Sprint(i+1)),
			Watch: time.Second, Timing: replica.Timing{Timing: consensus.Timing{Settle: 500 * time.Millisecond,
				Tick: 100 * time.Millisecond}},
		}
		if cfg.First = i == 0; !cfg.First {
			cfg.Join = []string{c.daemons[0].Addr()}
		}
		if err := c.run(ctx, cfg); err != nil {
			return c, err
		}
	}
	return c, until(ctx, 30*time.Second, "three voters", func() bool {
		s, err := client.ClusterStatus(ctx, c.daemons[0].Addr(), true)
		return err == nil && len(s.Voters) == 3 && s.Leader != ""
	})
}

// until waits until ok holds.
func until(ctx context.Context, limit time.Duration, what string, ok func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for !ok() {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w", what, ctx.Err())
		}
	}
	return nil
}

// listed is a cluster whose agents hold one list from the start, written
// straight into their data folders. They neither vote nor sweep, except the
// first one, which sweeps once.
type listed struct {
	agents    int
	keys      *keys      // nil for none
	strangers []net.Addr // the last nodes of the list: addresses without an agent of ours
	apart     bool       // the first agent is not started: it shall be a process
	// wrap changes the listeners of the other agents; nil leaves them.
	wrap func(net.Listener) net.Listener
}

// start makes the cluster in a folder.
func (l listed) start(ctx context.Context, dir string) (c *cluster, err error) {
	if err := roomFor(l.agents); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	c = &cluster{cancel: cancel, keys: l.keys}
	listeners := make([]net.Listener, l.agents)
	defer func() {
		if err != nil {
			err = errors.Join(err, c.stop())
		}
		for _, ln := range listeners {
			if ln != nil && (err != nil || l.apart && ln == listeners[0]) {
				ln.Close()
			}
		}
	}()
	addrs := make([]net.Addr, l.agents)
	for i := range listeners {
		if listeners[i], err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return c, err
		}
		addrs[i] = listeners[i].Addr()
		if l.wrap != nil && i > 0 {
			listeners[i] = l.wrap(listeners[i])
		}
	}
	if err := c.seed(dir, l.agents, append(addrs, l.strangers...)); err != nil {
		return c, err
	}
	// No daemon but the first needs to reach another one; that keeps their
	// first sweeps short. They are over when no more dials are made.
	var dials atomic.Int64
	mute := func(context.Context, string, string) (net.Conn, error) {
		dials.Add(1)
		return nil, syscall.EMFILE // so that it says nothing of the others
	}
	start := func(i int, dial api.Dial) error {
		return c.run(ctx, daemon.Config{
			Name: c.nodes[i].Name, Host: "127.0.0.1", Port: c.nodes[i].Port,
			DataDir: folder(dir, i), Listener: listeners[i], Dial: dial, KeyFile: l.keys.file(),
			Watch: time.Hour, Timing: replica.Timing{Timing: consensus.Timing{Heartbeat: time.Hour, Tick: time.Hour}},
		})
	}
	var others errgroup.Group
	others.SetLimit(inParallel)
	for i := 1; i < l.agents; i++ {
		others.Go(func() error { return start(i, mute) })
	}
	if err := others.Wait(); err != nil {
		return c, err
	}
	begun, since := int64(0), time.Now()
	err = until(ctx, time.Minute, "the first sweeps", func() bool {
		if n := dials.Load(); n != begun {
			begun, since = n, time.Now()
		}
		return begun >= int64(l.agents-1) && time.Since(since) > time.Second
	})
	if err != nil || l.apart {
		return c, err
	}
	return c, start(0, nil)
}

// inParallel is how many data folders are written or opened at a time.
const inParallel = 8

// first is the address of the agent that may be asked for its status.
func (c *cluster) first() string { return c.nodes[0].Addr() }

func folder(dir string, i int) string { return filepath.Join(dir, fmt.Sprintf("agent%04d", i+1)) }

// seed writes the list of nodes at the addresses into the folders of the
// first n of them.
func (c *cluster) seed(dir string, n int, addrs []net.Addr) (err error) {
	stores := make([]*store.Store, n)
	defer func() {
		for _, s := range stores {
			if s != nil {
				err = errors.Join(err, s.Close())
			}
		}
	}()
	var all errgroup.Group
	all.SetLimit(inParallel)
	for i := range stores {
		all.Go(func() (err error) {
			if err = os.MkdirAll(folder(dir, i), 0o700); err == nil {
				stores[i], err = store.Open(filepath.Join(folder(dir, i), "awa.db"))
			}
			return err
		})
	}
	if err := all.Wait(); err != nil {
		return err
	}
	changes := make([]awa.Change, len(addrs))
	for i, addr := range addrs {
		node := awa.Node{
			ID: uint64(i) + 1, Name: fmt.Sprintf("node%04d", i+1), Host: addr.(*net.TCPAddr).IP.String(),
			Port: awa.Port(addr.(*net.TCPAddr).Port),
			UID:  awa.NewUID(),
		}
		if i < n {
			node.UID = stores[i].Meta().UID
		}
		data, err := json.Marshal(node)
		if err != nil {
			return err
		}
		changes[i] = awa.Change{ID: node.ID, Action: awa.Create, Data: string(data), Index: node.ID + 1, Term: 1}
		c.nodes = append(c.nodes, node)
	}
	c.caller = awa.Caller{UID: c.nodes[0].UID, Cluster: awa.NewUID(), History: awa.NewHistory(awa.History{}),
		State: uint64(len(changes))}
	for _, s := range stores {
		all.Go(func() error {
			return s.Init(awa.ChangeSet{Cluster: c.caller.Cluster, History: c.caller.History, Changes: changes})
		})
	}
	return all.Wait()
}
