package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/goccy/go-json"

	"are-we-alive/pkg/awa"
)

// backupFormat is the version of a backup: one JSON object, in which changes
// stand in their order, from the first.
const backupFormat = 1

type backupFile struct {
	Format  int            `json:"format"`
	Cluster string         `json:"cluster"`
	History awa.History    `json:"history"`
	State   uint64         `json:"state"`
	Changes []backupChange `json:"changes"`
}

type backupChange struct {
	ID     uint64     `json:"id"`
	Action awa.Action `json:"action"`
	Data   string     `json:"data"`
	Index  uint64     `json:"index,omitempty"`
	Term   uint64     `json:"term,omitempty"`
	Key    string     `json:"key,omitempty"`
}

// WriteBackup writes a whole list to a new file that only its owner can read.
// The file is there once it is whole and on disk, or not at all; an existing
// one stays as it is, and the error says so.
func WriteBackup(path string, set awa.ChangeSet) (err error) {
	file := backupFile{backupFormat, set.Cluster, set.History, set.State, make([]backupChange, len(set.Changes))}
	for i, c := range set.Changes {
		file.Changes[i] = backupChange{c.ID, c.Action, c.Data, c.Index, c.Term, c.Key}
	}
	b, err := json.MarshalIndent(file, "", " ")
	if err != nil {
		return fmt.Errorf("write backup: %w", err)
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".awa-backup-*")
	if err != nil {
		return fmt.Errorf("write backup: %w", err)
	}
	defer os.Remove(tmp.Name()) // its other name, once it is linked
	_, err = tmp.Write(append(b, '\n'))
	if err == nil {
		err = tmp.Sync()
	}
	if err = errors.Join(err, tmp.Close()); err != nil {
		return fmt.Errorf("write backup: %w", err)
	}
	// A link, unlike a rename, never replaces a file.
	if err := os.Link(tmp.Name(), path); errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s exists already: name a new file, nothing was changed", path)
	} else if err != nil {
		return fmt.Errorf("write backup: %w", err)
	}
	return syncFolder(filepath.Dir(path))
}

// ReadBackup reads what WriteBackup wrote. It fails with awa.ErrFormat for a
// format that this program doesn't know, and with awa.ErrDamaged when the
// changes don't make a list.
func ReadBackup(path string) (awa.ChangeSet, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return awa.ChangeSet{}, fmt.Errorf("read backup: %w", err)
	}
	var file backupFile
	if err := json.Unmarshal(b, &file); err != nil || file.Format == 0 {
		return awa.ChangeSet{}, &awa.Fault{Code: awa.ErrDamaged, Text: path + " is no backup of a node list, or a damaged one: nothing was changed"}
	}
	if file.Format != backupFormat {
		return awa.ChangeSet{}, &awa.Fault{Code: awa.ErrFormat, Text: fmt.Sprintf("%s is a backup of format %d, and this program knows format %d: use a newer awa-agent", path, file.Format, backupFormat)}
	}
	set := awa.ChangeSet{Cluster: file.Cluster, History: file.History, State: file.State, Changes: make([]awa.Change, len(file.Changes))}
	for i, c := range file.Changes {
		set.Changes[i] = awa.Change{ID: c.ID, Action: c.Action, Data: c.Data, Index: c.Index, Term: c.Term, Key: c.Key}
	}
	l, err := awa.Replay(set.Changes)
	if err == nil && (l.State() != set.State || set.Cluster == "" || set.History == awa.History{}) {
		err = fmt.Errorf("it says its state is %d and holds %d changes", set.State, len(set.Changes))
	}
	if err != nil {
		return awa.ChangeSet{}, &awa.Fault{Code: awa.ErrDamaged, Text: fmt.Sprintf("%s is a damaged backup (%v): nothing was changed", path, err)}
	}
	return set, nil
}
