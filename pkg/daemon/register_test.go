package daemon_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/awatest"
	"are-we-alive/pkg/daemon"
)

// awaitHealth waits until an agent says that a condition holds whose text has all parts.
func awaitHealth(t *testing.T, c *awatest.Cluster, i int, code awa.HealthCode, parts ...string) {
	t.Helper()
	c.Wait(fmt.Sprintf("agent %d says %s", i, code), func() error {
		st, err := c.Client().ClusterStatus(t.Context(), c.Addr(i), false)
		if err != nil {
			return err
		}
		for _, h := range st.Health {
			if h.Code == code && !slices.ContainsFunc(parts, func(p string) bool { return !strings.Contains(h.Text, p) }) {
				return nil
			}
		}
		return fmt.Errorf("it says %+v", st.Health)
	})
}

// awaitWell waits until an agent says of no condition that matters.
func awaitWell(t *testing.T, c *awatest.Cluster, i int) {
	t.Helper()
	c.Wait(fmt.Sprintf("all is well for agent %d", i), func() error {
		for _, h := range see(t, c, i).Health {
			if h.Code.Severity() != awa.SeverityOK {
				return fmt.Errorf("it says %+v", h)
			}
		}
		return nil
	})
}

// awaitAddr waits until the list of agent 0 has a node at an address, with a uid.
func awaitAddr(t *testing.T, c *awatest.Cluster, name, uid, addr string) awa.Node {
	t.Helper()
	var n awa.Node
	c.Wait("the list has "+name+" at "+addr, func() error {
		if n = c.Nodes(0)[name]; n.Addr() != addr || n.UID != uid {
			return fmt.Errorf("it has %s of %s", n.Addr(), n.UID)
		}
		return nil
	})
	return n
}

// callN2 has agent 3 claim the name of agent 2.
func callN2(i int, cfg *daemon.Config) {
	if i == 3 {
		cfg.Name = "n2"
	}
}

// addCopy stops an agent, and adds one with a copy of its data folder.
func addCopy(t *testing.T, c *awatest.Cluster, of int) int {
	t.Helper()
	i := c.Add()
	c.Stop(of)
	if err := os.CopyFS(c.Dir(i), os.DirFS(c.Dir(of))); err != nil {
		t.Fatal(err)
	}
	return i
}

func TestRegister_ChangedAddress(t *testing.T) {
	c := awatest.New(t, 3)
	n := c.Nodes(0)["n2"]
	n.Labels = map[string]string{"rack": "7"}
	c.MustEdit(0, awatest.UpdateEdit(n))
	c.Stop(2)
	c.Move(2)
	c.Start(2)
	now := awaitAddr(t, c, "n2", c.UID(2), c.Addr(2))
	if now.ID != n.ID || now.Labels["rack"] != "7" {
		t.Errorf("the node became %+v", now)
	}
}

// A move takes as long as its old address must have been silent for the others.
func TestRegister_MoveWaits(t *testing.T) {
	takeOver := false
	c := awatest.New(t, 3, awatest.Configure(func(_ int, cfg *daemon.Config) {
		cfg.Timing.Move, cfg.Timing.Replace, cfg.TakeOver = time.Hour, time.Hour, takeOver
	}))
	old := c.Nodes(0)["n2"]
	c.Stop(2)
	c.Move(2)
	c.Start(2)
	awaitHealth(t, c, 2, awa.NotReached, old.Addr(), c.Addr(2), "1h0m0s")
	if n := c.Nodes(0)["n2"]; n.Addr() != old.Addr() {
		t.Errorf("it is at %s", n.Addr())
	}
	if self, err := c.Ping(2); err != nil || !slices.Contains(self.Health, awa.NotReached) {
		t.Errorf("it says %v of itself (%v)", self.Health, err)
	}
	if !strings.Contains(c.Summary(2), "NOT_REACHED") {
		t.Errorf("its summary is %s", c.Summary(2))
	}
	takeOver = true
	c.Stop(2)
	c.Start(2)
	awaitAddr(t, c, "n2", c.UID(2), c.Addr(2))
}

