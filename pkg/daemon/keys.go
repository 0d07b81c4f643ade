package daemon

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"are-we-alive/pkg/api/server"
	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/trust"
)

// What an agent does with the cluster's key. Its certificate is minted in
// memory when it starts and whenever its keys or its node's name change. There
// is no timer to renew it: it is valid until the year 9999, for the reasons
// that package trust gives.

// openKeys reads the key file and makes the agent's certificate.
func (d *Daemon) openKeys() error {
	if d.cfg.KeyFile == "" {
		return nil
	}
	keys, err := trust.ReadFile(d.cfg.KeyFile, d.cfg.Insecure)
	if err != nil {
		return keyFileError{err}
	}
	uid := d.store.Meta().UID
	if d.keys, err = trust.NewAgent(keys, uid, listedName(d.store, d.cfg.Name)); err != nil {
		return fmt.Errorf("key file %s: %w", d.cfg.KeyFile, err)
	}
	return nil
}

// keyFileError says why a key file can't be read. It is awa.ErrBadInput too: to
// start again changes nothing before somebody has put it right.
type keyFileError struct{ error }

// Unwrap returns the cause and the code.
func (e keyFileError) Unwrap() []error { return []error{e.error, awa.ErrBadInput} }

// Reload reads the key file again, as after SIGHUP. An error, which is logged
// too, leaves all as it was. Requests under way end well: only idle connections
// are closed, and Raft streams when a key was removed, all of which are opened
// again with the keys of now. An agent without a key file reads nothing.
//
// No request fails during a rotation when all programs of the cluster take
// each of these steps before any takes the next one: the file holds old; old,
// new; new, old; new.
func (d *Daemon) Reload() error {
	if d.keys == nil {
		d.log.Info("this agent has no key file to read again")
		return nil
	}
	before := d.keys.IDs()
	keys, err := trust.ReadFile(d.cfg.KeyFile, d.cfg.Insecure)
	if err == nil {
		if err = d.keys.SetKeys(keys); err != nil {
			err = fmt.Errorf("key file %s: %w", d.cfg.KeyFile, err)
		}
	}
	if err != nil {
		d.log.Error("the key file can't be used, the keys stay as they were", "keys", strings.Join(before, " "), "error", err)
		return err
	}
	after := d.keys.IDs()
	d.client.CloseIdle()
	d.pings.CloseIdle()
	closed := 0
	if slices.ContainsFunc(before, func(id string) bool { return !slices.Contains(after, id) }) {
		closed = d.replica.DropStreams() // nobody asks for the role of an open one again
	}
	d.log.Info("read the key file again", "file", d.cfg.KeyFile, "keys_before", strings.Join(before, " "), "keys",
		strings.Join(after, " "), "raft_streams_closed", closed)
	return nil
}

// keyIDs names the keys for the log, the one in use first.
func (d *Daemon) keyIDs() string {
	if d.keys == nil {
		return "none"
	}
	return strings.Join(d.keys.IDs(), " ")
}

// serverConfig is that of the agent's port.
func (d *Daemon) serverConfig() server.Config {
	if d.keys == nil {
		return server.Config{Agent: d.agent, Log: d.log, Secure: trust.PlainListener, Hosts: d.agent.hosts,
			MaxConns: d.files.port}
	}
	return server.Config{Agent: d.agent, Log: d.log, Secure: d.keys.Listener, Role: d.keys.RoleOf, MaxConns: d.files.port}
}

// followName keeps the certificate's name the one that the list has for this
// node, until ctx ends.
func (d *Daemon) followName(ctx context.Context) error {
	if d.keys == nil {
		return nil
	}
	for in := ""; ; {
		state, uid := d.store.State(), d.store.Meta().UID
		if name := listedName(d.store, d.cfg.Name); name != in {
			if err := d.keys.SetIdentity(uid, name); err != nil {
				return err
			}
			in = name
		}
		if err := d.store.Wait(ctx, state+1); err != nil {
			return err
		}
	}
}
