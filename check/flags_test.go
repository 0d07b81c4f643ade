package main

import (
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/report"
)

// TestParse_bad holds the whole message fast. Arguments are parted by |.
func TestParse_bad(t *testing.T) {
	const forms = "write one such as 10, 10:, ~:10, 10:20, @10:20 or 10%"
	const percent = "is a percentage, which only a number of nodes can be: give plain numbers"
	const states = "is not a state: use ok, warning, critical or unknown"
	tests := map[string]string{
		"--unreachable-warning|x":      `bad --unreachable-warning: "x" is not a range: ` + forms,
		"--unreachable-warning=":       `bad --unreachable-warning: the range is empty: ` + forms,
		"--unreachable-critical|20:10": `bad --unreachable-critical: "20:10" is not a range: its start is above its end`,
		"--behind-warning|1e3":         `bad --behind-warning: "1e3" is not a range: ` + forms,
		"--behind-warning|5%":          `bad --behind-warning: "5%" ` + percent,
		"--behind-critical|@1:5%":      `bad --behind-critical: "@1:5%" ` + percent,
		"--skew-warning=":              `bad --skew-warning: the range is empty: ` + forms,
		"--skew-warning|10%":           `bad --skew-warning: "10%" ` + percent,
		"--skew-critical|1%:2":         `bad --skew-critical: "1%:2" ` + percent,
		"--rtt-warning|0.5s":           `bad --rtt-warning: "0.5s" is not a range: ` + forms,
		"--rtt-critical|0%":            `bad --rtt-critical: "0%" ` + percent,
		"-c=":                          `bad -c: "=" is not a range: ` + forms,
		"--critical=":                  `bad -c: the range is empty: ` + forms,
		"--no-majority-state|red":      `bad --no-majority-state: "red" ` + states,
		"--no-answer-state=":           `bad --no-answer-state: "" ` + states,
		"--timeout-state|2":            `bad --timeout-state: "2" ` + states,
		"--node|a b": `bad --node: "a b" is not a name for a node: use 1 to 63 letters, digits, dots, dashes and ` +
			`underscores, a letter or digit first`,
		"--node=": `bad --node: "" is not a name for a node: use 1 to 63 letters, digits, dots, dashes and underscores, ` +
			`a letter or digit first`,
		"--node|n1,,n2": `bad --node: "" is not a name for a node: use 1 to 63 letters, digits, dots, dashes and ` +
			`underscores, a letter or digit first`,
		"--label|role": `bad --label: "role" is not a label with a value: write it as role=database`,
		"--label=-x=1": `bad --label: "-x" is not a name for a label: use 1 to 63 letters, digits, dots, dashes and ` +
			`underscores, a letter or digit first`,
		"--exclude|n[1-": `bad --exclude: "n[1-" is not a pattern for names: write one such as web*, db? or n[1-3]`,
		"--exclude=":     `bad --exclude: "" is not a pattern for names: write one such as web*, db? or n[1-3]`,
		"--perfdata|all": `bad --perfdata: "all" is neither cluster nor nodes`,
		"--node":         `--node: missing value, expecting "<arg>"`,
		"--label":        `--label: missing value, expecting "<arg>"`,
		"--skew-warning": `--skew-warning: its value is missing`,
		"--nodes|n1":     `unknown flag --nodes, did you mean "--node"?`,
	}
	for args, want := range tests {
		t.Run(args, func(t *testing.T) {
			_, help, err := parse(strings.Split(args, "|"))
			if err == nil || err.Error() != want || help != "" {
				t.Errorf("the error is %v, want %s", err, want)
			}
			code, out, errs := checkWith(t, t.Context(), &fake{}, strings.Split(args, "|")...)
			if code != 3 || strings.Count(out, "\n") != 1 || !strings.HasPrefix(out, "AWA UNKNOWN - ") || errs != "" {
				t.Errorf("exit code %d with %q and %q", code, out, errs)
			}
		})
	}
}

