package replica

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"are-we-alive/pkg/awa"
)

// says is an answer to a ping of agent i.
func says(i, leader int, voters ...int) awa.Self {
	s := awa.Self{UID: fmt.Sprintf("%032x", i), Leader: fmt.Sprintf("%032x", leader), Cluster: "c", History: testHistory}
	if len(voters) > 0 {
		s.Voters = &awa.VoterSet{Index: 1, Term: 1}
	}
	for _, v := range voters {
		s.Voters.UIDs = append(s.Voters.UIDs, fmt.Sprintf("%032x", v))
	}
	return s
}

func TestLeader_AsOthersSay(t *testing.T) {
	lies := func(i int, voters ...int) awa.Self {
		s := says(i, i, voters...)
		s.Voters.Index, s.Voters.Term = 1<<62, 1<<64-1
		return s
	}
	many := make([]int, maxVotersTold+1)
	for name, test := range map[string]struct {
		answers []awa.Self
		want    int
	}{
		"the leader alone":                  {[]awa.Self{says(1, 1, 1, 2, 3)}, 1},
		"with its voters":                   {[]awa.Self{says(1, 1, 1, 2, 3), says(2, 1, 1, 2, 3), says(3, 1)}, 1},
		"a follower names one":              {[]awa.Self{says(4, 1)}, 0},
		"a liar alone":                      {[]awa.Self{lies(4, 4)}, 4},
		"a liar first":                      {[]awa.Self{lies(4, 4), says(1, 1, 1, 2, 3), says(2, 1)}, 1},
		"a liar last":                       {[]awa.Self{says(1, 1, 1, 2, 3), says(2, 1), lies(4, 4)}, 1},
		"a liar with the voters of others":  {[]awa.Self{says(1, 1, 1, 2, 3), says(2, 1), says(3, 1), lies(4, 1, 2, 3, 4)}, 1},
		"a liar that is honest again":       {[]awa.Self{lies(4, 4), says(4, 1), says(1, 1, 1, 2)}, 1},
		"the next leader":                   {[]awa.Self{says(1, 1, 1, 2, 3), says(2, 1), says(3, 1), says(2, 2, 1, 2, 3), says(3, 2)}, 2},
		"of two the one that said so last":  {[]awa.Self{lies(4, 4), says(1, 1, 1)}, 1},
		"as many voters as can be":          {[]awa.Self{says(1, 1, many[1:]...)}, 1},
		"more voters than there can be":     {[]awa.Self{says(1, 1, many...)}, 0},
		"an agent that is not on the list":  {[]awa.Self{says(99, 99, 99)}, 0},
		"a leader without voters":           {[]awa.Self{{UID: fmt.Sprintf("%032x", 1), Leader: fmt.Sprintf("%032x", 1), Voters: &awa.VoterSet{Index: 9}}}, 0},
		"a uid that is no uid":              {[]awa.Self{{UID: fmt.Sprintf("%032x", 1), Leader: strings.Repeat("x", maxUID+1)}}, 0},
		"what a voter that is no leader is": {[]awa.Self{says(2, 1, 1, 2, 3)}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			st := openList(t)
			if err := st.Found(awa.ChangeSet{Cluster: "c", History: testHistory, Changes: listOf(t, 5)}); err != nil {
				t.Fatal(err)
			}
			r := New(Config{List: st, Peers: &others{}, Seen: func() map[string]Seen { return nil }, Log: slog.New(slog.DiscardHandler)})
			for _, self := range test.answers {
				r.learn(self)
			}
			want := ""
			if test.want > 0 {
				want = fmt.Sprintf("%032x", test.want)
			}
			if got := r.Leader(); got != want {
				t.Errorf("the leader is %s, not %s", got, want)
			}
			if v := st.Meta().Voters; v.Index != 0 {
				t.Errorf("%+v was kept on disk", v)
			}
		})
	}
}

// pinged answers pings from a list, by address.
type pinged struct {
	Peers
	answers map[string]awa.Self
}

// Ping implements Peers.
func (p pinged) Ping(_ context.Context, addr string, _ bool) (awa.Self, error) {
	self, ok := p.answers[addr]
	if !ok {
		return awa.Self{}, refused
	}
	return self, nil
}

