package report_test

import (
	"testing"
	"time"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/report"
)

// Every kind of event reads as a sentence.
func TestEventText(t *testing.T) {
	hour := awa.Seconds(time.Hour)
	for want, e := range map[string]awa.Event{
		"db1 is offline after 1 h online: connect: no answer within 1s": {Kind: awa.EventOffline, Lasted: hour,
			Before: awa.Online, Verdict: awa.Offline, Why: "connect: no answer within 1s"},
		"db1 is online after 1 h offline":     {Kind: awa.EventOnline, Lasted: hour, Before: awa.Offline},
		"db1 is unreachable after 1 h online": {Kind: awa.EventUnreachable, Lasted: hour, Before: awa.Online},
		"db1 is a mismatch":                   {Kind: awa.EventMismatch},
		"db1 restarted after 12 s away: the agent": {Kind: awa.EventRestarted, Away: awa.Seconds(12 * time.Second), Lasted: hour,
			Why: "the agent"},
		"db1 rebooted after 1 h away":                  {Kind: awa.EventRebooted, Away: hour},
		"db1 stopped: by systemd":                      {Kind: awa.EventStopped, Why: "by systemd"},
		"db1 is flapping":                              {Kind: awa.EventFlapping},
		"db1 is not flapping any more":                 {Kind: awa.EventSettled},
		"db1 is under maintenance: until 19:00 (by x)": {Kind: awa.EventMaintenance, Why: "until 19:00", By: "x"},
		"db1 is not under maintenance any more":        {Kind: awa.EventMaintenanceEnded},
		"db1 joined: at 10.0.0.1:25483 (by agent db1)": {Kind: awa.EventJoined, Why: "at 10.0.0.1:25483", By: "agent db1"},
		"db1 removed (by root@web1)":                   {Kind: awa.EventRemoved, By: "root@web1"},
		"db1 DISK_FULL raised: the disk is full":       {Kind: awa.EventRaised, Code: awa.DiskFull, Why: "the disk is full"},
		"db1 DISK_FULL cleared after 1 h":              {Kind: awa.EventCleared, Code: awa.DiskFull, Lasted: hour},
		"db1 watches for the first time":               {Kind: awa.EventWatching, Why: "for the first time"},
		"db1 watches again (for 1 h)":                  {Kind: awa.EventWatching, Why: "again", Lasted: hour},
		"db1 new in 0.9":                               {Kind: "new_in_0.9"},
	} {
		e.Node = "db1"
		if got := report.EventText(e); got != want {
			t.Errorf("%s: %q, want %q", e.Kind, got, want)
		}
	}
	if got := report.EventText(awa.Event{Kind: awa.EventOffline, Node: "a|b", Why: "x\ny|z"}); got != "a/b is offline: x y/z" {
		t.Errorf("%q", got)
	}
}
