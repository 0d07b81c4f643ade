package report_test

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/report"
)

func TestEvaluate(t *testing.T) {
	dead := func(n, of int) awa.ClusterStatus {
		st := cluster(of)
		st.Voters = nil // judged in TestEvaluate_majority
		for i := range n {
			kill(st, i, awa.StageConnect, "connection refused")
		}
		return st
	}
	excused := dead(2, 10)
	maintain(excused, 0)
	over := dead(1, 3)
	over.Nodes[0].Node.Maintenance = now.Format(time.RFC3339)
	unheard := cluster(3)
	unheard.Nodes[2].Verdict = "" // an agent that says nothing of it
	mixed := dead(4, 10)
	for i, v := range []awa.Verdict{awa.Unreachable, awa.Unreachable, awa.Mismatch} {
		mixed.Nodes[i].Verdict = v
	}
	maintain(mixed, 1)
	apart := dead(1, 3)
	apart.Nodes[0].Verdict = awa.Unreachable
	tests := map[string]struct {
		st                awa.ClusterStatus
		warning, critical string
		want              report.State
		counts            report.Counts
	}{
		"all well":                     {dead(0, 3), "", "0", report.OK, report.Counts{Nodes: 3, Online: 3}},
		"one dead":                     {dead(1, 3), "", "0", report.Critical, report.Counts{Nodes: 3, Online: 2, Offline: 1}},
		"no rules":                     {dead(3, 3), "", "", report.OK, report.Counts{Nodes: 3, Offline: 3}},
		"critical goes before warning": {dead(3, 3), "0", "2", report.Critical, report.Counts{Nodes: 3, Offline: 3}},
		"warning below critical":       {dead(2, 3), "0", "2", report.Warning, report.Counts{Nodes: 3, Online: 1, Offline: 2}},
		"percent of all nodes": {st: dead(3, 10), warning: "20%", critical: "30%", want: report.Warning,
			counts: report.Counts{Nodes: 10, Online: 7, Offline: 3}},
		"maintenance excuses": {st: excused, critical: "1", want: report.OK, counts: report.Counts{Nodes: 9, Online: 8,
			Offline: 1, Maintenance: 1}},
		"percent of those that count": {st: excused, warning: "11%", critical: "12%", want: report.Warning,
			counts: report.Counts{Nodes: 9, Online: 8, Offline: 1, Maintenance: 1}},
		"maintenance that is over":   {over, "", "0", report.Critical, report.Counts{Nodes: 3, Online: 2, Offline: 1}},
		"unreachable is a warning":   {apart, "", "0", report.Warning, report.Counts{Nodes: 3, Online: 2, Unreachable: 1}},
		"unreachable, with no rules": {apart, "", "", report.Warning, report.Counts{Nodes: 3, Online: 2, Unreachable: 1}},
		"mismatch is not alive": {st: mixed, critical: "1", want: report.Critical, counts: report.Counts{Nodes: 9,
			Online: 6, Offline: 1, Mismatch: 1, Unreachable: 1, Maintenance: 1}},
		"unreachable doesn't add up": {st: mixed, critical: "2", want: report.Warning, counts: report.Counts{Nodes: 9,
			Online: 6, Offline: 1, Mismatch: 1, Unreachable: 1, Maintenance: 1}},
		"no verdict is not alive": {unheard, "", "0", report.Critical, report.Counts{Nodes: 3, Online: 2, Offline: 1}},
		"no nodes":                {dead(0, 0), "", "0", report.Unknown, report.Counts{}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r := report.Evaluate(test.st, all, rules(t, test.warning, test.critical), now)
			if r.State != test.want || r.Counts != test.counts {
				t.Errorf("it is %v with %+v, want %v with %+v", r.State, r.Counts, test.want, test.counts)
			}
		})
	}
}

