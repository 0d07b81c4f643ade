package store

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"are-we-alive/pkg/awa"
)

const farIndex = 1 << 62

// A list that was learned from others, in whatever way it was forged, returns
// way to what Raft decides: edits are made, and the list is what it would be
// without the forgery. So it is when the agent is restarted anywhere on the
// way.
func TestStore_Decide_overLearnedChanges(t *testing.T) {
	from := founded(t)
	log := edits(from, createNode(1), createNode(2), `UPDATE u {"id":1,"name":"a","host":"h","port":1}`,
		`CREATE t {"name":"n2","host":"h","port":1}`, `DELETE d {"id":2}`, createNode(3))
	_, err := from.Decide(log) // the fourth is refused
	ok(t, err)
	right, err := from.Changes(0, 0)
	ok(t, err)
	forge := func(from int, f func(i int, c *awa.Change)) []awa.Change {
		all := append([]awa.Change(nil), right...)
		for i := from; i < len(all); i++ {
			f(i, &all[i])
		}
		return all
	}
	for name, test := range map[string]struct {
		learned []awa.Change
		dropped uint64
	}{
		"nothing":           {nil, 0},
		"some":              {right[:3], 0},
		"all":               {right, 0},
		"a future index":    {forge(1, func(_ int, c *awa.Change) { c.Index, c.Term = farIndex, 1<<60 }), 0},
		"no index":          {forge(0, func(_ int, c *awa.Change) { c.Index, c.Term = 0, 0 }), 0},
		"the highest index": {forge(4, func(_ int, c *awa.Change) { c.Index, c.Term = 1<<64-1, 1<<64-1 }), 0},
		"falling indexes":   {forge(0, func(i int, c *awa.Change) { c.Index = uint64(9 - i) }), 0},
		"other data at last": {forge(4, func(_ int,
			c *awa.Change) {
			c.Data = `{"id":3,"name":"other","host":"h","port":"1"}`
		}), 1},
		"other data in middle": {forge(2, func(i int, c *awa.Change) {
			c.Action, c.Data = awa.Update, fmt.Sprintf(`{"id":2,"name":"o%d","host":"h","port":"1"}`, i)
		}), 3},
		"another key": {forge(0, func(i int, c *awa.Change) { c.Key = fmt.Sprint("other", i) }), 5},
		"changes of its own": {append(right[:5:5], awa.Change{ID: 6, Action: awa.Delete, Data: `{"id":1}`, Index: 7,
			Term: 3, Key: "x"},
			awa.Change{ID: 7, Action: awa.Delete, Data: `{"id":3}`, Index: farIndex}), 2},
	} {
		for step := range len(log) {
			t.Run(fmt.Sprintf("%s, restarted every %d", name, step), func(t *testing.T) {
				s := founded(t)
				ok(t, s.Apply(test.learned))
				dropped, restarts := uint64(0), 2
				for i := 0; i < len(log); i++ {
					out, err := s.Decide(log[i : i+1])
					ok(t, err)
					if i != 3 {
						ok(t, out[0].Err)
						equal(t, "place", [2]uint64{out[0].Change.Index, out[0].Change.Term}, [2]uint64{log[i].Index, 3})
					}
					if step > 0 && i >= step && restarts > 0 {
						restarts--
						dropped += s.Dropped()
						s = reopen(t, s)
						i = min(i, int(s.Meta().Index)-1) // as Raft replays its log
					}
				}
				extra := uint64(0) // what came after is dropped by a leader, or by the next edit
				if s.Meta().State < s.State() {
					extra = s.State() - s.Meta().State
					ok(t, s.DropLearned())
				}
				got, err := s.Changes(0, 0)
				ok(t, err)
				equal(t, "changes", got, right)
				equal(t, "nodes", inJSON(t, s.Nodes()), inJSON(t, from.Nodes()))
				equal(t, "applied", [3]uint64{s.Meta().Index, s.Meta().Term, s.Meta().State}, [3]uint64{6, 3, 5})
				if dropped += s.Dropped(); dropped != test.dropped || extra > test.dropped {
					t.Errorf("%d changes were dropped, not %d", dropped, test.dropped)
				}
				s = reopen(t, s)
				next := decide(t, s, createNode(4))[0]
				equal(t, "the next change and node", [2]uint64{next.Change.ID, next.Node.ID}, [2]uint64{6, 4})
			})
		}
	}
}

