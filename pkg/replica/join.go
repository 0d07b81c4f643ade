package replica

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-json"
	"github.com/hashicorp/raft"

	"are-we-alive/pkg/awa"
)

// Bootstrap makes a new cluster with this agent as its only voter. The data
// folder must hold no list.
func Bootstrap(list List, dir string) error {
	return Found(list, dir, awa.ChangeSet{Cluster: awa.NewUID(), History: awa.NewHistory(awa.History{})})
}

// Found gives an empty data folder a list, with this agent as its only voter.
// The list comes last: when the power fails before, the folder still counts as
// empty and the next try begins anew.
func Found(list List, dir string, set awa.ChangeSet) error {
	if m := list.Meta(); m.Cluster != "" {
		return fmt.Errorf("the data folder holds the list of cluster %s already", m.Cluster)
	}
	if err := forget(list, dir); err != nil {
		return err
	}
	index, term := nextPlace(list)
	set.Changes = slices.Clone(set.Changes)
	for i, c := range set.Changes {
		if c.Index >= noPlace || c.Term >= noPlace {
			set.Changes[i].Index, set.Changes[i].Term = 0, 0
			continue
		}
		index, term = max(index, c.Index+1), max(term, c.Term+1)
	}
	head := snapshotHead{
		Version: snapshotPosition, Cluster: set.Cluster, History: set.History, State: uint64(len(set.Changes)),
		Digest: awa.DigestOf(set.Cluster, set.Changes), Index: index, Term: term,
	}
	err := bootstrapLog(list, dir, head)
	if err == nil {
		err = list.Found(set)
	}
	if err != nil {
		return errors.Join(err, forget(list, dir))
	}
	return nil
}

// nextPlace is a place in Raft's log behind everything that the log has held,
// in a term that nobody has voted in.
func nextPlace(list List) (index, term uint64) {
	disk := raftLog{disk: list, fail: func(error) {}}
	if old, err := disk.GetUint64([]byte("CurrentTerm")); err == nil {
		term = old
	}
	_, last, _ := list.LogBounds()
	return last + 1, max(term, 1)
}

