package watch_test

import (
	"testing"
	"testing/synctest"
	"time"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/watch"
)

// The skew is that of the clocks at the middle of the exchange.
func TestWatcher_Sweep_skew(t *testing.T) {
	for name, c := range map[string]struct {
		ours, theirs time.Duration // ahead of the true time
		rtt          time.Duration
		want, most   time.Duration
	}{
		"both right":         {0, 0, 0, 500 * time.Microsecond, 500 * time.Microsecond},
		"a slow exchange":    {0, 0, 100 * ms, 500*time.Microsecond - 50*ms, 50*ms + 500*time.Microsecond},
		"an hour ahead":      {0, time.Hour, 20 * ms, time.Hour - 10*ms + 500*time.Microsecond, 10*ms + 500*time.Microsecond},
		"an hour behind":     {0, -time.Hour, 0, -time.Hour + 500*time.Microsecond, 500 * time.Microsecond},
		"ours an hour ahead": {time.Hour, 0, 0, -time.Hour + 500*time.Microsecond, 500 * time.Microsecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				list := nodes(2)
				net := newNetwork(list)
				self := selfOf(list[1])
				self.TimeMS = time.Now().Add(c.theirs).UnixMilli() // it reads its clock when the question comes
				net.answerAs(list[1], self)
				net.set(list[1], answers.in(c.rtt))
				w := newWatcher(net, list, func(cfg *watch.Config) { cfg.Clock = func() time.Time { return time.Now().Add(c.ours) } })
				all := w.Sweep(t.Context())
				if st := all[1]; st.Skew != c.want || st.SkewError != c.most {
					t.Errorf("skew %s ± %s, want %s ± %s", st.Skew, st.SkewError, c.want, c.most)
				}
				if truth := c.theirs - c.ours; (all[1].Skew - truth).Abs() > all[1].SkewError {
					t.Errorf("skew %s ± %s, and in truth it is %s", all[1].Skew, all[1].SkewError, truth)
				}
				if st := all[0]; st.Skew != 0 || st.SkewError != 0 {
					t.Errorf("of a node that does not tell: %s ± %s", st.Skew, st.SkewError)
				}
			})
		})
	}
}

func TestWatcher_Sweep_behind(t *testing.T) {
	list := nodes(5)
	net := newNetwork(list)
	for i, state := range []uint64{12, 9, 15, 3} {
		self := selfOf(list[i])
		if self.State = state; i == 3 {
			self.History = awa.History{Epoch: 2, ID: "aa"}
		}
		net.answerAs(list[i], self)
	}
	net.set(list[4], refuses)
	want := []uint64{0, 3, 0, 0, 0} // what n3 alone says is not believed; n4 has another history
	for i, st := range newWatcher(net, list).Sweep(t.Context()) {
		if st.Behind != want[i] {
			t.Errorf("%s is behind by %d, want %d", st.Node.Name, st.Behind, want[i])
		}
	}
}

// What is believed of the states that agents tell.
func TestWatcher_Sweep_newest(t *testing.T) {
	const absurd = uint64(awa.MaxNumber)
	for name, c := range map[string]struct {
		ours   uint64
		others []uint64
		behind []uint64 // of ours, then of the others
	}{
		"alone":                        {5, nil, []uint64{0}},
		"all alike":                    {5, []uint64{5, 5}, []uint64{0, 0, 0}},
		"another is behind":            {5, []uint64{5, 2}, []uint64{0, 0, 3}},
		"only our own list is newer":   {9, []uint64{5, 5, 5}, []uint64{0, 4, 4, 4}},
		"ours is behind two others":    {5, []uint64{8, 8}, []uint64{3, 0, 0}},
		"two others, one newer still":  {5, []uint64{8, 9}, []uint64{3, 0, 0}},
		"one of two others is absurd":  {5, []uint64{5, absurd}, []uint64{0, 0, 0}},
		"one of three is absurd":       {5, []uint64{5, 4, absurd}, []uint64{0, 0, 1, 0}},
		"ours is behind the only one":  {5, []uint64{8}, []uint64{3, 0}},
		"the only other is absurd":     {5, []uint64{absurd}, []uint64{0, 0}},
		"the only other at the bound":  {5, []uint64{5 + watch.MaxLead}, []uint64{watch.MaxLead, 0}},
		"the only other is beyond it":  {5, []uint64{6 + watch.MaxLead}, []uint64{0, 0}},
		"the only other, we are ahead": {8, []uint64{5}, []uint64{0, 3}},
	} {
		t.Run(name, func(t *testing.T) {
			list := nodes(1 + len(c.others))
			net := newNetwork(list)
			self := selfOf(list[0])
			self.State = c.ours
			net.answerAs(list[0], self)
			for i, state := range c.others {
				other := selfOf(list[i+1])
				other.State = state
				net.answerAs(list[i+1], other)
			}
			w := newWatcher(net, list, func(cfg *watch.Config) { cfg.Self = func() awa.Self { return self } })
			for i, st := range w.Sweep(t.Context()) {
				if st.Verdict != awa.Online || st.Behind != c.behind[i] {
					t.Errorf("%s is %s and behind by %d, want %d", st.Node.Name, st.Verdict, st.Behind, c.behind[i])
				}
			}
		})
	}
	t.Run("one agent listed twice has one voice", func(t *testing.T) {
		list := nodes(3)
		list[1].UID, list[2].UID = "", ""
		list[2].Name = "N2"
		net := newNetwork(list)
		self := selfOf(list[0])
		self.State = 5
		net.answerAs(list[0], self)
		liar := awa.Self{Name: "n2", UID: "u", Cluster: self.Cluster, History: self.History, State: absurd}
		net.answerAs(list[1], liar)
		net.answerAs(list[2], liar)
		w := newWatcher(net, list, func(cfg *watch.Config) { cfg.Self = func() awa.Self { return self } })
		if st := w.Sweep(t.Context())[0]; st.Behind != 0 {
			t.Errorf("behind by %d", st.Behind)
		}
	})
}

func TestWatcher_isolated(t *testing.T) {
	for name, c := range map[string]struct {
		nodes int
		dead  []int
		want  bool
	}{
		"alone on the list":     {1, nil, false},
		"alone, not even we":    {1, []int{0}, false},
		"all answer":            {3, nil, false},
		"one other answers":     {3, []int{1}, false},
		"no other answers":      {3, []int{1, 2}, true},
		"nobody, not even we":   {3, []int{0, 1, 2}, true},
		"we ourselves don't":    {3, []int{0}, false},
		"one other, it is dead": {2, []int{1}, true},
	} {
		t.Run(name, func(t *testing.T) {
			list := nodes(c.nodes)
			net := newNetwork(list)
			for _, i := range c.dead {
				net.set(list[i], refuses)
			}
			if got := newWatcher(net, list, first(list)).Shared(1, 0).Isolated; got != c.want {
				t.Errorf("isolated: %v, want %v", got, c.want)
			}
		})
	}
	t.Run("an empty list", func(t *testing.T) {
		w := watch.New(watch.Config{Nodes: func() []awa.Node { return nil }, Self: func() awa.Self { return awa.Self{} }})
		if w.Shared(0, 0).Isolated {
			t.Error("isolated without a list")
		}
	})
}
