package report_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-json"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/awatest/testaid"
	"are-we-alive/pkg/report"
)

var update = flag.Bool("update", false, "write the golden files again")

var now = time.Date(2026, 11, 23, 18, 0, 0, 123456789, time.UTC)

// cluster makes a healthy status of n nodes as n1 sees it.
func cluster(n int) awa.ClusterStatus {
	st := awa.ClusterStatus{
		Cluster: "7d0c1fe2a95b4c6d8e3f00112233aabb", Agent: "n1", Leader: "n2", Voters: []string{"n1", "n2", "n3"},
		State: uint64(n), SweptAt: now.Add(-10 * time.Millisecond), Took: 4200 * time.Microsecond,
	}
	for i := range n {
		st.Nodes = append(st.Nodes, awa.NodeStatus{
			Node: awa.Node{
				ID: uint64(i + 1), Name: fmt.Sprintf("n%d", i+1),
				Host: fmt.Sprintf("10.0.%d.%d", i/250, i%250+1), Port: awa.DefaultPort,
			},
			Verdict: awa.Online, RTT: time.Duration(200+i) * time.Microsecond, Since: now.Add(-time.Hour),
			Skew: time.Duration(i%5-2) * 100 * time.Microsecond, SkewError: time.Duration(100+i) * time.Microsecond,
		})
	}
	return st
}

func kill(st awa.ClusterStatus, i int, stage awa.Stage, why string) {
	n := &st.Nodes[i]
	n.Verdict, n.Stage, n.Error, n.RTT, n.Since = awa.Offline, stage, why, 0, now.Add(-time.Minute)
}

func maintain(st awa.ClusterStatus, i int) {
	st.Nodes[i].Node.Maintenance = now.Add(time.Hour).UTC().Format(time.RFC3339)
}

// threshold reads a range; "" is none.
func threshold(t *testing.T, spec string) (th report.Threshold) {
	t.Helper()
	if spec == "" {
		return th
	}
	th, err := report.ParseThreshold(spec)
	if err != nil {
		t.Fatal(err)
	}
	return th
}

// rules are the plugin's defaults except the ranges of dead nodes.
func rules(t *testing.T, warning, critical string) report.Rules {
	t.Helper()
	return report.Rules{
		Dead:        report.Limits{Warning: threshold(t, warning), Critical: threshold(t, critical)},
		Unreachable: report.Limits{Warning: threshold(t, "0")},
		Skew:        report.Limits{Warning: threshold(t, "5")},
		NoMajority:  report.Warning,
	}
}

// all selects every node.
var all report.Selection

