//go:build system

package test

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"are-we-alive/pkg/awatest/testaid"
)

// TestCheckmk runs the shipped local check as Checkmk's agent does, and holds
// its line against what Checkmk's documentation wants of one
// (docs.checkmk.com/latest/en/localchecks.html). Debian has no Checkmk to run it
// in.
func TestCheckmk(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	path := os.Getenv(envBin) + ":" + os.Getenv("PATH")
	asked := "-w 0 -c 50% --rtt-warning 3 --exclude test* -v --perfdata nodes -H " + c.agents[0].addr()
	check := func(want checkmkService) {
		t.Helper()
		if err := want.compare(runCheckmk(t, path, asked)); err != nil {
			t.Error(err)
		}
	}
	const dead = `AWA WARNING - 1 of 3 nodes offline: a3 ` +
		`\(the host answers, its agent is not running \(connection refused\), 1 other does not see it either\)` + lastMajority
	check(checkmkService{"0", "are-we-alive", checkmkMetrics("3", "0", "0"), `AWA OK - 3 of 3 nodes online` +
		lastMajority})
	c.agents[2].kill()
	check(checkmkService{"1", "are-we-alive", checkmkMetrics("2", "1", "1"), dead})
	c.agents[2].start()
	check(checkmkService{"0", "are-we-alive", checkmkMetrics("3", "0", "0"), `AWA OK - 3 of 3 nodes online` +
		lastMajority})

	asked = "-H"
	check(checkmkService{"3", "are-we-alive", nil, `AWA UNKNOWN - .*`})
	// check_awa is nowhere, also where a package of ours is installed.
	asked, path = "", t.TempDir()
	for _, name := range []string{"head", "sed"} {
		if err := os.Symlink(testaid.Tool(t, name), filepath.Join(path, name)); err != nil {
			t.Fatal(err)
		}
	}
	check(checkmkService{"3", "are-we-alive", nil,
		`AWA UNKNOWN - check_awa did not run \(exit code 127\): is it in PATH\?`})
}

// runCheckmk runs the local check, in a folder with a file that a pattern among
// the options matches.
func runCheckmk(t *testing.T, path, options string) string {
	t.Helper()
	script, err := filepath.Abs("../packaging/checkmk/are_we_alive")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), script)
	cmd.Dir = t.TempDir()
	write(t, filepath.Join(cmd.Dir, "test1"), "")
	write(t, filepath.Join(cmd.Dir, "test2"), "")
	cmd.Env = environment("PATH="+path, "AWA_OPTIONS="+options)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

// checkmkService is what Checkmk makes of the line of a local check.
type checkmkService struct {
	state, name string
	metrics     map[string]string // value;warn;crit;min;max by name, as regular expressions
	text        string            // likewise
}

// checkmkMetrics are all of check_awa's.
func checkmkMetrics(online, offline, state string) map[string]string {
	return map[string]string{
		"online": online + `;;;0;3`, "offline": offline +
			`;0;1\.5;0;3`, "unreachable": `0;0;;0;3`, "mismatch": `0;0;1\.5;0;3`,
		"maintenance": `0;;;0`, "health": `0;;;0`, "behind": `\d+;;;0`, "rtt_max": `0\.\d+;3;;0`, "skew_max": `0\.\d+;5;;0`,
		"time": `\d\.\d+;;;0`, "state": state + `;;;0;3`,
	}
}

// checkmkLine is the form of a line: state, service, metrics or -, text.
var checkmkLine = regexp.MustCompile(`\A([0-3]) "([^"']+)" ([^ ]+) ([^\n]+)\n\z`)

// compare tells how a line differs, or breaks Checkmk's rules.
func (want checkmkService) compare(line string) error {
	parts := checkmkLine.FindStringSubmatch(line)
	if parts == nil {
		return fmt.Errorf("no line of a local check: %q", line)
	}
	metrics := map[string]string{}
	for metric := range strings.SplitSeq(parts[3], "|") {
		if parts[3] == "-" {
			break
		}
		name, value, _ := strings.Cut(metric, "=")
		if _, double := metrics[name]; double || !matches(`[A-Za-z_]\w*`, name) {
			return fmt.Errorf("%q is not a name of a metric, or there twice: %s", name, line)
		}
		for _, number := range strings.Split(value, ";") {
			if _, err := strconv.ParseFloat(number, 64); err != nil && number != "" {
				return fmt.Errorf("%s=%s holds what is not a number: %s", name, value, line)
			}
		}
		metrics[name] = value
	}
	same := maps.EqualFunc(want.metrics, metrics, matches)
	if parts[1] != want.state || parts[2] != want.name || !same || !matches(want.text, parts[4]) {
		return fmt.Errorf("it is not %+v: %s", want, line)
	}
	return nil
}
