package replica

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	testSettle  = 10 * time.Second
	testReplace = time.Minute
)

// agents reads "L* A! B+ c d- E-70": one word for each agent, its name first
// letter upper case when it has a vote, and then + a member without a vote,
// ! a member that is ready, - away (for so many seconds, 0 by default),
// ~ online for 1 s only, x not on the list. L is the leader. Agents are online
// for an hour unless they say otherwise.
func agents(t *testing.T, words string) []server {
	t.Helper()
	var all []server
	for word := range strings.FieldsSeq(words) {
		name, marks := word[:1], word[1:]
		s := server{uid: strings.ToLower(name), online: true, since: time.Hour, listed: true}
		s.voter = name == strings.ToUpper(name)
		s.member = s.voter
		for i, m := range marks {
			switch m {
			case '+':
				s.member = true
			case '!':
				s.member, s.ready = true, true
			case '~':
				s.since = time.Second
			case 'x':
				s.listed = false
			case '-':
				s.online, s.since = false, 0
				fmt.Sscanf(marks[i+1:], "%d", &s.since)
				s.since *= time.Second
			}
		}
		all = append(all, s)
	}
	return all
}

func TestNextStep(t *testing.T) {
	for name, c := range map[string]struct {
		agents string
		want   step
	}{
		"alone":                     {"L", step{}},
		"two agents need one voter": {"L a", step{}},
		"a third agent lets the first one catch up": {"L a b", step{enlist, "a"}},
		"then the second":                            {"L a! b", step{enlist, "b"}},
		"nobody gets a vote before both are ready":   {"L a! b+", step{}},
		"both ready, the first gets its vote":        {"L a! b!", step{promote, "a"}},
		"then the second gets its own":               {"L A b!", step{promote, "b"}},
		"who came a second ago must wait":            {"L a b~", step{}},
		"three agents, three voters":                 {"L A B", step{}},
		"four agents, three voters":                  {"L A B c", step{}},
		"five agents, two more catch up":             {"L A B c d", step{enlist, "c"}},
		"six agents, five voters":                    {"L A B C D e", step{}},
		"a waiting agent too many goes":              {"L A B c+", step{remove, "c"}},
		"one that waits and went away goes":          {"L a- b- c+-11", step{remove, "c"}},
		"away for less than a minute":                {"L A B-59 c", step{}},
		"away for a minute, the spare catches up":    {"L A B-60 c", step{enlist, "c"}},
		"the spare catches up still":                 {"L A B-60 c+", step{await, "c"}},
		"the spare is ready, the dead voter goes":    {"L A B-60 c!", step{remove, "b"}},
		"then the spare gets its vote":               {"L A b-60 c!", step{promote, "c"}},
		"a spare that never gets ready":              {"L A B-120 c+", step{remove, "b"}},
		"no spare, the dead voter goes":              {"L A B-60", step{remove, "b"}},
		"two voters left step down to one":           {"L A b-60", step{demote, "a"}},
		"a second one dies too early":                {"L A-1 b-60", step{}},
		"one of five dead, no spare":                 {"L A B C D-60", step{remove, "d"}},
		"four of five step down to three":            {"L A B C d-60", step{demote, "c"}},
		"four step down by the one that is away":     {"L A- B C d-60 e-99", step{demote, "a"}},
		"two of five dead":                           {"L A B C-60 D-60", step{remove, "c"}},
		"then the other":                             {"L A B c-60 D-60", step{remove, "d"}},
		"no majority, no step":                       {"L A-99 B-99", step{}},
		"half is no majority":                        {"L A-99", step{}},
		"a voter taken off the list goes":            {"L A Bx c", step{remove, "b"}},
		"a voter off the list must leave a majority": {"L Ax B-5", step{demote, "b"}},
		"a waiting agent off the list goes":          {"L A B c+x", step{remove, "c"}},
		"the leader taken off the list resigns":      {"Lx A B", step{resign, "l"}},
		"but it needs a successor":                   {"Lx a b", step{enlist, "a"}},
		"who gets a vote":                            {"Lx a!", step{promote, "a"}},
		"and then is told to lead":                   {"Lx A", step{resign, "l"}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := nextStep("l", agents(t, c.agents), testSettle, testReplace); got != c.want {
				t.Errorf("%s: got %v, want %v", c.agents, got, c.want)
			}
		})
	}
}

