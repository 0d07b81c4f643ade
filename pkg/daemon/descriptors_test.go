package daemon

import "testing"

// TestShare adds up what each limit is shared out to.
func TestShare(t *testing.T) {
	for limit := minFiles; limit < plentyFiles; limit += 1 + limit/50 {
		for _, web := range []bool{false, true} {
			d := share(limit, web)
			if sum := ownFiles + d.port + d.web + d.calls + d.pingDescriptors(); sum > limit {
				t.Errorf("of %d descriptors, %d are given away: %+v", limit, sum, d)
			}
			if d.port < 8 || (d.web > 0) != web || d.calls < otherCalls || d.pings < 1 || d.kept < 1 ||
				d.kept > d.pingDescriptors() {
				t.Errorf("of %d descriptors, a part gets too few or too many: %+v", limit, d)
			}
		}
	}
	if d := share(plentyFiles, true); d != (descriptors{limit: plentyFiles, kept: keptConnections}) {
		t.Errorf("a limit of plenty bounds %+v", d)
	}
	if d := share(64, false); d.pings < 4 || d.port < 20 {
		t.Errorf("at ulimit -n 64: %+v", d)
	}
}

// TestNeeds holds what is asked for against what is shared out: at the limit
// that the warning names, connections to all nodes stay open.
func TestNeeds(t *testing.T) {
	for _, n := range []int{1, 3, 125, 1000, 5000} {
		if d := share(needs(n), false); d.port < n {
			t.Errorf("%d nodes need %d descriptors, it says, but that leaves %d connections at the port", n, needs(n), d.port)
		}
	}
}
