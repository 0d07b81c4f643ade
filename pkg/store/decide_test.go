package store

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"

	"are-we-alive/pkg/awa"
)

func TestStore_Decide(t *testing.T) {
	t.Run("a batch is one transaction", func(t *testing.T) {
		s := founded(t)
		n := transactions(t, s, func() {
			outcomes := decide(t, s, createNode(1), createNode(2), `UPDATE u {"id":1,"name":"n9","host":"h","port":"7"}`,
				`DELETE - {"id":2}`)
			for i, o := range outcomes {
				equal(t, "id", o.Change.ID, uint64(i+1))
				equal(t, "index", o.Change.Index, uint64(i+1))
				equal(t, "term", o.Change.Term, 3)
			}
			equal(t, "node", outcomes[2].Node, awa.Node{ID: 1, Name: "n9", Host: "h", Port: 7, Changed: 3})
		})
		equal(t, "transactions", n, 1)
		s = reopen(t, s)
		equal(t, "nodes", s.Nodes(), []awa.Node{{ID: 1, Name: "n9", Host: "h", Port: 7, Changed: 3}})
		equal(t, "applied", [2]uint64{s.Meta().Index, s.Meta().Term}, [2]uint64{4, 3})
	})
	t.Run("node ids are never used twice", func(t *testing.T) {
		s := founded(t)
		decide(t, s, createNode(1), createNode(2), `DELETE - {"id":2}`)
		s = reopen(t, s)
		equal(t, "id", decide(t, s, createNode(3))[0].Node.ID, 3)
	})
	t.Run("replay changes nothing", func(t *testing.T) {
		s := founded(t)
		batch := edits(s, createNode(1), `CREATE - {"name":"N1","host":"h","port":1}`, createNode(2), `DELETE - {"id":1}`)
		first, err := s.Decide(batch)
		ok(t, err)
		refuses(t, first[1].Err, awa.ErrNameTaken)
		for range 2 {
			n := transactions(t, s, func() {
				again, err := s.Decide(batch)
				ok(t, err)
				first[1] = awa.Outcome{}
				equal(t, "outcomes", inJSON(t, again), inJSON(t, first))
			})
			equal(t, "transactions", n, 0)
			s = reopen(t, s)
		}
		equal(t, "state", s.State(), 3)
		// A batch that begins before the applied index and ends after it.
		entries := append(batch[2:], awa.Entry{Index: 5, Term: 4, Edit: edits(s, createNode(5))[0].Edit})
		again, err := s.Decide(entries)
		ok(t, err)
		equal(t, "change ids", [3]uint64{again[0].Change.ID, again[1].Change.ID, again[2].Change.ID}, [3]uint64{2, 3, 4})
	})
	t.Run("replay of edits with keys", func(t *testing.T) {
		s := founded(t)
		batch := edits(s, `CREATE a {"name":"n1","host":"h","port":1}`, `CREATE a {"name":"n1","host":"h","port":1}`,
			`DELETE b {"id":1}`)
		first, err := s.Decide(batch)
		ok(t, err)
		equal(t, "change of the repetition", first[1].Change.ID, 1)
		again, err := s.Decide(batch)
		ok(t, err)
		first[1] = awa.Outcome{} // it made none
		equal(t, "outcomes", inJSON(t, again), inJSON(t, first))
	})
	t.Run("refused edits consume nothing", func(t *testing.T) {
		s := founded(t)
		decide(t, s, createNode(1))
		refused := []struct {
			edit string
			code awa.Code
		}{
			{`CREATE - {"name":"N1","host":"h","port":1}`, awa.ErrNameTaken},
			{`CREATE - {"name":"n2","host":"h"}`, awa.ErrBadInput},
			{`CREATE - {"id":2,"name":"n2","host":"h","port":1}`, awa.ErrBadInput},
			{`UPDATE - {"id":2,"name":"n2","host":"h","port":1}`, awa.ErrUnknownNode},
			{`DELETE - {"id":9}`, awa.ErrUnknownNode},
			{`MOVE - {"id":1}`, awa.ErrBadInput},
			{`CREATE - nonsense`, awa.ErrBadInput},
		}
		var all []string
		for _, r := range refused {
			all = append(all, r.edit)
		}
		n := transactions(t, s, func() {
			outcomes, err := s.Decide(edits(s, all...))
			ok(t, err)
			for i, o := range outcomes {
				refuses(t, o.Err, refused[i].code)
				equal(t, "change", o.Change, awa.Change{})
			}
		})
		equal(t, "transactions", n, 0)
		equal(t, "applied", s.Meta().Index, 8)
		o := decide(t, s, createNode(2))[0]
		equal(t, "the next change and node", [2]uint64{o.Change.ID, o.Node.ID}, [2]uint64{2, 2})
		equal(t, "applied after a restart", reopen(t, s).Meta().Index, 9)
	})
	t.Run("an edit that saw an older node is refused", func(t *testing.T) {
		s := founded(t)
		decide(t, s, createNode(1), createNode(2))
		batch := edits(s, `UPDATE - {"id":1,"name":"a","host":"h","port":1}`,
			`UPDATE - {"id":1,"name":"b","host":"h","port":1}`, `DELETE - {"id":1}`)
		for i := range batch {
			batch[i].Edit.IfChanged = 1
		}
		outcomes, err := s.Decide(batch)
		ok(t, err)
		ok(t, outcomes[0].Err)
		refuses(t, outcomes[1].Err, awa.ErrConflict)
		refuses(t, outcomes[2].Err, awa.ErrConflict)
	})
}

