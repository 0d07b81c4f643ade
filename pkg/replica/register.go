package replica

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-json"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/backoff"
)

const (
	// registerPause is the first pause before this agent tries again to register, and
	// maxRegisterPause the longest.
	registerPause    = 200 * time.Millisecond
	maxRegisterPause = 5 * time.Second
)

// StayRegistered registers this agent on the list with the host and port of want, and
// with its name unless the list has another one for this uid. It returns when ctx ends.
// It retries while no majority can be reached, and waits while another agent holds the
// entry or after this agent was removed: see holder.go. Once registered it watches its
// entry, and registers again when this agent follows another list.
func (r *Replica) StayRegistered(ctx context.Context, want awa.Node) error {
	r.mu.Lock()
	r.ownAddr = want.Addr()
	r.mu.Unlock()
	for pauses := backoff.New(registerPause, maxRegisterPause); ; {
		edit, why, err := r.registration(ctx, want)
		switch {
		case err != nil:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case why.Code != "":
			r.setUnregistered(why)
		case edit != nil:
			registered, err := r.register(ctx, want, *edit)
			if err != nil {
				return err
			}
			if registered {
				continue
			}
		case !r.upToDate(ctx):
			continue
		default:
			if err := r.watchEntry(ctx, want); err != nil {
				return err
			}
			pauses.Reset()
			continue
		}
		if err := r.awaitList(ctx, pauses.Next()); err != nil {
			return err
		}
	}
}

// register submits this agent's edit, and reports whether it was made. Only what a retry
// can't cure is an error.
func (r *Replica) register(ctx context.Context, want awa.Node, edit awa.ParsedEdit) (bool, error) {
	id, node, err := r.Edit(ctx, edit, 0)
	switch {
	case err == nil:
		r.log.Info("registered", "name", node.Name, "addr", want.Addr(), "action", string(edit.Edit().Action))
		waiting, cancel := context.WithTimeout(ctx, levelWait)
		defer cancel()
		r.list.Wait(waiting, id)
		return true, nil
	case ctx.Err() != nil:
		return false, ctx.Err()
	case errors.Is(err, awa.ErrBadInput):
		return false, err
	}
	// Refused for what this agent's list doesn't show yet, or not decided.
	r.log.Warn("not registered yet, trying again", "error", err)
	return false, nil
}

// awaitList waits for a change of the list, but no longer than a pause.
func (r *Replica) awaitList(ctx context.Context, pause time.Duration) error {
	waiting, cancel := context.WithTimeout(ctx, pause)
	defer cancel()
	if err := r.list.Wait(waiting, r.list.State()+1); err != nil && waiting.Err() == nil {
		return err
	}
	return ctx.Err()
}

const (
	// entryPoll is how often a registered agent looks at its entry.
	entryPoll = time.Second
	// elsewherePoll is how often it looks who answers at its entry's address when that
	// is not its own.
	elsewherePoll = 5 * time.Second
)

// watchEntry watches this agent's entry, which is as it should be, and returns when it is
// not on the list any more, or the list is another one. When somebody sets the entry to
// another address, that holds: it may be another name of this agent's own.
func (r *Replica) watchEntry(ctx context.Context, want awa.Node) error {
	r.rejoin.Store(false)
	r.takeOver.Store(false)
	r.setUnregistered(awa.Condition{})
	if n, ok := r.list.Agent(r.uid); ok && n.Key() != want.Key() {
		r.log.Warn("the list has another name for this node, which holds: awa-agent node set changes it",
			"name", n.Name, "my_name", want.Name)
	}
	if name := r.list.ClusterName(); r.cfg.ClusterName != "" && name != r.cfg.ClusterName {
		r.log.Warn("the cluster has another name, which holds: awa-agent cluster name changes it", "name", name,
			"cluster_name", r.cfg.ClusterName)
	}
	looked, at := time.Time{}, want.Addr()
	for {
		select {
		case <-r.rebased:
			return nil
		default:
		}
		n, ok := r.list.Agent(r.uid)
		switch {
		case !ok:
			return nil
		case n.Addr() == want.Addr():
			r.setUnregistered(awa.Condition{})
		case n.Addr() != at || time.Since(looked) >= elsewherePoll:
			r.setUnregistered(r.entryElsewhere(ctx, n, want))
			looked = time.Now()
		}
		at = n.Addr()
		if err := r.awaitList(ctx, entryPoll); err != nil {
			return err
		}
	}
}

// entryElsewhere says what is wrong when this agent's entry has another address than its
// own, if anything.
func (r *Replica) entryElsewhere(ctx context.Context, entry, want awa.Node) awa.Condition {
	self, err := r.ping(ctx, entry.Addr())
	switch {
	case err == nil && self.UID == r.uid && self.Instance == r.cfg.Instance:
		return awa.Condition{}
	case err == nil && self.UID == r.uid:
		return r.copyOf(entry, want.Addr())
	}
	return awa.Condition{Code: awa.NotReached, Text: fmt.Sprintf("the list has this agent at %s, where it does "+
		"not answer, "+
		"but it is at %s: run awa-agent node set %s --host %s --port %s, or restart this agent",
		entry.Addr(), want.Addr(), entry.Name, want.Host, want.Port)}
}

// setUnregistered keeps why this agent is not registered as configured; the zero Condition
// clears that.
func (r *Replica) setUnregistered(why awa.Condition) {
	r.mu.Lock()
	before := r.unregistered
	r.unregistered = why
	r.mu.Unlock()
	switch {
	case why.Code != "" && (why.Code != before.Code || why.Text != before.Text):
		r.log.Warn("this agent is not registered as configured", "code", string(why.Code), "why", why.Text)
	case why.Code == "" && before.Code != "":
		r.log.Info("this agent is registered as configured again", "code", string(before.Code))
	}
}

