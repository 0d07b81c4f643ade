package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime/debug"
	"time"

	"are-we-alive/pkg/api"
	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/watch"
)

// sweeps measures how long it takes to ping every agent, as an agent does.
func sweeps(ctx context.Context, b *bench) error {
	for _, n := range b.agents {
		if err := b.sweepsOf(ctx, n); err != nil {
			return fmt.Errorf("%d agents: %w", n, err)
		}
	}
	b.note("(medians of %d; client and agents share this machine's cores)", b.sweeps)
	return nil
}

func (b *bench) sweepsOf(ctx context.Context, n int) (err error) {
	c, err := listed{agents: n}.start(ctx, filepath.Join(b.dir, fmt.Sprint(n)))
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, c.stop())
		debug.FreeOSMemory()
	}()
	s, err := newSweeper(c)
	if err != nil {
		return err
	}
	defer s.client.Close()
	cold, err := s.times(ctx, b.sweeps, n, true)
	if err != nil {
		return err
	}
	warm, err := s.times(ctx, b.sweeps, n, false)
	if err != nil {
		return err
	}
	b.figure(fmt.Sprintf("%d agents, cold: a new connection to each, median", n), fmt.Sprintf("%.1f ms", ms(median(cold))))
	what, aimed := fmt.Sprintf("%d agents, warm: over kept connections, median", n), n >= 1000
	if aimed {
		b.atMost(what, ms(median(warm)), 60, "%.1f ms")
	} else {
		b.figure(what, fmt.Sprintf("%.1f ms", ms(median(warm))))
	}
	asked, err := statusTimes(ctx, c, b.sweeps, n)
	if err != nil {
		return err
	}
	b.figure(fmt.Sprintf("%d agents, GET /v1/status as a client sees it, median", n),
		fmt.Sprintf("%.1f ms", ms(median(asked))))
	return nil
}

// sweeper sweeps a cluster as its first agent would.
type sweeper struct {
	client *api.Client
	watch  *watch.Watcher
}

func newSweeper(c *cluster) (*sweeper, error) {
	client, err := c.keys.client(api.ClientConfig{Caller: func() awa.Caller { return c.caller }})
	if err != nil {
		return nil, err
	}
	s := &sweeper{client: client}
	s.watch = watch.New(watch.Config{
		Pinger: s.client, Nodes: func() []awa.Node { return c.nodes },
		Self: func() awa.Self { return awa.Self{UID: c.caller.UID, Cluster: c.caller.Cluster} },
	})
	return s, nil
}

// sweep measures one sweep that must see so many agents online.
func (s *sweeper) sweep(ctx context.Context, online int) (time.Duration, error) {
	begin := time.Now()
	out := s.watch.Sweep(ctx)
	return time.Since(begin), seen(out, online)
}

// times measures a number of sweeps that must see so many agents online. One
// before them is not counted.
func (s *sweeper) times(ctx context.Context, sweeps, online int, cold bool) ([]time.Duration, error) {
	var took []time.Duration
	for i := range sweeps + 1 {
		if cold {
			s.client.CloseIdle()
		}
		t, err := s.sweep(ctx, online)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			took = append(took, t)
		}
	}
	return took, nil
}

// seen says whether a sweep saw so many agents online.
func seen(nodes []awa.NodeStatus, online int) error {
	why := ""
	for _, n := range nodes {
		if n.Verdict == awa.Online {
			online--
		} else {
			why = n.Node.Name + ": " + n.Error
		}
	}
	if online != 0 {
		return fmt.Errorf("%d agents more than that should be online (%s)", online, why)
	}
	return nil
}

// statusTimes measures the whole question, with the first agent's sweep in it.
func statusTimes(ctx context.Context, c *cluster, times, online int) ([]time.Duration, error) {
	client := api.NewClient(api.ClientConfig{})
	defer client.Close()
	var took []time.Duration
	for i := range times + 1 {
		begin := time.Now()
		s, err := client.ClusterStatus(ctx, c.first(), false)
		if i > 0 {
			took = append(took, time.Since(begin))
		}
		if err == nil {
			err = seen(s.Nodes, online)
		}
		if err != nil {
			return nil, err
		}
	}
	return took, nil
}
