package report_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/report"
)

// silent and refusing are what most dead nodes are.
func silent(st awa.ClusterStatus, i int)   { kill(st, i, awa.StageConnect, "no answer within 1s") }
func refusing(st awa.ClusterStatus, i int) { kill(st, i, awa.StageConnect, "connection refused") }

// named sets names as people choose them, and labels: three racks of forty nodes, and
// nodes without a rack.
func named(st awa.ClusterStatus) awa.ClusterStatus {
	for i := range st.Nodes {
		n := &st.Nodes[i].Node
		n.Name = fmt.Sprintf("app%03d", i+1)
		n.Labels = map[string]string{"env": "prod"}
		if i < 120 {
			n.Labels["rack"] = fmt.Sprintf("r%d", i/40+7)
		}
	}
	st.Agent, st.Leader, st.Voters = "app299", "app300", []string{"app298", "app299", "app300"}
	return st
}

// firstLines are plugin lines as they come at night.
func firstLines() (names []string, all map[string]awa.ClusterStatus) {
	all = map[string]awa.ClusterStatus{}
	add := func(name string, st awa.ClusterStatus, kills func(awa.ClusterStatus)) {
		if kills != nil {
			kills(st)
		}
		names = append(names, name)
		all[name] = st
	}
	add("one node, not running", named(cluster(300)), func(st awa.ClusterStatus) { refusing(st, 4) })
	add("one cause", named(cluster(300)), func(st awa.ClusterStatus) {
		for _, i := range []int{4, 9, 10, 11, 12, 40} {
			silent(st, i)
		}
	})
	add("three causes", named(cluster(300)), func(st awa.ClusterStatus) {
		for i := 20; i < 29; i++ {
			silent(st, i)
		}
		refusing(st, 50)
		refusing(st, 52)
		kill(st, 60, awa.StageResolve, "no such host")
	})
	add("a whole rack", named(cluster(300)), func(st awa.ClusterStatus) {
		for i := range 40 {
			silent(st, i)
		}
	})
	add("a whole rack and two more", named(cluster(300)), func(st awa.ClusterStatus) {
		for i := range 40 {
			silent(st, i)
		}
		refusing(st, 50)
		kill(st, 60, awa.StageResolve, "name server 10.0.0.53: no answer")
	})
	add("298 of 300 dead", named(cluster(300)), func(st awa.ClusterStatus) {
		for i := range 290 {
			silent(st, i)
		}
		for i := 290; i < 298; i++ {
			kill(st, i, awa.StageResolve, "no such host")
		}
	})
	add("298 of 300 dead, of all causes", named(cluster(300)), func(st awa.ClusterStatus) {
		for i := range 298 {
			switch i % 7 {
			case 0:
				refusing(st, i)
			case 1:
				kill(st, i, awa.StageResolve, "no such host")
			case 2:
				kill(st, i, awa.StageTLS, "no answer within 1s")
			case 3:
				kill(st, i, awa.StageReply, fmt.Sprintf("an odd reason, number %d", i))
			case 4:
				st.Nodes[i].Verdict, st.Nodes[i].Stage = awa.Mismatch, awa.StageReply
				st.Nodes[i].Error = "something answers there that is not an awa-agent"
			case 5:
				silent(st, i)
				st.Nodes[i].Verdict, st.Nodes[i].SeenBy = awa.Unreachable, []string{"app300"}
			default:
				silent(st, i)
			}
		}
	})
	several := cluster(5)
	for _, code := range awa.HealthCodes() {
		c := awa.Condition{Code: code, Agent: "n3", Text: code.Of("n3")}
		st := cluster(5)
		st.Health = []awa.Condition{c}
		add(string(code), st, nil)
		several.Health = append(several.Health, c)
	}
	add("all codes", several, nil)
	return names, all
}

