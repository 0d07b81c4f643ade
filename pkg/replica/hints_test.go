package replica

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/awatest/testlist"
)

// says is an answer to a ping of agent i.
func says(i, leader int, voters ...int) awa.Self {
	s := awa.Self{UID: fmt.Sprintf("%032x", i), Leader: fmt.Sprintf("%032x", leader), Cluster: "c",
		History: testlist.History}
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
		"the leader alone":     {[]awa.Self{says(1, 1, 1, 2, 3)}, 1},
		"with its voters":      {[]awa.Self{says(1, 1, 1, 2, 3), says(2, 1, 1, 2, 3), says(3, 1)}, 1},
		"a follower names one": {[]awa.Self{says(4, 1)}, 0},
		"a liar alone":         {[]awa.Self{lies(4, 4)}, 4},
		"a liar first":         {[]awa.Self{lies(4, 4), says(1, 1, 1, 2, 3), says(2, 1)}, 1},
		"a liar last":          {[]awa.Self{says(1, 1, 1, 2, 3), says(2, 1), lies(4, 4)}, 1},
		"a liar with the voters of others": {[]awa.Self{says(1, 1, 1, 2, 3), says(2, 1), says(3, 1), lies(4, 1, 2, 3, 4)},
			1},
		"a liar that is honest again": {[]awa.Self{lies(4, 4), says(4, 1), says(1, 1, 1, 2)}, 1},
		"the next leader": {[]awa.Self{says(1, 1, 1, 2, 3), says(2, 1), says(3, 1),
			says(2, 2, 1, 2, 3), says(3, 2)}, 2},
		"of two the one that said so last": {[]awa.Self{lies(4, 4), says(1, 1, 1)}, 1},
		"as many voters as can be":         {[]awa.Self{says(1, 1, many[1:]...)}, 1},
		"more voters than there can be":    {[]awa.Self{says(1, 1, many...)}, 0},
		"an agent that is not on the list": {[]awa.Self{says(99, 99, 99)}, 0},
		"a leader without voters": {[]awa.Self{{UID: fmt.Sprintf("%032x", 1), Leader: fmt.Sprintf("%032x", 1),
			Voters: &awa.VoterSet{Index: 9}}}, 0},
		"a uid that is not a uid": {[]awa.Self{{UID: fmt.Sprintf("%032x", 1),
			Leader: strings.Repeat("x", maxUID+1)}}, 0},
		"what a voter that is not a leader is": {[]awa.Self{says(2, 1, 1, 2, 3)}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			st := testlist.New(t, testlist.Changes(t, 5))
			r := New(Config{List: st, Peers: &others{}, Seen: func(string) (Seen, bool) { return Seen{}, false },
				Log: slog.New(slog.DiscardHandler)})
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
