package consensus

import (
	"context"
	"log/slog"

	"are-we-alive/pkg/ratelog"

	"github.com/hashicorp/go-hclog"
)

// raftLogger passes raft's log lines on to slog. Raft repeats itself while a
// voter is away and calls its own shutdown an error, so only its errors are
// for an administrator, each once a minute; the rest is for debugging. Who
// leads and who votes is logged by the Replica.
type raftLogger struct {
	hclog.Logger // for the methods that raft doesn't use
	log          *slog.Logger
	limiter      *ratelog.Limiter
}

func newRaftLogger(log *slog.Logger) *raftLogger {
	return &raftLogger{hclog.NewNullLogger(), log, &ratelog.Limiter{}}
}

func (l *raftLogger) write(level slog.Level, msg string, args []any) {
	if level > slog.LevelDebug {
		if _, ok := l.limiter.Allow(msg); !ok || normal(msg) {
			level = slog.LevelDebug
		}
	}
	l.log.Log(context.Background(), level, "raft: "+msg, args...)
}

// normal reports whether a message of raft's is not an error, though raft calls it one: an entry that a snapshot has
// replaced, and connections that end when an agent does.
func normal(msg string) bool {
	switch msg {
	case "failed to get log", "failed to decode incoming command", "failed to accept connection":
		return true
	}
	return false
}

// Trace implements hclog.Logger.
func (l *raftLogger) Trace(string, ...any) {}

// Debug implements hclog.Logger.
func (l *raftLogger) Debug(msg string, args ...any) { l.write(slog.LevelDebug, msg, args) }

// Info implements hclog.Logger.
func (l *raftLogger) Info(msg string, args ...any) { l.write(slog.LevelDebug, msg, args) }

// Warn implements hclog.Logger.
func (l *raftLogger) Warn(msg string, args ...any) { l.write(slog.LevelDebug, msg, args) }

// Error implements hclog.Logger.
func (l *raftLogger) Error(msg string, args ...any) { l.write(slog.LevelWarn, msg, args) }

// Log implements hclog.Logger.
func (l *raftLogger) Log(level hclog.Level, msg string, args ...any) {
	switch {
	case level >= hclog.Error:
		l.Error(msg, args...)
	case level == hclog.Warn:
		l.Warn(msg, args...)
	default:
		l.Debug(msg, args...)
	}
}

// With implements hclog.Logger.
func (l *raftLogger) With(args ...any) hclog.Logger {
	return &raftLogger{l.Logger, l.log.With(args...), l.limiter}
}

// Named implements hclog.Logger.
func (l *raftLogger) Named(string) hclog.Logger { return l }

// ResetNamed implements hclog.Logger.
func (l *raftLogger) ResetNamed(string) hclog.Logger { return l }

// The levels that raft asks for before it writes.
func (l *raftLogger) IsTrace() bool { return false }

// IsDebug implements hclog.Logger.
func (l *raftLogger) IsDebug() bool { return l.log.Enabled(context.Background(), slog.LevelDebug) }

// IsInfo implements hclog.Logger.
func (l *raftLogger) IsInfo() bool { return l.IsDebug() }

// IsWarn implements hclog.Logger.
func (l *raftLogger) IsWarn() bool { return true }

// IsError implements hclog.Logger.
func (l *raftLogger) IsError() bool { return true }
