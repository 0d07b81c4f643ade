//go:build system

package hostile

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"are-we-alive/pkg/awatest/testaid"
	"are-we-alive/test/program"
)

// serviceUser is a user of nobody's, to whom the data folder belongs.
const serviceUser = 54321

// stage is what root restores into, and what must stay as it is.
type stage struct {
	t      *testing.T
	backup string
	home   string // a folder of the service's user
	victim string // a folder of root's
	before string // all that is in the victim
}

// saved makes a backup, as root.
func saved(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		testaid.Skip(t, "only root can restore into the folder of another user")
	}
	a := program.NewAgent(t, "a1", "--first", "--key-file", "")
	a.Start()
	checkSays(t, a.Addr(), "1 of 1 node online")
	file := filepath.Join(t.TempDir(), "list.json")
	if r := program.Run(t, "awa-agent", "backup", file, "--agent", a.Addr(), "--key-file", ""); r.Code != 0 {
		t.Fatal(r)
	}
	return file
}

func newStage(t *testing.T, backup string) *stage {
	t.Helper()
	dir := t.TempDir()
	for d := dir; d != "/" && d != os.TempDir(); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil { // t.TempDir is root's alone
			t.Fatal(err)
		}
	}
	s := &stage{t: t, backup: backup, home: filepath.Join(dir, "home"), victim: filepath.Join(dir, "victim")}
	s.folder(s.home, serviceUser)
	s.folder(filepath.Join(s.victim, "data"), 0)
	s.folder(filepath.Join(s.victim, "data", "raft"), 0)
	for _, name := range []string{"data/raft/log", "data/secret"} {
		if err := os.WriteFile(filepath.Join(s.victim, name), []byte("keep me\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s.before = s.inVictim()
	return s
}

func (s *stage) folder(path string, owner int) {
	s.t.Helper()
	if err := os.MkdirAll(path, 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Chown(path, owner, owner); err != nil {
		s.t.Fatal(err)
	}
}

// link makes a symbolic link of the service's user.
func (s *stage) link(to, path string) {
	s.t.Helper()
	if err := os.Symlink(to, path); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Lchown(path, serviceUser, serviceUser); err != nil {
		s.t.Fatal(err)
	}
}

// inVictim lists what lies in the victim's folder.
func (s *stage) inVictim() string {
	s.t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(s.victim, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		stat := info.Sys().(*syscall.Stat_t)
		fmt.Fprintf(&b, "%s %v %d:%d %d\n", path, info.Mode(), stat.Uid, stat.Gid, info.ModTime().UnixNano())
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return b.String()
}

// restore restores as root, and looks after the victim.
func (s *stage) restore(dir string) program.Result {
	s.t.Helper()
	r := program.Run(s.t, "awa-agent", "restore", s.backup, "--data-dir", dir)
	if r.Code != 0 && r.Code != 1 || r.Took > 10*time.Second || strings.Contains(r.Errors, "panic") ||
		strings.Contains(r.Errors+r.Out, "keep me") {
		s.t.Errorf("it took %v and ended with %d: %s%s", r.Took, r.Code, r.Out, r.Errors)
	}
	if after := s.inVictim(); after != s.before {
		s.t.Fatalf("root was led elsewhere (%d: %s%s), there lies\n%swhere there was\n%s", r.Code, r.Out, r.Errors, after,
			s.before)
	}
	return r
}

// TestRestore_led has root restore into a folder whose owner has prepared it.
func TestRestore_led(t *testing.T) {
	backup := saved(t)
	for name, test := range map[string]struct {
		prepare func(s *stage, dir string)
		code    int
		says    string
	}{
		"nothing is there": {func(*stage, string) {}, 0, ""},
		"an empty folder":  {func(s *stage, dir string) { s.folder(dir, serviceUser) }, 0, ""},
		"the folder is a link": {func(s *stage, dir string) {
			s.link(filepath.Join(s.victim, "data"), dir)
		}, 1, "permission denied: run it as the user of the agent"},
		"the folder is a link to what is not there": {func(s *stage, dir string) {
			s.link(filepath.Join(s.victim, "new"), dir)
		}, 1, ""},
		"awa.db is a link": {func(s *stage, dir string) {
			s.folder(dir, serviceUser)
			s.link(filepath.Join(s.victim, "data", "secret"), filepath.Join(dir, "awa.db"))
		}, 1, "may not read and write it"},
		"awa.db is a link to what is not there": {func(s *stage, dir string) {
			s.folder(dir, serviceUser)
			s.link(filepath.Join(s.victim, "data", "awa.db"), filepath.Join(dir, "awa.db"))
		}, 1, ""},
		"awa.db is a pipe": {func(s *stage, dir string) {
			s.folder(dir, serviceUser)
			if err := syscall.Mkfifo(filepath.Join(dir, "awa.db"), 0o666); err != nil {
				s.t.Fatal(err)
			}
		}, 1, "the node list needs a file there"},
		"raft is a link": {func(s *stage, dir string) {
			s.folder(dir, serviceUser)
			s.link(filepath.Join(s.victim, "data", "raft"), filepath.Join(dir, "raft"))
		}, 0, ""},
		"raft holds a link": {func(s *stage, dir string) {
			s.folder(dir, serviceUser)
			s.folder(filepath.Join(dir, "raft"), serviceUser)
			s.link(filepath.Join(s.victim, "data"), filepath.Join(dir, "raft", "snapshots"))
		}, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, backup)
			dir := filepath.Join(s.home, "data")
			test.prepare(s, dir)
			r := s.restore(dir)
			if r.Code != test.code || !strings.Contains(r.Errors, test.says) {
				t.Errorf("it ended with %d, want %d and … %s: %s%s", r.Code, test.code, test.says, r.Out, r.Errors)
			}
			if r.Code == 0 {
				s.belongs(dir)
			}
		})
	}
}

// belongs fails the test unless all that was restored is the service's user's.
func (s *stage) belongs(dir string) {
	s.t.Helper()
	found := false
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if stat := info.Sys().(*syscall.Stat_t); stat.Uid != serviceUser || stat.Gid != serviceUser {
			s.t.Errorf("%s belongs to %d:%d", path, stat.Uid, stat.Gid)
		}
		found = found || d.Name() == "awa.db"
		return nil
	})
	if err != nil || !found {
		s.t.Errorf("there is no awa.db (%v)", err)
	}
}

// TestRestore_swapped has the owner of the data folder swap a folder on the
// way for a link, over and over, while root restores.
func TestRestore_swapped(t *testing.T) {
	backup := saved(t)
	for name, test := range map[string]struct{ swapped, to string }{
		"the parent": {"parent", ""},
		"the folder": {"parent/data", "data"},
		"raft":       {"parent/data/raft", "data/raft"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, backup)
			done := 0
			for i := range 7 {
				home := filepath.Join(s.home, fmt.Sprint(i))
				s.folder(home, serviceUser)
				s.folder(filepath.Join(home, "parent"), serviceUser)
				link := filepath.Join(home, "link")
				s.link(filepath.Join(s.victim, test.to), link)
				stop := swapping(link, filepath.Join(home, test.swapped))
				r := s.restore(filepath.Join(home, "parent", "data"))
				stop()
				if r.Code == 0 {
					done++
				}
			}
			t.Logf("%d were restored", done)
		})
	}
}

// swapping exchanges two names over and over, until the returned function is
// called.
func swapping(a, b string) (end func()) {
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-stop:
				return
			default:
				// It fails while one of them is not there.
				unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE)
			}
		}
	}()
	return func() { close(stop); <-ended }
}
