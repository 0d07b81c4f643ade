package consensus

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"syscall"
	"time"

	"are-we-alive/pkg/awa"
)

// A disk that takes no writes ends nothing: this agent goes on as a follower that
// can't follow. It answers pings and says what is wrong, takes no entry of Raft's
// log, grants no vote and doesn't lead, until there is room again.

// Disk knows whether the data folder takes writes. Its methods are safe for concurrent
// use.
type Disk struct {
	room func() error // nil when it does
	log  *slog.Logger
	stop chan struct{} // closed by Close
	once sync.Once

	mu   sync.Mutex
	code awa.HealthCode // "" while all is well
	err  error
}

// diskPause is how long a write that failed waits before it is tried again.
const diskPause = 250 * time.Millisecond

// newDisk makes a Disk; room tries to write.
func newDisk(room func() error, log *slog.Logger) *Disk {
	return &Disk{room: room, log: log, stop: make(chan struct{})}
}

// Close ends all waits of Retry: the agent stops.
func (d *Disk) Close() { d.once.Do(func() { close(d.stop) }) }

// diskCode returns the health code of an error of a write, or "" for one that
// waiting doesn't help.
func diskCode(err error) awa.HealthCode {
	switch {
	case isAnyErrno(err, syscall.ENOSPC, syscall.EDQUOT):
		return awa.DiskFull
	case isAnyErrno(err, syscall.EROFS):
		return awa.DiskReadOnly
	}
	return ""
}

func isAnyErrno(err error, all ...syscall.Errno) bool {
	for _, number := range all {
		if errors.Is(err, number) {
			return true
		}
	}
	return false
}

// Failed notes an error of a write, and reports whether it may pass. A nil disk
// notes nothing.
func (d *Disk) Failed(err error) bool {
	code := diskCode(err)
	if code == "" || d == nil {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.code == "" {
		d.log.Error("the disk takes no writes: this agent follows no change of the list until it does", "health",
			string(code), "error", err)
	}
	d.code, d.err = code, err
	return true
}

// Condition returns what is wrong, or the zero Condition.
func (d *Disk) Condition() awa.Condition {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch d.code {
	case awa.DiskFull:
		return awa.Condition{Code: d.code, Text: fmt.Sprintf("the disk of this agent is full, so it can't follow the "+
			"list: make room, it goes on by itself (%v)", d.err)}
	case awa.DiskReadOnly:
		return awa.Condition{Code: d.code, Text: fmt.Sprintf("the disk of this agent takes no writes, so it can't follow "+
			"the list: look at its disk and its mounts (%v)", d.err)}
	}
	return awa.Condition{}
}

// probe tries to write after a failure, and reports whether that has just become
// possible.
func (d *Disk) probe() (again bool) {
	if d.Condition().Code == "" || d.room() != nil {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.code, d.err = "", nil
	d.log.Info("the disk takes writes again")
	return true
}

// ErrEnding is what Retry returns when the agent stops before the disk takes
// writes.
var ErrEnding = errors.New("the agent stops, and its disk takes no writes")

// Retry calls write until it succeeds, or fails for another reason than a disk that
// takes no writes. So nothing that Raft has decided, and no vote, is passed over.
func (d *Disk) Retry(write func() error) error {
	for {
		err := write()
		if err == nil || !d.Failed(err) {
			return err
		}
		select {
		case <-time.After(diskPause):
		case <-d.stop:
			return ErrEnding
		}
	}
}
