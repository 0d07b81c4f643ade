package daemon_test

import (
	"log/slog"
	"path/filepath"
	"testing"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/awatest"
	"are-we-alive/pkg/daemon"
	"are-we-alive/pkg/store"
)

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

// A backup is restored on agent 0. Agent 1 joins it with an empty folder;
// agent 2 still has the old history.
func TestRestore(t *testing.T) {
	c := awatest.New(t, 3, awatest.Configure(func(i int, cfg *daemon.Config) { cfg.First = cfg.First && i == 0 }))
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
	c.Stop(0, 1, 2)

	read, err := store.ReadBackup(file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := daemon.Restore(c.Dir(0), read); err == nil {
		t.Error("a backup was restored over a list")
	}
	c.Forget() // what was acknowledged after the backup is gone, as it must be
	c.Wipe(0)
	c.Wipe(1)
	h, err := daemon.Restore(c.Dir(0), read)
	if err != nil {
		t.Fatal(err)
	}
	if h.Epoch != set.History.Epoch+1 {
		t.Errorf("history %s follows %s", h, set.History)
	}
	c.Start(0, 1)
	c.Leave(2)
	now := c.WaitSame()
	if len(now) < len(old) {
		t.Fatalf("%d changes were restored, %d were saved", len(now), len(old))
	}
	for i, ch := range old {
		if now[i] != ch {
			t.Errorf("change %d was %+v and is %+v", ch.ID, ch, now[i])
		}
	}
	nodes := c.Nodes(1)
	if nodes["kept"].ID == 0 || nodes["lost"].ID != 0 {
		t.Errorf("the list is %v", nodes)
	}

	c.Start(2)
	waitJoined(t, c, 2)
	self, err := c.Ping(2)
	if err != nil || self.History != set.History {
		t.Errorf("agent 2 follows history %s, not %s (%v)", self.History, set.History, err)
	}
	before := awa.Caller{UID: self.UID, Cluster: self.Cluster, History: self.History, State: self.State}
	checkRefused(t, c, 0, before, awa.ErrOtherHistory)
	checkRefused(t, c, 2, awa.Caller{UID: c.UID(0), Cluster: self.Cluster, History: h, State: 1}, awa.ErrOtherHistory)
	c.Stop(2)
	c.Wipe(2)
	c.Return(2)
	c.Start(2)
	c.WaitAll(3)
	c.WaitVoters(3)
}
