package consensus

import (
	"fmt"

	"github.com/hashicorp/raft"

	"are-we-alive/pkg/awa"
)

// What this agent's own Raft has on disk is the measure of all that was learned
// otherwise: here it is read and compared with what others say.

// examine brings what the list says of Raft in line with what Raft's log and snapshots
// can prove. Earlier versions believed pushes and pings in it. It must run before Raft
// does.
func (c *Consensus) examine(snaps *snapshotStore) error {
	list := c.list
	all, err := snaps.List()
	if err != nil {
		return fmt.Errorf("read the folder of snapshots: %w", err)
	}
	_, last, err := list.LogBounds()
	if err != nil {
		return err
	}
	voters := awa.VoterSet{}
	if len(all) == 0 && last == 0 { // no part in Raft
		if err := list.Unprove(); err != nil {
			return err
		}
		if voters, err = retired(list); err != nil {
			return err
		}
	} else {
		var floor uint64
		if len(all) > 0 {
			floor = all[0].Index
			voters = voterSet(all[0].ConfigurationIndex, all[0].Configuration.Servers)
		}
		was := list.Meta().Index
		bounded, err := list.Bound(floor, max(floor, last))
		if err != nil {
			return err
		}
		if bounded {
			c.log.Warn("the applied index was above the end of the voters' log, as a forged push could make it for an "+
				"earlier version: it was brought back", "was", was, "is", list.Meta().Index)
			c.repaired.Store(true)
		}
	}
	held := list.Meta().Voters
	if proven, err := c.proves(held, voters); err != nil || proven {
		return err
	}
	if held.Index > voters.Index {
		c.log.Warn("the voters on disk are not in the voters' log, as others could make it for an earlier version: they "+
			"were replaced by those that are", "index", held.Index, "was", held.UIDs, "is", voters.UIDs)
	}
	return list.ResetVoters(voters)
}

// proves reports whether a set of voters is one that the log holds, or base.
func (c *Consensus) proves(v, base awa.VoterSet) (bool, error) {
	if v.Index == base.Index {
		return sameVoters(v, base), nil
	}
	l, ok, err := c.entry(v.Index)
	if err != nil || !ok {
		return false, err
	}
	return v.Index > base.Index && l.Type == raft.LogConfiguration &&
		sameVoters(v, voterSet(v.Index, raft.DecodeConfiguration(l.Data).Servers)), nil
}
