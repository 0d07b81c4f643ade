package awa

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestEdit_Check(t *testing.T) {
	good := map[Action][]string{
		Create: {
			`{"name":"n1","host":"h","port":1}`,
			`{"name":"n1","host":"h","port":"1","uid":"0123456789abcdef0123456789abcdef","labels":{"a":"b"},` +
				`"maintenance":"2026-11-23T18:00:00+01:00","by":"me","at":"now","x":{"y":[1]}}`,
			` {"name":"n1","host":"::1","port":1,"uid":null,"labels":null,"maintenance":null,"changed":"ours"} `,
		},
		Update: {`{"id":1,"name":"n1","host":"h","port":1}`},
		Delete: {`{"id":1}`, `{"id":18446744073709551615,"by":"me"}`},
	}
	for action, all := range good {
		for _, data := range all {
			if err := (Edit{Action: action, Data: []byte(data), Key: "k"}).Check(); err != nil {
				t.Errorf("%s %s: %v", action, data, err)
			}
		}
	}
	bad := map[string]struct {
		action Action
		data   string
		words  string
	}{
		"no data":                {Create, ``, "not a JSON object"},
		"null":                   {Create, `null`, "not a JSON object"},
		"a list":                 {Create, `[]`, "not a JSON object"},
		"cut off":                {Create, `{"name":"n1"`, "not a JSON object"},
		"two objects":            {Create, `{}{}`, "not a JSON object"},
		"no UTF-8":               {Delete, "{\"id\":1,\"x\":\"\xff\"}", "not UTF-8"},
		"too long":               {Delete, `{"id":1,"x":"` + strings.Repeat("x", MaxData) + `"}`, "16384 are allowed"},
		"no action":              {"", `{"id":1}`, `"" is not an action`},
		"an unknown action":      {"delete", `{"id":1}`, `"delete" is not an action`},
		"no name":                {Create, `{"host":"h","port":1}`, "CREATE must hold name"},
		"a null name":            {Create, `{"name":null,"host":"h","port":1}`, "not a name for a node"},
		"no host":                {Create, `{"name":"n1","port":1}`, "CREATE must hold host"},
		"no port":                {Create, `{"name":"n1","host":"h"}`, "CREATE must hold port"},
		"no id":                  {Update, `{"name":"n1","host":"h","port":1}`, "UPDATE must hold id"},
		"an id and no name":      {Update, `{"id":1,"host":"h","port":1}`, "UPDATE must hold name"},
		"nothing to delete":      {Delete, `{}`, "DELETE must hold id"},
		"id 0":                   {Delete, `{"id":0}`, "id must be the number"},
		"a null id":              {Delete, `{"id":null}`, "id must be the number"},
		"a negative id":          {Delete, `{"id":-1}`, "id must be the number"},
		"an id in quotes":        {Delete, `{"id":"1"}`, "id must be the number"},
		"an id in capitals":      {Delete, `{"ID":1}`, "DELETE must hold id"},
		"a huge id":              {Delete, `{"id":18446744073709551616}`, "id must be the number"},
		"a name of another type": {Create, `{"name":1,"host":"h","port":1}`, "name must be a string"},
		"a bad host":             {Create, `{"name":"n1","host":"h h","port":1}`, "is not a host"},
		"a port out of range":    {Create, `{"name":"n1","host":"h","port":65536}`, "is not a port"},
		"a bad uid":              {Create, `{"name":"n1","host":"h","port":1,"uid":"x"}`, "is not a uid"},
		"labels of another type": {action: Create, data: `{"name":"n1","host":"h","port":1,"labels":{"a":1}}`,
			words: "labels must be an object of strings"},
		"a bad label":          {Create, `{"name":"n1","host":"h","port":1,"labels":{"a b":""}}`, "not a name for a label"},
		"a label of bad bytes": {Create, `{"name":"n1","host":"h","port":1,"labels":{"a":"\ud800"}}`, "not UTF-8"},
		"maintenance for ever": {Create, `{"name":"n1","host":"h","port":1,"maintenance":"ever"}`,
			"the time at which it ends"},
		"by of another type": {Delete, `{"id":1,"by":1}`, "by must be a string"},
		"control characters": {Delete, `{"id":1,"at":"\u0000"}`, "no control characters"},
	}
	for name, c := range bad {
		t.Run(name, func(t *testing.T) {
			err := Edit{Action: c.action, Data: []byte(c.data)}.Check()
			if !errors.Is(err, ErrBadInput) || !strings.Contains(err.Error(), c.words) {
				t.Errorf("got %v", err)
			}
		})
	}
	for _, key := range []string{" ", "a b", "a\n", "ä", "\x00", strings.Repeat("x", MaxKey+1)} {
		if err := (Edit{Action: Delete, Data: []byte(`{"id":1}`), Key: key}).Check(); !errors.Is(err, ErrBadInput) {
			t.Errorf("the key %q: %v", key, err)
		}
	}
}

