package replica

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/consensus"
)

// reconcile acts on what observe has found. This agent follows a later history, and
// the leader of its own history where their lists contradict each other. reconcile
// must not run beside Consensus.Maintain, which stops and starts Raft too.
func (r *Replica) reconcile(ctx context.Context) error {
	if time.Since(r.reconciled) < 5*r.cfg.Timing.Tick {
		return nil
	}
	r.reconciled = time.Now()
	all := r.currentDifferences()
	if err := r.rememberEpochs(all); err != nil {
		return err
	}
	history := r.list.Meta().History
	contradicted, later := r.mayDiverge.Swap(false), false
	for _, d := range all {
		var done bool
		var err error
		switch {
		case d.code == awa.Diverged:
			contradicted = true
		case d.addr == "": // nobody to follow
		case d.code == awa.OtherHistory && d.history.Epoch > history.Epoch:
			later = true
			done, err = r.followHistory(ctx, d)
		case d.code == awa.OtherCluster && r.alone():
			done, err = r.leaveCluster(ctx, d)
		}
		if done || err != nil {
			return err
		}
	}
	switch {
	case later: // followHistory has said what is wrong
		return nil
	case contradicted && !r.IsLeader():
		return r.followLeader(ctx)
	}
	r.setOwn("", "")
	return nil
}

// rememberEpochs keeps the highest epoch of the histories that others follow.
func (r *Replica) rememberEpochs(all map[string]difference) error {
	highest := uint64(0)
	for _, d := range all {
		if d.code == awa.OtherHistory {
			highest = max(highest, d.history.Epoch)
		}
	}
	return r.list.SetEpoch(highest) // writes only a higher one
}

// followHistory lets this agent follow a later history of its cluster.
func (r *Replica) followHistory(ctx context.Context, d difference) (done bool, err error) {
	self, err := r.ping(ctx, d.addr)
	m := r.list.Meta()
	if err != nil || self.Cluster != m.Cluster || self.History.Epoch <= m.History.Epoch || self.Digest == (awa.Digest{}) {
		return false, nil // it says so no more, or is of a version that can't be followed
	}
	r.setOwn(awa.OtherHistory, "%s follows history %s, and this agent still history %s: it is about to follow",
		orWord(self.Name, d.addr), self.History, m.History)
	return r.rebase(ctx, d.addr, self, fmt.Sprintf("agent %s at %s began the later history %s", self.Name, d.addr,
		self.History))
}

// followLeader lets this agent follow the leader of its history where their lists
// contradict each other.
func (r *Replica) followLeader(ctx context.Context) error {
	uid := r.Leader()
	addr, ok := r.addr(uid)
	if !ok {
		r.setOwn(awa.Diverged, "the list of this agent contradicts that of another one, and no leader is known that could "+
			"say which is right")
		return nil
	}
	self, err := r.ping(ctx, addr)
	m := r.list.Meta()
	if err != nil || self.UID != uid || self.Leader != uid || self.Cluster != m.Cluster || self.History != m.History ||
		self.Digest == (awa.Digest{}) {
		return nil // the next ping shows more
	}
	code, known := r.compareLists(self.Cluster, self.History, self.Position())
	if code == "" && !known { // it is ahead
		_, err := r.fetch(ctx, addr, r.list.Position())
		if errors.Is(err, awa.ErrDiverged) {
			code = awa.Diverged
		}
	}
	if code != awa.Diverged {
		r.setOwn("", "")
		return nil
	}
	r.setOwn(awa.Diverged, "the list of this agent contradicts that of the leader %s: it is about to set aside what it "+
		"alone holds, and to follow", self.Name)
	_, err = r.rebase(ctx, addr, self, fmt.Sprintf("the list contradicted that of the leader %s at %s", self.Name, addr))
	return err
}

// alone reports whether this agent's list holds nothing but itself, as that of a
// new cluster does.
func (r *Replica) alone() bool {
	nodes := r.list.Nodes()
	return len(nodes) == 0 || len(nodes) == 1 && nodes[0].UID == r.uid
}

// leaveCluster is for a founder that lost its disk, and created a second cluster
// since its configuration still says so: it joins the first one, whose agents
// call it. Of two new clusters that hold nothing yet, the one with the lower id
// stays.
func (r *Replica) leaveCluster(ctx context.Context, d difference) (done bool, err error) {
	self, err := r.ping(ctx, d.addr)
	m := r.list.Meta()
	if err != nil || self.Cluster == "" || self.Cluster == m.Cluster || self.Digest == (awa.Digest{}) {
		return false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, syncTimeout)
	defer cancel()
	set, err := r.cfg.Peers.NodesOf(ctx, d.addr)
	if err != nil || set.Cluster != self.Cluster {
		return false, nil
	}
	others := 0
	for _, n := range set.Nodes {
		if n.UID != self.UID && n.UID != r.uid {
			others++
		}
	}
	if others == 0 && len(set.Nodes) <= 1 && self.Cluster > m.Cluster {
		return false, nil
	}
	return r.rebase(ctx, d.addr, self, fmt.Sprintf("this agent had begun a cluster of its own, and agent %s at %s "+
		"called it as one of cluster %s", self.Name, d.addr, self.Cluster))
}

