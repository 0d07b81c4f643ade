package main

import (
	"errors"
	"fmt"
	"syscall"
)

// neededFiles are the file descriptors that a check needs at the same moment:
// two of Go's own for the network, and two for a connection or a name's lookup.
const neededFiles = 4

// enoughFiles says that this process may not open as many files as a check
// needs. Without Go's own two the process would end with exit code 2, which
// means CRITICAL. So this is found out before anything needs them: that is also
// the first timer.
func enoughFiles() error {
	var err error
	for range neededFiles {
		fd, failed := syscall.Open("/", syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
		if failed == nil {
			defer syscall.Close(fd)
		}
		err = errors.Join(err, failed)
	}
	if !errors.Is(err, syscall.EMFILE) && !errors.Is(err, syscall.ENFILE) {
		return nil
	}
	return fmt.Errorf("this check may open no more than %d files, too few to ask anybody: raise the limit (ulimit -n) "+
		"of what starts it", openLimit())
}

func openLimit() uint64 {
	var limit syscall.Rlimit
	syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) // 0 when it fails
	return limit.Cur
}
