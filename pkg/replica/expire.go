package replica

import (
	"context"
	"slices"
	"time"

	"github.com/goccy/go-json"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/backoff"
)

// Ephemeral nodes are removed once they have been offline for as long as their entry says,
// by the leader, for a majority of the agents asked. A fault of the network must not empty
// the list: in one round at most a tenth of it goes, or one node.

const (
	// minExpireRound and maxExpireRound bound the time between two rounds, which is a tenth
	// of the shortest Expiry.
	minExpireRound = 5 * time.Second
	maxExpireRound = 10 * time.Minute
)

// expire makes the rounds until ctx ends. The first one comes when this agent has led for as
// long as is between two, since the leader before may just have made one.
func (r *Replica) expire(ctx context.Context) error {
	for last := time.Now(); ; {
		if err := backoff.Wait(ctx, minExpireRound); err != nil {
			return nil
		}
		switch {
		case !r.IsLeader():
			last = time.Now()
		case time.Since(last) >= expireRound(r.list.Nodes()):
			last = time.Now()
			for _, n := range r.expired(ctx) {
				r.removeExpired(ctx, n)
			}
		}
	}
}

// expireRound is the time between two rounds.
func expireRound(nodes []awa.Node) time.Duration {
	round := maxExpireRound
	for _, n := range nodes {
		if expiry := n.Expiry(); expiry > 0 {
			round = min(round, expiry/10)
		}
	}
	return max(round, minExpireRound)
}

// expired returns the nodes to remove in a round.
func (r *Replica) expired(ctx context.Context) []awa.Node {
	nodes, voters := r.list.Nodes(), r.Voters()
	most := max(1, len(nodes)/10)
	var all []awa.Node
	for _, n := range nodes {
		s, known := r.cfg.Seen(n.UID)
		switch {
		case n.Expiry() == 0, n.InMaintenance(time.Now()), slices.Contains(voters, n.UID):
			continue
		case !known || s.Online || s.For < n.Expiry() || !r.othersMiss(ctx, n):
			continue
		}
		if all = append(all, n); len(all) == most {
			break
		}
	}
	return all
}

// othersMiss reports whether a majority of the agents asked, this one included, finds that a
// node which is offline here has been so for its Expiry, and nobody that it is alive.
func (r *Replica) othersMiss(ctx context.Context, n awa.Node) bool {
	ctx, cancel := context.WithTimeout(ctx, holderWithin)
	defer cancel()
	asked, gone := 1, 1
	for _, s := range r.probeFromOthers(ctx, n) {
		if s.alive {
			return false
		}
		asked++
		if s.gone >= n.Expiry() {
			gone++
		}
	}
	return 2*gone > asked
}

// removeExpired removes a node, unless its entry has changed meanwhile.
func (r *Replica) removeExpired(ctx context.Context, n awa.Node) {
	data, err := json.Marshal(map[string]any{"id": n.ID, "by": awa.ByExpiry})
	var e awa.ParsedEdit
	if err == nil {
		e, err = awa.Edit{Action: awa.Delete, Data: data, Key: awa.NewUID(), IfChanged: n.Changed}.Parse()
	}
	if err == nil {
		e, err = e.Stamped("", time.Now())
	}
	if err == nil {
		_, _, err = r.Edit(ctx, e, 0)
	}
	if err != nil {
		r.log.Warn("an ephemeral node that was offline for too long is not removed yet", "node", n.Name, "error", err)
		return
	}
	r.log.Info("removed an ephemeral node, which was offline for too long", "node", n.Name, "addr", n.Addr(), "ephemeral",
		n.Ephemeral)
}