// The first line is what wakes somebody up: see testdata/first_lines.golden.
func TestNagios_firstLines(t *testing.T) {
	names, all := firstLines()
	var b bytes.Buffer
	for _, name := range names {
		r := report.Evaluate(all[name], report.Selection{}, func() report.Rules {
			r := rules(t, "", "0")
			r.Health = report.DefaultHealth()
			return r
		}(), now)
		r.Took = 12345 * time.Microsecond
		var line bytes.Buffer
		if err := report.Nagios(&line, r); err != nil {
			t.Fatal(err)
		}
		if line.Len() > 1024 || strings.Count(line.String(), "\n") != 1 {
			t.Errorf("%s: the line has %d bytes: %s", name, line.Len(), line.String())
		}
		fmt.Fprintf(&b, "# %s\n%s", name, line.String())
	}
	path := filepath.Join("testdata", "first_lines.golden")
	if *update {
		if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil || b.String() != string(want) {
		t.Errorf("%v: got\n%swant\n%s", err, &b, want)
	}
}

// What nodes have in common is told only when it is true.
func TestText_inCommon(t *testing.T) {
	for name, test := range map[string]struct {
		dead []int
		want string
	}{
		"two of a rack of forty": {[]int{0, 1}, "2 of 300 nodes offline: no answer (app001, app002)"},
		"a rack except one":      {seq(0, 39), "39 of 300 nodes offline: no answer (app001-app039)"},
		"a rack":                 {seq(0, 40), "40 of 300 nodes offline, all 40 of rack=r7: no answer (app001-app040)"},
		"a rack and one more": {append(seq(0, 40), 45), "41 of 300 nodes offline, all 40 of rack=r7 and 1 " +
			"more: no answer (app001-app040, app046)"},
		"two racks": {seq(0, 80), "80 of 300 nodes offline: no answer (app001-app080)"},
		"one label that all have": {seq(0, 300), "300 of 300 nodes offline: no answer (app001-app300), and no " +
			"majority for edits, 3 of 3 " +
			"voters not alive (app298, app299, app300)"},
	} {
		t.Run(name, func(t *testing.T) {
			st := named(cluster(300))
			for _, i := range test.dead {
				silent(st, i)
			}
			if got := report.Evaluate(st, report.Selection{}, rules(t, "", "0"), now).Text(); got != test.want {
				t.Errorf("%s\nwant %s", got, test.want)
			}
		})
	}
}

func seq(from, to int) (all []int) {
	for i := from; i < to; i++ {
		all = append(all, i)
	}
	return all
}

// Names in a row are one span, when no other name lies between them.
func TestText_spans(t *testing.T) {
	for _, test := range []struct{ names, want string }{
		{"n1 n2 n3", "n1-n3"},
		{"n3 n1 n2", "n1-n3"},
		{"n1 n2", "n1, n2"},
		{"web-01 web-02 web-03 x", "web-01 to web-03, x"},
		{"n8 n9 n10 n11", "n8-n11"},
		{"n08 n09 n10", "n08-n10"},
		{"n9 n010 n011", "n9, n010, n011"},
		{"n1 n3 n5", "n1, n3, n5"},
		{"db web1 web2 web3 web5", "db, web1-web3, web5"},
		{"a1 b2 c3", "a1, b2, c3"},
		{"18446744073709551615 18446744073709551616 x", "18446744073709551615, 18446744073709551616, x"},
	} {
		st := cluster(len(strings.Fields(test.names)))
		st.Agent, st.Voters = "asked", nil
		for i, name := range strings.Fields(test.names) {
			st.Nodes[i].Node.Name = name
			silent(st, i)
		}
		text := report.Evaluate(st, report.Selection{}, rules(t, "", "0"), now).Text()
		if want := "no answer (" + test.want + ")"; !strings.HasSuffix(text, want) {
			t.Errorf("%s: %s, want %s", test.names, text, want)
		}
	}
}

// view is a node that answers and tells which nodes it does not see.
func view(st awa.ClusterStatus, i int, not ...uint64) {
	st.Nodes[i].Self = &awa.Self{Name: st.Nodes[i].Node.Name, Sees: append([]uint64{}, not...)}
}

func TestMesh(t *testing.T) {
	long := cluster(300)
	for i := range long.Nodes {
		view(long, i)
	}
	for i := 100; i < 300; i++ {
		silent(long, i)
	}
	// Each reports of those that it watches, and n96 of one more, which the others see.
	blind := uint64(0)
	for i := 1; i < 100; i++ {
		watched := awa.WatchShareOf(long.Nodes[i].Node.UID, 300)
		var ids []uint64
		for id := uint64(2); id <= 300; id++ {
			switch {
			case !watched.Has(id):
			case i == 95 && blind == 0:
				blind = id
				ids = append(ids, id)
			case id > 100:
				ids = append(ids, id)
			}
		}
		view(long, i, ids...)
	}
	for name, test := range map[string]struct {
		make func() awa.ClusterStatus
		want string
	}{
		"all is well": {func() awa.ClusterStatus {
			st := cluster(3)
			for i := range 3 {
				view(st, i)
			}
			return st
		}, "mesh of 3 agents: they see all nodes alike\n"},
		"one path cut": {func() awa.ClusterStatus {
			st := cluster(3)
			st.Agent = "n2"
			view(st, 0, 3)
			view(st, 1)
			view(st, 2, 1)
			return st
		}, "mesh of 3 agents: they do not see all nodes alike\nn1 does not see n3\nn3 does not see n1\n"},
		"one dead": {func() awa.ClusterStatus {
			st := cluster(4)
			for i := range 3 {
				view(st, i, 4)
			}
			silent(st, 3)
			return st
		}, "mesh of 3 agents: they see all nodes alike\nnobody sees n4\n"},
		"two halves": {func() awa.ClusterStatus {
			st := cluster(6)
			for i := range 3 {
				view(st, i, 4, 5, 6)
				silent(st, 3+i)
			}
			return st
		}, "mesh of 3 agents: they see all nodes alike\nnobody sees n4-n6\n"},
		"some don't tell": {func() awa.ClusterStatus {
			st := cluster(4)
			view(st, 0)
			view(st, 2, 2)
			return st
		}, "mesh of 2 agents: they do not see all nodes alike\nn3 does not see n2\n"},
		"300 nodes": {func() awa.ClusterStatus { return long }, "mesh of 100 agents: they do not see all nodes alike\n" +
			"nobody sees n101-n300\n" +
			fmt.Sprintf("n96 does not see n%d\n", blind)},
	} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			r := report.Evaluate(test.make(), report.Selection{}, rules(t, "", "0"), now)
			if err := report.Mesh(&b, r, report.Options{}); err != nil || b.String() != test.want {
				t.Errorf("%v\n%swant\n%s", err, &b, test.want)
			}
			for line := range strings.Lines(b.String()) {
				if len(line) > 81 {
					t.Errorf("%d bytes: %s", len(line), line)
				}
			}
		})
	}
}