// A snapshot counts like what was decided.
func TestStore_Prove(t *testing.T) {
	from := founded(t)
	decide(t, from, createNode(1), createNode(2), `DELETE d {"id":2}`)
	all, err := from.Changes(0, 0)
	ok(t, err)
	s := founded(t)
	ok(t, s.Apply(append(all[:1:1], awa.Change{ID: 2, Action: awa.Delete, Data: `{"id":1}`, Index: farIndex})))
	ok(t, s.Prove(all[:2], 0, 0))
	equal(t, "applied", [3]uint64{s.Meta().Index, s.Meta().Term, s.Meta().State}, [3]uint64{0, 0, 2})
	ok(t, s.Prove(all[2:], 40, 3))
	equal(t, "dropped", s.Dropped(), 1)
	s = reopen(t, s)
	equal(t, "applied", [3]uint64{s.Meta().Index, s.Meta().Term, s.Meta().State}, [3]uint64{40, 3, 3})
	got, err := s.Changes(0, 0)
	ok(t, err)
	equal(t, "changes", got, all)
	ok(t, s.Prove(nil, 39, 9))
	equal(t, "applied", s.Meta().Index, 40)
	refuses(t, s.Prove([]awa.Change{{ID: 5, Action: awa.Delete, Data: `{"id":1}`}}, 50, 3), awa.ErrGap)
	equal(t, "state", s.State(), 3)
}

func TestStore_DecideEarly(t *testing.T) {
	from := founded(t)
	log := edits(from, createNode(1), `CREATE t {"name":"n1","host":"h","port":1}`, createNode(2), `DELETE d {"id":2}`)
	out, err := from.Decide(log)
	ok(t, err)
	want := out[2].Change
	for name, c := range map[string]struct {
		entries []awa.Entry
		want    func(c *awa.Change)
	}{
		"another index":   {log[:3], func(c *awa.Change) { c.Index = farIndex }},
		"another term":    {log[:3], func(c *awa.Change) { c.Term = 4 }},
		"other data":      {log[:3], func(c *awa.Change) { c.Data = `{"id":2,"name":"x","host":"h","port":"1"}` }},
		"another key":     {log[:3], func(c *awa.Change) { c.Key = "x" }},
		"another id":      {log[:3], func(c *awa.Change) { c.ID++ }},
		"an entry before": {log[:2], func(*awa.Change) {}},
		"an entry after":  {log[:4], func(*awa.Change) {}},
		"one is missing":  {log[2:3], func(*awa.Change) {}},
		"no entry":        {nil, func(*awa.Change) {}},
	} {
		s := founded(t)
		forged := want
		c.want(&forged)
		if done, err := s.DecideEarly(c.entries, forged); done || err != nil || s.State() != 0 || s.Meta().Index != 0 {
			t.Errorf("%s: %v, %v, state %d, applied %d", name, done, err, s.State(), s.Meta().Index)
		}
	}

	s := founded(t)
	done, err := s.DecideEarly(log[:3], want)
	if !done || err != nil {
		t.Fatalf("%v, %v", done, err)
	}
	equal(t, "applied", [2]uint64{s.Meta().Index, s.Meta().State}, [2]uint64{3, 2})
	again, err := s.Decide(log) // Raft applies it, and one more
	ok(t, err)
	equal(t, "outcome", inJSON(t, again[3]), inJSON(t, out[3]))
	got, err := s.Changes(0, 0)
	ok(t, err)
	right, err := from.Changes(0, 0)
	ok(t, err)
	equal(t, "changes", got, right)
}

// Raft has other entries in the end than those that were decided early: the
// list goes back.
func TestStore_DecideEarly_wasWrong(t *testing.T) {
	for name, change := range map[string]func(log []awa.Entry) []awa.Entry{
		"the last is another": func(log []awa.Entry) []awa.Entry {
			log[2].Term, log[2].Edit = 4, edits(founded(t), createNode(9))[0].Edit
			return log
		},
		"all are others": func(log []awa.Entry) []awa.Entry {
			for i := range log {
				log[i].Term, log[i].Edit = 5, edits(founded(t), createNode(i+5))[0].Edit
			}
			return log
		},
		"one is none": func(log []awa.Entry) []awa.Entry {
			return append(log[:1], awa.Entry{Index: 3, Term: 4, Edit: log[2].Edit})
		},
	} {
		for _, whole := range []bool{true, false} {
			t.Run(fmt.Sprint(name, ", in one batch ", whole), func(t *testing.T) {
				s, from := founded(t), founded(t)
				log := edits(s, createNode(1), createNode(2), createNode(3))
				out, err := from.Decide(log)
				ok(t, err)
				if done, err := s.DecideEarly(log, out[2].Change); !done || err != nil {
					t.Fatal(done, err)
				}
				log = change(append([]awa.Entry(nil), log...))
				want := founded(t)
				_, err = want.Decide(log)
				ok(t, err)
				for i := 0; i < len(log); i++ {
					batch := log
					if !whole {
						batch = log[i : i+1]
					}
					_, err = s.Decide(batch)
					ok(t, err)
				}
				got, err := s.Changes(0, 0)
				ok(t, err)
				right, err := want.Changes(0, 0)
				ok(t, err)
				equal(t, "changes", got, right)
				equal(t, "nodes", inJSON(t, reopen(t, s).Nodes()), inJSON(t, want.Nodes()))
			})
		}
	}
}

