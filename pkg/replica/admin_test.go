package replica_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/awatest"
	"are-we-alive/pkg/daemon"
)

// What administrators do to servers: they reinstall, roll back, and clone them.
// In the end, and that is asserted for every cluster of awatest, the list can be
// edited and all agents hold the same one.

// create has an agent add a node.
func create(c *awatest.Cluster, i int, name string) (uint64, awa.Node) {
	return c.MustEdit(i, awatest.CreateEdit(name))
}

// waitFollows waits until an agent follows another list, and all lists are the
// same.
func waitFollows(c *awatest.Cluster, i int) {
	c.Wait(fmt.Sprintf("agent %d follows another list", i), func() error {
		if !c.Logged(i, "this agent follows another list now") {
			return errors.New("it does not say so")
		}
		return nil
	})
	c.WaitSame()
}

// names are those of the nodes on an agent's list.
func names(c *awatest.Cluster, i int) []string {
	var all []string
	for name := range c.Nodes(i) {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

// conditions are the health codes that an agent tells, each with its agent.
func conditions(t *testing.T, c *awatest.Cluster, i int) (codes []string) {
	t.Helper()
	s, err := status(c, i)
	if err != nil {
		t.Fatal(err)
	}
	for _, condition := range s.Health {
		if condition.Code.Quiet() {
			continue
		}
		codes = append(codes, strings.TrimSpace(string(condition.Code)+" "+condition.Agent))
	}
	return codes
}

func status(c *awatest.Cluster, i int) (awa.ClusterStatus, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return c.Client().ClusterStatus(ctx, c.Addr(i), false)
}

// setAside are the keys of the edits that an agent has set aside, in files
// that say why.
func setAside(t *testing.T, c *awatest.Cluster, i int) (keys []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(c.Dir(i), "set-aside-*.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var held struct {
			Why     string
			Changes []struct{ Key, Data string }
		}
		if err := json.Unmarshal(b, &held); err != nil || held.Why == "" || len(held.Changes) == 0 {
			t.Errorf("%s: %v\n%s", file, err, b)
		}
		for _, change := range held.Changes {
			var data struct{ Name string }
			if err := json.Unmarshal([]byte(change.Data), &data); err != nil {
				t.Error(err)
			}
			keys = append(keys, data.Name)
		}
	}
	return keys
}

// copyOf restarts an agent, and copies its data folder in between.
func copyOf(c *awatest.Cluster, i int) (copied string) {
	c.Stop(i)
	copied = c.Keep(i)
	c.Start(i)
	return copied
}

// twoAndCopy makes two agents whose list holds f1 and f2, and a copy of the only
// voter's data folder that lacks them.
func twoAndCopy(t *testing.T) (c *awatest.Cluster, old string) {
	c = awatest.New(t, 2)
	c.WaitSame()
	old = copyOf(c, 0)
	create(c, 0, "f1")
	create(c, 1, "f2")
	c.WaitSame()
	return c, old
}

// threeRolledBack makes three voters, all down: newest holds three acknowledged
// edits, late was down when they were made, and rolled, which had them too, was
// put back to before.
func threeRolledBack(t *testing.T) (c *awatest.Cluster, rolled, newest, late int) {
	c = awatest.New(t, 3, awatest.KeepVoters())
	c.WaitSame()
	rolled = c.Leader()
	newest, late = (rolled+1)%3, (rolled+2)%3
	old := copyOf(c, rolled)
	c.WaitSame()
	c.Kill(late)
	for i := range 3 {
		create(c, newest, fmt.Sprint("acked", i))
	}
	c.Kill(rolled, newest)
	c.PutBack(rolled, old)
	return c, rolled, newest, late
}

// The only voter is put back to an older copy, and a follower is ahead: it
// takes over what it lacks before it assigns an id a second time.
func TestRollBack_OnlyVoter(t *testing.T) {
	c, old := twoAndCopy(t)
	c.Kill(0)
	c.PutBack(0, old)
	c.Start(0)
	id, node := create(c, 0, "g1")
	if node.Name != "g1" || id != 5 {
		t.Errorf("the edit is answered as change %d of %+v", id, node)
	}
	c.WaitSame() // and all acknowledged edits are in it, as the end of every test asserts
}

// The same while the follower is down, and an edit is made: the only voter is
// the majority, and what the follower alone holds is set aside.
func TestRollBack_OnlyVoterEdits(t *testing.T) {
	c, old := twoAndCopy(t)
	c.Kill(0, 1)
	c.PutBack(0, old)
	c.Forget() // f1 and f2 are in the file alone
	c.Start(0)
	create(c, 0, "g1")
	c.Start(1)
	waitFollows(c, 1)
	if got := setAside(t, c, 1); !slices.Equal(got, []string{"f1", "f2"}) {
		t.Errorf("set aside were %v", got)
	}
	c.Wait("nothing is wrong any more", func() error {
		if got := conditions(t, c, 0); len(got) > 0 {
			return fmt.Errorf("there are the conditions %v", got)
		}
		return nil
	})
	if !slices.Contains(names(c, 1), "g1") || slices.Contains(names(c, 1), "f1") {
		t.Errorf("the list holds %v", names(c, 1))
	}
}

// One of three voters is put back while the one with the newest edits is down:
// with the third, which has missed them, it makes a majority that knows nothing
// of them. The one that returns sets them aside.
func TestRollBack_OneOfThree(t *testing.T) {
	c, rolled, newest, late := threeRolledBack(t)
	c.Forget()
	c.Start(rolled, late)
	create(c, rolled, "after")
	for i := range 5 {
		create(c, late, fmt.Sprint("more", i))
	}
	c.Start(newest)
	waitFollows(c, newest)
	got := setAside(t, c, newest)
	for i := range 3 {
		if !slices.Contains(got, fmt.Sprint("acked", i)) {
			t.Errorf("set aside were %v", got)
		}
	}
}

// The same while the one with the newest edits is up: it leads, since the one
// that was put back asks before it votes.
func TestRollBack_AsksBeforeItVotes(t *testing.T) {
	c, rolled, newest, late := threeRolledBack(t)
	c.Start(late, rolled, newest)
	create(c, late, "after")
	if got := names(c, late); !slices.Contains(got, "acked0") || !slices.Contains(got, "acked2") {
		t.Errorf("the list holds %v", got)
	}
}

// A leader that is put back while the others run.
func TestRollBack_Leader(t *testing.T) {
	c := awatest.New(t, 3)
	c.WaitSame()
	lead := c.Leader()
	old := copyOf(c, lead)
	create(c, lead, "f1")
	c.WaitSame()
	c.Kill(lead)
	c.PutBack(lead, old)
	c.Start(lead)
	create(c, lead, "f2")
	if !slices.Contains(names(c, lead), "f1") {
		t.Errorf("the list holds %v", names(c, lead))
	}
}

// A founder that lost its disk, and whose configuration still tells it to begin
// a cluster, joins the one that it had begun.
func TestFounder_DiskLost(t *testing.T) {
	c := awatest.New(t, 3)
	create(c, 1, "f1")
	before, err := c.Ping(1)
	if err != nil {
		t.Fatal(err)
	}
	c.Kill(0)
	c.Wipe(0)
	c.Start(0)
	began := time.Now()
	c.Wait("the founder is back in its cluster", func() error {
		self, err := c.Ping(0)
		if err == nil && self.Cluster != before.Cluster {
			err = errors.New("it belongs to another one")
		}
		return err
	})
	c.WaitAll(3)
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %s", took)
	}
	create(c, 0, "f2")
	if got := setAside(t, c, 0); len(got) > 0 {
		t.Errorf("set aside were %v", got)
	}
	// Its old uid is off the list, and the new one votes.
	c.WaitVoters(3)
}

