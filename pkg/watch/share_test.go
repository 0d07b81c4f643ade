package watch_test

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/watch"
)

// sharing is a network of a long list, all of whose agents say that they see every node.
type sharing struct {
	*network
	list  []awa.Node
	share awa.WatchShare // of the observer
}

func newSharing(n int) *sharing {
	s := &sharing{list: nodes(n), share: awa.WatchShareOf(observer.UID, n)}
	s.network = newNetwork(s.list)
	for _, node := range s.list {
		s.says(node)
	}
	return s
}

// says has a node's agent say that it does not see some nodes.
func (s *sharing) says(node awa.Node, missed ...uint64) {
	self := selfOf(node)
	self.Sees = append([]uint64{}, missed...)
	s.answerAs(node, self)
}

// missedBy has each of the agents that watch a node miss it, as far as f wants.
func (s *sharing) missedBy(node awa.Node, f func(awa.Node) bool) {
	for _, n := range s.list {
		if awa.WatchShareOf(n.UID, len(s.list)).Has(node.ID) && f(n) {
			self := s.selfs[n.Addr()]
			self.Sees = append(slices.Clone(self.Sees), node.ID)
			slices.Sort(self.Sees)
			s.answerAs(n, self)
		}
	}
}

// outside returns nodes that the observer leaves to others.
func (s *sharing) outside() []awa.Node {
	return slices.DeleteFunc(slices.Clone(s.list), func(n awa.Node) bool { return s.share.Has(n.ID) })
}

// sweeps runs n background sweeps, and returns what the last one saw and how many pings it made.
func (s *sharing) sweeps(t *testing.T, n int, change ...func(*watch.Config)) (l watch.Result, pings int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	change = append(change, func(c *watch.Config) {
		c.Swept = func(result watch.Result) {
			if n--; n == 0 {
				l, pings = result, s.pings()
				cancel()
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			clear(s.attempts)
		}
	})
	if err := newWatcher(s.network, s.list, change...).Run(ctx); err != nil {
		t.Error(err)
	}
	return l, pings
}

// statusOf returns what a sweep saw of a node.
func statusOf(t *testing.T, l watch.Result, n awa.Node) awa.NodeStatus {
	t.Helper()
	i := slices.IndexFunc(l.Nodes, func(st awa.NodeStatus) bool { return st.Node.ID == n.ID })
	if i < 0 {
		t.Fatalf("nothing is known of %s", n.Name)
	}
	return l.Nodes[i]
}

func everybody(awa.Node) bool { return true }

// Every node of a long list is pinged by this agent or told by one that it pinged.
func TestWatcher_Run_share(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSharing(2000)
		l, pings := s.sweeps(t, 2)
		if len(l.Nodes) != 2000 || online(l.Nodes) != 2000 || pings != l.Pinged || pings < 200 || pings > 300 {
			t.Fatalf("%d nodes, %d online, %d pings, %d nodes pinged", len(l.Nodes), online(l.Nodes), pings, l.Pinged)
		}
		for _, st := range l.Nodes {
			if mine := s.share.Has(st.Node.ID); mine != (st.Told == 0) || mine != (st.Self != nil) || st.Since.IsZero() {
				t.Fatalf("in the share: %v: %+v", mine, st)
			}
		}
	})
}

// Right after a start little is known: the next sweep comes no later for it.
func TestWatcher_Run_share_begins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSharing(2000)
		for i, n := range s.list {
			if i%100 != 0 { // it has not swept yet itself
				s.answerAs(n, selfOf(n))
			}
		}
		l, pings := s.sweeps(t, 1)
		if len(l.Nodes) == 2000 || pings != l.Pinged || pings > 400 {
			t.Errorf("%d nodes are known, %d pings, %d nodes pinged", len(l.Nodes), pings, l.Pinged)
		}
	})
}

// A node that nobody looks at is not kept waiting by hundreds that are known to be away.
func TestWatcher_Run_share_unwatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSharing(2000)
		outside := s.outside()
		last := outside[len(outside)-1]
		for _, n := range outside[:800] {
			s.set(n, blackHole)
			s.missedBy(n, everybody)
		}
		for _, n := range s.list { // those that look at it have not swept yet themselves
			if awa.WatchShareOf(n.UID, len(s.list)).Has(last.ID) {
				s.answerAs(n, selfOf(n))
			}
		}
		l, _ := s.sweeps(t, 2)
		if st := statusOf(t, l, last); st.Verdict != awa.Online || st.Told != 0 {
			t.Errorf("after two sweeps it is %+v", st)
		}
	})
}

// What one other agent says of a node leads to a ping in the same sweep, and to nothing else.
func TestWatcher_Run_share_rumor(t *testing.T) {
	for name, test := range map[string]struct {
		reply reply
		want  awa.Verdict
	}{"true": {blackHole, awa.Offline}, "false": {answers, awa.Online}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSharing(1000)
				of := s.outside()[0]
				s.set(of, test.reply)
				told := false
				s.missedBy(of, func(n awa.Node) bool {
					first := !told && s.share.Has(n.ID)
					told = told || first
					return first
				})
				l, _ := s.sweeps(t, 1)
				if st := statusOf(t, l, of); st.Verdict != test.want || st.Told != 0 {
					t.Errorf("%+v", st)
				}
			})
		})
	}
}

// A health code of a node is known to all agents: those that watch it report it.
func TestWatcher_Run_share_ailing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSharing(1000)
		of := s.outside()[0]
		ill := selfOf(of)
		ill.Sees, ill.Health = []uint64{}, []awa.HealthCode{awa.DiskFull}
		s.answerAs(of, ill)
		for _, n := range s.list {
			if awa.WatchShareOf(n.UID, len(s.list)).Has(of.ID) && n.ID != of.ID {
				self := selfOf(n)
				self.Sees, self.Ailing = []uint64{}, []uint64{of.ID}
				s.answerAs(n, self)
			}
		}
		l, _ := s.sweeps(t, 1)
		if st := statusOf(t, l, of); st.Self == nil || len(st.Self.Health) != 1 {
			t.Errorf("%+v", st)
		}
	})
}

