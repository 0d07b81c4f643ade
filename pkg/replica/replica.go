// Package replica keeps one node list on all agents. It owns the order of the
// edits (Raft among a few voters, chosen by their leader) and the spread of
// what was decided (push, sync, join), and leaves to others what the edits
// mean (awa), where they are kept (List) and how agents talk (Peers).
//
// It alone uses hashicorp/raft.
package replica

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"are-we-alive/pkg/awa"
)

// List is the node list and the voters' log, on disk. Its methods are safe
// for concurrent use; an error other than an *awa.Fault means that the disk
// failed and nothing was done.
type List interface {
	Log
	Meta() awa.Meta
	State() uint64
	// Position is where the list is.
	Position() awa.Position
	// DigestAt is the digest at a state, if the list has come that far.
	DigestAt(state uint64) (d awa.Digest, held bool, err error)
	Nodes() []awa.Node
	Agent(uid string) (awa.Node, bool)
	// Found gives an empty data folder its first content.
	Found(awa.ChangeSet) error
	// Decide turns edits into changes, all in one transaction.
	Decide([]awa.Entry) ([]awa.Outcome, error)
	// Apply takes changes that were learned from others; those that are held
	// already do nothing.
	Apply([]awa.Change) error
	// Prove takes changes of a snapshot of Raft's, the last ones with its place.
	Prove(changes []awa.Change, index, term uint64) error
	// DecideEarly decides entries of the own log if they come to that change.
	DecideEarly(entries []awa.Entry, want awa.Change) (bool, error)
	// DropLearned drops what Raft has not decided.
	DropLearned() error
	// Dropped is how many learned changes had to give way since the start.
	Dropped() uint64
	// Unprove makes all of the list count as learned.
	Unprove() error
	// SetAside writes the changes after a state to a new file.
	SetAside(after uint64, why string, now time.Time) (path string, err error)
	// Rebase drops the changes after a state, and makes what is left the list of
	// another history, or at state 0 of another cluster.
	Rebase(from, state uint64, cluster string, h awa.History, fork awa.Position) error
	// Room tries whether the disk takes writes.
	Room() error
	// Damaged is the first damage of the file that a read has met.
	Damaged() error
	// SetEpoch remembers the highest epoch that was met.
	SetEpoch(epoch uint64) error
	// Bound brings an applied index above last back, to floor or higher.
	Bound(floor, last uint64) (bool, error)
	Changes(since uint64, limit int) ([]awa.Change, error)
	// Wait returns when the state is reached or ctx ends.
	Wait(ctx context.Context, state uint64) error
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

// Peers talks to other agents. Addresses are host:port. Errors are
// *awa.PingError when nobody was reached and *awa.Fault when refused.
type Peers interface {
	Ping(ctx context.Context, addr string, fresh bool) (awa.Self, error)
	// ClusterStatus returns what an agent sees now of the nodes of some names.
	ClusterStatus(ctx context.Context, addr string, cached bool, nodes ...string) (awa.ClusterStatus, error)
	// Sync fails with awa.ErrDiverged when the list there has another digest at
	// that state.
	Sync(ctx context.Context, addr string, since awa.Position, limit int) (awa.ChangeSet, error)
	// Fetch is Sync whatever list this agent holds itself, and NodesOf gives the
	// nodes likewise.
	Fetch(ctx context.Context, addr string, since awa.Position, limit int) (awa.ChangeSet, error)
	NodesOf(ctx context.Context, addr string) (awa.NodeSet, error)
	Push(ctx context.Context, addr string, c awa.Change) error
	Edit(ctx context.Context, addr string, e awa.Edit, hops int) (uint64, awa.Node, error)
	// DialRaft fails with awa.ErrOtherAgent unless the agent there has the uid.
	DialRaft(ctx context.Context, addr, uid string) (net.Conn, error)
}

// Seen is how another agent looked in the last background sweeps.
type Seen struct {
	Online bool
	For    time.Duration // since it is so
	// Unfit is how long it has been saying that it can't write to its disk, 0
	// when it can.
	Unfit time.Duration
}

// Config is what a Replica needs. All fields but Contacts must be set.
type Config struct {
	List  List
	Peers Peers
	// Dir is the folder of Raft's snapshots.
	Dir string
	// Instance is this process, as told in pings.
	Instance string
	// Seen tells of all agents but this one, by uid.
	Seen func() map[string]Seen
	// Contacts are addresses of agents that may know the cluster.
	Contacts []string
	// Rejoin has this agent register again though it was removed from the list, and
	// TakeOver though another agent holds its entry; both once.
	Rejoin, TakeOver bool
	Timing           Timing
	Log              *slog.Logger
}

// Timing is how patient a Replica is. Zero fields mean the default.
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
	// Move is how long the address of this agent's entry must have been silent before
	// it registers at another one, 30 s.
	Move time.Duration
	// Vacate is how long an agent must have been away before one with its name and
	// another uid takes over its entry, 5 min.
	Vacate time.Duration
	// Tick is how often the leader looks at its voters, 1 s.
	Tick time.Duration
	// Patience is how long an edit waits for a leader before it is refused,
	// 8 s by default. It must be longer than an election takes, which is up to
	// about three times Heartbeat after a leader was killed.
	Patience time.Duration
	// Push is how long one push may take, 1 s.
	Push time.Duration
	// Compact is how often a voter looks whether its log has become long,
	// 2 min by default.
	Compact time.Duration
	// Entries is by how many entries the log grows before a snapshot takes
	// their place, 4096 by default. A quarter as many stay, for voters that
	// were away for a moment. Fewer entries save disk and write the whole
	// list, which is the snapshot, more often.
	Entries uint64
}

