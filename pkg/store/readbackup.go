package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"are-we-alive/pkg/awa"
)

const (
	// maxBackup is the most bytes of a backup: some ten million changes.
	maxBackup = 4 << 30
	// maxBackupValue is the most bytes of one change in a backup. Its data has
	// at most awa.MaxData, each of which may be written as six.
	maxBackupValue = 256 << 10
)

// ReadBackup reads what WriteBackup wrote, change by change. It fails with
// awa.ErrFormat for a format that this program doesn't know, and with
// awa.ErrDamaged when the changes don't make a list.
func ReadBackup(path string) (awa.ChangeSet, error) {
	f, _, err := awa.OpenFile(path, maxBackup)
	if err != nil {
		return awa.ChangeSet{}, fmt.Errorf("read backup: %w", err)
	}
	defer f.Close()
	r := newBackupReader(io.LimitReader(f, maxBackup))
	file, err := r.read()
	if file.Format != 0 && file.Format != backupFormat {
		return awa.ChangeSet{}, awa.Faultf(awa.ErrFormat, "%s is a backup of format %d, and this program knows format "+
			"%d: use a newer awa-agent", path, file.Format, backupFormat)
	}
	if isSystem(err) {
		return awa.ChangeSet{}, fmt.Errorf("read backup: %w", err)
	}
	if err != nil || file.Format == 0 {
		return awa.ChangeSet{}, awa.Faultf(awa.ErrDamaged, "%s is not a backup of a node list, or is damaged: "+
			"nothing was changed", path)
	}
	if file.After != nil {
		return awa.ChangeSet{}, awa.Faultf(awa.ErrBadInput, "%s is not a backup: it holds the "+
			"changes after %d that an agent has set aside (%s); make the edits again that are still "+
			"wanted", path, file.After.State, awa.CleanText(file.Why))
	}
	set := awa.ChangeSet{Cluster: file.Cluster, History: file.History, State: file.State, Changes: r.changes}
	l, err := awa.Replay(set.Changes)
	if err == nil {
		set.Digest = awa.DigestOf(set.Cluster, set.Changes)
		if file.Digest != "" && file.Digest != set.Digest.String() {
			err = fmt.Errorf("its digest is %s, and that of its changes %s", file.Digest, set.Digest)
		}
	}
	if err == nil && (l.State() != set.State || set.Cluster == "" || set.History == awa.History{}) {
		err = fmt.Errorf("it says its state is %d and holds %d changes", set.State, len(set.Changes))
	}
	if err != nil {
		return awa.ChangeSet{}, awa.Faultf(awa.ErrDamaged, "%s is a damaged backup (%v): nothing was changed", path, err)
	}
	return set, nil
}

// backupReader reads a backup without holding more of its text than one value.
type backupReader struct {
	values  *json.Decoder
	meter   *meter
	changes []awa.Change
}

func newBackupReader(from io.Reader) *backupReader {
	m := &meter{from: from, left: maxBackupValue}
	return &backupReader{values: json.NewDecoder(m), meter: m}
}

var errNoBackup = errors.New("not a backup")

// read reads the whole file. What it returns holds what was read before an
// error, without the changes.
func (r *backupReader) read() (file backupFile, err error) {
	if err := r.delim('{'); err != nil {
		return file, err
	}
	for r.values.More() {
		key, err := r.values.Token()
		if err != nil {
			return file, err
		}
		switch key {
		case "format":
			if err = r.value(&file.Format); err == nil && file.Format != backupFormat {
				return file, errNoBackup
			}
		case "cluster":
			err = r.value(&file.Cluster)
		case "history":
			err = r.value(&file.History)
		case "state":
			err = r.value(&file.State)
		case "digest":
			err = r.value(&file.Digest)
		case "why":
			err = r.value(&file.Why)
		case "after":
			err = r.value(&file.After)
		case "changes":
			err = r.readChanges()
		default:
			err = r.value(&json.RawMessage{})
		}
		if err != nil {
			return file, err
		}
	}
	if err := r.delim('}'); err != nil {
		return file, err
	}
	if _, err := r.values.Token(); err != io.EOF {
		return file, errors.Join(err, errNoBackup)
	}
	return file, nil
}

func (r *backupReader) readChanges() error {
	if err := r.delim('['); err != nil {
		return err
	}
	for r.values.More() {
		var c backupChange
		if err := r.value(&c); err != nil {
			return err
		}
		r.changes = append(r.changes, awa.Change{ID: c.ID, Action: c.Action, Data: c.Data, Index: c.Index, Term: c.Term,
			Key: c.Key})
	}
	return r.delim(']')
}

// value reads one value, after which the next one may be as long again.
func (r *backupReader) value(to any) error {
	err := r.values.Decode(to)
	r.meter.left = maxBackupValue
	return err
}

// delim reads one of the signs that stand round values.
func (r *backupReader) delim(want json.Delim) error {
	if token, err := r.values.Token(); err != nil || token != want {
		return errors.Join(err, errNoBackup)
	}
	r.meter.left = maxBackupValue
	return nil
}

// meter passes on at most left bytes.
type meter struct {
	from io.Reader
	left int
}

// Read implements io.Reader.
func (m *meter) Read(p []byte) (int, error) {
	if m.left == 0 {
		return 0, errNoBackup
	}
	n, err := m.from.Read(p[:min(len(p), m.left)])
	m.left -= n
	return n, err
}
