package replica

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"are-we-alive/pkg/awa"
)

// order is this agent's part in Raft. On most agents it lies dormant: it has
// no configuration and waits until a leader makes it a voter.
type order struct {
	cfg    Config
	uid    string
	addr   func(uid string) (string, bool)
	log    *slog.Logger
	disk   *disk
	failed chan error // buffered; the first reason why the agent must stop

	mu      sync.RWMutex
	raft    *raft.Raft // nil while stopped
	streams *streams
	trans   *ballot
	started time.Time

	repaired atomic.Bool // examine has brought the applied index back
	held     atomic.Bool // start does nothing: another agent has this one's uid
}

func newOrder(cfg Config, addr func(string) (string, bool)) *order {
	return &order{cfg: cfg, uid: cfg.List.Meta().UID, addr: addr, log: cfg.Log, disk: newDisk(cfg.List.Room, cfg.Log),
		failed: make(chan error, 1)}
}

// fail stops the agent; only the first reason counts.
func (o *order) fail(err error) {
	select {
	case o.failed <- err:
	default:
	}
}

func (o *order) start() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := o.finish(); err != nil || o.held.Load() {
		return err
	}
	if err := o.repair(); err != nil {
		return fmt.Errorf("repair Raft's log in %s: %w", o.cfg.Dir, err)
	}
	log := newRaftLogger(o.log)
	files, err := openSnapshots(o.cfg.Dir, o.log)
	if err != nil {
		return err
	}
	snaps := &snapshotFiles{FileSnapshotStore: files, list: o.cfg.List}
	if err := o.examine(snaps); err != nil {
		return err
	}
	o.started = time.Now()
	o.streams = newStreams(o.uid, o.dial)
	trans := raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream: o.streams, MaxPool: 3, Timeout: 5 * time.Second, Logger: log,
	})
	o.trans = (&ballot{
		NetworkTransport: trans, list: o.cfg.List, furthest: o.furthest, full: o.disk.condition, snapshot: snaps.place,
	}).start()
	disk := raftLog{o.cfg.List, o.fail, o.disk}
	cache, err := raft.NewLogCache(512, disk)
	if err != nil {
		return err
	}
	m := &machine{list: o.cfg.List, disk: o.disk, fail: o.fail, voters: o.agreed, opened: snaps.last.Load, log: o.log}
	o.raft, err = raft.NewRaft(raftConfig(o.uid, o.cfg.Timing, log), m, cache, disk, snaps, o.trans)
	if err != nil {
		o.trans.Close()
		o.streams.Close()
		return fmt.Errorf("start Raft: %w", err)
	}
	snaps.sending.Store(true)
	o.trans.raft.Store(o.raft)
	o.leadAlone()
	return nil
}

// finish carries out what was decided before a crash. Raft must be stopped.
func (o *order) finish() error {
	if err := o.finishDropping(); err != nil {
		return err
	}
	if _, err := o.finishAdopting(); err != nil {
		return fmt.Errorf("follow another list: %w", err)
	}
	if err := finishRebootstrap(o.cfg.List, o.cfg.Dir); err != nil {
		return fmt.Errorf("begin Raft's log: %w", err)
	}
	return nil
}

// leadAlone has an agent that is the only voter elect itself at once. Raft
// would wait for a heartbeat that nobody can send; a leader that hands over
// tells its successor not to wait, and so does this agent tell itself.
func (o *order) leadAlone() {
	all, err := servers(o.raft)
	if err != nil || len(all) != 1 || string(all[0].ID) != o.uid || all[0].Suffrage != raft.Voter {
		return
	}
	header := raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(o.uid), Addr: []byte(o.uid)}
	req := &raft.TimeoutNowRequest{RPCHeader: header}
	if err := o.trans.TimeoutNow(all[0].ID, all[0].Address, req, &raft.TimeoutNowResponse{}); err != nil {
		o.log.Debug("can't be elected at once", "error", err)
	}
}

// openSnapshots opens the folder of Raft's snapshots; one is kept.
func openSnapshots(dir string, log *slog.Logger) (*raft.FileSnapshotStore, error) {
	snaps, err := raft.NewFileSnapshotStoreWithLogger(dir, 1, newRaftLogger(log))
	if err != nil {
		return nil, fmt.Errorf("open the folder of snapshots %s: %w", dir, err)
	}
	return snaps, nil
}

