package awa

import (
	"fmt"
	"time"
)

// StopReason is why an agent is stopped.
type StopReason string

// The reasons.
const (
	// StopSignal: by a signal that somebody sent.
	StopSignal StopReason = "signal"
	// StopService: systemd stops the service.
	StopService StopReason = "service"
	// StopRestart: systemd stops the service to start it again, as at an upgrade.
	StopRestart StopReason = "restart"
	// StopShutdown: systemd stops it, since the machine is shutting down.
	StopShutdown StopReason = "shutdown"
	// StopReboot: systemd stops it, since the machine is rebooting.
	StopReboot StopReason = "reboot"
)

// RestartGrace is how long an agent that said StopRestart may be away before that counts
// as more than its restart.
const RestartGrace = 30 * time.Second

// String returns the reason in words: "by systemd, the machine is shutting down".
func (r StopReason) String() string {
	switch r {
	case StopSignal:
		return "by a signal"
	case StopService:
		return "by systemd"
	case StopRestart:
		return "by systemd, to start it again"
	case StopShutdown:
		return "by systemd, the machine is shutting down"
	case StopReboot:
		return "by systemd, the machine is rebooting"
	}
	return "for a reason that this version does not know"
}

// Goodbye is what an agent said when it was stopped. It explains why the agent does not
// answer, and is never a verdict.
type Goodbye struct {
	At     time.Time  `json:"at"` // when it was heard, by the clock of the agent that heard it
	Reason StopReason `json:"reason"`
	// Instance is the one of Self that said it: it is over when another one answers.
	Instance string `json:"instance,omitempty"`
}

// Check returns which field of a goodbye is out of its range, if any.
func (g Goodbye) Check() error {
	if err := checkTime("the time of a goodbye", g.At); err != nil {
		return err
	}
	if err := checkWord("the reason of a goodbye", string(g.Reason), false); err != nil {
		return err
	}
	return checkWord("the instance of a goodbye", g.Instance, true)
}

// Restarting reports whether the agent was stopped to be started again, and its time for
// that is not over yet.
func (g *Goodbye) Restarting(now time.Time) bool {
	return g != nil && g.Reason == StopRestart && now.Sub(g.At) < RestartGrace
}

// Text says that the agent was stopped, and why. at is when, in the words of the reader: ""
// leaves it out.
func (g Goodbye) Text(at string) string {
	if at != "" {
		at = " " + at
	}
	return fmt.Sprintf("its agent was stopped%s (%s)", at, g.Reason)
}
