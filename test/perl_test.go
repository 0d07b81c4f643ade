//go:build system

package test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/awatest/testaid"
	"are-we-alive/pkg/report"
)

// envSeed names, in the environment, the seed of the generated cases.
const envSeed = "AWA_TEST_SEED"

// perlCases is how many cases each test generates.
const perlCases = 5000

// newGenerator is seeded by the environment, or always the same.
func newGenerator(t *testing.T) *rand.Rand {
	t.Helper()
	seed := uint64(1)
	if s := os.Getenv(envSeed); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatalf("%s is no number: %v", envSeed, err)
		}
	}
	t.Logf("the seed is %d (%s sets another one)", seed, envSeed)
	return rand.New(rand.NewPCG(seed, 0))
}

// perlQuestion is a line for monitoring_plugin.pl; what is nil is left out.
type perlQuestion struct {
	Range    *string  `json:"range,omitempty"`
	Warning  *string  `json:"warning,omitempty"`
	Critical *string  `json:"critical,omitempty"`
	Perfdata *string  `json:"perfdata,omitempty"`
	Values   []string `json:"values,omitempty"`
}

// perlAnswer is what it answers.
type perlAnswer struct {
	Taken    bool
	Alerts   []bool
	Codes    []int
	Perfdata []perfValue
}

// perfValue is one value of perfdata with what stands beside it, as text; what
// is not there is "".
type perfValue struct{ Label, Value, UOM, Warning, Critical, Min, Max string }

// askPerl puts all questions to Perl's Monitoring::Plugin, in one process.
func askPerl(t *testing.T, questions []perlQuestion) []perlAnswer {
	t.Helper()
	if out, err := exec.Command("perl", "-MMonitoring::Plugin", "-e", "1").CombinedOutput(); err != nil {
		testaid.Skip(t, "Perl's Monitoring::Plugin (Debian's libmonitoring-plugin-perl) can't be used: ", err, " ", string(out))
	}
	var in bytes.Buffer
	write := json.NewEncoder(&in)
	for _, q := range questions {
		if err := write.Encode(q); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "perl", "monitoring_plugin.pl")
	cmd.Stdin, cmd.Stderr = &in, os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var answers []perlAnswer
	lines := bufio.NewScanner(bytes.NewReader(out))
	for lines.Scan() {
		var a perlAnswer
		if err := json.Unmarshal(lines.Bytes(), &a); err != nil {
			t.Fatalf("%v: %s", err, lines.Bytes())
		}
		answers = append(answers, a)
	}
	if len(answers) != len(questions) || lines.Err() != nil {
		t.Fatalf("%d answers to %d questions, %v", len(answers), len(questions), lines.Err())
	}
	return answers
}

// pick gives one of some.
func pick[T any](r *rand.Rand, some ...T) T { return some[r.IntN(len(some))] }

// bound generates a number as a person may write it in a range, with at most
// six digits behind the point, which is what our ranges keep.
func bound(r *rand.Rand) string {
	n := r.IntN(pick(r, 3, 30, 2000))
	s := strconv.Itoa(n)
	switch r.IntN(6) {
	case 0:
		s += "." + pick(r, "0", "5", "25", "125", "000001", "999999", strconv.Itoa(r.IntN(1e6)))
	case 1:
		s = pick(r, "0"+s, s+".", "."+s)
	}
	return pick(r, "", "", "", "-", "+") + s
}

