package store

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/awatest/testaid"
)

func TestOpen_without_permission(t *testing.T) {
	folder := t.TempDir()
	s := open(t, folder+"/awa.db")
	ok(t, s.Close())
	for name, c := range map[string]struct {
		path         string
		file, folder fs.FileMode
	}{
		"to read":   {s.path, 0, 0o755},
		"to write":  {s.path, 0o444, 0o755},
		"to make":   {folder + "/new.db", 0o444, 0o755},
		"to search": {s.path, 0o444, 0},
	} {
		t.Run(name, func(t *testing.T) {
			ok(t, os.Chmod(s.path, c.file))
			ok(t, os.Chmod(folder, c.folder))
			defer os.Chmod(folder, 0o700)
			err := asNobody(func() error {
				s, err := Open(c.path)
				if err == nil {
					s.Close()
				}
				return err
			})
			if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), c.path) || !strings.Contains(err.Error(),
				"this user (uid ") {
				t.Errorf("got %v", err)
			}
		})
	}
}

// asNobody runs f without root's rights on files, on this thread alone.
func asNobody(f func() error) error {
	if os.Geteuid() != 0 {
		return f()
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	syscall.RawSyscall(syscall.SYS_SETFSUID, 65534, 0, 0)
	defer syscall.RawSyscall(syscall.SYS_SETFSUID, 0, 0, 0)
	return f()
}

// The disk takes the writes and fails to sync them.
func TestStore_failed_sync_changes_nothing(t *testing.T) {
	s := founded(t)
	decide(t, s, createNode(1))
	fd := descriptor(t, s.path)
	kept, err := syscall.Dup(fd)
	ok(t, err)
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0) // can be written, can't be synced
	ok(t, err)
	defer null.Close()
	ok(t, syscall.Dup3(int(null.Fd()), fd, 0))
	if _, err := s.Decide(edits(s, createNode(2))); err == nil {
		t.Error("a failed sync gives no error")
	}
	equal(t, "state", s.State(), 1)
	ok(t, syscall.Dup3(kept, fd, 0))
	ok(t, syscall.Close(kept))
	equal(t, "state afterwards", decide(t, s, createNode(3))[0].Change.ID, 2)
	reopen(t, s)
}

// descriptor finds the file descriptor by which a file is open.
func descriptor(t *testing.T, path string) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	ok(t, err)
	for _, e := range all {
		if target, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && target == path {
			fd, err := strconv.Atoi(e.Name())
			ok(t, err)
			return fd
		}
	}
	testaid.Skip(t, "which files are open: this system does not show them in /proc")
	return 0
}

// The measure of BenchmarkStore_Decide: a plain write of one page with a sync,
// on the same disk.
func BenchmarkFdatasync(b *testing.B) {
	f, err := os.Create(filepath.Join(b.TempDir(), "plain"))
	ok(b, err)
	defer f.Close()
	page := make([]byte, testPage)
	for b.Loop() {
		_, err := f.WriteAt(page, 0)
		ok(b, err)
		ok(b, syscall.Fdatasync(int(f.Fd())))
	}
}

// What is resident of the file does not grow with the log: neither when it is
// opened, nor when all of it is read.
func TestStore_resident(t *testing.T) {
	s := founded(t)
	decide(t, s, `CREATE - {"name":"n1","host":"h","port":1}`)
	note := strings.Repeat("x", 500)
	for range 5 {
		var changes []awa.Change
		for i := range 4000 {
			changes = append(changes, awa.Change{ID: s.State() + 1 + uint64(i), Action: awa.Update,
				Data: `{"id":1,"name":"n1","host":"h","port":"1","note":"` + note + `"}`})
		}
		ok(t, s.Prove(changes, 0, 0))
	}
	s = reopen(t, s)
	info, err := os.Stat(s.path)
	ok(t, err)
	if kb := resident(t, s.path); info.Size() < 10<<20 || kb > 1<<10 {
		t.Errorf("of a file of %d MB, %d kB are resident once it is open", info.Size()>>20, kb)
	}
	for at := uint64(0); at < s.State(); {
		page, err := s.Page(at, 1000)
		ok(t, err)
		at = page[len(page)-1].ID
	}
	if kb := resident(t, s.path); kb > 8<<10 {
		t.Errorf("of a file of %d MB, %d kB are resident after it was read", info.Size()>>20, kb)
	}
}

// resident is how much of a file is resident in this process, in kB.
func resident(t *testing.T, path string) (kb int) {
	t.Helper()
	b, err := os.ReadFile("/proc/self/smaps")
	ok(t, err)
	_, of, found := strings.Cut(string(b), path+"\n")
	if !found {
		t.Fatalf("%s is not mapped", path)
	}
	_, of, _ = strings.Cut(of, "\nRss:")
	kb, err = strconv.Atoi(strings.Fields(of)[0])
	ok(t, err)
	return kb
}
