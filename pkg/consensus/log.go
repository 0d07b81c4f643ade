package consensus

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/hashicorp/raft"
)

// raftLog is a Log in the form that raft wants: raft.LogStore and
// raft.StableStore.
type raftLog struct {
	disk  Log
	fail  func(error) // stops the agent
	guard *Disk       // nil: a write that fails is not tried again
}

// errNotFound must have just this text: raft compares it (api.go).
var errNotFound = errors.New("not found")

// FirstIndex implements raft.LogStore.
func (l raftLog) FirstIndex() (uint64, error) {
	first, _, err := l.disk.LogBounds()
	return first, err
}

// LastIndex implements raft.LogStore.
func (l raftLog) LastIndex() (uint64, error) {
	_, last, err := l.disk.LogBounds()
	return last, err
}

// GetLog implements raft.LogStore.
func (l raftLog) GetLog(index uint64, to *raft.Log) error {
	b, ok, err := l.disk.LogEntry(index)
	if err != nil {
		return err
	}
	if !ok {
		return raft.ErrLogNotFound
	}
	return decodeLog(index, b, to)
}

// StoreLog implements raft.LogStore.
func (l raftLog) StoreLog(one *raft.Log) error { return l.StoreLogs([]*raft.Log{one}) }

// StoreLogs implements raft.LogStore; raft hands in consecutive entries.
func (l raftLog) StoreLogs(logs []*raft.Log) error {
	if len(logs) == 0 {
		return nil
	}
	entries := make([][]byte, len(logs))
	for i, one := range logs {
		entries[i] = encodeLog(one)
	}
	err := l.disk.AppendLog(logs[0].Index, entries)
	l.guard.Failed(err) // raft asks for them again
	return err
}

// DeleteRange implements raft.LogStore.
func (l raftLog) DeleteRange(min, max uint64) error { return l.disk.DeleteLog(min, max) }

// A log entry on disk, version 1: term, time of appending in Unix
// nanoseconds (both 8 bytes big-endian), type (1 byte), length of the
// extensions (4 bytes), extensions, data.
const logHead = 8 + 8 + 1 + 4

func encodeLog(l *raft.Log) []byte {
	b := make([]byte, 0, logHead+len(l.Extensions)+len(l.Data))
	b = binary.BigEndian.AppendUint64(b, l.Term)
	b = binary.BigEndian.AppendUint64(b, uint64(l.AppendedAt.UnixNano()))
	b = append(b, byte(l.Type))
	b = binary.BigEndian.AppendUint32(b, uint32(len(l.Extensions)))
	b = append(b, l.Extensions...)
	return append(b, l.Data...)
}

func decodeLog(index uint64, b []byte, to *raft.Log) error {
	if len(b) < logHead {
		return fmt.Errorf("entry %d of the voters' log has only %d bytes", index, len(b))
	}
	n := int(binary.BigEndian.Uint32(b[17:]))
	if len(b) < logHead+n {
		return fmt.Errorf("entry %d of the voters' log is cut short", index)
	}
	*to = raft.Log{
		Index: index, Term: binary.BigEndian.Uint64(b),
		AppendedAt: time.Unix(0, int64(binary.BigEndian.Uint64(b[8:]))),
		Type:       raft.LogType(b[16]),
		Data:       b[logHead+n:],
	}
	if n > 0 {
		to.Extensions = b[logHead : logHead+n]
	}
	return nil
}

// Set implements raft.StableStore.
func (l raftLog) Set(key, value []byte) error {
	err := l.guard.Retry(func() error { return l.disk.SetStable(string(key), value) })
	if errors.Is(err, ErrEnding) {
		runtime.Goexit()
	}
	if err != nil {
		// raft panics when it can't keep its term or vote. Going on without
		// would break an election, so this goroutine of raft's ends here and
		// the agent stops with the reason.
		l.fail(fmt.Errorf("keep the vote on disk: %w", err))
		runtime.Goexit()
	}
	return nil
}

// Get implements raft.StableStore.
func (l raftLog) Get(key []byte) ([]byte, error) {
	value, ok, err := l.disk.Stable(string(key))
	if err == nil && !ok {
		return nil, errNotFound
	}
	return value, err
}

// SetUint64 implements raft.StableStore.
func (l raftLog) SetUint64(key []byte, value uint64) error {
	return l.Set(key, bigEndian(value))
}

// GetUint64 implements raft.StableStore.
func (l raftLog) GetUint64(key []byte) (uint64, error) {
	value, err := l.Get(key)
	if err == nil && len(value) != 8 {
		err = fmt.Errorf("the value of %s has %d bytes: 8 were expected", key, len(value))
	}
	if err != nil {
		return 0, err
	}
	return binary.BigEndian.Uint64(value), nil
}

func bigEndian(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }
