package replica

import (
	"encoding/json"
	"fmt"

	"are-we-alive/pkg/awa"
)

// Raft begins anew where a list is whole and its log is not: after recover, and
// on an only voter whose log or snapshot was lost, or older than what others hold.

// beginningKey, among the stable values, holds the snapshotHead that Raft is to
// begin with, and "{}" otherwise. So a crash in between is made good at the next
// start.
const beginningKey = "awa.beginning"

// Recover makes this agent the only voter of a new history that keeps its list
// and notes where it forked. The agent must not run. epoch must be above that of
// every history of this cluster that anybody knows.
func Recover(list List, dir string, epoch uint64) (awa.History, error) {
	m := list.Meta()
	if m.Cluster == "" {
		return awa.History{}, notJoined()
	}
	h := awa.NewHistory(awa.History{Epoch: max(epoch, m.Epoch+1) - 1})
	return h, beginAnew(list, dir, h)
}

// beginAnew has Raft begin with all of the list and this agent as the only
// voter, in a history that may be another one.
func beginAnew(list List, dir string, h awa.History) error {
	index, term := nextPlace(list)
	for at := uint64(0); at < list.State(); {
		changes, err := list.Changes(at, page)
		if err != nil {
			return err
		}
		for _, c := range changes {
			if at = c.ID; c.Index < noPlace && c.Term < noPlace {
				index, term = max(index, c.Index+1), max(term, c.Term+1)
			}
		}
	}
	m := list.Meta()
	state, digest := list.Position()
	b, err := json.Marshal(snapshotHead{
		Version: snapshotPosition, Cluster: m.Cluster, History: h, State: state, Digest: digest,
		Index: max(index, m.Index+1), Term: max(term, m.Term+1),
	})
	if err == nil {
		err = list.SetStable(beginningKey, b)
	}
	if err != nil {
		return err
	}
	return finishBeginning(list, dir)
}

// finishBeginning does what beginAnew has decided.
func finishBeginning(list List, dir string) error {
	b, ok, err := list.Stable(beginningKey)
	if err != nil || !ok {
		return err
	}
	var head snapshotHead
	if err := json.Unmarshal(b, &head); err != nil {
		return fmt.Errorf("read %s: %w", beginningKey, err)
	}
	if head.Version == 0 {
		return nil
	}
	if m := list.Meta(); m.History != head.History {
		fork := awa.Position{State: head.State, Digest: head.Digest}
		if err := list.Rebase(head.State, head.State, m.Cluster, head.History, fork); err != nil {
			return err
		}
	}
	if err := forget(list, dir); err != nil {
		return err
	}
	if err := beginLog(list, dir, head); err != nil {
		return err
	}
	return list.SetStable(beginningKey, []byte("{}"))
}

// repair looks whether Raft can start from what is on the disk. Where it can't,
// an only voter begins anew with its list, which is whole, and any other agent
// drops what is left: the leader brings it all again.
func (o *order) repair() error {
	files, err := openSnapshots(o.cfg.Dir, o.log)
	if err != nil {
		return err
	}
	snaps := &snapshotFiles{FileSnapshotStore: files, list: o.cfg.List}
	if err := snaps.tidyFolder(o.cfg.Dir); err != nil {
		return err
	}
	why, err := o.unusable(snaps)
	if err != nil || why == "" {
		return err
	}
	list := o.cfg.List
	m := list.Meta()
	if len(m.Voters.UIDs) == 1 && m.Voters.UIDs[0] == o.uid {
		o.log.Error("what Raft needs is damaged or missing; this agent is the only voter and its list is whole, so Raft begins anew with it", "folder", o.cfg.Dir, "why", why, "state", list.State())
		return beginAnew(list, o.cfg.Dir, m.History)
	}
	o.log.Error("what Raft needs is damaged or missing; this agent drops it and gets it again from the leader. Should there be none, because most voters have lost it, run awa-agent recover on one agent", "folder", o.cfg.Dir, "why", why)
	if err := o.setFloor(); err != nil {
		return err
	}
	if err := list.SetStable(retiredKey, []byte("{}")); err != nil {
		return err
	}
	return o.dropNow()
}

// unusable says why Raft can't start from what is on the disk; "" when it can.
func (o *order) unusable(snaps *snapshotFiles) (why string, err error) {
	newest, broken, err := snaps.newest(o.cfg.Dir)
	if err != nil {
		return "", err
	}
	first, last, err := o.cfg.List.LogBounds()
	if err != nil {
		return "", err
	}
	voters := o.cfg.List.Meta().Voters.UIDs
	switch {
	case broken != "":
		return broken, nil
	case newest == 0 && last > 0 && first > 1:
		return fmt.Sprintf("there is no snapshot, and the log begins with entry %d", first), nil
	case newest == 0 && last == 0 && len(voters) == 1 && voters[0] == o.uid:
		return "there is neither a snapshot nor a log", nil
	case last > 0 && first > newest+1:
		return fmt.Sprintf("the snapshot ends with entry %d, and the log begins with entry %d", newest, first), nil
	}
	return "", nil
}