func (t Timing) withDefaults() Timing {
	for _, f := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&t.Heartbeat, time.Second}, {&t.Commit, 200 * time.Millisecond},
		{&t.Settle, 10 * time.Second}, {&t.Replace, time.Minute},
		{&t.Move, 30 * time.Second}, {&t.Vacate, 5 * time.Minute}, {&t.Tick, time.Second},
		{&t.Patience, 8 * time.Second}, {&t.Push, time.Second},
		{&t.Compact, 2 * time.Minute},
	} {
		if *f.field == 0 {
			*f.field = f.value
		}
	}
	if t.Entries == 0 {
		t.Entries = 4096
	}
	return t
}

// Replica is one agent's part in the replication. It is safe for concurrent
// use.
type Replica struct {
	cfg    Config
	list   List
	log    *slog.Logger
	uid    string
	order  *order
	spread *spread

	mu    sync.Mutex
	views map[string]view   // by uid, of agents on the list: who leads, as they say
	moved map[string]string // uid → address, of agents met elsewhere than the list says
	// differences are what agents said of lists that are not of our line, by uid.
	differences  map[string]difference
	successors   map[string]successor // by uid
	own          awa.Condition        // of this agent's own list; zero when it is well
	unregistered awa.Condition        // why this agent is not registered as configured; zero when it is
	ownAddr      string               // where this agent is, as it is to stand on the list
	silentAddr   string               // an address of this agent's entry at which nobody answered it
	silentSince  time.Time            // since when
	callers      callers

	rejoin   atomic.Bool // see Config; cleared once this agent is registered
	takeOver atomic.Bool // likewise

	mayDiverge  atomic.Bool   // the list may contradict the leader's
	rebased     chan struct{} // capacity 1: the list has become another one
	wakeManager chan struct{} // capacity 1: the voters are to be looked at now
	reconciled  time.Time     // when reconcile looked last
	copied      atomic.Bool   // another agent has this one's uid, and holds its entry

	led   atomic.Int64 // when a leader was known last, or the Replica was made, in nanoseconds since 1970
	asked time.Time    // when the other voters were asked last whether this one is none any more
}

// New makes a Replica; it starts nothing.
func New(cfg Config) *Replica {
	cfg.Timing = cfg.Timing.withDefaults()
	r := &Replica{cfg: cfg, list: cfg.List, log: cfg.Log, uid: cfg.List.Meta().UID, views: map[string]view{},
		moved: map[string]string{}, differences: map[string]difference{}, successors: map[string]successor{},
		rebased: make(chan struct{}, 1), wakeManager: make(chan struct{}, 1), callers: newCallers()}
	r.led.Store(time.Now().UnixNano())
	r.rejoin.Store(cfg.Rejoin)
	r.takeOver.Store(cfg.TakeOver)
	r.order = newOrder(cfg, r.addr)
	r.spread = newSpread(cfg, r.uid, r.IsLeader)
	r.spread.leader, r.spread.offline = r.leaderAddr, r.leaderOffline
	r.spread.take, r.spread.diverged = r.take, func() { r.mayDiverge.Store(true) }
	return r
}

