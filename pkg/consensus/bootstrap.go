package consensus

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"

	"github.com/hashicorp/raft"

	"are-we-alive/pkg/awa"
)

// Bootstrap creates a cluster with an empty list, and with this agent as its only voter.
// The data folder must hold no list.
func Bootstrap(list List, dir string) error {
	return BootstrapFrom(list, dir, awa.ChangeSet{Cluster: awa.NewUID(), History: awa.NewHistory(awa.History{})})
}

// BootstrapFrom writes a list to an empty data folder, and makes this agent its only
// voter. The list comes last: when the power fails before, the folder still counts as
// empty and the next try begins again.
func BootstrapFrom(list List, dir string, set awa.ChangeSet) error {
	if m := list.Meta(); m.Cluster != "" {
		return fmt.Errorf("the data folder holds the list of cluster %s already", m.Cluster)
	}
	if err := Forget(list, dir); err != nil {
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
		err = list.Init(set)
	}
	if err != nil {
		return errors.Join(err, Forget(list, dir))
	}
	return nil
}

// nextPlace returns a place in Raft's log behind everything that the log has held,
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

// Forget drops Raft's log and snapshots. Raft must be stopped. Before an agent joins a
// list, it drops what an interrupted bootstrap may have left, which must not lead that
// list.
func Forget(list List, dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return list.ClearLog()
}
