package consensus

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

	"github.com/hashicorp/raft"

	"are-we-alive/pkg/awa"
)

// Consensus is this agent's part in Raft. Its methods are safe for concurrent use,
// except that those which stop and start Raft (Start, Stop, Hold, Release, Adopt,
// Maintain) must not run beside each other.
type Consensus struct {
	// Disk is the guard of every write of consensus.
	Disk *Disk

	cfg    Config
	list   List
	uid    string
	log    *slog.Logger
	failed chan error // buffered; the first reason why the agent must stop
	asked  time.Time  // when retireIfRemoved asked the other voters last

	mu      sync.RWMutex
	raft    *raft.Raft // nil while stopped
	streams *streamLayer
	guard   *voteGuard
	started time.Time

	repaired atomic.Bool // examine has brought the applied index back
	held     atomic.Bool // Start does nothing: another agent has this one's uid
}

// New makes a Consensus; it starts nothing.
func New(cfg Config) *Consensus {
	cfg.Timing = cfg.Timing.WithDefaults()
	return &Consensus{
		Disk: newDisk(cfg.List.Room, cfg.Log), cfg: cfg, list: cfg.List, uid: cfg.List.Meta().UID, log: cfg.Log,
		failed: make(chan error, 1),
	}
}

// Failed returns the channel on which the first reason comes why the agent must stop.
func (c *Consensus) Failed() <-chan error { return c.failed }

// fail stops the agent; only the first reason counts.
func (c *Consensus) fail(err error) {
	select {
	case c.failed <- err:
	default:
	}
}

// Start starts Raft, unless this agent is held.
func (c *Consensus) Start() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.Finish(); err != nil || c.held.Load() {
		return err
	}
	if err := c.repair(); err != nil {
		return fmt.Errorf("repair Raft's log in %s: %w", c.cfg.Dir, err)
	}
	log := newRaftLogger(c.log)
	files, err := openSnapshots(c.cfg.Dir, c.log)
	if err != nil {
		return err
	}
	snaps := &snapshotStore{FileSnapshotStore: files, list: c.list}
	if err := c.examine(snaps); err != nil {
		return err
	}
	c.started = time.Now()
	c.streams = newStreamLayer(c.uid, c.dial)
	trans := raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream: c.streams, MaxPool: 3, Timeout: 5 * time.Second, Logger: log,
	})
	c.guard = (&voteGuard{
		NetworkTransport: trans, list: c.list, furthest: c.furthest, full: c.Disk.Condition, snapshot: snaps.place,
	}).start()
	disk := raftLog{c.list, c.fail, c.Disk}
	cache, err := raft.NewLogCache(512, disk)
	if err != nil {
		return err
	}
	m := &fsm{list: c.list, disk: c.Disk, fail: c.fail, voters: c.keepVoters, opened: snaps.last.Load, log: c.log}
	c.raft, err = raft.NewRaft(raftConfig(c.uid, c.cfg.Timing, log), m, cache, disk, snaps, c.guard)
	if err != nil {
		c.guard.Close()
		c.streams.Close()
		return fmt.Errorf("start Raft: %w", err)
	}
	snaps.sending.Store(true)
	c.guard.raft.Store(c.raft)
	c.electAlone()
	return nil
}

// Finish completes what was decided before a crash. Raft must be stopped.
func (c *Consensus) Finish() error {
	if err := c.finishDropping(); err != nil {
		return err
	}
	if _, err := c.finishAdopting(); err != nil {
		return fmt.Errorf("follow another list: %w", err)
	}
	if err := finishRebootstrap(c.list, c.cfg.Dir); err != nil {
		return fmt.Errorf("begin Raft's log: %w", err)
	}
	return nil
}

// electAlone lets an agent that is the only voter elect itself at once. Raft would wait
// for a heartbeat that nobody can send; a leader that hands over tells its successor
// not to wait, and so does this agent tell itself.
func (c *Consensus) electAlone() {
	all, err := servers(c.raft)
	if err != nil || len(all) != 1 || string(all[0].ID) != c.uid || all[0].Suffrage != raft.Voter {
		return
	}
	header := raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(c.uid), Addr: []byte(c.uid)}
	req := &raft.TimeoutNowRequest{RPCHeader: header}
	if err := c.guard.TimeoutNow(all[0].ID, all[0].Address, req, &raft.TimeoutNowResponse{}); err != nil {
		c.log.Debug("can't be elected at once", "error", err)
	}
}

