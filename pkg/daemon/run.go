package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"are-we-alive/pkg/api/server"
	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/consensus"
	"are-we-alive/pkg/replica"
)

// part is one of the things that run while an agent does. run returns after stop was
// called, or before with the error that ends the agent. stop may wait for what is under
// way, not for run.
type part struct {
	run  func() error
	stop func()
}

// task is a part whose run ends with the context.
func task(run func(context.Context) error) part {
	ctx, cancel := context.WithCancel(context.Background())
	return part{run: func() error { return ignoreCancel(run(ctx)) }, stop: cancel}
}

func ignoreCancel(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// Run is the agent's life: it serves, gets its list if it has none, registers
// itself, and sweeps, until ctx ends. Then it hands over its leadership, lets
// the requests under way finish and closes the port, all within 3 s.
func (d *Daemon) Run(ctx context.Context) error {
	d.recallNames()
	// All parts run at once. They stop from the last phase to the first one, so that no
	// request under way fails: those of one phase at once.
	phases := [][]part{
		{task(d.keepNames), task(d.agent.events.Run), task(d.notifier.Run)},
		{task(func(replicating context.Context) error { return d.member(ctx, replicating) })},
		{d.port(d.server, d.ln), d.webPort()},
		{d.leadership(), d.farewell()},
	}
	all := slices.Concat(phases...)
	ended := make(chan error, len(all))
	for _, p := range all {
		go func() { ended <- p.run() }()
	}
	d.log.Info("listening", "addr", d.Addr(), "name", d.cfg.Name, "version", awa.Version, "keys", d.keyIDs())
	running, err := len(all), error(nil)
	select {
	case <-ctx.Done():
		d.stopping.Store(true)
	case err = <-ended:
		running--
	}
	for _, phase := range slices.Backward(phases) {
		var stops sync.WaitGroup
		for _, p := range phase {
			stops.Go(p.stop)
		}
		stops.Wait()
	}
	for range running {
		if e := <-ended; err == nil {
			err = e
		}
	}
	return err
}

// leadership is the part that hands the leadership over when it stops.
func (d *Daemon) leadership() part {
	held := make(chan struct{})
	return part{
		run:  func() error { <-held; return nil },
		stop: func() { d.replica.HandOver(); close(held) },
	}
}

// shutdownWithin is how long the requests under way may take when an agent stops.
const shutdownWithin = 1200 * time.Millisecond

// port is the part that serves a port. Its stop lets the requests under way finish.
func (d *Daemon) port(s *server.Server, ln net.Listener) part {
	stopping := make(chan struct{})
	return part{
		run: func() error {
			err := s.Serve(ln)
			select {
			case <-stopping:
				return nil
			default:
				return err
			}
		},
		stop: func() {
			close(stopping)
			ctx, cancel := context.WithTimeout(context.Background(), shutdownWithin)
			defer cancel()
			if err := s.Shutdown(ctx); err != nil && !errors.Is(err, net.ErrClosed) {
				d.log.Info("some requests did not finish in time", "addr", ln.Addr().String(), "error", err)
			}
			ln.Close() // when Serve had not begun
		},
	}
}

// member is the agent as a member of its cluster. It gets the list that the folder lacks,
// and runs all that needs one. What an agent that stops begins no more ends with quit; the
// replication goes on until ctx ends.
func (d *Daemon) member(quit, ctx context.Context) error {
	starting, stop := context.WithCancel(ctx)
	defer stop()
	defer context.AfterFunc(quit, stop)()
	if err := d.obtainList(starting); err != nil || starting.Err() != nil {
		return err
	}
	d.warnFiles()
	group, ctx := errgroup.WithContext(ctx)
	defer context.AfterFunc(ctx, stop)()
	group.Go(func() error { return d.replica.Run(ctx) })
	for _, run := range []func(context.Context) error{
		d.watch.Run, d.history.run, d.awaitListed, d.followName, d.replica.Meet,
		func(ctx context.Context) error { return d.replica.StayRegistered(ctx, d.Node()) },
	} {
		group.Go(func() error { return ignoreCancel(run(starting)) })
	}
	return group.Wait()
}

// obtainList gets the list that the folder lacks, or begins one.
func (d *Daemon) obtainList(ctx context.Context) error {
	cfg := d.replicaConfig()
	switch m := d.store.Meta(); {
	case m.Cluster != "":
		if d.cfg.First {
			d.log.Info("--first is ignored: this agent holds a list already", "cluster", m.Cluster)
		}
		return nil
	case d.cfg.First && len(d.cfg.Join) > 0:
		joined, err := replica.JoinNow(ctx, cfg)
		if joined || err != nil {
			return err
		}
		d.log.Info("none of the agents to join answers as one of a cluster, so this agent begins a new one", "tried",
			strings.Join(d.cfg.Join, ", "))
		fallthrough
	case d.cfg.First:
		if err := consensus.Bootstrap(d.store, cfg.Dir); err != nil {
			return fmt.Errorf("begin a new cluster: %w", err)
		}
		d.log.Info("began a new cluster", "cluster", d.store.Meta().Cluster)
		return nil
	}
	return replica.Join(ctx, cfg, d.notJoined)
}