// TestEvaluate_rules judges one cluster by one rule after the other.
func TestEvaluate_rules(t *testing.T) {
	limits := func(warning, critical string) report.Limits {
		return report.Limits{Warning: threshold(t, warning), Critical: threshold(t, critical)}
	}
	tests := map[string]struct {
		rules report.Rules
		want  report.State
		text  string
	}{
		"none":                   {report.Rules{}, report.OK, "1 of 10 nodes offline (2 more under maintenance): n2 ("},
		"dead":                   {report.Rules{Dead: limits("", "1")}, report.Critical, "1 of 10 nodes offline"},
		"as many dead as may be": {report.Rules{Dead: limits("", "2")}, report.OK, "1 of 10 nodes offline"},
		"a share of dead":        {report.Rules{Dead: limits("19%", "20%")}, report.Warning, "1 of 10 nodes offline"},
		"unreachable":            {report.Rules{Unreachable: limits("0", "1")}, report.Warning, "1 of 10 nodes unreachable"},
		"behind":                 {report.Rules{Behind: limits("7", "")}, report.OK, "1 of 10 nodes offline"},
		"further behind": {rules: report.Rules{Behind: limits("6", "7")}, want: report.Warning,
			text: "n5 lacks 7 changes (the warning range is 6), and 1 of 10"},
		"skew, ahead or behind": {rules: report.Rules{Skew: limits("5", "")}, want: report.Warning,
			text: "2 clocks differ: n8 (3600 s behind n1), n7 (7.2 s ahead of n1) (the warning range is 5), and 1 of 10"},
		"skew that may be": {report.Rules{Skew: limits("3600", "")}, report.OK, "1 of 10"},
		"rtt": {rules: report.Rules{RTT: limits("0.1", "0.699999")}, want: report.Critical, text: "n9 answers after 700 " +
			"ms (the critical range is 0.699999), and 1 of 10"},
		"rtt that may be": {report.Rules{RTT: limits("0.7", "")}, report.OK, "1 of 10"},
		"the critical ones only": {rules: report.Rules{Behind: limits("0", "5")}, want: report.Critical,
			text: "n5 lacks 7 changes (the critical range is 5), and"},
		"no majority": {rules: report.Rules{NoMajority: report.Unknown}, want: report.Unknown, text: "no majority for " +
			"edits, 2 of 3 voters not alive (n2, n3), and 1 of 10"},
		"critical before unknown": {rules: report.Rules{NoMajority: report.Unknown, Dead: limits("", "0")},
			want: report.Critical, text: "1 of 10 nodes offline"},
		"unknown before warning": {rules: report.Rules{NoMajority: report.Unknown, Dead: limits("0", "")},
			want: report.Unknown, text: "no majority"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r := report.Evaluate(troubled(), all, test.rules, now)
			if r.State != test.want || !strings.HasPrefix(r.Text(), test.text) {
				t.Errorf("it is %v: %s", r.State, r.Text())
			}
		})
	}
}

func TestEvaluate_majority(t *testing.T) {
	const dead, away, wrong = awa.Offline, awa.Unreachable, awa.Mismatch
	tests := map[string]struct {
		voters   []string
		verdicts []awa.Verdict // of n1, n2 and so on
		sel      report.Selection
		want     []string
	}{
		"all alive":              {[]string{"n1", "n2", "n3"}, nil, all, nil},
		"one of three dead":      {[]string{"n1", "n2", "n3"}, []awa.Verdict{dead}, all, nil},
		"two of three dead":      {[]string{"n1", "n2", "n3"}, []awa.Verdict{dead, wrong}, all, []string{"n1", "n2"}},
		"unreachable is alive":   {[]string{"n1", "n2", "n3"}, []awa.Verdict{dead, away}, all, nil},
		"two of five dead":       {[]string{"n1", "n2", "n3", "n4", "n5"}, []awa.Verdict{dead, dead}, all, nil},
		"half is not a majority": {[]string{"n1", "n2"}, []awa.Verdict{dead}, all, []string{"n1"}},
		"the only one":           {[]string{"n1"}, []awa.Verdict{dead}, all, []string{"n1"}},
		"the only one is alive":  {[]string{"n2"}, []awa.Verdict{dead}, all, nil},
		"no voter is known":      {nil, []awa.Verdict{dead}, all, nil},
		"one is not on the list": {[]string{"n1", "n2", "gone"}, nil, all, nil},
		"names differ by case":   {[]string{"N1"}, []awa.Verdict{dead}, all, []string{"N1"}},
		"voters are not selected": {[]string{"n1", "n2", "n3"}, []awa.Verdict{dead, dead},
			report.Selection{Exclude: globs(t, "n[123]")}, []string{"n1", "n2"}},
		"a host check of no voter": {[]string{"n1", "n2", "n3"}, []awa.Verdict{dead, dead},
			report.Selection{Names: []string{"n5"}}, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			st := cluster(5)
			st.Voters, st.Leader = test.voters, "" // an election is not a reason to alarm
			for i, v := range test.verdicts {
				st.Nodes[i].Verdict = v
			}
			r := report.Evaluate(st, test.sel, report.Rules{NoMajority: report.Warning}, now)
			want := report.OK
			if test.want != nil && len(test.sel.Names) == 0 {
				want = report.Warning
			}
			if !slices.Equal(r.DeadVoters, test.want) || r.State != want {
				t.Errorf("%v are dead, and it is %v: %s", r.DeadVoters, r.State, r.Text())
			}
		})
	}
}