func raftConfig(uid string, t Timing, log *raftLogger) *raft.Config {
	rc := raft.DefaultConfig()
	rc.LocalID = raft.ServerID(uid)
	rc.HeartbeatTimeout = t.Heartbeat
	rc.ElectionTimeout = t.Heartbeat
	// The lease only says when a leader without a majority gives up. Nothing is
	// read on its strength, so it is as long as raft allows: shorter ones let
	// the leadership wander on a machine that is busy.
	rc.LeaderLeaseTimeout = t.Heartbeat
	rc.CommitTimeout = t.Commit
	rc.ShutdownOnRemove = false // with true the transport stays open
	rc.SnapshotInterval = t.Compact
	rc.SnapshotThreshold = t.Entries
	rc.TrailingLogs = t.Entries / 4
	rc.NoLegacyTelemetry = true
	rc.Logger = log
	return rc
}

// Stop ends Raft, and the streams to other voters. It does not wait for ever: raft's
// own shutdown can hang on a busy state machine, and then the error is ErrSlow.
func (c *Consensus) Stop(patience time.Duration) error {
	c.mu.Lock()
	r, guard, streams := c.raft, c.guard, c.streams
	c.raft = nil
	c.mu.Unlock()
	if r == nil {
		return nil
	}
	streams.Close()
	err := within(patience, r.Shutdown())
	return errors.Join(err, guard.Close())
}

// Hold stops Raft until Release: another agent uses this one's uid, and two voters with
// one uid could vote twice.
func (c *Consensus) Hold() error {
	c.held.Store(true)
	if err := c.Stop(stopWithin); err != nil {
		return fmt.Errorf("stop Raft: %w", err)
	}
	return nil
}

// Release starts Raft again after Hold.
func (c *Consensus) Release() error {
	c.held.Store(false)
	return c.Start()
}

// Held reports whether this agent is held.
func (c *Consensus) Held() bool { return c.held.Load() }

// HandOver hands the leadership over to another voter, if this agent leads and there is
// another one. It takes at most a second.
func (c *Consensus) HandOver() {
	r := c.running()
	if r == nil || r.State() != raft.Leader || len(c.list.Meta().Voters.UIDs) < 2 {
		return
	}
	if err := within(time.Second, r.LeadershipTransfer()); err != nil {
		c.log.Info("the leadership was not handed over", "error", err)
		return
	}
	c.log.Info("the leadership was handed over")
}

// ErrSlow is a future of raft's that was not fulfilled in time.
var ErrSlow = errors.New("raft did not answer in time")

// stopWithin is how long a stop of Raft may take when it is to be started again.
const stopWithin = 10 * time.Second

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
		return ErrSlow
	}
}

// running returns Raft, or nil while it is stopped.
func (c *Consensus) running() *raft.Raft {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.raft
}

// Running reports whether Raft is running.
func (c *Consensus) Running() bool { return c.running() != nil }

// IsLeader reports whether this agent is the leader.
func (c *Consensus) IsLeader() bool {
	r := c.running()
	return r != nil && r.State() == raft.Leader
}

// Leader returns the uid of the leader as Raft knows it. part reports whether this agent
// takes part in Raft at all, so that nobody knows better.
func (c *Consensus) Leader() (uid string, part bool) {
	r := c.running()
	if r == nil {
		return "", false
	}
	_, id := r.LeaderWithID()
	return string(id), id != "" || c.votes(r)
}

// Term returns Raft's current term, 0 while it is stopped.
func (c *Consensus) Term() uint64 {
	if r := c.running(); r != nil {
		return r.CurrentTerm()
	}
	return 0
}

func (c *Consensus) lastIndex() uint64 {
	if r := c.running(); r != nil {
		return r.LastIndex()
	}
	return 0
}

// Last returns the term and the index of the newest entry of this agent's log; 0 and 0
// when there is none or Raft is stopped.
func (c *Consensus) Last() (term, index uint64) {
	index = c.lastIndex()
	if index == 0 {
		return 0, 0
	}
	if l, ok, err := c.entry(index); ok && err == nil {
		return l.Term, index
	}
	return c.list.Meta().Term, index // a snapshot stands for it
}

// entry returns an entry of this agent's log; ok is false when it does not hold that
// one, which a snapshot may stand for.
func (c *Consensus) entry(index uint64) (l raft.Log, ok bool, err error) {
	err = raftLog{c.list, c.fail, c.Disk}.GetLog(index, &l)
	if errors.Is(err, raft.ErrLogNotFound) {
		return raft.Log{}, false, nil
	}
	return l, err == nil, err
}

// place is where a log ends. Of two logs the one that ends at the later place may hold
// more that was decided (Raft, section 5.4.1).
type place struct{ term, index uint64 }

