package daemon

import (
	"context"
	"fmt"
	"strings"
	"time"

	"are-we-alive/pkg/awa"
)

// Ready is closed once Run holds the cluster's list and this agent stands on
// it. That of a new agent takes until others answer, and a majority of the
// voters has agreed.
func (d *Daemon) Ready() <-chan struct{} { return d.listed }

// Waiting is closed once it is known that Ready has to wait for others: none of those to
// join has answered with a list.
func (d *Daemon) Waiting() <-chan struct{} { return d.waiting }

// notJoined keeps why none of the agents to join had the list.
func (d *Daemon) notJoined(failed string) {
	if d.joining.Swap(&failed) == nil {
		close(d.waiting)
	}
}

// awaitListed has Ready closed in time; it returns early when ctx ends.
func (d *Daemon) awaitListed(ctx context.Context) error {
	for {
		state := d.store.State()
		if _, ok := d.store.Agent(d.store.Meta().UID); ok {
			close(d.listed)
			return nil
		}
		if err := d.store.Wait(ctx, state+1); err != nil {
			return err
		}
	}
}

// overdue is how late a background sweep may be. Not the plight of a busy
// machine is looked for, but what stands still.
const overdue = 10 * time.Second

// Check reports whether a running agent does its work: the list can be read from
// the disk, the port answers as it answers everybody, and the background sweeps
// go on. It waits for the port until ctx ends, and for a disk as long as that
// takes.
func (d *Daemon) Check(ctx context.Context) error {
	if _, _, err := d.store.LogBounds(); err != nil {
		return err
	}
	if _, err := d.pings.Ping(ctx, d.Addr(), false); err != nil {
		return fmt.Errorf("this agent does not answer itself at %s: %w", d.Addr(), err)
	}
	if late := d.watch.Overdue(); late > overdue {
		return fmt.Errorf("the background sweep should have been over %s ago", late.Round(time.Second))
	}
	return nil
}

// Summary is how this agent sees the cluster, out of its last background
// sweep, in one short line for a person.
func (d *Daemon) Summary() string {
	if d.keys == nil && !d.cfg.insecure() {
		return d.summary() + "; no key: loopback only"
	}
	return d.summary()
}

func (d *Daemon) summary() string {
	if d.store.Meta().Cluster == "" {
		switch failed := d.joining.Load(); {
		case len(d.cfg.Join) == 0:
			return "no node list yet"
		case failed != nil:
			return "no node list yet, not joined: " + *failed
		}
		return "no node list yet, joining " + strings.Join(d.cfg.Join, ", ")
	}
	result := d.watch.Last()
	result.Nodes = stillListed(result.Nodes, d.store.Nodes())
	if len(result.Nodes) == 0 {
		return nodes(len(d.store.Nodes())) + " on the list, not pinged yet"
	}
	online, counted, now := 0, 0, time.Now()
	for _, n := range result.Nodes {
		if n.Node.InMaintenance(now) {
			continue
		}
		counted++
		if n.Verdict == awa.Online {
			online++
		}
	}
	text := fmt.Sprintf("%d of %s online", online, nodes(counted))
	if name := d.store.ClusterName(); name != "" {
		text = name + ": " + text
	}
	if maintained := len(result.Nodes) - counted; maintained > 0 {
		text += fmt.Sprintf(" (%d under maintenance)", maintained)
	}
	if result.Isolated {
		text += ", this agent reaches no other one"
	}
	if short := d.watch.Shortage(); short != nil {
		text += ", and could not look again since: " + short.Error()
	}
	if uid := d.replica.Leader(); uid == "" {
		text += ", no leader: the list can't be edited"
	} else if n, ok := d.store.Agent(uid); ok {
		text += ", leader " + n.Name
	}
	for _, c := range d.agent.ownConditions() {
		text += "; " + string(c.Code) + ": " + c.Text
	}
	return text
}

func nodes(n int) string { return countOf(n, "node") }

func countOf(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