func TestStore_Decide_update_keeps_what_it_does_not_name(t *testing.T) {
	const uid = "0123456789abcdef0123456789abcdef"
	s := founded(t)
	decide(t, s, `CREATE - {"name":"n1","host":"h1","port":"1","uid":"`+uid+`","labels":{"a":"1"},`+
		`"maintenance":"2026-11-23T18:00:00Z","rack":7,"row":{"x": [1, 2]},"by":"me"}`)
	for _, c := range []struct{ edit, want string }{
		{`{"id":1,"name":"n2","host":"h2","port":2}`,
			`{"id":1,"name":"n2","host":"h2","port":"2","uid":"` + uid +
				`","labels":{"a":"1"},"maintenance":"2026-11-23T18:00:00Z","changed":2,"rack":7,"row":{"x":[1,2]}}`},
		{`{"id":1,"name":"n2","host":"h2","port":2,"labels":{"b":"2"},"rack":null,"Name":"other"}`,
			`{"id":1,"name":"n2","host":"h2","port":"2","uid":"` + uid +
				`","labels":{"b":"2"},"maintenance":"2026-11-23T18:00:00Z","changed":3,"Name":"other","row":{"x":[1,2]}}`},
		{`{"id":1,"name":"n2","host":"h2","port":2,"uid":null,"labels":null,"maintenance":"","row":null,"Name":null}`,
			`{"id":1,"name":"n2","host":"h2","port":"2","changed":4}`},
	} {
		o := decide(t, s, "UPDATE - "+c.edit)[0]
		equal(t, "node", inJSON(t, o.Node), c.want)
		s = reopen(t, s)
		equal(t, "node after a restart", inJSON(t, s.Nodes()[0]), c.want)
	}
	changes, err := s.Changes(0, 1)
	ok(t, err)
	_, by, _, err := changes[0].Node()
	ok(t, err)
	equal(t, "by", by, "me")
}

func TestStore_Decide_repeated_key(t *testing.T) {
	s := founded(t)
	first := decide(t, s, `CREATE k {"name":"n1","host":"h","port":1}`)[0]
	gone := decide(t, s, `CREATE - {"name":"n2","host":"h","port":1}`, `DELETE d {"id":2}`)[1]
	check := func(what string) {
		t.Helper()
		n := transactions(t, s, func() {
			again, err := s.Decide(edits(s, `CREATE k {"name":"n1","host":"h","port":1}`, `DELETE d {"id":2}`,
				`DELETE k {"id":1}`))
			ok(t, err)
			equal(t, what, inJSON(t, again[:2]), inJSON(t, []awa.Outcome{first, gone}))
			refuses(t, again[2].Err, awa.ErrKeyReused, "Idempotency-Key k", "change 1")
		})
		equal(t, "transactions", n, 0)
	}
	check("outcomes")
	s = reopen(t, s)
	check("outcomes after a restart")

	// Within one batch, a refused edit doesn't use its key up.
	outcomes, err := s.Decide(edits(s, `CREATE x {"name":"n1","host":"h","port":1}`,
		`CREATE x {"name":"n3","host":"h","port":1}`, `CREATE x {"name":"n3","host":"h","port":1}`))
	ok(t, err)
	refuses(t, outcomes[0].Err, awa.ErrNameTaken)
	equal(t, "second and third", inJSON(t, outcomes[1]), inJSON(t, outcomes[2]))
	equal(t, "state", s.State(), 4)
}

