package replica_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/awatest"
	"are-we-alive/pkg/daemon"
)

func TestVoters_AsManyAsTheAgentsCarry(t *testing.T) {
	for n, want := range map[int]int{1: 1, 2: 1, 3: 3, 4: 3, 5: 5, 7: 5} {
		t.Run(fmt.Sprintf("%d agents", n), func(t *testing.T) {
			c := awatest.New(t, n, awatest.AnyVoters())
			c.WaitVoters(want)
			for i := range n {
				// Who is told of the voters late must not take itself for a
				// removed one: with its log it would drop what it agreed to.
				if c.Logged(i, "not a voter any more") {
					t.Errorf("agent %d lost its vote, and nobody was away", i)
				}
			}
		})
	}
}

func TestVoters_ReplacedOneReturns(t *testing.T) {
	c := awatest.New(t, 4)
	c.Kill(0) // it founded the cluster: its first snapshot says that it votes alone
	c.Wait("agent 0 is replaced", func() error {
		if v := c.Voters(); slices.Contains(v, 0) || len(v) != 3 {
			return fmt.Errorf("the voters are %v", v)
		}
		return nil
	})
	for range 2 { // dormant for good, also when it starts again
		c.Start(0)
		c.Wait("agent 0 lies dormant", func() error { return dormant(c, 0) })
		c.MustEdit(0, awatest.CreateEdit(fmt.Sprintf("x%d", c.Acknowledged())))
		if err := dormant(c, 0); err != nil {
			t.Error(err)
		}
		if v := c.Voters(); slices.Contains(v, 0) || len(v) != 3 {
			t.Errorf("the voters are %v", v)
		}
		c.Stop(0)
	}
	c.Start(0)
	c.Kill(c.Leader())
	c.Wait("agent 0 votes again", func() error {
		if v := c.Voters(); !slices.Contains(v, 0) || len(v) != 3 {
			return fmt.Errorf("the voters are %v", v)
		}
		return nil
	})
}

// dormant fails when an agent thinks that it votes. It would know no leader
// then, because nobody tells it, or lead itself.
func dormant(c *awatest.Cluster, i int) error {
	self, err := c.Ping(i)
	switch {
	case err != nil:
		return err
	case self.Leader != c.UID(c.Leader()) || self.Leader == self.UID:
		return fmt.Errorf("agent %d takes %q for the leader", i, self.Leader)
	}
	return nil
}

func TestVoters_DownToTheLast(t *testing.T) {
	c := awatest.New(t, 5, awatest.Configure(func(_ int, cfg *daemon.Config) {
		cfg.Timing.Replace = time.Second
	}))
	edits := 0
	edit := func() {
		t.Helper()
		for _, i := range c.Running() {
			c.MustEdit(i, awatest.CreateEdit(fmt.Sprintf("x%d", edits)))
			edits++
		}
	}
	for _, want := range []int{3, 3, 1} { // with four, three and two agents
		c.Kill(c.Leader())
		edit()
		c.WaitVoters(want)
		edit()
	}
	last := c.Leader()
	for _, i := range c.Running() {
		if i != last {
			c.Kill(i)
		}
	}
	edit()
}

func TestVoters_AllReturn(t *testing.T) {
	for name, between := range map[string]func(*awatest.Cluster, int){
		"where they were":  func(*awatest.Cluster, int) {},
		"with other ports": (*awatest.Cluster).Move,
	} {
		t.Run(name, func(t *testing.T) {
			c := awatest.New(t, 5)
			id, _ := c.MustEdit(4, awatest.CreateEdit("x"))
			all := []int{0, 1, 2, 3, 4}
			c.Stop(all...)
			for _, i := range all {
				between(c, i)
			}
			c.Start(all...)
			c.WaitVoters(5)
			again, _ := c.MustEdit(0, awatest.CreateEdit("y"))
			if again <= id {
				t.Errorf("change %d came after change %d", again, id)
			}
			c.Wait("every list has all addresses", func() error {
				for _, i := range all {
					for _, j := range all {
						if n := c.Nodes(i)[c.Name(j)]; n.Addr() != c.Addr(j) {
							return fmt.Errorf("on agent %d's list agent %d is at %s", i, j, n.Addr())
						}
					}
				}
				return nil
			})
		})
	}
}

// A voter that was down while the log was made compact gets a snapshot. It
// then knows the voters, and can lead.
func TestVoters_CatchUpBySnapshot(t *testing.T) {
	c := awatest.New(t, 3, awatest.Configure(func(_ int, cfg *daemon.Config) {
		cfg.Timing.Replace = time.Minute
		cfg.Timing.Compact, cfg.Timing.Entries = 100*time.Millisecond, 64
	}))
	away := (c.Leader() + 1) % 3
	third := 3 - away - c.Leader()
	c.Kill(away)
	w := c.Write(4)
	w.WaitProgress(200)
	c.Wait("the log is made compact", func() error {
		for _, i := range c.Running() {
			if !c.Logged(i, "raft: compacting logs") {
				return fmt.Errorf("agent %d has not", i)
			}
		}
		return nil
	})
	w.WaitProgress(100)
	w.Stop()
	c.Start(away)
	c.Wait("the voter gets a snapshot", func() error {
		if !c.Logged(away, "raft: Installed remote snapshot") {
			return errors.New("it has not")
		}
		return nil
	})
	c.MustEdit(away, awatest.CreateEdit("x"))
	// With the third one away the majority needs the one that caught up.
	leader := c.Leader()
	for _, i := range []int{third, leader} {
		if i == away {
			continue
		}
		c.Kill(i)
		c.MustEdit(away, awatest.CreateEdit(fmt.Sprintf("without-%d", i)))
		c.Start(i)
		c.Wait("it is back", func() error { _, err := c.Ping(i); return err })
	}
}

