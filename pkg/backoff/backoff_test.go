package backoff_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"are-we-alive/pkg/backoff"
)

func TestBackoff_Wait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := backoff.New(time.Second, 3*time.Second)
		pauses := map[time.Duration]bool{}
		for _, about := range []time.Duration{1, 2, 3, 3, 3, 3, 3, 3} {
			start := time.Now()
			err := b.Wait(t.Context())
			took := time.Since(start)
			pauses[took] = true
			if want := about * time.Second; err != nil || took < want*3/4 || took > want*5/4 {
				t.Errorf("it waited %v, want about %v (%v)", took, want, err)
			}
		}
		if len(pauses) < 5 {
			t.Errorf("the pauses are not random: %v", pauses)
		}
		if b.Reset(); b.Next() > 5*time.Second/4 {
			t.Error("the first pause is not the first one again")
		}
	})
}

func TestBackoff_Wait_ends(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		err := backoff.New(time.Hour, time.Hour).Wait(ctx)
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("it waited %v (%v)", time.Since(start), err)
		}
	})
}

func TestPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		holds := func() bool { return time.Since(start) >= 10*time.Second }
		if err := backoff.Poll(t.Context(), time.Second, 4*time.Second, holds); err != nil {
			t.Error(err)
		}
		if took := time.Since(start); took < 10*time.Second || took > 15*time.Second {
			t.Errorf("it returned after %v", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := backoff.Poll(ctx, time.Minute, time.Minute, func() bool { return false })
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("it ended with %v", err)
		}
	})
}
