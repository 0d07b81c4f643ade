package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/goccy/go-json"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/daemon"
)

// reloading is an agent that reads its key file and its on_event again at SIGHUP. What
// else stands in the configuration needs a restart.
type reloading struct {
	*daemon.Daemon
	cmd *runCmd
	log *slog.Logger
	// restart ends the agent, so that it starts again in the same process.
	restart context.CancelCauseFunc
}

// errRestart is why an agent ends that starts again.
var errRestart = errors.New("this agent starts again")

// Reload reads both again. What can't be read stays as it was. An agent without a key
// starts again when by now there is a key file where one is looked for; then the error is
// errRestart.
func (r reloading) Reload() error {
	reloadKeys := r.Daemon.Reload
	if r.cmd.noKey {
		reloadKeys = r.findKeys
	}
	err := reloadKeys()
	if errors.Is(err, errRestart) {
		return err
	}
	program, wrong := r.cmd.onEventNow()
	if wrong != nil {
		r.log.Error("on_event can't be read again, and stays as it was", "error", wrong)
		return errors.Join(err, wrong)
	}
	r.SetOnEvent(program)
	return err
}

// findKeys has an agent without a key start again when there is a key file by now.
func (r reloading) findKeys() error {
	switch keys, err := r.cmd.keys(); {
	case err != nil:
		r.log.Error("the key file can't be used, and this agent stays without a key", "error", err)
		return err
	case keys == nil:
		r.log.Warn("this agent still has no key", "looked_for", awa.ClusterKeyFile)
		return nil
	}
	r.log.Info("there is a key file now, so this agent starts again with it", "file", r.cmd.path())
	r.restart(errRestart)
	return errRestart
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
