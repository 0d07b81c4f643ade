package store

import (
	"fmt"
	"strings"
	"testing"

	"are-we-alive/pkg/awa"
)

// TestStore_Page returns all changes over some calls, each bounded in bytes and
// in number.
func TestStore_Page(t *testing.T) {
	s := founded(t)
	var all []awa.Change
	large := strings.Repeat("x", awa.MaxData-200)
	for id := uint64(1); id <= 300; id++ {
		label := ""
		if id > 290 {
			label = large
		}
		all = append(all, awa.Change{ID: id, Action: awa.Create,
			Data: fmt.Sprintf(`{"id":%d,"name":"n%d","host":"h","port":"1","x":%q}`, id, id, label)})
	}
	ok(t, s.Apply(all))
	for _, limit := range []int{1, 7, 1000} {
		at := uint64(0)
		for {
			page, err := s.Page(at, limit)
			ok(t, err)
			if len(page) == 0 {
				break
			}
			bytes := 0
			for i, c := range page {
				if i < len(page)-1 {
					bytes += len(c.Data)
				}
				equal(t, "change", c, all[at])
				at++
			}
			if bytes >= PageBytes || len(page) > limit {
				t.Fatalf("after change %d, limit %d: %d changes, %d bytes without the last", at, limit, len(page), bytes)
			}
			if at < 290 && len(page) < limit && bytes < PageBytes/2 {
				t.Errorf("after change %d, limit %d: a page of %d changes is too small", at, limit, len(page))
			}
		}
		equal(t, "number of changes", at, 300)
	}
	page, err := s.Page(1<<64-1, 5)
	ok(t, err)
	equal(t, "a page after the last id", len(page), 0)
}

func TestStore_NodeSet(t *testing.T) {
	s := founded(t)
	ok(t, s.Apply([]awa.Change{{ID: 1, Action: awa.Create, Data: `{"id":1,"name":"n1","host":"h","port":"1"}`}}))
	set := s.NodeSet()
	equal(t, "set", set, awa.NodeSet{Cluster: "c1", History: testHistory, State: 1, Nodes: s.Nodes()})
}
