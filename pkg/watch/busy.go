package watch

import (
	"runtime"
	"runtime/metrics"
	"sync"
	"time"
)

const (
	// busySample is the least time from one look at the scheduler to the next.
	busySample = time.Millisecond
	// busyFor is how long there must be more to do than the processors can. A hundred pings
	// that time out in the same moment are over in less.
	busyFor = 4 * time.Millisecond
	// busyStale is how old a look may be for the next one to say that nothing has changed since.
	busyStale = 20 * time.Millisecond
)

// processors is the load of this process.
var processors load

// load is whether there are more goroutines that could run than processors.
type load struct {
	mu     sync.Mutex
	looked time.Time
	since  time.Time // zero when there were not, when last looked
}

// busy reports whether this process has more to do than its processors can.
// Then a ping is late because it waits for a processor, and not for its node:
// to begin further pings, or second attempts, would make all of them later
// still, until a thousand that share a processor are all too late at once. A
// TLS handshake takes 0.4 ms of it on each side.
func (l *load) busy() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if passed := now.Sub(l.looked); passed >= busySample {
		switch {
		case !queued():
			l.since = time.Time{}
		case l.since.IsZero() || passed >= busyStale:
			l.since = now
		}
		l.looked = now
	}
	return !l.since.IsZero() && now.Sub(l.since) >= busyFor
}

// queued reports whether more goroutines wait for a processor than two for each.
func queued() bool {
	runnable := []metrics.Sample{{Name: "/sched/goroutines/runnable:goroutines"}}
	metrics.Read(runnable)
	return runnable[0].Value.Uint64() > 2*uint64(runtime.GOMAXPROCS(0))
}