func globs(t *testing.T, patterns ...string) (found []report.Glob) {
	t.Helper()
	for _, p := range patterns {
		g, err := report.ParseGlob(p)
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, g)
	}
	return found
}

// TestEvaluate_maxima proves that what does not count is not in them.
func TestEvaluate_maxima(t *testing.T) {
	st := cluster(4)
	for i := range st.Nodes {
		n := &st.Nodes[i]
		n.RTT, n.Behind, n.Skew = time.Duration(i+1)*time.Second, uint64(i+1), -time.Duration(i+1)*time.Hour
	}
	st.Nodes[1].SkewError = 0 // its skew is not known
	maintain(st, 2)
	st.Nodes[3].Verdict = awa.Unreachable
	m := report.Evaluate(st, all, report.Rules{}, now).Maxima
	if *m.RTT != 2*time.Second || *m.Behind != 2 || *m.Skew != time.Hour-st.Nodes[0].SkewError {
		t.Errorf("they are %v, %v and %v", *m.RTT, *m.Behind, *m.Skew)
	}
	if m := report.Evaluate(st, report.Selection{Names: []string{"n4"}}, report.Rules{},
		now).Maxima; m != (report.Maxima{}) {
		t.Errorf("of no node they are %v", m)
	}
}

func TestParseState(t *testing.T) {
	for s, want := range map[string]report.State{"ok": report.OK, "WARNING": report.Warning, "Critical": report.Critical,
		"unknown": report.Unknown} {
		if got, err := report.ParseState(s); got != want || err != nil {
			t.Errorf("%s is %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "2", "crit", "unknown "} {
		want := fmt.Sprintf("%q is not a state: use ok, warning, critical or unknown", s)
		if got, err := report.ParseState(s); err == nil || err.Error() != want || got != report.Unknown {
			t.Errorf("%q is %v, %v", s, got, err)
		}
	}
}

func TestState_ExitCode(t *testing.T) {
	for s := report.State(-3); s < 300; s++ {
		if code := s.ExitCode(); code < 0 || code > 3 || s >= 0 && s <= 3 && code != int(s) {
			t.Errorf("state %d exits with %d", s, code)
		}
	}
}

// perfItem is one value of the performance data as the guidelines allow it
// and as the project narrows it: no quotes, no U, no exponent.
var perfItem = regexp.MustCompile(`^([a-z_]{1,19})=-?[0-9]+(\.[0-9]+)?(s?)(;[@~:.0-9-]*){0,2}(;[0-9.]*){0,2}$`)

// nodeItem is one value of the performance data of nodes.
var nodeItem = regexp.MustCompile(`^rtt-[A-Za-z0-9._~-]{1,15}=[0-9]+\.[0-9]{6}s$`)

// checkNodePerfdata fails when s is not one line of performance data behind a
// text, or nothing.
func checkNodePerfdata(t *testing.T, s string) {
	t.Helper()
	if s == "" {
		return
	}
	text, rest, _ := strings.Cut(s, " | ")
	perf, ok := strings.CutSuffix(rest, "\n")
	if !ok || text == "" {
		t.Errorf("it is not a line: %q", s)
	}
	seen := map[string]bool{}
	for item := range strings.SplitSeq(perf, " ") {
		label, _, _ := strings.Cut(item, "=")
		if !nodeItem.MatchString(item) || seen[label] {
			t.Errorf("%q is not perfdata of its own", item)
		}
		seen[label] = true
	}
}

// checkLine fails when b is not one line that a Nagios plugin may print.
func checkLine(t *testing.T, b []byte) {
	t.Helper()
	line, ok := strings.CutSuffix(string(b), "\n")
	if !ok || len(b) >= 1024 {
		t.Errorf("it has %d bytes and ends in %q", len(b), b[len(b)-1:])
	}
	text, perf, _ := strings.Cut(line, " | ")
	if !utf8.ValidString(line) || strings.ContainsAny(text, "|\"'`\\$&;<>") || strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		t.Errorf("the text is not safe: %q", text)
	}
	seen := map[string]bool{}
	for item := range strings.SplitSeq(perf, " ") {
		m := perfItem.FindStringSubmatch(item)
		if perf != "" && (m == nil || seen[m[1]]) {
			t.Errorf("%q is not perfdata of its own", item)
		} else if m != nil {
			seen[m[1]] = true
		}
	}
}

func TestNagios_line(t *testing.T) {
	for name, r := range results(t) {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			if err := report.Nagios(&b, r); err != nil {
				t.Fatal(err)
			}
			checkLine(t, b.Bytes())
		})
	}
}

