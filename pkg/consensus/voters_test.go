package consensus

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestTargetVoters(t *testing.T) {
	for online, want := range []int{1, 1, 1, 3, 3, 5, 5, 5} {
		if got := TargetVoters(online); got != want {
			t.Errorf("%d agents online should have %d voters, not %d", online, want, got)
		}
	}
}

const (
	settle  = 10 * time.Second
	replace = time.Minute
)

// parse reads a cluster such as "A V- m+ o". A letter is an agent, called by
// its place: A the leader, V a voter, M a member without a vote, R one whose
// log is level, O any other. An agent has been online for long, unless a sign
// follows: + online just now, - away just now, x away for long enough to be
// replaced, ? away for twice that, u off the list, h about to take the place of a
// voter.
func parse(t *testing.T, text string) (self string, all []server) {
	t.Helper()
	for i, word := range strings.Fields(text) {
		s := server{uid: fmt.Sprintf("%d", i), listed: true, online: true, since: time.Hour}
		switch word[0] {
		case 'A':
			s.member, s.voter, self = true, true, s.uid
		case 'V':
			s.member, s.voter = true, true
		case 'R':
			s.member, s.ready = true, true
		case 'M':
			s.member = true
		case 'O':
		default:
			t.Fatalf("%s is not an agent", word)
		}
		for _, sign := range word[1:] {
			switch sign {
			case '+':
				s.since = 0
			case '-':
				s.online, s.since = false, time.Second
			case 'x':
				s.online, s.since = false, replace
			case '?':
				s.online, s.since = false, 2*replace
			case 'h':
				s.successor = true
			case 'u':
				s.listed = false
			default:
				t.Fatalf("%s is not a sign", word)
			}
		}
		all = append(all, s)
	}
	return self, all
}

func TestNextStep(t *testing.T) {
	for name, test := range map[string]struct{ cluster, want string }{
		"alone":                                       {"A", ""},
		"two stay with one voter":                     {"A O", ""},
		"three: the first candidate":                  {"A O O", "enlist 1"},
		"three: the second candidate":                 {"A M O", "enlist 2"},
		"three: not before both are ready":            {"A R M", ""},
		"three: both are ready":                       {"A R R", "promote 1"},
		"three: the last vote":                        {"A V R", "promote 2"},
		"three are there":                             {"A V V", ""},
		"who came just now waits":                     {"A O O+", ""},
		"four stay with three":                        {"A V V O", ""},
		"five: more candidates":                       {"A V V O O", "enlist 3"},
		"five: both are ready":                        {"A V V R R", "promote 3"},
		"six stay with five":                          {"A V V V V O", ""},
		"a candidate that is not needed goes":         {"A V V M", "remove 3"},
		"a candidate that is away goes":               {"A V M? O O", "remove 2"},
		"a candidate off the list goes":               {"A V Mu O O", "remove 2"},
		"a voter away for a moment stays":             {"A V V- O", ""},
		"a dead voter: its substitute first":          {"A V Vx O", "enlist 3"},
		"a dead voter: the substitute catches up":     {"A V Vx M", "await 3"},
		"a dead voter: the substitute is ready":       {"A V Vx R", "remove 2"},
		"a dead voter: the substitute gets the vote":  {"A V R", "promote 2"},
		"a dead voter: the substitute is too slow":    {"A V V? M", "remove 2"},
		"a dead voter without a substitute":           {"A V Vx", "remove 2"},
		"the second of three can't go yet":            {"A V- Vx", ""},
		"two voters left become one":                  {"A V", "demote 1"},
		"two voters and one is away":                  {"A V-", ""},
		"two dead of five":                            {"A V V Vx Vx", "remove 3"},
		"four voters become three":                    {"A V V V", "demote 3"},
		"four voters: the absent one goes":            {"A V- V V", "demote 1"},
		"without a majority nothing helps":            {"A Vx Vx O O", ""},
		"a voter off the list goes":                   {"A V Vu O", "remove 2"},
		"a voter off the list waits for the majority": {"A V- Vu", "demote 1"},
		"a leader off the list makes room":            {"Au V V O", "resign 0"},
		"a leader off the list finds a successor":     {"Au O", "enlist 1"},
		"a leader off the list waits for it":          {"Au M", ""},
		"a leader off the list assigns it a vote":     {"Au R", "promote 1"},
		"a leader off the list alone":                 {"Au", ""},
		"all voters off the list: not in turn":        {"Au Vu Vu O", "remove 1"},
		"the last voter off the list finds another":   {"Au O", "enlist 1"},
		"a reinstalled voter is enlisted":             {"A V Vx Oh", "enlist 3"},
		"a reinstalled voter catches up":              {"A V Vx Mh", "await 3"},
		"a reinstalled voter gets its vote":           {"A V Vx Rh", "promote 3"},
		"then the one that it was goes":               {"A V Vu- Vh", "remove 2"},
		"a reinstalled voter, and two are alive":      {"A V- V- V V Rh", "promote 5"},
		"a reinstalled voter of two":                  {"A V- Rh", ""},
	} {
		t.Run(name, func(t *testing.T) {
			self, all := parse(t, test.cluster)
			got := nextStep(self, all, settle, replace)
			if text := strings.TrimSpace(string(got.kind) + " " + got.uid); text != test.want {
				t.Errorf("%s: %q, not %q", test.cluster, text, test.want)
			}
		})
	}
}

