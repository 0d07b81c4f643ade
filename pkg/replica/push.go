package replica

import (
	"context"
	"slices"
	"time"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/backoff"
)

// Push takes news of a decided change from another agent. applied is false when
// it was held already; awa.ErrGap says that the agent will get what it lacks by
// itself. A push is not believed: a leader refuses it, a voter looks for the
// change in its own log, and others ask the leader.
func (r *Replica) Push(from awa.Caller, c awa.Change) (applied bool, err error) {
	switch {
	case r.list.Meta().Cluster == "":
		return false, awa.NotJoined("")
	case r.IsLeader():
		return false, awa.Faultf(awa.ErrConflict, "this agent is the leader: it decides the changes and takes none from "+
			"others, nothing was changed")
	case c.ID <= r.list.State():
		return false, r.list.Apply([]awa.Change{c}) // says whether it is the same
	case r.raft.Replicates():
		return r.pushToVoter(c)
	}
	next := r.list.State() + 1
	r.behind(from, c.ID)
	if c.ID == next {
		ctx, cancel := context.WithTimeout(context.Background(), newsWithin)
		defer cancel()
		if r.list.Wait(ctx, c.ID) == nil {
			err := r.list.Apply([]awa.Change{c}) // says whether it is the one that came
			return err == nil, err
		}
	}
	return false, awa.Faultf(awa.ErrGap, "change %d does not follow state %d here, or the leader was not asked for "+
		"it yet: this "+
		"agent fetches what it lacks", c.ID, next-1)
}

const (
	// newsWithin is how long a push waits until the leader was asked for the
	// change. It must be below Timing.Push.
	newsWithin = 400 * time.Millisecond
	// entryWithin is how long a push to a voter waits for the entry, which the
	// leader sends at the same time by another connection.
	entryWithin = 50 * time.Millisecond
	// entryPause is how long it waits before it looks again.
	entryPause = 2 * time.Millisecond
)

// pushToVoter looks for the change in this agent's own log.
func (r *Replica) pushToVoter(c awa.Change) (bool, error) {
	ctx, cancel := context.WithTimeout(context.Background(), entryWithin)
	defer cancel()
	for {
		done, err := r.raft.DecideEarly(c)
		switch {
		case err != nil:
			return false, err
		case done || r.list.State() >= c.ID: // Raft was faster, or brought another one
			err := r.list.Apply([]awa.Change{c})
			return err == nil, err
		case r.raft.TooEarly(c) || backoff.Wait(ctx, entryPause) != nil:
			return false, awa.Faultf(awa.ErrGap, "the log of this voter does not hold change %d at index %d: nothing was "+
				"changed, it gets its changes by Raft", c.ID, c.Index)
		}
	}
}

// acceptChanges takes changes that another agent was asked for, and returns how many of
// them the list holds now. A voter believes its own log alone.
func (r *Replica) acceptChanges(changes []awa.Change) (int, error) {
	before := r.list.State()
	switch {
	case r.IsLeader():
		return 0, nil
	case r.raft.Replicates():
		for _, c := range slices.Backward(changes) {
			if done, err := r.raft.DecideEarly(c); done || err != nil {
				return int(r.list.State() - before), err
			}
		}
		return 0, nil
	}
	err := r.list.Apply(changes)
	r.raft.Disk.Failed(err)
	return len(changes), err
}