// Agents that lost their votes must not bring an agent to power that has
// missed that: 0 was away from the start and takes all five for voters; 1 and
// 2 know better, and with them it would have three votes of five.
func TestVoters_MajorityOfThePast(t *testing.T) {
	heartbeat := awatest.Timing.Heartbeat
	c := awatest.New(t, 5, awatest.Configure(func(_ int, cfg *daemon.Config) {
		cfg.Timing.Replace, cfg.Timing.Settle = time.Second, 2*time.Second
		cfg.Timing.Patience, cfg.Timing.Heartbeat = time.Second, heartbeat
	}))
	c.Kill(0)
	for _, i := range []int{1, 2} {
		c.Kill(i)
		c.Wait(fmt.Sprintf("agent %d has no vote", i), func() error {
			if v := c.Voters(); slices.Contains(v, i) {
				return fmt.Errorf("the voters are %v", v)
			}
			return nil
		})
		c.MustEdit(3, awatest.CreateEdit(fmt.Sprintf("without%d", i)))
		leader := c.Leader()
		c.Stop(leader) // or it would tell agent i
		c.Start(leader)
		c.Leader()
		c.Start(i)
		c.Wait(fmt.Sprintf("agent %d knows that", i), func() error {
			if !c.Logged(i, "this agent is not a voter any more") {
				return errors.New("it does not say so")
			}
			return dormant(c, i)
		})
		c.Kill(i)
	}
	c.Kill(3, 4)
	heartbeat /= 5 // so that 0 has time for some elections
	c.Start(0, 1, 2)
	for range 3 {
		if err := refusedEdit(c, 0); !errors.Is(err, awa.ErrNoMajority) {
			t.Errorf("agents of the past took an edit: %v", err)
		}
	}
}

// refusedEdit has an agent try an edit until its outcome is known.
func refusedEdit(c *awatest.Cluster, i int) error {
	ctx, cancel := context.WithTimeout(context.Background(), awatest.Patience)
	defer cancel()
	for n := 0; ; n++ {
		_, _, err := c.Edit(ctx, i, awatest.CreateEdit(fmt.Sprintf("past%d", n)))
		if err == nil || !awatest.Unknown(err) || ctx.Err() != nil {
			return err
		}
	}
}

// A voter that missed some edits comes back at another address, while the
// majority needs it. It can't lead, so the one that can must find it.
func TestVoters_MovedOneIsNeeded(t *testing.T) {
	c := awatest.New(t, 3, awatest.Configure(func(_ int, cfg *daemon.Config) {
		cfg.Timing.Replace = time.Minute
	}))
	c.Kill(1)
	c.MustEdit(0, awatest.CreateEdit("missed"))
	c.Kill(2)
	c.Move(1)
	c.Start(1)
	c.MustEdit(0, awatest.CreateEdit("x"))
}

// Followers that become voters when the log is compact already get a snapshot
// of what they hold, and the rest of the log. They count as any other then.
func TestVoters_FollowersGetASnapshot(t *testing.T) {
	c := awatest.New(t, 3, awatest.Configure(func(_ int, cfg *daemon.Config) {
		cfg.Timing.Replace = time.Minute
		cfg.Timing.Compact, cfg.Timing.Entries = 100*time.Millisecond, 64
	}))
	w := c.Write(4)
	w.WaitProgress(100)
	c.Wait("the log is made compact", func() error {
		if l := c.Leader(); !c.Logged(l, "raft: compacting logs") {
			return fmt.Errorf("agent %d leads and has not", l)
		}
		return nil
	})
	added := []int{c.Add(), c.Add()}
	c.Start(added...)
	c.WaitVoters(5)
	w.Stop()
	for _, i := range added {
		if !c.Logged(i, "raft: Installed remote snapshot") {
			t.Errorf("agent %d got the whole log", i)
		}
	}
	leader := c.Leader()
	c.Kill(leader, (leader+1)%3) // the two are needed now
	for _, i := range added {
		c.MustEdit(i, awatest.CreateEdit(fmt.Sprintf("at%d", i)))
	}
}

// Two voters come back at each other's addresses. A stream must not reach the
// wrong one, whose vote would count for both.
func TestVoters_SwappedAddresses(t *testing.T) {
	c := awatest.New(t, 3, awatest.Configure(func(_ int, cfg *daemon.Config) {
		cfg.Timing.Replace = time.Minute
	}))
	c.MustEdit(0, awatest.CreateEdit("before"))
	c.Kill(1, 2)
	c.Swap(1, 2)
	c.Start(1, 2)
	c.MustEdit(0, awatest.CreateEdit("after"))
	c.Wait("the list has the new addresses", func() error {
		nodes := c.Nodes(0)
		for _, i := range []int{1, 2} {
			if n := nodes[c.Name(i)]; n.Addr() != c.Addr(i) {
				return fmt.Errorf("%s is at %s, not at %s", n.Name, c.Addr(i), n.Addr())
			}
		}
		return nil
	})
	for i := range 3 {
		c.MustEdit(i, awatest.CreateEdit(fmt.Sprintf("at%d", i)))
	}
}
