package consensus

import (
	"fmt"
	"strings"
	"testing"

	"github.com/hashicorp/raft"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/awatest/testlist"
)

// A voter decides an entry of its own log early when it is told so, whatever
// else it is told.
func TestDecideEarly_OwnLogAlone(t *testing.T) {
	st := testlist.Open(t)
	c := newTestConsensus(t, st, t.TempDir())
	if err := Bootstrap(st, c.cfg.Dir); err != nil {
		t.Fatal(err)
	}
	var entries [][]byte
	for i := range earlyEntries + 1 {
		b, err := encodeCommand(awa.Edit{Action: awa.Create, Data: fmt.Appendf(nil, `{"name":"n%d","host":"h","port":1}`,
			i), Key: fmt.Sprint("k", i)})
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, encodeLog(&raft.Log{Index: uint64(i + 1), Term: 3, Type: raft.LogCommand, Data: b}))
	}
	if err := st.AppendLog(1, entries); err != nil {
		t.Fatal(err)
	}
	change := func(i int) awa.Change {
		return awa.Change{ID: uint64(i + 1), Action: awa.Create,
			Data: fmt.Sprintf(`{"id":%d,"name":"n%d","host":"h","port":"1"}`, i+1, i), Index: uint64(i +
				1), Term: 3, Key: fmt.Sprint("k", i)}
	}
	for name, test := range map[string]struct {
		i      int
		change func(*awa.Change)
	}{
		"too far ahead":   {earlyEntries, func(*awa.Change) {}},
		"not in the log":  {3, func(c *awa.Change) { c.Index = earlyEntries + 9 }},
		"far ahead":       {3, func(c *awa.Change) { c.Index = 1 << 62 }},
		"another term":    {3, func(c *awa.Change) { c.Term = 4 }},
		"other data":      {3, func(c *awa.Change) { c.Data = strings.Replace(c.Data, "n3", "n9", 1) }},
		"a change before": {3, func(c *awa.Change) { c.ID-- }},
		"index 0":         {3, func(c *awa.Change) { c.Index = 0 }},
	} {
		want := change(test.i)
		test.change(&want)
		if done, err := c.DecideEarly(want); done || err != nil || st.State() != 0 {
			t.Errorf("%s: %v, %v, state %d", name, done, err, st.State())
		}
	}
	for _, i := range []int{3, earlyEntries - 1, earlyEntries} {
		if done, err := c.DecideEarly(change(i)); !done || err != nil || st.State() != uint64(i+1) {
			t.Errorf("change %d: %v, %v, state %d", i+1, done, err, st.State())
		}
	}
}
