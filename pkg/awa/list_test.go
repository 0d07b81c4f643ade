package awa

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// decide adds edits, written "CREATE {…}", to a draft; none may be refused.
func decide(t *testing.T, d *Draft, edits ...string) {
	t.Helper()
	for _, text := range edits {
		if err := tryEdit(d, text, ""); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
	}
}

func tryEdit(d *Draft, text, key string) error {
	action, data, _ := strings.Cut(text, " ")
	_, _, err := d.Decide(Edit{Action: Action(action), Data: []byte(data), Key: key}, d.State()+1, 1)
	return err
}

// listOf is a list that has had some edits.
func listOf(t *testing.T, edits ...string) *List {
	t.Helper()
	l := NewList()
	d := l.Draft()
	decide(t, d, edits...)
	d.Commit()
	return l
}

// short writes the nodes as "id:name@changed".
func short(l *List) string {
	var all []string
	for _, n := range l.Nodes() {
		all = append(all, fmt.Sprintf("%d:%s@%d", n.ID, n.Name, n.Changed))
	}
	return strings.Join(all, " ")
}

const (
	uid1 = "00000000000000000000000000000001"
	uid2 = "00000000000000000000000000000002"
)

func TestList_Decide(t *testing.T) {
	start := []string{
		`CREATE {"name":"n1","host":"h","port":1,"uid":"` + uid1 + `"}`,
		`CREATE {"name":"n2","host":"h","port":1,"uid":"` + uid2 + `"}`,
	}
	for name, c := range map[string]struct {
		edits []string
		want  string
	}{
		"create": {[]string{`CREATE {"name":"n3","host":"h","port":1}`}, "1:n1@1 2:n2@2 3:n3@3"},
		"a name that a delete freed": {[]string{`DELETE {"id":1}`, `CREATE {"name":"N1","host":"h","port":1}`},
			"2:n2@2 3:N1@4"},
		"a name that an update freed": {[]string{`UPDATE {"id":1,"name":"x","host":"h","port":1}`,
			`CREATE {"name":"n1","host":"h","port":1}`}, "1:x@3 2:n2@2 3:n1@4"},
		"its own name in capitals": {[]string{`UPDATE {"id":1,"name":"N1","host":"h","port":1}`}, "1:N1@3 2:n2@2"},
		"names that change places": {[]string{`UPDATE {"id":1,"name":"x","host":"h","port":1}`,
			`UPDATE {"id":2,"name":"n1","host":"h","port":1}`, `UPDATE {"id":1,"name":"n2","host":"h","port":1}`},
			"1:n2@5 2:n1@4"},
		"a uid that moves": {[]string{`UPDATE {"id":1,"name":"n1","host":"h","port":1,"uid":null}`,
			`UPDATE {"id":2,"name":"n2","host":"h","port":1,"uid":"` + uid1 + `"}`}, "1:n1@3 2:n2@4"},
		"created and deleted at once": {[]string{`CREATE {"name":"n3","host":"h","port":1}`, `DELETE {"id":3}`,
			`CREATE {"name":"n3","host":"h","port":1}`}, "1:n1@1 2:n2@2 4:n3@5"},
		"the same again is one change": {[]string{`UPDATE {"id":1,"name":"n1","host":"h","port":1}`}, "1:n1@3 2:n2@2"},
	} {
		t.Run(name, func(t *testing.T) {
			l := listOf(t, start...)
			d := l.Draft()
			decide(t, d, c.edits...)
			if got := short(l); got != "1:n1@1 2:n2@2" || l.State() != 2 || l.Head().NextID != 3 {
				t.Errorf("the draft alone changes the list: %s", got)
			}
			changes := d.Changes()
			d.Commit()
			if got := short(l); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
			// The names and uids are those of the nodes: all can be had by
			// nobody else, and no others are held.
			d = l.Draft()
			for _, n := range l.Nodes() {
				if err := tryEdit(d, fmt.Sprintf(`CREATE {"name":%q,"host":"h","port":1}`, strings.ToUpper(n.Name)),
					""); !errors.Is(err, ErrNameTaken) {
					t.Errorf("the name %s: %v", n.Name, err)
				}
				if n.UID == "" {
					continue
				}
				if err := tryEdit(d, fmt.Sprintf(`CREATE {"name":"other","host":"h","port":1,"uid":%q}`, n.UID),
					""); !errors.Is(err, ErrUIDTaken) {
					t.Errorf("the uid of %s: %v", n.Name, err)
				}
			}
			if len(l.names) != len(l.nodes) || len(l.uids) > len(l.nodes) {
				t.Errorf("%d nodes, %d names, %d uids", len(l.nodes), len(l.names), len(l.uids))
			}
			// Another list that gets the changes is the same.
			other := listOf(t, start...)
			d = other.Draft()
			for _, change := range changes {
				if err := d.Apply(change); err != nil {
					t.Fatal(err)
				}
			}
			d.Commit()
			if !reflect.DeepEqual(other, l) {
				t.Errorf("applied: %+v, decided: %+v", other, l)
			}
		})
	}
	for name, c := range map[string]struct {
		edit string
		code Code
	}{
		"a taken name":      {`CREATE {"name":"N1","host":"h","port":1}`, ErrNameTaken},
		"another's name":    {`UPDATE {"id":1,"name":"n2","host":"h","port":1}`, ErrNameTaken},
		"a taken uid":       {`CREATE {"name":"n3","host":"h","port":1,"uid":"` + uid1 + `"}`, ErrUIDTaken},
		"another's uid":     {`UPDATE {"id":1,"name":"n1","host":"h","port":1,"uid":"` + uid2 + `"}`, ErrUIDTaken},
		"an unknown node":   {`DELETE {"id":3}`, ErrUnknownNode},
		"an id in a create": {`CREATE {"id":3,"name":"n3","host":"h","port":1}`, ErrBadInput},
		"data that is too large": {`CREATE {"name":"n3","host":"h","port":1,"x":"` + strings.Repeat("<", 4000) + `"}`,
			ErrBadInput},
		"no action": {`MOVE {"id":1}`, ErrBadInput},
	} {
		t.Run(name, func(t *testing.T) {
			l := listOf(t, start...)
			d := l.Draft()
			if err := tryEdit(d, c.edit, "k"); !errors.Is(err, c.code) {
				t.Errorf("got %v", err)
			}
			if _, repeated := d.Repeated("k"); repeated || d.State() != 2 || d.Head().NextID != 3 || len(d.Changes()) != 0 {
				t.Error("a refused edit leaves a trace")
			}
		})
	}
}

