package replica

import (
	"fmt"
	"maps"
	"time"

	"are-we-alive/pkg/awa"
)

// Machines are cloned, rolled back and restored, and then equal numbers are not
// equal lists. So each agent holds what the others say of their lists, in every
// ping and every request, against its own. What it finds is kept here, until
// that agent says something better or falls silent; reconcile acts on it.

// difference is what an agent said last of its list when it was not the same
// line of changes as ours.
type difference struct {
	code    awa.HealthCode
	addr    string // where it can be asked; "" when it is not known
	history awa.History
	at      time.Time
}

const (
	// differsFor is how long a difference holds that is not said again.
	differsFor = 30 * time.Second
	// maxDifferences bounds how many are remembered.
	maxDifferences = 1000
)

// Compare returns how another agent's list relates to this agent's, as far as that can be
// known from what it says: "" when one is the beginning of the other, or may be.
func (r *Replica) Compare(self awa.Self) awa.HealthCode {
	code, _ := r.compareLists(self.Cluster, self.History, self.Position())
	return code
}

// compareLists is Compare; known is false when the digests could not be compared,
// since the other list is longer or of a program that knows none.
func (r *Replica) compareLists(cluster string, h awa.History, at awa.Position) (code awa.HealthCode, known bool) {
	m := r.list.Meta()
	switch {
	case cluster == "" || m.Cluster == "":
		return "", false
	case cluster != m.Cluster:
		return awa.OtherCluster, true
	case h != m.History:
		return awa.OtherHistory, true
	case at.Digest == awa.Digest{}:
		return "", false
	}
	ours, held, err := r.list.DigestAt(at.State)
	switch {
	case err != nil || !held:
		return "", false
	case ours != at.Digest:
		return awa.Diverged, true
	}
	return "", true
}

// observe keeps what an agent, which can be asked at addr, says of its list.
func (r *Replica) observe(uid, addr, cluster string, h awa.History, at awa.Position) {
	code, known := r.compareLists(cluster, h, at)
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case code == "" && known:
		delete(r.differences, uid)
	case code != "":
		if _, had := r.differences[uid]; !had && len(r.differences) >= maxDifferences {
			clear(r.differences)
		}
		r.differences[uid] = difference{code, addr, h, time.Now()}
	}
}

// forgetOthersAt drops what was found of the agents that were asked at an address
// before: the agent uid answers there now.
func (r *Replica) forgetOthersAt(addr, uid string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	maps.DeleteFunc(r.differences, func(other string, d difference) bool { return d.addr == addr && other != uid })
}

// currentDifferences are the agents whose lists differ from ours as far as was heard
// lately, by uid.
func (r *Replica) currentDifferences() map[string]difference {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := map[string]difference{}
	for uid, d := range r.differences {
		if time.Since(d.at) > differsFor {
			delete(r.differences, uid)
			continue
		}
		all[uid] = d
	}
	return all
}

// Conditions are what this agent finds of its own list, and of agents that are
// not on it: those that are, Compare is for.
func (r *Replica) Conditions() []awa.Condition {
	all := append(r.ownConditions(), r.callers.conditions()...)
	for uid, d := range r.currentDifferences() {
		if _, listed := r.list.Agent(uid); listed {
			continue
		}
		name := orWord(d.addr, "the agent "+uid)
		switch d.code {
		case awa.OtherHistory:
			all = append(all, awa.Condition{Code: d.code, Text: fmt.Sprintf("%s follows history %s of this cluster, and this "+
				"agent history %s: %s", name, d.history, r.list.Meta().History, r.historyAdvice(d.history))})
		case awa.OtherCluster:
			all = append(all, awa.Condition{Code: d.code, Text: fmt.Sprintf("%s belongs to another cluster and calls this "+
				"one: empty the data folder of the agent that is wrong and let it join, or take the address off its list", name)})
		case awa.Diverged:
			all = append(all, awa.Condition{Code: d.code, Text: d.code.Of(name)})
		}
	}
	return all
}

// ownConditions are those of this agent itself.
func (r *Replica) ownConditions() []awa.Condition {
	r.mu.Lock()
	own, claim := r.own, r.unregistered
	r.mu.Unlock()
	var all []awa.Condition
	if entry, ok := r.list.Agent(r.uid); ok && r.raft.Held() && claim.Code != awa.Duplicate {
		claim = r.copyOf(entry, "another address")
	}
	damaged := awa.Condition{}
	if err := r.list.Damaged(); err != nil {
		damaged = awa.Condition{Code: awa.DataDamaged, Text: err.Error()}
	}
	for _, c := range []awa.Condition{own, claim, damaged, r.raft.Disk.Condition()} {
		if c.Code != "" {
			c.Agent = r.name(r.uid)
			all = append(all, c)
		}
	}
	return all
}

// historyAdvice says what becomes of an agent with another history.
func (r *Replica) historyAdvice(theirs awa.History) string {
	ours := r.list.Meta().History
	switch {
	case theirs.Epoch > ours.Epoch:
		return "this agent is about to follow it"
	case theirs.Epoch < ours.Epoch:
		return "it follows this one as soon as it can"
	}
	return "neither is the later one, so a person must choose: stop the agents of one, empty their data folders, and " +
		"let them join the other"
}

func orWord(s, word string) string {
	if s == "" {
		return word
	}
	return s
}

// setOwn sets, or with an empty code clears, what is wrong with this agent's
// own list.
func (r *Replica) setOwn(code awa.HealthCode, format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.own = awa.Condition{}
	if code != "" {
		r.own = awa.Condition{Code: code, Text: fmt.Sprintf(format, args...)}
	}
}
