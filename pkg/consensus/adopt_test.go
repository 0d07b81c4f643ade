package consensus

import (
	"fmt"
	"testing"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/awatest/testaid"
	"are-we-alive/pkg/awatest/testlist"
	"are-we-alive/pkg/store"
)

// A crash at any step of an adoption is made good at the next start: no list is
// left with the log or the votes of another history.
func TestAdopt_CrashInBetween(t *testing.T) {
	later := awa.History{Epoch: 2, ID: "0123456789abcdef"}
	for name, crash := range map[string]func(t *testing.T, st *store.Store, a Adoption){
		"after it was decided": func(*testing.T, *store.Store, Adoption) {},
		"after the list was cut": func(t *testing.T, st *store.Store, a Adoption) {
			if err := st.Rebase(a.From, a.State, a.Cluster, a.History, a.Fork); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			st, dir := testlist.Open(t), t.TempDir()
			if err := Bootstrap(st, dir); err != nil {
				t.Fatal(err)
			}
			c := newTestConsensus(t, st, dir)
			start(t, c)
			testaid.Eventually(t, "it leads", c.IsLeader)
			for _, key := range []string{"a", "b"} {
				if _, err := c.Propose(t.Context(), awa.Edit{Action: awa.Create,
					Data: []byte(`{"name":"` + key + `","host":"h","port":1}`), Key: key}); err != nil {
					t.Fatal(err)
				}
			}
			stop(t, c)
			a := Adoption{From: 2, State: 1, Cluster: st.Meta().Cluster, History: later, Switch: true}
			record := fmt.Appendf(nil, `{"from":2,"state":1,"cluster":%q,"history":%q,"switch":true}`, a.Cluster, later)
			if err := st.SetStable(adoptingKey, record); err != nil {
				t.Fatal(err)
			}
			crash(t, st, a)
			start(t, c)
			defer stop(t, c)
			if m := st.Meta(); m.History != later || st.State() != 1 || m.State != 0 || len(m.Voters.UIDs) != 0 {
				t.Errorf("it holds state %d of %+v", st.State(), m)
			}
			if c.lastIndex() != 0 || c.Term() != 0 {
				t.Errorf("its log ends at %d, its term is %d", c.lastIndex(), c.Term())
			}
			if config, err := servers(c.running()); err != nil || len(config) != 0 { // or it would stand for election
				t.Errorf("its configuration is %v (%v)", config, err)
			}
		})
	}
}

// What has changed since is not dropped.
func TestAdopt_ListHasMovedOn(t *testing.T) {
	st, dir := testlist.Open(t), t.TempDir()
	if err := st.Init(awa.ChangeSet{Cluster: "c", History: testlist.History,
		Changes: testlist.Changes(t, 3)}); err != nil {
		t.Fatal(err)
	}
	c := newTestConsensus(t, st, dir)
	done, err := c.Adopt(Adoption{From: 2, State: 1, Cluster: "c",
		History: awa.History{Epoch: 2, ID: "0123456789abcdef"}, Switch: true})
	if done || err != nil || st.State() != 3 || st.Meta().History != testlist.History {
		t.Errorf("%v, %v: it holds state %d of history %s", done, err, st.State(), st.Meta().History)
	}
	start(t, c)
	stop(t, c)
	if st.State() != 3 {
		t.Errorf("after a start it holds state %d", st.State())
	}
}
