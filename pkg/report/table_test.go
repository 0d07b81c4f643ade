package report_test

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/awatest/testaid"
	"are-we-alive/pkg/report"
)

// rack is a cluster as a site has it: names, labels, agents of one version.
func rack(n int) awa.ClusterStatus {
	st := cluster(n)
	st.Agent, st.Leader, st.Voters = "web2", "web1", []string{"web1", "web2", "web3", "web4", "web5"}[:min(n, 5)]
	if n == 1 {
		st.Agent = "web1"
	}
	st.State = 4711
	for i := range st.Nodes {
		s := &st.Nodes[i]
		s.Node.Name, s.Node.Labels = fmt.Sprintf("web%d", i+1), map[string]string{"rack": fmt.Sprintf("r%d", i/40+1)}
		s.Self = &awa.Self{Version: "0.1.0", UID: "u"}
		s.Since = now.Add(-time.Duration(i+1) * time.Hour)
	}
	return st
}

// allKinds makes of nodes one of each kind, as many as there are.
func allKinds(st *awa.ClusterStatus) {
	kinds := []func(i int){
		func(i int) { kill(*st, i, awa.StageConnect, "no answer within 1s") },
		func(i int) {
			kill(*st, i, awa.StageConnect, "no answer within 1s")
			st.Nodes[i].Verdict, st.Nodes[i].Asked, st.Nodes[i].SeenBy = awa.Unreachable, 3, []string{"web2", "web3"}
		},
		func(i int) {
			kill(*st, i, awa.StageReply, "another agent answers there: db9 of this cluster")
			st.Nodes[i].Verdict = awa.Mismatch
		},
		func(i int) {
			kill(*st, i, awa.StageConnect, "connection refused")
			st.Nodes[i].Goodbye = &awa.Goodbye{At: now.Add(-2 * time.Minute), Reason: awa.StopShutdown}
		},
		func(i int) {
			kill(*st, i, awa.StageConnect, "no route to host")
			maintain(*st, i)
			st.Nodes[i].Node.Reason = "a new disk"
		},
		func(i int) { maintain(*st, i) },
		func(i int) { st.Nodes[i].Behind = 3 },
		func(i int) { st.Nodes[i].Skew = -90 * time.Second },
		func(i int) { st.Nodes[i].Self.Version = "0.0.9" },
		func(i int) { st.Nodes[i].Flapping = 7 },
		func(i int) {
			st.Nodes[i].Node.Name = "ip-10-0-4-117.eu-central-1.compute.internal"
			st.Nodes[i].Node.Host = "ip-10-0-4-117.eu-central-1.compute.internal"
			kill(*st, i, awa.StageResolve, "no such host")
		},
		func(i int) {
			st.Nodes[i].Node.Labels = map[string]string{"role": "データベース", "rack": "r1"}
			st.Nodes[i].RTT = time.Second
		},
	}
	for i, kind := range kinds {
		if i < len(st.Nodes) {
			kind(i)
		}
	}
	if len(st.Nodes) > len(kinds) {
		st.Health = []awa.Condition{
			{Code: awa.DiskFull, Agent: st.Nodes[len(kinds)].Node.Name, Text: "the disk of " + st.Nodes[len(kinds)].Node.Name +
				" is full, so it can't take part in edits: free some space in its data folder"},
			{Code: awa.LastMajority, Text: "one more lost voter stops edits, so stop none until another agent has become a " +
				"voter: 3 of 5 voters are alive and needed, and these are not: web1, web4"},
		}
	}
}

// terminals are the sizes for which there are golden files: columns and lines. The
// first is a pipe.
var terminals = [][2]int{{0, 0}, {80, 23}, {120, 39}, {200, 49}}

// situations are what may be wrong with a cluster of some nodes.
var situations = map[string]func(*awa.ClusterStatus){
	"all_well": func(*awa.ClusterStatus) {},
	"one_dead": func(st *awa.ClusterStatus) { kill(*st, len(st.Nodes)/2, awa.StageConnect, "connection refused") },
	"all_but_two_dead": func(st *awa.ClusterStatus) {
		for i := 2; i < len(st.Nodes); i++ {
			kill(*st, i, awa.StageConnect, "no answer within 1s")
		}
	},
	"all_kinds": allKinds,
}

// A table fits the terminal, and has everything where there is none.
func TestTable_terminal(t *testing.T) {
	for name, happen := range situations {
		for _, n := range []int{1, 3, 40, 300} {
			st := rack(n)
			happen(&st)
			rules := rules(t, "", "0")
			rules.Health = report.DefaultHealth()
			r := report.Evaluate(st, all, rules, now)
			r.Took = 12345 * time.Microsecond
			for _, size := range terminals {
				file := fmt.Sprintf("%s_%d_at_%d", name, n, size[0])
				t.Run(file, func(t *testing.T) {
					table, err := report.ParseFormat("table")
					if err != nil {
						t.Fatal(err)
					}
					var b bytes.Buffer
					if err := table.Write(&b, r, report.Options{Width: size[0], Lines: size[1]}); err != nil {
						t.Fatal(err)
					}
					testaid.Golden(t, filepath.Join("testdata", "tables", file), abridge(b.String()), *update)
					lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
					if size[1] > 0 && len(lines) > size[1] {
						t.Errorf("it has %d lines", len(lines))
					}
					for _, line := range lines {
						if size[0] > 0 && utf8.RuneCountInString(line) > size[0] || strings.TrimRight(line, " ") != line {
							t.Errorf("a line is too wide, or ends with a blank: %q", line)
						}
					}
				})
			}
		}
	}
}
