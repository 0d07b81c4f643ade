package daemon_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/awatest"
	"are-we-alive/pkg/trust"
)

// steady asks all the time, and no request may fail.
type steady struct {
	edits, sweeps atomic.Int64
	stop          func()
}

func runSteady(t *testing.T, c *awatest.Cluster) *steady {
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	s := &steady{stop: sync.OnceFunc(func() { cancel(); all.Wait() })}
	t.Cleanup(s.stop)
	for i := range c.Len() {
		all.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				if err := s.edit(c, i, fmt.Sprintf("x%d-%d", i, n)); err != nil {
					t.Errorf("edit at agent %d: %v", i, err)
					return
				}
			}
		})
		all.Go(func() {
			for ctx.Err() == nil {
				if err := s.sweep(c, i); err != nil {
					t.Errorf("status of agent %d: %v", i, err)
					return
				}
			}
		})
	}
	return s
}

func (s *steady) edit(c *awatest.Cluster, i int, name string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	_, n, err := c.Edit(ctx, i, awatest.CreateEdit(name))
	if err == nil {
		_, _, err = c.Edit(ctx, i, awatest.DeleteEdit(n.ID))
	}
	s.edits.Add(2)
	return err
}

func (s *steady) sweep(c *awatest.Cluster, i int) error {
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	st, err := c.Client().ClusterStatus(ctx, c.Addr(i), false)
	if err != nil {
		return err
	}
	for _, n := range st.Nodes {
		if n.Node.UID != "" && n.Verdict != awa.Online {
			return fmt.Errorf("node %s is %s: %s: %s", n.Node.Name, n.Verdict, n.Stage, n.Error)
		}
	}
	s.sweeps.Add(1)
	return nil
}

// wait waits for some more of everything.
func (s *steady) wait(c *awatest.Cluster) {
	edits, sweeps := s.edits.Load(), s.sweeps.Load()
	c.Wait("more is asked", func() error {
		if e, w := s.edits.Load()-edits, s.sweeps.Load()-sweeps; e < 30 || w < 30 {
			return fmt.Errorf("%d edits and %d sweeps", e, w)
		}
		return nil
	})
}

func TestDaemon_Reload_rotation(t *testing.T) {
	old, key := trust.NewKey(), trust.NewKey()
	c := awatest.New(t, 3, awatest.WithKey(old))
	s := runSteady(t, c)
	s.wait(c)
	for _, step := range [][]trust.Key{{old, key}, {key, old}, {key}} {
		c.SetKeys(step...)
		s.wait(c)
	}
	s.stop()
	for i := range c.Len() {
		if c.Logged(i, "a client was not let in") {
			t.Errorf("agent %d let somebody not in", i)
		}
		if !c.Logged(i, "read the key file again", "keys_before=\""+key.ID()+" "+old.ID()+"\"", "keys="+key.ID()) {
			t.Errorf("agent %d does not tell of its keys", i)
		}
	}
	if voters := c.Voters(); len(voters) != 3 {
		t.Errorf("the voters are %v", voters)
	}
}