// A rebuilt server has another uid, and is at the address of its entry.
func TestRegister_TakesOverADeadName(t *testing.T) {
	c := awatest.New(t, 3)
	old := c.Nodes(0)["n2"]
	c.Kill(2)
	c.Wipe(2)
	c.Start(2)
	c.Wait("the new agent has the name", func() error {
		now := c.Nodes(0)["n2"]
		if now.UID == old.UID || now.UID != c.UID(2) {
			return fmt.Errorf("it belongs to %s", now.UID)
		}
		if now.ID != old.ID {
			t.Errorf("the node has become %d and was %d", now.ID, old.ID)
		}
		return nil
	})
	c.WaitVoters(3) // the old one's vote is gone, and the new one has got one
}

// A newcomer elsewhere waits until the holder of its name has been away for long.
func TestRegister_Newcomer(t *testing.T) {
	c := awatest.New(t, 3, awatest.Configure(func(i int, cfg *daemon.Config) {
		if i == 3 {
			cfg.Name = "N2"
		}
	}))
	i := c.Add()
	c.Start(i)
	for _, at := range []int{0, 2, i} {
		awaitHealth(t, c, at, awa.Duplicate, c.Addr(2), c.Addr(i))
	}
	if !c.Logged(i, "level=WARN", "DUPLICATE", c.Addr(2)) {
		t.Error("it has not logged that")
	}
	if n := c.Nodes(0)["n2"]; n.UID != c.UID(2) || n.Addr() != c.Addr(2) {
		t.Errorf("the name belongs to %+v", n)
	}
	c.Leave(2)
	c.Kill(2)
	awaitHealth(t, c, i, awa.Unlisted, c.Addr(2), "3s")
	awaitAddr(t, c, "N2", c.UID(i), c.Addr(i))
	awaitWell(t, c, 0)
}

// A newcomer that can't reach the holder of its name asks those that can.
func TestRegister_NewcomerCutOff(t *testing.T) {
	holder := ""
	c := awatest.New(t, 3, awatest.Configure(func(i int, cfg *daemon.Config) {
		if i != 3 {
			return
		}
		cfg.Name, cfg.Timing.Vacate = "n2", time.Nanosecond
		dial := cfg.Dial
		cfg.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if addr == holder {
				return nil, &net.OpError{Op: "dial", Err: syscall.EHOSTUNREACH}
			}
			return dial(ctx, network, addr)
		}
	}))
	i := c.Add()
	holder = c.Addr(2)
	c.Leave(i)
	c.Start(i)
	awaitHealth(t, c, i, awa.Duplicate, c.Addr(2), c.Addr(i))
	if n := c.Nodes(0)["n2"]; n.UID != c.UID(2) {
		t.Errorf("the name belongs to %+v", n)
	}
}

// A copy of a data folder waits, however often it is started, and does not vote. The true
// agent may be restarted meanwhile.
func TestRegister_CopyOfADataFolder(t *testing.T) {
	c := awatest.New(t, 3, awatest.Configure(func(i int, cfg *daemon.Config) {
		cfg.Timing.Move, cfg.Timing.Replace = time.Hour, time.Hour
		callN2(i, cfg)
	}))
	i := addCopy(t, c, 2)
	c.Start(2)
	waitJoined(t, c, 2)
	c.Leave(i)
	c.Start(i)
	for _, at := range []int{0, 1, 2, i} {
		awaitHealth(t, c, at, awa.Duplicate, c.Addr(2), c.Addr(i))
	}
	c.Stop(i)
	c.Start(i)
	c.Stop(2)
	c.Start(2)
	c.WaitVoters(3)
	for _, at := range []int{0, 1, 2, i} {
		awaitHealth(t, c, at, awa.Duplicate, c.Addr(2), c.Addr(i))
	}
	if n := c.Nodes(0)["n2"]; n.Addr() != c.Addr(2) {
		t.Errorf("the list has n2 at %s", n.Addr())
	}
	if !c.Logged(i, "level=ERROR", "does not vote") {
		t.Error("the copy votes")
	}
	c.MustEdit(2, awatest.CreateEdit("x"))
	c.Stop(i)
	awaitWell(t, c, 0)
}