func TestParsedEdit_Stamped(t *testing.T) {
	at := time.Date(2026, 11, 23, 18, 0, 0, 0, time.FixedZone("", 3600))
	for data, want := range map[string]string{
		`{"id":1}`:                     `{"by":"me","at":"2026-11-23T17:00:00Z","id":1}`,
		`{"id":1,"by":"you"}`:          `{"by":"you","at":"2026-11-23T17:00:00Z","id":1}`,
		`{"id":1,"by":"you","at":"x"}`: `{"by":"you","at":"x","id":1}`,
	} {
		p, err := Edit{Action: Delete, Data: []byte(data)}.Parse()
		if err == nil {
			p, err = p.Stamped("me", at)
		}
		if err != nil || string(p.Edit().Data) != want {
			t.Errorf("%s: got %s, %v", data, p.Edit().Data, err)
		}
	}
}

func TestChange_Node(t *testing.T) {
	c := Change{ID: 9, Action: Update, Data: `{"id":3,"name":"n1","host":"h","port":"1","labels":{"a":"b"},"rack":7,` +
		`"by":"me","at":"now","changed":4}`}
	n, by, at, err := c.Node()
	want := Node{ID: 3, Name: "n1", Host: "h", Port: 1, Labels: map[string]string{"a": "b"}, Changed: 9,
		Extra: map[string]json.RawMessage{"rack": json.RawMessage("7")}}
	if err != nil || by != "me" || at != "now" || !reflect.DeepEqual(n, want) {
		t.Errorf("got %+v, %q, %q, %v", n, by, at, err)
	}
	n, _, _, err = Change{ID: 9, Action: Delete, Data: `{"id":3}`}.Node()
	if err != nil || !reflect.DeepEqual(n, Node{ID: 3, Changed: 9}) {
		t.Errorf("got %+v, %v", n, err)
	}
	for _, c := range []Change{
		{ID: 9, Action: Create, Data: `{"name":"n1","host":"h","port":"1"}`},
		{ID: 9, Action: Update, Data: `{"id":3,"name":"n1","host":"h"}`},
		{ID: 9, Action: "MOVE", Data: `{"id":3}`},
		{ID: 9, Action: Delete},
	} {
		if _, _, _, err := c.Node(); !errors.Is(err, ErrBadInput) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// What Check takes can be decided or is refused with a Fault, and what was
// decided says the same wherever it is applied.
func FuzzEdit_Check(f *testing.F) {
	for _, data := range []string{
		`{"id":1}`, `{"name":"n1","host":"h","port":1}`,
		`{"id":1,"name":"n2","host":"::1","port":"7","labels":{"a":"b"},"x":{"y":null}}`,
		`{"id":1,"name":"n1","host":"h","port":1,"uid":null,"labels":null,"maintenance":""}`, `{"id":1,"id":2}`, `[]`, `{`,
		`{"x":"<\u2028>"}`, `{"id":1,"ID":2,"Name":"x","by":"\u0000"}`,
	} {
		for _, action := range []Action{Create, Update, Delete, "MOVE"} {
			f.Add(string(action), data, "k")
		}
	}
	f.Fuzz(func(t *testing.T, action, data, key string) {
		e := Edit{Action: Action(action), Data: []byte(data), Key: key}
		checked := e.Check()
		var fault *Fault
		if checked != nil && (!errors.As(checked, &fault) || fault.Code != ErrBadInput) {
			t.Fatalf("Check gives %v", checked)
		}
		one, other := NewList(), NewList()
		first := Edit{Action: Create, Data: []byte(`{"name":"n1","host":"h","port":1,"labels":{"a":"b"},"x":1}`)}
		a, b := one.Draft(), other.Draft()
		c, _, err := a.Decide(first, 1, 1)
		if err != nil || b.Apply(c) != nil {
			t.Fatal(err)
		}
		c, n, err := a.Decide(e, 2, 1)
		if err != nil {
			if checked == nil && !errors.As(err, &fault) || a.State() != 1 {
				t.Fatalf("Decide gives %v at state %d", err, a.State())
			}
			return
		}
		if checked != nil {
			t.Fatalf("Check refuses with %v what is decided", checked)
		}
		if err := b.Apply(c); err != nil {
			t.Fatalf("%+v can't be applied: %v", c, err)
		}
		a.Commit()
		b.Commit()
		if got, want := fmt.Sprintf("%+v", other.Nodes()), fmt.Sprintf("%+v", one.Nodes()); got != want {
			t.Fatalf("the lists differ:\n%s\n%s", got, want)
		}
		if again, _, _, err := c.Node(); err != nil || action != string(Delete) && inJSON(t, again) != inJSON(t, n) {
			t.Fatalf("the change says %+v, %v; Decide %+v", again, err, n)
		}
	})
}

func FuzzChange_Node(f *testing.F) {
	f.Add("UPDATE", `{"id":3,"name":"n1","host":"h","port":"1","x":1}`)
	f.Add("DELETE", `{"id":3}`)
	f.Add("CREATE", `{"id":0}`)
	f.Add("", "")
	f.Fuzz(func(t *testing.T, action, data string) {
		n, _, _, err := Change{ID: 5, Action: Action(action), Data: data}.Node()
		if err != nil {
			if !errors.Is(err, ErrBadInput) {
				t.Errorf("got %v", err)
			}
			return
		}
		if n.ID == 0 || n.Changed != 5 || Action(action) != Delete &&
			(CheckName(n.Name) != nil || CheckHost(n.Host) != nil || n.Port == 0) {
			t.Errorf("%s gives %+v", data, n)
		}
	})
}

func inJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
