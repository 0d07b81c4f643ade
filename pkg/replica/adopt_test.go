package replica

import (
	"fmt"
	"testing"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/store"
)

// A crash at any step of an adoption is made good at the next start: no list is
// left with the log or the votes of another history.
func TestAdopt_CrashInBetween(t *testing.T) {
	later := awa.History{Epoch: 2, ID: "0123456789abcdef"}
	for name, crash := range map[string]func(t *testing.T, st *store.Store, a adoption){
		"after it was decided": func(*testing.T, *store.Store, adoption) {},
		"after the list was cut": func(t *testing.T, st *store.Store, a adoption) {
			if err := st.Rebase(a.From, a.State, a.Cluster, a.History, a.Fork); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			st, dir := openList(t), t.TempDir()
			if err := Bootstrap(st, dir); err != nil {
				t.Fatal(err)
			}
			o := newTestOrder(t, st, dir)
			start(t, o)
			eventually(t, "it leads", o.isLeader)
			for _, key := range []string{"a", "b"} {
				if _, err := o.propose(t.Context(), awa.Edit{Action: awa.Create,
					Data: []byte(`{"name":"` + key + `","host":"h","port":1}`), Key: key}); err != nil {
					t.Fatal(err)
				}
			}
			stop(t, o)
			a := adoption{From: 2, State: 1, Cluster: st.Meta().Cluster, History: later, Switch: true}
			record := fmt.Appendf(nil, `{"from":2,"state":1,"cluster":%q,"history":%q,"switch":true}`, a.Cluster, later)
			if err := st.SetStable(adoptingKey, record); err != nil {
				t.Fatal(err)
			}
			crash(t, st, a)
			start(t, o)
			defer stop(t, o)
			if m := st.Meta(); m.History != later || st.State() != 1 || m.State != 0 || len(m.Voters.UIDs) != 0 {
				t.Errorf("it holds state %d of %+v", st.State(), m)
			}
			if o.lastIndex() != 0 || o.term() != 0 {
				t.Errorf("its log ends at %d, its term is %d", o.lastIndex(), o.term())
			}
			if config, err := servers(o.running()); err != nil || len(config) != 0 { // or it would stand for election
				t.Errorf("its configuration is %v (%v)", config, err)
			}
		})
	}
}

// What has changed since is not dropped.
func TestAdopt_ListHasMovedOn(t *testing.T) {
	st, dir := openList(t), t.TempDir()
	if err := st.Found(awa.ChangeSet{Cluster: "c", History: testHistory, Changes: listOf(t, 3)}); err != nil {
		t.Fatal(err)
	}
	o := newTestOrder(t, st, dir)
	done, err := o.adopt(adoption{From: 2, State: 1, Cluster: "c",
		History: awa.History{Epoch: 2, ID: "0123456789abcdef"}, Switch: true})
	if done || err != nil || st.State() != 3 || st.Meta().History != testHistory {
		t.Errorf("%v, %v: it holds state %d of history %s", done, err, st.State(), st.Meta().History)
	}
	start(t, o)
	stop(t, o)
	if st.State() != 3 {
		t.Errorf("after a start it holds state %d", st.State())
	}
}
