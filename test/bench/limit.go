package main

import (
	"fmt"
	"os"
	"strings"
	"syscall"
)

// roomFor says when this process can't hold n agents. Each has a port, a
// database and up to five ends of connections here, and keeps about 3 KB for
// each node of the list, garbage included.
func roomFor(n int) error {
	need := uint64(7*n + 200)
	var has syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &has); err != nil {
		return fmt.Errorf("read the limit of open files: %w", err)
	}
	if has.Cur < need {
		return fmt.Errorf("%d agents need %d open files and %d are allowed: try again after ulimit -n %d, or with "+
			"-agents 10,100", n, need, has.Cur, need)
	}
	if need, has := 3*n*n/1000, memAvailable(); has > 0 && has < need {
		return fmt.Errorf("%d agents in one process need about %d MB of memory and %d are free: try with -agents 10,100", n,
			need, has)
	}
	return nil
}

// memAvailable is how much memory can be used, in MB; 0 when it is not known.
func memAvailable() int {
	b, _ := os.ReadFile("/proc/meminfo") // absent elsewhere than on Linux
	for line := range strings.Lines(string(b)) {
		var kib int
		if n, _ := fmt.Sscanf(line, "MemAvailable: %d kB", &kib); n == 1 {
			return kib / 1000
		}
	}
	return 0
}
