package replica

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"sync"
	"time"

	"are-we-alive/pkg/awa"
)

// Every request of an agent carries its uid and address. A caller that does not match the
// list is either not on it, or one of two agents that claim a node: a second machine
// with the node's name, or one with a copy of its data folder. A request alone proves
// nothing, so the caller and the node are pinged.

const (
	// maxCallers bounds how many callers are looked at.
	maxCallers = 64
	// callerLasts is how long a caller and what was found of it are remembered after its
	// last request.
	callerLasts = 30 * time.Second
	// unlistedAfter is how long an agent may call before it is reported as unlisted: a new
	// one is about to register.
	unlistedAfter = 15 * time.Second
	// verifyEvery is how often the callers are pinged.
	verifyEvery = 5 * time.Second
)

// caller is an agent whose requests do not match the list.
type caller struct {
	from        awa.Caller
	first, last time.Time
	found       awa.Condition // zero while nothing is known
	at          time.Time     // when that was found
}

// callers are the agents whose requests do not match the list, and the last instances of
// all others.
type callers struct {
	mu        sync.Mutex
	byKey     map[string]caller // by uid and instance
	instances map[string]string // by uid, of agents that answered a ping
}

func newCallers() callers {
	return callers{byKey: map[string]caller{}, instances: map[string]string{}}
}

// answered notes the instance of an agent that answered at the address of its node.
func (c *callers) answered(self awa.Self) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known := c.instances[self.UID]; known || len(c.instances) < awa.MaxNodes {
		c.instances[self.UID] = self.Instance
	}
}

// conditions are what was found of callers.
func (c *callers) conditions() []awa.Condition {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []awa.Condition
	for _, k := range c.byKey {
		if k.found.Code != "" && time.Since(k.at) < callerLasts {
			all = append(all, k.found)
		}
	}
	return all
}

// noteCaller remembers an agent of this cluster whose request does not match the list.
func (r *Replica) noteCaller(from awa.Caller, m awa.Meta) {
	if from.Cluster != m.Cluster || from.History != m.History || from.Addr == "" || from.Instance == "" {
		return
	}
	listed, ok := r.listed(from.UID)
	c := &r.callers
	c.mu.Lock()
	defer c.mu.Unlock()
	instance, answered := c.instances[from.UID]
	switch {
	case from.UID == r.uid && from.Instance == r.cfg.Instance:
		return
	case from.UID != r.uid && ok && listed == from.Addr && (!answered || instance == from.Instance):
		return
	}
	key := from.UID + " " + from.Instance
	k, known := c.byKey[key]
	if !known && len(c.byKey) >= maxCallers {
		return
	}
	if !known {
		k.first = time.Now()
	}
	k.from, k.last = from, time.Now()
	c.byKey[key] = k
}

// watchCallers verifies the remembered callers every few seconds until ctx ends.
func (r *Replica) watchCallers(ctx context.Context) error {
	tick := time.NewTicker(min(verifyEvery, 5*r.cfg.Timing.Tick))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		r.verifyCallers(ctx)
		if r.copied.Load() || r.suspect() {
			r.copied.Store(r.isCopy(ctx, holderWithin))
		}
	}
}

func (r *Replica) verifyCallers(ctx context.Context) {
	var all sync.WaitGroup
	for key, k := range r.callers.current() {
		all.Go(func() {
			found := r.verify(ctx, k)
			r.callers.mu.Lock()
			defer r.callers.mu.Unlock()
			if now, ok := r.callers.byKey[key]; ok {
				if found.Code != "" && found.Code != now.found.Code {
					r.log.Warn("a request came from an agent that does not match the node list",
						"code", string(found.Code), "why", found.Text)
				}
				now.found, now.at = found, time.Now()
				r.callers.byKey[key] = now
			}
		})
	}
	all.Wait()
}

// current forgets the callers that call no more, and returns the others.
func (c *callers) current() map[string]caller {
	c.mu.Lock()
	defer c.mu.Unlock()
	maps.DeleteFunc(c.byKey, func(_ string, k caller) bool { return time.Since(k.last) > callerLasts })
	return maps.Clone(c.byKey)
}

