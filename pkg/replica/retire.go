package replica

import (
	"context"
	"slices"
	"time"

	"github.com/hashicorp/raft"

	"are-we-alive/pkg/awa"
)

// askPause is how many ticks pass between two questions to the other voters.
const askPause = 5

// retire has this agent drop its part in Raft when it lost its vote: nobody
// tells a removed voter so by Raft. A leader that is silent, and to a voter a
// hint from anybody, is the reason to ask the voters of the configuration that
// it holds; a majority of them must say that there is a newer one without it.
func (r *Replica) retire(ctx context.Context) error {
	rf := r.order.running()
	if rf == nil || rf.State() == raft.Leader {
		return nil
	}
	config, err := servers(rf)
	if err != nil || len(config) == 0 { // Raft is stopping, or this agent has no part in it
		return nil
	}
	t := r.cfg.Timing
	_, told := r.claim()
	// To an agent that is about to become a voter everybody says so.
	hinted := len(told) > 0 && !slices.Contains(told, r.uid) && r.order.votes(rf)
	if time.Since(r.asked) < askPause*t.Tick || !hinted && r.order.silence(rf) < 3*t.Heartbeat {
		return nil
	}
	r.asked = time.Now()
	index, err := r.order.configIndex()
	if err != nil {
		return err
	}
	var voters []string
	for _, s := range config {
		if s.Suffrage == raft.Voter && string(s.ID) != r.uid {
			voters = append(voters, string(s.ID))
		}
	}
	if v, ok := r.confirmed(ctx, voters, index); ok {
		return r.order.rest(v)
	}
	return nil
}

// confirmed asks the other voters of this agent's configuration, which has an
// index, for theirs. ok is true when a majority has a newer one without this
// agent; v is the oldest of those.
func (r *Replica) confirmed(ctx context.Context, voters []string, index uint64) (v awa.VoterSet, ok bool) {
	answers := askAll(ctx, r.cfg, r.addr, voters, r.cfg.Timing.Push)
	without := func(self awa.Self) bool {
		return self.Voters != nil && self.Voters.Index > index && !slices.Contains(self.Voters.UIDs, r.uid)
	}
	count := 0
	for _, self := range answers {
		// A voter of the version before tells only who leads: it stands behind
		// what that one says.
		if self.Voters == nil {
			at := slices.IndexFunc(answers, func(other awa.Self) bool { return other.UID == self.Leader })
			if at >= 0 {
				self = answers[at]
			}
		}
		if !without(self) {
			continue
		}
		count++
		if v.Index == 0 || self.Voters.Index < v.Index {
			v = *self.Voters
		}
	}
	// A majority of the configuration; of two voters the other one alone.
	return v, count > 0 && count >= min((len(voters)+1)/2+1, len(voters))
}
