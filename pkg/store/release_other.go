//go:build !linux

package store

// release does nothing here.
func (s *Store) release() {}
