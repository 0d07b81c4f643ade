package main

import (
	"strings"
	"testing"
	"time"

	"are-we-alive/pkg/awa"
)

func TestParseSince(t *testing.T) {
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"":                          {},
		"24h":                       now.Add(-24 * time.Hour),
		"90m":                       now.Add(-90 * time.Minute),
		"7d":                        now.AddDate(0, 0, -7),
		"2026-11-20":                time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC),
		"2026-11-20T10:00:00+01:00": time.Date(2026, 11, 20, 9, 0, 0, 0, time.UTC),
	} {
		if at, err := parseSince(text, now); err != nil || !at.Equal(want) {
			t.Errorf("%q is %v, %v", text, at, err)
		}
	}
	for _, bad := range []string{"yesterday", "-24h", "24", "d", "-7d", "7.5d", "2026-13-01", "99999999d"} {
		if at, err := parseSince(bad, now); err == nil || !strings.Contains(err.Error(), "is not a time: use how long ago") {
			t.Errorf("%q is %v, %v", bad, at, err)
		}
	}
}

func TestSpanText(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "", 300 * time.Millisecond: "0.3s", 9960 * time.Millisecond: "10.0s", 59*time.Second + 900*time.Millisecond: "59s",
		4*time.Minute + 12*time.Second: "4m12s", 3 * time.Hour: "3h0m", 51*time.Hour + 59*time.Minute: "2d3h",
	} {
		if got := spanText(d); got != want {
			t.Errorf("%v is %q, want %q", d, got, want)
		}
	}
}

func TestPercent(t *testing.T) {
	for want, s := range map[string]awa.Share{
		"-": {}, "100.000 %": {Online: 5, Watched: 5}, "0.000 %": {Watched: 5}, "50.000 %": {Online: 1, Watched: 2},
		"99.999 %": {Online: 1e15 - 1, Watched: 1e15},
	} {
		if got := percent(s); got != want {
			t.Errorf("%v is %s, want %s", s, got, want)
		}
	}
}

func TestEventsCmd_print(t *testing.T) {
	at := time.Date(2026, 11, 25, 12, 3, 4, 0, time.Local)
	for want, e := range map[string]awa.Event{
		"2026-11-25 12:03:04  web2             offline            4m12s    no answer\n": {Kind: awa.EventOffline, Node: "web2",
			Lasted: awa.Seconds(252 * time.Second), Why: "no answer"},
		"2026-11-25 12:03:04  web2             restarted          3.5s     its agent was restarted\n": {Kind: awa.EventRestarted,
			Node: "web2", Lasted: awa.Seconds(time.Hour), Away: awa.Seconds(3500 * time.Millisecond),
			Why: "its agent was restarted"},
		"2026-11-25 12:03:04  web2             maintenance ended  2h0m     (by ops@web1)\n": {Kind: awa.EventMaintenanceEnded,
			Node: "web2", Lasted: awa.Seconds(2 * time.Hour), By: "ops@web1"},
		"2026-11-25 12:03:04                   raised                      NO_LEADER: there is none\n": {Kind: awa.EventRaised,
			Code: awa.NoLeader, Why: "there is none"},
		"2026-11-25 12:03:04  web2             online\n": {Kind: awa.EventOnline, Node: "web2"},
		"2026-11-25 12:03:04  web2             offline                     a\\u001b[31m\n": {Kind: awa.EventOffline,
			Node: "web2", Why: "a\x1b[31m"},
	} {
		e.At = at
		var out strings.Builder
		if err := new(eventsCmd).print(streams{out: &out}, e); err != nil || out.String() != want {
			t.Errorf("%q, %v\nwant %q", out.String(), err, want)
		}
	}
}