func TestStore_Decide_forgets_keys_after_the_window(t *testing.T) {
	const window = awa.KeyWindow
	s := founded(t)
	update := func(key string) string { return "UPDATE " + key + ` {"id":1,"name":"n1","host":"h","port":1}` }
	filler := func(n int) {
		t.Helper()
		changes := make([]awa.Change, n)
		for i := range changes {
			changes[i] = awa.Change{ID: s.State() + 1 + uint64(i), Action: awa.Update,
				Data: `{"id":1,"name":"n1","host":"h","port":"1"}`}
		}
		ok(t, s.Prove(changes, 0, 0))
	}
	decide(t, s, `CREATE - {"name":"n1","host":"h","port":1}`, update("first"), update("second"))
	filler(window / 2)
	decide(t, s, update("third"))
	filler(window/2 - 3)
	repeated := func(key string) uint64 {
		t.Helper()
		return decide(t, s, update(key))[0].Change.ID
	}
	for range 2 { // the second time after a restart
		equal(t, "state", s.State(), window+1)
		equal(t, "remembered at the last moment", repeated("first"), 2)
		ok(t, s.Close())
		s = open(t, s.path)
	}
	filler(1)
	ok(t, s.Close())
	s = open(t, s.path)
	equal(t, "remembered at the last moment", repeated("second"), 3)
	equal(t, "forgotten", repeated("first"), window+3)
	equal(t, "remembered again", repeated("first"), window+3)
	equal(t, "forgotten", repeated("second"), window+4)
	equal(t, "remembered", repeated("third"), window/2+4)
}

func TestStore_Apply(t *testing.T) {
	from := founded(t)
	decide(t, from, createNode(1), createNode(2), `UPDATE - {"id":1,"name":"a","host":"h","port":1}`, `DELETE d {"id":2}`)
	all, err := from.Changes(0, 0)
	ok(t, err)

	t.Run("one after the other", func(t *testing.T) {
		s := founded(t)
		for i, c := range all {
			ok(t, s.Apply([]awa.Change{c}))
			equal(t, "state", s.State(), c.ID)
			equal(t, "applied", s.Meta().Index, 0)
			equal(t, "highest place", s.high, place{uint64(i + 1), 3})
		}
		equal(t, "nodes", s.Nodes(), from.Nodes())
		ok(t, s.Prove(all, 4, 3))
		equal(t, "a key that came with a change", decide(t, s, `DELETE d {"id":2}`)[0].Change.ID, 4)
	})
	t.Run("all in one transaction, some twice", func(t *testing.T) {
		s := founded(t)
		ok(t, s.Apply(all[:2]))
		n := transactions(t, s, func() { ok(t, s.Apply(append(all[:3:3], all[1:]...))) })
		equal(t, "transactions", n, 1)
		equal(t, "transactions of a repetition", transactions(t, s, func() { ok(t, s.Apply(all)) }), 0)
		equal(t, "nodes", reopen(t, s).Nodes(), from.Nodes())
	})
	t.Run("refused, and nothing applied", func(t *testing.T) {
		other := func(f func(c *awa.Change)) []awa.Change {
			c := all[0]
			f(&c)
			return []awa.Change{c, all[1], all[2]}
		}
		bad := func(id uint64, action awa.Action, data string) []awa.Change {
			return append(all[:id-1:id-1], awa.Change{ID: id, Action: action, Data: data})
		}
		for name, c := range map[string]struct {
			changes []awa.Change
			code    awa.Code
		}{
			"a gap":               {all[3:], awa.ErrGap},
			"a gap in the middle": {[]awa.Change{all[2], {ID: 5, Action: awa.Delete, Data: `{"id":1}`}}, awa.ErrGap},
			"id 0":                {[]awa.Change{{Action: awa.Delete, Data: `{"id":1}`}}, awa.ErrGap},
			"other data": {other(func(c *awa.Change) { c.Data = `{"id":1,"name":"x","host":"h","port":"1"}` }),
				awa.ErrDamaged},
			"another action": {other(func(c *awa.Change) { c.Action = awa.Delete }), awa.ErrDamaged},
			"another key":    {other(func(c *awa.Change) { c.Key = "other" }), awa.ErrDamaged},
			"differs from the batch": {append(all[2:3:3], awa.Change{ID: 3, Action: awa.Delete, Data: `{"id":1}`}),
				awa.ErrDamaged},
			"a node id out of order":    {bad(3, awa.Create, `{"id":9,"name":"x","host":"h","port":"1"}`), awa.ErrBadInput},
			"a name that is taken":      {bad(3, awa.Create, `{"id":3,"name":"N1","host":"h","port":"1"}`), awa.ErrNameTaken},
			"a node that is not there":  {bad(3, awa.Delete, `{"id":3}`), awa.ErrUnknownNode},
			"data that is not complete": {bad(3, awa.Update, `{"id":1}`), awa.ErrBadInput},
			"no action":                 {bad(3, "", `{"id":1}`), awa.ErrBadInput},
		} {
			t.Run(name, func(t *testing.T) {
				s := founded(t)
				ok(t, s.Apply(all[:2]))
				n := transactions(t, s, func() { refuses(t, s.Apply(c.changes), c.code) })
				equal(t, "transactions", n, 0)
				equal(t, "state", s.State(), 2)
				ok(t, s.Apply(all))
			})
		}
	})
}