// Run takes part in the replication until ctx ends, and hands over the
// leadership then. It returns early with an error when the disk fails or Raft
// can't start. The data folder must hold a list: see Bootstrap and Join.
func (r *Replica) Run(ctx context.Context) error {
	if err := r.start(ctx); err != nil {
		return ignoreEnd(ctx, err)
	}
	group, inner := errgroup.WithContext(ctx)
	group.Go(func() error {
		select {
		case err := <-r.order.failed:
			return err
		case <-inner.Done():
			return nil
		}
	})
	group.Go(func() error { return r.spread.run(inner) })
	group.Go(func() error { return r.manage(inner) })
	group.Go(func() error { return r.watchCallers(inner) })
	err := group.Wait()
	r.order.disk.close()
	slow := r.order.stop(700 * time.Millisecond)
	if errors.Is(slow, errSlow) { // what was acknowledged is on disk
		r.log.Info("the replication did not end in time", "error", slow)
		slow = nil
	}
	return errors.Join(err, slow)
}

// start has Raft start, once the disk takes writes.
func (r *Replica) start(ctx context.Context) error {
	defer context.AfterFunc(ctx, r.order.disk.close)()
	return r.order.disk.retry(func() error {
		if err := r.order.finish(); err != nil {
			return err
		}
		if err := r.catchUpFirst(ctx); err != nil {
			return err
		}
		if err := r.holdIfCopy(ctx); err != nil {
			return err
		}
		return r.order.start()
	})
}

// ignoreEnd drops the error of an agent that was told to stop.
func ignoreEnd(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, errEnding) {
		return nil
	}
	return err
}

// HandOver gives the leadership to another voter, if this agent has it and
// there is one; it takes at most a second.
func (r *Replica) HandOver() { r.order.handOver() }

// IsLeader tells whether this agent is the leader.
func (r *Replica) IsLeader() bool { return r.order.isLeader() }

// Leader is the uid of the leader as far as known, "" for none. A voter knows
// it from Raft, others from what the agents say.
func (r *Replica) Leader() string {
	if uid, voting := r.order.leader(); voting {
		return uid
	}
	uid, _ := r.claim()
	return uid
}

// Leaderless is how long no leader has been known, to about a Timing.Tick; 0 while
// one is.
func (r *Replica) Leaderless() time.Duration {
	if r.Leader() != "" {
		return 0
	}
	return time.Since(time.Unix(0, r.led.Load()))
}

// Voters are the uids of the voters as far as known: those of Raft on a voter,
// and on others those that the leader tells.
func (r *Replica) Voters() []string {
	own := r.list.Meta().Voters.UIDs
	if slices.Contains(own, r.uid) {
		return own
	}
	if _, voters := r.claim(); len(voters) > 0 {
		return voters
	}
	return own
}

// Describe fills in what a ping tells of the replication.
func (r *Replica) Describe(self *awa.Self) {
	m := r.list.Meta()
	self.UID, self.Cluster, self.History = m.UID, m.Cluster, m.History
	if self.Cluster != "" {
		at := r.list.Position()
		self.State, self.Digest = at.State, at.Digest
	}
	if m.Fork != (awa.Position{}) {
		self.Fork = &m.Fork
	}
	for _, c := range r.ownConditions() {
		self.Health = append(self.Health, c.Code)
	}
	self.Leader = r.Leader()
	last := r.order.last()
	self.LogIndex, self.LogTerm = last.index, last.term
	if v := m.Voters; v.Index > 0 {
		v.Term = 0
		if r.IsLeader() {
			v.Term = r.order.term()
		}
		self.Voters = &v
	}
}

