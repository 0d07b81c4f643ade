package replica

import (
	"log/slog"
	"slices"
	"testing"
	"time"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/awatest/testlist"
)

// TestWhoMayLead: an edit goes to the leader first, then to the voters that answer the quickest,
// and at last to those that are known to be away, contacts included.
func TestWhoMayLead(t *testing.T) {
	const a1, a2, a3, a4, contact = "10.0.0.1:1", "10.0.0.1:2", "10.0.0.1:3", "10.0.0.1:4", "192.0.2.1:9"
	st := testlist.New(t, testlist.Changes(t, 4))
	var uids []string
	for _, n := range st.Nodes() {
		uids = append(uids, n.UID)
	}
	near, far := Seen{Online: true, RTT: time.Millisecond}, Seen{Online: true, RTT: 40 * time.Millisecond}
	for name, test := range map[string]struct {
		leader string
		seen   map[string]Seen
		hops   int
		want   []string
	}{
		"nobody was looked at":   {uids[0], nil, 0, []string{a1, a2, a3, a4, contact}},
		"the leader comes first": {uids[0], map[string]Seen{uids[0]: far, uids[2]: near}, 0, []string{a1, a3, a2, a4, contact}},
		"it is away": {uids[0], map[string]Seen{uids[0]: {}, uids[1]: far, uids[3]: near}, 0,
			[]string{a4, a2, a3, contact, a1}},
		"a contact is away": {uids[0], map[string]Seen{uids[3]: {}}, 0, []string{a1, a2, a3, contact, a4}},
		"passed on":         {uids[0], map[string]Seen{uids[0]: {}, uids[1]: far, uids[2]: near}, 1, []string{a3, a2, a4}},
	} {
		t.Run(name, func(t *testing.T) {
			r := New(Config{
				List: st, Peers: &others{}, Dir: "unused", Instance: "this", Seen: seenAs(test.seen),
				Contacts: []string{a4, contact}, Log: slog.New(slog.DiscardHandler),
			})
			r.learn(awa.Self{UID: uids[0], Leader: test.leader, Voters: &awa.VoterSet{Index: 1, Term: 1, UIDs: uids}})
			if got := r.whoMayLead(test.hops); !slices.Equal(got, test.want) {
				t.Errorf("the edit goes to %v, not to %v", got, test.want)
			}
		})
	}
}
