package main

import (
	"errors"
	"path/filepath"

	"are-we-alive/pkg/api"
	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/trust"
)

// keys are those of a cluster, in files as its users have them; nil for a
// cluster without a key.
type keys struct {
	key            trust.Key
	cluster, check string // files
}

// newKeys makes a cluster's keys in a folder.
func newKeys(dir string) (*keys, error) {
	k := &keys{trust.NewKey(), filepath.Join(dir, "cluster.key"), filepath.Join(dir, "check.key")}
	return k, errors.Join(trust.WriteFile(k.cluster, k.key), trust.WriteFile(k.check, k.key.Check()))
}

// file is the agents' key file, "" for none.
func (k *keys) file() string {
	if k == nil {
		return ""
	}
	return k.cluster
}

// ring makes a keyring of a member that has met nobody yet.
func (k *keys) ring() (*trust.Keyring, error) {
	return trust.NewClient([]trust.Key{k.key}, awa.RoleMember)
}

// client makes a client with these keys.
func (k *keys) client(cfg api.ClientConfig) (*api.Client, error) {
	if k == nil {
		return api.NewClient(cfg), nil
	}
	ring, err := k.ring()
	if err != nil {
		return nil, err
	}
	cfg.Secure = ring.Secure
	return api.NewClient(cfg), nil
}
