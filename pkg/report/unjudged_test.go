package report_test

import (
	"strings"
	"testing"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/report"
)

// Nodes for which no time was left are never OK, and never hide what is known.
func TestEvaluate_unjudged(t *testing.T) {
	for name, test := range map[string]struct {
		dead, unjudged []int
		state          report.State
		text           string
	}{
		"none known to be dead": {nil, []int{3, 4}, report.Unknown, "2 of 5 nodes not judged in time: n4, n5"},
		"one dead": {[]int{1}, []int{3, 4}, report.Critical, "1 of 5 nodes offline: n2 (connect: no answer within 1s), " +
			"and 2 not judged in time: n4, n5"},
		"one alone": {nil, []int{4}, report.Unknown, "1 of 5 nodes not judged in time: n5"},
		"all":       {nil, []int{0, 1, 2, 3, 4}, report.Unknown, "5 of 5 nodes not judged in time: n1, n2, n3, n4, n5"},
	} {
		t.Run(name, func(t *testing.T) {
			st := cluster(5)
			st.Voters = nil
			for _, i := range test.dead {
				silent(st, i)
			}
			for _, i := range test.unjudged {
				st.Nodes[i] = awa.NodeStatus{Node: st.Nodes[i].Node, Verdict: awa.Unjudged, Error: "no time was left for it"}
			}
			r := report.Evaluate(st, report.Selection{}, rules(t, "", "0"), now)
			if r.State != test.state || r.Text() != test.text {
				t.Errorf("%v: %s\nwant %v: %s", r.State, r.Text(), test.state, test.text)
			}
			if r.Counts.Unjudged != len(test.unjudged) {
				t.Errorf("%+v", r.Counts)
			}
			var b strings.Builder
			if err := report.Table(&b, r, report.Options{}); err != nil || !strings.Contains(b.String(), "Not asked") {
				t.Errorf("%v\n%s", err, &b)
			}
		})
	}
}
