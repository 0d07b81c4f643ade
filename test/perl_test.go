//go:build system

package test

import (
	"bytes"
	"encoding/json"
	"math"
	"math/big"
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
			t.Fatalf("%s is not a number: %v", envSeed, err)
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
		testaid.Skip(t, "Perl's Monitoring::Plugin (Debian's libmonitoring-plugin-perl) can't be used: ", err, " ",
			string(out))
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

// pick returns one of some.
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
			return pick(r, "", "~", "x", "-", "+-1", "1e3", "1.2.3", "..1", "5-3", "0x10", "1_000", "inf", "nan", "1,5",
				"1000000001")
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
		s = pick(r, "", ":", "@", "~", "~:", "@:", "@~:", "~5", "~5:10", "10:~", "~:~", " "+s, s+" ", s+":"+hi,
			strings.Repeat("1", 41))
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
				t.Fatalf("%q is taken for %v, although %s", s, ours, why)
			}
			continue
		}
		if (err == nil) != perl.Taken {
			t.Fatalf("%q: our error is %v, and Perl takes it: %v", s, err, perl.Taken)
		}
		if err != nil {
			refused++
			continue
		}
		taken++
		for k, v := range values[i] {
			if got := ours.Alerts(v, 0); got != perl.Alerts[k] {
				t.Fatalf("%q alerts at %v: %v, and in Perl %v", s, v, got, perl.Alerts[k])
			}
		}
	}
	t.Logf("%d ranges are taken by both, %d refused by both, %d by us alone", taken, refused, stricter)
	if taken < perlCases/2 || refused < perlCases/50 || stricter < perlCases/100 {
		t.Error("these cases are too much alike")
	}
}

// TestPerl_percent holds ranges with percentages, which Perl's module refuses,
// against the numbers that they come to, and these against what stands in
// perfdata.
func TestPerl_percent(t *testing.T) {
	t.Parallel()
	r := newGenerator(t)
	var cases []percentCase
	var questions []perlQuestion
	for len(cases) < perlCases {
		c, numbers := generatedPercent(r)
		th, err := report.ParseThreshold(c.spec)
		if err != nil {
			continue // its start is above its end
		}
		c.ours, c.perfdata = th, th.Absolute(c.whole)
		for _, v := range around(r, numbers) {
			c.values = append(c.values, math.Abs(math.Round(v))) // numbers of nodes
		}
		cases = append(cases, c)
		values := texts(c.values)
		questions = append(questions, perlQuestion{Range: &c.spec}, perlQuestion{Range: &numbers, Values: values},
			perlQuestion{Range: &c.perfdata, Values: values})
	}
	answers := askPerl(t, questions)
	for i, c := range cases {
		asIs, numbers, perfdata := answers[3*i], answers[3*i+1], answers[3*i+2]
		if asIs.Taken {
			t.Fatalf("Perl takes %q: compare it as it is", c.spec)
		}
		if !perfdata.Taken && c.perfdata != "" {
			t.Fatalf("%q of %d nodes is %q in perfdata, which Perl refuses", c.spec, c.whole, c.perfdata)
		}
		for k, v := range c.values {
			got := c.ours.Alerts(v, c.whole)
			if want := numbers.Alerts[k]; got != want {
				t.Fatalf("%q of %d nodes alerts at %v: %v, and in Perl, of %s, %v", c.spec, c.whole, v, got,
					*questions[3*i+1].Range, want)
			}
			if want := c.perfdata != "" && perfdata.Alerts[k]; got != want {
				t.Fatalf("%q of %d nodes alerts at %v: %v, and in Perl, of %q in perfdata, %v", c.spec, c.whole, v, got,
					c.perfdata, want)
			}
		}
	}
}

// percentCase is a range with percentages of whole.
type percentCase struct {
	spec     string
	whole    int
	ours     report.Threshold
	perfdata string // "" when no number of nodes can leave the range
	values   []float64
}

// generatedPercent makes a range with percentages, and the same range with
// their numbers of nodes. They have at most four digits behind the point, so
// that six are all that the numbers have.
func generatedPercent(r *rand.Rand) (c percentCase, numbers string) {
	c.whole = 1 + r.IntN(2000)
	bound := func() (percent, number string) {
		percent = strconv.FormatFloat(r.Float64()*pick(r, 1., 20, 120), 'f', r.IntN(5), 64)
		exact, _ := new(big.Rat).SetString(percent)
		exact.Mul(exact, big.NewRat(int64(c.whole), 100))
		return percent + "%", exact.FloatString(6)
	}
	lo, loNumber := bound()
	hi, hiNumber := bound()
	form := pick(r, "", "@") + pick(r, "HI", "LO:", "~:HI", "LO:HI")
	fill := func(lo, hi string) string { return strings.NewReplacer("LO", lo, "HI", hi).Replace(form) }
	c.spec = fill(lo, hi)
	return c, fill(loNumber, hiNumber)
}
