package awa

import (
	"encoding/json"
	"testing"
)

// The values were made by another program, out of the description of Next.
func TestDigest(t *testing.T) {
	d := FirstDigest("c1")
	for i, want := range []string{"b17675556f82af0d721eb9687acb6c9b", "b8b3cf3a98cdd4d1aa4dda387fde9f97",
		"22ef384b922566531c8eb7d955be733b"} {
		if d.String() != want {
			t.Errorf("the digest of state %d is %s, want %s", i, d, want)
		}
		c := Change{ID: 1, Action: Create, Data: `{"id":1,"name":"n1"}`, Key: "k1", Index: 7, Term: 2}
		if i == 1 {
			c = Change{ID: 2, Action: Delete, Data: `{"id":1}`}
		}
		d = d.Next(c)
	}
}

// Each part of a change counts, and so does where one ends and the next begins.
func TestDigest_Next(t *testing.T) {
	seen := map[Digest]Change{}
	for _, c := range []Change{
		{ID: 1, Action: Create, Data: "ab", Key: "c"}, {ID: 2, Action: Create, Data: "ab", Key: "c"}, {ID: 1,
			Action: Update, Data: "ab", Key: "c"},
		{ID: 1, Action: Create, Data: "a", Key: "bc"}, {ID: 1, Action: Create, Data: "abc"}, {ID: 1, Action: Create,
			Key: "abc"}, {ID: 1, Action: "CREATEa", Data: "b", Key: "c"},
	} {
		d := FirstDigest("c1").Next(c)
		if other, ok := seen[d]; ok {
			t.Errorf("%+v and %+v have the same digest", c, other)
		}
		seen[d] = c
	}
	if place := (Change{ID: 1, Action: Create, Data: "ab", Key: "c", Index: 9, Term: 9,
		Asked: "x"}); seen[FirstDigest("c1").Next(place)].ID != 1 {
		t.Error("the place in the voters' log counts")
	}
	if FirstDigest("c1") == FirstDigest("c2") {
		t.Error("the cluster does not count")
	}
}

func TestParseDigest(t *testing.T) {
	d := FirstDigest("c1")
	b, err := json.Marshal(struct{ D, Zero Digest }{D: d})
	if want := `{"D":"` + d.String() + `","Zero":""}`; err != nil || string(b) != want {
		t.Errorf("it is written as %s, %v; want %s", b, err, want)
	}
	var back struct{ D, Zero Digest }
	if err := json.Unmarshal(b, &back); err != nil || back.D != d || back.Zero != (Digest{}) {
		t.Errorf("it is read as %+v, %v", back, err)
	}
	for _, text := range []string{"b1", d.String()[1:], d.String() + "0", d.String() + "00", "g" + d.String()[1:], " "} {
		if d, err := ParseDigest(text); err == nil || d != (Digest{}) {
			t.Errorf("%q is read as %s", text, d)
		}
	}
}

// BenchmarkDigest_Next is what a digest costs for each change; the yardstick is
// BenchmarkStore_Decide of pkg/store, the change on disk.
func BenchmarkDigest_Next(b *testing.B) {
	c := Change{
		ID: 4711, Action: Create, Key: NewUID(),
		Data: `{"id":4711,"name":"web1","host":"10.0.0.1","port":"25483","by":"root@web1","at":"2026-11-23T18:00:00Z"}`,
	}
	b.ReportAllocs()
	d := FirstDigest("c")
	for b.Loop() {
		d = d.Next(c)
	}
}