// world is a cluster over time, in which agents come and go at random and a
// leader, if a majority of the voters is there, takes one step a second.
type world struct {
	t    *testing.T
	rand *rand.Rand
	all  []server
	self int // index of the leader, -1 for none
	log  []string
}

func TestNextStep_AnyWorld(t *testing.T) {
	for seed := range uint64(2000) {
		w := &world{t: t, rand: rand.New(rand.NewPCG(seed, 0)), self: -1}
		for i := range 1 + w.rand.IntN(9) {
			w.all = append(w.all, server{uid: string(rune('a' + i)), listed: true, online: w.rand.IntN(3) > 0})
		}
		w.all[0].member, w.all[0].voter = true, true
		for range 300 {
			w.tick()
			if w.rand.IntN(20) == 0 {
				w.happen()
			}
		}
		for range 300 { // the world holds still
			w.tick()
		}
		w.check()
		if t.Failed() {
			t.Fatalf("seed %d:\n%s", seed, strings.Join(w.log, "\n"))
		}
	}
}

// happen has something happen to an agent.
func (w *world) happen() {
	s := &w.all[w.rand.IntN(len(w.all))]
	if w.rand.IntN(10) == 0 {
		s.listed = !s.listed
		w.note("%s listed %v", s.uid, s.listed)
		return
	}
	s.online, s.since = !s.online, 0
	w.note("%s online %v", s.uid, s.online)
}

func (w *world) note(format string, args ...any) {
	w.log = append(w.log, fmt.Sprintf(format, args...))
}

// tick lets a second pass.
func (w *world) tick() {
	for i := range w.all {
		s := &w.all[i]
		s.since += time.Second
		s.ready = s.member && (s.ready || s.online && w.rand.IntN(3) == 0)
	}
	w.elect()
	if w.self < 0 {
		return
	}
	step := nextStep(w.all[w.self].uid, w.all, settle, replace)
	if step.kind != stay {
		w.note("%s: %s %s", w.all[w.self].uid, step.kind, step.uid)
		w.take(step)
	}
}

// elect finds a leader when there is none that is alive.
func (w *world) elect() {
	voters, live := w.votes()
	if w.self >= 0 && w.all[w.self].online && w.all[w.self].voter && live > voters/2 {
		return
	}
	w.self = -1
	if live > voters/2 {
		w.self = slices.IndexFunc(w.all, func(s server) bool { return s.voter && s.online })
	}
}

func (w *world) votes() (voters, live int) {
	for _, s := range w.all {
		if s.voter {
			voters++
		}
		if s.voter && s.online {
			live++
		}
	}
	return voters, live
}

// take does a step and checks that it may be done.
func (w *world) take(step step) {
	i := slices.IndexFunc(w.all, func(s server) bool { return s.uid == step.uid })
	s, voters := &w.all[i], 0
	voters, _ = w.votes()
	wrong := ""
	switch step.kind {
	case enlist:
		if s.member || !settled(*s, settle) {
			wrong = "it is a member, or may not be one"
		}
		s.member, s.ready = true, false
	case promote:
		ready := 0
		for _, other := range w.all {
			if !other.voter && other.member && other.ready && other.online {
				ready++
			}
		}
		if !s.member || s.voter || !s.ready || !s.online {
			wrong = "it can't vote yet"
		} else if voters == 1 && ready < 2 && w.all[w.self].listed {
			wrong = "two voters are worse than one"
		}
		s.voter = true
	case demote:
		if !s.voter || i == w.self {
			wrong = "it has no vote to lose"
		}
		s.voter = false
	case remove:
		if !s.member || i == w.self {
			wrong = "it is not a member, or the leader"
		}
		s.member, s.voter, s.ready = false, false, false
	case resign:
		if i != w.self || s.listed {
			wrong = "only a leader off the list resigns"
		}
		w.self = slices.IndexFunc(w.all, func(o server) bool { return o.voter && o.online && o.uid != s.uid })
	}
	if voters, live := w.votes(); live <= voters/2 {
		wrong = fmt.Sprintf("%d of %d voters are left", live, voters)
	}
	if wrong != "" {
		w.t.Errorf("%s %s: %s", step.kind, step.uid, wrong)
	}
}

// check asserts what must be so when the world has held still for long: as
// many voters as there should be, all of them online and on the list, and
// nobody who waits for a vote.
func (w *world) check() {
	if w.self < 0 {
		return // the majority is lost
	}
	online, voters := 0, 0
	for _, s := range w.all {
		if s.listed && s.online {
			online++
		}
		if s.voter {
			voters++
		}
	}
	if online == 0 {
		return // the last agent is off the list
	}
	if voters != TargetVoters(online) {
		w.t.Errorf("%d agents have %d voters", online, voters)
	}
	for _, s := range w.all {
		if s.voter && !(s.online && s.listed) || s.member && !s.voter {
			w.t.Errorf("in the end there is %+v", s)
		}
	}
}