// bootstrapLog creates Raft's log with a snapshot, and this agent as the only voter.
// There must be no log.
func bootstrapLog(list List, dir string, head snapshotHead) error {
	uid := list.Meta().UID
	config := raft.Configuration{Servers: []raft.Server{{ID: raft.ServerID(uid), Address: raft.ServerAddress(uid)}}}
	snaps, err := openSnapshots(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	_, trans := raft.NewInmemTransport("")
	head.Voters = voterSet(head.Index, config.Servers)
	sink, err := snaps.Create(raft.SnapshotVersionMax, head.Index, head.Term, config, head.Index, trans)
	if err != nil {
		return fmt.Errorf("write the first snapshot: %w", err)
	}
	if err := (&snapshot{head}).Persist(sink); err != nil {
		return fmt.Errorf("write the first snapshot: %w", err)
	}
	return list.SetStable("CurrentTerm", bigEndian(head.Term))
}

// noPlace is an index or a term that no Raft log comes to, at a million entries
// a second, in a hundred thousand years.
const noPlace = 1 << 62

// forget drops what an attempt to found a list may have left of Raft: it
// must not lead a list that is joined later.
func forget(list List, dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return list.ClearLog()
}

// Join fetches the list from one of the contacts, asked in random order,
// again with growing pauses while none answers. It returns when the list is
// here, or with ctx's error.
func Join(ctx context.Context, cfg Config) error {
	for pause := time.Second; ; pause = min(pause*3/2, 30*time.Second) {
		joined, failed := joinAny(ctx, cfg, syncTimeout)
		if joined || ctx.Err() != nil {
			return ctx.Err()
		}
		wait := jitter(pause)
		cfg.Log.Warn("no agent to join answers, trying again; a new cluster needs one agent that is started with --first", "tried", strings.Join(failed, ", "), "wait", wait.Round(time.Millisecond))
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// JoinNow is Join, but asks each contact just once, and reports whether one had
// the list.
func JoinNow(ctx context.Context, cfg Config) (joined bool, err error) {
	joined, failed := joinAny(ctx, cfg, 2*time.Second)
	if !joined {
		cfg.Log.Info("no agent to join answers with a list", "tried", strings.Join(failed, ", "))
	}
	return joined, ctx.Err()
}

// joinAny asks the contacts in random order until one has the list, and waits
// for each for so long.
func joinAny(ctx context.Context, cfg Config, patience time.Duration) (joined bool, failed []string) {
	for _, i := range rand.Perm(len(cfg.Contacts)) {
		addr := cfg.Contacts[i]
		err := joinFrom(ctx, cfg, addr, patience)
		if err == nil || ctx.Err() != nil {
			return err == nil, failed
		}
		failed = append(failed, fmt.Sprintf("%s (%v)", addr, err))
	}
	return false, failed
}

// jitter spreads a pause by a quarter, so that agents that were started
// together don't ask together.
func jitter(d time.Duration) time.Duration {
	return d*3/4 + rand.N(d/2+1)
}

func joinFrom(ctx context.Context, cfg Config, addr string, patience time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	set, err := cfg.Peers.Sync(ctx, addr, awa.Position{}, page)
	if err != nil {
		return err
	}
	if set.Cluster == "" {
		return notJoined()
	}
	if err := forget(cfg.List, cfg.Dir); err != nil {
		return err
	}
	if err := cfg.List.Found(set); err != nil {
		return err
	}
	cfg.Log.Info("joined", "from", addr, "cluster", set.Cluster, "state", set.State)
	for cfg.List.State() < set.State {
		more, err := cfg.Peers.Sync(ctx, addr, cfg.List.Position(), page)
		if err == nil && len(more.Changes) > 0 {
			err = cfg.List.Apply(more.Changes)
		}
		if err != nil || len(more.Changes) == 0 {
			return nil // pings tell soon who has the rest
		}
	}
	return nil
}

// Meet asks the contacts, in random order, what they hold, again with growing
// pauses while none answers: this agent may have been away while all others
// moved. It fails with awa.ErrOtherCluster when one belongs to a cluster that
// was bootstrapped apart.
func (r *Replica) Meet(ctx context.Context) error {
	for pause := time.Second; ; pause = min(pause*3/2, 30*time.Second) {
		met := 0
		var failed []string
		for _, i := range rand.Perm(len(r.cfg.Contacts)) {
			addr := r.cfg.Contacts[i]
			self, err := r.ping(ctx, addr)
			switch m := r.list.Meta(); {
			case err != nil:
				failed = append(failed, fmt.Sprintf("%s (%v)", addr, err))
			case self.UID == r.uid && self.Instance == r.cfg.Instance: // all agents may have the same contacts
			case self.Cluster != "" && self.Cluster != m.Cluster && self.Digest != (awa.Digest{}) && r.alone():
				met++
				r.Answered(addr, self) // reconcile looks which of the two stays
			case self.Cluster != "" && self.Cluster != m.Cluster:
				return fault(awa.ErrOtherCluster, "agent %s at %s belongs to cluster %s, this agent's list to cluster %s, and two clusters never mix: to move this server there, start it with an empty data folder", self.Name, addr, self.Cluster, m.Cluster)
			default:
				met++
				r.Answered(addr, self)
			}
		}
		if met > 0 || len(failed) == 0 || ctx.Err() != nil {
			return nil
		}
		wait := jitter(pause)
		r.log.Warn("none of the agents to join answers, trying again", "tried", strings.Join(failed, ", "), "wait", wait.Round(time.Millisecond))
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
}

// StayRegistered is Register, and again whenever this agent's list has become
// another one, until ctx ends.
func (r *Replica) StayRegistered(ctx context.Context, want awa.Node) error {
	for {
		if err := r.Register(ctx, want); err != nil {
			return err
		}
		select {
		case <-r.rebased:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Register sees to it that this agent stands on the list as want says (host
// and port, and the name unless the list has one for it). It tries again while
// no majority can be reached, and fails when another agent holds the name or
// runs on a copy of this data folder.
func (r *Replica) Register(ctx context.Context, want awa.Node) error {
	for pause := 200 * time.Millisecond; ; pause = min(2*pause, 10*time.Second) {
		edit, err := r.registration(ctx, want)
		if err == nil && edit.Action == "" && !r.upToDate(ctx) {
			continue
		}
		if err != nil || edit.Action == "" {
			return err
		}
		_, _, err = r.Edit(ctx, edit, 0)
		switch {
		case err == nil:
			r.log.Info("registered", "name", want.Name, "addr", want.Addr(), "action", string(edit.Action))
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, awa.ErrBadInput):
			return err
		}
		// Refused for what this agent's list doesn't show yet, or not decided.
		r.log.Warn("not registered yet, trying again", "error", err)
		select {
		case <-time.After(jitter(pause)):
		case <-ctx.Done():
			return ctx.Err()
		}
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
		if m := r.list.Meta(); err == nil && self.UID == nodes[i].UID && self.Cluster == m.Cluster && self.History == m.History {
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

// registration is the edit that Register needs, or none.
func (r *Replica) registration(ctx context.Context, want awa.Node) (awa.Edit, error) {
	nodes := r.list.Nodes()
	byUID := slices.IndexFunc(nodes, func(n awa.Node) bool { return n.UID == r.uid })
	byName := slices.IndexFunc(nodes, func(n awa.Node) bool { return n.Key() == want.Key() })
	if byUID >= 0 && nodes[byUID].Key() != want.Key() {
		r.log.Warn("the list has another name for this node, which holds: awa-agent node set changes it", "name", nodes[byUID].Name, "my_name", want.Name)
	}
	if byUID >= 0 {
		want.Name, byName = nodes[byUID].Name, byUID
	}
	if byName < 0 {
		return registrationEdit(awa.Create, awa.Node{}, want, r.uid)
	}
	old := nodes[byName]
	if old.UID == r.uid && old.Host == want.Host && old.Port == want.Port {
		return awa.Edit{}, nil
	}
	if self, alive := r.holder(ctx, old); alive {
		if old.UID == r.uid {
			return awa.Edit{}, fault(awa.ErrUIDTaken, "agent %s at %s answers with this agent's uid, so this data folder is a copy of that one: empty the data folder and join anew", self.Name, old.Addr())
		}
		return awa.Edit{}, fault(awa.ErrNameTaken, "the name %s is held by the agent at %s, which answers: choose another --my-name, or stop that agent first", old.Name, old.Addr())
	}
	return registrationEdit(awa.Update, old, want, r.uid)
}

func registrationEdit(a awa.Action, old, want awa.Node, uid string) (awa.Edit, error) {
	e := awa.Edit{Action: a, Key: awa.NewUID(), IfChanged: old.Changed}
	fields := map[string]any{"name": want.Name, "host": want.Host, "port": want.Port, "uid": uid, "by": "agent " + want.Name}
	if a == awa.Update {
		fields["id"] = old.ID
	}
	var err error
	if e.Data, err = json.Marshal(fields); err != nil {
		return awa.Edit{}, err
	}
	return e, e.Stamp("", time.Now())
}

// holder asks whether a node's own agent is alive at its address, and is not
// this process. It asks twice, since a lost packet must not make this agent
// take a living one's place.
func (r *Replica) holder(ctx context.Context, n awa.Node) (awa.Self, bool) {
	for range 2 {
		self, err := r.ping(ctx, n.Addr())
		if err != nil {
			continue
		}
		theirs := self.UID == n.UID || n.UID == "" && awa.NameKey(self.Name) == n.Key()
		return self, theirs && self.Instance != r.cfg.Instance
	}
	return awa.Self{}, false
}

func (r *Replica) ping(ctx context.Context, addr string) (awa.Self, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	return r.cfg.Peers.Ping(ctx, addr, true)
}
