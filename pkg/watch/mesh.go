package watch

import (
	"context"
	"slices"
	"sync"

	"are-we-alive/pkg/awa"
)

// missing are the ids of the nodes that did not answer this agent, awa.MaxSees at most.
func missing(nodes []awa.NodeStatus) []uint64 {
	ids := []uint64{}
	for _, n := range nodes {
		if n.Verdict != awa.Online && n.Told == 0 && len(ids) < awa.MaxSees {
			ids = append(ids, n.Node.ID)
		}
	}
	return ids
}

// ailing are the ids of the nodes that answered this agent with a health code, awa.MaxSees
// at most.
func ailing(nodes []awa.NodeStatus) []uint64 {
	var ids []uint64
	for _, n := range nodes {
		if n.Verdict == awa.Online && n.Self != nil && len(n.Self.Health) > 0 && len(ids) < awa.MaxSees {
			ids = append(ids, n.Node.ID)
		}
	}
	return ids
}

// Sees returns the ids of the nodes that were not online when Run looked last, at most
// awa.MaxSees; nil before. ailing are those of the nodes whose agents found conditions of
// themselves then, likewise. They must not be modified.
func (w *Watcher) Sees() (sees, ailing []uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.sees, w.ailing
}

// NotReached says that other agents can't reach this one, though it reaches them. The
// zero NotReached says that they can.
type NotReached struct {
	Addr string // of this agent's entry
	// By are the names of the agents that can't, Of is how many reported what they see.
	By []string
	Of int
	// Stage and Error are those of one of them, which was asked for a ping.
	Stage awa.Stage
	Error string
}

// NotReached returns what Run has found out last.
func (w *Watcher) NotReached() NotReached {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.unreached
}

// checkReached finds out whether most of the agents that this one reaches can't reach
// it. What they report in answer to a ping may be older than this agent's last start, so
// some of them are asked for a ping of now.
func (w *Watcher) checkReached(ctx context.Context, l Result) {
	found := w.notReached(ctx, l)
	w.mu.Lock()
	before := w.unreached
	w.unreached = found
	w.mu.Unlock()
	switch {
	case found.Of > 0 && (before.Of == 0 || before.Addr != found.Addr):
		w.cfg.Log.Warn("other agents can't reach this one", "addr", found.Addr, "by", found.By, "of", found.Of,
			"stage", string(found.Stage), "error", found.Error)
	case found.Of == 0 && before.Of > 0:
		w.cfg.Log.Info("other agents can reach this one again", "addr", before.Addr)
	}
}

func (w *Watcher) notReached(ctx context.Context, l Result) NotReached {
	ours := w.cfg.Self()
	own := slices.IndexFunc(l.Nodes, func(n awa.NodeStatus) bool { return n.Node.UID == ours.UID })
	if own < 0 || ours.UID == "" || w.cfg.Prober == nil {
		return NotReached{}
	}
	entry := l.Nodes[own].Node
	found := NotReached{Addr: entry.Addr()}
	var blind []awa.Node
	for _, n := range l.Nodes {
		if n.Verdict != awa.Online || n.Node.ID == entry.ID || n.Self == nil || n.Self.Sees == nil {
			continue
		}
		blindTo := slices.Contains(n.Self.Sees, entry.ID)
		if !blindTo && !awa.WatchShareOf(n.Node.UID, len(l.Nodes)).Has(entry.ID) {
			continue // it does not look
		}
		if found.Of++; blindTo {
			blind = append(blind, n.Node)
			found.By = append(found.By, n.Node.Name)
		}
	}
	if 2*len(blind) <= found.Of {
		return NotReached{}
	}
	opinions := w.opinionsOf(ctx, blind[:min(len(blind), asked)], entry.ID)
	away := slices.DeleteFunc(slices.Clone(opinions), func(o awa.Opinion) bool { return o.Verdict == awa.Online })
	if len(opinions) == 0 || 2*len(away) <= len(opinions) {
		return NotReached{}
	}
	found.Stage, found.Error = away[0].Stage, away[0].Error
	return found
}

// opinionsOf asks agents for their pings of one node, all at once.
func (w *Watcher) opinionsOf(ctx context.Context, agents []awa.Node, id uint64) []awa.Opinion {
	within := w.cfg.PingTimeout
	ctx, cancel := context.WithTimeout(ctx, within+within/2)
	defer cancel()
	var all sync.WaitGroup
	var mu sync.Mutex
	var opinions []awa.Opinion
	for _, n := range agents {
		all.Go(func() {
			answer, err := w.cfg.Prober.Probe(ctx, n.Addr(), []uint64{id}, within)
			i := slices.IndexFunc(answer, func(o awa.Opinion) bool { return o.ID == id })
			if err != nil || i < 0 {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			opinions = append(opinions, answer[i])
		})
	}
	all.Wait()
	return opinions
}
