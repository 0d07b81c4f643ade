package replica

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/awatest/testlist"
)

// reply is what an agent answers to an edit that is passed on to it.
type reply struct {
	id   uint64
	node awa.Node
	err  error
	hang bool // it answers only when nobody waits any more
}

// others is a network in which each agent answers edits one after the other
// from a list; the last one stays.
type others struct {
	Peers
	replies map[string][]reply // by address

	mu   sync.Mutex
	keys []string // of the edits that were passed on
	hops []int
	to   []string
}

// Edit implements Peers.
func (o *others) Edit(ctx context.Context, addr string, e awa.Edit, hops int) (uint64, awa.Node, error) {
	a := o.next(addr, e, hops)
	if a.hang {
		<-ctx.Done()
		return 0, awa.Node{}, lost
	}
	return a.id, a.node, a.err
}

func (o *others) next(addr string, e awa.Edit, hops int) reply {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.keys, o.hops, o.to = append(o.keys, e.Key), append(o.hops, hops), append(o.to, addr)
	all := o.replies[addr]
	if len(all) == 0 {
		return reply{err: refused}
	}
	if len(all) > 1 {
		o.replies[addr] = all[1:]
	}
	return all[0]
}

// Ping implements Peers.
func (o *others) Ping(context.Context, string, bool) (awa.Self, error) { return awa.Self{}, refused }

// Sync implements Peers.
func (o *others) Sync(context.Context, string, awa.Position, int) (awa.ChangeSet, error) {
	return awa.ChangeSet{}, refused
}

var (
	refused error = &awa.PingError{Stage: awa.StageConnect, Err: errors.New("connection refused")}
	lost    error = &awa.PingError{Stage: awa.StageReply, Err: errors.New("the connection was closed without an answer")}
)

func TestEdit_PassedOn(t *testing.T) {
	const leader, voter = "10.0.0.1:1", "10.0.0.1:2"
	noMajority, taken := awa.Faultf(awa.ErrNoMajority, "no"), awa.Faultf(awa.ErrNameTaken, "the name x is taken")
	for name, test := range map[string]struct {
		replies map[string][]reply
		hops    int
		id      uint64
		err     awa.Code
		text    string
	}{
		"the leader takes it":          {replies: map[string][]reply{leader: {{id: 7}}}, id: 7},
		"another one knows the leader": {replies: map[string][]reply{leader: {{err: refused}}, voter: {{id: 7}}}, id: 7},
		"a leader is chosen meanwhile": {replies: map[string][]reply{leader: {{err: noMajority}, {err: noMajority},
			{id: 7}}, voter: {{err: noMajority}}}, id: 7},
		"an answer is lost": {replies: map[string][]reply{leader: {{err: lost}, {id: 7}}, voter: {{err: noMajority}}},
			id: 7},
		"the edit is refused": {replies: map[string][]reply{leader: {{err: taken}}}, err: awa.ErrNameTaken,
			text: "the name x is taken"},
		"nobody is there": {err: awa.ErrNoMajority, text: "2 of 2 voters are needed, but no answer from n0 " +
			"(10.0.0.1:1: connect: connection refused), n1 (10.0.0.1:2"},
		"nobody decides": {replies: map[string][]reply{leader: {{err: noMajority}}, voter: {{err: noMajority}}},
			err: awa.ErrNoMajority},
		"it may have been made": {replies: map[string][]reply{leader: {{err: lost}, {err: refused}}},
			err: awa.ErrUnknownOutcome},
		"another one says it may be": {replies: map[string][]reply{leader: {{err: refused}},
			voter: {{err: awa.Faultf(awa.ErrUnknownOutcome, "?")}, {err: noMajority}}}, err: awa.ErrUnknownOutcome},
		"passed on already: tried once": {replies: map[string][]reply{leader: {{err: noMajority}, {id: 7}}}, hops: 1,
			err: awa.ErrNoMajority},
		"passed on already: lost": {replies: map[string][]reply{leader: {{err: lost}, {id: 7}}}, hops: 1,
			err: awa.ErrUnknownOutcome},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				net := &others{replies: test.replies}
				r := knowsTwoVoters(t, net)
				began := time.Now()
				id, _, err := r.Edit(t.Context(), removal(t), test.hops)
				switch {
				case test.err == "" && err != nil, test.err != "" && !errors.Is(err, test.err), id != test.id:
					t.Errorf("the edit gave %d, %v", id, err)
				case err != nil && !strings.Contains(err.Error(), test.text):
					t.Errorf("the refusal is %v", err)
				}
				if took := time.Since(began); took > 12*time.Second {
					t.Errorf("it took %s", took)
				}
				for i, key := range net.keys {
					if key == "" || key != net.keys[0] {
						t.Errorf("the edit was passed on with the keys %q", net.keys)
					}
					if net.hops[i] != test.hops+1 {
						t.Errorf("the edit was passed on %d times before", net.hops[i]-1)
					}
				}
			})
		})
	}
}

