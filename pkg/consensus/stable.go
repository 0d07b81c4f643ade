package consensus

import (
	"encoding/binary"
	"encoding/json"

	"github.com/hashicorp/raft"

	"are-we-alive/pkg/awa"
)

// The stable values of this package, beside those of raft.
const (
	// retiredKey holds the voters without this agent, in JSON, as a majority named
	// them; "{}" when it never lost its vote.
	retiredKey = "awa.retired"
	// floorKey holds where the log ended that was dropped: term and index, 8 bytes
	// each, big-endian.
	floorKey = "awa.floor"
	// droppingKey holds the byte 1 while the log and the snapshots are being dropped.
	// After a crash in between the rest must go too: a snapshot without the log could
	// make this agent lead alone.
	droppingKey = "awa.dropping"
	// adoptingKey holds the Adoption that is under way, in JSON, and "{}" otherwise,
	// so that no list is ever left with the votes of another history.
	adoptingKey = "awa.adopting"
	// rebootstrapKey holds the snapshotHead of the log that is to be created again, in
	// JSON, and "{}" otherwise.
	rebootstrapKey = "awa.rebootstrap"
)

// none is the value of a key for which there is nothing to complete.
const none = "{}"

// retired returns the configuration that took this agent's vote, as it was proven; its
// index is 0 when none did.
func retired(disk Log) (v awa.VoterSet, err error) {
	text, ok, err := disk.Stable(retiredKey)
	if err == nil && ok {
		err = json.Unmarshal(text, &v)
	}
	return v, err
}

// floor returns where the log ended that this agent dropped last.
func floor(disk Log) (place, error) {
	b, ok, err := disk.Stable(floorKey)
	if err != nil || !ok || len(b) != 16 {
		return place{}, err
	}
	return place{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])}, nil
}

// setFloor remembers where the log ends that is to be dropped.
func (c *Consensus) setFloor() error {
	_, last, err := c.list.LogBounds()
	if err != nil || last == 0 {
		return err
	}
	l, ok, err := c.entry(last)
	if err == nil && !ok {
		err = raft.ErrLogNotFound
	}
	if err != nil {
		return err
	}
	return c.list.SetStable(floorKey, append(bigEndian(l.Term), bigEndian(last)...))
}
