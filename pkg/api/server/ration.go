package server

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// rationTime is how often a line of one kind may be logged.
const rationTime = time.Minute

// ration logs what strangers cause: one line a minute of each kind, with the
// number of those that were left out since the last one. Else anyone who
// reaches the port could fill the disk.
type ration struct {
	log *slog.Logger

	mu    sync.Mutex
	kinds map[string]*portion
}

// portion is what was logged of one kind.
type portion struct {
	at      time.Time // of the last line
	leftOut int       // since then
}

// line logs unless a line of the kind was logged less than a minute ago. The
// kinds must be few: each is remembered.
func (r *ration) line(level slog.Level, kind, message string, args ...any) {
	r.mu.Lock()
	p := r.kinds[kind]
	if p == nil {
		if r.kinds == nil {
			r.kinds = map[string]*portion{}
		}
		p = &portion{}
		r.kinds[kind] = p
	}
	if !p.at.IsZero() && time.Since(p.at) < rationTime {
		p.leftOut++
		r.mu.Unlock()
		return
	}
	leftOut := p.leftOut
	p.at, p.leftOut = time.Now(), 0
	r.mu.Unlock()
	r.log.Log(context.Background(), level, message, append(args, "left_out", leftOut)...)
}
