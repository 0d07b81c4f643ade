package consensus

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/hashicorp/raft"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/backoff"
)

// Agent is what the others know of an agent, as far as the choice of voters needs it.
type Agent struct {
	UID    string
	Online bool // and able to write to its disk
	// For is how long it has been online, or away.
	For time.Duration
	// Listed reports whether it is on the node list as one that may vote.
	Listed bool
	// Successor reports whether it is about to take the place of a voter on the list.
	Successor bool
}

// ChangeVoters takes the next step towards the voters that the cluster should have, and
// waits until all voters know it. took reports whether there was a step to take; the next
// one may follow at once. agents are all agents that are or may become voters, this one
// included. It does nothing unless this agent leads.
func (c *Consensus) ChangeVoters(ctx context.Context, agents []Agent) (took bool, err error) {
	r := c.running()
	if r == nil {
		return false, nil
	}
	// Raft must not know a newer configuration than the one agreed on last. It
	// checks that itself by the index; here it saves the waiting.
	agreed := c.list.Meta().Voters
	config, err := servers(r)
	if err != nil || !sameVoters(voterSet(agreed.Index, config), agreed) {
		return false, err
	}
	t := c.cfg.Timing
	next := nextStep(c.uid, c.candidates(ctx, agents, config, r.LastIndex()), t.Settle, t.Replace)
	if next.kind == stay || next.kind == await {
		return false, nil
	}
	name := c.cfg.Name(next.uid)
	c.log.Info("changing the voters", "step", string(next.kind), "node", name, "uid", next.uid)
	if next.kind == resign {
		c.HandOver()
		return false, nil
	}
	// The last sweep may be a while ago. A step that the voters who are left
	// can't agree on would be worse than none.
	if err := within(t.Heartbeat, r.VerifyLeader()); err != nil {
		return false, fmt.Errorf("ask the voters: %w", err)
	}
	if left := c.left(config, next); !c.majorityAnswers(ctx, left) {
		return false, fmt.Errorf("%s %s: most of the voters that it leaves do not answer", next.kind, name)
	}
	index, err := applyStep(r, next, agreed.Index, t.Heartbeat)
	if err != nil {
		return false, fmt.Errorf("%s %s: %w", next.kind, name, err)
	}
	return true, c.awaitVoters(ctx, r, index, agents)
}

// left returns the other voters that a step leaves, when it takes a vote.
func (c *Consensus) left(config []raft.Server, next step) []string {
	if next.kind != remove && next.kind != demote {
		return nil
	}
	return slices.DeleteFunc(c.otherVoters(config), func(uid string) bool { return uid == next.uid })
}

// majorityAnswers pings voters, and reports whether enough of them answer to agree with this
// one. A leader counts the votes of a step without the voter that it takes: one that only a
// voter who is away could agree on would leave nobody to lead, although most are there.
func (c *Consensus) majorityAnswers(ctx context.Context, others []string) bool {
	if len(others) == 0 {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	return 2*(len(c.cfg.Peers.Ask(ctx, true, others...))+1) > len(others)+1
}

func sameVoters(a, b awa.VoterSet) bool {
	missing := func(uid string) bool { return !slices.Contains(b.UIDs, uid) }
	return len(a.UIDs) == len(b.UIDs) && !slices.ContainsFunc(a.UIDs, missing)
}

// candidates returns what nextStep needs to know of every agent.
func (c *Consensus) candidates(ctx context.Context, agents []Agent, config []raft.Server, last uint64) []server {
	all := map[string]server{c.uid: {uid: c.uid}}
	for _, a := range agents {
		all[a.UID] = server{uid: a.UID, listed: a.Listed, online: a.Online, since: a.For, successor: a.Successor}
	}
	for _, s := range config {
		known := all[string(s.ID)]
		known.uid, known.member, known.voter = string(s.ID), true, s.Suffrage == raft.Voter
		if !known.voter {
			known.ready = c.level(ctx, known.uid, last)
		}
		all[known.uid] = known
	}
	self := all[c.uid]
	self.online = true
	all[c.uid] = self
	return slices.Collect(maps.Values(all))
}

const (
	// levelWithin is how far behind the leader's log an agent may be to get a vote; it
	// catches up with that in one message.
	levelWithin = 64
	// askWithin is how long one agent may take to say how far its log is.
	askWithin = time.Second
)

// level reports whether the log of an agent is all but level with this leader's and holds
// the configuration by which it was enlisted: raft itself doesn't say. The log alone says
// nothing while the leader's is short.
func (c *Consensus) level(ctx context.Context, uid string, last uint64) bool {
	self, ok := c.ask(ctx, true, uid)
	enlisted := c.list.Meta().Voters.Index
	return ok && self.LogIndex >= enlisted && self.LogIndex+levelWithin >= last &&
		self.Voters != nil && self.Voters.Index >= enlisted
}

// ask pings one agent.
func (c *Consensus) ask(ctx context.Context, fresh bool, uid string) (awa.Self, bool) {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	answers := c.cfg.Peers.Ask(ctx, fresh, uid)
	if len(answers) == 0 {
		return awa.Self{}, false
	}
	return answers[0], true
}

// applyStep takes one step and returns the index of the new configuration. prev is that of
// the one that it was chosen for: raft refuses the step when there is a newer one.
func applyStep(r *raft.Raft, s step, prev uint64, timeout time.Duration) (uint64, error) {
	id, addr := raft.ServerID(s.uid), raft.ServerAddress(s.uid)
	var f raft.IndexFuture
	switch s.kind {
	case enlist:
		f = r.AddNonvoter(id, addr, prev, timeout)
	case promote:
		f = r.AddVoter(id, addr, prev, timeout)
	case demote:
		f = r.DemoteVoter(id, prev, timeout)
	case remove:
		f = r.RemoveServer(id, prev, timeout)
	}
	if err := within(2*timeout, f); err != nil {
		return 0, err
	}
	return f.Index(), nil
}

// awaitVoters waits until all voters that are online have the configuration with this
// index, the newest: a leader that dies before could leave the others unable to elect a
// new one.
func (c *Consensus) awaitVoters(ctx context.Context, r *raft.Raft, index uint64, agents []Agent) error {
	config, err := servers(r)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*c.cfg.Timing.Heartbeat)
	defer cancel()
	for _, uid := range c.otherVoters(config) {
		if !slices.ContainsFunc(agents, func(a Agent) bool { return a.UID == uid && a.Online }) {
			continue
		}
		has := func() bool {
			self, ok := c.ask(ctx, false, uid)
			return ok && self.LogIndex >= index
		}
		if err := backoff.Poll(ctx, 5*time.Millisecond, 200*time.Millisecond, has); err != nil {
			return fmt.Errorf("voter %s has not got the new configuration yet: %w", c.cfg.Name(uid), err)
		}
	}
	// The state machine keeps it once it is agreed on.
	kept := func() bool { return c.list.Meta().Voters.Index >= index }
	if backoff.Poll(ctx, time.Millisecond, 100*time.Millisecond, kept) != nil {
		return errors.New("the new configuration is not agreed on yet")
	}
	return nil
}