// An agent that hangs, or that is known to be offline, holds up no edit.
func TestEdit_HungLeader(t *testing.T) {
	const leader, voter = "10.0.0.1:1", "10.0.0.1:2"
	hangs := map[string][]reply{leader: {{hang: true}}, voter: {{id: 7}}}
	takes := map[string][]reply{leader: {{id: 7}}, voter: {{id: 8}}}
	for name, test := range map[string]struct {
		replies map[string][]reply
		offline bool // so the leader was seen
		hops    int
		to      []string
		takes   time.Duration
		err     awa.Code
	}{
		"it hangs": {replies: hangs, to: []string{leader, voter}, takes: hedgeAfter},
		"another is chosen": {replies: map[string][]reply{leader: {{hang: true}},
			voter: {{err: awa.Faultf(awa.ErrNoMajority, "no")},
				{id: 7}}}, to: []string{leader, voter, voter}, takes: 2 * hedgeAfter},
		"it is offline": {replies: hangs, offline: true, to: []string{voter}},
		"it is back":    {replies: takes, to: []string{leader}},
		"passed on, it hangs": {replies: hangs, hops: 1, to: []string{leader}, takes: 8 * time.Second / 3,
			err: awa.ErrUnknownOutcome},
		"passed on, offline":    {replies: hangs, hops: 1, offline: true, to: []string{voter}},
		"passed on twice":       {replies: takes, hops: 2, to: []string{leader}},
		"passed on twice, dead": {replies: hangs, hops: 2, offline: true, err: awa.ErrNoMajority},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				net := &others{replies: test.replies}
				r := knowsTwoVoters(t, net)
				if test.offline {
					r.cfg.Seen = seenAs(map[string]Seen{r.Leader(): {}})
				}
				began := time.Now()
				_, _, err := r.Edit(t.Context(), removal(t), test.hops)
				if test.err == "" && err != nil || test.err != "" && !errors.Is(err, test.err) {
					t.Errorf("the edit gave %v", err)
				}
				want := test.takes
				if err == nil {
					want += time.Second // so long the edit waits for this list, which never shows it
				}
				if took := time.Since(began); took != want {
					t.Errorf("it took %v", took)
				}
				synctest.Wait() // for the attempts that were given up
				if !slices.Equal(net.to, test.to) {
					t.Errorf("it was passed to %v", net.to)
				}
			})
		})
	}
}

// An agent says for how long it has known no leader.
func TestLeaderless(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := knowsTwoVoters(t, &others{})
		r.led.Store(time.Now().Add(-3 * time.Second).UnixNano())
		if d := r.Leaderless(); d != 0 {
			t.Errorf("n0 leads, and no leader has been known for %v", d)
		}
		r.learn(awa.Self{UID: r.Leader(), Leader: ""})
		if d := r.Leaderless(); d != 3*time.Second {
			t.Errorf("no leader has been known for %v", d)
		}
	})
}

// knowsTwoVoters makes a replica that knows of two voters, n0 and n1, and has
// heard that n0 leads. It takes no part in Raft itself.
func knowsTwoVoters(t *testing.T, net Peers) *Replica {
	t.Helper()
	st := testlist.New(t, testlist.Changes(t, 2))
	uids := []string{st.Nodes()[0].UID, st.Nodes()[1].UID}
	r := New(Config{
		List: st, Peers: net, Dir: "unused", Instance: "this",
		Seen: func(string) (Seen, bool) { return Seen{}, false }, Log: slog.New(slog.DiscardHandler),
	})
	r.learn(awa.Self{UID: uids[0], Leader: uids[0], Voters: &awa.VoterSet{Index: 1, Term: 1, UIDs: uids}})
	return r
}

