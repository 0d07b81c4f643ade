package main

import (
	"testing"
	"time"
)

func TestNodeMaintain_end(t *testing.T) {
	now := time.Date(2026, 11, 23, 20, 0, 0, 1, time.FixedZone("CET", 3600))
	for name, c := range map[string]struct {
		cmd       nodeMaintainCmd
		end, text string
	}{
		"two hours": {nodeMaintainCmd{For: 2 * time.Hour}, "2026-11-23T21:00:01Z", ""},
		"a second":  {nodeMaintainCmd{For: time.Second}, "2026-11-23T19:00:02Z", ""},
		"a year":    {nodeMaintainCmd{For: maxMaintenance}, "2027-11-24T19:00:01Z", ""},
		"off":       {nodeMaintainCmd{Off: true}, "", ""},
		"neither":   {nodeMaintainCmd{}, "", "the time is missing: give --for, such as --for 2h, or --off"},
		"both": {cmd: nodeMaintainCmd{For: time.Hour, Off: true}, text: "--for and --off exclude each other: a " +
			"maintenance either begins or ends"},
		"below a second": {nodeMaintainCmd{For: time.Millisecond}, "", "--for must be 1s to 8784h, a year"},
		"in the past":    {nodeMaintainCmd{For: -time.Hour}, "", "--for must be 1s to 8784h, a year"},
		"for a lifetime": {nodeMaintainCmd{For: maxMaintenance + 1}, "", "--for must be 1s to 8784h, a year"},
	} {
		t.Run(name, func(t *testing.T) {
			end, err := c.cmd.end(now)
			text := ""
			if err != nil {
				text = err.Error()
			}
			if end != c.end || text != c.text {
				t.Errorf("%q, %q; want %q, %q", end, text, c.end, c.text)
			}
		})
	}
}
