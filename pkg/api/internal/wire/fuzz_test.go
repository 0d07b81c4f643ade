package wire

import (
	"encoding/json"
	"reflect"
	"testing"

	"are-we-alive/pkg/awa"
)

// FuzzChange reads a change as a sync brings it, and writes it again.
func FuzzChange(f *testing.F) {
	f.Add([]byte(`[13,"CREATE","{\"id\":1}"]`))
	f.Add([]byte(`[13,"CREATE","{\"id\":1}",7,2,"key"]`))
	f.Add([]byte(`[13,"CREATE","{\"id\":1}",7,2,"key",{"more":[1]}]`))
	f.Add([]byte(`[18446744073709551615,"DELETE","\u0000\ud800<&>"]`))
	f.Add([]byte(`[1,"CREATE"]`))
	f.Add([]byte(`["1",2,3]`))
	f.Add([]byte(`[null,null,null,null,null,null]`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var c, again Change
		if err := json.Unmarshal(raw, &c); err != nil {
			if !reflect.DeepEqual(c, Change{}) && !json.Valid(raw) {
				t.Errorf("%q is refused (%v), and read as %+v", raw, err, c)
			}
			return
		}
		b, err := Encode([]Change{c})
		if err != nil {
			t.Fatal(err)
		}
		all := []Change{}
		if err := json.Unmarshal(b, &all); err != nil || len(all) != 1 {
			t.Fatalf("%s: %v", b, err)
		}
		if again = all[0]; again != c {
			t.Errorf("%+v became %+v", awa.Change(c), awa.Change(again))
		}
	})
}
