package report_test

import (
	"fmt"
	"strings"
	"testing"

	"are-we-alive/pkg/report"
)

func ExampleSelection() {
	web, err := report.ParseGlob("web*")
	if err != nil {
		fmt.Println(err)
		return
	}
	st := cluster(3)
	st.Nodes[1].Node.Name = "Web1"
	r := report.Evaluate(st, report.Selection{Exclude: []report.Glob{web}}, report.Rules{}, now)
	fmt.Println(r.Text())
	// Output:
	// 2 of 2 nodes online
}

func TestSelection(t *testing.T) {
	tests := map[string]struct {
		sel  report.Selection
		want string // names, or the sentence
	}{
		"every node":       {all, "n1 n2 n3 n4 n5 n6 n7 n8 n9 n10 n11 n12"},
		"a name":           {report.Selection{Names: []string{"N5"}}, "n5"},
		"names, one twice": {report.Selection{Names: []string{"n5", "N5", "n2"}}, "n2 n5"},
		"a label":          {report.Selection{Labels: []report.Label{{Key: "role", Value: "db"}}}, "n1 n2 n3"},
		"two labels": {report.Selection{Labels: []report.Label{{Key: "role", Value: "db"},
			{Key: "host", Value: "rack db"}}}, "n1 n2 n3"},
		"another value": {report.Selection{Labels: []report.Label{{Key: "role", Value: "db"},
			{Key: "host", Value: "rack web"}}}, "none of the 12 nodes is selected by --label role=db --label host=rack web: " +
			"correct them (see awa-agent node list for names and labels)"},
		"a label by case": {report.Selection{Labels: []report.Label{{Key: "role", Value: "DB"}}}, "none of the 12 nodes " +
			"is selected by --label role=DB: correct them (see awa-agent node list for names and labels)"},
		"a label nobody has": {report.Selection{Labels: []report.Label{{Key: "rack", Value: "1"}}}, "none of the 12 " +
			"nodes is selected by --label rack=1: correct them (see awa-agent node list for names and labels)"},
		"all but":        {report.Selection{Exclude: globs(t, "n1*", "N[2-4]")}, "n5 n6 n7 n8 n9"},
		"the whole name": {report.Selection{Exclude: globs(t, "1")}, "n1 n2 n3 n4 n5 n6 n7 n8 n9 n10 n11 n12"},
		"all of it": {report.Selection{Names: []string{"n1", "n2", "n7"},
			Labels: []report.Label{{Key: "role", Value: "db"}}, Exclude: globs(t, "n2")}, "n1"},
		"none is left": {report.Selection{Exclude: globs(t, "*")}, "none of the 12 nodes is selected by --exclude *: " +
			"correct them (see awa-agent node list for names and labels)"},
		"a name not there": {report.Selection{Names: []string{"n1", "n13"}}, "the node list of n1 has no node n13: " +
			"correct --node, or add the node (see awa-agent node list)"},
		"a name that is out": {report.Selection{Names: []string{"n1"}, Exclude: globs(t, "n?")}, "none of the 12 nodes " +
			"is selected by --node n1 --exclude n?: correct them (see awa-agent node list for names and labels)"},
		"more than fit in one": {report.Selection{Names: strings.Fields(strings.Repeat("no-such-node ", 99))},
			"the node list of n1 has no node " + strings.Repeat("no-such-node, ", 26) + "no-such-node and 72 more: correct " +
				"--node, or add the node (see awa-agent node list)"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			st := troubled()
			st.Nodes[11].Node.Name = "n12"
			before := len(st.Nodes)
			r := report.Evaluate(st, test.sel, report.Rules{}, now)
			if len(st.Nodes) != before {
				t.Error("it took the nodes from the caller")
			}
			var names []string
			for _, n := range r.Status.Nodes {
				names = append(names, n.Node.Name)
			}
			got := strings.Join(names, " ")
			if len(names) == 0 {
				got = r.Text()
			}
			if got != test.want || (r.State == report.Unknown) != (len(names) == 0) || r.Counts.All() != len(names) {
				t.Errorf("it is %v of\n%s, want\n%s", r.State, got, test.want)
			}
		})
	}
}

func TestParseLabel(t *testing.T) {
	for s, want := range map[string]report.Label{
		"role=db":       {Key: "role", Value: "db"},
		"a=b=c":         {Key: "a", Value: "b=c"},
		"where=rack 7,": {Key: "where", Value: "rack 7,"},
	} {
		if got, err := report.ParseLabel(s); got != want || err != nil {
			t.Errorf("%q is %v, %v", s, got, err)
		}
	}
	for s, want := range map[string]string{
		"":      `"" is not a label with a value: write it as role=database`,
		"role":  `"role" is not a label with a value: write it as role=database`,
		"role=": `"role=" is not a label with a value: write it as role=database`,
		"=db": `"" is not a name for a label: use 1 to 63 letters, digits, dots, dashes and underscores, a letter ` +
			`or digit first`,
		"a b=c": `"a b" is not a name for a label: use 1 to 63 letters, digits, dots, dashes and underscores, a letter ` +
			`or digit first`,
		"role=\x01":    `the label role holds a control character or a byte that is not UTF-8`,
		"long=" + long: `the label long has 300 characters: at most 255 are allowed`,
	} {
		if got, err := report.ParseLabel(s); err == nil || err.Error() != want {
			t.Errorf("%q is %v, %v; want %s", s, got, err, want)
		}
	}
}

var long = strings.Repeat("l", 300)

func TestParseGlob(t *testing.T) {
	for _, s := range []string{"*", "web*", "n?", "n[1-3]", "[^a]*", `a\*`, "plain"} {
		if got, err := report.ParseGlob(s); got.String() != s || err != nil {
			t.Errorf("%q is %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "[", "n[1-", "a[]", `a\`, "[a-]"} {
		want := fmt.Sprintf("%q is not a pattern for names: write one such as web*, db? or n[1-3]", s)
		if got, err := report.ParseGlob(s); err == nil || err.Error() != want {
			t.Errorf("%q is %v, %v", s, got, err)
		}
	}
}

// TestRTTLabel keeps the labels, since graphs are drawn by them.
func TestRTTLabel(t *testing.T) {
	for name, want := range map[string]string{
		"web1":                       "rtt-web1",
		"Web1":                       "rtt-Web1",
		"fifteen-letters":            "rtt-fifteen-letters",
		"sixteen-letters1":           "rtt-sixtee~5mpbunpw",
		"web-server-production-0001": "rtt-web-se~bkcja5o6",
		"web-server-production-0002": "rtt-web-se~ts6q6yhl",
		"WEB-server-production-0001": "rtt-WEB-se~bkcja5o6",
		"max":                        "rtt-max",
	} {
		if got := report.RTTLabel(name); got != want {
			t.Errorf("%s becomes %s, want %s", name, got, want)
		}
	}
	labels := map[string]bool{}
	for i := range 100_000 {
		labels[report.RTTLabel(fmt.Sprintf("web-server-production-%06d", i))] = true
	}
	if len(labels) != 100_000 {
		t.Errorf("100000 names have %d labels", len(labels))
	}
}
