package replica

import (
	"log/slog"
	"slices"
	"testing"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/awatest/testlist"
)

// Consensus believes only answers of the agents that it asked, as ones of this history.
func TestVoters_Ask(t *testing.T) {
	answer := func(i int) awa.Self {
		return awa.Self{UID: testlist.UID(i), Cluster: testlist.Cluster, History: testlist.History}
	}
	otherHistory := answer(3)
	otherHistory.History.Epoch++
	peers := pinged{answers: map[string]awa.Self{
		"10.0.0.1:1": answer(1), "10.0.0.1:2": answer(4), "10.0.0.1:3": otherHistory, "10.0.0.1:5": answer(5),
	}}
	r := New(Config{
		List: testlist.New(t, testlist.Changes(t, 5)), Peers: peers, Seen: func(string) (Seen, bool) { return Seen{}, false },
		Log: slog.New(slog.DiscardHandler),
	})
	asked := []string{"unknown"}
	for i := range 5 { // 2 has moved away, 3 follows another history, 4 does not answer
		asked = append(asked, testlist.UID(i+1))
	}
	var answered []string
	for _, self := range (voters{r}).Ask(t.Context(), true, asked...) {
		answered = append(answered, self.UID)
	}
	slices.Sort(answered)
	if !slices.Equal(answered, []string{testlist.UID(1), testlist.UID(5)}) {
		t.Errorf("it got the answers of %v", answered)
	}
}
