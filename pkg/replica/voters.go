package replica

import (
	"context"
	"net"
	"sync"

	"golang.org/x/sync/semaphore"

	"are-we-alive/pkg/awa"
)

// voters are the agents by uid, as consensus calls them: it implements consensus.Peers.
type voters struct{ r *Replica }

// asksInFlight bounds how many agents are asked at a time.
const asksInFlight = 64

// Dial implements consensus.Peers.
func (v voters) Dial(ctx context.Context, uid string) (net.Conn, error) {
	addr, ok := v.r.addr(uid)
	if !ok {
		return nil, awa.Faultf(awa.ErrUnknownNode, "no node of the list has the uid %s", uid)
	}
	return v.r.cfg.Peers.DialRaft(ctx, addr, uid)
}

// Ask implements consensus.Peers.
func (v voters) Ask(ctx context.Context, fresh bool, uids ...string) []awa.Self {
	m := v.r.list.Meta()
	few := semaphore.NewWeighted(asksInFlight)
	var all sync.WaitGroup
	var mu sync.Mutex
	var answers []awa.Self
	for _, uid := range uids {
		addr, ok := v.r.addr(uid)
		if uid == m.UID || !ok {
			continue
		}
		if few.Acquire(ctx, 1) != nil {
			break
		}
		all.Go(func() {
			defer few.Release(1)
			self, err := v.r.cfg.Peers.Ping(ctx, addr, fresh)
			if err != nil || self.UID != uid || self.Cluster != m.Cluster || self.History != m.History {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			answers = append(answers, self)
		})
	}
	all.Wait()
	return answers
}