func (p place) after(q place) bool {
	return p.term > q.term || p.term == q.term && p.index > q.index
}

// servers returns Raft's newest configuration. Its index can't be had from raft: the
// future's is always 0, and so is that of Stats.
func servers(r *raft.Raft) ([]raft.Server, error) {
	f := r.GetConfiguration()
	err := f.Error()
	return f.Configuration().Servers, err
}

// otherVoters returns the uids of the voters of a configuration except this agent's.
func (c *Consensus) otherVoters(config []raft.Server) []string {
	var uids []string
	for _, s := range config {
		if s.Suffrage == raft.Voter && string(s.ID) != c.uid {
			uids = append(uids, string(s.ID))
		}
	}
	return uids
}

// votes reports whether this agent counts itself among the voters.
func (c *Consensus) votes(r *raft.Raft) bool {
	all, err := servers(r)
	return err == nil && slices.ContainsFunc(all, func(s raft.Server) bool {
		return string(s.ID) == c.uid && s.Suffrage == raft.Voter
	})
}

// keepVoters writes a committed configuration to disk. The state machine calls it.
func (c *Consensus) keepVoters(v awa.VoterSet) {
	err := c.Disk.Retry(func() error { return c.list.SetVoters(v) })
	if err != nil && !errors.Is(err, ErrEnding) {
		c.fail(fmt.Errorf("keep the voters on disk: %w", err))
	}
}

// Accepts returns why no Raft stream is accepted now, or nil.
func (c *Consensus) Accepts() error {
	if c.running() == nil {
		return awa.Faultf(awa.ErrStopping,
			"this agent takes no part in the replication right now: it is starting or stopping")
	}
	return nil
}

// Accept hands Raft a stream that another agent opened.
func (c *Consensus) Accept(conn net.Conn) {
	c.mu.RLock()
	s, r := c.streams, c.raft
	c.mu.RUnlock()
	if r == nil {
		conn.Close()
		return
	}
	s.accept(conn)
}

// DropStreams closes all Raft streams and returns how many were open. Raft opens them
// again, with the keys of now.
func (c *Consensus) DropStreams() int {
	c.mu.RLock()
	s := c.streams
	c.mu.RUnlock()
	if s == nil { // Raft never ran
		return 0
	}
	return s.drop()
}

// dial opens a stream to an agent by its uid.
func (c *Consensus) dial(ctx context.Context, uid string) (net.Conn, error) {
	if uid == c.uid { // see electAlone
		here, there := net.Pipe()
		go c.streams.accept(there)
		return here, nil
	}
	return c.cfg.Peers.Dial(ctx, uid)
}

// Propose submits an edit to the voters, and returns what they made of it. Its errors:
// awa.ErrNoMajority when this agent does not lead, so nothing was done;
// awa.ErrUnknownOutcome when the outcome is not known; else the refusal.
func (c *Consensus) Propose(ctx context.Context, e awa.Edit) (awa.Outcome, error) {
	r := c.running()
	if r == nil {
		return awa.Outcome{}, awa.Faultf(awa.ErrStopping, "this agent is stopping: ask another one")
	}
	b, err := encodeCommand(e)
	if err != nil {
		return awa.Outcome{}, awa.Faultf(awa.ErrBadInput, "the edit can't be written as JSON: %v", err)
	}
	deadline, _ := ctx.Deadline()
	f := r.Apply(b, time.Until(deadline))
	switch err := wait(ctx, f); {
	case err == nil:
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipTransferInProgress),
		errors.Is(err, raft.ErrEnqueueTimeout):
		return awa.Outcome{}, ErrNotLeader
	default: // leadership lost, shutdown, time ran out
		return awa.Outcome{}, UnknownOutcome(err)
	}
	out, ok := f.Response().(awa.Outcome)
	if !ok || out.Err == nil && out.Change.ID == 0 {
		return awa.Outcome{}, UnknownOutcome(nil)
	}
	return out, out.Err
}

// ErrNotLeader is the answer of an agent that does not lead (awa.ErrNoMajority): the
// edit is to be sent to the leader.
var ErrNotLeader = awa.Faultf(awa.ErrNoMajority, "this agent is not the leader")

// UnknownOutcome returns the error of an edit that may have been made
// (awa.ErrUnknownOutcome).
func UnknownOutcome(cause error) error {
	text := ""
	if cause != nil {
		text = fmt.Sprintf(" (%v)", cause)
	}
	return awa.Faultf(awa.ErrUnknownOutcome, "it is not known whether the edit was made%s: repeat it with the same "+
		"Idempotency-Key, or read the list", text)
}
