package watch

import (
	"runtime"
	"runtime/metrics"
)

// busy reports whether this process has more to do than its processors can.
// Then a ping is late because it waits for a processor, and not for its node:
// to begin further pings, or second attempts, would make all of them later
// still, until a thousand that share a processor are all too late at once. A
// TLS handshake takes 0.4 ms of it on each side.
func busy() bool {
	runnable := []metrics.Sample{{Name: "/sched/goroutines/runnable:goroutines"}}
	metrics.Read(runnable)
	return runnable[0].Value.Uint64() > 2*uint64(runtime.GOMAXPROCS(0))
}
