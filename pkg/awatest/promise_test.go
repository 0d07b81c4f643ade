package awatest_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/awatest"
	"are-we-alive/pkg/daemon"
)

// The promise of the lists, which every test's end asserts: all agents hold
// the same sequence, and every acknowledged edit is in it.

func TestPromise_AgentsComeAndGo(t *testing.T) {
	for n, rounds := range map[int]int{3: 3, 5: 2, 9: 1} {
		t.Run(fmt.Sprintf("%d agents", n), func(t *testing.T) {
			// The next agent goes as soon as the last one is back. A voter that was
			// replaced meanwhile would not have its vote back so soon.
			c := awatest.New(t, n, awatest.Configure(func(_ int, cfg *daemon.Config) {
				cfg.Timing.Replace = time.Minute
			}))
			w := c.Write(2)
			w.WaitProgress(20)
			for range rounds {
				leader := c.Leader()
				c.Kill(leader)
				w.WaitProgress(20)
				c.Start(leader)
				other := (leader + 1 + rand.N(n-1)) % n
				c.Stop(other)
				w.WaitProgress(20)
				c.Start(other)
			}
			w.WaitProgress(20)
			w.Stop()
		})
	}
}

func TestPromise_AllAgentsFallAtOnce(t *testing.T) {
	c := awatest.New(t, 3)
	all := []int{0, 1, 2}
	w := c.Write(3)
	for range 2 {
		w.WaitProgress(50)
		c.Kill(all...)
		c.Start(all...)
	}
	w.WaitProgress(50)
	w.Stop()
}

func TestPromise_Partition(t *testing.T) {
	for name, cut := range map[string]func(*awatest.Cluster, ...int){
		"connections are refused": (*awatest.Cluster).Cut,
		"connections hang":        (*awatest.Cluster).CutSilently,
	} {
		t.Run(name, func(t *testing.T) {
			c := awatest.New(t, 5, awatest.Configure(func(_ int, cfg *daemon.Config) {
				cfg.Timing.Patience = 2 * time.Second
			}))
			w := c.Write(1)
			w.WaitProgress(20)
			leader := c.Leader()
			few := []int{leader, (leader + 1) % 5}
			many := []int{(leader + 2) % 5, (leader + 3) % 5, (leader + 4) % 5}
			cut(c, few...)
			var all sync.WaitGroup
			for _, i := range few {
				all.Go(func() {
					err := refused(c, i)
					for _, j := range many {
						if !errors.Is(err, awa.ErrNoMajority) || !strings.Contains(err.Error(), c.Name(j)+" (") {
							t.Errorf("agent %d does not say that voter %s is missing: %v", i, c.Name(j), err)
						}
					}
				})
			}
			for _, i := range many {
				c.MustEdit(i, awatest.CreateEdit(fmt.Sprintf("many%d", i)))
			}
			all.Wait()
			c.Heal()
			w.Stop()
			for i := range c.Len() {
				c.MustEdit(i, awatest.CreateEdit(fmt.Sprintf("whole%d", i)))
			}
		})
	}
}

// refused has an agent that reaches no majority try edits until it says that
// one was not made. It may find itself leading still at first, and an edit
// that it began to spread then has an unknown outcome.
func refused(c *awatest.Cluster, i int) error {
	ctx, cancel := context.WithTimeout(context.Background(), awatest.Patience)
	defer cancel()
	for n := 0; ; n++ {
		_, _, err := c.Edit(ctx, i, awatest.CreateEdit(fmt.Sprintf("few%d-%d", i, n)))
		if err == nil {
			return errors.New("the edit was made")
		}
		if !awatest.Unknown(err) || ctx.Err() != nil {
			return err
		}
	}
}

func TestPromise_RepeatedEdit(t *testing.T) {
	c := awatest.New(t, 3)
	create := awatest.CreateEdit("x")
	id, n := c.MustEdit(0, create)
	update := awatest.UpdateEdit(n)
	updated, _ := c.MustEdit(1, update)
	gone := awatest.DeleteEdit(n.ID)
	deleted, _ := c.MustEdit(2, gone)
	leader := c.Leader()
	for range 2 { // first with the leader away, then with it as a follower
		if c.Up(leader) {
			c.Kill(leader)
		} else {
			c.Start(leader)
		}
		for _, i := range c.Running() {
			for _, e := range []struct {
				edit awa.Edit
				id   uint64
			}{{create, id}, {update, updated}, {gone, deleted}} {
				if again, _ := c.MustEdit(i, e.edit); again != e.id {
					t.Errorf("agent %d made change %d again, as %d", i, e.id, again)
				}
			}
		}
	}
}

