package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"are-we-alive/pkg/awa"
)

// fake answers in the place of agents, by address. An address that isn't
// there refuses the connection.
type fake struct {
	agents map[string]func(context.Context) (awa.ClusterStatus, error)

	mu    sync.Mutex
	asked []string // addresses, each with when it was asked after the first
	start time.Time
}

func (f *fake) ClusterStatus(ctx context.Context, addr string, cached bool,
	nodes ...string) (awa.ClusterStatus, error) {
	f.mu.Lock()
	if f.start.IsZero() {
		f.start = time.Now()
	}
	f.asked = append(f.asked, fmt.Sprintf("%s +%v", addr, time.Since(f.start)))
	f.mu.Unlock()
	if cached {
		return awa.ClusterStatus{}, errors.New("the plugin must ask for a live sweep")
	}
	if answer := f.agents[addr]; answer != nil {
		return answer(ctx)
	}
	return awa.ClusterStatus{}, refused()
}

func refused() error {
	return &awa.PingError{Stage: awa.StageConnect, Err: errors.New("connection refused")}
}

// cluster makes a status of n nodes, of which the given ones are dead.
func cluster(n int, dead ...int) awa.ClusterStatus {
	st := awa.ClusterStatus{
		Cluster: "7d0c1fe2a95b4c6d8e3f00112233aabb", Agent: "n1", Leader: "n1", Voters: []string{"n1", "n2", "n3"},
		State: uint64(n), SweptAt: time.Date(2026, 11, 23, 18, 0, 0, 0, time.UTC), Took: 4200 * time.Microsecond,
	}
	for i := 1; i <= n; i++ {
		st.Nodes = append(st.Nodes, awa.NodeStatus{
			Node: awa.Node{ID: uint64(i), Name: fmt.Sprintf("n%d", i), Host: fmt.Sprintf("10.0.0.%d", i),
				Port: awa.DefaultPort},
			Verdict: awa.Online, RTT: 200 * time.Microsecond,
		})
	}
	for _, i := range dead {
		s := &st.Nodes[i-1]
		s.Verdict, s.Stage, s.Error, s.RTT = awa.Offline, awa.StageConnect, "connection refused", 0
	}
	return st
}

// after answers with st when the time has passed, or fails with the context.
func after(d time.Duration, st awa.ClusterStatus) func(context.Context) (awa.ClusterStatus, error) {
	return func(ctx context.Context) (awa.ClusterStatus, error) {
		select {
		case <-time.After(d):
			return st, nil
		case <-ctx.Done():
			return awa.ClusterStatus{}, &awa.PingError{Stage: awa.StageReply, Err: ctx.Err()}
		}
	}
}

// never answers until its context ends, and a while longer.
func never(late time.Duration) func(context.Context) (awa.ClusterStatus, error) {
	return func(ctx context.Context) (awa.ClusterStatus, error) {
		<-ctx.Done()
		time.Sleep(late) // in the bubble of synctest, where it takes no time
		return awa.ClusterStatus{}, &awa.PingError{Stage: awa.StageConnect, Err: ctx.Err()}
	}
}

// refuse answers with an error.
func refuse(err error) func(context.Context) (awa.ClusterStatus, error) {
	return func(context.Context) (awa.ClusterStatus, error) { return awa.ClusterStatus{}, err }
}

// Events has none.
func (f *fake) Events(context.Context, string, awa.EventQuery) (awa.EventSet, error) {
	return awa.EventSet{}, nil
}

// Close does nothing.
func (f *fake) Close() {}

// with returns agents whatever the key file is.
func with(f fetcher) func(config) (fetcher, error) {
	return func(config) (fetcher, error) { return f, nil }
}

// checkWith runs check and returns all it printed.
func checkWith(t *testing.T, ctx context.Context, f fetcher, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = check(ctx, with(f), args, nil, &out, &errs)
	return code, out.String(), errs.String()
}