// results are the situations of which golden files are kept.
func results(t *testing.T) map[string]report.Result {
	found := map[string]report.Result{}
	judge := func(name string, st awa.ClusterStatus, warning, critical string) {
		r := report.Evaluate(st, all, rules(t, warning, critical), now)
		r.Took = 12345 * time.Microsecond
		found[name] = r
	}
	judge("all_well", cluster(12), "", "0")

	st := cluster(12)
	kill(st, 2, awa.StageConnect, "connection refused")
	judge("one_offline", st, "", "0")
	judge("one_offline_warning", st, "0", "25%")

	st = cluster(1000)
	for i := range 300 {
		kill(st, i*3+1, awa.StageConnect, "connection refused")
	}
	judge("thousand", st, "10%", "25%")

	st = cluster(1000)
	for i := 1; i < len(st.Nodes); i++ {
		st.Nodes[i].Skew = time.Duration(i+7000) * time.Millisecond
	}
	judge("thousand_clocks", st, "10%", "25%")

	judge("hostile", hostile(), "", "0")
	judge("empty", cluster(0), "", "0")

	st = cluster(3)
	st.ClusterName = "prod-eu"
	kill(st, 2, awa.StageConnect, "connection refused")
	judge("named_cluster", st, "", "0")
	named := found["named_cluster"]
	named.Asked = []string{"n1:25483", "n2:25483"}
	found["named_cluster"] = named
	st = cluster(2)
	maintain(st, 0)
	kill(st, 1, awa.StageConnect, "connection refused")
	maintain(st, 1)
	judge("all_under_maintenance", st, "10%", "0")
	judge("one_node", cluster(1), "", "0")

	st = cluster(1)
	kill(st, 0, awa.StageReply, "no answer in time")
	judge("one_node_offline", st, "", "0")

	excused := func() awa.ClusterStatus {
		st := cluster(5)
		kill(st, 1, awa.StageConnect, "no route to host")
		maintain(st, 1)
		maintain(st, 2)
		return st
	}
	judge("maintenance", excused(), "", "0")
	st = excused()
	kill(st, 4, awa.StageResolve, "no such host")
	st.Nodes[3].Node.Maintenance = now.Add(-time.Hour).Format(time.RFC3339) // over
	kill(st, 3, awa.StageConnect, "connection refused")
	judge("maintenance_and_offline", st, "", "0")

	st = cluster(6)
	kill(st, 1, awa.StageConnect, "no answer within 1s")
	st.Nodes[1].Verdict, st.Nodes[1].Asked, st.Nodes[1].SeenBy = awa.Unreachable, 3, []string{"n4", "n5"}
	st.Nodes[3].Behind, st.Nodes[3].Skew, st.Nodes[3].SkewError = 2, -3600*time.Second, 600*time.Microsecond
	judge("unreachable", st, "", "0")
	st = cluster(6)
	kill(st, 1, awa.StageConnect, "no answer within 1s")
	st.Nodes[1].Verdict, st.Nodes[1].Asked, st.Nodes[1].SeenBy = awa.Unreachable, 1, []string{"n4"}
	kill(st, 2, awa.StageConnect, "connection refused")
	st.Nodes[2].Asked = 3
	kill(st, 4, awa.StageReply, "another agent answers there: n4 of this cluster")
	st.Nodes[4].Verdict, st.Nodes[4].Asked = awa.Mismatch, 1
	kill(st, 5, awa.StageConnect, "no answer within 1s")
	st.Nodes[5].Verdict, st.Nodes[5].SeenBy = awa.Unreachable, []string{"n4"}
	maintain(st, 5)
	judge("all_verdicts", st, "", "0")

	st = cluster(3)
	kill(st, 1, awa.StageConnect, "network is unreachable")
	kill(st, 2, awa.StageConnect, "network is unreachable")
	st.Isolated = true
	judge("isolated", st, "", "0")
	better := report.Evaluate(cluster(3), all, rules(t, "", "0"), now)
	better.Failures = []report.Failure{{Agent: "10.0.0.9:25483", Err: report.ErrIsolated}}
	found["better_view"] = better

	judge("unusual_range", cluster(3), "", "1:")

	r := report.Evaluate(cluster(3), all, rules(t, "", "0"), now)
	r.Failures = []report.Failure{{Agent: "10.0.0.9:25483", Err: &awa.PingError{Stage: awa.StageConnect,
		Err: errors.New("connection refused")}}}
	found["second_agent"] = r

	for name, r := range selected(t) {
		found[name] = r
	}

	refused := &awa.PingError{Stage: awa.StageConnect, Err: errors.New("connection refused")}
	found["no_answer"] = report.NoAnswer([]report.Failure{
		{Agent: "127.0.0.1:25483", Err: refused},
		{Agent: "[2001:db8::7]:25483", Err: &awa.Fault{Code: awa.ErrNotJoined, Text: "this agent holds no list yet"}},
	}, report.Critical, now)
	found["key_refused"] = report.KeyRefused([]report.Failure{
		{Agent: "127.0.0.1:25483", Err: &awa.PingError{Stage: awa.StageTLS,
			Err: errors.New("the agent there has another key (0123abcd, ours: 4567cdef)")}},
	}, now)
	found["not_made"] = report.NoResult("-c: \"ten\" is not a range", now)
	return found
}

// strict are rules that leave nothing out.
func strict(t *testing.T) report.Rules {
	t.Helper()
	r := rules(t, "", "0")
	r.Unreachable.Critical = threshold(t, "50%")
	r.Behind = report.Limits{Warning: threshold(t, "1"), Critical: threshold(t, "100")}
	r.Skew.Critical = threshold(t, "600")
	r.RTT = report.Limits{Warning: threshold(t, "0.1"), Critical: threshold(t, "0.5")}
	r.NoMajority = report.Critical
	return r
}

