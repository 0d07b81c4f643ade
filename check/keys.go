package main

import (
	"errors"
	"fmt"
	"io/fs"

	"are-we-alive/pkg/api"
	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/trust"
)

// remembering is a client that keeps where the agents answered when it is closed.
type remembering struct {
	*api.Client
	memory *memory
}

// Close closes the client.
func (r remembering) Close() {
	r.memory.keep()
	r.Client.Close()
	r.memory.names.Close()
}

// connect makes the client that cfg asks for.
func connect(cfg config) (fetcher, error) {
	keys, err := findKeys(cfg.keyFile, cfg.keyFiles, readFile)
	if err != nil {
		return nil, err
	}
	m := recall(cfg.agents)
	asks := api.ClientConfig{Names: m.names}
	if keys == nil {
		return remembering{api.NewClient(asks), m}, nil
	}
	ring, err := trust.NewClient(keys, awa.RoleCheck)
	if err != nil {
		return nil, err
	}
	asks.Secure = ring.Secure
	return remembering{api.NewClient(asks), m}, nil
}

// findKeys reads the named key file, or else the first of the usual ones that
// is there. None of them, or a name that is empty, means no keys. One that
// this user can't read is passed over when a later one can be read: a
// monitoring host that is a server as well has both. Without any other that
// is an error, since agents with a key answer nobody without one.
func findKeys(named *string, usual []string, read reader) ([]trust.Key, error) {
	if named != nil {
		if *named == "" {
			return nil, nil
		}
		return read.keys(*named)
	}
	var denied error
	for _, path := range usual {
		keys, err := read.keys(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case errors.Is(err, fs.ErrPermission):
			if denied == nil {
				denied = err
			}
		default:
			return keys, err
		}
	}
	return nil, denied
}

// reader reads a key file, as trust.ReadFile does.
type reader func(path string) ([]trust.Key, error)

func readFile(path string) ([]trust.Key, error) { return trust.ReadFile(path, false) }

// keys reads a key file, and says in the plugin's own words why it can't.
func (read reader) keys(path string) ([]trust.Key, error) {
	keys, err := read(path)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("key file %s: %w: give the user of check_awa a check key that it owns (awa-agent key check)",
			path, fs.ErrPermission)
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("key file %s: %w: derive a check key on a server (awa-agent key check) and copy it here",
			path, fs.ErrNotExist)
	}
	return keys, err
}
