package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/awatest/testaid"
)

// blackhole measures a sweep of nine agents and an address that is silent.
func blackhole(ctx context.Context, b *bench) (err error) {
	hole, err := testaid.OpenHole()
	if err != nil {
		return err
	}
	defer hole.Close()
	const agents = 9
	c, err := listed{agents: agents, strangers: []net.Addr{hole.Addr}}.start(ctx, b.dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.stop()) }()
	s, err := newSweeper(c)
	if err != nil {
		return err
	}
	defer s.client.Close()
	var times [2][]time.Duration
	for i, cold := range []bool{true, false} {
		if times[i], err = s.times(ctx, 3, agents, cold); err != nil {
			return err
		}
	}
	asked, err := statusTimes(ctx, c, 3, agents)
	if err != nil {
		return err
	}
	if err := hole.Verify(); err != nil {
		return err
	}
	limit := ms(awa.DefaultPingTimeout + 20*time.Millisecond) // what the other nine and the machine may add
	b.atMost("cold sweep, median", ms(median(times[0])), limit, "%.0f ms")
	b.atMost("warm sweep, median", ms(median(times[1])), limit, "%.0f ms")
	b.figure("GET /v1/status, as a client sees it, median", fmt.Sprintf("%.0f ms", ms(median(asked))))
	b.note("(the ping timeout is %v; %s was verified before and after to take SYNs and answer none)",
		awa.DefaultPingTimeout, hole.Addr)
	return nil
}
