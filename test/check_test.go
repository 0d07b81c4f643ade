package test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"
)

// lastMajority is what the plugin's line may end with until there are three voters,
// and while one of them is dead.
const lastMajority = `(?:, (?:but|and) LAST_MAJORITY)?`

// TestCheck asks a real cluster with check_awa: all well, one killed, all
// killed, one back.
func TestCheck(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	a1, a2, a3 := c.agents[0], c.agents[1], c.agents[2]
	check := func(code int, out string, args ...string) string {
		t.Helper()
		r := run(t, "check_awa", args...)
		if r.code != code || !regexp.MustCompile(`\A(?:`+out+`)\z`).MatchString(r.out) || r.errors != "" {
			t.Errorf("check_awa %s: exit code %d, want %d, with\n%s%swant\n%s", strings.Join(args, " "), r.code, code, r.out,
				r.errors, out)
		}
		return r.out
	}
	const perfdata = lastMajority + ` \| online=\d;;;0;3 offline=\d;;0;0;3 unreachable=\d;0;;0;3 mismatch=\d;;0;0;3 ` +
		`maintenance=0;;;0 health=\d;;;0 behind=0;;;0 ` +
		`rtt_max=\d\.\d+s;;;0 skew_max=\d\.\d+s;5;;0 time=\d\.\d+s;;;0 state=\d;;;0;3` + "\n"
	row := func(a *agent, status, why string) string { return tableRow(a.name, status, a.addr(), why) + "\n" }
	const refused = `host answers, agent not running, 1 other does not see it either`

	for _, a := range c.agents {
		check(0, `AWA OK - 3 of 3 nodes online`+perfdata, "-H", a.addr())
	}
	check(0, `AWA OK - 3 of 3 nodes online`+perfdata, "-H", "127.0.0.1", "-p", a1.port())
	const health = `(?:LAST_MAJORITY: .*\n)?NO_KEY: .*\n` // the first until there are three voters
	check(0, tableHead("3 nodes online")+row(a1, "Online", "")+row(a2, "Online", "")+row(a3, "Online", "")+health,
		"-o", "table", "-H", a2.addr())

	a3.kill()
	const one = `AWA CRITICAL - 1 of 3 nodes offline: a3 \(the host answers, its agent is not running ` +
		`\(connection refused\), 1 other does not see it either\)`
	check(2, one+perfdata, "-H", a1.addr())
	check(2, one+perfdata, "-H", a3.addr(), "-H", a2.addr())
	check(2, one+perfdata, "-H", a3.addr()+","+a1.addr())
	check(1, `AWA WARNING - 1 of 3 nodes offline: a3.*`+"\n", "-H", a1.addr(), "-w", "0", "-c", "1")
	check(0, `AWA OK - .*`+"\n", "-H", a1.addr(), "-c", "34%")
	check(2, one+perfdata+tableHead("1 of 3 not online")+row(a3, "Offline", refused)+row(a1, "Online", "")+
		row(a2, "Online", "")+startIt("a3"), "-v", "-H", a1.addr())
	check(2, "a3\n", "-o", "names", "--problems", "-H", a1.addr())
	var shown struct {
		State int
		Nodes []struct{ Name, Verdict string }
	}
	out := check(2, `(?s).*`, "-o", "json", "-H", a1.addr())
	if err := json.Unmarshal([]byte(out), &shown); err != nil || shown.State != 2 || len(shown.Nodes) != 3 ||
		shown.Nodes[2].Verdict != "offline" {
		t.Errorf("%v: %s", err, out)
	}
	if out := check(0, `(?s).*`, "-o", "influx", "-H", a1.addr()); !strings.Contains(out, "\nawa_node,") ||
		strings.Count(out, "\n") != 4+strings.Count(out, "\nawa_health,") {
		t.Errorf("influx:\n%s", out)
	}

	// A lone survivor answers, with the leader gone or not.
	const (
		lone = `AWA CRITICAL - 2 of 3 nodes offline: the host answers, its agent is not running \(a1, a3\)`
		lost = `, and no majority for edits, \d of \d voters? not alive \(a1(?:, a3)?\)`
		self = ` - a2 reaches no other agent, so the fault may be its own: ask another one too \(-H\)`
	)
	a1.kill()
	check(2, lone+lost+self+perfdata, "-H", a2.addr())
	a2.kill()
	begin := time.Now()
	var none []string
	for _, a := range c.agents {
		none = append(none, regexp.QuoteMeta(a.addr()+" (connect: connection refused)"))
	}
	check(2, `AWA CRITICAL - no agent answers: `+strings.Join(none, ", ")+` .*`+"\n", "-H", a1.addr(), "-H", a2.addr(),
		"-H", a3.addr())
	if took := time.Since(begin); took > 4*time.Second {
		t.Errorf("nobody answers: it took %v", took)
	}

	// Who votes it only knows when it is a voter: it has heard of none since
	// it started.
	a2.start()
	check(2, lone+`(?:`+lost+`)?`+self+perfdata, "-H", a2.addr())
	a1.start()
	a3.start()
	check(0, `AWA OK - 3 of 3 nodes online`+perfdata, "-H", a3.addr())
}

// startIt is what the table says to do about a node whose agent is not running.
func startIt(name string) string {
	return name + ": systemctl start awa-agent starts the agent, and journalctl -u awa-agent says why it ended\n"
}

// tableHead is what stands above the rows of the table, as a regular expression.
func tableHead(howMany string) string {
	return howMany + ` · leader \S+ · \d voters? · list \d+ · asked \S+, \d+ ms ago` + "\n" +
		"Name +Status +Since +RTT +Host:Port +Labels +Why\n"
}

// tableRow is a row of the table, likewise; why is "" when there is nothing to say.
func tableRow(name, status, addr, why string) string {
	rtt := `\d+(?:\.\d)? m?s`
	if status != "Online" {
		rtt = "-"
	}
	if why != "" {
		why = " +" + why
	}
	return fmt.Sprintf(`%s +%s +\d+ (?:s|min|h) +%s +%s +\S+%s`, name, status, rtt, regexp.QuoteMeta(addr), why)
}

// TestCheck_usage exits with 3 and one line on stdout when it is used wrongly.
func TestCheck_usage(t *testing.T) {
	t.Parallel()
	for _, args := range []string{"-x", "-H", "-H a:b:c", "-p 0", "-t 0", "-w x", "-c", "-o xml", "now"} {
		r := run(t, "check_awa", strings.Fields(args)...)
		if r.code != 3 || !strings.HasPrefix(r.out, "AWA UNKNOWN - ") || strings.Count(r.out, "\n") != 1 || r.errors != "" {
			t.Errorf("check_awa %s: exit code %d with\n%s%s", args, r.code, r.out, r.errors)
		}
	}
}