// spec generates a range: in all forms of the guidelines, and now and then
// what is none.
func spec(r *rand.Rand) string {
	number := func() string {
		if r.IntN(40) == 0 {
			return pick(r, "", "~", "x", "-", "+-1", "1e3", "1.2.3", "..1", "5-3", "0x10", "1_000", "inf", "nan", "1,5", "1000000001")
		}
		return bound(r)
	}
	at := pick(r, "", "", "@")
	if r.IntN(100) == 0 {
		at = "@@"
	}
	lo, hi := number(), number()
	if r.IntN(3) > 0 && number0(lo) > number0(hi) {
		lo, hi = hi, lo // most are in order
	}
	s := at + pick(r, hi, lo+":", ":"+hi, "~:"+hi, lo+":"+hi, lo+":"+hi)
	if r.IntN(50) == 0 {
		s = pick(r, "", ":", "@", "~", "~:", "@:", "@~:", "~5", "~5:10", "10:~", "~:~", " "+s, s+" ", s+":"+hi, strings.Repeat("1", 41))
	}
	return s
}

// number0 reads a number; what is none counts as 0.
func number0(s string) float64 {
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
		return 0
	}
	return v
}

// around generates values to hold against a range: its bounds, what lies
// beside them, and others.
func around(r *rand.Rand, spec string) []float64 {
	values := []float64{0, 1, -1, float64(r.IntN(2000)), r.Float64() * 100, -r.Float64() * 100, 1e9, -1e9}
	for s := range strings.SplitSeq(strings.TrimPrefix(spec, "@"), ":") {
		b := number0(strings.TrimSpace(s))
		values = append(values, b, b-1e-6, b+1e-6, b-1, b+1, -b)
	}
	return values
}

// texts writes values as Perl reads them back without a loss.
func texts(values []float64) []string {
	all := make([]string, len(values))
	for i, v := range values {
		all[i] = strconv.FormatFloat(v, 'g', -1, 64)
	}
	return all
}

// strictReason tells why a range is none to us while Perl's module takes it:
// where the guidelines leave no doubt, it is the module that is generous.
func strictReason(s string) string {
	number := strings.NewReplacer("@", "", "~", "", ":", " ")
	switch {
	case strings.ContainsAny(s, " \t"):
		return "it takes out blanks, so that 1 0 is 10; what a shell has split wrongly should be seen"
	case len(s) > report.MaxRange:
		return "it knows no longest range; ours goes back into the plugin's one line"
	case strings.Contains(s, "e"):
		return "it reads exponents, which the guidelines' ranges don't have"
	}
	for n := range strings.FieldsSeq(number.Replace(s)) {
		if strings.Count(n, ".") > 1 || strings.Trim(n, "+-.") == "" {
			return "it takes any digits and points for a number, and 1.2.3 for 1.2"
		}
		if math.Abs(number0(n)) > 1e9 {
			return "it knows no largest number; ours keep six digits behind the point up to 1e9"
		}
	}
	return ""
}

// TestPerl_ranges holds our ranges against those of Perl's Monitoring::Plugin:
// both take the same ones, and alert at the same values.
func TestPerl_ranges(t *testing.T) {
	t.Parallel()
	r := newGenerator(t)
	specs := make([]string, perlCases)
	values := make([][]float64, perlCases)
	questions := make([]perlQuestion, perlCases)
	for i := range specs {
		specs[i] = spec(r)
		values[i] = around(r, specs[i])
		questions[i] = perlQuestion{Range: &specs[i], Values: texts(values[i])}
	}
	taken, refused, stricter := 0, 0, 0
	for i, perl := range askPerl(t, questions) {
		s := specs[i]
		ours, err := report.ParseThreshold(s)
		if why := strictReason(s); why != "" {
			stricter++
			if err == nil {
				t.Errorf("%q is taken for %v, although %s", s, ours, why)
			}
			continue
		}
		if (err == nil) != perl.Taken {
			t.Errorf("%q: our error is %v, and Perl takes it: %v", s, err, perl.Taken)
		}
		if err != nil {
			refused++
			continue
		}
		taken++
		for k, v := range values[i] {
			if got := ours.Alerts(v, 0); got != perl.Alerts[k] {
				t.Errorf("%q alerts at %v: %v, and in Perl %v", s, v, got, perl.Alerts[k])
			}
		}
	}
	t.Logf("%d ranges are taken by both, %d refused by both, %d by us alone", taken, refused, stricter)
	if taken < perlCases/2 || refused < perlCases/50 || stricter < perlCases/100 {
		t.Error("these cases are too much alike")
	}
}

