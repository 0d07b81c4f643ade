package report_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/report"
)

// FuzzFormats makes a result out of what no agent should send, with any
// selection and rules, and holds every format to its promise.
func FuzzFormats(f *testing.F) {
	f.Add(uint64(1), "n1", "10.0.0.1", "connect", "connection refused", "role", "db")
	f.Add(uint64(2), "a|b", `c\`, "", "\n\x00\xff", "host", "x;y")
	f.Add(uint64(3), "", "", "", "", "", "")
	f.Add(uint64(4), "=, ", ",", "=", " ", "label_host", "\\")
	f.Add(uint64(5), strings.Repeat("n", 63), strings.Repeat("漢", 300), "tls", strings.Repeat("'\"`$", 300), "time", strings.Repeat("v", 255))
	f.Fuzz(func(t *testing.T, seed uint64, name, host, stage, why, key, value string) {
		checkFormats(t, generate(rand.New(rand.NewPCG(seed, 0)), []string{name, host, stage, why, key, value}))
	})
}

// TestFormats_generated does the same many times over with texts as long and
// as bad as they get, and with names that are right.
func TestFormats_generated(t *testing.T) {
	texts := []string{"n1", "n7", strings.Repeat("n", awa.MaxName), strings.Repeat("漢", 300), strings.Repeat("'\"`$|\\&;<>", 100), "\n\x00\xff\u2028\u202e", "", "a=b c,d", strings.Repeat("x y ", 200)}
	for seed := range uint64(1000) {
		if checkFormats(t, generate(rand.New(rand.NewPCG(seed, 1)), texts)); t.Failed() {
			t.Fatalf("with the seed %d", seed)
		}
	}
}

// checkFormats holds every format to its promise.
func checkFormats(t *testing.T, r report.Result) {
	t.Helper()
	var b bytes.Buffer
	for kind, write := range kinds {
		b.Reset()
		if err := write(&b, r); err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		switch kind {
		case "nagios":
			checkLine(t, b.Bytes())
		case "table":
			if strings.ContainsRune(b.String(), '|') || !utf8.Valid(b.Bytes()) {
				t.Errorf("the table is %q", &b)
			}
		case "influx":
			checkInflux(t, b.Bytes(), r)
		case "json":
			if bytes.Count(b.Bytes(), []byte("\n")) != 1 || !utf8.Valid(b.Bytes()) {
				t.Errorf("the object is %q", &b)
			}
		case "node_perfdata":
			checkNodePerfdata(t, b.String())
		}
	}
	checkTerminal(t, r)
	c := r.Counts
	if c.Online+c.Offline+c.Mismatch+c.Unreachable+c.Stopped != c.Nodes {
		t.Errorf("%+v do not add up", c)
	}
}

// checkTerminal holds the table to the size of a terminal.
func checkTerminal(t *testing.T, r report.Result) {
	t.Helper()
	table, err := report.ParseFormat("table")
	if err != nil {
		t.Fatal(err)
	}
	const columns, lines = 60, 24
	var b bytes.Buffer
	if err := table.Write(&b, r, report.Options{Width: columns, Lines: lines}); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(b.String()) {
		if w := report.DisplayWidth(strings.TrimSuffix(line, "\n")); w > columns || strings.Contains(line, "\x1b") {
			t.Errorf("a line has %d columns: %q", w, line)
		}
	}
}

// generate makes a result by chance. Its texts are those given, and cuts of
// them.
func generate(rnd *rand.Rand, texts []string) report.Result {
	text := func() string {
		s := texts[rnd.IntN(len(texts))]
		if len(s) > 0 && rnd.IntN(3) == 0 {
			s = s[rnd.IntN(len(s)):]
		}
		return s
	}
	ranges := []string{"", "0", "10%", "~:", "1:", "@0:5", "0.000001", "@~:999999999.999999",
		"999999999.999999:999999999.9999999", "3%:999999999.999999%"}
	limits := func() (l report.Limits) { // errors are none here
		l.Warning, _ = report.ParseThreshold(ranges[rnd.IntN(len(ranges))])
		l.Critical, _ = report.ParseThreshold(ranges[rnd.IntN(len(ranges))])
		return l
	}
	failures := []report.Failure{{Agent: text(), Err: errors.New(text())},
		{Agent: text(), Err: report.ErrIsolated}}[rnd.IntN(3)%2:]
	if rnd.IntN(8) == 0 {
		return report.NoAnswer(failures, report.State(rnd.IntN(4)), now)
	}
	st := cluster(1 + rnd.IntN(40))
	verdicts := []awa.Verdict{awa.Online, awa.Online, awa.Offline, awa.Mismatch, awa.Unreachable, awa.Verdict(text())}
	for i := range st.Nodes {
		n := &st.Nodes[i]
		if n.Verdict = verdicts[rnd.IntN(len(verdicts))]; n.Verdict != awa.Online {
			kill(st, i, awa.Stage(text()), text())
			n.Verdict, n.Asked, n.SeenBy = verdicts[2+rnd.IntN(4)], rnd.IntN(4), []string{text(), text()}
		}
		if rnd.IntN(2) == 0 {
			n.Node.Name, n.Node.Host = text(), text()
		}
		if rnd.IntN(5) == 0 {
			maintain(st, i)
		}
		n.Node.Labels = map[string]string{text(): text(), "role": text(), "host": text(), "label_host": text(), "time": "x"}
		n.RTT, n.Behind = time.Duration(rnd.Uint64()>>(1+rnd.IntN(60))), rnd.Uint64()>>(1+rnd.IntN(60))
		n.Skew, n.SkewError = time.Duration(rnd.Uint64()), time.Duration(rnd.IntN(2))
	}
	st.Agent, st.Cluster, st.Leader, st.Isolated = text(), text(), text(), rnd.IntN(4) == 0
	st.Voters = []string{st.Nodes[0].Node.Name, "n2", "n3", text(), "n5"}
	var sel report.Selection
	if rnd.IntN(3) == 0 {
		sel.Names = []string{st.Nodes[rnd.IntN(len(st.Nodes))].Node.Name}
	}
	if rnd.IntN(4) == 0 {
		sel.Labels = []report.Label{{Key: "role", Value: text()}}
	}
	rules := report.Rules{Dead: limits(), Unreachable: limits(), Behind: limits(), Skew: limits(), RTT: limits(),
		NoMajority: report.State(rnd.IntN(4))}
	r := report.Evaluate(st, sel, rules, now)
	r.Failures, r.Took = failures, time.Duration(rnd.Uint64()>>1)
	return r
}

func FuzzRTTLabel(f *testing.F) {
	f.Add("web1", "web2")
	f.Add("web-server-production-0001", "web-server-production-0002")
	f.Add("fifteen-letters", "fifteen-letterss")
	f.Add("WEB-SERVER-PRODUCTION", "web-server-production")
	f.Add("a b", "a=b")
	f.Add("", "|")
	f.Fuzz(func(t *testing.T, a, b string) {
		la, lb := report.RTTLabel(a), report.RTTLabel(b)
		if !nodeItem.MatchString(la + "=0.000200s") {
			t.Errorf("%q becomes %q", a, la)
		}
		if la == lb && awa.NameKey(a) != awa.NameKey(b) {
			t.Errorf("%q and %q both become %q", a, b, la)
		}
	})
}

func FuzzLabelTag(f *testing.F) {
	f.Add("role", "host")
	f.Add("host", "label_host")
	f.Add("label_host", "label_label_host")
	f.Add("time", "label_time")
	f.Fuzz(func(t *testing.T, a, b string) {
		if a != b && report.LabelTag(a) == report.LabelTag(b) {
			t.Errorf("%q and %q both become %q", a, b, report.LabelTag(a))
		}
		for _, taken := range strings.Fields("agent cluster host node online verdict maintenance port rtt behind skew " +
			"skew_error error time") {
			if report.LabelTag(a) == taken {
				t.Errorf("%q becomes %q, which is taken", a, taken)
			}
		}
	})
}

// FuzzSelection proves that a pattern either is refused or never fails, and
// that case does not matter.
func FuzzSelection(f *testing.F) {
	for _, s := range []string{"*", "n?", "n[1-2]", "[", "N*", `\n1`, "[^n]*", "n[", "é*"} {
		f.Add(s, "k=v")
	}
	f.Fuzz(func(t *testing.T, pattern, label string) {
		glob, err := report.ParseGlob(pattern)
		if err != nil {
			return
		}
		sel := report.Selection{Exclude: []report.Glob{glob}}
		if l, err := report.ParseLabel(label); err == nil {
			if l.String() != label {
				t.Errorf("the label %q became %q", label, l)
			}
			sel.Labels = []report.Label{l}
		}
		lower, upper := cluster(3), cluster(3)
		for i := range upper.Nodes {
			upper.Nodes[i].Node.Name = strings.ToUpper(upper.Nodes[i].Node.Name)
		}
		a, b := report.Evaluate(lower, sel, report.Rules{}, now), report.Evaluate(upper, sel, report.Rules{}, now)
		if a.Counts != b.Counts || (a.State == report.Unknown) != (a.Counts.Nodes == 0) {
			t.Errorf("%q selects %+v, and %+v in capitals, and is %v", sel, a.Counts, b.Counts, a.State)
		}
	})
}
