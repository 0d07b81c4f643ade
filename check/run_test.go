package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/awatest/testaid"
)

var update = flag.Bool("update", false, "write the golden files again")

// TestGolden keeps all of stdout and the exit code. The agent at 127.0.0.1
// answers as the case says.
func TestGolden(t *testing.T) {
	one := cluster(3, 3)
	many := cluster(12, 2, 3, 5, 7)
	bare := cluster(3, 2)
	bare.Nodes[1].Node.Maintenance = "2999-01-01T00:00:00Z"
	mixed := troubled()
	tests := map[string]struct {
		st   *awa.ClusterStatus // nil: the connection is refused
		args string
	}{
		"trouble": {&mixed, ""},
		"trouble_strict": {&mixed, "-w 10% -c 50% --unreachable-critical 10% --behind-warning 0 --behind-critical 5 " +
			"--skew-critical 600 --rtt-warning .1 --rtt-critical .5 --no-majority-state critical -v --perfdata nodes"},
		"trouble_lax":            {&mixed, "-c 3 --unreachable-warning ~: --skew-warning 4000 --no-majority-state ok"},
		"trouble_influx":         {&mixed, "-o influx"},
		"trouble_json":           {&mixed, "-o json"},
		"label":                  {&mixed, "--label role=web"},
		"label_exclude":          {&mixed, "--label role=web --exclude N4 --exclude n[56] -v"},
		"nothing_selected":       {&mixed, "--label role=web --exclude *"},
		"nothing_selected_json":  {&mixed, "--label role=web --exclude * -o json"},
		"nothing_selected_lines": {&mixed, "--label role=web --exclude * -o influx"},
		"host_online":            {&mixed, "--node n1"},
		"host_offline":           {&mixed, "--node N2"},
		"host_mismatch":          {&mixed, "--node n3"},
		"host_unreachable":       {&mixed, "--node n4"},
		"host_maintenance":       {&mixed, "--node n8 -v"},
		"host_unknown":           {&mixed, "--node n9"},
		"hosts":                  {&mixed, "--node n1 --node n2 --node n4"},
		"perfdata_nodes":         {&one, "--perfdata nodes"},
		"perfdata_cluster":       {&one, "--perfdata cluster"},
		"refused_unknown":        {nil, "--no-answer-state unknown --perfdata nodes"},
		"refused_ok":             {nil, "--no-answer-state ok --timeout-state critical"},
		"all_well":               {ptr(cluster(3)), ""},
		"one_offline":            {&one, ""},
		"one_offline_verbose":    {&one, "-v"},
		"one_offline_verbose2":   {&one, "-vv"},
		"one_offline_table":      {&one, "-o table"},
		"one_offline_influx":     {&one, "-o influx"},
		"one_offline_json":       {&one, "-ojson"},
		"warning":                {&many, "-w 25% -c 50%"},
		"percent":                {&many, "-w 10% -c 33%"},
		"no_critical":            {&many, "-c ~:"},
		"maintenance":            {&bare, "-v"},
		"empty":                  {ptr(cluster(0)), "-v"},
		"refused":                {nil, ""},
		"refused_verbose":        {nil, "-v"},
		"refused_table":          {nil, "-o table"},
		"refused_influx":         {nil, "-o influx"},
		"refused_json":           {nil, "-o json"},
		"second_agent":           {ptr(cluster(2)), "-H 10.9.9.9 -H 127.0.0.1 -v"},
		"second_agent_json":      {ptr(cluster(2)), "-H 10.9.9.9 -H 127.0.0.1 -o json"},
		"help":                   {nil, "-h"},
		"help_with_a_bad_range":  {nil, "-h -c ten"},
		"version":                {nil, "-V"},
		"usage_short_equals":     {nil, "-o=json"},
		"usage_flag":             {nil, "--bogus"},
		"usage_flag_json":        {nil, "-o json --bogus"},
		"usage_flag_influx":      {nil, "-o influx --bogus"},
		"usage_argument":         {nil, "n1"},
		"usage_no_value":         {nil, "-w"},
		"usage_range":            {nil, "-c ten"},
		"usage_range_json":       {nil, "--output=json -w 20:10"},
		"usage_format":           {nil, "-o xml"},
		"usage_port":             {nil, "-p 70000"},
		"usage_host":             {nil, "-H a_b:c"},
		"usage_time":             {nil, "-t soon"},
		"usage_hostile_argument": {nil, "$(rm)|x;<y>`\x1b[31m"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fake{agents: agents{}}
				if test.st != nil {
					f.agents["127.0.0.1:25483"] = after(12345*time.Microsecond, *test.st)
				}
				code, out, errs := checkWith(t, t.Context(), f, strings.Fields(test.args)...)
				if errs != "" {
					t.Errorf("on stderr stands %q", errs)
				}
				testaid.Golden(t, filepath.Join("testdata", name+".golden"), fmt.Sprintf("check_awa %s\nexit code %d\n%s", strings.ReplaceAll(test.args, "\x1b", "ESC"), code, out), *update)
				if strings.HasPrefix(name, "usage_") && (code != 3 || strings.Count(out, "\n") != 1) {
					t.Errorf("wrong usage gives exit code %d and %q", code, out)
				}
			})
		})
	}
	if files, _ := os.ReadDir("testdata"); len(files) != len(tests) {
		t.Errorf("testdata holds %d files for %d cases", len(files), len(tests))
	}
}

