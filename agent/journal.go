package main

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"os"
	"syscall"
)

// Priorities of lines, as the journal reads them (sd-daemon(3)).
const (
	priorityErr     = "<3>"
	priorityWarning = "<4>"
	priorityInfo    = "<6>"
	priorityDebug   = "<7>"
)

// isJournal reports whether systemd has connected w with its journal, see
// JOURNAL_STREAM in systemd.exec(5).
func isJournal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	if err != nil {
		return false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && os.Getenv("JOURNAL_STREAM") == fmt.Sprintf("%d:%d", stat.Dev, stat.Ino)
}

// journalHandler writes text for the journal, which knows the time by itself
// and is told the priority at the beginning of a line.
func journalHandler(w io.Writer, level slog.Level) slog.Handler {
	return slog.NewTextHandler(journalLines{w}, &slog.HandlerOptions{
		Level: level,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	})
}

// journalLines puts the priority before the lines of a slog.TextHandler without
// times, which begin with the level and are written one by one.
type journalLines struct{ io.Writer }

func (j journalLines) Write(line []byte) (int, error) {
	priority := priorityInfo
	switch {
	case bytes.HasPrefix(line, []byte("level=DEBUG")):
		priority = priorityDebug
	case bytes.HasPrefix(line, []byte("level=WARN")):
		priority = priorityWarning
	case bytes.HasPrefix(line, []byte("level=ERROR")):
		priority = priorityErr
	}
	n, err := j.Writer.Write(append([]byte(priority), line...))
	return max(0, n-len(priority)), err
}