// rebase drops what this agent's list holds beyond what it shares with that of
// another agent, and follows that one from then on. What it drops is written to a
// file first. done is false when one of the lists has changed meanwhile, or the
// file can't be written: then nothing was dropped, and the next look tries again.
func (r *Replica) rebase(ctx context.Context, addr string, to awa.Self, why string) (done bool, err error) {
	at, err := r.common(ctx, addr, to)
	if err != nil {
		r.log.Warn("this agent could not find out where its list begins to differ, trying again", "from", addr, "error", err)
		return false, nil
	}
	r.log.Error("this agent drops what its list holds alone, and follows another one",
		"why", why, "its_state", r.list.State(), "common_state", at)
	// Raft stops first, so that nothing is decided meanwhile.
	if err := r.raft.Stop(10 * time.Second); err != nil {
		return false, fmt.Errorf("stop Raft: %w", err)
	}
	done, err = r.setAside(at, to, why)
	if err := errors.Join(err, r.raft.Start()); err != nil || !done {
		return false, err
	}
	r.mu.Lock()
	clear(r.differences)
	clear(r.views)
	clear(r.moved)
	r.mu.Unlock()
	r.setOwn("", "")
	if to.State > at {
		r.replicator.behind(addr, to.State)
	}
	r.Answered(addr, to)
	select {
	case r.rebased <- struct{}{}:
	default:
	}
	return true, nil
}

// setAside writes the changes after a state to a file, and drops them. Raft must
// be stopped.
func (r *Replica) setAside(at uint64, to awa.Self, why string) (done bool, err error) {
	state, path := r.list.State(), ""
	if state > at && !r.onlyItself() {
		if path, err = r.list.SetAside(at, why, time.Now()); err != nil {
			r.raft.Disk.Failed(err)
			r.setOwn(awa.Diverged, "the list of this agent contradicts that of %s, and what it alone holds can't be set "+
				"aside: %v", to.Name, err)
			r.log.Error("what this agent's list holds alone can't be set aside, trying again", "error", err)
			return false, nil
		}
	}
	m := r.list.Meta()
	a := consensus.Adoption{
		From: state, State: at, Cluster: to.Cluster, History: to.History,
		Switch: to.Cluster != m.Cluster || to.History != m.History,
	}
	if to.Fork != nil {
		a.Fork = *to.Fork
	}
	if done, err = r.raft.Adopt(a); err != nil {
		return false, fmt.Errorf("write the node list: %w", err)
	}
	if !done {
		return false, nil
	}
	if path != "" {
		r.log.Error("changes were set aside: make those again that are still wanted, then remove the file",
			"file", path, "changes", state-at)
	}
	r.log.Info("this agent follows another list now", "cluster", to.Cluster, "history", to.History, "state", at)
	return true, nil
}

// onlyItself reports whether the list holds no change but this agent's own
// registrations, which nobody misses.
func (r *Replica) onlyItself() bool {
	changes, err := r.list.Changes(0, 10)
	if err != nil || uint64(len(changes)) != r.list.State() || !r.alone() {
		return false
	}
	for _, c := range changes {
		if n, by, _, err := c.Node(); err != nil || n.UID != r.uid || !strings.HasPrefix(by, "agent ") {
			return false
		}
	}
	return true
}

// fetch asks for one change after a position, which shows whether the other list
// goes on from there.
func (r *Replica) fetch(ctx context.Context, addr string, at awa.Position) (awa.ChangeSet, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	return r.cfg.Peers.Fetch(ctx, addr, at, 1)
}

// common is the highest state up to which this agent's list and that of another
// one are the same.
func (r *Replica) common(ctx context.Context, addr string, to awa.Self) (uint64, error) {
	low, high := uint64(0), min(r.list.State(), to.State)
	if to.Cluster != r.list.Meta().Cluster {
		return 0, nil
	}
	for first := true; low < high; first = false {
		at := (low + high + 1) / 2
		if first {
			at = high // most often one list is the beginning of the other
		}
		digest, held, err := r.list.DigestAt(at)
		if err == nil && !held {
			err = fmt.Errorf("the list has no change %d any more", at)
		}
		if err != nil {
			return 0, err
		}
		set, err := r.fetch(ctx, addr, awa.Position{State: at, Digest: digest})
		switch {
		case errors.Is(err, awa.ErrDiverged):
			high = at - 1
		case err != nil:
			return 0, err
		case set.Cluster != to.Cluster || set.History != to.History:
			return 0, fmt.Errorf("the agent there has gone over to history %s", set.History)
		default:
			low = at
		}
	}
	return low, nil
}
