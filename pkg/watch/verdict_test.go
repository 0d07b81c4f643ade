package watch_test

import (
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/watch"
)

// Only the node's own agent makes the node online.
func TestWatcher_Sweep_who_answers(t *testing.T) {
	const uid, other = "11111111111111111111111111111111", "22222222222222222222222222222222"
	self := func(name, uid, cluster string) awa.Self { return awa.Self{Name: name, UID: uid, Cluster: cluster} }
	for name, c := range map[string]struct {
		uid  string // of the node n1
		ours string // cluster
		self awa.Self
		want string // "" for online
	}{
		"itself":                     {uid, "c1", self("n1", uid, "c1"), ""},
		"itself in capitals":         {uid, "c1", self("N1", uid, "c1"), ""},
		"itself, not registered yet": {"", "c1", self("n1", uid, "c1"), ""},
		"itself, not joined yet":     {"", "c1", self("n1", uid, ""), ""},
		"we have not joined yet":     {uid, "", self("n1", uid, "c1"), ""},
		"another name":               {uid, "c1", self("n7", other, "c1"), "another agent answers there: n7 of this cluster"},
		"another name, node without uid": {"", "c1", self("n7", other, "c1"), "another agent answers there: n7 of " +
			"this cluster"},
		"a new name with its uid": {uid, "c1", self("n7", uid, "c1"), ""},
		"another uid": {uid: uid, ours: "c1", self: self("n1", other, "c1"), want: "another agent answers there: n1 with " +
			"another uid of this cluster"},
		"no uid": {uid: uid, ours: "c1", self: self("n1", "", "c1"), want: "another agent answers there: n1 with another " +
			"uid of this cluster"},
		"another that has not joined":     {uid, "c1", self("n7", other, ""), "another agent answers there: n7"},
		"another, and we have not joined": {uid, "", self("n7", other, "c1"), "another agent answers there: n7"},
		"another cluster":                 {uid, "c1", self("n7", other, "c2"), "an agent of another cluster answers there (n7)"},
		"another cluster, all else alike": {uid, "c1", self("n1", uid, "c2"), "an agent of another cluster " +
			"answers there (n1)"},
		"the original program": {"", "c1", awa.Self{MacAddr: "x", Version: awa.VersionOriginal}, ""},
		"the original program, not ours": {uid, "c1", awa.Self{MacAddr: "x", Version: awa.VersionOriginal},
			"the original program answers there, which knows no uid"},
		"no name": {"", "c1", self("", "", ""), "another agent answers there: one without a proper name"},
		"a hostile name": {"", "c1", self("\x1b[2J"+strings.Repeat("x", 1000), "", ""),
			"another agent answers there: one without a proper name"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				node := awa.Node{ID: 1, Name: "n1", Host: "10.0.0.1", Port: awa.DefaultPort, UID: c.uid}
				net := newNetwork(nil)
				net.answerAs(node, c.self)
				heard := 0
				w := newWatcher(net, []awa.Node{node}, func(cfg *watch.Config) {
					cfg.Self = func() awa.Self { return awa.Self{Name: "n2", Cluster: c.ours} }
					cfg.Heard = func(awa.Node, awa.Self) { heard++ }
				})
				st := w.Sweep(t.Context())[0]
				if c.want == "" {
					if st.Verdict != awa.Online || st.Error != "" || st.Stage != "" || st.Self == nil ||
						!reflect.DeepEqual(*st.Self, c.self) || heard != 1 {
						t.Errorf("%+v, heard %d times; want online", st, heard)
					}
					return
				}
				if st.Verdict != awa.Mismatch || st.Stage != awa.StageReply || st.Error != c.want ||
					!reflect.DeepEqual(*st.Self, c.self) || heard != 0 {
					t.Errorf("%+v, heard %d times; want %q", st, heard, c.want)
				}
				if n := len(net.attempts[node.Addr()]); n != 1 {
					t.Errorf("%d attempts, want 1: another one would find the same", n)
				}
			})
		})
	}
}

// What a stranger says is shown as one short line.
func TestWatcher_Sweep_sentences(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := nodes(1)
		net := newNetwork(list)
		said := "\x1b]0;x\x07\n" + strings.Repeat("x", 2*awa.MaxText)
		net.set(list[0], reply{stage: awa.StageReply, err: &awa.Fault{Code: awa.ErrForbidden, Text: said}})
		if st := newWatcher(net, list).Sweep(t.Context())[0]; st.Verdict != awa.Mismatch || st.Error != awa.CleanText(said) {
			t.Errorf("%s: %q", st.Verdict, st.Error)
		}
	})
}

// Two entries with one address: the agent there is one of them.
func TestWatcher_Sweep_one_address_twice(t *testing.T) {
	list := nodes(3)
	list[2].Host = list[1].Host
	net := newNetwork(list[:2])
	statuses := newWatcher(net, list).Sweep(t.Context())
	if st := statuses[1]; st.Verdict != awa.Online {
		t.Errorf("n2: %+v", st)
	}
	if st := statuses[2]; st.Verdict != awa.Mismatch || st.Error != "another agent answers there: n2 of this cluster" {
		t.Errorf("n3: %+v", st)
	}
}

// Heard gets each node with its own answer, this agent's own entry included.
func TestWatcher_Sweep_tells_what_it_heard(t *testing.T) {
	list := nodes(20)
	net := newNetwork(list)
	net.set(list[5], refuses)
	var mu sync.Mutex
	heard := map[string]awa.Self{}
	w := newWatcher(net, list, func(c *watch.Config) {
		c.Heard = func(n awa.Node, s awa.Self) {
			mu.Lock()
			defer mu.Unlock()
			heard[n.Name] = s
		}
	})
	w.Sweep(t.Context())
	for i, n := range list {
		got, ok := heard[n.Name]
		if want := i != 5; ok != want || ok && !reflect.DeepEqual(got, selfOf(n)) {
			t.Errorf("%s: heard %v (%v)", n.Name, got, ok)
		}
	}
}
