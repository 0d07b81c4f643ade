package awa_test

import (
	"fmt"
	"testing"

	"are-we-alive/pkg/awa"
)

// Shares have about as many nodes each, and each node is watched by about as many agents.
func TestWatchShare_even(t *testing.T) {
	const n = 10_000
	watchers := make([]int, n+1)
	for i := range n {
		size := 0
		share := awa.WatchShareOf(uidOf(i), n)
		for id := range n + 1 {
			if share.Has(uint64(id)) {
				watchers[id]++
				size++
			}
		}
		if size < awa.WatchShareSize*2/3 || size > awa.WatchShareSize*4/3 {
			t.Fatalf("agent %d watches %d nodes", i, size)
		}
	}
	for id, all := range watchers {
		if all < awa.WatchShareSize*2/3 || all > awa.WatchShareSize*4/3 {
			t.Fatalf("node %d is watched by %d agents", id, all)
		}
	}
}

// uidOf is the uid of the agent with a number.
func uidOf(i int) string { return fmt.Sprintf("%032x", i) }

// A list that grows by a node moves few nodes from share to share.
func TestWatchShare_grows(t *testing.T) {
	before, after := awa.WatchShareOf(uidOf(7), 1000), awa.WatchShareOf(uidOf(7), 1001)
	moved := 0
	for id := range uint64(1001) {
		if before.Has(id) != after.Has(id) {
			moved++
		}
	}
	if moved > 3 {
		t.Errorf("%d nodes moved", moved)
	}
}

// A short list is watched by everybody.
func TestWatchShare_short(t *testing.T) {
	for _, nodes := range []int{0, 1, awa.WatchShareSize} {
		for id := range uint64(1000) {
			if !awa.WatchShareOf(uidOf(1), nodes).Has(id) {
				t.Fatalf("node %d of %d is not watched", id, nodes)
			}
		}
	}
}
