//go:build system

package test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/report"
)

// TestPerl_state holds the state of a check against what Perl's module returns
// for the same ranges and the same number of dead nodes.
func TestPerl_state(t *testing.T) {
	t.Parallel()
	r := newGenerator(t)
	states := make([]report.State, perlCases)
	questions := make([]perlQuestion, perlCases)
	for i := range states {
		limits, warning, critical := generatedLimits(t, r)
		n := 1 + r.IntN(40)
		dead := r.IntN(n + 1)
		st := awa.ClusterStatus{Nodes: make([]awa.NodeStatus, n)}
		for k := range st.Nodes {
			st.Nodes[k].Verdict = awa.Online
			if k < dead {
				st.Nodes[k].Verdict = pick(r, awa.Offline, awa.Mismatch)
			}
		}
		states[i] = report.Evaluate(st, report.Selection{}, report.Rules{Dead: limits}, time.Now()).State
		questions[i] = perlQuestion{Warning: &warning, Critical: &critical, Values: []string{strconv.Itoa(dead)}}
	}
	seen := map[report.State]int{}
	for i, perl := range askPerl(t, questions) {
		seen[states[i]]++
		if q := questions[i]; perl.Codes[0] != states[i].ExitCode() {
			t.Fatalf("-w %q -c %q and %s dead nodes: %v, and in Perl %d", *q.Warning, *q.Critical, q.Values[0], states[i],
				perl.Codes[0])
		}
	}
	for s := report.OK; s <= report.Critical; s++ {
		if seen[s] < perlCases/20 {
			t.Errorf("only %d cases came to %v", seen[s], s)
		}
	}
}

// generatedLimits are ranges that can be read, with their texts; sometimes
// there is none, which is "" to Perl's module.
func generatedLimits(t *testing.T, r *rand.Rand) (limits report.Limits, warning, critical string) {
	t.Helper()
	one := func() (report.Threshold, string) {
		if r.IntN(10) == 0 {
			return report.Threshold{}, ""
		}
		for {
			s := spec(r)
			if th, err := report.ParseThreshold(s); err == nil {
				return th, s
			}
		}
	}
	limits.Warning, warning = one()
	limits.Critical, critical = one()
	return limits, warning, critical
}

// TestPerl_perfdata reads the perfdata of generated results with Perl's
// module: all values come through as they were meant.
func TestPerl_perfdata(t *testing.T) {
	t.Parallel()
	r := newGenerator(t)
	limits := func() report.Limits {
		l, _, _ := generatedLimits(t, r)
		return l
	}
	var meant [][]perfValue
	var questions []perlQuestion
	add := func(write func(io.Writer, report.Result) error, result report.Result, values []perfValue) {
		var b bytes.Buffer
		if err := write(&b, result); err != nil {
			t.Fatal(err)
		}
		_, perf, _ := strings.Cut(strings.TrimSpace(b.String()), " | ")
		questions = append(questions, perlQuestion{Perfdata: &perf})
		meant = append(meant, values)
	}
	for range perlCases / 2 {
		rules := report.Rules{Dead: limits(), Unreachable: limits(), Behind: limits(), Skew: limits(), RTT: limits()}
		st := generatedStatus(r)
		result := report.Evaluate(st, report.Selection{}, rules, time.Now())
		result.Took = time.Duration(1+r.IntN(10_000_000)) * time.Microsecond
		add(report.Nagios, result, meantPerfdata(st, rules, result))
		add(report.NodePerfdata, result, meantNodePerfdata(st))
	}
	for i, perl := range askPerl(t, questions) {
		want := meant[i]
		for k := range want {
			want[k] = readByPerl(want[k])
		}
		if got := fmt.Sprintf("%q", perl.Perfdata); got != fmt.Sprintf("%q", want) {
			t.Fatalf("of %q Perl reads\n%s, which was meant as\n%q", *questions[i].Perfdata, got, want)
		}
	}
}

