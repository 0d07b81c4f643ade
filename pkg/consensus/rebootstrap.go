package consensus

import (
	"encoding/json"
	"fmt"

	"are-we-alive/pkg/awa"
)

// Raft's log is created again from the list where the list is whole and the log is
// not: after recover, and on an only voter whose log or snapshot was lost, or is
// older than what others hold.

// Recover makes this agent the only voter of a new history that keeps its list
// and notes where it forked. The agent must not run. epoch must be above that of
// every history of this cluster that anybody knows.
func Recover(list List, dir string, epoch uint64) (awa.History, error) {
	m := list.Meta()
	if m.Cluster == "" {
		return awa.History{}, awa.NotJoined("")
	}
	h := awa.NewHistory(awa.History{Epoch: max(epoch, m.Epoch+1) - 1})
	return h, Rebootstrap(list, dir, h)
}

// Rebootstrap creates Raft's log again, with all of the list and this agent as the
// only voter. The history may be another one than before.
func Rebootstrap(list List, dir string, h awa.History) error {
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
	at := list.Position()
	b, err := json.Marshal(snapshotHead{
		Version: snapshotPosition, Cluster: m.Cluster, History: h, State: at.State, Digest: at.Digest,
		Index: max(index, m.Index+1), Term: max(term, m.Term+1),
	})
	if err == nil {
		err = list.SetStable(rebootstrapKey, b)
	}
	if err != nil {
		return err
	}
	return finishRebootstrap(list, dir)
}

// finishRebootstrap does what Rebootstrap has decided, if there is something.
func finishRebootstrap(list List, dir string) error {
	b, ok, err := list.Stable(rebootstrapKey)
	if err != nil || !ok {
		return err
	}
	var head snapshotHead
	if err := json.Unmarshal(b, &head); err != nil {
		return fmt.Errorf("read %s: %w", rebootstrapKey, err)
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
	if err := Forget(list, dir); err != nil {
		return err
	}
	if err := bootstrapLog(list, dir, head); err != nil {
		return err
	}
	return list.SetStable(rebootstrapKey, []byte(none))
}

// repair checks that Raft can start from what is on the disk. Where it can't, an
// only voter creates the log again from its list, which is whole, and any other
// agent drops what is left: the leader sends it all again.
func (c *Consensus) repair() error {
	files, err := openSnapshots(c.cfg.Dir, c.log)
	if err != nil {
		return err
	}
	snaps := &snapshotStore{FileSnapshotStore: files, list: c.list}
	if err := snaps.tidyFolder(c.cfg.Dir); err != nil {
		return err
	}
	why, err := c.whyUnusable(snaps)
	if err != nil || why == "" {
		return err
	}
	list := c.list
	m := list.Meta()
	if len(m.Voters.UIDs) == 1 && m.Voters.UIDs[0] == c.uid {
		c.log.Error("Raft's log or snapshot is damaged or missing: this agent is the only voter, and creates it again "+
			"from the list, which is whole",
			"folder", c.cfg.Dir, "why", why, "state", list.State())
		return Rebootstrap(list, c.cfg.Dir, m.History)
	}
	c.log.Error("Raft's log or snapshot is damaged or missing: this agent drops it, and gets it again from the leader; "+
		"if most voters have lost theirs, there is no leader, and awa-agent recover on one agent is needed",
		"folder", c.cfg.Dir, "why", why)
	if err := c.setFloor(); err != nil {
		return err
	}
	if err := list.SetStable(retiredKey, []byte(none)); err != nil {
		return err
	}
	return c.dropNow()
}

// whyUnusable returns why Raft can't start from what is on the disk, or "" when it
// can.
func (c *Consensus) whyUnusable(snaps *snapshotStore) (why string, err error) {
	newest, broken, err := snaps.newest(c.cfg.Dir)
	if err != nil {
		return "", err
	}
	first, last, err := c.list.LogBounds()
	if err != nil {
		return "", err
	}
	voters := c.list.Meta().Voters.UIDs
	switch {
	case broken != "":
		return broken, nil
	case newest == 0 && last > 0 && first > 1:
		return fmt.Sprintf("there is no snapshot, and the log begins with entry %d", first), nil
	case newest == 0 && last == 0 && len(voters) == 1 && voters[0] == c.uid:
		return "there is neither a snapshot nor a log", nil
	case last > 0 && first > newest+1:
		return fmt.Sprintf("the snapshot ends with entry %d, and the log begins with entry %d", newest, first), nil
	}
	return "", nil
}
