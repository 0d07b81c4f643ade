package daemon_test

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/awatest"
	"are-we-alive/pkg/daemon"
	"are-we-alive/pkg/store"
)

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

// A backup is restored on agent 0, and the others are started with their old
// data, which holds more: they follow, and set aside what only they hold.
func TestRestore(t *testing.T) {
	c := awatest.New(t, 3)
	c.MustEdit(0, awatest.CreateEdit("kept"))
	old := c.WaitSame()
	set, err := c.Client().Sync(t.Context(), c.Addr(1), awa.Position{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "backup")
	if err := store.WriteBackup(file, set); err != nil {
		t.Fatal(err)
	}
	c.MustEdit(0, awatest.CreateEdit("lost"))
	c.WaitSame()
	c.Kill(0, 1, 2)
	c.Wait("they are down", func() error {
		if n := len(c.Running()); n > 0 {
			return fmt.Errorf("%d run", n)
		}
		return nil
	})

	read, err := store.ReadBackup(file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := daemon.Restore(c.Dir(0), read); err == nil {
		t.Error("a backup was restored over a list")
	}
	c.Forget() // what was acknowledged after the backup is gone, as it must be
	c.Wipe(0)
	h, err := daemon.Restore(c.Dir(0), read)
	if err != nil {
		t.Fatal(err)
	}
	if h.Epoch != set.History.Epoch+1 {
		t.Errorf("history %s follows %s", h, set.History)
	}
	c.Start(1, 2)
	waitJoined(t, c, 1)
	before := awa.Caller{UID: c.UID(1), Cluster: set.Cluster, History: set.History, State: 1}
	checkRefused(t, c, 1, awa.Caller{UID: c.UID(0), Cluster: set.Cluster, History: h, State: 1}, awa.ErrOtherHistory)
	c.Start(0)
	checkRefused(t, c, 0, before, awa.ErrOtherHistory)
	now := c.WaitSame()
	if len(now) < len(old) {
		t.Fatalf("%d changes were restored, %d were saved", len(now), len(old))
	}
	for i, ch := range old {
		if now[i] != ch {
			t.Errorf("change %d was %+v and is %+v", ch.ID, ch, now[i])
		}
	}
	c.MustEdit(1, awatest.CreateEdit("after"))
	c.WaitSame()
	for i := range 3 {
		if nodes := c.Nodes(i); nodes["kept"].ID == 0 || nodes["lost"].ID != 0 || nodes["after"].ID == 0 {
			t.Errorf("the list of agent %d is %v", i, nodes)
		}
		self, err := c.Ping(i)
		if err != nil || self.History != h || self.Fork == nil && i == 0 {
			t.Errorf("agent %d follows history %s (%v)", i, self.History, err)
		}
	}
	for i := range 3 {
		files, _ := filepath.Glob(filepath.Join(c.Dir(i), "set-aside-*.json"))
		if want := min(i, 1); len(files) != want {
			t.Fatalf("agent %d has set aside %v", i, files)
		}
		for _, file := range files {
			if b, err := os.ReadFile(file); err != nil || !strings.Contains(string(b), "lost") ||
				strings.Contains(string(b), "kept") {
				t.Errorf("%s (%v):\n%s", file, err, b)
			}
			if _, err := store.ReadBackup(file); !errors.Is(err, awa.ErrBadInput) || !strings.Contains(err.Error(),
				"set aside") {
				t.Errorf("as a backup it is read with %v", err)
			}
		}
	}
	c.WaitVoters(3)
}

// Nothing of a restore that fails stays in the folder, so that an agent that joins
// from there later begins with nothing.
func TestRestore_fails(t *testing.T) {
	dir := t.TempDir()
	set := awa.ChangeSet{Cluster: "c", History: awa.History{Epoch: 1, ID: "5f3a0c21b7e94d10"}, State: 2,
		Changes: []awa.Change{
			{ID: 1, Action: awa.Create, Data: `{"id":1,"name":"n1","host":"h","port":"1"}`},
			{ID: 3, Action: awa.Delete, Data: `{"id":1}`}, // found only after the first snapshot was written
		}}
	if _, err := daemon.Restore(dir, set); !errors.Is(err, awa.ErrGap) || !strings.Contains(err.Error(), dir) {
		t.Errorf("it ends with %v", err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) > 0 {
		t.Errorf("left are %v (%v)", left, err)
	}
}
