package ratelog_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"are-we-alive/pkg/ratelog"
)

func TestLimiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l ratelog.Limiter
		check := func(kind string, wantOK bool, wantLeftOut int) {
			t.Helper()
			if leftOut, ok := l.Allow(kind); ok != wantOK || leftOut != wantLeftOut {
				t.Errorf("%s: %v, %d were left out", kind, ok, leftOut)
			}
		}
		check("a", true, 0)
		check("a", false, 0)
		check("b", true, 0) // each kind for itself
		<-time.After(ratelog.Every - 1)
		check("a", false, 0)
		<-time.After(1)
		check("a", true, 2)
		<-time.After(ratelog.Every)
		check("a", true, 0)
	})
}

// A caller that makes up kinds doesn't make it remember them all.
func TestLimiter_manyKinds(t *testing.T) {
	var l ratelog.Limiter
	for i := range 100_000 {
		if _, ok := l.Allow(fmt.Sprint("kind ", i)); !ok {
			t.Fatalf("the first line of kind %d was left out", i)
		}
	}
	bytes := testing.Benchmark(func(b *testing.B) {
		for b.Loop() {
			l.Allow("kind 99999")
		}
	}).AllocedBytesPerOp()
	if bytes > 16 {
		t.Errorf("a line that is left out allocates %d bytes", bytes)
	}
}
