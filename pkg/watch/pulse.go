package watch

import (
	"sync"
	"time"
)

// pulse finds out whether this process could run while it waited for others.
// One that was stopped, starved of processor time or suspended with its machine
// finds all its timers run out when it comes back, and would blame the nodes
// whose answers it had no chance to read.
type pulse struct {
	now   func() time.Time
	every time.Duration
	timer *time.Timer

	mu   sync.Mutex
	last time.Time     // the last beat
	late time.Duration // the longest time without a beat, beyond every
	over bool
}

// beats is how often a pulse beats in the time of one ping.
const beats = 20

// startPulse starts a pulse. Whoever does must stop it.
func (w *Watcher) startPulse() *pulse {
	p := &pulse{now: w.cfg.Clock, every: w.cfg.PingTimeout / beats, last: w.cfg.Clock()}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.timer = time.AfterFunc(p.every, p.beat)
	return p
}

func (p *pulse) beat() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.over {
		p.observe(p.now())
		p.timer.Reset(p.every)
	}
}

// lateness is how late the latest beat was so far.
func (p *pulse) lateness() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.observe(p.now())
	return p.late
}

func (p *pulse) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
	p.timer.Stop()
}

// observe notes that the process runs at a moment; the caller holds mu. The
// monotonic clock stands still while the machine is suspended, the wall clock
// doesn't. It may also have been set forward: then a sweep is repeated for
// nothing, which is harmless.
func (p *pulse) observe(now time.Time) {
	gap := max(now.Sub(p.last), now.Round(0).Sub(p.last.Round(0)))
	p.late = max(p.late, gap-p.every)
	p.last = now
}

// tooLate is how late the timers of a sweep may come. A process that is kept
// waiting for longer could owe a failed ping to itself.
func (w *Watcher) tooLate() time.Duration { return w.cfg.PingTimeout / 5 }
