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

func (r *Replica) ping(ctx context.Context, addr string) (awa.Self, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	return r.cfg.Peers.Ping(ctx, addr, true)
}
