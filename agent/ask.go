package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"are-we-alive/pkg/api"
	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/conf"
	"are-we-alive/pkg/trust"
)

// askFlags say which agents a command asks, and with what key.
type askFlags struct {
	keyFlag
	Agent []string `placeholder:"HOST[:PORT]" env:"AWA_AGENT" help:"${help_agent}"`
}

// target is askFlags with the form of the answer.
type target struct {
	askFlags
	Output string `short:"o" enum:"table,json" default:"table" help:"Form of the answer: table or json (${default})."`
}

// callTimeout bounds a command's call: an edit may wait for an election.
const callTimeout = 15 * time.Second

// open returns a client of a role, and the addresses of the agents to ask.
func (f askFlags) open(role awa.Role) (*api.Client, []string, error) {
	usual, err := conf.DefaultClient()
	if err != nil && (len(f.Agent) == 0 || f.KeyFile == nil) {
		return nil, nil, usageError{err}
	}
	addrs, err := conf.ParseAgents(f.Agent, awa.DefaultPort)
	if err != nil {
		return nil, nil, usageError{fmt.Errorf("--agent: %w", err)}
	}
	if len(addrs) == 0 {
		if addrs, err = conf.ParseAgents(usual.Agents, awa.DefaultPort); err != nil {
			return nil, nil, usageError{err}
		}
	}
	if f.KeyFile == nil {
		f.KeyFile = usual.KeyFile
	}
	if f.KeyFile == nil {
		path := keyPath(nil, usual.AgentKeyFile)
		f.KeyFile = &path
	}
	client, err := f.client(role)
	return client, addrs, err
}

// client makes a client of a role, with the keys of the key file if there is one.
func (f keyFlag) client(role awa.Role) (*api.Client, error) {
	keys, err := f.keys()
	if err != nil || keys == nil {
		return api.NewClient(api.ClientConfig{}), err
	}
	ring, err := trust.NewClient(keys, role)
	if err != nil {
		return nil, usageError{fmt.Errorf("key file %s: %w", f.path(), err)}
	}
	return api.NewClient(api.ClientConfig{Secure: ring.Secure}), nil
}

// asking is what a command does with an agent.
type asking func(ctx context.Context, c *api.Client, addr string) error

// read is call for what the check role may do. A cluster key can do that too.
func (f askFlags) read(ctx context.Context, do asking) error { return f.call(ctx, awa.RoleCheck, do) }

// call runs do with a client of a role, a deadline, and the first of the agents that can be
// reached. It says which agent failed.
func (f askFlags) call(ctx context.Context, role awa.Role, do asking) error {
	c, addrs, err := f.open(role)
	if err != nil {
		return err
	}
	defer c.Close()
	var failed []string
	for _, addr := range addrs {
		err = callOne(ctx, c, addr, do)
		var unreached unreachedError
		if !errors.As(err, &unreached) || role != awa.RoleCheck && !unreached.unsent {
			return err
		}
		failed = append(failed, fmt.Sprintf("%s (%v)", addr, unreached.cause))
	}
	if len(addrs) == 1 {
		return err
	}
	return fmt.Errorf("none of the agents was reached: %s: are they running, and are their addresses right?",
		strings.Join(failed, ", "))
}

// unreachedError is the end of a call to an agent that was not reached.
type unreachedError struct {
	addr   string
	cause  error
	unsent bool // nothing was changed for sure
}

// Error implements error.
func (e unreachedError) Error() string {
	var ping *awa.PingError
	text := fmt.Sprintf("the agent at %s was not reached (%v)", e.addr, e.cause)
	if errors.As(e.cause, &ping) && ping.Stage == awa.StageTLS { // which says what to do
		return text
	}
	return text + ": is it running, and is --agent right?"
}

// Unwrap returns the cause.
func (e unreachedError) Unwrap() error { return e.cause }

// callOne is call with one agent.
func callOne(ctx context.Context, c *api.Client, addr string, do asking) error {
	bounded, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	err := do(bounded, c, addr)
	var ping *awa.PingError
	var unsent unsentError
	switch isUnsent := errors.As(err, &unsent); {
	case err != nil && ctx.Err() != nil && isUnsent:
		return errors.New("interrupted before an edit was sent: nothing was changed")
	case err != nil && ctx.Err() != nil:
		return errors.New("interrupted before the agent answered: whether an edit was made is not known")
	case errors.As(err, &ping):
		return unreachedError{addr, err, isUnsent}
	}
	return err
}
