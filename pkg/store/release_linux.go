package store

import (
	"syscall"

	bolt "go.etcd.io/bbolt"
)

// release returns the memory of the mapped file to the system. Every page that was
// read counts as this process's memory until then. Pages that are needed again are
// read again, usually from the page cache. If madvise fails, they stay in memory, which
// does no harm.
func (s *Store) release() {
	s.db.View(func(tx *bolt.Tx) error { // bbolt maps the file again only when no transaction is open
		syscall.Syscall(syscall.SYS_MADVISE, s.db.Info().Data, uintptr(tx.Size()), syscall.MADV_DONTNEED)
		return nil
	})
}
