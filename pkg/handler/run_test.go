package handler_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"are-we-alive/pkg/awatest/testaid"
	"are-we-alive/pkg/handler"
)

// script writes a program for /bin/sh.
func script(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestRunner(t *testing.T) {
	folder := t.TempDir()
	t.Setenv("SECRET", "of the agent")
	for name, c := range map[string]struct {
		text, err, log string
		again          bool
	}{
		"well":               {text: `cat >` + folder + `/in; pwd; env | sort`, log: "line=/\n"},
		"fails":              {text: "echo I am >&2; exit 1", err: "exit status 1", log: `line="I am"`},
		"asks for more":      {text: "exit 75", err: "run again later", again: true},
		"does not read":      {text: "exec <&-; exit 0"},
		"floods":             {text: "yes", err: "it wrote more than 64 KiB", log: "line=y"},
		"hangs":              {text: "sleep 1000", err: "did not end within 500ms"},
		"ignores signals":    {text: "trap '' TERM INT HUP; while :; do sleep 1; done", err: "did not end within 500ms"},
		"escapes a terminal": {text: `printf 'a\033[31mb\n'`, log: `line=a?[31mb`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			log := &testaid.Log{}
			r := handler.Runner{Log: slog.New(slog.NewTextHandler(log, nil)), Timeout: 20 * time.Second}
			if strings.Contains(c.err, "500ms") {
				r.Timeout = 500 * time.Millisecond
			}
			err := r.Run(t.Context(), script(t, c.text), bytes.Repeat([]byte("{}\n"), 100_000), func(error) {})
			if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) ||
				errors.Is(err, handler.ErrTryAgain) != c.again {
				t.Errorf("it ends with %v", err)
			}
			if !strings.Contains(log.String(), c.log) {
				t.Errorf("logged: %s", log)
			}
			if strings.Contains(log.String(), "SECRET") {
				t.Errorf("it sees the agent's environment: %s", log)
			}
			if name == "well" {
				if b, err := os.ReadFile(folder + "/in"); err != nil || len(b) != 300_000 {
					t.Errorf("it read %d bytes, %v", len(b), err)
				}
			}
		})
	}
}

// alive reports whether a process is there and not a zombie.
func alive(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(b), ") Z ")
}

// Nothing of a run is left, however it was started.
func TestRunner_children(t *testing.T) {
	for name, text := range map[string]string{
		"in the background": `sleep 1000 & echo $! >PIDS`,
		"of a child":        `(sleep 1000 & echo $! >PIDS; wait) & sleep 0.2`,
		"in another session": `setsid sleep 1000 & echo $! >PIDS; setsid sh -c 'echo $$ >>PIDS; sleep 1000' >/dev/null 2>&1 &
sleep 0.2`,
		"that hold its output, and it hangs": `setsid sleep 1000 & echo $! >PIDS; sleep 1000`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pids := filepath.Join(t.TempDir(), "pids")
			r := handler.Runner{Log: slog.New(slog.DiscardHandler), Timeout: 2 * time.Second}
			began := time.Now()
			// How it ends does not matter.
			r.Run(t.Context(), script(t, strings.ReplaceAll(text, "PIDS", pids)), []byte("{}"), func(error) {})
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("it took %v", took)
			}
			b, err := os.ReadFile(pids)
			if err != nil || len(strings.Fields(string(b))) == 0 {
				t.Fatalf("its children are %q, %v", b, err)
			}
			for _, text := range strings.Fields(string(b)) {
				pid, err := strconv.Atoi(text)
				if err != nil {
					t.Fatal(err)
				}
				testaid.Await(t, 20*time.Second, func() error {
					if alive(pid) {
						return fmt.Errorf("process %d is still there", pid)
					}
					return nil
				})
			}
		})
	}
}

// An agent that ends ends a run too.
func TestRunner_end(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, cancel)
	began := time.Now()
	err := handler.Runner{Log: slog.New(slog.DiscardHandler)}.Run(ctx, script(t, "sleep 1000"), nil, func(error) {})
	if err == nil || time.Since(began) > 10*time.Second {
		t.Errorf("it ends with %v after %v", err, time.Since(began))
	}
}

func TestCheck(t *testing.T) {
	folder := t.TempDir()
	at := func(name string, mode os.FileMode) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	loose := filepath.Join(folder, "loose")
	if err := os.Mkdir(loose, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(loose+"/program", nil, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(loose, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(loose+"/program", filepath.Join(folder, "link")); err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct{ path, want string }{
		"a link into such":    {folder + "/link", "other users may change " + loose},
		"good":                {at("good", 0o755), ""},
		"for this user alone": {at("own", 0o700), ""},
		"a name": {"program", "program is not an absolute path: name the program with its folder, without " +
			"arguments"},
		"with arguments":          {at("good", 0o755) + " --now", "there is no"},
		"missing":                 {folder + "/none", "there is no"},
		"a folder":                {folder, "is not a program but a folder or a device"},
		"not executable":          {at("text", 0o644), "is not executable: chmod 755"},
		"writable by all":         {at("all", 0o757), "other users may change"},
		"writable by the group":   {at("group", 0o775), "other users may change"},
		"in a folder of everyone": {loose + "/program", "other users may change " + loose},
	}
	if os.Geteuid() == 0 {
		theirs := at("theirs", 0o755)
		if err := os.Chown(theirs, 65534, 65534); err != nil {
			t.Fatal(err)
		}
		cases["of another user"] = struct{ path, want string }{theirs, "belongs to another user (uid 65534)"}
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			err := handler.Check(c.path)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %s", err, c.want)
			}
		})
	}
}
