package replica

import (
	"errors"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/raft"

	"are-we-alive/pkg/awa"
)

// ballot is Raft's network with one more rule for votes. Raft trusts an
// agent's log to tell a candidate that has missed something; but an agent
// that is no voter any more has dropped its log, and raft would have it vote
// for anybody. With a few such votes an agent that was away could lead by the
// voters of the past. So an agent that was told that it lost its vote
// grants none, and no agent grants one to a candidate whose log lacks an entry that
// its own Raft has applied, or that was in the log that it dropped. What its list
// has learned from others does not count: it may be forged.
//
// A disk may be older than it was when the agent stopped: rolled back, or put
// back from a copy. Then its log tells too little, and its vote could help a
// candidate that lacks what was decided. So an agent that was just started asks the
// other voters before it votes, and grants no vote to a candidate that is behind
// any of those that answer, until it is level with them.
type ballot struct {
	*raft.NetworkTransport
	list     List
	furthest func() logPlace           // where the logs of the other voters end that answer
	raft     atomic.Pointer[raft.Raft] // once it is made
	level    atomic.Bool               // this agent's log has been as far as the others'
	full     func() awa.Condition      // why the disk takes no writes; the zero Condition when it does
	snapshot func() logPlace           // of the newest one, which the log goes on from
	out      chan raft.RPC

	end  sync.Once
	done chan struct{}
	over sync.WaitGroup
}

// start makes the channels and begins to hand calls on. The fields must be set.
func (b *ballot) start() *ballot {
	b.out, b.done = make(chan raft.RPC), make(chan struct{})
	b.over.Go(b.run)
	return b
}

// Consumer implements raft.Transport.
func (b *ballot) Consumer() <-chan raft.RPC { return b.out }

// Close implements raft.WithClose.
func (b *ballot) Close() error {
	b.end.Do(func() { close(b.done) })
	b.over.Wait()
	return b.NetworkTransport.Close()
}

// run hands the calls of other agents on, but for the votes that are refused
// here.
func (b *ballot) run() {
	for {
		select {
		case <-b.done:
			return
		case call := <-b.NetworkTransport.Consumer():
			if b.refuse(call) {
				continue
			}
			select {
			case b.out <- call:
			case <-b.done:
				return
			}
		}
	}
}

// refuse answers a candidate that must not have this agent's vote.
func (b *ballot) refuse(call raft.RPC) bool {
	header := raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax}
	switch c := call.Command.(type) {
	case *raft.AppendEntriesRequest:
		return b.refuseEntries(call, c, header)
	case *raft.InstallSnapshotRequest:
		why := b.full()
		if why.Code != "" {
			call.Respond(&raft.InstallSnapshotResponse{RPCHeader: header}, errors.New(why.Text))
		}
		return why.Code != ""
	case *raft.RequestVoteRequest:
		if b.mayVote(c.LastLogTerm, c.LastLogIndex) {
			return false
		}
		call.Respond(&raft.RequestVoteResponse{RPCHeader: header}, nil)
	case *raft.RequestPreVoteRequest:
		if b.mayVote(c.LastLogTerm, c.LastLogIndex) {
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
func (b *ballot) refuseEntries(call raft.RPC, c *raft.AppendEntriesRequest, header raft.RPCHeader) bool {
	if len(c.Entries) == 0 {
		return false
	}
	if why := b.full(); why.Code != "" {
		call.Respond(&raft.AppendEntriesResponse{RPCHeader: header}, errors.New(why.Text))
		return true
	}
	r := b.raft.Load()
	again := r != nil && c.PrevLogEntry > 0 && c.PrevLogEntry < r.LastIndex() // the leader has gone back
	if again && b.snapshot() == (logPlace{c.PrevLogTerm, c.PrevLogEntry}) {
		c.PrevLogEntry, c.PrevLogTerm = 0, 0
	}
	return false
}

// mayVote tells whether a candidate whose log ends so may have a vote.
func (b *ballot) mayVote(term, index uint64) bool {
	r := b.raft.Load()
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
		if v, err := retired(b.list); err != nil || v.Index > 0 {
			return false
		}
	}
	m := b.list.Meta()
	dropped, at, err := floor(b.list)
	if err != nil {
		return false
	}
	candidate := logPlace{term, index}
	if (logPlace{m.Term, m.Index}).after(candidate) || (logPlace{dropped, at}).after(candidate) {
		return false
	}
	return b.level.Load() || !b.furthest().after(candidate)
}
