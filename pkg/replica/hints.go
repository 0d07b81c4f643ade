package replica

import (
	"slices"
	"time"

	"are-we-alive/pkg/awa"
)

// What other agents say of the leader and the voters is kept in memory alone,
// one view for each agent, and replaced by what it says next. Nothing of it is
// believed by a voter, which has Raft; others need to know where to send an
// edit, and ask elsewhere when it was not true.

// view is what an agent said last of who leads.
type view struct {
	leader string
	voters []string // of a leader: the voters as it knows them
	at     time.Time
}

// The bounds of a set of voters that is believed. There are five at most, and
// six for a moment.
const (
	maxVotersTold = 16
	maxUID        = 64 // characters
)

// learn takes what an agent on the list says of the leader.
func (r *Replica) learn(self awa.Self) {
	if _, ok := r.listed(self.UID); !ok || len(self.Leader) > maxUID {
		return
	}
	v := view{leader: self.Leader, at: time.Now()}
	if told := self.Voters; told != nil && self.Leader == self.UID {
		if len(told.UIDs) == 0 || len(told.UIDs) > maxVotersTold || slices.ContainsFunc(told.UIDs,
			func(uid string) bool { return len(uid) > maxUID }) {
			return
		}
		v.voters = slices.Clone(told.UIDs)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.views[self.UID] = v
	if len(r.views) > 2*len(r.list.Nodes())+maxVotersTold {
		for uid := range r.views {
			if _, ok := r.listed(uid); !ok {
				delete(r.views, uid)
			}
		}
	}
}

// claim is the leader, and its voters, that most of the voters it names agree
// with; of two with as many the one that said so last. Neither a term nor an
// index counts, since anybody can say a high one.
func (r *Replica) claim() (leader string, voters []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	most, at := 0, time.Time{}
	for uid, v := range r.views {
		if v.leader != uid || len(v.voters) == 0 {
			continue
		}
		agree := 0
		for _, voter := range v.voters {
			if r.views[voter].leader == uid {
				agree++
			}
		}
		if agree > most || agree == most && v.at.After(at) {
			leader, voters, most, at = uid, v.voters, agree, v.at
		}
	}
	return leader, voters
}

// claimants are all agents that say they lead, the likeliest first.
func (r *Replica) claimants() []string {
	first, _ := r.claim()
	if first == "" {
		return nil
	}
	all := []string{first}
	r.mu.Lock()
	defer r.mu.Unlock()
	for uid, v := range r.views {
		if v.leader == uid && uid != first && len(all) < maxVotersTold {
			all = append(all, uid)
		}
	}
	return all
}

// leaderAddr is where the leader can be asked, "" when it is not known or is
// this agent.
func (r *Replica) leaderAddr() string {
	uid := r.leaderUID()
	if addr, ok := r.addr(uid); ok && uid != r.uid {
		return addr
	}
	return ""
}

// leaderUID is the leader, or the agent that claims to be it.
func (r *Replica) leaderUID() string {
	uid := r.Leader()
	if uid == "" {
		uid, _ = r.claim()
	}
	return uid
}

// leaderOffline reports whether the leader was offline when this agent looked.
func (r *Replica) leaderOffline() bool { return r.offline(r.leaderUID()) }