// A node that came back is online as soon as this agent, which pings it since it was away,
// gets an answer.
func TestWatcher_Run_share_back(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSharing(1000)
		of := s.outside()[0]
		s.set(of, refuses)
		s.missedBy(of, everybody)
		var heard atomic.Int64
		l, _ := s.sweeps(t, 2, func(c *watch.Config) {
			c.Heard = func(awa.Node, awa.Self) {
				if heard.Add(1) == 500 { // in the second sweep
					s.set(of, answers)
				}
			}
		})
		if st := statusOf(t, l, of); st.Verdict != awa.Online || st.Self == nil {
			t.Errorf("%+v", st)
		}
	})
}

// When more nodes are missed than an agent may ping, it asks more agents, and takes a node
// for dead that all of those miss which look at it.
func TestWatcher_Run_share_many(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSharing(2000)
		all := s.outside()
		dead, doubted, lied := all[:600], all[600], all[601]
		for _, n := range dead {
			s.set(n, blackHole)
			s.missedBy(n, everybody)
		}
		half := false
		s.missedBy(doubted, func(n awa.Node) bool {
			half = !half
			return half
		})
		// The only one that looks at a node, as far as this agent asks, misses it.
		liar := s.list[slices.IndexFunc(s.list, func(n awa.Node) bool { return s.share.Has(n.ID) })]
		for _, n := range s.list {
			self := s.selfs[n.Addr()]
			switch {
			case n.ID == liar.ID:
				self.Sees = append(slices.Clone(self.Sees), lied.ID)
			case awa.WatchShareOf(n.UID, len(s.list)).Has(lied.ID):
				self.Sees = nil
			}
			s.answerAs(n, self)
		}
		l, pings := s.sweeps(t, 1)
		if pings > 250+125+60 {
			t.Errorf("%d pings", pings)
		}
		known := 0
		for _, n := range dead {
			if st := statusOf(t, l, n); st.Verdict == awa.Offline && st.Told > 0 {
				known++
			}
		}
		if known < 599 {
			t.Errorf("%d of %d are known to be dead", known, len(dead))
		}
		for _, st := range l.Nodes {
			if (st.Node.ID == doubted.ID || st.Node.ID == lied.ID) && st.Verdict != awa.Online {
				t.Errorf("of %s others disagree, or one alone misses it: %+v", st.Node.Name, st)
			}
		}
	})
}

// A node that the others do not know yet is pinged by each agent that does.
func TestWatcher_Run_share_new(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSharing(1000)
		added := s.outside()[0]
		i := int(added.ID - 1)
		s.list[i].Changed = 13 // the others are at 12
		s.set(added, refuses)
		l, _ := s.sweeps(t, 1)
		if st := statusOf(t, l, added); st.Verdict != awa.Offline || st.Told != 0 {
			t.Errorf("%+v", st)
		}
	})
}

// Agents on which edits depend are pinged by all.
func TestWatcher_Run_share_always(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSharing(1000)
		voter := s.outside()[0]
		l, _ := s.sweeps(t, 1, func(c *watch.Config) { c.Always = func() []string { return []string{voter.UID} } })
		if st := statusOf(t, l, voter); st.Self == nil {
			t.Errorf("%+v", st)
		}
	})
}

// An agent that has not looked yet, or is of another history, tells nothing.
func TestWatcher_Run_share_silent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSharing(400)
		for i, n := range s.list {
			self := selfOf(n)
			if i%2 == 0 {
				self.Sees = []uint64{}
				self.History.Epoch = 1
			}
			s.answerAs(n, self)
		}
		l, pings := s.sweeps(t, 1)
		for _, st := range l.Nodes {
			if st.Told > 0 {
				t.Fatalf("%+v", st)
			}
		}
		if len(l.Nodes) != pings {
			t.Errorf("%d nodes, %d pings", len(l.Nodes), pings)
		}
	})
}

// How long a sweep of a share takes when some of it is dead: twice the time of a ping, and
// the opinions of others.
func TestWatcher_Run_share_time(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSharing(1000)
		for _, n := range s.list[:100] {
			s.set(n, blackHole)
		}
		l, _ := s.sweeps(t, 2)
		if l.Took > 2200*time.Millisecond {
			t.Errorf("it took %v", l.Took)
		}
	})
}

// No node is pinged twice in a sweep, be it in the share and away, and missed by others.
func TestWatcher_Run_share_once(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSharing(400)
		for _, n := range s.list[:50] {
			s.set(n, refuses)
			s.missedBy(n, everybody)
		}
		if l, pings := s.sweeps(t, 2); pings != l.Pinged {
			t.Errorf("%d pings of %d nodes", pings, l.Pinged)
		}
	})
}

// A node that is away, and that a sweep does not ping, keeps its reason.
func TestWatcher_Run_share_kept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSharing(700)
		for _, n := range s.list {
			s.set(n, refuses)
		}
		l, pings := s.sweeps(t, 6)
		if len(l.Nodes) != len(s.list) || pings >= len(l.Nodes) {
			t.Errorf("%d nodes are known, %d pinged", len(l.Nodes), pings)
		}
		for _, st := range l.Nodes {
			if st.Verdict != awa.Offline || st.Error != errRefused.Error() || st.Stage != awa.StageConnect || st.Since.IsZero() {
				t.Fatalf("%+v", st)
			}
		}
	})
}
