// Package testlist makes node lists on disk for the tests of packages that awatest is
// built on.
package testlist

import (
	"fmt"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/store"
)

// Cluster is the id of the cluster of New's lists.
const Cluster = "c"

// History is the history of New's lists.
var History = awa.History{Epoch: 1, ID: "5f3a0c21b7e94d10"}

// Open opens an empty data folder, and closes it when the test ends.
func Open(t testing.TB) *store.Store {
	t.Helper()
	leaks := goleak.IgnoreCurrent()
	st, err := store.Open(filepath.Join(t.TempDir(), "awa.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
		if err := goleak.Find(leaks); err != nil {
			t.Error(err)
		}
	})
	return st
}

// New opens a data folder with a list of these changes.
func New(t testing.TB, changes []awa.Change) *store.Store {
	t.Helper()
	st := Open(t)
	if err := st.Init(awa.ChangeSet{Cluster: Cluster, History: History, Changes: changes}); err != nil {
		t.Fatal(err)
	}
	return st
}

// Changes returns the changes of a list with n nodes. Node i, from 1, is at 10.0.0.1:i and
// has the uid UID(i).
func Changes(t testing.TB, n int) []awa.Change {
	t.Helper()
	d := awa.NewList().Draft()
	for i := range n {
		data := fmt.Sprintf(`{"name":"n%d","host":"10.0.0.1","port":"%d","uid":%q}`, i, i+1, UID(i+1))
		if _, _, err := d.Decide(awa.Edit{Action: awa.Create, Data: []byte(data)}, uint64(i)+2, 1); err != nil {
			t.Fatal(err)
		}
	}
	return d.Changes()
}

// UID returns the uid of the agent of node i.
func UID(i int) string { return fmt.Sprintf("%032x", i) }