func raftConfig(uid string, t Timing, log *raftLogger) *raft.Config {
	c := raft.DefaultConfig()
	c.LocalID = raft.ServerID(uid)
	c.HeartbeatTimeout = t.Heartbeat
	c.ElectionTimeout = t.Heartbeat
	// The lease only says when a leader without a majority gives up. Nothing is
	// read on its strength, so it is as long as raft allows: shorter ones let
	// the leadership wander on a machine that is busy.
	c.LeaderLeaseTimeout = t.Heartbeat
	c.CommitTimeout = t.Commit
	c.ShutdownOnRemove = false // with true the transport stays open
	c.SnapshotInterval = t.Compact
	c.SnapshotThreshold = t.Entries
	c.TrailingLogs = t.Entries / 4
	c.NoLegacyTelemetry = true
	c.Logger = log
	return c
}

// pace has a leader send its heartbeats at half the rate that raft derives from the
// time after which the others stand for election: a fifth to two fifths of that
// time apart, which costs a third less when idle.
func (o *order) pace() {
	r := o.running()
	if r == nil {
		return
	}
	timeout := o.cfg.Timing.Heartbeat
	if r.State() == raft.Leader {
		timeout *= 2
	}
	c := r.ReloadableConfig()
	if c.HeartbeatTimeout == timeout {
		return
	}
	c.HeartbeatTimeout, c.ElectionTimeout = timeout, timeout
	if err := r.ReloadConfig(c); err != nil {
		o.log.Info("the pace of the heartbeats could not be changed", "error", err)
	}
}

// stop ends Raft. It does not wait for ever: raft's own shutdown can hang on
// a busy state machine.
func (o *order) stop(patience time.Duration) error {
	o.mu.Lock()
	r, trans, streams := o.raft, o.trans, o.streams
	o.raft = nil
	o.mu.Unlock()
	if r == nil {
		return nil
	}
	streams.Close()
	err := within(patience, r.Shutdown())
	return errors.Join(err, trans.Close())
}

// handOver gives the leadership to another voter, if there is one.
func (o *order) handOver() {
	r := o.running()
	if r == nil || r.State() != raft.Leader || len(o.cfg.List.Meta().Voters.UIDs) < 2 {
		return
	}
	if err := within(time.Second, r.LeadershipTransfer()); err != nil {
		o.log.Info("the leadership was not handed over", "error", err)
		return
	}
	o.log.Info("the leadership was handed over")
}

// errSlow is a future of raft's that was not fulfilled in time.
var errSlow = errors.New("raft did not answer in time")

// within waits for a future of raft's: some never end while raft shuts down.
func within(d time.Duration, f raft.Future) error {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	return wait(ctx, f)
}

func wait(ctx context.Context, f raft.Future) error {
	done := make(chan error, 1)
	go func() { done <- f.Error() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return errSlow
	}
}

// running gives Raft, or nil while it is stopped.
func (o *order) running() *raft.Raft {
	o.mu.RLock()
	defer o.mu.RUnlock()
	return o.raft
}

func (o *order) isLeader() bool {
	r := o.running()
	return r != nil && r.State() == raft.Leader
}

// leader is the leader as Raft knows it; part tells whether this agent takes
// part in Raft at all, so that nobody knows better.
func (o *order) leader() (uid string, part bool) {
	r := o.running()
	if r == nil {
		return "", false
	}
	_, id := r.LeaderWithID()
	return string(id), id != "" || o.votes(r)
}

func (o *order) term() uint64 {
	if r := o.running(); r != nil {
		return r.CurrentTerm()
	}
	return 0
}

func (o *order) lastIndex() uint64 {
	if r := o.running(); r != nil {
		return r.LastIndex()
	}
	return 0
}

// last is the place of the newest entry of this agent's log, the zero place when
// there is none or Raft is stopped.
func (o *order) last() logPlace {
	index := o.lastIndex()
	if index == 0 {
		return logPlace{}
	}
	var l raft.Log
	if err := (raftLog{o.cfg.List, o.fail, o.disk}).GetLog(index, &l); err == nil {
		return logPlace{l.Term, index}
	}
	m := o.cfg.List.Meta() // a snapshot stands for it
	return logPlace{m.Term, index}
}

// logPlace is where a log ends. Of two logs the one that ends at the later place
// may hold more that was decided (Raft, section 5.4.1).
type logPlace struct{ term, index uint64 }

func (p logPlace) after(q logPlace) bool {
	return p.term > q.term || p.term == q.term && p.index > q.index
}

