// Package ratelog bounds how often a log line of one kind is written, so that nobody who
// causes it can fill a disk.
package ratelog

import (
	"sync"
	"time"
)

// Every is how often a line of one kind may be written.
const Every = time.Minute

// maxKinds bounds what a Limiter remembers.
const maxKinds = 1000

// Limiter lets one line of each kind through per minute. The zero Limiter is ready. It is
// safe for concurrent use.
type Limiter struct {
	mu    sync.Mutex
	kinds map[string]*kind
}

// kind is what was written of one kind.
type kind struct {
	at      time.Time // of the last line
	leftOut int       // since then
}

// Allow reports whether a line of a kind may be written now, and how many were left out
// since the last one.
func (l *Limiter) Allow(name string) (leftOut int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.kinds[name]
	if k == nil {
		if l.kinds == nil || len(l.kinds) >= maxKinds {
			l.kinds = map[string]*kind{}
		}
		k = &kind{}
		l.kinds[name] = k
	}
	if !k.at.IsZero() && time.Since(k.at) < Every {
		k.leftOut++
		return 0, false
	}
	leftOut = k.leftOut
	k.at, k.leftOut = time.Now(), 0
	return leftOut, true
}
