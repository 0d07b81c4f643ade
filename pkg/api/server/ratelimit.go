package server

import (
	"context"
	"log/slog"

	"are-we-alive/pkg/ratelog"
)

// rateLimitedLog logs what strangers cause: one line a minute of each kind, with the number
// of those that were left out since the last one.
type rateLimitedLog struct {
	log     *slog.Logger
	limiter ratelog.Limiter
}

// line logs, unless a line of the kind was logged less than a minute ago.
func (l *rateLimitedLog) line(level slog.Level, kind, message string, args ...any) {
	if leftOut, ok := l.limiter.Allow(kind); ok {
		l.log.Log(context.Background(), level, message, append(args, "left_out", leftOut)...)
	}
}