// troubled has every kind of trouble at once, and labels.
func troubled() awa.ClusterStatus {
	st := cluster(12)
	for i, role := range []string{"db", "db", "db", "web", "web", "web", "web", "web", "web", "mail", "mail", "mail"} {
		st.Nodes[i].Node.Labels = map[string]string{"role": role, "host": "rack " + role, "label_host": "1"}
	}
	kill(st, 1, awa.StageConnect, "connection refused")
	st.Nodes[1].Asked = 3
	kill(st, 2, awa.StageReply, "another agent answers there: n4 of this cluster")
	st.Nodes[2].Verdict, st.Nodes[2].Asked = awa.Mismatch, 1
	kill(st, 3, awa.StageConnect, "no answer within 1s")
	st.Nodes[3].Verdict, st.Nodes[3].Asked, st.Nodes[3].SeenBy = awa.Unreachable, 1, []string{"n5"}
	st.Nodes[4].Behind, st.Nodes[5].Behind = 7, 2
	st.Nodes[6].Skew, st.Nodes[7].Skew = 7200*time.Millisecond, -time.Hour
	st.Nodes[8].RTT = 700 * time.Millisecond
	kill(st, 9, awa.StageResolve, "no such host")
	maintain(st, 9)
	st.Nodes[10].Behind, st.Nodes[10].Skew, st.Nodes[10].RTT = 1000, 24*time.Hour, 900*time.Millisecond
	maintain(st, 10)
	st.Nodes[11].Node.Name = "mail.example.com-with-a-long-name"
	return st
}

// selected are the situations of a part of the nodes, and of every kind of
// trouble.
func selected(t *testing.T) map[string]report.Result {
	found := map[string]report.Result{}
	judge := func(name string, sel report.Selection) {
		r := report.Evaluate(troubled(), sel, strict(t), now)
		r.Took = 12345 * time.Microsecond
		found[name] = r
	}
	glob := func(s string) report.Glob {
		g, err := report.ParseGlob(s)
		if err != nil {
			t.Fatal(err)
		}
		return g
	}
	role := func(value string) []report.Label { return []report.Label{{Key: "role", Value: value}} }
	named := func(names ...string) report.Selection { return report.Selection{Names: names} }
	judge("all_kinds", all)
	judge("all_kinds_but_dead", report.Selection{Exclude: []report.Glob{glob("n[234]")}})
	judge("label", report.Selection{Labels: role("web")})
	judge("label_and_exclude", report.Selection{Labels: role("web"), Exclude: []report.Glob{glob("N?")}})
	judge("nothing_selected", report.Selection{Names: []string{"n1"}, Labels: role("cache"),
		Exclude: []report.Glob{glob("x|*")}})
	judge("unknown_node", named("n1", "n99", "N98|"))
	judge("two_nodes", named("n1", "N5"))
	judge("host_online", named("N1"))
	judge("host_offline", named("n2"))
	judge("host_mismatch", named("n3"))
	judge("host_unreachable", named("n4"))
	judge("host_behind", named("n5"))
	judge("host_clock", named("n7"))
	judge("host_slow", named("n9"))
	judge("host_maintenance", named("n10"))
	judge("host_maintenance_online", named("n11"))

	lax := rules(t, "", "3")
	lax.Skew.Critical = threshold(t, "60")
	r := report.Evaluate(troubled(), all, lax, now)
	found["clock_worse_than_dead"] = r
	lax.NoMajority, lax.Skew, lax.Unreachable = report.OK, report.Limits{}, report.Limits{Critical: threshold(t, "@1")}
	found["unreachable_critical"] = report.Evaluate(troubled(), all, lax, now)
	lax.Unreachable = report.Limits{Critical: threshold(t, "2:")}
	found["unreachable_too_few"] = report.Evaluate(cluster(2), all, lax, now)
	return found
}

