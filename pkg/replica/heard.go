package replica

import (
	"math/rand/v2"

	"are-we-alive/pkg/awa"
)

// Caller is what an agent at an address says of itself in its requests.
func Caller(l List, addr, instance string) awa.Caller {
	m := l.Meta()
	c := awa.Caller{UID: m.UID, Instance: instance, Cluster: m.Cluster, History: m.History, Addr: addr}
	if c.Cluster != "" {
		at := l.Position()
		c.State, c.Digest = at.State, at.Digest
	}
	return c
}

// Answered is called for each answer to a ping: who leads, who votes, and
// whether that agent is ahead.
func (r *Replica) Answered(addr string, self awa.Self) {
	m := r.list.Meta()
	if self.IsOriginal() {
		r.replicator.original(addr, self.State)
	}
	if self.Cluster == "" || self.UID == r.uid {
		return
	}
	r.callers.answered(self)
	r.forgetOthersAt(addr, self.UID)
	r.observe(self.UID, addr, self.Cluster, self.History, self.Position())
	if self.Cluster != m.Cluster || self.History != m.History {
		return
	}
	r.noteAddr(self.UID, addr)
	r.learn(self)
	if self.State > r.list.State() {
		r.replicator.behind(addr, self.State)
	}
}

// Heard is called for each request that another agent sent: it may have moved,
// or be ahead.
func (r *Replica) Heard(from awa.Caller) {
	m := r.list.Meta()
	if from.Cluster == "" {
		return
	}
	r.noteCaller(from, m)
	if from.UID == r.uid {
		return
	}
	addr := from.Addr
	if listed, ok := r.listed(from.UID); ok && addr == "" {
		addr = listed
	}
	r.observe(from.UID, addr, from.Cluster, from.History, awa.Position{State: from.State, Digest: from.Digest})
	if from.Cluster != m.Cluster || from.History != m.History {
		return
	}
	r.called(from)
	if from.State > r.list.State() {
		r.behind(from, from.State)
	}
}

// called notes the address that an agent states as its own when it does not
// answer at the one on the list: the majority that could change the list may
// be waiting for it. When it does answer there, the caller is a copy of it.
func (r *Replica) called(from awa.Caller) {
	if listed, ok := r.listed(from.UID); !ok || from.Addr == "" || from.Addr == listed {
		return
	}
	if r.offline(from.UID) {
		r.noteAddr(from.UID, from.Addr)
	}
}

// behind notes that an agent is ahead. When the list is too old to know it, it
// is asked where it says it is; failing that, a contact may know as much.
func (r *Replica) behind(from awa.Caller, state uint64) {
	addr, ok := r.addr(from.UID)
	if !ok {
		addr = from.Addr
	}
	if n := len(r.cfg.Contacts); addr == "" && n > 0 {
		addr = r.cfg.Contacts[rand.N(n)]
	}
	if addr != "" {
		r.replicator.behind(addr, state)
	}
}
