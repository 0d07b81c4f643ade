package replica

import (
	"context"
	"slices"
	"time"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/backoff"
	"are-we-alive/pkg/consensus"
)

// A reinstalled server has its name and a new uid, with which it takes over its
// entry. Where its vote is needed, the leader makes the new uid a voter first, and
// only then decides the edit: so whoever sees the server on the list may reinstall
// the next one.

// successor is an agent that is about to take over an entry.
type successor struct {
	addr  string
	of    string // uid of the entry before
	until time.Time
}

const (
	// succeedWithin is how long the edit waits for the vote. It must be below
	// Timing.Patience.
	succeedWithin = 5 * time.Second
	// successorFor is how long a successor counts as on the list, where it is about
	// to be.
	successorFor = 15 * time.Second
	// maxSuccessors bounds how many there are at a time.
	maxSuccessors = 5
)

// awaitSuccessor waits until the agent that takes over an entry by an edit has its
// vote, if one is needed, or for succeedWithin.
func (r *Replica) awaitSuccessor(ctx context.Context, e awa.ParsedEdit) {
	uid, s, ok := r.successorOf(e)
	if !ok || !r.admit(uid, s) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, succeedWithin)
	defer cancel()
	settled := func() bool {
		if !r.IsLeader() || !r.needs(uid, s) {
			return true
		}
		select {
		case r.wakeManager <- struct{}{}: // the manager need not wait for its next tick
		default:
		}
		return false
	}
	backoff.Poll(ctx, 5*time.Millisecond, 100*time.Millisecond, settled)
}

// admit makes an agent a successor, unless there are many.
func (r *Replica) admit(uid string, s successor) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for other, old := range r.successors {
		if time.Now().After(old.until) {
			delete(r.successors, other)
		}
	}
	if _, known := r.successors[uid]; !known && len(r.successors) >= maxSuccessors {
		return false
	}
	r.successors[uid] = s
	return true
}

// needs reports whether a successor still has to get a vote: it takes the place of
// a voter, or there are too few.
func (r *Replica) needs(uid string, s successor) bool {
	voters := r.list.Meta().Voters.UIDs
	online := 2 // this agent and the successor
	for _, n := range r.list.Nodes() {
		if n.UID != r.uid && n.UID != uid && n.UID != s.of && r.online(n.UID) {
			online++
		}
	}
	if slices.Contains(voters, uid) {
		return len(voters) < consensus.TargetVoters(online)
	}
	return slices.Contains(voters, s.of) || len(voters) < consensus.TargetVoters(online)
}

// successorOf returns the agent that takes over an entry by an edit; ok is false
// when none does.
func (r *Replica) successorOf(e awa.ParsedEdit) (uid string, s successor, ok bool) {
	to := e.Node()
	if e.Edit().Action != awa.Update || to.UID == "" {
		return "", successor{}, false
	}
	nodes := r.list.Nodes()
	i := slices.IndexFunc(nodes, func(n awa.Node) bool { return n.ID == to.ID })
	if i < 0 || nodes[i].UID == "" || nodes[i].UID == to.UID {
		return "", successor{}, false
	}
	return to.UID, successor{to.Addr(), nodes[i].UID, time.Now().Add(successorFor)}, true
}

// currentSuccessors returns the successors whose time is not over, by uid.
func (r *Replica) currentSuccessors() map[string]successor {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := map[string]successor{}
	for uid, s := range r.successors {
		if time.Now().Before(s.until) {
			all[uid] = s
		}
	}
	return all
}
