package awa_test

import (
	"errors"
	"fmt"

	"are-we-alive/pkg/awa"
)

// A list is made by deciding edits, one after the other. What comes of them are changes,
// which make the same list everywhere else.
func ExampleList() {
	here, there := awa.NewList(), awa.NewList()
	draft := here.Draft()
	for _, data := range []string{
		`{"name":"web1","host":"10.0.0.1","port":25483}`,
		`{"name":"db1","host":"10.0.0.3","port":25483,"labels":{"role":"database"}}`,
	} {
		if _, _, err := draft.Decide(awa.Edit{Action: awa.Create, Data: []byte(data)}, 1, 1); err != nil {
			fmt.Println(err)
			return
		}
	}
	draft.Commit()

	copied := there.Draft()
	for _, c := range draft.Changes() {
		if err := copied.Apply(c); err != nil {
			fmt.Println(err)
			return
		}
	}
	copied.Commit()
	for _, n := range there.Nodes() {
		fmt.Println(n.ID, n.Name, n.Addr(), n.Labels)
	}
	fmt.Println("state", there.State())
	// Output:
	// 1 web1 10.0.0.1:25483 map[]
	// 2 db1 10.0.0.3:25483 map[role:database]
	// state 2
}

// A draft that is not committed leaves the list as it was.
func ExampleDraft_Decide() {
	list := awa.NewList()
	draft := list.Draft()
	edit := awa.Edit{Action: awa.Create, Data: []byte(`{"name":"web1","host":"10.0.0.1","port":25483}`)}
	_, node, err := draft.Decide(edit, 1, 1)
	fmt.Println(node.ID, err)
	_, _, err = draft.Decide(edit, 2, 1)
	fmt.Println(errors.Is(err, awa.ErrNameTaken), err)
	fmt.Println("state", list.State())
	// Output:
	// 1 <nil>
	// true the name web1 is taken by node 1: choose another name, or change that node
	// state 0
}

// An edit is parsed once, where it comes in.
func ExampleEdit_Parse() {
	edit, err := awa.Edit{Action: awa.Delete, Data: []byte(`{"id":3}`)}.Parse()
	fmt.Println(edit.Node().ID, err)
	_, err = awa.Edit{Action: awa.Create, Data: []byte(`{"name":"a b"}`)}.Parse()
	fmt.Println(err)
	// Output:
	// 3 <nil>
	// "a b" is not a name for a node: use 1 to 63 letters, digits, dots, dashes and underscores, a letter or digit first
}

// Two lists are equal when their digests are.
func ExampleDigestOf() {
	changes := []awa.Change{{ID: 1, Action: awa.Create, Data: `{"id":1,"name":"web1","host":"10.0.0.1","port":"25483"}`}}
	here := awa.DigestOf("cluster", changes)
	fmt.Println(here == awa.DigestOf("cluster", changes), here == awa.DigestOf("another cluster", changes))
	// Output: true false
}

func ExampleVotersText() {
	fmt.Println(awa.VotersText(1, 1), "needed")
	fmt.Println(awa.VotersText(2, 3), "needed")
	// Output:
	// the only voter is needed
	// 2 of 3 voters are needed
}
