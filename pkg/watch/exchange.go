package watch

import (
	"maps"
	"slices"
	"time"

	"are-we-alive/pkg/awa"
)

// skewOf returns how far a node's clock is ahead of ours, and the bound of its
// error. The node read its clock at some time between our question and its
// answer, so half the round trip, whatever was slow in it, is the most that
// the middle can be wrong; its answer is cut to whole milliseconds, which adds
// half of one. at is our clock at the end of the exchange. A node that does not
// send its time in milliseconds returns 0, 0.
func skewOf(self awa.Self, at time.Time, rtt time.Duration) (skew, most time.Duration) {
	if self.TimeMS == 0 {
		return 0, 0
	}
	const half = time.Millisecond / 2
	theirs := time.UnixMilli(self.TimeMS).Add(half)
	return theirs.Sub(at.Round(0).Add(-rtt / 2)), rtt/2 + half
}

// maxLead is how many changes ahead of us the only other agent may be. A list
// of millions of changes takes minutes to fetch, and until then it is truly
// that far ahead.
const maxLead = 4 << 20

// setBehind fills in how many changes each online node lacks of the newest list of
// all nodes that can be believed in. Lists of another history have other changes,
// so nothing can be said of those.
func setBehind(nodes, all []awa.NodeStatus, ours awa.Self) {
	level := func(st awa.NodeStatus) bool {
		return st.Verdict == awa.Online && st.Self != nil && st.Self.Cluster == ours.Cluster && st.Self.History == ours.History
	}
	states := map[string]uint64{} // by uid: an agent that is listed twice has one voice
	for _, st := range all {
		if level(st) && st.Self.UID != ours.UID {
			states[st.Self.UID] = st.Self.State
		}
	}
	newest := newestState(ours.State, slices.Collect(maps.Values(states)))
	for i := range nodes {
		if st := &nodes[i]; level(*st) {
			st.Behind = newest - min(newest, st.Self.State)
		}
	}
}

// newestState is the newest state that our own list proves, or that two other
// agents say they have. A change that was decided is on more than one agent a
// moment later, so one that is ahead of all others alone is either ahead for
// that moment or wrong, and must not make all others look as if they lacked
// something. Only where there are no two others is one believed, within reason.
func newestState(ours uint64, others []uint64) uint64 {
	slices.Sort(others)
	switch n := len(others); {
	case n >= 2:
		return max(ours, others[n-2])
	case n == 1 && others[0] <= ours+maxLead:
		return max(ours, others[0])
	}
	return ours
}

// isolated reports whether an agent reached no other node of its list, though
// there are some. A node without uid is ours when it answered with our uid.
func isolated(nodes []awa.NodeStatus, ours awa.Self) bool {
	others := false
	for _, st := range nodes {
		if st.Node.UID == ours.UID || st.Verdict == awa.Online && st.Self != nil && st.Self.UID == ours.UID {
			continue
		}
		if others = true; st.Verdict == awa.Online {
			return false
		}
	}
	return others
}