// troubled is a status with every kind of trouble.
func troubled() awa.ClusterStatus {
	st := cluster(8, 2, 3, 4, 8)
	for i, role := range strings.Fields("db db db web web web web mail") {
		st.Nodes[i].Node.Labels = map[string]string{"role": role, "node": "x"}
	}
	st.Nodes[2].Verdict = awa.Mismatch
	st.Nodes[3].Verdict, st.Nodes[3].Asked, st.Nodes[3].SeenBy = awa.Unreachable, 1, []string{"n5"}
	st.Nodes[4].Behind = 7
	st.Nodes[5].Skew, st.Nodes[5].SkewError = -time.Hour, time.Millisecond
	st.Nodes[6].RTT = 700 * time.Millisecond
	st.Nodes[7].Node.Maintenance = "2999-01-01T00:00:00Z"
	return st
}

func ptr(st awa.ClusterStatus) *awa.ClusterStatus { return &st }

// brokenPipe is a stdout whose reader has gone.
type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

func TestCheck_brokenStdout(t *testing.T) {
	for _, args := range []string{"", "-v", "-o table", "-o influx", "-o json", "-h", "-V", "--bogus", "-p 1"} {
		f := &fake{agents: agents{"127.0.0.1:25483": after(0, cluster(3))}}
		var errs strings.Builder
		if code := check(t.Context(), with(f), strings.Fields(args), nil, brokenPipe{}, &errs); code != 3 {
			t.Errorf("check_awa %s exits with %d", args, code)
		}
	}
}

func TestParseTimeout(t *testing.T) {
	tests := map[string]struct {
		want time.Duration
		err  string
	}{
		"4":       {want: 4 * time.Second},
		"4s":      {want: 4 * time.Second},
		"0.5":     {want: 500 * time.Millisecond},
		".25":     {want: 250 * time.Millisecond},
		"500ms":   {want: 500 * time.Millisecond},
		"1m30s":   {want: 90 * time.Second},
		"86400":   {want: 24 * time.Hour},
		"0":       {err: "0 is not from 0.1 to 86400 seconds"},
		"0.099":   {err: "0.099 is not from 0.1 to 86400 seconds"},
		"-1":      {err: "-1 is not from 0.1 to 86400 seconds"},
		"86401":   {err: "86401 is not from 0.1 to 86400 seconds"},
		"1e300":   {err: "1e300 is not from 0.1 to 86400 seconds"},
		"Inf":     {err: "Inf is not from 0.1 to 86400 seconds"},
		"NaN":     {err: `"NaN" is not a time: give seconds such as 4 or 0.5`},
		"":        {err: `"" is not a time: give seconds such as 4 or 0.5`},
		"4 s":     {err: `"4 s" is not a time: give seconds such as 4 or 0.5`},
		"forever": {err: `"forever" is not a time: give seconds such as 4 or 0.5`},
	}
	for s, test := range tests {
		got, err := parseTime(s, minTimeout, maxTimeout)
		if got != test.want || (err == nil) != (test.err == "") || err != nil && err.Error() != test.err {
			t.Errorf("%q is %v, %v; want %v, %s", s, got, err, test.want, test.err)
		}
	}
}

func TestFormatOf(t *testing.T) {
	for args, want := range map[string]string{
		"":                  "nagios",
		"-o json":           "json",
		"-x -o json":        "json",
		"-ojson":            "json",
		"-o=json":           "json",
		"--output json":     "json",
		"--output=json":     "json",
		"-o":                "nagios",
		"-o influx":         "nagios",
		"--outputs=json":    "nagios",
		"-H json -o nagios": "nagios",
	} {
		if got := formatOf(strings.Fields(args)).Name; got != want {
			t.Errorf("%q: %s, want %s", args, got, want)
		}
	}
}
