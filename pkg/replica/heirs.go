package replica

import (
	"context"
	"slices"
	"time"

	"github.com/goccy/go-json"

	"are-we-alive/pkg/awa"
)

// A reinstalled server has its name and a new uid, with which it takes over its
// entry. Where its vote is needed, the leader makes the new uid a voter first, and
// only then decides the edit: so whoever sees the server on the list may reinstall
// the next one.

// heir is an agent that is about to take over an entry.
type heir struct {
	addr  string
	of    string // uid of the entry before
	until time.Time
}

const (
	// inheritWithin is how long the edit waits for the vote. It must be below
	// Timing.Patience.
	inheritWithin = 5 * time.Second
	// heirFor is how long an heir counts as on the list, where it will be then.
	heirFor = 15 * time.Second
	// maxHeirs bounds how many there are at a time.
	maxHeirs = 5
)

// letInherit waits until the agent that takes over an entry by an edit is a
// voter, if one more is needed, or its time is over.
func (r *Replica) letInherit(ctx context.Context, e awa.Edit) {
	uid, h, ok := r.inherits(e)
	if !ok || !r.admit(uid, h) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, inheritWithin)
	defer cancel()
	for pause := 5 * time.Millisecond; r.IsLeader() && r.needs(uid, h); pause = min(2*pause, 100*time.Millisecond) {
		select {
		case r.hurry <- struct{}{}: // the manager need not wait for its next tick
		default:
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
	}
}

// admit makes an agent an heir, unless there are many.
func (r *Replica) admit(uid string, h heir) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for other, h := range r.heirs {
		if time.Now().After(h.until) {
			delete(r.heirs, other)
		}
	}
	if _, known := r.heirs[uid]; !known && len(r.heirs) >= maxHeirs {
		return false
	}
	r.heirs[uid] = h
	return true
}

// needs reports whether the vote of an heir is still to come: it takes the place
// of a voter, or there are too few.
func (r *Replica) needs(uid string, h heir) bool {
	voters := r.list.Meta().Voters.UIDs
	online := 2 // this agent and the heir
	for other, look := range r.cfg.Seen() {
		if look.Online && other != r.uid && other != uid && other != h.of {
			online++
		}
	}
	if slices.Contains(voters, uid) {
		return len(voters) < targetVoters(online)
	}
	return slices.Contains(voters, h.of) || len(voters) < targetVoters(online)
}

// inherits says whether an edit has another agent take over an entry, and which.
func (r *Replica) inherits(e awa.Edit) (uid string, h heir, ok bool) {
	var to struct {
		ID   uint64   `json:"id"`
		UID  string   `json:"uid"`
		Host string   `json:"host"`
		Port awa.Port `json:"port"`
	}
	if e.Action != awa.Update || json.Unmarshal(e.Data, &to) != nil || to.UID == "" {
		return "", heir{}, false
	}
	nodes := r.list.Nodes()
	i := slices.IndexFunc(nodes, func(n awa.Node) bool { return n.ID == to.ID })
	if i < 0 || nodes[i].UID == "" || nodes[i].UID == to.UID {
		return "", heir{}, false
	}
	return to.UID, heir{awa.Addr(to.Host, to.Port), nodes[i].UID, time.Now().Add(heirFor)}, true
}

// heirsNow are the heirs there are now, by uid.
func (r *Replica) heirsNow() map[string]heir {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := map[string]heir{}
	for uid, h := range r.heirs {
		if time.Now().Before(h.until) {
			all[uid] = h
		}
	}
	return all
}