// A copy that was started while the true agent was down gives way to it.
func TestRegister_CopyGivesWay(t *testing.T) {
	c := awatest.New(t, 3, awatest.Configure(func(i int, cfg *daemon.Config) {
		cfg.Timing.Move, cfg.Timing.Replace = time.Hour, time.Hour
		callN2(i, cfg)
	}))
	i := addCopy(t, c, 2)
	c.Leave(i)
	c.Start(i)
	waitJoined(t, c, i)
	c.Start(2)
	c.Wait("the copy does not vote", func() error {
		if !c.Logged(i, "level=ERROR", "does not vote") {
			return errors.New("it does")
		}
		return nil
	})
	for _, at := range []int{0, 2, i} {
		awaitHealth(t, c, at, awa.Duplicate, c.Addr(2), c.Addr(i))
	}
	c.WaitVoters(3)
	c.Stop(i)
	awaitWell(t, c, 0)
}

// A copy takes the entry as any agent that has moved does, once the true agent is gone
// for good, and then takes part again.
func TestRegister_CopyInherits(t *testing.T) {
	c := awatest.New(t, 3, awatest.Configure(callN2))
	i := addCopy(t, c, 2)
	c.Start(2)
	waitJoined(t, c, 2)
	c.Start(i)
	awaitHealth(t, c, i, awa.Duplicate, c.Addr(2), c.Addr(i))
	c.Leave(2)
	c.Kill(2)
	awaitAddr(t, c, "n2", c.UID(i), c.Addr(i))
	c.Wait("the copy may vote again", func() error {
		if !c.Logged(i, "no other agent uses the uid of this one") {
			return errors.New("it does not")
		}
		return nil
	})
	c.WaitVoters(3)
	awaitWell(t, c, i)
}

// An agent that was removed from the list comes back only when it is told to.
func TestRegister_AfterRemoval(t *testing.T) {
	rejoin := false
	c := awatest.New(t, 3, awatest.Configure(func(_ int, cfg *daemon.Config) { cfg.Rejoin = rejoin }))
	leader := c.Leader()
	name := c.Name(leader)
	old := c.Nodes(0)[name]
	remove := awatest.DeleteEdit(old.ID)
	remove.Data = []byte(fmt.Sprintf(`{"id":%d,"by":"root@web1"}`, old.ID))
	c.Leave(leader)
	c.MustEdit(leader, remove)
	c.Wait("another agent leads", func() error {
		if l := c.Leader(); l == leader {
			return errors.New("the removed one leads")
		}
		if v := c.Voters(); slices.Contains(v, leader) {
			return fmt.Errorf("the voters are %v", v)
		}
		return nil
	})
	other := (leader + 1) % 3
	for range 2 {
		awaitHealth(t, c, leader, awa.Unlisted, "removed from the list by root@web1", "--join")
		awaitHealth(t, c, other, awa.Unlisted, name, c.Addr(leader))
		c.Stop(leader)
		c.Start(leader)
	}
	if n, listed := c.Nodes(other)[name]; listed {
		t.Errorf("it is on the list as %+v", n)
	}
	c.Stop(leader)
	rejoin = true
	c.Return(leader)
	c.Start(leader)
	c.WaitAll(3)
	if now := c.Nodes(0)[name]; now.ID <= old.ID || now.UID != old.UID {
		t.Errorf("the node was %+v and is %+v", old, now)
	}
	c.WaitVoters(3)
	awaitWell(t, c, other)
}

// An agent that was removed takes up the node that is added for it.
func TestRegister_AddedAgain(t *testing.T) {
	c := awatest.New(t, 3)
	c.MustEdit(0, awatest.DeleteEdit(c.Nodes(0)["n2"].ID))
	awaitHealth(t, c, 2, awa.Unlisted, "removed from the list")
	e := awatest.CreateEdit("n2")
	host, port, _ := strings.Cut(c.Addr(2), ":")
	e.Data = []byte(fmt.Sprintf(`{"name":"n2","host":%q,"port":%q}`, host, port))
	c.MustEdit(0, e)
	c.WaitAll(3)
	if n := c.Nodes(0)["n2"]; n.UID != c.UID(2) {
		t.Errorf("the node is %+v", n)
	}
	awaitWell(t, c, 2)
}