func TestEdit_NotJoined(t *testing.T) {
	r := New(Config{List: testlist.Open(t), Peers: &others{}, Log: slog.New(slog.DiscardHandler)})
	if _, _, err := r.Edit(t.Context(), removal(t), 0); !errors.Is(err, awa.ErrNotJoined) {
		t.Errorf("an edit at an agent without a list gave %v", err)
	}
}

// Whatever comes back after an attempt that may have been made: only the
// voters' own decision is a plain answer.
func TestEdit_AfterALostAnswer(t *testing.T) {
	leader, voter := "10.0.0.1:1", "10.0.0.1:2"
	lost := &awa.PingError{Stage: awa.StageReply, Err: context.DeadlineExceeded}
	refusals := map[awa.Code]bool{ // → whether it is an answer for the key
		awa.ErrBadInput: false, awa.ErrNameTaken: true, awa.ErrUIDTaken: true, awa.ErrUnknownNode: true,
		awa.ErrConflict:  true,
		awa.ErrKeyReused: true, awa.ErrGap: true, awa.ErrNoMajority: false, awa.ErrUnknownOutcome: false,
		awa.ErrNotJoined:    false,
		awa.ErrOtherCluster: false, awa.ErrOtherHistory: false, awa.ErrOtherAgent: false, awa.ErrNoAgent: false,
		awa.ErrForbidden: false,
		awa.ErrNoNodes:   false, awa.ErrStarting: false, awa.ErrStopping: false, "internal": false, "too_large": false,
		"of_the_future": false,
	}
	then := map[string]error{
		"nobody is reached":       &awa.PingError{Stage: awa.StageConnect, Err: errors.New("connection refused")},
		"its name can't be found": &awa.PingError{Stage: awa.StageResolve, Err: errors.New("no such host")},
		"its key is refused":      &awa.PingError{Stage: awa.StageTLS, Err: awa.Faultf(awa.ErrForbidden, "key")},
		"lost again":              lost,
	}
	for code := range refusals {
		then[string(code)] = awa.Faultf(code, "refused: %s", code)
	}
	for name, err := range then {
		want := awa.ErrUnknownOutcome
		var f *awa.Fault
		if errors.As(err, &f) && refusals[f.Code] {
			want = f.Code
		}
		for where, replies := range map[string]map[string][]reply{
			"at the same agent":  {leader: {{err: lost}, {err: err}}},
			"at another agent":   {leader: {{err: lost}, {err: refused}}, voter: {{err: err}}},
			"told by the leader": {leader: {{err: awa.Faultf(awa.ErrUnknownOutcome, "?")}, {err: err}}},
			"without an id":      {leader: {{id: 0}, {err: err}}},
		} {
			if name != "nobody is reached" && (where == "told by the leader" || where == "without an id") {
				continue
			}
			t.Run(name+" "+where, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := knowsTwoVoters(t, &others{replies: replies})
					_, _, got := r.Edit(t.Context(), removal(t), 0)
					if !errors.Is(got, want) {
						t.Errorf("the answer is %v, not %s", got, want)
					}
					if want == awa.ErrUnknownOutcome && name != string(awa.ErrUnknownOutcome) &&
						where != "told by the leader" &&
						(!strings.Contains(got.Error(), "not known whether the edit was made") || !strings.Contains(got.Error(),
							"Idempotency-Key")) {
						t.Errorf("the answer does not say what to do: %v", got)
					}
				})
			})
		}
		// Without a lost answer before, a refusal is one.
		t.Run(name+" at first", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := knowsTwoVoters(t, &others{replies: map[string][]reply{leader: {{err: err}}}})
				_, _, got := r.Edit(t.Context(), removal(t), 0)
				want := f != nil && isRefusal(err) && !errors.Is(err, awa.ErrForbidden)
				if want && !errors.Is(got, f.Code) {
					t.Errorf("the answer is %v, not %v", got, err)
				}
			})
		})
	}
}

// seenAs returns a Config.Seen that knows these agents.
func seenAs(all map[string]Seen) func(string) (Seen, bool) {
	return func(uid string) (Seen, bool) {
		seen, ok := all[uid]
		return seen, ok
	}
}

// removal returns an edit.
func removal(t *testing.T) awa.ParsedEdit {
	t.Helper()
	e, err := awa.Edit{Action: awa.Delete, Data: []byte(`{"id":1}`)}.Parse()
	if err != nil {
		t.Fatal(err)
	}
	return e
}
