package store_test

import (
	"fmt"
	"os"
	"path/filepath"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/store"
)

// A store holds the list of one cluster. What it returned from is on the disk.
func ExampleStore() {
	dir, err := os.MkdirTemp("", "store")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "awa.db")
	s, err := store.Open(path)
	if err != nil {
		fmt.Println(err)
		return
	}
	err = s.Init(awa.ChangeSet{Cluster: awa.NewUID(), History: awa.NewHistory(awa.History{})})
	if err != nil {
		fmt.Println(err)
		return
	}
	edit := awa.Edit{Action: awa.Create, Data: []byte(`{"name":"web1","host":"10.0.0.1","port":25483}`)}
	outcomes, err := s.Decide([]awa.Entry{{Index: 1, Term: 1, Edit: edit}})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("change", outcomes[0].Change.ID, outcomes[0].Node.Name)
	s.Close()

	s, err = store.Open(path) // as after a restart
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Close()
	fmt.Println("state", s.State(), s.Nodes()[0].Addr())
	// Output:
	// change 1 web1
	// state 1 10.0.0.1:25483
}
