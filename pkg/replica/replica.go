package replica

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/consensus"
)

// List is the node list, on disk. Its methods are safe for concurrent use; an error
// other than an *awa.Fault means that the disk failed and nothing was done.
type List interface {
	consensus.List
	Nodes() []awa.Node
	ClusterName() string
	Agent(uid string) (awa.Node, bool)
	// Apply takes changes that were learned from others; those that are held
	// already do nothing.
	Apply([]awa.Change) error
	// SetAside writes the changes after a state to a new file.
	SetAside(after uint64, why string, now time.Time) (path string, err error)
	// Damaged returns the first damage of the file that a read has met.
	Damaged() error
	// SetEpoch remembers the highest epoch that was met.
	SetEpoch(epoch uint64) error
	// Wait returns when the state is reached or ctx ends.
	Wait(ctx context.Context, state uint64) error
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
	// Fetch is Sync whatever list this agent holds itself, and NodesOf returns the
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
	RTT    time.Duration // of its last answer; 0 without one
	// Unfit is how long it has been saying that it can't write to its disk, 0
	// when it can.
	Unfit time.Duration
}

// Config is what a Replica needs. All fields but Contacts and ClusterName must be set.
type Config struct {
	List  List
	Peers Peers
	// Dir is the folder of Raft's snapshots.
	Dir string
	// Instance is this process, as its answers to pings name it.
	Instance string
	// Seen returns how another agent looked, by its uid; ok is false of one that is not on the
	// list, or was not looked at yet.
	Seen func(uid string) (seen Seen, ok bool)
	// Contacts are addresses of agents that may know the cluster.
	Contacts []string
	// ClusterName is how to call the cluster if it has no name yet; "" to leave it so.
	ClusterName string
	// Rejoin lets this agent register again though it was removed from the list, and
	// TakeOver though another agent holds its entry; both once.
	Rejoin, TakeOver bool
	Timing           Timing
	Log              *slog.Logger
}

// Timing is how patient a Replica is. Zero fields mean the default.
type Timing struct {
	consensus.Timing
	// Move is how long the address of this agent's entry must have been silent before
	// it registers at another one, 30 s.
	Move time.Duration
	// Vacate is how long an agent must have been away before one with its name and
	// another uid takes over its entry, 5 min.
	Vacate time.Duration
	// Patience is how long an edit waits for a leader before it is refused,
	// 8 s by default. It must be longer than an election takes, which is up to
	// about three times Heartbeat after a leader was killed.
	Patience time.Duration
	// Push is how long one push may take, 1 s.
	Push time.Duration
}

// WithDefaults returns the timing with a default in place of each zero field.
func (t Timing) WithDefaults() Timing {
	return Timing{
		Timing: t.Timing.WithDefaults(), Move: cmp.Or(t.Move, 30*time.Second), Vacate: cmp.Or(t.Vacate, 5*time.Minute),
		Patience: cmp.Or(t.Patience, 8*time.Second), Push: cmp.Or(t.Push, time.Second),
	}
}

// Replica is one agent's part in the replication. It is safe for concurrent
// use.
type Replica struct {
	cfg        Config
	list       List
	log        *slog.Logger
	uid        string
	raft       *consensus.Consensus
	replicator *replicator

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

	led atomic.Int64 // when a leader was known last, or the Replica was made, in nanoseconds since 1970
}

// New makes a Replica; it starts nothing.
func New(cfg Config) *Replica {
	cfg.Timing = cfg.Timing.WithDefaults()
	r := &Replica{cfg: cfg, list: cfg.List, log: cfg.Log, uid: cfg.List.Meta().UID, views: map[string]view{},
		moved: map[string]string{}, differences: map[string]difference{}, successors: map[string]successor{},
		rebased: make(chan struct{}, 1), wakeManager: make(chan struct{}, 1), callers: newCallers()}
	r.led.Store(time.Now().UnixNano())
	r.rejoin.Store(cfg.Rejoin)
	r.takeOver.Store(cfg.TakeOver)
	r.raft = consensus.New(consensus.Config{
		List: cfg.List, Peers: voters{r}, Dir: cfg.Dir, Name: r.name, Timing: cfg.Timing.Timing, Log: cfg.Log,
	})
	r.replicator = newReplicator(cfg, r.uid, r.IsLeader)
	r.replicator.leader, r.replicator.offline = r.leaderAddr, r.leaderOffline
	r.replicator.accept, r.replicator.diverged = r.acceptChanges, func() { r.mayDiverge.Store(true) }
	return r
}