// TestPerl_percent holds ranges with percentages, which Perl's module refuses,
// against it as what they become in perfdata.
func TestPerl_percent(t *testing.T) {
	t.Parallel()
	r := newGenerator(t)
	percent := func() string { return strings.TrimLeft(bound(r), "+-") + "%" }
	var specs, absolute []string
	var wholes []int
	var values [][]float64
	var questions []perlQuestion
	for len(specs) < perlCases {
		s := pick(r, "", "@") + pick(r, percent(), percent()+":", "~:"+percent(), percent()+":"+percent())
		th, err := report.ParseThreshold(s)
		if err != nil {
			continue // its start is above its end
		}
		whole := 1 + r.IntN(2000)
		abs := th.Absolute(whole)
		if abs == "" {
			continue // no number of nodes can leave it
		}
		// The numbers of nodes around its bounds, of which none is negative.
		var vs []float64
		for _, v := range around(r, abs) {
			vs = append(vs, math.Abs(math.Round(v)))
		}
		specs, absolute, wholes, values = append(specs, s), append(absolute, abs), append(wholes, whole), append(values, vs)
	}
	for i := range specs {
		questions = append(questions, perlQuestion{Range: &specs[i]}, perlQuestion{Range: &absolute[i], Values: texts(values[i])})
	}
	answers := askPerl(t, questions)
	for i, s := range specs {
		if answers[2*i].Taken {
			t.Errorf("Perl takes %q: compare it as it is", s)
		}
		perl := answers[2*i+1]
		if !perl.Taken {
			t.Errorf("%q of %d nodes is %q in perfdata, which Perl refuses", s, wholes[i], absolute[i])
			continue
		}
		th, err := report.ParseThreshold(s)
		if err != nil {
			t.Fatal(err)
		}
		for k, v := range values[i] {
			if got := th.Alerts(v, wholes[i]); got != perl.Alerts[k] {
				t.Errorf("%q of %d nodes alerts at %v: %v, and in Perl, of %q, %v", s, wholes[i], v, got, absolute[i], perl.Alerts[k])
			}
		}
	}
}

// TestPerl_state holds the state of a check against what Perl's module gives
// for the same ranges and the same number of dead nodes.
func TestPerl_state(t *testing.T) {
	t.Parallel()
	r := newGenerator(t)
	var states []report.State
	var questions []perlQuestion
	for len(states) < perlCases {
		warning, critical := spec(r), spec(r)
		rules, err := rulesOf(warning, critical)
		if err != nil {
			continue
		}
		n := 1 + r.IntN(40)
		dead := r.IntN(n + 1)
		st := awa.ClusterStatus{Nodes: make([]awa.NodeStatus, n)}
		for i := range st.Nodes {
			st.Nodes[i].Verdict = awa.Online
			if i < dead {
				st.Nodes[i].Verdict = pick(r, awa.Offline, awa.Mismatch)
			}
		}
		states = append(states, report.Evaluate(st, rules, time.Now()).State)
		questions = append(questions, perlQuestion{Warning: &warning, Critical: &critical, Values: []string{strconv.Itoa(dead)}})
	}
	seen := map[report.State]int{}
	for i, perl := range askPerl(t, questions) {
		seen[states[i]]++
		if q := questions[i]; perl.Codes[0] != states[i].ExitCode() {
			t.Errorf("-w %q -c %q and %s dead nodes: %v, and in Perl %d", *q.Warning, *q.Critical, q.Values[0], states[i], perl.Codes[0])
		}
	}
	for s := report.OK; s <= report.Critical; s++ {
		if seen[s] < perlCases/20 {
			t.Errorf("only %d cases came to %v", seen[s], s)
		}
	}
}

