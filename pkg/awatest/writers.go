package awatest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"are-we-alive/pkg/awa"
)

// Writers edit the list at all agents at once, until they are stopped.
type Writers struct {
	c      *Cluster
	cancel context.CancelFunc
	all    sync.WaitGroup
}

// Write starts some writers at each agent. A writer makes a node, changes it a
// few times, and removes it. When its agent is away, or answers that the
// outcome is not known, it repeats the edit with the same key, here or at
// another agent, or gives up.
func (c *Cluster) Write(perAgent int) *Writers {
	ctx, cancel := context.WithCancel(context.Background())
	w := &Writers{c: c, cancel: cancel}
	for i := range c.Len() {
		for j := range perAgent {
			w.all.Go(func() {
				for n := 0; ctx.Err() == nil; n++ {
					w.life(ctx, i, fmt.Sprintf("w%d-%d-%d", i, j, n))
				}
			})
		}
	}
	c.t.Cleanup(w.Stop) // when the test forgets it, or fails
	return w
}

// Stop waits for the edits under way and ends the writers.
func (w *Writers) Stop() {
	w.cancel()
	w.all.Wait()
}

// WaitProgress waits until some more edits are acknowledged.
func (w *Writers) WaitProgress(edits int) {
	w.c.t.Helper()
	from := w.c.Acknowledged()
	w.c.Wait(fmt.Sprintf("%d more edits are acknowledged", edits), func() error {
		if n := w.c.Acknowledged() - from; n < edits {
			return fmt.Errorf("it was %d", n)
		}
		return nil
	})
}

// life is that of one node, as far as it comes.
func (w *Writers) life(ctx context.Context, home int, name string) {
	n, err := w.edit(ctx, home, CreateEdit(name))
	for i := 0; err == nil && ctx.Err() == nil && i < 3; i++ {
		n.Labels = map[string]string{"round": fmt.Sprint(i)}
		n, err = w.edit(ctx, home, UpdateEdit(n))
	}
	// What is left behind makes the sweeps slower, so even a writer that must
	// stop tries to remove its node.
	if n.ID != 0 {
		w.edit(context.WithoutCancel(ctx), home, DeleteEdit(n.ID))
	}
}

// edit makes an edit, and repeats it as often as not while it fails.
func (w *Writers) edit(ctx context.Context, at int, e awa.Edit) (awa.Node, error) {
	for try := 0; ; try++ {
		// An edit that was sent is waited for: the answer is what counts.
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), 15*time.Second)
		_, n, err := w.c.Edit(bounded, at, e)
		cancel()
		if err == nil || rand.N(4) == 0 {
			return n, err
		}
		var lost *awa.PingError
		if !errors.As(err, &lost) && !Unknown(err) && !errors.Is(err, awa.ErrNoMajority) && !errors.Is(err, awa.ErrStopping) {
			w.c.t.Errorf("edit %s at agent %d: %v", e.Data, at, err)
			return n, err
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return n, ctx.Err()
		}
		if try > 2 {
			at = rand.N(w.c.Len())
		}
	}
}
