package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// unlockTerminal makes the other end of a pseudo-terminal usable and returns its
// number.
func unlockTerminal(master *os.File) (int, error) {
	fd := int(master.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		return 0, err
	}
	return unix.IoctlGetInt(fd, unix.TIOCGPTN)
}
