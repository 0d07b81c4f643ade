package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestJournalHandler(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(journalHandler(&out, slog.LevelDebug))
	log.Debug("a")
	log.Info("b")
	log.Warn("level=DEBUG\nc")
	log.Error("d")
	want := `<7>level=DEBUG msg=a
<6>level=INFO msg=b
<4>level=WARN msg="level=DEBUG\nc"
<3>level=ERROR msg=d
`
	if got := out.String(); got != want {
		t.Errorf("the journal gets\n%s\nwant\n%s", got, want)
	}
}

// What stops the agent is an error for the journal, and has no priority
// elsewhere.
func TestRun_journal(t *testing.T) {
	for name, journal := range map[string]bool{"the journal": true, "a file": false} {
		t.Run(name, func(t *testing.T) {
			f, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			info, err := f.Stat()
			if err != nil {
				t.Fatal(err)
			}
			stat := info.Sys().(*syscall.Stat_t)
			if journal {
				t.Setenv("JOURNAL_STREAM", fmt.Sprintf("%d:%d", stat.Dev, stat.Ino))
			} else {
				t.Setenv("JOURNAL_STREAM", fmt.Sprintf("%d:%d", stat.Dev, stat.Ino+1))
			}
			if code := run(context.Background(), []string{"run", "--config", "/nowhere"}, nil, io.Discard,
				f); code != exitUsage {
				t.Errorf("exit code %d", code)
			}
			text, err := os.ReadFile(f.Name())
			if err != nil || strings.HasPrefix(string(text), "<3>awa-agent: ") != journal || !strings.Contains(string(text),
				"awa-agent: ") {
				t.Errorf("it says (%v): %s", err, text)
			}
		})
	}
}
