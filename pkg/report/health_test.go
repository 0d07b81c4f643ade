package report_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/report"
)

// sick is a status of three nodes that are online, with health codes.
func sick(conditions ...awa.Condition) awa.ClusterStatus {
	s := awa.ClusterStatus{Cluster: "c", Agent: "n1", Leader: "n1", Voters: []string{"n1"}, SweptAt: time.Unix(1, 0),
		Health: conditions}
	for i, name := range []string{"n1", "n2", "n3"} {
		s.Nodes = append(s.Nodes, awa.NodeStatus{Node: awa.Node{ID: uint64(i + 1), Name: name, Host: "h", Port: 1},
			Verdict: awa.Online, RTT: time.Millisecond})
	}
	return s
}

func TestEvaluate_health(t *testing.T) {
	full := awa.Condition{Code: awa.DiskFull, Agent: "n2", Text: "the disk of n2 is full"}
	last := awa.Condition{Code: awa.LastMajority, Text: "one more lost voter stops edits"}
	stranger := awa.Condition{Code: awa.OtherCluster, Text: "10.0.0.9:1 belongs to another cluster"}
	newer := awa.Condition{Code: "NEW_CODE", Agent: "n3", Text: "see the manual"}
	maintained := sick(full)
	maintained.Nodes[1].Node.Maintenance = "2030-01-01T00:00:00Z"
	named := func(names ...string) report.Selection { return report.Selection{Names: names} }
	for name, test := range map[string]struct {
		status awa.ClusterStatus
		sel    report.Selection
		change map[awa.HealthCode]report.State
		state  report.State
		text   string
	}{
		"a full disk": {sick(full), report.Selection{}, nil, report.Critical,
			"3 of 3 nodes online, but DISK_FULL: the disk of n2 is full"},
		"what is shown only": {sick(last), report.Selection{}, nil, report.OK,
			"3 of 3 nodes online, but LAST_MAJORITY"},
		"of a part of the cluster": {sick(last), report.Selection{Exclude: globs(t, "n3")}, nil, report.OK,
			"2 of 2 nodes online"},
		"the worst first": {sick(last, full), report.Selection{}, nil, report.Critical,
			"3 of 3 nodes online, but DISK_FULL: the disk of n2 is full, and LAST_MAJORITY"},
		"as the user wants it": {sick(full), report.Selection{},
			map[awa.HealthCode]report.State{awa.DiskFull: report.OK}, report.OK, "3 of 3 nodes online, but DISK_FULL"},
		"of a later version": {sick(newer), report.Selection{}, nil, report.Warning,
			"3 of 3 nodes online, but NEW_CODE: see the manual"},
		"a host check of it": {sick(full), named("n2"), nil, report.Critical,
			"n2 is online, 1 ms, but DISK_FULL: the disk of n2 is full"},
		"a host check of another": {sick(full, last, stranger), named("n1"), nil, report.OK, "n1 is online, 1 ms"},
		"an agent that is not on the list": {sick(stranger), report.Selection{}, nil, report.Critical,
			"3 of 3 nodes online, but OTHER_CLUSTER: 10.0.0.9:1 belongs to another cluster"},
		"under maintenance": {maintained, report.Selection{}, nil, report.OK,
			"2 of 2 nodes online (1 under maintenance)"},
	} {
		t.Run(name, func(t *testing.T) {
			rules := report.Rules{Health: report.DefaultHealth()}
			for code, state := range test.change {
				rules.Health[code] = state
			}
			r := report.Evaluate(test.status, test.sel, rules, time.Unix(2, 0))
			if r.State != test.state || r.Text() != test.text {
				t.Errorf("%v: %s\nwant %v: %s", r.State, r.Text(), test.state, test.text)
			}
		})
	}
}

// Every format shows the codes that hold.
func TestHealth_formats(t *testing.T) {
	s := sick(awa.Condition{Code: awa.Diverged, Agent: "n2", Text: "the list of n2 contradicts\n| that of the cluster"})
	r := report.Evaluate(s, report.Selection{}, report.Rules{Health: report.DefaultHealth()}, time.Unix(2, 0))
	for name, test := range map[string]struct {
		write func(*bytes.Buffer) error
		want  string
	}{
		"nagios": {func(b *bytes.Buffer) error { return report.Nagios(b, r) }, "AWA CRITICAL - 3 of 3 nodes online, but " +
			"DIVERGED: the list of n2 contradicts / that of the cluster |"},
		"table": {func(b *bytes.Buffer) error { return report.Table(b, r, report.Options{}) },
			"\nDIVERGED: the list of n2 contradicts / that of the cluster\n"},
		"influx": {func(b *bytes.Buffer) error { return report.Influx(b, r) },
			"\nawa_health,cluster=c,code=DIVERGED,node=n2 agent=\"n1\",state=2i,text=\"the list of n2 contradicts | that of the " +
				"cluster\" 2000000000\n"},
		"json": {func(b *bytes.Buffer) error { return report.JSON(b, r) },
			`"health":[{"code":"DIVERGED","agent":"n2","state":2,"text":"the list of n2 contradicts\n| that of the cluster"}]`},
	} {
		var b bytes.Buffer
		if err := test.write(&b); err != nil || !strings.Contains(b.String(), test.want) {
			t.Errorf("%s: %v\n%s\nwant %s", name, err, b.String(), test.want)
		}
	}
}

// Each code has a severity, a sentence, and a section in the manual.
func TestHealthCodes(t *testing.T) {
	for _, code := range awa.HealthCodes() {
		if text := code.Of("n2"); !strings.Contains(text, "n2") || strings.Contains(text, "%!") {
			t.Errorf("%s says %q", code, text)
		}
		if _, ok := report.DefaultHealth()[code]; !ok {
			t.Errorf("%s has no state", code)
		}
	}
}

// A clock is judged by what is certain of its skew: a slow answer leaves it open by
// half its time.
func TestEvaluate_skew(t *testing.T) {
	warning, err := report.ParseThreshold("0.1")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		skew, most time.Duration
		state      report.State
	}{
		{151 * time.Millisecond, 151 * time.Millisecond, report.OK},
		{-151 * time.Millisecond, 60 * time.Millisecond, report.OK},
		{-151 * time.Millisecond, 50 * time.Millisecond, report.Warning},
		{300 * time.Millisecond, 151 * time.Millisecond, report.Warning},
		{10 * time.Second, 0, report.OK}, // it is not known
	} {
		st := awa.ClusterStatus{Agent: "n1", Nodes: []awa.NodeStatus{{Node: awa.Node{ID: 1, Name: "n1"}, Verdict: awa.Online,
			Skew: test.skew, SkewError: test.most}}}
		r := report.Evaluate(st, report.Selection{}, report.Rules{Skew: report.Limits{Warning: warning}}, time.Unix(2, 0))
		if r.State != test.state {
			t.Errorf("%v, give or take %v: %v: %s", test.skew, test.most, r.State, r.Text())
		}
	}
}