const (
	// levelAsked is how many agents upToDate asks.
	levelAsked = 3
	// levelWait is how long upToDate waits for what this agent's list lacks.
	levelWait = 10 * time.Second
)

// upToDate reports whether no other agent is ahead, as far as a few of them say.
// One that was stopped just after it had registered at an address may not hold
// that edit, and must not take its old entry for the one that holds.
func (r *Replica) upToDate(ctx context.Context) bool {
	had, newest := r.list.State(), uint64(0)
	nodes := r.list.Nodes()
	asked := 0
	for _, i := range rand.Perm(len(nodes)) {
		if asked == levelAsked {
			break
		}
		if nodes[i].UID == "" || nodes[i].UID == r.uid {
			continue
		}
		asked++
		self, err := r.ping(ctx, nodes[i].Addr())
		if m := r.list.Meta(); err == nil && self.UID == nodes[i].UID && self.Cluster == m.Cluster &&
			self.History == m.History {
			r.Answered(nodes[i].Addr(), self)
			newest = max(newest, self.State)
		}
	}
	if newest <= had {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, levelWait)
	defer cancel()
	r.list.Wait(ctx, had+1) // whoever says too much never gets there
	return r.list.State() == had
}

// registration returns the edit that registers this agent, or nil; or why it must wait.
func (r *Replica) registration(ctx context.Context, want awa.Node) (e *awa.ParsedEdit, why awa.Condition, err error) {
	nodes := r.list.Nodes()
	byUID := slices.IndexFunc(nodes, func(n awa.Node) bool { return n.UID == r.uid })
	byName := slices.IndexFunc(nodes, func(n awa.Node) bool { return n.Key() == want.Key() })
	if byUID >= 0 {
		want.Name, byName = nodes[byUID].Name, byUID
	}
	if byUID >= 0 && nodes[byUID].Addr() == want.Addr() {
		old := nodes[byUID]
		if r.newClusterName() != "" || !old.ConfiguredAs(old.Configure(want.Labels, want.Ephemeral)) {
			e, err = r.registrationEdit(awa.Update, old, want)
		}
		return e, awa.Condition{}, err
	}
	planned := byName >= 0 && nodes[byName].UID == ""
	if byUID < 0 && !planned && !r.rejoin.Load() && !r.takeOver.Load() {
		if why, err := r.removed(want); why.Code != "" || err != nil {
			return nil, why, err
		}
	}
	if byName < 0 {
		e, err = r.registrationEdit(awa.Create, awa.Node{}, want)
		return e, awa.Condition{}, err
	}
	old := nodes[byName]
	if !r.takeOver.Load() {
		if why := r.claimBlocked(ctx, old, want); why.Code != "" {
			return nil, why, nil
		}
	}
	e, err = r.registrationEdit(awa.Update, old, want)
	return e, awa.Condition{}, err
}

// newClusterName is the name to give to the cluster, "" for none.
func (r *Replica) newClusterName() string {
	if r.list.ClusterName() != "" {
		return ""
	}
	return r.cfg.ClusterName
}

// removed reports that this agent's entry was removed from the list, if it was: then
// it must not come back by itself. The changes say who has done so.
func (r *Replica) removed(want awa.Node) (awa.Condition, error) {
	var entry uint64 // the node that had this agent's uid last
	var last awa.Change
	for since := uint64(0); ; {
		changes, err := r.list.Changes(since, page)
		if err != nil {
			return awa.Condition{}, fmt.Errorf("read the changes: %w", err)
		}
		for _, c := range changes {
			since = c.ID
			if entry == 0 && !strings.Contains(c.Data, r.uid) {
				continue
			}
			n, _, _, err := c.Node()
			switch {
			case err != nil:
			case c.Action == awa.Delete:
				if n.ID == entry {
					last, entry = c, 0
				}
			case n.UID == r.uid:
				last, entry = awa.Change{}, n.ID
			case n.ID == entry:
				last, entry = awa.Change{}, 0 // another agent has it
			}
		}
		if len(changes) == 0 {
			break
		}
	}
	if last.ID == 0 {
		return awa.Condition{}, nil
	}
	_, by, at, err := last.Node()
	if err != nil || by == awa.ByExpiry { // nobody wished that
		return awa.Condition{}, nil
	}
	return awa.Condition{Code: awa.Unlisted, Text: fmt.Sprintf("this agent was removed from the list by %s at "+
		"%s: stop it, "+
		"or register it again with awa-agent run --join or awa-agent node add %s %s %s",
		orWord(by, "somebody"), orWord(at, "a time that is not known"), want.Name, want.Host, want.Port)}, nil
}

// registrationEdit returns the edit that makes want, with this agent's uid, the entry old;
// the zero old is none yet. The labels and Ephemeral of want are those of its configuration.
func (r *Replica) registrationEdit(a awa.Action, old, want awa.Node) (*awa.ParsedEdit, error) {
	fields := map[string]any{"name": want.Name, "host": want.Host, "port": want.Port, "uid": r.uid, "by": "agent " +
		want.Name}
	if a == awa.Update {
		fields["id"] = old.ID
	}
	if n := old.Configure(want.Labels, want.Ephemeral); !n.ConfiguredAs(old) {
		fields["labels"], fields["ephemeral"], fields["configured"] = n.Labels, n.Ephemeral, n.Configured
	}
	if name := r.newClusterName(); name != "" {
		fields["cluster_name"] = name
	}
	b, err := json.Marshal(fields)
	if err != nil {
		return nil, err
	}
	e, err := awa.Edit{Action: a, Data: b, Key: awa.NewUID(), IfChanged: old.Changed}.Parse()
	if err == nil {
		e, err = e.Stamped("", time.Now())
	}
	return &e, err
}
