package daemon_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/awatest"
	"are-we-alive/pkg/daemon"
	"are-we-alive/pkg/trust"
)

// see asks agent i for a live view of the cluster.
func see(t *testing.T, c *awatest.Cluster, i int) awa.ClusterStatus {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	st, err := c.Client().ClusterStatus(ctx, c.Addr(i), false)
	if err != nil {
		t.Fatalf("status of agent %d: %v", i, err)
	}
	return st
}

// nodeOf is what a status says of agent i.
func nodeOf(t *testing.T, c *awatest.Cluster, st awa.ClusterStatus, i int) awa.NodeStatus {
	t.Helper()
	at := slices.IndexFunc(st.Nodes, func(n awa.NodeStatus) bool { return n.Node.Name == c.Name(i) })
	if at < 0 {
		t.Fatalf("agent %d is not in the status", i)
	}
	return st.Nodes[at]
}

// A node that only one agent can't reach is not dead. A dead one is, whoever
// is asked. So it is with the longest time of a ping too, of which the others
// are given the most.
func TestTruth_unreachable(t *testing.T) {
	for _, timeout := range []time.Duration{time.Second, 10 * time.Second} {
		t.Run(timeout.String(), func(t *testing.T) { testUnreachable(t, timeout) })
	}
}

func testUnreachable(t *testing.T, timeout time.Duration) {
	var c *awatest.Cluster
	var open atomic.Bool // the way from agent 0 to agent 3
	c = awatest.New(t, 4, awatest.WithKey(trust.NewKey()), awatest.Idle(),
		awatest.Configure(func(i int, cfg *daemon.Config) {
			cfg.PingTimeout = timeout
			dial := cfg.Dial
			cfg.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
				if i == 0 && addr == c.Addr(3) && !open.Load() {
					return nil, &net.OpError{Op: "dial", Err: syscall.EHOSTUNREACH}
				}
				return dial(ctx, network, addr)
			}
		}))
	for i := range 4 {
		c.Start(i)
		c.Wait("it has a list", func() error {
			if self, err := c.Ping(i); err != nil || self.Cluster == "" {
				return fmt.Errorf("%+v, %v", self, err)
			}
			return nil
		})
	}
	c.WaitAll(4)
	st := see(t, c, 0)
	n := nodeOf(t, c, st, 3)
	if n.Verdict != awa.Unreachable || n.Asked != 2 || !slices.Equal(n.SeenBy, []string{"n1", "n2"}) ||
		n.Stage != awa.StageConnect || n.Error != "no route to host" {
		t.Errorf("%+v", n)
	}
	if n := nodeOf(t, c, st, 1); n.Verdict != awa.Online || st.Isolated {
		t.Errorf("%+v, isolated %v", n, st.Isolated)
	}
	if n := nodeOf(t, c, see(t, c, 1), 3); n.Verdict != awa.Online {
		t.Errorf("another agent's view: %+v", n)
	}
	c.Wait("the background sweeps of agent 0 have seen it too", func() error {
		view, err := c.Client().View(t.Context(), c.Addr(0))
		if err != nil || len(view.Nodes) != 1 || view.Nodes[0].Node.Name != c.Name(3) ||
			view.Nodes[0].Verdict != awa.Unreachable {
			return fmt.Errorf("view: %v, %+v", err, view)
		}
		return nil
	})
	opinions, err := c.Client().Probe(t.Context(), c.Addr(0), []uint64{1, n.Node.ID, 4711}, 0)
	if err != nil || len(opinions) != 2 || opinions[0].Verdict != awa.Online || opinions[1].Verdict != awa.Offline {
		t.Errorf("opinions: %v, %+v; an agent must ask nobody further", err, opinions)
	}

	c.Kill(3)
	for i := range 3 {
		if n := nodeOf(t, c, see(t, c, i), 3); n.Verdict != awa.Offline || n.Asked != 2 || len(n.SeenBy) != 0 {
			t.Errorf("a dead node, by agent %d: %+v", i, n)
		}
	}
	open.Store(true)
	c.Start(3)
	c.Wait("all are online again", func() error {
		for i := range 3 {
			if n := nodeOf(t, c, see(t, c, i), 3); n.Verdict != awa.Online {
				return fmt.Errorf("agent %d: %s", i, n.Verdict)
			}
		}
		return nil
	})
}

// A cut off agent says that the fault is likelier its own.
func TestTruth_isolated(t *testing.T) {
	c := awatest.New(t, 3)
	c.Cut(0)
	st := see(t, c, 0)
	if !st.Isolated || nodeOf(t, c, st, 1).Verdict != awa.Offline || nodeOf(t, c, st, 1).Asked != 0 ||
		nodeOf(t, c, st, 0).Verdict != awa.Online {
		t.Errorf("%+v", st)
	}
	if st := see(t, c, 1); st.Isolated || nodeOf(t, c, st, 0).Verdict != awa.Offline {
		t.Errorf("the other side: %+v", st)
	}
	c.Heal()
	if st := see(t, c, 0); st.Isolated || nodeOf(t, c, st, 1).Verdict != awa.Online {
		t.Errorf("healed: %+v", st)
	}
}