// hostile is a status as no agent would send it.
func hostile() awa.ClusterStatus {
	const nasty = "a|b;c'd\"e`f$(g)\\h<i>&j\nk\r\tl\x00\x1b[31m\u202ex\u2028\xff√ü漢"
	st := cluster(6)
	for i := range st.Nodes {
		kill(st, i, awa.StageConnect, nasty)
	}
	st.Agent, st.Cluster, st.Leader = nasty+`\`, nasty, nasty
	st.Nodes[0].Node.Name = nasty
	st.Nodes[1].Node.Name, st.Nodes[1].Node.Host = `n\`, nasty+`\`
	st.Nodes[2].Node.Name, st.Nodes[2].Node.Host, st.Nodes[2].Error = strings.Repeat("ü", 300), strings.Repeat("h", 400), strings.Repeat("漢", 500)
	st.Nodes[3].Node.Name, st.Nodes[3].Node.Host, st.Nodes[3].Error, st.Nodes[3].Stage = "", "", "", ""
	st.Nodes[4].Verdict = "mis|match"
	st.Nodes[5].Verdict, st.Nodes[5].Error, st.Nodes[5].Stage = "", "", nasty
	maintain(st, 5)
	st.Nodes[0].Node.Labels = map[string]string{"role": nasty, nasty: "x", "time": "y", "": "z"}
	st.Nodes = append(st.Nodes, cluster(1).Nodes...)
	st.Nodes[6].Node.Name, st.Nodes[6].Skew, st.Voters = "p|=1 '", 3*time.Hour, []string{nasty, `n\`, "p|=1 '"}
	return st
}

// kinds are the formats, and what may be written beside them.
var kinds = map[string]func(io.Writer, report.Result) error{
	"nagios":      report.Nagios,
	"table":       func(w io.Writer, r report.Result) error { return report.Table(w, r, report.Options{}) },
	"table_color": func(w io.Writer, r report.Result) error { return report.Table(w, r, report.Options{Color: true}) },
	"influx":      report.Influx,
	"json":        report.JSON,
	"names":       func(w io.Writer, r report.Result) error { return report.Names(w, r, report.Options{}) },

	"node_perfdata": report.NodePerfdata,
}

func TestGolden_allFormats(t *testing.T) {
	for _, name := range report.FormatNames() {
		if kinds[name] == nil {
			t.Errorf("no golden file shows the format %s: add it to kinds", name)
		}
		f, err := report.ParseFormat(name)
		if err != nil || f.Name != name {
			t.Errorf("%s is %s (%v)", name, f.Name, err)
		}
	}
	want := report.Alternatives(report.FormatNames())
	if _, err := report.ParseFormat("xml"); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("an unknown format: %v", err)
	}
}

func TestGolden(t *testing.T) {
	for name, r := range results(t) {
		for kind, write := range kinds {
			t.Run(name+"/"+kind, func(t *testing.T) {
				var b bytes.Buffer
				if err := write(&b, r); err != nil {
					t.Fatal(err)
				}
				got := fmt.Sprintf("exit code %d\n%s", r.State.ExitCode(), abridge(b.String()))
				testaid.Golden(t, filepath.Join("testdata", name+"."+kind), got, *update)
			})
		}
	}
}

// abridge keeps the golden files readable: of a long output they hold the
// beginning, and a sum of the whole.
func abridge(s string) string {
	const most = 8 << 10
	if len(s) <= most {
		return s
	}
	return fmt.Sprintf("%s…\n%d lines and %d bytes in all, SHA-256 %x\n", s[:2000], strings.Count(s, "\n"), len(s), sha256.Sum256([]byte(s)))
}

// TestGolden_files finds golden files that no test reads.
func TestGolden_files(t *testing.T) {
	files, err := os.ReadDir("testdata")
	if err != nil {
		t.Fatal(err)
	}
	known := results(t)
	for _, f := range files {
		name, kind, _ := strings.Cut(f.Name(), ".")
		if _, ok := known[name]; f.IsDir() || name == "first_lines" || ok && kinds[kind] != nil {
			continue
		}
		t.Errorf("testdata/%s belongs to no test", f.Name())
	}
}

// TestJSON_valid reads each golden object again.
func TestJSON_valid(t *testing.T) {
	for name, r := range results(t) {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			if err := report.JSON(&b, r); err != nil {
				t.Fatal(err)
			}
			if bytes.Count(b.Bytes(), []byte("\n")) != 1 || !bytes.HasSuffix(b.Bytes(), []byte("}\n")) {
				t.Error("it is not one object on one line")
			}
			var o struct {
				State *int
				Text  string
				Nodes []struct{ Name string }
			}
			if err := json.Unmarshal(b.Bytes(), &o); err != nil {
				t.Fatal(err)
			}
			if o.State == nil || *o.State != int(r.State) || o.Text == "" || len(o.Nodes) != r.Counts.All() {
				t.Errorf("it says state %v, text %q and %d nodes", o.State, o.Text, len(o.Nodes))
			}
		})
	}
}