func TestDraft_Touched(t *testing.T) {
	l := listOf(t, `CREATE {"name":"n1","host":"h","port":1}`, `CREATE {"name":"n2","host":"h","port":1}`,
		`CREATE {"name":"n3","host":"h","port":1}`)
	d := l.Draft()
	decide(t, d, `DELETE {"id":3}`, `CREATE {"name":"n4","host":"h","port":1}`,
		`UPDATE {"id":1,"name":"x","host":"h","port":1}`)
	var got []string
	stop := errors.New("stop")
	err := d.Touched(func(id uint64, n *Node) error {
		if n == nil {
			got = append(got, fmt.Sprintf("%d gone", id))
			return nil
		}
		got = append(got, fmt.Sprintf("%d:%s@%d", id, n.Name, n.Changed))
		if id == 4 {
			return stop
		}
		return nil
	})
	if want := []string{"1:x@6", "3 gone", "4:n4@5"}; !reflect.DeepEqual(got, want) || err != stop {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestLoadList(t *testing.T) {
	l := listOf(t, `CREATE {"name":"n1","host":"h","port":1}`, `CREATE {"name":"n2","host":"h","port":1}`,
		`DELETE {"id":1}`)
	d := l.Draft()
	if err := tryEdit(d, `CREATE {"name":"n1","host":"h","port":1}`, "k"); err != nil {
		t.Fatal(err)
	}
	d.Commit()
	loaded, err := LoadList(4, Head{NextID: 4}, l.Nodes(), map[string]uint64{"k": 4})
	if err != nil || !reflect.DeepEqual(loaded, l) {
		t.Errorf("got %+v, %v, want %+v", loaded, err, l)
	}
	if empty, err := LoadList(0, Head{NextID: 1}, nil, nil); err != nil || !reflect.DeepEqual(empty, NewList()) {
		t.Errorf("got %+v, %v", empty, err)
	}
	n := func(id uint64, name string, changed uint64) Node { return Node{ID: id, Name: name, Changed: changed} }
	for name, nodes := range map[string][]Node{
		"node 0":          {n(0, "a", 1)},
		"the next id":     {n(4, "a", 1)},
		"a later change":  {n(1, "a", 5)},
		"two of one name": {n(1, "a", 1), n(2, "A", 2)},
	} {
		if _, err := LoadList(4, Head{NextID: 4}, nodes, nil); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

// A key answers for the changes of the window and no longer, whatever was
// dropped from memory, and a list that was loaded answers alike.
func TestDraft_Repeated(t *testing.T) {
	l := NewList()
	keys := map[string]uint64{}
	apply := func(n int) {
		d := l.Draft()
		for range n {
			id := d.State() + 1
			c := Change{ID: id, Action: Update, Data: `{"id":1,"name":"n1","host":"h","port":"1"}`}
			if id == 1 {
				c.Action = Create
			}
			if id%1000 == 0 {
				c.Key = fmt.Sprint("k", id)
				keys[c.Key] = id
			}
			if err := d.Apply(c); err != nil {
				t.Fatal(err)
			}
		}
		d.Commit()
	}
	for l.State() < 5*KeyWindow {
		apply(KeyWindow/3 + 1)
		window := map[string]uint64{}
		for key, id := range keys {
			want := l.State()-id < KeyWindow
			if want {
				window[key] = id
			}
			if got, repeated := l.Draft().Repeated(key); repeated != want || repeated && got != id {
				t.Fatalf("at state %d, %s: got %d, %t", l.State(), key, got, repeated)
			}
		}
		loaded, err := LoadList(l.State(), l.Head(), l.Nodes(), window)
		if err != nil {
			t.Fatal(err)
		}
		for key, id := range keys {
			if got, repeated := loaded.Draft().Repeated(key); repeated != (l.State()-id < KeyWindow) || repeated && got != id {
				t.Fatalf("loaded at state %d, %s: got %d, %t", l.State(), key, got, repeated)
			}
		}
	}
	if held := len(l.recent) + len(l.older); held > 4*KeyWindow/1000+10 {
		t.Errorf("%d keys are kept", held)
	}
	if _, repeated := l.Draft().Repeated(""); repeated {
		t.Error("edits without a key repeat each other")
	}
}

func TestHistory(t *testing.T) {
	first := NewHistory(History{})
	second := NewHistory(first)
	if first.Epoch != 1 || second.Epoch != 2 || first.ID == second.ID || len(first.ID) != 16 {
		t.Errorf("got %+v, %+v", first, second)
	}
	for _, h := range []History{{}, first, second} {
		if got, err := ParseHistory(h.String()); err != nil || got != h {
			t.Errorf("%q reads as %+v, %v", h, got, err)
		}
	}
	for _, s := range []string{"x", "1", "1-", "-a", "0-a", "+1-a", "1.0-a", "99999999999999999999-a",
		"1-" + strings.Repeat("a", 65)} {
		if h, err := ParseHistory(s); err == nil {
			t.Errorf("%q reads as %+v", s, h)
		}
	}
}