func rulesOf(warning, critical string) (rules report.Rules, err error) {
	if rules.Warning, err = report.ParseThreshold(warning); err == nil {
		rules.Critical, err = report.ParseThreshold(critical)
	}
	return rules, err
}

// TestPerl_perfdata reads the perfdata of generated results with Perl's
// module: all values come through as they were meant.
func TestPerl_perfdata(t *testing.T) {
	t.Parallel()
	r := newGenerator(t)
	var meant [][]perfValue
	var questions []perlQuestion
	for len(meant) < perlCases {
		warning, critical := spec(r), spec(r)
		rules, err := rulesOf(warning, critical)
		if err != nil {
			continue
		}
		st := generatedStatus(r)
		result := report.Evaluate(st, rules, time.Now())
		result.Took = time.Duration(1+r.IntN(10_000_000)) * time.Microsecond
		var b bytes.Buffer
		if err := report.Nagios(&b, result); err != nil {
			t.Fatal(err)
		}
		_, perf, found := strings.Cut(strings.TrimSpace(b.String()), " | ")
		if !found {
			t.Fatalf("no perfdata in %q", b.String())
		}
		questions = append(questions, perlQuestion{Perfdata: &perf})
		meant = append(meant, meantPerfdata(st, rules, result))
	}
	for i, perl := range askPerl(t, questions) {
		want := meant[i]
		for k := range want {
			want[k] = readByPerl(want[k])
		}
		if got := fmt.Sprintf("%q", perl.Perfdata); got != fmt.Sprintf("%q", want) {
			t.Errorf("of %q Perl reads\n%s, which was meant as\n%q", *questions[i].Perfdata, got, want)
		}
	}
}

// generatedStatus has nodes of all kinds, or of few.
func generatedStatus(r *rand.Rand) awa.ClusterStatus {
	verdicts := [][]awa.Verdict{{awa.Online}, {awa.Offline, awa.Mismatch}, {awa.Online, awa.Offline, awa.Unreachable, awa.Mismatch}}[r.IntN(3)]
	st := awa.ClusterStatus{Nodes: make([]awa.NodeStatus, 1+r.IntN(pick(r, 3, 50, 1000)))}
	for i := range st.Nodes {
		n := &st.Nodes[i]
		n.Node = awa.Node{ID: uint64(i + 1), Name: fmt.Sprint("n", i+1), Host: "10.0.0.1", Port: awa.DefaultPort}
		if n.Verdict = verdicts[r.IntN(len(verdicts))]; n.Verdict == awa.Online {
			n.RTT = time.Duration(r.IntN(pick(r, 10, 1000, 1_000_000))) * time.Microsecond
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
	var rtt time.Duration
	for _, n := range st.Nodes {
		if n.Verdict == awa.Online || n.Node.Maintenance == "" {
			counts[n.Verdict]++
		}
		rtt = max(rtt, n.RTT)
	}
	whole := strconv.Itoa(len(st.Nodes))
	count := func(label string, n int) perfValue {
		return perfValue{Label: label, Value: strconv.Itoa(n), Min: "0", Max: whole}
	}
	seconds := func(label string, d time.Duration) perfValue {
		return perfValue{Label: label, Value: strconv.FormatFloat(float64(d.Microseconds())/1e6, 'g', -1, 64), UOM: "s", Min: "0"}
	}
	dead := count("offline", counts[awa.Offline]+counts[awa.Mismatch])
	dead.Warning, dead.Critical = rules.Warning.Absolute(len(st.Nodes)), rules.Critical.Absolute(len(st.Nodes))
	all := []perfValue{count("online", counts[awa.Online]), dead, count("unreachable", counts[awa.Unreachable])}
	if counts[awa.Online] > 0 {
		all = append(all, seconds("rtt_max", rtt))
	}
	return append(all, seconds("time", result.Took),
		perfValue{Label: "state", Value: strconv.Itoa(result.State.ExitCode()), Min: "0", Max: "3"})
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
