package consensus

import (
	"cmp"
	"slices"
	"time"
)

// server is an agent as the choice of voters sees it.
type server struct {
	uid       string
	member    bool          // it stands in Raft's configuration
	voter     bool          // … with a vote
	online    bool          //
	since     time.Duration // how long it has been online or away
	listed    bool          // it is on the node list as one that may vote
	ready     bool          // its log is all but level with the leader's
	successor bool          // it is about to take the place of a voter on the list
}

// step is one change of Raft's configuration.
type step struct {
	kind stepKind
	uid  string
}

type stepKind string

const (
	stay    stepKind = ""
	await   stepKind = "await"   // a server catches up
	enlist  stepKind = "enlist"  // add without a vote, so that it catches up
	promote stepKind = "promote" // give it a vote
	demote  stepKind = "demote"  // take the vote
	remove  stepKind = "remove"
	resign  stepKind = "resign" // the leader itself is off the list, and another voter is not
)

// TargetVoters is how many voters a cluster should have for its number of
// agents online: one while fewer than three, three below five, else five.
func TargetVoters(online int) int {
	switch {
	case online < 3:
		return 1
	case online < 5:
		return 3
	}
	return 5
}

// nextStep chooses the next change of the configuration, if any. all holds
// each agent once, the leader (self) included; settle is how long an agent
// must be online to become a voter, replace how long a voter may be away.
//
// A dead voter loses its vote before its replacement gets one, since an even
// number needs a larger majority; but the replacement catches up before that,
// so that the time in between is short. No step is taken that would leave the configuration
// without a majority of voters online.
func nextStep(self string, all []server, settle, replace time.Duration) step {
	all = slices.Clone(all)
	slices.SortFunc(all, func(a, b server) int { return cmp.Compare(a.uid, b.uid) })
	var voters, live, heirs, present int
	for _, s := range all {
		if s.voter {
			voters++
			if s.online {
				live++
			}
			if s.online && s.listed && s.uid != self {
				heirs++
			}
		}
		if s.voter && !gone(s, replace) || !s.voter && settled(s, settle) {
			present++
		}
	}
	if live <= voters/2 {
		return step{} // nothing can be agreed on
	}
	if next := addSuccessor(all, voters, live); next.kind != stay {
		return next
	}
	for _, s := range all {
		switch {
		case s.uid == self && !s.listed && heirs > 0:
			return step{resign, s.uid}
		case s.uid == self || !s.member:
		case s.voter && gone(s, replace) && majorityAfter(voters-1, live, s.online):
			if spare := substitute(all, settle); spare.kind != stay && !s.online && s.since < 2*replace {
				return spare
			}
			return step{remove, s.uid}
		case !s.voter && (!s.listed || !s.online && s.since >= settle):
			return step{remove, s.uid}
		}
	}
	target := TargetVoters(present)
	if i := slices.IndexFunc(all, func(s server) bool { return s.uid == self }); !all[i].listed {
		voters-- // it needs a successor before it can resign
	}
	if voters > target {
		return shrink(self, all, voters, live)
	}
	return grow(all, target-voters, settle)
}

// addSuccessor adds a reinstalled server as a voter while its old uid still is one,
// so that the list can be edited at any moment while one server after the other is
// reinstalled. The old uid is removed once it is off the list.
func addSuccessor(all []server, voters, live int) step {
	for _, s := range all {
		switch {
		case !s.successor || s.voter:
		case !s.member:
			return step{enlist, s.uid}
		case !s.ready:
			return step{await, s.uid}
		case live+1 > (voters+1)/2:
			return step{promote, s.uid}
		}
	}
	return step{}
}

// gone reports whether a voter is to lose its vote.
func gone(s server, replace time.Duration) bool {
	return !s.listed || !s.online && s.since >= replace
}

// substitute finds an agent to take a dead voter's place and has it catch up:
// the step is to enlist it, to wait for it, or none when it is ready or there
// is nobody.
func substitute(all []server, settle time.Duration) step {
	var next step
	for _, s := range all {
		switch {
		case s.voter || !settled(s, settle):
		case s.member && s.ready:
			return step{}
		case s.member:
			next = step{await, s.uid}
		case next.kind == stay:
			next = step{enlist, s.uid}
		}
	}
	return next
}

// settled reports whether an agent may become a voter.
func settled(s server, settle time.Duration) bool {
	return s.listed && s.online && s.since >= settle
}

// majorityAfter reports whether the voters that stay can agree: live are those
// online before one leaves.
func majorityAfter(voters, live int, leaverOnline bool) bool {
	if leaverOnline {
		live--
	}
	return live > voters/2
}

// shrink takes one vote, of an agent that is away if there is one.
func shrink(self string, all []server, voters, live int) step {
	for _, online := range []bool{false, true} {
		for _, s := range slices.Backward(all) {
			if s.voter && s.uid != self && s.online == online && majorityAfter(voters-1, live, online) {
				return step{demote, s.uid}
			}
		}
	}
	return step{}
}

// grow adds need voters, or, when none are needed, lets those go that wait
// for a vote. Nobody gets a vote before all that are needed are ready: the
// step from one voter to two must not be where it ends.
func grow(all []server, need int, settle time.Duration) step {
	var waiting, ready int
	for _, s := range all {
		if s.member && !s.voter {
			waiting++
			if s.ready && s.online {
				ready++
			}
		}
	}
	for _, s := range all {
		switch {
		case s.voter:
		case s.member && waiting > need:
			return step{remove, s.uid}
		case s.member && s.ready && s.online && ready >= need:
			return step{promote, s.uid}
		case !s.member && waiting < need && settled(s, settle):
			return step{enlist, s.uid}
		}
	}
	return step{}
}
