package consensus

import (
	"context"
	"fmt"
	"testing"
	"time"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/awatest/testaid"
	"are-we-alive/pkg/awatest/testlist"
)

// What an earlier version had let others say of Raft is put right at start.
func TestStart_PoisonedFolder(t *testing.T) {
	st := testlist.Open(t)
	dir := t.TempDir()
	if err := Bootstrap(st, dir); err != nil {
		t.Fatal(err)
	}
	c := newTestConsensus(t, st, dir)
	edit := func(key string) (awa.Outcome, error) {
		ctx, cancel := context.WithTimeout(t.Context(), editPatience)
		defer cancel()
		return c.Propose(ctx, awa.Edit{Action: awa.Create, Data: fmt.Appendf(nil, `{"name":%q,"host":"h","port":1}`, key),
			Key: key})
	}
	start(t, c)
	testaid.Eventually(t, "it leads", c.IsLeader)
	if _, err := edit("first"); err != nil {
		t.Fatal(err)
	}
	good := st.Meta()
	stop(t, c)
	// A forged change of an earlier version, which the list has as all others have it.
	if err := st.Prove([]awa.Change{{ID: 2, Action: awa.Create, Data: `{"id":2,"name":"forged","host":"h","port":"1"}`,
		Index: 1 << 62, Term: 1}}, 1<<62, 1); err != nil {
		t.Fatal(err)
	}
	if err := st.ResetVoters(awa.VoterSet{Index: 1 << 62, Term: 1<<64 - 1, UIDs: []string{"liar"}}); err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		start(t, c)
		testaid.Eventually(t, "it leads", c.IsLeader)
		if v := st.Meta().Voters; v.Index > good.Voters.Index+8 || len(v.UIDs) != 1 || v.UIDs[0] != c.uid {
			t.Errorf("the voters are %+v", v)
		}
		if out, err := edit(fmt.Sprint("next", i)); err != nil || out.Change.ID != uint64(3+i) {
			t.Errorf("the edit after start %d gave %+v, %v", i, out.Change, err)
		}
		stop(t, c)
	}
	// An agent that has no log proves nothing.
	if err := Forget(st, dir); err != nil {
		t.Fatal(err)
	}
	if err := st.ResetVoters(awa.VoterSet{}); err != nil { // or it would be known as the only voter
		t.Fatal(err)
	}
	start(t, c)
	if m := st.Meta(); m.Index != 0 || m.State != 0 || m.Voters.Index != 0 {
		t.Errorf("without a log it holds %+v", m)
	}
	stop(t, c)
}

// editPatience is how long an edit may take in a test.
const editPatience = 20 * time.Second
