package store

import (
	"syscall"

	bolt "go.etcd.io/bbolt"
)

// release gives the memory of the mapped file back to the system: all of it counts
// as this program's once it was read, be it years old. What is needed again is
// read again, most often from the system's cache. An error means that it stays,
// and is of no consequence.
func (s *Store) release() {
	s.db.View(func(tx *bolt.Tx) error { // bbolt maps the file anew only when no transaction is open
		syscall.Syscall(syscall.SYS_MADVISE, s.db.Info().Data, uintptr(tx.Size()), syscall.MADV_DONTNEED)
		return nil
	})
}
