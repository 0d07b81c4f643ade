package report_test

import (
	"fmt"
	"strings"
	"testing"

	"are-we-alive/pkg/report"
)

func ExampleState() {
	for s := report.OK; s <= report.Unknown; s++ {
		fmt.Println(s.ExitCode(), s)
	}
	// Output:
	// 0 OK
	// 1 WARNING
	// 2 CRITICAL
	// 3 UNKNOWN
}

func ExampleThreshold() {
	t, err := report.ParseThreshold("25%")
	if err != nil {
		fmt.Println(err)
		return
	}
	// A quarter of 12 nodes is 3: that many may be offline.
	fmt.Println(t.Alerts(3, 12), t.Alerts(4, 12))
	fmt.Println(t.Absolute(12))
	// Output:
	// false true
	// 3
}

func ExampleParseThreshold() {
	_, err := report.ParseThreshold("20:10")
	fmt.Println(err)
	// Output:
	// "20:10" is not a range: its start is above its end
}

func TestParseThreshold(t *testing.T) {
	tests := map[string]struct {
		whole  int
		alerts []float64
		quiet  []float64
		text   string // "" when it is the range itself
		perf   string // "" when it is text
	}{
		"10":       {alerts: []float64{-1, 10.5, 11}, quiet: []float64{0, 5, 10}},
		"0":        {alerts: []float64{1, -1}, quiet: []float64{0}},
		"10:":      {alerts: []float64{9.9, -1}, quiet: []float64{10, 1e9}},
		"~:10":     {alerts: []float64{11}, quiet: []float64{-1e9, 0, 10}, perf: "10"},
		"10:20":    {alerts: []float64{9, 21}, quiet: []float64{10, 15, 20}},
		"@10:20":   {alerts: []float64{10, 15, 20}, quiet: []float64{9, 21}},
		"@10":      {alerts: []float64{0, 10}, quiet: []float64{-1, 11}},
		"@~:10":    {alerts: []float64{-5, 0, 10}, quiet: []float64{11}},
		"@10:":     {alerts: []float64{10, 99}, quiet: []float64{9}},
		"0:10":     {alerts: []float64{-1, 11}, quiet: []float64{0, 10}, text: "10"},
		":10":      {alerts: []float64{-1, 11}, quiet: []float64{0, 10}, text: "10"},
		"-10:10":   {alerts: []float64{-11, 11}, quiet: []float64{-10, 0, 10}, perf: "10"},
		"-10:-5":   {alerts: []float64{0, 5}, quiet: []float64{-7}},
		"~:":       {quiet: []float64{-1e12, 0, 1e12}, perf: "none"},
		"0:":       {alerts: []float64{-1}, quiet: []float64{0, 1e12}, perf: "none"},
		"1.5:2.25": {alerts: []float64{1.4, 2.3}, quiet: []float64{1.5, 2, 2.25}},
		"+5":       {alerts: []float64{6}, quiet: []float64{5}, text: "5"},
		"10%":      {whole: 30, alerts: []float64{4}, quiet: []float64{0, 3}, perf: "3"},
		"1.1%":     {whole: 1000, alerts: []float64{12}, quiet: []float64{11}, perf: "11"},
		// 68.99999999999999 in floating point
		"18.4%":     {whole: 375, alerts: []float64{70}, quiet: []float64{69}, perf: "69"},
		"33.3%":     {whole: 12, alerts: []float64{4}, quiet: []float64{3}, perf: "3.996"},
		"10%:50%":   {whole: 10, alerts: []float64{0, 6}, quiet: []float64{1, 5}, perf: "1:5"},
		"2:50%":     {whole: 10, alerts: []float64{1, 6}, quiet: []float64{2, 5}, perf: "2:5"},
		"@10%:2":    {whole: 10, alerts: []float64{1, 2}, quiet: []float64{0, 3}, perf: "@1:2"},
		"100%":      {whole: 0, alerts: []float64{1}, quiet: []float64{0}, perf: "0"},
		"~:0.0001%": {whole: 10, alerts: []float64{1}, quiet: []float64{0}, perf: "0.00001"},
	}
	for spec, test := range tests {
		t.Run(spec, func(t *testing.T) {
			th, err := report.ParseThreshold(spec)
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range test.alerts {
				if !th.Alerts(v, test.whole) {
					t.Errorf("%v does not alert", v)
				}
			}
			for _, v := range test.quiet {
				if th.Alerts(v, test.whole) {
					t.Errorf("%v alerts", v)
				}
			}
			text := test.text
			if text == "" {
				text = spec
			}
			if got := th.String(); got != text {
				t.Errorf("String is %q, want %q", got, text)
			}
			perf := test.perf
			switch perf {
			case "":
				perf = text
			case "none":
				perf = ""
			}
			if got := th.Absolute(test.whole); got != perf {
				t.Errorf("Absolute is %q, want %q", got, perf)
			}
		})
	}
}

