package consensus

import (
	"context"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/awatest/testaid"
	"are-we-alive/pkg/awatest/testlist"
	"are-we-alive/pkg/store"
)

// newTestConsensus makes the consensus of an agent that reaches nobody.
func newTestConsensus(t *testing.T, st *store.Store, dir string) *Consensus {
	t.Helper()
	return New(Config{
		List: st, Peers: nobody{}, Dir: dir, Name: func(uid string) string { return uid },
		Log:    slog.New(slog.DiscardHandler),
		Timing: Timing{Heartbeat: 100 * time.Millisecond, Commit: 10 * time.Millisecond},
	})
}

// nobody is a network without other agents.
type nobody struct{}

// Dial implements Peers.
func (nobody) Dial(context.Context, string) (net.Conn, error) {
	return nil, &awa.PingError{Stage: awa.StageConnect, Err: net.ErrClosed}
}

// Ask implements Peers.
func (nobody) Ask(context.Context, bool, ...string) []awa.Self { return nil }

func start(t *testing.T, c *Consensus) {
	t.Helper()
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
}

func stop(t *testing.T, c *Consensus) {
	t.Helper()
	if err := c.Stop(10 * time.Second); err != nil {
		t.Fatal(err)
	}
}

// twoVoters bootstraps a list and makes another agent its second voter, which never
// answers. It returns the index of that configuration.
func twoVoters(t *testing.T, st *store.Store, c *Consensus) uint64 {
	t.Helper()
	if err := Bootstrap(st, c.cfg.Dir); err != nil {
		t.Fatal(err)
	}
	start(t, c)
	testaid.Eventually(t, "the founder leads", c.IsLeader)
	f := c.running().AddVoter("other", "other", 0, time.Second)
	if err := f.Error(); err != nil { // raft asks only the old majority
		t.Fatal(err)
	}
	testaid.Eventually(t, "it leads no more", func() bool { return !c.IsLeader() })
	return f.Index()
}

func TestRetire_RemovedVoter(t *testing.T) {
	st := testlist.Open(t)
	dir := t.TempDir()
	c := newTestConsensus(t, st, dir)
	index := twoVoters(t, st, c)
	term := c.Term()
	for _, known := range []awa.VoterSet{
		{Index: index - 1, UIDs: []string{"other"}}, // from before it got its vote
		{Index: index, UIDs: []string{"other"}},
		{Index: index + 9, UIDs: []string{"other", c.uid}},
	} {
		if err := c.retire(known); err != nil {
			t.Fatal(err)
		}
		if !c.votes(c.running()) {
			t.Fatalf("it gave its vote away for %+v, and has configuration %d", known, index)
		}
	}
	if err := c.retire(awa.VoterSet{Index: index + 1, UIDs: []string{"other"}}); err != nil {
		t.Fatal(err)
	}
	for range 2 { // now, and when it starts again
		if c.votes(c.running()) || c.lastIndex() != 0 {
			t.Errorf("a removed voter still votes, its log ends at %d", c.lastIndex())
		}
		if c.Term() < term {
			t.Errorf("it forgot its term %d: now it is %d", term, c.Term())
		}
		stop(t, c)
		start(t, c)
	}
	stop(t, c)
}

// A crash while the log and the snapshots were being dropped must not leave
// the founder's first snapshot alone: it says that the founder votes alone.
func TestRetire_CrashInBetween(t *testing.T) {
	st := testlist.Open(t)
	dir := t.TempDir()
	c := newTestConsensus(t, st, dir)
	index := twoVoters(t, st, c)
	stop(t, c)
	if err := c.drop(index + 1); err != nil {
		t.Fatal(err)
	}
	if err := st.ClearLog(); err != nil { // the power fails here
		t.Fatal(err)
	}
	start(t, c)
	if c.votes(c.running()) || c.IsLeader() {
		t.Error("it votes again")
	}
	stop(t, c)
	// Once dropped, what comes later stays.
	if err := st.AppendLog(1, [][]byte{encodeLog(&raft.Log{Index: 1, Term: 1, Type: raft.LogNoop})}); err != nil {
		t.Fatal(err)
	}
	start(t, c)
	if c.lastIndex() != 1 {
		t.Errorf("its new log ends at %d", c.lastIndex())
	}
	stop(t, c)
}

