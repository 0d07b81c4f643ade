package awatest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"are-we-alive/pkg/awa"
)

// Wait waits until a condition returns nil; its error says what is missing.
func (c *Cluster) Wait(what string, condition func() error) {
	c.t.Helper()
	if err := eventually(condition); err != nil {
		c.t.Fatalf("waited %s until %s: %v", Patience, what, err)
	}
}

func eventually(condition func() error) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(Patience); ; <-tick.C {
		err := condition()
		if err == nil || time.Now().After(end) {
			return err
		}
	}
}

// Ping asks an agent for a sign of life.
func (c *Cluster) Ping(i int) (awa.Self, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	return c.client.Ping(ctx, c.Addr(i), false)
}

// joined pings an agent, and fails while it holds no list.
func (c *Cluster) joined(i int) (awa.Self, error) {
	self, err := c.Ping(i)
	if err == nil && self.Cluster == "" {
		err = errors.New("it holds no list yet")
	}
	if err != nil {
		return self, fmt.Errorf("agent %d: %w", i, err)
	}
	return self, nil
}

// leader returns the agent that says it leads, the one of the newest term when
// a deposed one doesn't know it yet; -1 for none.
func (c *Cluster) leader() (int, awa.VoterSet) {
	at, set := -1, awa.VoterSet{}
	for _, i := range c.Running() {
		self, err := c.Ping(i)
		if err == nil && self.Voters != nil && self.Leader == self.UID && (at < 0 || self.Voters.Term > set.Term) {
			at, set = i, *self.Voters
		}
	}
	return at, set
}

// Leader waits until an agent leads, and returns it.
func (c *Cluster) Leader() int {
	c.t.Helper()
	at := -1
	c.Wait("an agent leads", func() error {
		if at, _ = c.leader(); at < 0 {
			return errors.New("none says so")
		}
		return nil
	})
	return at
}

// Voters are the agents that vote, as the leader says. Voters that are no
// agents of this cluster any more are left out.
func (c *Cluster) Voters() []int {
	c.t.Helper()
	var voters []int
	c.Wait("the leader says who votes", func() (err error) {
		voters, err = c.voters()
		return err
	})
	return voters
}

func (c *Cluster) voters() ([]int, error) {
	at, set := c.leader()
	if at < 0 {
		return nil, errors.New("no agent leads")
	}
	var voters []int
	for _, i := range c.members() {
		if slices.Contains(set.UIDs, c.UID(i)) {
			voters = append(voters, i)
		}
	}
	return voters, nil
}

// WaitVoters waits until n agents vote, all of them running, and all of them know
// of it: one that doesn't may lead next.
func (c *Cluster) WaitVoters(n int) {
	c.t.Helper()
	c.Wait(fmt.Sprintf("there are %d voters", n), func() error {
		at, set := c.leader()
		if at < 0 {
			return errors.New("no agent leads")
		}
		voters, err := c.voters()
		if err != nil {
			return err
		}
		down := slices.DeleteFunc(slices.Clone(voters), c.Up)
		if len(set.UIDs) != n || len(voters) != n || len(down) > 0 {
			return fmt.Errorf("agent %d leads %v, of which %v are down", at, voters, down)
		}
		for _, i := range voters {
			if self, err := c.Ping(i); err != nil || self.Voters == nil || self.Voters.Index < set.Index {
				return fmt.Errorf("agent %d does not know of it (%v)", i, err)
			}
		}
		return nil
	})
}

// WaitAll waits until all agents that run hold the same list, and it has an
// entry for n agents.
func (c *Cluster) WaitAll(n int) {
	c.t.Helper()
	c.Wait(fmt.Sprintf("every list has %d agents", n), func() error {
		running := c.running()
		changes, err := c.compare(running)
		if err != nil {
			return err
		}
		l, err := awa.Replay(changes)
		if err != nil {
			return err
		}
		agents := slices.DeleteFunc(l.Nodes(), func(n awa.Node) bool { return n.UID == "" })
		if len(agents) != n {
			return fmt.Errorf("they have %d agents", len(agents))
		}
		return nil
	})
}