// Two clusters of which both hold more than their founder never mix, and both
// say so.
func TestFounder_ListHoldsMore(t *testing.T) {
	c := awatest.New(t, 3)
	c.Kill(0)
	c.Wipe(0)
	c.Cut(0)
	c.Start(0)
	c.Wait("it has begun a cluster", func() error {
		self, err := c.Ping(0)
		if err == nil && self.State == 0 {
			err = errors.New("it has not")
		}
		return err
	})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	edit := awatest.CreateEdit("other")
	edit.Key = "k"
	if _, _, err := c.Client().Edit(ctx, c.Addr(0), edit, 0); err != nil {
		t.Fatal(err)
	}
	c.Heal()
	c.Wait("it says that another cluster calls it", func() error {
		if got := conditions(t, c, 0); len(got) == 0 || got[0] != string(awa.OtherCluster) {
			return fmt.Errorf("it tells of %v", got)
		}
		return nil
	})
	c.Wait("the others say so too", func() error {
		s, err := status(c, 1)
		for _, n := range s.Nodes { // in the order in which they registered
			if n.Node.Name == c.Name(0) && n.Verdict != awa.Mismatch {
				err = fmt.Errorf("they see it as %s", n.Verdict)
			}
		}
		return err
	})
	c.Kill(0)
	c.Wipe(0)
	c.Start(0)
	c.WaitAll(3)
}