func TestConfigIndex(t *testing.T) {
	st := testlist.Open(t)
	c := newTestConsensus(t, st, t.TempDir())
	check := func(what string, want uint64) {
		t.Helper()
		if got, err := c.configIndex(); err != nil || got != want {
			t.Errorf("%s: the newest configuration is %d, not %d (%v)", what, got, want, err)
		}
	}
	check("nothing", 0)
	if err := Bootstrap(st, c.cfg.Dir); err != nil {
		t.Fatal(err)
	}
	check("the first snapshot", 1)
	entry := func(index uint64, kind raft.LogType) []byte {
		return encodeLog(&raft.Log{Index: index, Term: 1, Type: kind})
	}
	if err := st.AppendLog(2, [][]byte{entry(2, raft.LogCommand), entry(3, raft.LogConfiguration),
		entry(4, raft.LogCommand)}); err != nil {
		t.Fatal(err)
	}
	check("one in the log", 3)
	if err := st.AppendLog(9, [][]byte{entry(9, raft.LogCommand)}); err != nil {
		t.Fatal(err)
	}
	check("a log with a gap", 3)
}

// answers is a network in which agents answer in the order in which they were asked.
type answers struct {
	nobody
	all []awa.Self
}

// Ask implements Peers.
func (a answers) Ask(context.Context, bool, ...string) []awa.Self { return a.all }

// A voter loses its vote only while enough of the others answer to agree on that.
func TestChangeVoters_left(t *testing.T) {
	config := make([]raft.Server, 4)
	for i := range config {
		config[i] = raft.Server{ID: raft.ServerID(testlist.UID(i)), Suffrage: raft.Voter}
	}
	for name, test := range map[string]struct {
		kind    stepKind
		voters  int // this agent is one
		answers int
		left    int
		agree   bool
	}{
		"one of three, both are there":    {remove, 3, 1, 1, true},
		"one of three, the other is away": {remove, 3, 0, 1, false},
		"one of four, two are there":      {demote, 4, 1, 2, true},
		"one of four, nobody is there":    {demote, 4, 0, 2, false},
		"one of two":                      {remove, 2, 0, 0, true},
		"one more":                        {promote, 3, 0, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			c := newTestConsensus(t, testlist.New(t, nil), t.TempDir())
			c.cfg.Peers, c.uid = answers{all: make([]awa.Self, test.answers)}, testlist.UID(0)
			left := c.left(config[:test.voters], step{test.kind, testlist.UID(1)})
			if agree := c.majorityAnswers(t.Context(), left); len(left) != test.left || agree != test.agree {
				t.Errorf("%d are left, they agree: %v", len(left), agree)
			}
		})
	}
}

// A voter retires when a majority of the configuration that it holds has a newer one
// without it, and on nobody else's word.
func TestRetire_MajorityConfirms(t *testing.T) {
	const held = 10
	says := func(i, leader int, index uint64, voters ...int) awa.Self {
		self := awa.Self{UID: testlist.UID(i), Leader: testlist.UID(leader)}
		if index > 0 {
			self.Voters = &awa.VoterSet{Index: index}
			for _, v := range voters {
				self.Voters.UIDs = append(self.Voters.UIDs, testlist.UID(v))
			}
		}
		return self
	}
	const me = 5
	with := func(i int) awa.Self { return says(i, 1, 20, 1, 2, me) }
	without := func(i int) awa.Self { return says(i, 1, 20, 1, 2, 3) }
	for name, test := range map[string]struct {
		voters  int // besides this agent
		answers []awa.Self
		retires bool
	}{
		"all say so":                      {voters: 2, answers: []awa.Self{without(1), without(2)}, retires: true},
		"one of two is away":              {voters: 2, answers: []awa.Self{without(1)}},
		"one of two says otherwise":       {voters: 2, answers: []awa.Self{without(1), with(2)}},
		"three of four":                   {voters: 4, answers: []awa.Self{without(1), without(2), without(4)}, retires: true},
		"two of four":                     {voters: 4, answers: []awa.Self{without(1), without(2), with(3)}},
		"the other of two voters":         {voters: 1, answers: []awa.Self{without(1)}, retires: true},
		"an older configuration":          {voters: 1, answers: []awa.Self{says(1, 1, held, 1)}},
		"the next configuration":          {voters: 1, answers: []awa.Self{says(1, 1, held+1, 1)}, retires: true},
		"a liar among three":              {voters: 2, answers: []awa.Self{says(1, 1, 1<<62, 1), with(2)}},
		"voters of before, by the leader": {voters: 2, answers: []awa.Self{without(1), says(2, 1, 0)}, retires: true},
		"a voter of before, a liar":       {voters: 2, answers: []awa.Self{says(1, 1, 1<<62, 1), says(2, 2, 0)}},
		"nobody else votes":               {},
	} {
		t.Run(name, func(t *testing.T) {
			c := newTestConsensus(t, testlist.New(t, nil), t.TempDir())
			c.cfg.Peers, c.uid = answers{all: test.answers}, testlist.UID(me)
			v, ok := c.confirmed(t.Context(), make([]string, test.voters), held)
			if ok != test.retires || ok && v.Index <= held {
				t.Errorf("%v, by %+v", ok, v)
			}
		})
	}
}
