package consensus

import (
	"cmp"
	"context"
	"log/slog"
	"net"
	"time"

	"are-we-alive/pkg/awa"
)

// List is the node list and the voters' log, on disk. Its methods are safe for
// concurrent use; an error other than an *awa.Fault means that the disk failed and
// nothing was done.
type List interface {
	Log
	Meta() awa.Meta
	State() uint64
	// Position returns where the list is.
	Position() awa.Position
	// DigestAt returns the digest at a state, if the list has come that far.
	DigestAt(state uint64) (d awa.Digest, held bool, err error)
	Changes(since uint64, limit int) ([]awa.Change, error)
	// Init writes the first content of an empty data folder.
	Init(awa.ChangeSet) error
	// Decide turns edits into changes, all in one transaction.
	Decide([]awa.Entry) ([]awa.Outcome, error)
	// DecideEarly decides entries of the own log if they come to that change.
	DecideEarly(entries []awa.Entry, want awa.Change) (bool, error)
	// Prove takes changes of a snapshot of Raft's, the last ones with its place.
	Prove(changes []awa.Change, index, term uint64) error
	// Unprove makes all of the list count as learned from others.
	Unprove() error
	// DropLearned drops what Raft has not decided.
	DropLearned() error
	// Dropped returns how many learned changes had to give way since the start.
	Dropped() uint64
	// Rebase drops the changes after a state, and makes what is left the list of
	// another history, or at state 0 of another cluster.
	Rebase(from, state uint64, cluster string, h awa.History, fork awa.Position) error
	// Bound brings an applied index above last back, to floor or higher.
	Bound(floor, last uint64) (bool, error)
	// Room tries whether the disk takes writes.
	Room() error
	// SetVoters keeps the set unless a newer one is known.
	SetVoters(awa.VoterSet) error
	// ResetVoters keeps the set whatever is known.
	ResetVoters(awa.VoterSet) error
}

// Log is the disk of a voter: opaque entries by index, and a few values.
type Log interface {
	LogBounds() (first, last uint64, err error) // 0, 0 when empty
	LogEntry(index uint64) ([]byte, bool, error)
	AppendLog(first uint64, entries [][]byte) error
	DeleteLog(min, max uint64) error // inclusive
	ClearLog() error
	Stable(key string) ([]byte, bool, error)
	SetStable(key string, value []byte) error
}

// Peers reaches other agents by their uids.
type Peers interface {
	// Dial opens a Raft stream.
	Dial(ctx context.Context, uid string) (net.Conn, error)
	// Ask pings agents at once, over new connections when fresh is set. It returns
	// the answers that come before ctx ends, of those agents themselves and of this
	// agent's history.
	Ask(ctx context.Context, fresh bool, uids ...string) []awa.Self
}

// Timing is how patient consensus is. Zero fields mean the default.
type Timing struct {
	// Heartbeat is how long a voter hears nothing from the leader before it
	// stands for election, 1 s by default. A leader sends three to five
	// heartbeats in that time, so lower costs CPU when idle: half of it about
	// doubles that. A killed leader is replaced after about one to two and a half
	// of it.
	Heartbeat time.Duration
	// Commit is how soon a voter learns that an edit was decided when no
	// other follows, 200 ms by default. Agents learn of it by push at once;
	// lower costs CPU when idle.
	Commit time.Duration
	// Settle is how long an agent must be online to become a voter, 10 s.
	Settle time.Duration
	// Replace is how long a voter must be away to be replaced, 60 s.
	Replace time.Duration
	// Tick is how often the leader looks at its voters, 1 s.
	Tick time.Duration
	// Compact is how often a voter looks whether its log has become long,
	// 2 min by default.
	Compact time.Duration
	// Entries is by how many entries the log grows before a snapshot takes
	// their place, 4096 by default. A quarter as many stay, for voters that
	// were away for a moment. Fewer entries save disk and write the whole
	// list, which is the snapshot, more often.
	Entries uint64
}

// WithDefaults returns the timing with a default in place of each zero field.
func (t Timing) WithDefaults() Timing {
	return Timing{
		Heartbeat: cmp.Or(t.Heartbeat, time.Second), Commit: cmp.Or(t.Commit, 200*time.Millisecond),
		Settle: cmp.Or(t.Settle, 10*time.Second), Replace: cmp.Or(t.Replace, time.Minute),
		Tick: cmp.Or(t.Tick, time.Second), Compact: cmp.Or(t.Compact, 2*time.Minute),
		Entries: cmp.Or(t.Entries, 4096),
	}
}

// Config is what a Consensus needs. All fields must be set.
type Config struct {
	List  List
	Peers Peers
	// Dir is the folder of Raft's snapshots.
	Dir string
	// Name returns the name of an agent by its uid, for the log.
	Name   func(uid string) string
	Timing Timing
	Log    *slog.Logger
}
