//go:build system

package test

import (
	"bytes"
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

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
	answers := make([]perlAnswer, len(questions))
	read := json.NewDecoder(bytes.NewReader(out))
	for i := range answers {
		if err := read.Decode(&answers[i]); err != nil {
			t.Fatalf("answer %d of %d: %v", i+1, len(answers), err)
		}
	}
	if read.More() {
		t.Fatal("Perl gave more answers than it was asked for")
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