func TestParseThreshold_bad(t *testing.T) {
	const forms = "write one such as 10, 10:, ~:10, 10:20, @10:20 or 10%"
	tests := map[string]string{
		"":                      "the range is empty: " + forms,
		":":                     `":" is not a range: it holds no number: ` + forms,
		"@":                     `"@" is not a range: it holds no number: ` + forms,
		"~":                     `"~" is not a range: ` + forms,
		"abc":                   `"abc" is not a range: ` + forms,
		"10:abc":                `"10:abc" is not a range: "abc" is not a number or percentage`,
		"10:~":                  `"10:~" is not a range: "~" is not a number or percentage`,
		"20:10":                 `"20:10" is not a range: its start is above its end`,
		"-5":                    `"-5" is not a range: its start is above its end`,
		"-5%":                   `"-5%" is not a range: its start is above its end`,
		"10%:0":                 `"10%:0" is not a range: its start is above its end`,
		"1:2:3":                 `"1:2:3" is not a range: "2:3" is not a number or percentage`,
		"@@1":                   `"@@1" is not a range: "@1" is not a number or percentage`,
		"1e3":                   `"1e3" is not a range: ` + forms,
		"0x10":                  `"0x10" is not a range: ` + forms,
		"inf":                   `"inf" is not a range: ` + forms,
		"nan":                   `"nan" is not a range: ` + forms,
		"1_000":                 `"1_000" is not a range: ` + forms,
		"%":                     `"%" is not a range: ` + forms,
		"5%%":                   `"5%%" is not a range: ` + forms,
		"1.2.3":                 `"1.2.3" is not a range: ` + forms,
		"5-3":                   `"5-3" is not a range: ` + forms,
		" 5":                    `" 5" is not a range: ` + forms,
		"1000000001":            `"1000000001" is not a range: 1000000001 is beyond 1000000000`,
		"5 ":                    `"5 " is not a range: ` + forms,
		strings.Repeat("1", 41): `"` + strings.Repeat("1", 37) + `..." is not a range: it is longer than 40 characters`,
	}
	for spec, want := range tests {
		t.Run(spec, func(t *testing.T) {
			th, err := report.ParseThreshold(spec)
			if err == nil {
				t.Fatalf("was read as %q", th)
			}
			if err.Error() != want {
				t.Errorf("the error is %q, want %q", err, want)
			}
		})
	}
}

func TestThreshold_zero(t *testing.T) {
	var th report.Threshold
	if th.Alerts(5, 10) || th.String() != "" || th.Absolute(10) != "" {
		t.Error("the zero Threshold is not the one that never alerts")
	}
}

func FuzzParseThreshold(f *testing.F) {
	for _, s := range []string{"10", "10:", "~:10", "10:20", "@10:20", "5%", "@1%:2", ":", "~", "-1:1", "1e9", ".5",
		"5.", "+1", "-0", ".00000001", "999999999.999999", "9999999999999999999999999999999999999999"} {
		f.Add(s, 12)
	}
	f.Fuzz(func(t *testing.T, s string, whole int) {
		whole &= 0xfffff
		th, err := report.ParseThreshold(s)
		if err != nil {
			if err.Error() == "" || len(err.Error()) > 500 {
				t.Errorf("the error is %q", err)
			}
			return
		}
		again, err := report.ParseThreshold(th.String())
		if err != nil {
			t.Fatalf("%q became %q, which is not a range: %v", s, th, err)
		}
		perf := th.Absolute(whole)
		if strings.Trim(perf, "@~:-.0123456789") != "" || len(perf) > 120 {
			t.Errorf("%q stands in perfdata as %q", s, perf)
		}
		for _, v := range []float64{0, 1, 3, float64(whole) / 2, float64(whole)} {
			if th.Alerts(v, whole) != again.Alerts(v, whole) {
				t.Errorf("%q and %q differ at %v of %d", s, th, v, whole)
			}
			shown, err := report.ParseThreshold(perf) // "10:5" after a percentage has no reading
			if err == nil && shown.Alerts(v, 0) != th.Alerts(v, whole) {
				t.Errorf("%q and its perfdata %q differ at %v of %d", s, perf, v, whole)
			}
		}
	})
}