// TestParse_empty has values that a macro of a monitoring system left empty.
func TestParse_empty(t *testing.T) {
	want, _, err := parse(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, flag := range []string{"--warning=", "--unreachable-critical=", "--behind-warning=", "--behind-critical=",
		"--skew-critical=", "--rtt-warning=", "--rtt-critical="} {
		if got, _, err := parse([]string{flag}); err != nil || !reflect.DeepEqual(got.rules, want.rules) {
			t.Errorf("%s gives %v, %v", flag, got.rules, err)
		}
	}
}

// TestCheck_states sets the states for the ways in which no agent answers.
func TestCheck_states(t *testing.T) {
	late, refused := never(0), refuse(&awa.Fault{Code: awa.ErrStopping, Text: "it is shutting down"})
	tests := map[string]struct {
		agents agents
		args   string
		code   int
	}{
		"refused":                    {agents{a1: refused, a2: refused}, "", 2},
		"refused, set":               {agents{a1: refused, a2: refused}, "--no-answer-state warning --timeout-state ok", 1},
		"late":                       {agents{a1: late, a2: late}, "", 3},
		"late, set":                  {agents{a1: late, a2: late}, "--no-answer-state warning --timeout-state critical", 2},
		"one late, one refused":      {agents{a1: late, a2: refused}, "", 3},
		"one refused, one late, set": {agents{a1: refused, a2: late}, "--no-answer-state critical --timeout-state OK", 0},
		"one answers, one late":      {agents{a1: late, a2: after(0, cluster(3))}, "--timeout-state critical", 0},
		"a host check":               {agents{a1: late, a2: late}, "--node n1 --timeout-state critical", 2},
		"for Telegraf":               {agents{a1: late, a2: late}, "-o influx", 0},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				args := append(strings.Fields(test.args), "-H", "10.0.0.1", "-H", "10.0.0.2")
				start := time.Now()
				code, out, errs := checkWith(t, t.Context(), &fake{agents: test.agents}, args...)
				if took := time.Since(start); code != test.code || errs != "" || took >= defaultTimeout {
					t.Errorf("exit code %d after %v, want %d, with %q and %q", code, took, test.code, out, errs)
				}
			})
		})
	}
}

func TestParse_mesh(t *testing.T) {
	if cfg, _, err := parse([]string{"--mesh", "--node", "n1"}); err != nil || !cfg.options.Mesh {
		t.Errorf("%v, %+v", err, cfg)
	}
	_, _, err := parse([]string{"--mesh", "-o", "influx"})
	if want := "bad --mesh: the format influx does not have it, so leave out one of the two"; err == nil ||
		err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

func TestParse_health(t *testing.T) {
	cfg, _, err := parse([]string{"--health", "LAST_MAJORITY=warning", "--health", "no_majority=critical"})
	if err != nil || cfg.rules.Health[awa.LastMajority] != report.Warning || cfg.rules.NoMajority != report.Critical ||
		cfg.rules.Health[awa.DiskFull] != report.Critical {
		t.Errorf("%v, %+v", err, cfg.rules)
	}
	cfg, _, err = parse([]string{"--no-majority-state", "ok"})
	if err != nil || cfg.rules.Health[awa.NoMajority] != report.OK {
		t.Errorf("%v, %+v", err, cfg.rules)
	}
	for text, want := range map[string]string{
		"DISK_FULL": `bad --health: "DISK_FULL" has no state: give CODE=STATE, such as LAST_MAJORITY=warning`,
		"DISK=ok": `bad --health: "DISK" is not a health code: use one of OTHER_CLUSTER, OTHER_HISTORY, ` +
			`DIVERGED, DATA_DAMAGED, DUPLICATE, DISK_FULL, DISK_READONLY, ` +
			`NO_MAJORITY, NO_LEADER, NOT_REACHED, UNLISTED, LAST_MAJORITY, ISOLATED, CLOCK_SKEW, BEHIND, NO_KEY`,
		"DISK_FULL=fine": `bad --health: "fine" is not a state: use ok, warning, critical or unknown`,
		"":               `bad --health: "" has no state: give CODE=STATE, such as LAST_MAJORITY=warning`,
	} {
		if _, _, err := parse([]string{"--health=" + text}); err == nil || err.Error() != want {
			t.Errorf("%q: %v\nwant %s", text, err, want)
		}
	}
}