// TestNagios_size makes every part as long as it gets.
func TestNagios_size(t *testing.T) {
	const n = 100_000
	long := strings.Repeat("9", 9)
	st := cluster(n)
	for i := range st.Nodes {
		kill(st, i, awa.StageConnect, strings.Repeat("x", 1000))
		st.Nodes[i].Node.Name = strings.Repeat("n", awa.MaxName)
		if i%2 == 0 {
			maintain(st, i)
		}
	}
	one := &st.Nodes[7]
	one.Verdict, one.RTT, one.Skew, one.SkewError, one.Behind = awa.Online, math.MaxInt64, math.MinInt64, 1, math.MaxUint64
	share := threshold(t, "@"+long+".999999%:"+long+".9999999%")
	of := report.Limits{Warning: share, Critical: share}
	number := threshold(t, long+".999999:"+long+".9999999")
	each := report.Limits{Warning: number, Critical: number}
	r := report.Evaluate(st, all, report.Rules{Dead: of, Unreachable: of, Behind: each, Skew: each, RTT: each, NoMajority: report.Warning}, now)
	r.Took = math.MaxInt64
	var b bytes.Buffer
	if err := report.Nagios(&b, r); err != nil {
		t.Fatal(err)
	}
	checkLine(t, b.Bytes())
	text, _, _ := strings.Cut(b.String(), " | online=1;;;0;50000 ")
	if text == b.String() || len(text) < 200 {
		t.Errorf("got %s", &b)
	}

	failures := make([]report.Failure, 500)
	for i := range failures {
		failures[i] = report.Failure{Agent: strings.Repeat("h", 260), Err: errors.New(strings.Repeat("e", 1000))}
	}
	for _, n := range []int{0, 1, 2, 500} {
		b.Reset()
		if err := report.Nagios(&b, report.NoAnswer(failures[:n], report.Critical, now)); err != nil {
			t.Fatal(err)
		}
		checkLine(t, b.Bytes())
	}
}

// TestTable_bar proves that a table can follow a plugin's line.
func TestTable_bar(t *testing.T) {
	for name, r := range results(t) {
		var b bytes.Buffer
		if err := report.Table(&b, r, report.Options{}); err != nil {
			t.Fatal(err)
		}
		if strings.ContainsRune(b.String(), '|') || strings.ContainsFunc(b.String(), func(r rune) bool { return r < ' ' && r != '\n' || r == 0x7f }) {
			t.Errorf("%s holds a bar or a control character: %q", name, &b)
		}
		want := len(r.Failures) + len(r.Advice()) + report.Common(r) + r.Counts.All() + 2 // the summary and the head
		if r.Counts.All() == 0 {
			want = len(r.Failures) + 1
		}
		if name == "isolated" || name == "better_view" { // a sentence says whose view it is
			want++
		}
		if r.Status != nil && strings.Count(b.String(), "\n") != want {
			t.Errorf("%s has %d lines, want %d", name, strings.Count(b.String(), "\n"), want)
		}
	}
}

// TestFormats_writeError proves that a closed pipe is noticed.
func TestFormats_writeError(t *testing.T) {
	for name, r := range results(t) {
		for kind, write := range kinds {
			var b bytes.Buffer
			if err := write(&b, r); err != nil || b.Len() == 0 { // there may be no node to have perfdata
				continue
			}
			if err := write(closed{}, r); !errors.Is(err, errClosed) {
				t.Errorf("%s of %s says %v", kind, name, err)
			}
		}
	}
}

var errClosed = errors.New("closed")

type closed struct{}

func (closed) Write([]byte) (int, error) { return 0, errClosed }