// verify pings a caller, and the node that it claims to be.
func (r *Replica) verify(ctx context.Context, k caller) awa.Condition {
	self, at, err := r.reach(ctx, k.from)
	node, listed := r.list.Agent(k.from.UID)
	switch {
	case listed && err != nil: // the node has moved on, or the caller has
		return awa.Condition{}
	case listed && k.from.UID == r.uid:
		return awa.Condition{Code: awa.Duplicate, Agent: node.Name, Text: copies(node.Name, node.Addr(), at)}
	case listed:
		there, err := r.ping(ctx, node.Addr())
		if err != nil || there.UID != self.UID || there.Instance == self.Instance {
			return awa.Condition{}
		}
		if _, _, err := r.reach(ctx, k.from); err != nil { // it may have been restarted in between
			return awa.Condition{}
		}
		return awa.Condition{Code: awa.Duplicate, Agent: node.Name, Text: copies(node.Name, node.Addr(), at)}
	case err == nil && self.Cluster == r.list.Meta().Cluster:
		for _, n := range r.list.Nodes() {
			if n.Key() == awa.NameKey(self.Name) && n.UID != self.UID && r.answers(ctx, n) {
				return awa.Condition{Code: awa.Duplicate, Agent: n.Name, Text: fmt.Sprintf("two agents claim node %s: %s (on "+
					"the list) and %s: stop one of them, or start one with another my_name", n.Name, n.Addr(), at)}
			}
		}
	}
	// One that can't be pinged counts as long as it calls.
	fresh, silent := time.Since(k.first) < min(unlistedAfter, 15*r.cfg.Timing.Tick), time.Since(k.last) > callerLasts/2
	if fresh || err != nil && silent {
		return awa.Condition{}
	}
	return awa.Condition{Code: awa.Unlisted, Text: fmt.Sprintf("%s at %s uses the key of this cluster but is not on the "+
		"list: stop it, or register it with awa-agent run --join", orWord(self.Name, "an agent"), at)}
}

// answers reports whether a node's own agent answers at its address.
func (r *Replica) answers(ctx context.Context, n awa.Node) bool {
	self, err := r.ping(ctx, n.Addr())
	return n.UID == r.uid || err == nil && (self.UID == n.UID || n.UID == "" && awa.NameKey(self.Name) == n.Key())
}

// copies says that two agents have one uid.
func copies(name, listed, other string) string {
	return fmt.Sprintf("two agents claim node %s: %s (on the list) and %s: one of them runs on a copy of the data "+
		"folder of the other, so stop the copy and empty its data folder", name, listed, other)
}

// reach pings a caller where it says it is, or else where it called from.
func (r *Replica) reach(ctx context.Context, from awa.Caller) (self awa.Self, at string, err error) {
	at = from.Addr
	if self, err = r.ping(ctx, at); err == nil && self.UID == from.UID && self.Instance == from.Instance {
		return self, at, nil
	}
	_, port, splitErr := net.SplitHostPort(from.Addr)
	if splitErr != nil || from.IP == "" {
		return awa.Self{}, at, errNotThere
	}
	there := net.JoinHostPort(from.IP, port)
	if self, err = r.ping(ctx, there); err == nil && self.UID == from.UID && self.Instance == from.Instance {
		return self, there, nil
	}
	return awa.Self{}, at, errNotThere
}

var errNotThere = errors.New("the agent that called is not there")

// holdIfCopy keeps Raft stopped while another agent with this agent's uid answers at the
// address of its entry: two voters with one uid could vote twice.
func (r *Replica) holdIfCopy(ctx context.Context) error {
	if r.isCopy(ctx, time.Second) {
		r.copied.Store(true)
		return r.holdOrRelease()
	}
	return nil
}

// holdOrRelease stops Raft when another agent turns out to use this agent's uid. It starts
// Raft again when that one is gone and the list has this agent's address: during a
// partition the other one may only be out of sight.
func (r *Replica) holdOrRelease() error {
	switch copied, held := r.copied.Load(), r.raft.Held(); {
	case copied && !held:
		r.log.Error("another agent uses the uid of this one: this agent does not vote")
		return r.raft.Hold()
	case !copied && held && r.holdsEntry():
		r.log.Info("no other agent uses the uid of this one any more: this agent may vote again")
		return r.raft.Release()
	}
	return nil
}

// holdsEntry reports whether the list has this agent's address. The only voter can't edit
// the list before it leads.
func (r *Replica) holdsEntry() bool {
	entry, ok := r.list.Agent(r.uid)
	r.mu.Lock()
	defer r.mu.Unlock()
	return ok && entry.Addr() == r.ownAddr || r.onlyVoter()
}

// suspect reports whether another agent may run with this one's uid.
func (r *Replica) suspect() bool {
	r.mu.Lock()
	claimed := r.unregistered.Code == awa.Duplicate
	r.mu.Unlock()
	if claimed {
		return true
	}
	r.callers.mu.Lock()
	defer r.callers.mu.Unlock()
	for _, k := range r.callers.byKey {
		if k.from.UID == r.uid {
			return true
		}
	}
	return false
}

// isCopy reports whether another agent with this one's uid answers at the address of
// its entry, as this agent sees it or most of some others do. One that has just been
// started at another address may take itself for a copy for a moment: another agent may
// answer with a sweep that began before, and saw the process before.
func (r *Replica) isCopy(ctx context.Context, within time.Duration) bool {
	entry, ok := r.list.Agent(r.uid)
	if !ok {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	results := r.probeHolder(ctx, entry)
	alive := 0
	for _, s := range results {
		switch {
		case s.alive && s.own:
			return true
		case s.alive:
			alive++
		}
	}
	return 2*alive > len(results)
}
