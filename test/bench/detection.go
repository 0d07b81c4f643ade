package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"are-we-alive/pkg/api"
	"are-we-alive/pkg/awa"
)

// detection measures when the agents of a cluster know of deaths: real processes with their
// default timing, some of which are stopped (SIGSTOP), so that they are silent. `make simulation`
// with as many agents says how long it should take.
func detection(ctx context.Context, b *bench) (err error) {
	c := &cluster{}
	addrs := make([]net.Addr, b.processes)
	for i := range addrs {
		addr, err := freePort()
		if err != nil {
			return err
		}
		if addrs[i], err = net.ResolveTCPAddr("tcp", addr); err != nil {
			return err
		}
	}
	dir := filepath.Join(b.dir, "detection")
	if err := c.seed(dir, b.processes, addrs); err != nil {
		return err
	}
	processes := make([]*agentProcess, b.processes)
	defer func() {
		for _, a := range processes {
			if a != nil {
				a.cmd.Process.Signal(syscall.SIGCONT)
				err = errors.Join(err, a.stop())
			}
		}
	}()
	var starts errgroup.Group
	starts.SetLimit(inParallel)
	for i, n := range c.nodes {
		starts.Go(func() (err error) {
			processes[i], err = startAgent(ctx, b, n.Name, "--listen", n.Addr(), "--data-dir", folder(dir, i), "--key-file", "")
			return err
		})
	}
	if err := starts.Wait(); err != nil {
		return err
	}
	client := api.NewClient(api.ClientConfig{})
	defer client.Close()
	for _, n := range c.nodes {
		err := until(ctx, time.Minute, n.Name+" to see all others", func() bool {
			st, err := client.ClusterStatus(ctx, n.Addr(), true)
			return err == nil && seen(st.Nodes, b.processes) == nil
		})
		if err != nil {
			return err
		}
	}
	order, silent := rand.Perm(b.processes), map[int]bool{}
	for _, n := range []int{1, b.processes / 5} {
		if err := b.deaths(ctx, c, client, processes, order[:n], silent); err != nil {
			return err
		}
		order = order[n:]
	}
	return nil
}

// knownWithin is how long all agents have to know of a death.
const knownWithin = 30 * time.Second

// deaths stops some more processes, and reports when the others know. It adds them to those that
// are silent.
func (b *bench) deaths(ctx context.Context, c *cluster, client *api.Client, processes []*agentProcess, dead []int,
	silent map[int]bool) error {
	at := time.Now()
	for _, i := range dead {
		if err := processes[i].cmd.Process.Signal(syscall.SIGSTOP); err != nil {
			return err
		}
		silent[i] = true
	}
	select {
	case <-time.After(knownWithin):
	case <-ctx.Done():
		return ctx.Err()
	}
	var knew []time.Duration
	for i, n := range c.nodes {
		if silent[i] {
			continue
		}
		set, err := client.Events(ctx, n.Addr(), awa.EventQuery{Since: at})
		if err != nil {
			return err
		}
		latest, names := time.Duration(0), map[string]bool{}
		for _, e := range set.Events {
			if e.Kind == awa.EventOffline {
				names[e.Node] = true
				latest = max(latest, e.At.Sub(at))
			}
		}
		for _, i := range dead {
			if !names[c.nodes[i].Name] {
				return fmt.Errorf("%s does not know after %v that %s is silent", n.Name, knownWithin, c.nodes[i].Name)
			}
		}
		knew = append(knew, latest)
	}
	slices.Sort(knew)
	for _, share := range []int{50, 99, 100} {
		b.figure(fmt.Sprintf("%d agents, of which %d are silent, %d %% of the others know", b.processes, len(dead), share),
			fmt.Sprintf("%.1f s", percentile(knew, share).Seconds()))
	}
	return nil
}