// Clocks that are wrong are told, and change nothing else.
func TestTruth_clock(t *testing.T) {
	const ahead = time.Hour
	c := awatest.New(t, 3, awatest.Configure(func(i int, cfg *daemon.Config) {
		if i == 1 {
			cfg.Clock = func() time.Time { return time.Now().Add(ahead) }
		}
	}))
	for i, want := range map[int]time.Duration{0: ahead, 1: 0, 2: ahead} {
		st := see(t, c, i)
		for j := range 3 {
			want := want
			if i == 1 && j != 1 {
				want = -ahead
			} else if j != 1 {
				want = 0
			}
			if n := nodeOf(t, c, st, j); n.Verdict != awa.Online || n.Behind != 0 || n.SkewError == 0 ||
				(n.Skew-want).Abs() > n.SkewError+time.Millisecond {
				t.Errorf("agent %d of agent %d: %s, behind %d, skew %s ± %s, want %s", i, j, n.Verdict, n.Behind, n.Skew,
					n.SkewError, want)
			}
		}
		for _, cached := range []bool{true, false} {
			st, err := c.Client().ClusterStatus(t.Context(), c.Addr(i), cached)
			if ago := time.Since(st.SweptAt); err != nil || ago < -2*ahead || ago > time.Minute {
				t.Errorf("cached %v: %v, swept %s ago", cached, err, ago)
			}
		}
	}
	c.MustEdit(1, awatest.CreateEdit("x"))
}

// Since when a node is as it is survives a restart of the agent that saw it.
func TestTruth_since(t *testing.T) {
	c := awatest.New(t, 3)
	c.Kill(2)
	c.Wait("agent 0 has seen it in the background", func() error {
		if !c.Logged(0, "node is offline", "node=n2") {
			return errors.New("not yet")
		}
		return nil
	})
	before := nodeOf(t, c, see(t, c, 0), 2)
	c.Stop(0)
	c.Start(0)
	c.Wait("it serves", func() error { _, err := c.Ping(0); return err })
	after := nodeOf(t, c, see(t, c, 0), 2)
	if before.Verdict != awa.Offline || after.Verdict != awa.Offline || !after.Since.Equal(before.Since) ||
		before.Since.IsZero() {
		t.Errorf("before the restart: %s since %s\nafter it: %s since %s", before.Verdict, before.Since, after.Verdict,
			after.Since)
	}
	c.Start(2)
	c.Wait("it is online", func() error {
		if n := nodeOf(t, c, see(t, c, 0), 2); n.Verdict != awa.Online || !n.Since.After(before.Since) {
			return fmt.Errorf("%s since %s", n.Verdict, n.Since)
		}
		return nil
	})
}

// A node without an agent is not taken for the leader when there is none.
func TestTruth_noLeader(t *testing.T) {
	c := awatest.New(t, 3, awatest.KeepVoters())
	c.MustEdit(0, awatest.CreateEdit("a-printer"))
	c.WaitSame()
	c.Kill(1, 2)
	c.Wait("no leader is named", func() error {
		if st := see(t, c, 0); st.Leader != "" {
			return fmt.Errorf("the leader is %q", st.Leader)
		}
		return nil
	})
	c.Start(1, 2)
}

// A node that has left the list is not told of any more, though the last sweep saw it.
func TestTruth_removed(t *testing.T) {
	c := awatest.New(t, 1, awatest.Configure(func(_ int, cfg *daemon.Config) { cfg.Watch = time.Hour }))
	_, gone := c.MustEdit(0, awatest.CreateEdit("gone"))
	c.MustEdit(0, awatest.CreateEdit("stays"))
	c.Stop(0)
	c.Start(0) // it sweeps at once, and not again
	names := func() (all []string) {
		st, err := c.Client().ClusterStatus(t.Context(), c.Addr(0), true)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range st.Nodes {
			all = append(all, n.Node.Name)
		}
		return all
	}
	c.Wait("the first sweep is over", func() error {
		if all := names(); !slices.Equal(all, []string{"n0", "gone", "stays"}) {
			return fmt.Errorf("it shows %v", all)
		}
		return nil
	})
	c.MustEdit(0, awa.Edit{Action: awa.Delete, Data: fmt.Appendf(nil, `{"id":%d}`, gone.ID)})
	if all := names(); !slices.Equal(all, []string{"n0", "stays"}) {
		t.Errorf("it shows %v", all)
	}
}