// Run takes part in the replication until ctx ends, and hands over the
// leadership then. It returns early with an error when the disk fails or Raft
// can't start. The data folder must hold a list: see consensus.Bootstrap and Join.
func (r *Replica) Run(ctx context.Context) error {
	if err := r.start(ctx); err != nil {
		return ignoreEnd(ctx, err)
	}
	group, inner := errgroup.WithContext(ctx)
	group.Go(func() error {
		select {
		case err := <-r.raft.Failed():
			return err
		case <-inner.Done():
			return nil
		}
	})
	group.Go(func() error { return r.replicator.run(inner) })
	group.Go(func() error { return r.manage(inner) })
	group.Go(func() error { return r.watchCallers(inner) })
	group.Go(func() error { return r.expire(inner) })
	err := group.Wait()
	r.raft.Disk.Close()
	slow := r.raft.Stop(700 * time.Millisecond)
	if errors.Is(slow, consensus.ErrSlow) { // what was acknowledged is on disk
		r.log.Info("the replication did not end in time", "error", slow)
		slow = nil
	}
	return errors.Join(err, slow)
}

// start starts Raft, once the disk takes writes.
func (r *Replica) start(ctx context.Context) error {
	defer context.AfterFunc(ctx, r.raft.Disk.Close)()
	return r.raft.Disk.Retry(func() error {
		if err := r.raft.Finish(); err != nil {
			return err
		}
		if err := r.catchUpFirst(ctx); err != nil {
			return err
		}
		if err := r.holdIfCopy(ctx); err != nil {
			return err
		}
		return r.raft.Start()
	})
}

// ignoreEnd drops the error of an agent that is stopping.
func ignoreEnd(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, consensus.ErrEnding) {
		return nil
	}
	return err
}

// HandOver hands the leadership over to another voter, if this agent leads and there is
// another one. It takes at most a second.
func (r *Replica) HandOver() { r.raft.HandOver() }

// IsLeader reports whether this agent is the leader.
func (r *Replica) IsLeader() bool { return r.raft.IsLeader() }

// Leader returns the uid of the leader as far as known, "" for none. A voter knows
// it from Raft, others from what the agents say.
func (r *Replica) Leader() string {
	if uid, voting := r.raft.Leader(); voting {
		return uid
	}
	uid, _ := r.claim()
	return uid
}

// Leaderless returns how long no leader has been known, to about a Timing.Tick; 0 while
// one is.
func (r *Replica) Leaderless() time.Duration {
	if r.Leader() != "" {
		return 0
	}
	return time.Since(time.Unix(0, r.led.Load()))
}

// Voters returns the uids of the voters as far as known: on a voter those of Raft, and on
// other agents those that the leader names.
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

// Describe fills in what the answer to a ping says of the replication.
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
	self.LogTerm, self.LogIndex = r.raft.Last()
	if v := m.Voters; v.Index > 0 {
		v.Term = 0
		if r.IsLeader() {
			v.Term = r.raft.Term()
		}
		self.Voters = &v
	}
}

// AcceptRaft returns why no Raft stream is accepted now, or nil.
func (r *Replica) AcceptRaft() error { return r.raft.Accepts() }

// RaftStream takes over a Raft stream.
func (r *Replica) RaftStream(conn net.Conn) { r.raft.Accept(conn) }

// DropStreams closes all Raft streams and returns how many were open. They are opened
// again, with the keys of now.
func (r *Replica) DropStreams() int { return r.raft.DropStreams() }

// addr returns the address of an agent by its uid.
func (r *Replica) addr(uid string) (string, bool) {
	r.mu.Lock()
	addr, ok := r.moved[uid]
	r.mu.Unlock()
	// Whoever answers elsewhere under its uid counts only while it does not
	// answer where the list says.
	if ok && !r.online(uid) {
		return addr, true
	}
	if addr, ok := r.listed(uid); ok {
		return addr, true
	}
	h, ok := r.currentSuccessors()[uid]
	return h.addr, ok
}

// online reports whether another agent was online when this one looked.
func (r *Replica) online(uid string) bool {
	seen, _ := r.cfg.Seen(uid)
	return seen.Online
}

// offline reports whether it was not. Of one that was not looked at yet, neither is known.
func (r *Replica) offline(uid string) bool {
	seen, ok := r.cfg.Seen(uid)
	return ok && !seen.Online
}

func (r *Replica) listed(uid string) (string, bool) {
	n, ok := r.list.Agent(uid)
	return n.Addr(), ok
}

// noteAddr notes where an agent answers. When all voters have moved, the list
// can't say so before they have found each other.
func (r *Replica) noteAddr(uid, addr string) {
	listed, ok := r.listed(uid)
	r.mu.Lock()
	defer r.mu.Unlock()
	if !ok || listed == addr {
		delete(r.moved, uid)
		return
	}
	r.moved[uid] = addr
}

// name returns a node's name by its agent's uid, or the uid itself.
func (r *Replica) name(uid string) string {
	if n, ok := r.list.Agent(uid); ok {
		return n.Name
	}
	return uid
}
