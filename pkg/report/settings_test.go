package report_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/report"
)

// settingsOf sets settings, a name and a value each.
func settingsOf(t *testing.T, pairs ...string) report.Settings {
	t.Helper()
	var s report.Settings
	for i := 0; i < len(pairs); i += 2 {
		if !s.Set(pairs[i], pairs[i+1]) {
			t.Fatalf("%s is not a setting", pairs[i])
		}
	}
	return s
}

func TestSettings(t *testing.T) {
	rules, sel, err := report.Settings{}.Parse()
	if err != nil || rules.Dead.Critical.String() != "0" || rules.Stopped != nil || rules.NoMajority != report.Warning ||
		len(sel.Names)+len(sel.Labels)+len(sel.Exclude) > 0 {
		t.Errorf("the defaults are %+v, %+v, %v", rules, sel, err)
	}
	rules, sel, err = settingsOf(t, "warning", "", "critical", "10%", "node", "web1", "node", "web2", "label", "role=db",
		"exclude", "x*", "health", "last_majority=critical", "health", "NO_MAJORITY=ok", "stopped-state", "ok").Parse()
	if err != nil || rules.Dead.Critical.String() != "10%" || *rules.Stopped != report.OK || rules.NoMajority != report.OK ||
		rules.Health[awa.LastMajority] != report.Critical || sel.String() !=
		"--node web1 --node web2 --label role=db --exclude x*" {
		t.Errorf("%+v, %s, %v", rules, sel, err)
	}
	if new(report.Settings).Set("nodes", "1") {
		t.Error("there is a setting of another name")
	}
	for want, s := range map[string]report.Settings{
		`critical: "ten" is not a range`:              settingsOf(t, "critical", "ten"),
		`critical: the range is empty`:                settingsOf(t, "critical", ""),
		`skew-warning: "5%" is a percentage`:          settingsOf(t, "skew-warning", "5%"),
		`stopped-state: "red" is not a state`:         settingsOf(t, "stopped-state", "red"),
		`no-majority-state: "" is not a state`:        settingsOf(t, "no-majority-state", ""),
		`health: "DISK_FULL" has no state`:            settingsOf(t, "health", "DISK_FULL"),
		`health: "FULL" is not a health code`:         settingsOf(t, "health", "FULL=ok"),
		`node: "" is not a name`:                      settingsOf(t, "node", ""),
		`label: "role" is not a label with a value`:   settingsOf(t, "label", "role"),
		`exclude: "[" is not a pattern for names`:     settingsOf(t, "exclude", "["),
		`node: "a b" is not a name for a node: use 1`: settingsOf(t, "node", "ok", "node", "a b", "label", "x"),
	} {
		_, _, err := s.Parse()
		var wrong *report.SettingError
		if err == nil || !strings.HasPrefix(err.Error(), want) || !errors.As(err, &wrong) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// stoppedStatus is one of three nodes, of which one was stopped, and one is flapping.
func stoppedStatus(now time.Time) awa.ClusterStatus {
	st := cluster(3)
	kill(st, 0, awa.StageConnect, "connection refused")
	st.Nodes[0].Goodbye = &awa.Goodbye{At: now.Add(-time.Hour), Reason: awa.StopShutdown}
	st.Nodes[2].Flapping = 7
	return st
}

func TestStopped(t *testing.T) {
	now := time.Date(2026, 11, 25, 13, 3, 0, 0, time.FixedZone("", 3600))
	const stopped = "(its agent was stopped at 12:03 (by systemd, the machine is shutting down)"
	for name, c := range map[string]struct {
		settings []string
		state    report.State
		text     string
		perfdata string
		ago      time.Duration
	}{
		"as any other": {nil, report.Critical, "1 of 3 nodes offline: n1 " + stopped, "offline=1;;0;0;3", 0},
		"OK":           {[]string{"stopped-state", "ok"}, report.OK, "1 of 3 nodes stopped: n1 " + stopped, "stopped=1;;;0;3", 0},
		"WARNING": {[]string{"stopped-state", "warning"}, report.Warning, "1 of 3 nodes stopped: n1 ", "offline=0;;0;0;3",
			0},
		"another day":   {nil, report.Critical, "(its agent was stopped on 2026-11-24 at 11:03 (by systemd", "", 25 * time.Hour},
		"a host check":  {[]string{"node", "n1"}, report.Critical, "n1 is offline: its agent was stopped at 12:03 (by sys", "", 0},
		"a stopped one": {[]string{"node", "n1", "stopped-state", "ok"}, report.OK, "n1 is stopped: its agent was stopped", "", 0},
		"flapping": {[]string{"exclude", "n1"}, report.OK, "2 of 2 nodes online, but flapping: n3 (7 changes in 10 minutes)",
			"", 0},
	} {
		t.Run(name, func(t *testing.T) {
			rules, sel, err := settingsOf(t, c.settings...).Parse()
			if err != nil {
				t.Fatal(err)
			}
			st := stoppedStatus(now)
			if c.ago > 0 {
				st.Nodes[0].Goodbye.At = now.Add(-c.ago - time.Hour)
			}
			r := report.Evaluate(st, sel, rules, now)
			var line strings.Builder
			if err := report.Nagios(&line, r); err != nil {
				t.Fatal(err)
			}
			if r.State != c.state || !strings.Contains(line.String(), c.text) || !strings.Contains(line.String(), c.perfdata) {
				t.Errorf("%s", &line)
			}
		})
	}
	rules, _, err := settingsOf(t, "stopped-state", "ok").Parse()
	if err != nil {
		t.Fatal(err)
	}
	var table strings.Builder
	r := report.Evaluate(stoppedStatus(now), report.Selection{}, rules, now)
	if err := report.Table(&table, r, report.Options{}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"its agent was stopped at 12:03", "flapping (7 changes in 10 minutes)"} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("the table lacks %s:\n%s", want, &table)
		}
	}
}