// A file of the program before, in which a push had moved the applied index.
func TestStore_Bound(t *testing.T) {
	for name, test := range map[string]struct {
		forged      uint64 // index of the last change, and the applied one
		floor, last uint64
		bounded     bool
		want        uint64
	}{
		"far ahead":                {farIndex, 1, 12, true, 2},
		"far ahead, by a snapshot": {farIndex, 9, 12, true, 9},
		"one ahead":                {13, 1, 12, true, 2},
		"at the end":               {12, 1, 12, false, 12},
	} {
		t.Run(name, func(t *testing.T) {
			s := founded(t)
			decide(t, s, createNode(1), createNode(2))
			ok(t, s.Apply([]awa.Change{{ID: 3, Action: awa.Delete, Data: `{"id":2}`, Index: test.forged, Term: 3}}))
			s = rewrite(t, s, keyProven, "")
			equal(t, "as the program before had it", [2]uint64{s.Meta().Index, s.Meta().State}, [2]uint64{test.forged, 3})
			bounded, err := s.Bound(test.floor, test.last)
			ok(t, err)
			equal(t, "bounded", bounded, test.bounded)
			s = reopen(t, s)
			equal(t, "applied", [2]uint64{s.Meta().Index, s.Meta().State}, [2]uint64{test.want, 3})
			out, err := s.Decide([]awa.Entry{{Index: 12 + 1, Term: 4, Edit: edits(s, createNode(4))[0].Edit}})
			ok(t, err)
			equal(t, "the next change", out[0].Change.ID, 4)
		})
	}
}

// The program before moves the applied index and knows nothing of what was
// proven: what it leaves counts as it did for it.
func TestStore_programBefore(t *testing.T) {
	s := founded(t)
	decide(t, s, createNode(1))
	s = rewrite(t, s, keyIndex, "7")
	equal(t, "applied", [2]uint64{s.Meta().Index, s.Meta().State}, [2]uint64{7, 1})
	ok(t, s.Unprove())
	s = reopen(t, s)
	equal(t, "applied", [3]uint64{s.Meta().Index, s.Meta().Term, s.Meta().State}, [3]uint64{})
}

// Whatever was learned, decided early, proven or replayed, in any order: in
// the end the list is the one that the log makes.
func TestStore_anyWay(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 7))
			from, s := founded(t), founded(t)
			var log []awa.Entry
			for i := range 120 {
				log = append(log, awa.Entry{Index: uint64(i + 1), Term: uint64(1 + i/50), Edit: randomEdit(r)})
			}
			outs, err := from.Decide(log)
			ok(t, err)
			right, err := from.Changes(0, 0)
			ok(t, err)
			restarts := 8
			for at := 0; at < len(log); {
				switch r.IntN(6) {
				case 0: // learned, and maybe forged
					ids := right[min(s.State(), uint64(len(right))):]
					ids = append([]awa.Change(nil), ids[:min(len(ids), r.IntN(5))]...)
					for i := range ids {
						if r.IntN(3) == 0 {
							ids[i].Index, ids[i].Term = r.Uint64(), r.Uint64()
						}
						if r.IntN(9) == 0 {
							ids[i].Key = "forged"
						}
					}
					s.Apply(ids) // may not fit
				case 1: // early
					if m := s.Meta(); m.Index >= uint64(at) && m.Index < uint64(len(log)) {
						end := min(len(log), int(m.Index)+1+r.IntN(4))
						_, err := s.DecideEarly(log[m.Index:end], outs[end-1].Change)
						ok(t, err)
					}
				case 2: // a restart, and Raft's replay
					if restarts--; restarts < 0 {
						continue
					}
					s = reopen(t, s)
					at = max(0, min(at, int(s.Meta().Index))-r.IntN(9))
				default:
					n := min(len(log)-at, 1+r.IntN(8))
					_, err := s.Decide(log[at : at+n])
					ok(t, err)
					at += n
				}
			}
			ok(t, s.DropLearned())
			got, err := s.Changes(0, 0)
			ok(t, err)
			equal(t, "changes", got, right)
			equal(t, "nodes", inJSON(t, reopen(t, s).Nodes()), inJSON(t, from.Nodes()))
		})
	}
}
