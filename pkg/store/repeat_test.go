package store

import (
	"encoding/json"
	"testing"
	"time"

	"are-we-alive/pkg/awa"
)

// repetition is an edit with the key of another one.
type repetition struct {
	action    awa.Action
	data      string
	ifChanged uint64
	id        uint64
	same      bool
	// unseen: in a change without a fingerprint the difference can't be seen.
	unseen bool
}

// An edit under a used key is answered as the first one when it is the same
// edit, however it was written and whenever it came, and else refused: on the
// agent that decided it, after a restart, and on one that has the
// change from a program that keeps no fingerprints.
func TestStore_Decide_keyUsedAgain(t *testing.T) {
	const label = `"labels":{"rack":"7","row":"b"}`
	create := `{"name":"x","host":"h","port":1,` + label +
		`,"maintenance":"2026-11-23T18:00:00Z","reason":"disk","by":"me"}`
	update := `{"id":1,"name":"n1","host":"h","port":"7",` + label + `,"rack":null}`
	for name, test := range map[string]struct {
		action awa.Action
		data   string
		again  map[string]repetition
	}{
		"create": {action: awa.Create, data: create, again: map[string]repetition{
			"the same": {data: create, same: true},
			"by another, later": {data: `{"at":"2027-01-01T00:00:00Z","by":"you","name":"x","host":"h","port":1,` + label +
				`,"maintenance":"2026-11-23T18:00:00Z","reason":"disk"}`, same: true},
			"in another order": {data: `{"reason":"disk","maintenance":"2026-11-23T18:00:00Z","labels":{"row":"b", ` +
				`"rack":"7"},"port":1,"host":"h","name":"x"}`, same: true},
			"the port as a string": {data: `{"name":"x","host":"h","port":"1",` + label +
				`,"maintenance":"2026-11-23T18:00:00Z","reason":"disk"}`, same: true},
			"another name": {data: `{"name":"y","host":"h","port":1,` + label +
				`,"maintenance":"2026-11-23T18:00:00Z","reason":"disk"}`},
			"the name in capitals": {data: `{"name":"X","host":"h","port":1,` + label +
				`,"maintenance":"2026-11-23T18:00:00Z","reason":"disk"}`},
			"another port": {data: `{"name":"x","host":"h","port":2,` + label +
				`,"maintenance":"2026-11-23T18:00:00Z","reason":"disk"}`},
			"another label": {data: `{"name":"x","host":"h","port":1,"labels":{"rack":"8","row":"b"},` +
				`"maintenance":"2026-11-23T18:00:00Z","reason":"disk"}`},
			"another maintenance": {data: `{"name":"x","host":"h","port":1,` + label +
				`,"maintenance":"2026-11-23T19:00:00Z","reason":"disk"}`},
			"another reason": {data: `{"name":"x","host":"h","port":1,` + label +
				`,"maintenance":"2026-11-23T18:00:00Z","reason":"fan"}`},
			"one label less": {data: `{"name":"x","host":"h","port":1,"labels":{"rack":"7"},` +
				`"maintenance":"2026-11-23T18:00:00Z","reason":"disk"}`},
			"no label": {data: `{"name":"x","host":"h","port":1,"maintenance":"2026-11-23T18:00:00Z","reason":"disk"}`,
				unseen: true},
			"an update":         {action: awa.Update, data: `{"id":2,"name":"x","host":"h","port":1}`},
			"a removal":         {action: awa.Delete, data: `{"id":1}`},
			"a wish for its id": {data: create, id: 2, unseen: true},
		}},
		"update": {action: awa.Update, data: update, again: map[string]repetition{
			"the same":           {data: update, same: true},
			"the port as number": {data: `{"id":1,"name":"n1","host":"h","port":7,` + label + `,"rack":null}`, same: true},
			"with changed": {data: `{"id":1,"name":"n1","host":"h","port":7,` + label + `,"rack":null,"changed":1}`,
				same: true},
			"another node":      {data: `{"id":2,"name":"n1","host":"h","port":"7",` + label + `,"rack":null}`},
			"another host":      {data: `{"id":1,"name":"n1","host":"g","port":"7",` + label + `,"rack":null}`},
			"only one field":    {data: `{"id":1,"name":"n1","host":"h","port":"7"}`, unseen: true},
			"if it was changed": {data: update, ifChanged: 1, unseen: true},
			"a removal":         {action: awa.Delete, data: `{"id":1}`},
		}},
		"delete": {awa.Delete, `{"id":1}`, map[string]repetition{
			"the same":     {data: ` { "id" : 1 } `, same: true},
			"another node": {data: `{"id":2}`},
			"an update":    {action: awa.Update, data: `{"id":1,"name":"n1","host":"h","port":1}`},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s := founded(t)
			decide(t, s, createNode(1))
			first := stamped(t, awa.Edit{Action: test.action, Data: json.RawMessage(test.data), Key: "k"}, "10.0.0.1")
			out, err := s.Decide([]awa.Entry{{Index: s.Meta().Index + 1, Term: 3, Edit: first}})
			ok(t, err)
			ok(t, out[0].Err)
			all, err := s.Changes(0, 0)
			ok(t, err)
			check := func(s *Store, where string, blind bool) {
				t.Helper()
				for name, again := range test.again {
					e := awa.Edit{Action: test.action, Data: json.RawMessage(again.data), Key: "k", ID: again.id,
						IfChanged: again.ifChanged}
					if again.action != "" {
						e.Action = again.action
					}
					e = stamped(t, e, "10.0.0.2")
					got, err := s.Decide([]awa.Entry{{Index: s.Meta().Index + 1, Term: 3, Edit: e}})
					ok(t, err)
					if again.same || blind && again.unseen {
						ok(t, got[0].Err)
						equal(t, where+": "+name, got[0].Change.ID, out[0].Change.ID)
						continue
					}
					if s.State() != out[0].Change.ID {
						t.Fatalf("%s: %s: it was made", where, name)
					}
					refuses(t, got[0].Err, awa.ErrKeyReused, "Idempotency-Key k", "change 2")
				}
			}
			check(s, "where it was decided", false)
			s = reopen(t, s)
			check(s, "after a restart", false)
			told := founded(t)
			for i := range all {
				all[i].Asked = "" // as /sync hands it on
			}
			ok(t, told.Prove(all, 2, 3))
			check(told, "where it came with a snapshot", true)
			check(reopen(t, told), "the same, after a restart", true)
		})
	}
}

// stamped returns an edit that says who made it, as the HTTP interface submits it.
func stamped(t *testing.T, e awa.Edit, by string) awa.Edit {
	t.Helper()
	p, err := e.Parse()
	ok(t, err)
	p, err = p.Stamped(by, time.Unix(1, 0))
	ok(t, err)
	return p.Edit()
}
