package report

import (
	"fmt"
	"strings"
	"time"

	"are-we-alive/pkg/awa"
)

// EventText says what happened, in one line without its time: "db1 is offline after 3 h:
// connect: no answer within 1s".
func EventText(e awa.Event) string {
	what := strings.ReplaceAll(clip(plain(string(e.Kind)), awa.MaxWord), "_", " ")
	switch e.Kind {
	case awa.EventOnline, awa.EventUnreachable, awa.EventOffline, awa.EventFlapping:
		what = "is " + what
	case awa.EventMismatch:
		what = "is a mismatch"
	case awa.EventMaintenance:
		what = "is under maintenance"
	case awa.EventMaintenanceEnded:
		what = "is not under maintenance any more"
	case awa.EventRaised, awa.EventCleared:
		what = clip(plain(string(e.Code)), awa.MaxWord) + " " + what
	case awa.EventSettled:
		what = "is not flapping any more"
	}
	if e.Kind == awa.EventWatching {
		return watchingText(e)
	}
	text := strings.TrimSpace(clip(plain(e.Node), maxShort) + " " + what)
	switch { // how long it was away says more than how long it had been online
	case e.Away > 0:
		text += " after " + awa.Ago(time.Duration(e.Away)) + " away"
	case e.Lasted > 0:
		text += " " + strings.TrimSpace("after "+awa.Ago(time.Duration(e.Lasted))+" "+clip(plain(string(e.Before)), awa.MaxWord))
	}
	if e.Why != "" {
		text += ": " + clip(plain(e.Why), maxOnlyWhy)
	}
	if e.By != "" {
		text += fmt.Sprintf(" (by %s)", clip(plain(e.By), maxShort))
	}
	return text
}

// watchingText says since when an agent watches, and for how long it did not.
func watchingText(e awa.Event) string {
	text := clip(plain(e.Node), maxShort) + " watches " + clip(plain(e.Why), maxOnlyWhy)
	if e.Lasted > 0 {
		text += " (for " + awa.Ago(time.Duration(e.Lasted)) + ")"
	}
	return text
}
