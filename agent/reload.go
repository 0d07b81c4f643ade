package main

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/goccy/go-json"

	"are-we-alive/pkg/daemon"
)

// reloading is an agent that reads its key file and its on_event again at SIGHUP. What
// else stands in the configuration needs a restart.
type reloading struct {
	*daemon.Daemon
	onEvent func() (string, error)
	log     *slog.Logger
}

// Reload reads both again. What can't be read stays as it was.
func (r reloading) Reload() error {
	err := r.Daemon.Reload()
	program, wrong := r.onEvent()
	if wrong != nil {
		r.log.Error("on_event can't be read again, and stays as it was", "error", wrong)
		return errors.Join(err, wrong)
	}
	r.SetOnEvent(program)
	return err
}

// onEventNow is what on_event is now: the flag or the environment where they say it, else
// what the configuration file has by now.
func (c *runCmd) onEventNow() (string, error) {
	if c.onEventGiven {
		return c.OnEvent, nil
	}
	path, fields, err := readConfig(c.Config)
	if err != nil {
		return "", err
	}
	value, ok := fields["on_event"]
	if !ok {
		return "", nil
	}
	var program string
	if json.Unmarshal(value, &program) != nil {
		return "", fmt.Errorf("%s: on_event must be a string, not %s", path, value)
	}
	return program, nil
}

// envOnEvent is the environment's on_event.
const envOnEvent = "AWA_ON_EVENT"
