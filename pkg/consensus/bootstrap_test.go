package consensus

import (
	"context"
	"testing"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/awatest/testaid"
	"are-we-alive/pkg/awatest/testlist"
)

// A list with a forged place in the log founds a log that has room for edits.
func TestBootstrapFrom_ForgedPlaces(t *testing.T) {
	for _, index := range []uint64{7, noPlace - 1, noPlace, 1<<64 - 1} {
		st := testlist.Open(t)
		dir := t.TempDir()
		changes := testlist.Changes(t, 3)
		changes[1].Index, changes[1].Term = index, 3
		if err := BootstrapFrom(st, dir, awa.ChangeSet{Cluster: "c", History: testlist.History, State: 3,
			Changes: changes}); err != nil {
			t.Fatal(err)
		}
		c := newTestConsensus(t, st, dir)
		start(t, c)
		testaid.Eventually(t, "it leads", c.IsLeader)
		ctx, cancel := context.WithTimeout(t.Context(), editPatience)
		out, err := c.Propose(ctx, awa.Edit{Action: awa.Delete, Data: []byte(`{"id":1}`), Key: "k"})
		cancel()
		if want := index + 1; err != nil || out.Change.ID != 4 || index < noPlace && out.Change.Index <= want {
			t.Errorf("with index %d the edit gave %+v, %v", index, out.Change, err)
		}
		stop(t, c)
	}
}
