package main

import (
	"bytes"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"

	"are-we-alive/pkg/api"
	"are-we-alive/pkg/api/server"
	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/awatest/testaid"
	"are-we-alive/pkg/store"
)

// growing is an agent whose list gets a further change with every request.
type growing struct {
	server.Agent
	mu      sync.Mutex
	changes []awa.Change
}

func (g *growing) grow(n int) {
	for range n {
		id := uint64(len(g.changes)) + 1
		g.changes = append(g.changes, awa.Change{ID: id, Action: awa.Create,
			Data: fmt.Sprintf(`{"id":%d,"name":"n%d","host":"h","port":"1"}`, id, id)})
	}
}

func (g *growing) Self() awa.Self {
	g.mu.Lock()
	defer g.mu.Unlock()
	self := awa.Self{Cluster: "c", History: awa.History{Epoch: 1, ID: "ab"}, State: uint64(len(g.changes))}
	g.grow(1)
	return self
}

func (g *growing) Changes(since uint64, limit int) ([]awa.Change, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := g.changes[min(since, uint64(len(g.changes))):]
	return all[:min(limit, len(all))], nil
}

func (g *growing) Nodes() (awa.NodeSet, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	l, err := awa.Replay(g.changes)
	if err != nil {
		return awa.NodeSet{}, err
	}
	return awa.NodeSet{Cluster: "c", History: awa.History{Epoch: 1, ID: "ab"}, State: l.State(), Nodes: l.Nodes()}, nil
}

// TestBackup saves a list that is edited meanwhile, in one piece and in more:
// the file must agree with itself, or it could not be restored.
func TestBackup(t *testing.T) {
	for _, n := range []int{0, 1, api.MaxChanges - 1, api.MaxChanges, 3*api.MaxChanges + 7} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			agent := &growing{}
			agent.grow(n)
			addr := testaid.Serve(t, server.NewServer(server.Config{Agent: agent, Log: slog.New(slog.DiscardHandler)}))
			file := filepath.Join(t.TempDir(), "list.json")
			out, errs := &bytes.Buffer{}, &bytes.Buffer{}
			if code := run(t.Context(), []string{"backup", file, "--agent", addr}, nil, out, errs); code != 0 {
				t.Fatalf("%d %s%s", code, out, errs)
			}
			set, err := store.ReadBackup(file)
			if err != nil || set.State < uint64(n) || set.State != uint64(len(set.Changes)) {
				t.Errorf("%v: %d changes of state %d", err, len(set.Changes), set.State)
			}
			if code := run(t.Context(), []string{"backup", file, "--agent", addr}, nil, out, errs); code != 1 {
				t.Errorf("over an existing file: %d", code)
			}
		})
	}
}
