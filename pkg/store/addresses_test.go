package store

import (
	"testing"

	bolt "go.etcd.io/bbolt"
)

func TestStore_addresses(t *testing.T) {
	s := founded(t)
	kept := func(want map[string]string) {
		t.Helper()
		for range 2 {
			got, err := s.Addresses()
			ok(t, err)
			equal(t, "addresses", got, want)
			s = reopen(t, s)
		}
	}
	kept(map[string]string{})
	ok(t, s.KeepAddresses(map[string]string{}))
	kept(map[string]string{})
	ok(t, s.KeepAddresses(map[string]string{"web1": "10.0.0.1", "web2": "fe80::1%eth0"}))
	kept(map[string]string{"web1": "10.0.0.1", "web2": "fe80::1%eth0"})
	ok(t, s.KeepAddresses(map[string]string{"web2": "10.0.0.2"}))
	kept(map[string]string{"web2": "10.0.0.2"})
	ok(t, s.db.Update(func(tx *bolt.Tx) error { return in(tx, bucketAddresses).Put([]byte("web3"), []byte("10.0.0.")) }))
	kept(map[string]string{"web2": "10.0.0.2"})
}
