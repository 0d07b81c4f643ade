package watch

import (
	"time"

	"are-we-alive/pkg/awa"
)

// skewOf tells how far a node's clock is ahead of ours, and the bound of its
// error. The node read its clock at some time between our question and its
// answer, so half the round trip, whatever was slow in it, is the most that
// the middle can be wrong; its answer is cut to whole milliseconds, which adds
// half of one. at is our clock at the end of the exchange. A node that does not
// tell its time in milliseconds gives 0, 0.
func skewOf(self awa.Self, at time.Time, rtt time.Duration) (skew, most time.Duration) {
	if self.TimeMS == 0 {
		return 0, 0
	}
	const half = time.Millisecond / 2
	theirs := time.UnixMilli(self.TimeMS).Add(half)
	return theirs.Sub(at.Round(0).Add(-rtt / 2)), rtt/2 + half
}

// setBehind fills in how many changes each online node lacks of the newest
// list that the sweep has seen. Lists of another history have other changes,
// so nothing can be said of those.
func setBehind(nodes []awa.NodeStatus, ours awa.Self) {
	newest := ours.State
	level := func(st awa.NodeStatus) bool {
		return st.Verdict == awa.Online && st.Self.Cluster == ours.Cluster && st.Self.History == ours.History
	}
	for _, st := range nodes {
		if level(st) {
			newest = max(newest, st.Self.State)
		}
	}
	for i := range nodes {
		if st := &nodes[i]; level(*st) {
			st.Behind = newest - st.Self.State
		}
	}
}

// isolated tells whether an agent reached no other node of its list, though
// there are some. A node without uid is ours when it answered with our uid.
func isolated(nodes []awa.NodeStatus, ours awa.Self) bool {
	others := false
	for _, st := range nodes {
		if st.Node.UID == ours.UID || st.Self != nil && st.Self.UID == ours.UID {
			continue
		}
		if others = true; st.Verdict == awa.Online {
			return false
		}
	}
	return others
}
