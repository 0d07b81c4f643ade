package server

import (
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"are-we-alive/pkg/awatest/testaid"
	"are-we-alive/pkg/ratelog"
)

func TestRateLimitedLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &testaid.Log{}
		r := &rateLimitedLog{log: slog.New(slog.NewTextHandler(log, nil))}
		for range 1000 {
			r.line(slog.LevelWarn, "a", "a line")
			r.line(slog.LevelWarn, "b", "another line")
		}
		if n := strings.Count(log.String(), "\n"); n != 2 {
			t.Errorf("%d lines of two kinds in one minute", n)
		}
		<-time.After(ratelog.Every)
		r.line(slog.LevelWarn, "a", "a line")
		if !strings.HasSuffix(log.String(), "msg=\"a line\" left_out=999\n") {
			t.Errorf("after a minute: %s", log)
		}
	})
}
