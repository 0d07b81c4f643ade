package wire

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"testing"
	"time"

	goccy "github.com/goccy/go-json"

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

// FuzzAnswers reads the answers of GET /v1/status, GET /v1/view and POST
// /v1/probe as our client does, and writes what was understood again: it must
// mean the same to the next reader.
func FuzzAnswers(f *testing.F) {
	at := time.Date(2026, 11, 23, 18, 0, 0, 1, time.UTC)
	status, err := Encode(NewStatusBody(awa.ClusterStatus{
		Cluster: "c", History: awa.History{Epoch: 1,
			ID: "ab"}, Agent: "n1", State: 3, Leader: "n1", Voters: []string{"n1"}, SweptAt: at, Took: 1001 * time.Microsecond,
		Nodes: []awa.NodeStatus{
			{Node: awa.Node{ID: 1, Name: "n1", Host: "::1", Port: 1, Labels: map[string]string{"a": "b"}}, Verdict: awa.Online,
				RTT: 1001 * time.Microsecond, Since: at,
				Self: &awa.Self{Name: "n1", Voters: &awa.VoterSet{UIDs: []string{"u"}}}, Behind: 2, Skew: -time.Second,
				SkewError: time.Millisecond},
			{Node: awa.Node{ID: 2, Name: "n2"}, Verdict: awa.Unreachable, Stage: awa.StageConnect, Error: "refused", Asked: 2,
				SeenBy: []string{"n3"}},
		},
	}))
	if err != nil {
		f.Fatal(err)
	}
	probe, err := Encode(NewProbeAnswer([]awa.Opinion{{ID: 1, Verdict: awa.Online, RTT: 4099 * time.Microsecond},
		{ID: 2, Verdict: awa.Offline, Stage: awa.StageReply, Error: "x"}}))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(status)
	f.Add(probe)
	f.Add([]byte(`{"nodes":[{"id":1,"rtt_ms":1e300,"skew_ms":-1e300,"since":"9999-12-31T23:59:59+23:59","port":"1",` +
		`"status":null}],"took_ms":1e-300,"voters":null}`))
	f.Add([]byte(`{"nodes":[null],"swept_at":null,"history":""}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		stays(t, raw, func(b StatusBody) StatusBody {
			// No agent writes a node without a port, and no reader takes port 0.
			b.Nodes = slices.DeleteFunc(b.Nodes, func(n NodeStatus) bool { return n.Port == 0 })
			return NewStatusBody(b.Status())
		})
		stays(t, raw, func(a ProbeAnswer) ProbeAnswer { return NewProbeAnswer(a.Opinions()) })
	})
}

// stays reads a body, has it understood, and writes and reads that twice more.
func stays[T any](t *testing.T, raw []byte, understand func(T) T) {
	t.Helper()
	var first, second T
	if goccy.Unmarshal(raw, &first) != nil {
		return
	}
	once, err := Encode(understand(first))
	if err != nil {
		t.Fatalf("%q was read as %+v, which can't be written: %v", raw, first, err)
	}
	if err := goccy.Unmarshal(once, &second); err != nil {
		t.Fatalf("%q became %s: %v", raw, once, err)
	}
	if twice, err := Encode(understand(second)); err != nil || !bytes.Equal(once, twice) {
		t.Errorf("%q became %s, and that %s (%v)", raw, once, twice, err)
	}
}
