package replica

import (
	"sync"
	"sync/atomic"

	"github.com/hashicorp/raft"
)

// ballot is Raft's network with one more rule for votes. Raft trusts an
// agent's log to tell a candidate that has missed something; but an agent
// that is no voter any more has dropped its log, and raft would have it vote
// for anybody. With a few such votes an agent that was away could lead by the
// voters of the past. So an agent that has no configuration grants no vote,
// and none grants one to a candidate whose log lacks an entry that its own Raft
// has applied, or that was in the log that it dropped. What its list has learned
// from others does not count: it may be forged.
type ballot struct {
	*raft.NetworkTransport
	list List
	raft atomic.Pointer[raft.Raft] // once it is made
	out  chan raft.RPC

	end  sync.Once
	done chan struct{}
	over sync.WaitGroup
}

func newBallot(trans *raft.NetworkTransport, list List) *ballot {
	b := &ballot{NetworkTransport: trans, list: list, out: make(chan raft.RPC), done: make(chan struct{})}
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

// mayVote tells whether a candidate whose log ends so may have a vote.
func (b *ballot) mayVote(term, index uint64) bool {
	r := b.raft.Load()
	if r == nil {
		return false
	}
	if config, err := servers(r); err != nil || len(config) == 0 {
		return false
	}
	m := b.list.Meta()
	dropped, at, err := floor(b.list)
	if err != nil {
		return false
	}
	after := func(t, i uint64) bool { return term > t || term == t && index >= i }
	return after(m.Term, m.Index) && after(dropped, at)
}
