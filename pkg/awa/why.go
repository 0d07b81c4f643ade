package awa

import (
	"fmt"
	"strings"
)

// Refused is how the system says that a connection was refused.
const Refused = "connection refused"

// NotRunning is what a refused connection means.
const NotRunning = "the host answers, its agent is not running"

// Failure says why a ping of the node failed: "resolve: no such host". What that means
// stands before it where it is sure.
func (n NodeStatus) Failure() string {
	switch {
	case n.Stage == StageConnect && n.Error == Refused:
		return NotRunning + " (" + Refused + ")"
	case n.Stage != StageNone && n.Error != "":
		return string(n.Stage) + ": " + n.Error
	}
	return n.Error
}

// Reason says why the node is not online, and what others say of it: "resolve: no such
// host, 3 others do not see it either". failure is what Failure says, or better words; "" is
// not known. A verdict that is not one of ours stands before it.
func (n NodeStatus) Reason(failure string) string {
	why := failure
	switch {
	case n.Verdict == Unreachable:
		return "seen by " + orWord(strings.Join(n.SeenBy, " and "), "another agent") + ", not from here: " +
			orWord(why, noReason)
	case n.Told == 1:
		return "1 other does not see it, and this agent did not ask it"
	case n.Told > 1:
		return fmt.Sprintf("%d others do not see it, and this agent did not ask it", n.Told)
	case n.Verdict == Offline, n.Verdict == Mismatch, n.Verdict == Unjudged:
		why = orWord(why, noReason)
	case why == "":
		why = orWord(string(n.Verdict), "no verdict given")
	default:
		why = string(n.Verdict) + ", " + why
	}
	switch {
	case n.Asked == 1:
		why += ", 1 other does not see it either"
	case n.Asked > 1:
		why += fmt.Sprintf(", %d others do not see it either", n.Asked)
	}
	return why
}

const noReason = "no reason given"

func orWord(s, word string) string {
	if s == "" {
		return word
	}
	return s
}