// furthest asks the other voters of the configuration where their logs end, and
// returns the furthest place.
func (o *order) furthest() logPlace {
	r := o.running()
	if r == nil {
		return logPlace{}
	}
	config, err := servers(r)
	if err != nil {
		return logPlace{}
	}
	var voters []string
	for _, c := range config {
		if c.Suffrage == raft.Voter {
			voters = append(voters, string(c.ID))
		}
	}
	var most logPlace
	for _, self := range askAll(context.Background(), o.cfg, o.addr, voters, furthestWithin) {
		// One of a version that does not tell the term says nothing.
		if p := (logPlace{self.LogTerm, self.LogIndex}); p.term > 0 && p.after(most) {
			most = p
		}
	}
	return most
}

// furthestWithin is how long furthest takes at most. It must be far below the
// time after which a candidate gives up.
const furthestWithin = 300 * time.Millisecond

// servers is Raft's newest configuration. Its index can't be had from raft:
// the future's is always 0, and so is what Stats tells.
func servers(r *raft.Raft) ([]raft.Server, error) {
	f := r.GetConfiguration()
	err := f.Error()
	return f.Configuration().Servers, err
}

// votes tells whether this agent counts itself among the voters.
func (o *order) votes(r *raft.Raft) bool {
	all, err := servers(r)
	if err != nil {
		return false
	}
	for _, s := range all {
		if string(s.ID) == o.uid && s.Suffrage == raft.Voter {
			return true
		}
	}
	return false
}

// agreed is told of each committed configuration, by the state machine.
func (o *order) agreed(v awa.VoterSet) {
	err := o.disk.retry(func() error { return o.cfg.List.SetVoters(v) })
	if err != nil && !errors.Is(err, errEnding) {
		o.fail(fmt.Errorf("keep the voters on disk: %w", err))
	}
}

// accepts says why no Raft stream is taken now, or nil.
func (o *order) accepts() error {
	if o.running() == nil {
		return fault(awa.ErrStopping, "this agent takes no part in the replication right now: it is starting or stopping")
	}
	return nil
}

// take hands a stream to Raft.
func (o *order) take(_ string, conn net.Conn) {
	o.mu.RLock()
	s, r := o.streams, o.raft
	o.mu.RUnlock()
	if r == nil {
		conn.Close()
		return
	}
	s.take(conn)
}

func (o *order) dropStreams() int {
	o.mu.RLock()
	s := o.streams
	o.mu.RUnlock()
	if s == nil { // Raft never ran
		return 0
	}
	return s.drop()
}

// dial opens a stream to an agent by its uid.
func (o *order) dial(ctx context.Context, uid string) (net.Conn, error) {
	if uid == o.uid { // see leadAlone
		here, there := net.Pipe()
		go o.streams.take(there)
		return here, nil
	}
	addr, ok := o.addr(uid)
	if !ok {
		return nil, fault(awa.ErrUnknownNode, "no node of the list has the uid %s", uid)
	}
	return o.cfg.Peers.DialRaft(ctx, addr, uid)
}

// propose has an edit decided. Its errors: awa.ErrNoMajority when this agent
// does not lead, so nothing was done; awa.ErrUnknownOutcome when it can't be
// told; else the refusal.
func (o *order) propose(ctx context.Context, e awa.Edit) (awa.Outcome, error) {
	r := o.running()
	if r == nil {
		return awa.Outcome{}, fault(awa.ErrStopping, "this agent is stopping: ask another one")
	}
	b, err := encodeCommand(e)
	if err != nil {
		return awa.Outcome{}, fault(awa.ErrBadInput, "the edit can't be written as JSON: %v", err)
	}
	deadline, _ := ctx.Deadline()
	f := r.Apply(b, time.Until(deadline))
	switch err := wait(ctx, f); {
	case err == nil:
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipTransferInProgress), errors.Is(err, raft.ErrEnqueueTimeout):
		return awa.Outcome{}, errNotLeader
	default: // leadership lost, shutdown, time ran out
		return awa.Outcome{}, unknownOutcome(err)
	}
	out, ok := f.Response().(awa.Outcome)
	if !ok || out.Err == nil && out.Change.ID == 0 {
		return awa.Outcome{}, unknownOutcome(nil)
	}
	return out, out.Err
}

// errNotLeader sends an edit on its way to the leader.
var errNotLeader = fault(awa.ErrNoMajority, "this agent is not the leader")