// One server after the other is reinstalled, each as soon as all are seen to be
// online: the list can be edited at any moment.
func TestReinstall_OneAfterTheOther(t *testing.T) {
	for name, replaced := range map[string]time.Duration{
		"soon":                           time.Minute,
		"when its vote is gone for long": awatest.Timing.Replace,
	} {
		t.Run(name, func(t *testing.T) { reinstallAll(t, replaced) })
	}
}

func reinstallAll(t *testing.T, replaced time.Duration) {
	var addrs []string // of all, once the cluster has begun
	c := awatest.New(t, 3, awatest.Configure(func(i int, cfg *daemon.Config) {
		cfg.Timing.Replace = replaced
		if cfg.First && len(addrs) > 0 {
			cfg.First, cfg.Join = false, addrs[1:]
		}
	}))
	addrs = []string{c.Addr(0), c.Addr(1), c.Addr(2)}
	for i := range 3 {
		asked := (i + 1) % 3
		c.Kill(i)
		c.Wipe(i)
		create(c, asked, fmt.Sprint("down", i))
		if replaced < time.Minute {
			c.WaitVoters(1)
		}
		c.Start(i)
		c.Wait("all are online", func() error {
			s, err := status(c, asked)
			if err != nil {
				return err
			}
			online := 0
			for _, n := range s.Nodes {
				if n.Verdict == awa.Online && n.Node.UID != "" {
					online++
				}
			}
			if self, err := c.Ping(i); err != nil || online != 3 || !slices.ContainsFunc(s.Nodes,
				func(n awa.NodeStatus) bool { return n.Node.UID == self.UID }) {
				return fmt.Errorf("%d agents are online (%v)", online, err)
			}
			return nil
		})
	}
	create(c, 0, "at-the-end")
	c.WaitVoters(3)
}

// What Raft needs is lost or damaged beside a list that is whole.
func TestRepair(t *testing.T) {
	raftOf := func(c *awatest.Cluster, i int) string { return filepath.Join(c.Dir(i), "raft") }
	for name, spoil := range map[string]func(t *testing.T, folder string){
		"the folder is missing": func(t *testing.T, folder string) {
			if err := os.RemoveAll(folder); err != nil {
				t.Fatal(err)
			}
		},
		"a bit is flipped": func(t *testing.T, folder string) {
			files, err := filepath.Glob(filepath.Join(folder, "snapshots", "*", "state.bin"))
			if err != nil || len(files) == 0 {
				t.Fatalf("there are the snapshots %v (%v)", files, err)
			}
			for _, file := range files {
				b, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				b[len(b)/2] ^= 4
				if err := os.WriteFile(file, b, 0o600); err != nil {
					t.Fatal(err)
				}
			}
		},
		"the description is cut off": func(t *testing.T, folder string) {
			files, err := filepath.Glob(filepath.Join(folder, "snapshots", "*", "meta.json"))
			if err != nil || len(files) == 0 {
				t.Fatalf("there are the snapshots %v (%v)", files, err)
			}
			for _, file := range files {
				if err := os.Truncate(file, 10); err != nil {
					t.Fatal(err)
				}
			}
		},
	} {
		t.Run(name+", of the only voter", func(t *testing.T) {
			c := awatest.New(t, 2)
			create(c, 0, "before")
			c.WaitSame()
			c.Stop(0)
			spoil(t, raftOf(c, 0))
			c.Start(0)
			create(c, 1, "after")
			if !c.Logged(0, "level=ERROR", "creates it again from the list", raftOf(c, 0)) {
				t.Error("it is not logged")
			}
		})
		t.Run(name+", of one of three", func(t *testing.T) {
			c := awatest.New(t, 3, awatest.KeepVoters())
			create(c, 0, "before")
			c.WaitSame()
			spoiled := (c.Leader() + 1) % 3
			c.Kill(spoiled)
			create(c, c.Leader(), "meanwhile")
			c.Stop(c.Running()...) // or it would still be stopping
			spoil(t, raftOf(c, spoiled))
			c.Start(0, 1, 2)
			create(c, spoiled, "after")
			c.WaitVoters(3)
			if !c.Logged(spoiled, "level=ERROR", "gets it again from the leader", raftOf(c, spoiled)) {
				t.Error("it is not logged")
			}
			// It votes: with another one it is the majority.
			c.Wait("its log is level", func() error {
				self, err := c.Ping(spoiled)
				if err == nil && self.LogIndex == 0 {
					err = errors.New("it has no log")
				}
				return err
			})
			c.Kill((spoiled + 1) % 3)
			create(c, spoiled, "with-its-vote")
		})
	}
}
