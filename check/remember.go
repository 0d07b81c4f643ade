package main

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/goccy/go-json"

	"are-we-alive/pkg/api"
	"are-we-alive/pkg/awa"
)

// The address at which an agent answered is kept from one check to the next, so that a
// check does not hang on a name server that is silent: it is tried beside the lookup.
// Who answers there must have the key as everybody else. Nothing depends on the file.

const (
	// rememberedFile is the file in the user's cache folder.
	rememberedFile = "are-we-alive/addresses.json"
	// maxRemembered is how many bytes are read of it.
	maxRemembered = 64 << 10
	// rememberWithin is how long a read or a write may take. A home folder on a server
	// that is gone must not hold a check up.
	rememberWithin = 100 * time.Millisecond
)

// memory is the names of the agents that are asked, and their addresses.
type memory struct {
	names *api.Names
	path  string
	hosts []string          // the names among the agents
	known map[string]string // addresses by name, as the file has them
}

// recall reads the addresses of those agents that are given by their names; without
// any it touches no file.
func recall(agents []string) *memory {
	m := &memory{names: api.NewNames(nil)}
	for _, addr := range agents {
		host, _, err := awa.ParseAddr(addr, awa.DefaultPort)
		if _, notIP := netip.ParseAddr(host); err == nil && notIP != nil && !strings.EqualFold(host, "localhost") {
			m.hosts = append(m.hosts, host)
		}
	}
	folder, err := os.UserCacheDir()
	if len(m.hosts) == 0 || err != nil {
		return m
	}
	m.path = filepath.Join(folder, rememberedFile)
	read := make(chan map[string]string, 1)
	go func() {
		known := map[string]string{}
		if b, err := awa.ReadFile(m.path, maxRemembered, nil); err == nil && json.Unmarshal(b, &known) != nil {
			known = nil
		}
		read <- known
	}()
	select {
	case m.known = <-read:
	case <-time.After(rememberWithin):
		m.path = ""
	}
	for _, host := range m.hosts {
		if addr, err := netip.ParseAddr(m.known[host]); err == nil {
			m.names.Remember(host, addr.String())
		}
	}
	return m
}

// keep writes the addresses that answered, where they are new.
func (m *memory) keep() {
	changed := false
	for _, host := range m.hosts {
		if addr := m.names.Answered(host); addr != "" && addr != m.known[host] {
			if m.known == nil {
				m.known = map[string]string{}
			}
			m.known[host], changed = addr, true
		}
	}
	if !changed || m.path == "" {
		return
	}
	b, err := json.Marshal(m.known)
	if err != nil || len(b) > maxRemembered {
		return
	}
	written := make(chan struct{})
	go func() {
		defer close(written)
		replaceFile(m.path, b)
	}()
	select {
	case <-written:
	case <-time.After(rememberWithin):
	}
}

// replaceFile replaces a file. It ignores errors: the next check looks the name up.
func replaceFile(path string, b []byte) {
	if os.MkdirAll(filepath.Dir(path), 0o700) != nil {
		return
	}
	f, err := os.CreateTemp(filepath.Dir(path), "addresses-*")
	if err != nil {
		return
	}
	_, err = f.Write(b)
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil || os.Rename(f.Name(), path) != nil {
		os.Remove(f.Name())
	}
}