// Push takes news of a decided change from another agent. applied is false when
// it was held already; awa.ErrGap says that the agent will get what it lacks by
// itself. A push is not believed: a leader refuses it, a voter looks for the
// change in its own log, and others ask the leader.
func (r *Replica) Push(from awa.Caller, c awa.Change) (applied bool, err error) {
	switch {
	case r.list.Meta().Cluster == "":
		return false, notJoined()
	case r.IsLeader():
		return false, fault(awa.ErrConflict, "this agent is the leader: it decides the changes and takes none from others, nothing was changed")
	case c.ID <= r.list.State():
		return false, r.list.Apply([]awa.Change{c}) // says whether it is the same
	case r.order.fed():
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
	return false, fault(awa.ErrGap, "change %d does not follow state %d here, or the leader was not asked for it yet: this agent fetches what it lacks", c.ID, next-1)
}

const (
	// newsWithin is how long a push waits until the leader was asked for the
	// change. It must be below Timing.Push.
	newsWithin = 400 * time.Millisecond
	// entryWithin is how long a push to a voter waits for the entry, which the
	// leader sends at the same time by another connection.
	entryWithin = 50 * time.Millisecond
)

// pushToVoter looks for the change in this agent's own log.
func (r *Replica) pushToVoter(c awa.Change) (bool, error) {
	for end := time.Now().Add(entryWithin); ; {
		done, err := r.order.early(c)
		switch {
		case err != nil:
			return false, err
		case done || r.list.State() >= c.ID: // Raft was faster, or brought another one
			err := r.list.Apply([]awa.Change{c})
			return err == nil, err
		case time.Now().After(end) || c.Index > r.order.lastIndex()+earlyEntries:
			return false, fault(awa.ErrGap, "the log of this voter does not hold change %d at index %d: nothing was changed, it gets its changes by Raft", c.ID, c.Index)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// take takes changes that another agent was asked for, and reports how far the
// list has come. A voter believes its own log alone.
func (r *Replica) take(changes []awa.Change) (int, error) {
	before := r.list.State()
	switch {
	case r.IsLeader():
		return 0, nil
	case r.order.fed():
		for _, c := range slices.Backward(changes) {
			if done, err := r.order.early(c); done || err != nil {
				return int(r.list.State() - before), err
			}
		}
		return 0, nil
	}
	err := r.list.Apply(changes)
	r.order.disk.failed(err)
	return len(changes), err
}

// AcceptRaft says why an agent may not open a Raft stream to this one.
func (r *Replica) AcceptRaft(awa.Caller) error { return r.order.accepts() }

// RaftStream takes over a Raft stream.
func (r *Replica) RaftStream(from awa.Caller, conn net.Conn) { r.order.take(from.UID, conn) }

// DropStreams closes all Raft streams and tells how many were open. They are
// opened anew, with the keys of now.
func (r *Replica) DropStreams() int { return r.order.dropStreams() }

// addr finds the address of an agent by its uid.
func (r *Replica) addr(uid string) (string, bool) {
	r.mu.Lock()
	addr, ok := r.moved[uid]
	r.mu.Unlock()
	// Whoever answers elsewhere under its uid counts only while it does not
	// answer where the list says.
	if ok && !r.cfg.Seen()[uid].Online {
		return addr, true
	}
	if addr, ok := r.listed(uid); ok {
		return addr, true
	}
	h, ok := r.currentSuccessors()[uid]
	return h.addr, ok
}

func (r *Replica) listed(uid string) (string, bool) {
	n, ok := r.list.Agent(uid)
	return n.Addr(), ok
}

// met notes where an agent answers. When all voters have moved, the list
// can't say so before they have found each other.
func (r *Replica) met(uid, addr string) {
	listed, ok := r.listed(uid)
	r.mu.Lock()
	defer r.mu.Unlock()
	if !ok || listed == addr {
		delete(r.moved, uid)
		return
	}
	r.moved[uid] = addr
}

// name gives a node's name by its agent's uid, or the uid itself.
func (r *Replica) name(uid string) string {
	if n, ok := r.list.Agent(uid); ok {
		return n.Name
	}
	return uid
}

// fault makes an *awa.Fault.
func fault(code awa.Code, format string, args ...any) error {
	return &awa.Fault{Code: code, Text: fmt.Sprintf(format, args...)}
}

func notJoined() error {
	return fault(awa.ErrNotJoined, "this agent holds no list yet: ask another one, or wait until it has joined")
}