func TestTargetVoters(t *testing.T) {
	want := []int{1, 1, 1, 3, 3, 5, 5, 5}
	for online, n := range want {
		if got := targetVoters(online); got != n {
			t.Errorf("targetVoters(%d) = %d, want %d", online, got, n)
		}
	}
}

// world is a cluster whose agents come and go while steps are taken.
type world struct {
	t   *testing.T
	rnd *rand.Rand
	all []server
}

func (w *world) count(is func(server) bool) (n int) {
	for _, s := range w.all {
		if is(s) {
			n++
		}
	}
	return n
}

func isVoter(s server) bool { return s.voter }
func isLive(s server) bool  { return s.voter && s.online }

// take takes a step as Raft would, and checks that it may be taken.
func (w *world) take(self string, st step) {
	i := slices.IndexFunc(w.all, func(s server) bool { return s.uid == st.uid })
	s, before := &w.all[i], fmt.Sprintf("%+v", w.all)
	if s.uid == self && st.kind != resign {
		w.t.Fatalf("the leader took %v of itself in %s", st, before)
	}
	switch st.kind {
	case enlist:
		s.member = true
	case promote:
		if !s.member || !s.ready || !s.online {
			w.t.Fatalf("%v of an agent that is not ready in %s", st, before)
		}
		s.voter = true
	case demote:
		s.voter = false
	case remove:
		s.voter, s.member, s.ready = false, false, false
	}
	if live, voters := w.count(isLive), w.count(isVoter); live <= voters/2 {
		w.t.Fatalf("%v leaves %d of %d voters online in %s", st, live, voters, before)
	}
}

// tick lets some seconds pass: agents come and go, catch up, are taken off the
// list and put on it again, but a majority of the voters stays.
func (w *world) tick(self string) {
	for i := range w.all {
		s := &w.all[i]
		s.since += 5 * time.Second
		s.ready = s.member && !s.voter && (s.ready || w.rnd.IntN(3) == 0)
		if s.uid == self || w.rnd.IntN(12) != 0 {
			continue
		}
		old := *s
		s.online, s.since = !s.online, 0
		s.listed = w.rnd.IntN(20) != 0
		if w.count(isLive) <= w.count(isVoter)/2 {
			*s = old
		}
	}
}

func TestNextStep_in_any_world(t *testing.T) {
	for seed := range uint64(300) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		w := &world{t: t, rnd: rnd}
		for i := range 1 + rnd.IntN(8) {
			w.all = append(w.all, server{uid: string(rune('a' + i)), online: true, listed: true})
		}
		self := "a"
		w.all[0].member, w.all[0].voter = true, true
		for range 200 {
			w.tick(self)
			if st := nextStep(self, w.all, testSettle, testReplace); st.kind != stay && st.kind != await && st.kind != resign {
				w.take(self, st)
			}
		}
		w.settle(self)
	}
}

// settle lets the world hold still and wants the right number of voters, all
// of them online, in the end.
func (w *world) settle(self string) {
	for range 200 {
		for i := range w.all {
			w.all[i].since += 5 * time.Second
			w.all[i].ready = w.all[i].member && !w.all[i].voter
		}
		if st := nextStep(self, w.all, testSettle, testReplace); st.kind != stay && st.kind != await {
			w.take(self, st)
		}
	}
	online := w.count(func(s server) bool { return s.online && (s.listed || s.uid == self) })
	if got, want := w.count(isVoter), targetVoters(online); got != want || w.count(isLive) != got {
		w.t.Fatalf("%d of %d voters are online among %d agents online, want %d: %+v", w.count(isLive), got, online, want, w.all)
	}
	if w.count(func(s server) bool { return s.member && !s.voter }) > 0 {
		w.t.Fatalf("an agent waits for a vote for ever: %+v", w.all)
	}
}
