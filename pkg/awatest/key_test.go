package awatest_test

import (
	"testing"

	"are-we-alive/pkg/awatest"
	"are-we-alive/pkg/trust"
)

// The promise holds over TLS: its connections break, hang and come back, and
// agents return with sessions that were made in an earlier life.
func TestPromise_WithKey(t *testing.T) {
	const n = 3
	c := awatest.New(t, n, awatest.WithKey(trust.NewKey()))
	w := c.Write(2)
	w.WaitProgress(20)

	leader := c.Leader()
	c.Kill(leader)
	w.WaitProgress(20)
	c.Start(leader)
	w.WaitProgress(20)

	leader = c.Leader()
	c.CutSilently(leader)
	w.WaitProgress(20)
	c.Heal()
	c.Cut((leader + 1) % n)
	w.WaitProgress(20)
	c.Heal()

	moved := (leader + 1) % n
	c.Stop(moved)
	c.Move(moved)
	c.Start(moved)
	w.WaitProgress(20)
	w.Stop()
	c.WaitAll(n)
}

func TestPromise_AllAgentsWithKeyFallAtOnce(t *testing.T) {
	c := awatest.New(t, 3, awatest.WithKey(trust.NewKey()))
	w := c.Write(3)
	for range 2 {
		w.WaitProgress(30)
		c.Kill(0, 1, 2)
		c.Start(0, 1, 2)
	}
	w.WaitProgress(30)
	w.Stop()
}