// A voter gives its vote away when a majority of the configuration that it
// holds has a newer one without it, and for nobody else's word.
func TestRetire_MajorityConfirms(t *testing.T) {
	const held = 10
	me := 5
	at := func(self awa.Self, index uint64) awa.Self { self.Voters.Index = index; return self }
	with, without := at(says(0, 1, 1, 2, 5), 20), at(says(0, 1, 1, 2, 3), 20)
	as := func(i int, s awa.Self) awa.Self { s.UID = fmt.Sprintf("%032x", i); return s }
	for name, test := range map[string]struct {
		voters  []int // besides this agent
		answers []awa.Self
		ok      bool
	}{
		"all say so":                      {[]int{1, 2}, []awa.Self{as(1, without), as(2, without)}, true},
		"one of two is away":              {[]int{1, 2}, []awa.Self{as(1, without)}, false},
		"one of two says otherwise":       {[]int{1, 2}, []awa.Self{as(1, without), as(2, with)}, false},
		"three of four":                   {[]int{1, 2, 3, 4}, []awa.Self{as(1, without), as(2, without), as(4, without)}, true},
		"two of four":                     {[]int{1, 2, 3, 4}, []awa.Self{as(1, without), as(2, without), as(3, with)}, false},
		"the other of two voters":         {[]int{1}, []awa.Self{as(1, without)}, true},
		"an older configuration":          {[]int{1}, []awa.Self{as(1, at(says(0, 1, 1), held))}, false},
		"the next configuration":          {[]int{1}, []awa.Self{as(1, at(says(0, 1, 1), held+1))}, true},
		"another agent at the address":    {[]int{1}, []awa.Self{as(3, without)}, false},
		"another history":                 {[]int{1}, []awa.Self{{UID: fmt.Sprintf("%032x", 1), Cluster: "c", Voters: without.Voters}}, false},
		"a liar among three":              {[]int{1, 2}, []awa.Self{as(1, at(says(0, 1, 1), 1<<62)), as(2, with)}, false},
		"voters of before, by the leader": {[]int{1, 2}, []awa.Self{as(1, without), as(2, says(0, 1))}, true},
		"a voter of before, a liar":       {[]int{1, 2}, []awa.Self{as(1, at(says(0, 1, 1), 1<<62)), as(2, says(0, 2))}, false},
		"nobody else votes":               {nil, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			st := openList(t)
			if err := st.Found(awa.ChangeSet{Cluster: "c", History: testHistory, Changes: listOf(t, 5)}); err != nil {
				t.Fatal(err)
			}
			net := pinged{answers: map[string]awa.Self{}}
			var voters []string
			for i, v := range test.voters {
				voters = append(voters, fmt.Sprintf("%032x", v))
				addr := fmt.Sprintf("10.0.0.1:%d", v)
				for j, self := range test.answers {
					if self.UID == voters[i] || len(test.voters) == 1 && j == 0 {
						net.answers[addr] = self
					}
				}
			}
			r := New(Config{List: st, Peers: net, Seen: func() map[string]Seen { return nil }, Log: slog.New(slog.DiscardHandler)})
			r.uid = fmt.Sprintf("%032x", me)
			v, ok := r.confirmed(t.Context(), voters, held)
			if ok != test.ok || ok && v.Index <= held {
				t.Errorf("%v, by %+v", ok, v)
			}
		})
	}
}