func TestPromise_NameRace(t *testing.T) {
	c := awatest.New(t, 5)
	var all sync.WaitGroup
	var mu sync.Mutex
	won := 0
	for i := range 64 {
		all.Go(func() {
			name := []string{"Racer", "racer", "RACER"}[i%3]
			_, _, err := c.Insist(i%c.Len(), awatest.CreateEdit(name))
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				won++
			case !errors.Is(err, awa.ErrNameTaken) || !strings.Contains(err.Error(), name):
				t.Errorf("the refusal is %v", err)
			}
		})
	}
	all.Wait()
	if won != 1 {
		t.Errorf("%d edits gave a node the name", won)
	}
}

func TestPromise_NoUpdateIsLost(t *testing.T) {
	c := awatest.New(t, 3)
	_, n := c.MustEdit(0, awatest.CreateEdit("counter"))
	const writers, each = 6, 5
	var all sync.WaitGroup
	for i := range writers {
		all.Go(func() {
			for range each {
				if err := countUp(c, i%c.Len(), n.ID); err != nil {
					t.Errorf("agent %d: %v", i%c.Len(), err)
				}
			}
		})
	}
	all.Wait()
	c.WaitSame()
	if got := c.Nodes(0)["counter"].Labels["count"]; got != strconv.Itoa(writers*each) {
		t.Errorf("%d updates counted to %s", writers*each, got)
	}
}

// countUp reads a number, and writes the next one unless somebody else did.
func countUp(c *awatest.Cluster, at int, id uint64) error {
	for {
		changes, err := c.Changes(at)
		if err != nil {
			return err
		}
		l, err := awa.Replay(changes)
		if err != nil {
			return err
		}
		for _, n := range l.Nodes() {
			if n.ID != id {
				continue
			}
			count, _ := strconv.Atoi(n.Labels["count"])
			n.Labels = map[string]string{"count": strconv.Itoa(count + 1)}
			e := awatest.UpdateEdit(n)
			e.IfChanged = n.Changed
			if _, _, err = c.Insist(at, e); !errors.Is(err, awa.ErrConflict) {
				return err
			}
		}
	}
}

// The original's servers give their edits an id themselves and push them to
// every agent they know. Such an edit gets its id or is refused: if one agent
// took it and another edit got the id, the lists would differ for good.
func TestPromise_ClaimedIDs(t *testing.T) {
	c := awatest.New(t, 3)
	taken := map[uint64]awa.Change{}
	for round := range 10 {
		next := c.WaitSame()
		claims := make([]awa.Change, 3)
		errs := make([]error, len(claims))
		var all sync.WaitGroup
		for i := range claims {
			claims[i] = awa.Change{ID: uint64(len(next)) + 1, Action: awa.Create,
				Data: fmt.Sprintf(`{"name":"claim%d-%d","host":"127.0.0.1","port":1}`, round, i)}
			all.Go(func() { errs[i] = c.Client().Push(t.Context(), c.Addr(i), claims[i]) })
		}
		all.Go(func() { c.MustEdit(round%3, awatest.CreateEdit(fmt.Sprintf("edit%d", round))) })
		all.Wait()
		for i, claim := range claims {
			_, twice := taken[claim.ID]
			switch {
			case errs[i] == nil && twice:
				t.Errorf("change %d was taken from two servers", claim.ID)
			case errs[i] == nil:
				taken[claim.ID] = claim
			case !errors.Is(errs[i], awa.ErrConflict):
				t.Errorf("change %d at agent %d: %v", claim.ID, i, errs[i])
			}
		}
	}
	if len(taken) == 0 {
		t.Error("no change was taken from a server")
	}
	held := c.WaitSame()
	for id, claim := range taken {
		want, _, _, err := held[id-1].Node()
		if err != nil || !strings.Contains(claim.Data, `"`+want.Name+`"`) {
			t.Errorf("change %d makes %s, and %s was said to be it (%v)", id, want.Name, claim.Data, err)
		}
		for i := range 3 {
			if err := c.Client().Push(t.Context(), c.Addr(i), claim); err != nil {
				t.Errorf("change %d, pushed again to agent %d: %v", id, i, err)
			}
		}
	}
}
