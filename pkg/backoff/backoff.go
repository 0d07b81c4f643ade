// Package backoff waits between the attempts of a loop: a little at first, longer each
// time, up to a limit. Each pause is random within a quarter of its length, so that those
// which began together don't meet again.
package backoff

import (
	"context"
	"math/rand/v2"
	"time"
)

// Backoff holds the pause before the next attempt. The zero Backoff is not usable; make
// one with New. It is not safe for concurrent use.
type Backoff struct {
	first, next, most time.Duration
}

// New returns a Backoff whose first pause is first and whose longest one is most.
func New(first, most time.Duration) *Backoff { return &Backoff{first, first, most} }

// Reset makes the next pause the first one again.
func (b *Backoff) Reset() { b.next = b.first }

// Next returns the pause before the next attempt, and makes the one after it about twice
// as long.
func (b *Backoff) Next() time.Duration {
	pause := b.next
	b.next = min(2*pause, b.most)
	return pause*3/4 + rand.N(pause/2+1)
}

// Wait waits for the next pause, or until ctx ends, and returns the error of ctx then.
func (b *Backoff) Wait(ctx context.Context) error { return Wait(ctx, b.Next()) }

// Wait waits for a pause, or until ctx ends, and returns the error of ctx then.
func Wait(ctx context.Context, pause time.Duration) error {
	t := time.NewTimer(pause)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Poll waits until a condition holds, looking again after pauses from first up to most. It
// returns the error of ctx when that ends before.
func Poll(ctx context.Context, first, most time.Duration, condition func() bool) error {
	for b := New(first, most); !condition(); {
		if err := b.Wait(ctx); err != nil {
			return err
		}
	}
	return nil
}