// Three agents get the same edits: one in batches, one entry by entry with
// restarts and replays, one as decided changes. Their lists are the same.
func TestStore_equal_edits_make_equal_lists(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			batched, single, pushed := founded(t), founded(t), founded(t)
			var log []awa.Entry
			for len(log) < 150 {
				var batch []awa.Entry
				for range 1 + r.IntN(12) {
					e := awa.Entry{Index: uint64(len(log) + len(batch) + 1), Term: 1, Edit: randomEdit(r)}
					batch = append(batch, e)
				}
				log = append(log, batch...)
				_, err := batched.Decide(batch)
				ok(t, err)
				changes, err := batched.Changes(pushed.State(), 0)
				ok(t, err)
				ok(t, pushed.Apply(changes))
			}
			for i := 0; i < len(log); i++ {
				_, err := single.Decide(log[i : i+1])
				ok(t, err)
				if r.IntN(20) == 0 {
					single = reopen(t, single)
					i = max(-1, i-r.IntN(9)) // as after a crash
				}
			}
			want, err := batched.Changes(0, 0)
			ok(t, err)
			for _, s := range []*Store{single, pushed} {
				got, err := s.Changes(0, 0)
				ok(t, err)
				equal(t, "changes", got, want)
				equal(t, "nodes", inJSON(t, s.Nodes()), inJSON(t, batched.Nodes()))
			}
		})
	}
}

// randomEdit makes an edit that may well be refused.
func randomEdit(r *rand.Rand) awa.Edit {
	fields := map[string]any{"name": fmt.Sprintf("n%d", r.IntN(12)), "host": "h", "port": r.IntN(3) + 1}
	e := awa.Edit{Action: awa.Create}
	if r.IntN(3) > 0 {
		e.Action = awa.Update
		fields["id"] = r.IntN(20) + 1
	}
	if r.IntN(4) == 0 {
		e.Action = awa.Delete
		fields = map[string]any{"id": r.IntN(20) + 1}
	}
	for key, value := range map[string]any{"uid": fmt.Sprintf("%032x", r.IntN(5)),
		"labels": map[string]string{"a": "<&>\u2028"}, "x": r.IntN(9), "y": nil, "Port": true} {
		if r.IntN(3) == 0 && e.Action != awa.Delete {
			fields[key] = value
		}
	}
	if r.IntN(2) == 0 {
		e.Key = fmt.Sprint("key", r.IntN(60))
	}
	if r.IntN(5) == 0 {
		e.IfChanged = uint64(r.IntN(30))
	}
	e.Data, _ = json.Marshal(fields)
	return e
}
