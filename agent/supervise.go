package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"
	"time"

	systemd "github.com/coreos/go-systemd/v22/daemon"
)

// supervised is the agent as its supervisor needs it.
type supervised interface {
	Ready() <-chan struct{}
	Waiting() <-chan struct{}
	Check(context.Context) error
	Summary() string
	Reload() error
}

const (
	// joinPatience is how long systemd is left waiting for an agent that is not
	// ready, since it has to join a cluster first, unless it is known before that it
	// must wait. Then it counts as started, and its status says what it lacks: the other
	// servers may be down, or boot at the same time.
	joinPatience = 3 * time.Second
	// checkEvery is the time between two looks of an agent at itself, at most.
	checkEvery = 5 * time.Second
	// statusEvery is how old the line of systemctl status may be.
	statusEvery = time.Second
)

// supervisor does what is asked from outside while an agent runs: it reads the
// key file again at SIGHUP, and tells systemd, when that has started it, how
// the agent is (sd_notify(3)). A keep-alive is only sent for an agent that does
// its work, so that systemd ends and starts one that has come to a standstill.
type supervisor struct {
	agent supervised
	log   *slog.Logger
	// send sends systemd a message; nil when nobody listens.
	send func(state string) error
	// every is the time between two looks at the agent.
	every time.Duration
	// hangups are the requests to read the key file again.
	hangups <-chan os.Signal

	started bool   // systemd knows that it has
	status  string // what systemd got last
	trouble string // the last check's
	reload  string // the last reload's trouble
}

// supervise runs a supervisor until ctx ends, which it reports to systemd, or the
// returned function is called.
func supervise(ctx context.Context, d supervised, log *slog.Logger, hangups <-chan os.Signal) (stop func()) {
	s := &supervisor{agent: d, log: log, every: checkEvery, hangups: hangups}
	if os.Getenv("NOTIFY_SOCKET") != "" {
		s.send = func(state string) error {
			_, err := systemd.SdNotify(false, state)
			return err
		}
	}
	limit, err := systemd.SdWatchdogEnabled(false)
	if err != nil {
		log.Warn("the watchdog's time can't be read", "error", err)
	} else if limit > 0 {
		s.every = min(s.every, limit/3)
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.run(ctx)
	}()
	return func() {
		cancel()
		<-ended
	}
}

// run supervises until ctx ends.
func (s *supervisor) run(ctx context.Context) {
	var look, status, patience <-chan time.Time
	ready, waiting := s.agent.Ready(), s.agent.Waiting()
	if s.send != nil {
		looks, statuses := time.NewTicker(s.every), time.NewTicker(statusEvery)
		defer looks.Stop()
		defer statuses.Stop()
		look, status, patience = looks.C, statuses.C, time.After(joinPatience)
	}
	mayStart := false
	for {
		select {
		case <-ctx.Done():
			if s.send != nil && !errors.Is(context.Cause(ctx), errRestart) {
				s.notify([]string{systemd.SdNotifyStopping})
			}
			return
		case <-s.hangups:
			s.reloadKeys()
			continue
		case <-status:
			s.notify(nil)
			continue
		case <-ready:
			ready, patience, mayStart = nil, nil, true
		case <-waiting:
			waiting, mayStart = nil, true
		case <-patience:
			mayStart = true
		case <-look:
		}
		s.check(ctx, mayStart)
	}
}

// check reports to systemd how the agent is; when it is well and may count as
// started, that too.
func (s *supervisor) check(ctx context.Context, mayStart bool) {
	if s.send == nil {
		return
	}
	within, cancel := context.WithTimeout(ctx, s.every)
	defer cancel()
	var state []string
	trouble := ""
	if err := s.agent.Check(within); ctx.Err() != nil {
		return
	} else if err != nil {
		trouble = err.Error()
	} else {
		state = append(state, systemd.SdNotifyWatchdog)
		if mayStart && !s.started {
			s.started = true
			state = append(state, systemd.SdNotifyReady)
		}
	}
	if trouble != s.trouble && trouble != "" {
		s.log.Warn("this agent is not well; systemd starts it again when that lasts", "error", trouble)
	}
	s.trouble = trouble
	s.notify(state)
}

// reloadKeys reads the key file again. What comes of it stands in the log too.
func (s *supervisor) reloadKeys() {
	if s.started {
		s.notify([]string{systemd.SdNotifyReloading})
	}
	s.reload = ""
	err := s.agent.Reload()
	if errors.Is(err, errRestart) { // the agent that follows is the one that is ready
		return
	}
	if err != nil {
		s.reload = err.Error()
	}
	if s.started {
		s.notify([]string{systemd.SdNotifyReady})
	}
}

// notify sends systemd the state, and the line of systemctl status when that
// has changed.
func (s *supervisor) notify(state []string) {
	status := s.agent.Summary()
	if s.trouble != "" {
		status = "not well: " + s.trouble
	}
	if s.reload != "" {
		status += "; the last reload changed nothing: " + s.reload
	}
	if status != s.status {
		s.status = status
		state = append(state, "STATUS="+strings.ReplaceAll(status, "\n", " "))
	}
	if len(state) == 0 {
		return
	}
	if err := s.send(strings.Join(state, "\n")); err != nil {
		s.log.Warn("systemd can't be notified of how this agent is", "error", err)
	}
}
