package watch

import (
	"context"
	"maps"
	"slices"

	"are-we-alive/pkg/awa"
)

// Memory keeps sightings over restarts.
type Memory interface {
	// Sightings returns what was kept.
	Sightings() ([]awa.Sighting, error)
	// Remember keeps sightings, and forgets nodes by their ids. It is never
	// called by two goroutines at once.
	Remember(seen []awa.Sighting, gone []uint64) error
}

// pendingWrites are the changes of sightings that Memory does not have yet.
type pendingWrites struct {
	seen map[uint64]awa.Sighting
	gone map[uint64]bool
	news chan struct{} // holds a token when there are any
}

func newPendingWrites() pendingWrites {
	return pendingWrites{map[uint64]awa.Sighting{}, map[uint64]bool{}, make(chan struct{}, 1)}
}

func (p *pendingWrites) add(g awa.Sighting) {
	delete(p.gone, g.ID)
	p.seen[g.ID] = g
	p.wake()
}

func (p *pendingWrites) forget(id uint64) {
	delete(p.seen, id)
	p.gone[id] = true
	p.wake()
}

func (p *pendingWrites) wake() {
	select {
	case p.news <- struct{}{}:
	default:
	}
}

// drain returns all changes in the order of their ids, and forgets them.
func (p *pendingWrites) drain() (seen []awa.Sighting, gone []uint64) {
	for _, id := range slices.Sorted(maps.Keys(p.seen)) {
		seen = append(seen, p.seen[id])
	}
	gone = slices.Sorted(maps.Keys(p.gone))
	clear(p.seen)
	clear(p.gone)
	return seen, gone
}

// recall begins with what an earlier life of this agent remembered. A since in
// the future is one of another clock, and becomes now.
func (w *Watcher) recall() {
	if w.cfg.Memory == nil {
		return
	}
	all, err := w.cfg.Memory.Sightings()
	if err != nil {
		w.cfg.Log.Warn("the times of the last verdicts can't be read, and count from now", "error", err)
	}
	now := w.cfg.Clock()
	for _, g := range all {
		since := g.Since
		if since.After(now) {
			since = now
		}
		w.sightings[g.ID] = &sighting{uid: g.UID, verdict: g.Verdict, since: since, instance: g.Instance, boot: g.Boot,
			goodbye: g.Goodbye, kept: kept{g.Since, g.Instance, g.Goodbye}}
	}
}

// writePending passes each change to Memory, away from the sweeps, until ctx ends. All
// that came together is one call.
func (w *Watcher) writePending(ctx context.Context) {
	if w.cfg.Memory == nil {
		return
	}
	for ctx.Err() == nil {
		select {
		case <-w.pending.news:
		case <-ctx.Done():
		}
		w.mu.Lock()
		seen, gone := w.pending.drain()
		w.mu.Unlock()
		if len(seen)+len(gone) == 0 {
			continue
		}
		if err := w.cfg.Memory.Remember(seen, gone); err != nil {
			w.cfg.Log.Warn("the times of the last verdicts can't be kept, and are lost at the next restart", "nodes",
				len(seen), "error", err)
		}
	}
}
