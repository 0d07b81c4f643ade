package main

import (
	"context"
	"fmt"
	"time"

	"are-we-alive/pkg/api"
	"are-we-alive/pkg/awa"
)

const (
	pingRounds = 40  // of each kind, in turns
	pingRound  = 250 // pings
)

// digestCost says what the digests cost: their share of the CPU time that an edit
// takes with three agents, each of which computes one; and pings whose caller names
// the digest of its list beside pings without one.
func digestCost(ctx context.Context, b *bench, addr string, editCPU time.Duration) error {
	const changes = 100_000
	change := awa.Change{Action: awa.Update, Key: awa.NewUID(),
		Data: `{"by":"root@web1","host":"10.0.0.1","id":"7","labels":{"round":"1"},"name":"writer7","port":"25483"}`}
	digest, begin := awa.FirstDigest("bench"), time.Now()
	for change.ID = 1; change.ID <= changes; change.ID++ {
		digest = digest.Next(change)
	}
	each := time.Since(begin) / changes
	b.figure("digest of a change", fmt.Sprintf("%d ns", each.Nanoseconds()))
	b.atMost("three digests' share of the CPU time of an edit", 100*3*float64(each)/float64(editCPU), 5, "%.2f %%")

	ask := api.NewClient(api.ClientConfig{})
	self, err := ask.Ping(ctx, addr, false)
	ask.Close()
	if err != nil {
		return err
	}
	caller := awa.Caller{UID: awa.NewUID(), Cluster: self.Cluster, History: self.History, State: self.State}
	var took [2][]time.Duration // without, with
	var clients [2]*api.Client
	for i := range clients {
		of := caller
		if i == 1 {
			of.Digest = self.Digest
		}
		clients[i] = api.NewClient(api.ClientConfig{Caller: func() awa.Caller { return of }})
		defer clients[i].Close()
	}
	for round := range 2 * pingRounds {
		i := round % 2
		begin := time.Now()
		for range pingRound {
			if _, err := clients[i].Ping(ctx, addr, false); err != nil {
				return err
			}
		}
		took[i] = append(took[i], time.Since(begin)/pingRound)
	}
	without, with := median(took[0]), median(took[1])
	b.figure("ping without a digest, median", fmt.Sprintf("%.1f µs", 1000*ms(without)))
	b.atMost("ping with one, of that", 100*float64(with)/float64(without), 105, "%.1f %%")
	return nil
}
