package report

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// MaxRange is the longest range ParseThreshold reads, in bytes: it goes back
// into the plugin's one line.
const MaxRange = 40

// Threshold is a range in the notation of the Monitoring Plugins Development
// Guidelines ("Threshold and Ranges"). It alerts when a value is outside:
//
//	10      below 0 or above 10
//	10:     below 10
//	~:10    above 10
//	10:20   below 10 or above 20
//	@10:20  from 10 to 20, both included
//
// Each bound may be a percentage: 10%. The zero Threshold never alerts.
type Threshold struct {
	set    bool
	inside bool // alert inside the range
	lo, hi bound
}

// bound is one end of a range; it may be infinite.
type bound struct {
	value   float64
	percent bool
}

// ParseThreshold reads a range. The error names it.
func ParseThreshold(s string) (Threshold, error) {
	bad := func(why string) (Threshold, error) {
		return Threshold{}, fmt.Errorf("%q is not a range: %s", clip(s, MaxRange), why)
	}
	if len(s) > MaxRange {
		return bad(fmt.Sprintf("it is longer than %d characters", MaxRange))
	}
	t := Threshold{set: true, hi: bound{value: math.Inf(1)}}
	spec, inside := strings.CutPrefix(s, "@")
	t.inside = inside
	lo, hi, isPair := strings.Cut(spec, ":")
	if !isPair {
		lo, hi = "", spec
	}
	if s == "" {
		return Threshold{}, errors.New("the range is empty: " + rangeForms)
	}
	if lo == "" && hi == "" {
		return bad("it holds no number: " + rangeForms)
	}
	var err error
	if lo == "~" {
		t.lo.value = math.Inf(-1)
	} else if lo != "" {
		t.lo, err = parseBound(lo)
	}
	if hi != "" && err == nil {
		t.hi, err = parseBound(hi)
	}
	switch {
	case errors.Is(err, errNoNumber) && !isPair && !inside:
		return bad(rangeForms)
	case err != nil:
		return bad(err.Error())
	}
	// Bounds of two kinds can only be compared once the whole is known.
	comparable := t.lo.percent == t.hi.percent || t.lo.value == 0 || t.hi.value == 0
	if comparable && t.lo.value > t.hi.value {
		return bad("its start is above its end")
	}
	return t, nil
}

var errNoNumber = errors.New("not a number or percentage")

const rangeForms = "write one such as 10, 10:, ~:10, 10:20, @10:20 or 10%"

// parseBound reads a decimal number, which may end in %. Exponents, hex and
// the like that strconv knows are not part of the notation.
func parseBound(s string) (bound, error) {
	digits, percent := strings.CutSuffix(s, "%")
	v, err := strconv.ParseFloat(digits, 64)
	if err != nil || strings.Trim(digits, "0123456789.+-") != "" {
		return bound{}, fmt.Errorf("%q is %w", s, errNoNumber)
	}
	if math.Abs(v) > maxBound {
		return bound{}, fmt.Errorf("%s is beyond %s", s, decimal(maxBound))
	}
	return bound{round(v), percent}, nil
}

// maxBound is the largest number of which decimal keeps all digits.
const maxBound = 1e9

// Alerts reports whether a value is a problem; percentages are of whole.
func (t Threshold) Alerts(value float64, whole int) bool {
	if !t.set {
		return false
	}
	in := value >= t.lo.of(whole) && value <= t.hi.of(whole)
	return in == t.inside
}

// Percent reports whether a bound is a percentage.
func (t Threshold) Percent() bool { return t.lo.percent || t.hi.percent }

// of returns the bound as a number, rounded to what perfdata shows, so that
// what is compared is what is read.
func (b bound) of(whole int) float64 {
	if math.IsInf(b.value, 0) {
		return b.value
	}
	v := b.value
	if b.percent {
		v = v * float64(whole) / 100
	}
	return round(v)
}

// String returns the range in its shortest form; the zero Threshold returns "".
func (t Threshold) String() string {
	return t.format(func(b bound) string {
		s := decimal(b.value)
		if b.percent {
			s += "%"
		}
		return s
	})
}

// Absolute returns the range with its percentages turned into numbers, as
// perfdata needs it: the unit must be that of the value. A range that a value
// of 0 or more can only leave at its upper end is given as that plain number,
// because Icinga drops thresholds that are ranges, and one that it can't leave
// as "".
func (t Threshold) Absolute(whole int) string {
	if !t.inside && t.lo.value <= 0 && t.hi.value >= 0 {
		if math.IsInf(t.hi.value, 1) {
			return ""
		}
		t.lo = bound{}
	}
	return t.format(func(b bound) string { return decimal(b.of(whole)) })
}

func (t Threshold) format(number func(bound) string) string {
	if !t.set {
		return ""
	}
	at, lo, hi := "", "", ""
	if t.inside {
		at = "@"
	}
	switch {
	case math.IsInf(t.lo.value, -1):
		lo = "~:"
	case t.lo.value != 0 || math.IsInf(t.hi.value, 1):
		lo = number(t.lo) + ":"
	}
	if !math.IsInf(t.hi.value, 1) {
		hi = number(t.hi)
	}
	return at + lo + hi
}

// round keeps the digits that decimal shows.
func round(v float64) float64 { return math.Round(v*1e6) / 1e6 }

// decimal writes a number with at most six digits after the point, without an
// exponent and without trailing zeros.
func decimal(v float64) string {
	s := strconv.FormatFloat(v, 'f', 6, 64)
	s = strings.TrimSuffix(strings.TrimRight(s, "0"), ".")
	if s == "-0" {
		return "0"
	}
	return s
}
