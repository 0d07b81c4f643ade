package consensus

import (
	"slices"
	"time"

	"github.com/hashicorp/raft"

	"are-we-alive/pkg/awa"
)

// Replicates reports whether Raft brings this agent the list: then it takes changes from
// nobody else. A voter waits for its leader for as long as it would take the others to
// replace it.
func (c *Consensus) Replicates() bool {
	r := c.running()
	if r == nil {
		return false
	}
	all, err := servers(r)
	if err != nil {
		return false
	}
	for _, s := range all {
		if string(s.ID) != c.uid {
			continue
		}
		patience := 2 * c.cfg.Timing.Heartbeat
		if s.Suffrage == raft.Voter {
			patience = c.cfg.Timing.Replace
		}
		return r.State() == raft.Leader || c.silence(r) < patience
	}
	return false
}

// Stalled reports whether Raft alone brings this agent the list, and no leader is heard
// that would.
func (c *Consensus) Stalled() bool {
	r := c.running()
	return r != nil && r.State() != raft.Leader && c.Replicates() && c.silence(r) > c.cfg.Timing.Heartbeat
}

// silence returns how long no leader was heard.
func (c *Consensus) silence(r *raft.Raft) time.Duration {
	at := r.LastContact()
	if at.IsZero() {
		c.mu.RLock()
		at = c.started
		c.mu.RUnlock()
	}
	return time.Since(at)
}

// earlyEntries bounds how many entries a change may be ahead of what Raft has
// applied. Raft itself is there a moment later.
const earlyEntries = 256

// DecideEarly decides the entries of the own log up to the one of a change that another
// agent says was decided, before Raft does so by itself: see Timing.Commit. Nothing of
// what the other says goes into the list; it only says that the entry was agreed on. It
// reports whether the list holds the change now.
func (c *Consensus) DecideEarly(want awa.Change) (bool, error) {
	applied := c.list.Meta().Index
	if want.Index <= applied || want.Index-applied > earlyEntries {
		return false, nil
	}
	entries := make([]awa.Entry, 0, want.Index-applied)
	// Backwards: once the last one is seen to be the leader's, those before it
	// are so too, and don't change any more.
	for i := want.Index; i > applied; i-- {
		l, ok, err := c.entry(i)
		if err != nil || !ok {
			return false, err
		}
		if i == want.Index && (l.Term != want.Term || l.Type != raft.LogCommand) {
			return false, nil
		}
		if e, ok := decodeEntry(&l); ok && l.Type == raft.LogCommand {
			entries = append(entries, e)
		}
	}
	slices.Reverse(entries)
	return c.list.DecideEarly(entries, want)
}

// TooEarly reports whether the entry of a change is so far ahead of this agent's log that
// it is not worth waiting for.
func (c *Consensus) TooEarly(want awa.Change) bool { return want.Index > c.lastIndex()+earlyEntries }