// generatedStatus has nodes of all kinds, or of few.
func generatedStatus(r *rand.Rand) awa.ClusterStatus {
	verdicts := [][]awa.Verdict{{awa.Online}, {awa.Offline, awa.Mismatch}, {awa.Online, awa.Offline, awa.Unreachable,
		awa.Mismatch}}[r.IntN(3)]
	micros := func() time.Duration { return time.Duration(r.IntN(pick(r, 10, 1000, 10_000_000))) * time.Microsecond }
	most := pick(r, 3, 30)
	if r.IntN(100) == 0 {
		most = 1000
	}
	st := awa.ClusterStatus{Nodes: make([]awa.NodeStatus, 1+r.IntN(most))}
	for i := range st.Nodes {
		n := &st.Nodes[i]
		n.Node = awa.Node{ID: uint64(i + 1), Name: pick(r, "n", "web-", "a.b_c-") + strconv.Itoa(i+1), Host: "10.0.0.1",
			Port: awa.DefaultPort}
		if n.Verdict = verdicts[r.IntN(len(verdicts))]; n.Verdict == awa.Online {
			n.RTT, n.Behind, n.Skew = micros(), uint64(r.IntN(5)), micros()*time.Duration(pick(r, -1, 1))
			n.SkewError = time.Duration(r.IntN(2)) * time.Microsecond
		}
		if r.IntN(5) == 0 {
			n.Node.Maintenance = time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
		}
	}
	return st
}

// meantPerfdata is what the perfdata of a result is to say.
func meantPerfdata(st awa.ClusterStatus, rules report.Rules, result report.Result) []perfValue {
	counts := map[awa.Verdict]int{}
	var rtt, skew time.Duration
	var behind uint64
	measured, skewed, maintained := false, false, 0
	for _, n := range st.Nodes {
		if n.Node.Maintenance != "" {
			maintained++
			continue
		}
		counts[n.Verdict]++
		if n.Verdict == awa.Online {
			measured = true
			rtt, behind = max(rtt, n.RTT), max(behind, n.Behind)
			if n.SkewError > 0 {
				skewed = true
				skew = max(skew, max(n.Skew, -n.Skew)-n.SkewError)
			}
		}
	}
	counted := len(st.Nodes) - maintained
	whole := strconv.Itoa(counted)
	value := func(v perfValue, l report.Limits) perfValue {
		v.Warning, v.Critical, v.Min = l.Warning.Absolute(counted), l.Critical.Absolute(counted), "0"
		return v
	}
	count := func(verdict awa.Verdict, l report.Limits) perfValue {
		return value(perfValue{Label: string(verdict), Value: strconv.Itoa(counts[verdict]), Max: whole}, l)
	}
	all := []perfValue{
		count(awa.Online, report.Limits{}), count(awa.Offline, rules.Dead),
		count(awa.Unreachable, rules.Unreachable), count(awa.Mismatch, rules.Dead),
		{Label: "maintenance", Value: strconv.Itoa(maintained), Min: "0"},
		{Label: "health", Value: "0", Min: "0"},
	}
	if measured {
		all = append(all, value(perfValue{Label: "behind", Value: strconv.FormatUint(behind, 10)}, rules.Behind),
			value(inSeconds("rtt_max", rtt), rules.RTT))
	}
	if skewed {
		all = append(all, value(inSeconds("skew_max", skew), rules.Skew))
	}
	return append(all, value(inSeconds("time", result.Took), report.Limits{}),
		perfValue{Label: "state", Value: strconv.Itoa(result.State.ExitCode()), Min: "0", Max: "3"})
}

// meantNodePerfdata is what the perfdata of the nodes is to say: the round trip
// of each that is online. No name here is too long for a label.
func meantNodePerfdata(st awa.ClusterStatus) []perfValue {
	all := []perfValue{} // as Perl's answer has it
	for _, n := range st.Nodes {
		if n.Verdict == awa.Online {
			all = append(all, inSeconds("rtt-"+n.Node.Name, n.RTT))
		}
	}
	return all
}

// inSeconds is a value as Perl writes numbers.
func inSeconds(label string, d time.Duration) perfValue {
	return perfValue{Label: label, Value: strconv.FormatFloat(float64(d.Microseconds())/1e6, 'g', -1, 64), UOM: "s"}
}

// readByPerl is what Perl's module reads of a value. It knows no @, although
// the guidelines do: it stops at the first one, and leaves out the rest.
func readByPerl(v perfValue) perfValue {
	switch {
	case strings.HasPrefix(v.Warning, "@"):
		v.Warning, v.Critical, v.Min, v.Max = "", "", "", ""
	case strings.HasPrefix(v.Critical, "@"):
		v.Critical, v.Min, v.Max = "", "", ""
	}
	return v
}
