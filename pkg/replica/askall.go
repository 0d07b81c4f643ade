package replica

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"are-we-alive/pkg/awa"
)

// askAll pings the agents with these uids at once, over new connections, and
// returns the answers that come in time from those agents themselves, as ones of
// this agent's history. addr finds their addresses.
func askAll(ctx context.Context, cfg Config, addr func(uid string) (string, bool), uids []string,
	patience time.Duration) []awa.Self {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	m := cfg.List.Meta()
	few := semaphore.NewWeighted(pushesInFlight)
	var all sync.WaitGroup
	var mu sync.Mutex
	var answers []awa.Self
	for _, uid := range uids {
		at, ok := addr(uid)
		if uid == m.UID || !ok {
			continue
		}
		if few.Acquire(ctx, 1) != nil {
			break
		}
		all.Go(func() {
			defer few.Release(1)
			self, err := cfg.Peers.Ping(ctx, at, true)
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