// What a program of before had let others say of Raft is put right at start.
func TestStart_PoisonedFolder(t *testing.T) {
	st := openList(t)
	dir := t.TempDir()
	if err := Bootstrap(st, dir); err != nil {
		t.Fatal(err)
	}
	o := newTestOrder(t, st, dir)
	edit := func(key string) (awa.Outcome, error) {
		ctx, cancel := context.WithTimeout(t.Context(), editPatience)
		defer cancel()
		return o.propose(ctx, awa.Edit{Action: awa.Create, Data: fmt.Appendf(nil, `{"name":%q,"host":"h","port":1}`, key), Key: key})
	}
	start(t, o)
	eventually(t, "it leads", o.isLeader)
	if _, err := edit("first"); err != nil {
		t.Fatal(err)
	}
	good := st.Meta()
	stop(t, o)
	// A forged change of before, which the list has as all others have it.
	if err := st.Prove([]awa.Change{{ID: 2, Action: awa.Create, Data: `{"id":2,"name":"forged","host":"h","port":"1"}`, Index: 1 << 62, Term: 1}}, 1<<62, 1); err != nil {
		t.Fatal(err)
	}
	if err := st.ResetVoters(awa.VoterSet{Index: 1 << 62, Term: 1<<64 - 1, UIDs: []string{"liar"}}); err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		start(t, o)
		eventually(t, "it leads", o.isLeader)
		if v := st.Meta().Voters; v.Index > good.Voters.Index+8 || len(v.UIDs) != 1 || v.UIDs[0] != o.uid {
			t.Errorf("the voters are %+v", v)
		}
		if out, err := edit(fmt.Sprint("next", i)); err != nil || out.Change.ID != uint64(3+i) {
			t.Errorf("the edit after start %d gave %+v, %v", i, out.Change, err)
		}
		stop(t, o)
	}
	// An agent that has no log proves nothing.
	if err := forget(st, dir); err != nil {
		t.Fatal(err)
	}
	if err := st.ResetVoters(awa.VoterSet{}); err != nil { // or it would be known as the only voter
		t.Fatal(err)
	}
	start(t, o)
	if m := st.Meta(); m.Index != 0 || m.State != 0 || m.Voters.Index != 0 {
		t.Errorf("without a log it holds %+v", m)
	}
	stop(t, o)
}

// editPatience is how long an edit may take in a test.
const editPatience = 20 * time.Second

// A voter decides an entry of its own log early when it is told so, whatever
// else it is told.
func TestEarly_OwnLogAlone(t *testing.T) {
	st := openList(t)
	o := newTestOrder(t, st, t.TempDir())
	if err := Bootstrap(st, o.cfg.Dir); err != nil {
		t.Fatal(err)
	}
	var entries [][]byte
	for i := range earlyEntries + 1 {
		b, err := encodeCommand(awa.Edit{Action: awa.Create, Data: fmt.Appendf(nil, `{"name":"n%d","host":"h","port":1}`, i), Key: fmt.Sprint("k", i)})
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, encodeLog(&raft.Log{Index: uint64(i + 1), Term: 3, Type: raft.LogCommand, Data: b}))
	}
	if err := st.AppendLog(1, entries); err != nil {
		t.Fatal(err)
	}
	change := func(i int) awa.Change {
		return awa.Change{ID: uint64(i + 1), Action: awa.Create, Data: fmt.Sprintf(`{"id":%d,"name":"n%d","host":"h","port":"1"}`, i+1, i), Index: uint64(i + 1), Term: 3, Key: fmt.Sprint("k", i)}
	}
	for name, test := range map[string]struct {
		i      int
		change func(*awa.Change)
	}{
		"too far ahead":   {earlyEntries, func(*awa.Change) {}},
		"not in the log":  {3, func(c *awa.Change) { c.Index = earlyEntries + 9 }},
		"far ahead":       {3, func(c *awa.Change) { c.Index = 1 << 62 }},
		"another term":    {3, func(c *awa.Change) { c.Term = 4 }},
		"other data":      {3, func(c *awa.Change) { c.Data = strings.Replace(c.Data, "n3", "n9", 1) }},
		"a change before": {3, func(c *awa.Change) { c.ID-- }},
		"index 0":         {3, func(c *awa.Change) { c.Index = 0 }},
	} {
		c := change(test.i)
		test.change(&c)
		if done, err := o.early(c); done || err != nil || st.State() != 0 {
			t.Errorf("%s: %v, %v, state %d", name, done, err, st.State())
		}
	}
	for _, i := range []int{3, earlyEntries - 1, earlyEntries} {
		if done, err := o.early(change(i)); !done || err != nil || st.State() != uint64(i+1) {
			t.Errorf("change %d: %v, %v, state %d", i+1, done, err, st.State())
		}
	}
}
