package daemon

import (
	"context"
	"sync"
	"time"

	"are-we-alive/pkg/awa"
)

const (
	// farewellWithin is how long an agent that is being stopped may take to say so.
	farewellWithin = time.Second
	// farewellsAtOnce is how many agents it tells at once.
	farewellsAtOnce = 64
)

// farewell is the part that tells the other agents, when it stops, that this one is being
// stopped, unless it ends by itself.
func (d *Daemon) farewell() part {
	held := make(chan struct{})
	return part{
		run: func() error { <-held; return nil },
		stop: func() {
			defer close(held)
			if d.stopping.Load() {
				d.sayGoodbye()
			}
		},
	}
}

// sayGoodbye tells all agents that were online when this one looked last.
func (d *Daemon) sayGoodbye() {
	why := awa.StopSignal
	if d.cfg.StopReason != nil {
		why = d.cfg.StopReason()
	}
	d.log.Info("this agent is being stopped", "why", why.String())
	d.history.stopped(why)
	ctx, cancel := context.WithTimeout(context.Background(), farewellWithin)
	defer cancel()
	var all sync.WaitGroup
	permits := make(chan struct{}, farewellsAtOnce)
	for _, n := range d.others() {
		all.Go(func() {
			permits <- struct{}{}
			defer func() { <-permits }()
			if err := d.pings.Goodbye(ctx, n.Addr(), why); err != nil {
				d.log.Debug("an agent was not told of the end", "node", n.Name, "error", err)
			}
		})
	}
	all.Wait()
}

// others are the other agents that were online when this one looked last.
func (d *Daemon) others() []awa.Node {
	own := d.store.Meta().UID
	var all []awa.Node
	for _, n := range stillListed(d.watch.Last().Nodes, d.store.Nodes()) {
		if n.Verdict == awa.Online && n.Node.UID != "" && n.Node.UID != own {
			all = append(all, n.Node)
		}
	}
	return all
}

// Goodbye implements server.Agent.
func (a *agent) Goodbye(from awa.Caller, why awa.StopReason) {
	a.watch.Goodbye(from.UID, from.Instance, why)
}
