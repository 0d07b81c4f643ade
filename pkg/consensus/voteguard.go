package consensus

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"are-we-alive/pkg/awa"
)

// voteGuard is Raft's network with one more rule for votes. Raft trusts an
// agent's log to reject a candidate that has missed something; but an agent
// that is not a voter any more has dropped its log, and raft would let it vote
// for anybody. With a few such votes an agent that was away could lead by the
// voters of the past. So an agent that learned that it lost its vote
// grants none, and no agent grants one to a candidate whose log lacks an entry that
// its own Raft has applied, or that was in the log that it dropped. What its list
// has learned from others does not count: it may be forged.
//
// A disk may be older than it was when the agent stopped: rolled back, or put
// back from a copy. Then its log says too little, and its vote could help a
// candidate that lacks what was decided. So an agent that was just started asks the
// other voters before it votes, and grants no vote to a candidate that is behind
// any of those that answer, until it is level with them.
type voteGuard struct {
	*raft.NetworkTransport
	list     List
	furthest func() place              // where the logs of the other voters end that answer
	raft     atomic.Pointer[raft.Raft] // once it is made
	level    atomic.Bool               // this agent's log has been as far as the others'
	full     func() awa.Condition      // why the disk takes no writes; the zero Condition when it does
	snapshot func() place              // of the newest one, which the log goes on from
	out      chan raft.RPC

	end  sync.Once
	done chan struct{}
	over sync.WaitGroup
}

// start makes the channels and begins to hand calls on. The fields must be set.
func (g *voteGuard) start() *voteGuard {
	g.out, g.done = make(chan raft.RPC), make(chan struct{})
	g.over.Go(g.run)
	return g
}

// Consumer implements raft.Transport.
func (g *voteGuard) Consumer() <-chan raft.RPC { return g.out }

// Close implements raft.WithClose.
func (g *voteGuard) Close() error {
	g.end.Do(func() { close(g.done) })
	g.over.Wait()
	return g.NetworkTransport.Close()
}

// run hands the calls of other agents on, except those that are refused here.
func (g *voteGuard) run() {
	for {
		select {
		case <-g.done:
			return
		case call := <-g.NetworkTransport.Consumer():
			if g.refuse(call) {
				continue
			}
			select {
			case g.out <- call:
			case <-g.done:
				return
			}
		}
	}
}

// refuse answers a candidate that must not have this agent's vote.
func (g *voteGuard) refuse(call raft.RPC) bool {
	header := raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax}
	switch c := call.Command.(type) {
	case *raft.AppendEntriesRequest:
		return g.refuseEntries(call, c, header)
	case *raft.InstallSnapshotRequest:
		why := g.full()
		if why.Code != "" {
			call.Respond(&raft.InstallSnapshotResponse{RPCHeader: header}, errors.New(why.Text))
		}
		return why.Code != ""
	case *raft.RequestVoteRequest:
		if g.mayVote(c.LastLogTerm, c.LastLogIndex) {
			return false
		}
		call.Respond(&raft.RequestVoteResponse{RPCHeader: header}, nil)
	case *raft.RequestPreVoteRequest:
		if g.mayVote(c.LastLogTerm, c.LastLogIndex) {
			return false
		}
		call.Respond(&raft.RequestPreVoteResponse{RPCHeader: header}, nil)
	default:
		return false
	}
	return true
}

// refuseEntries answers a leader whose entries can't be written. With raft's own
// answer the leader would go back in its log, entry by entry, to its snapshot, and
// send that again and again. From there raft refuses what follows the snapshot of
// this agent, which it compares with its log alone: what a snapshot ends with is
// known to be the same, so it need not be compared.
func (g *voteGuard) refuseEntries(call raft.RPC, c *raft.AppendEntriesRequest, header raft.RPCHeader) bool {
	if len(c.Entries) == 0 {
		return false
	}
	if why := g.full(); why.Code != "" {
		call.Respond(&raft.AppendEntriesResponse{RPCHeader: header}, errors.New(why.Text))
		return true
	}
	r := g.raft.Load()
	again := r != nil && c.PrevLogEntry > 0 && c.PrevLogEntry < r.LastIndex() // the leader has gone back
	if again && g.snapshot() == (place{c.PrevLogTerm, c.PrevLogEntry}) {
		c.PrevLogEntry, c.PrevLogTerm = 0, 0
	}
	return false
}

// mayVote reports whether a candidate whose log ends so may have a vote.
func (g *voteGuard) mayVote(term, index uint64) bool {
	r := g.raft.Load()
	if r == nil {
		return false
	}
	config, err := servers(r)
	if err != nil {
		return false
	}
	if len(config) == 0 {
		// One that was made a voter before its log had come to it may vote, or
		// a cluster that it is needed in could never elect a leader again.
		if v, err := retired(g.list); err != nil || v.Index > 0 {
			return false
		}
	}
	m := g.list.Meta()
	dropped, err := floor(g.list)
	if err != nil {
		return false
	}
	candidate := place{term, index}
	if (place{m.Term, m.Index}).after(candidate) || dropped.after(candidate) {
		return false
	}
	return g.level.Load() || !g.furthest().after(candidate)
}

// furthest asks the other voters of the configuration where their logs end, and returns
// the furthest place.
func (c *Consensus) furthest() place {
	r := c.running()
	if r == nil {
		return place{}
	}
	config, err := servers(r)
	if err != nil {
		return place{}
	}
	ctx, cancel := context.WithTimeout(context.Background(), furthestWithin)
	defer cancel()
	var most place
	for _, self := range c.cfg.Peers.Ask(ctx, true, c.otherVoters(config)...) {
		// One of a version that does not send the term says nothing.
		if p := (place{self.LogTerm, self.LogIndex}); p.term > 0 && p.after(most) {
			most = p
		}
	}
	return most
}

// furthestWithin is how long furthest takes at most. It must be far below the time after
// which a candidate gives up.
const furthestWithin = 300 * time.Millisecond
