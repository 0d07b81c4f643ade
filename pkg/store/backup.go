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
		file.Changes[i] = backupChange(c)
	}
	b, err := json.MarshalIndent(file, "", " ")
	if err != nil {
		return fmt.Errorf("write backup: %w", err)
	}
	if int64(len(b)) >= maxBackup {
		return fmt.Errorf("write backup: it would be larger than %d GiB, which restore doesn't read", int64(maxBackup)>>30)
	}
	// An open folder stays the same, whatever becomes of its path meanwhile.
	folder, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("write backup: %w", err)
	}
	defer folder.Close()
	name, temp := filepath.Base(path), ".awa-backup-"+awa.NewUID()
	tmp, err := folder.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("write backup: %w", inFolder(err, path))
	}
	defer folder.Remove(temp) // its other name, once it is linked
	_, err = tmp.Write(append(b, '\n'))
	if err == nil {
		err = tmp.Sync()
	}
	if err = errors.Join(err, tmp.Close()); err != nil {
		return fmt.Errorf("write backup: %w", err)
	}
	// A link, unlike a rename, never replaces a file.
	if err := folder.Link(temp, name); errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s exists already: name a new file, nothing was changed", path)
	} else if err != nil {
		return fmt.Errorf("write backup: %w", err)
	}
	d, err := folder.Open(".")
	if err != nil {
		return err
	}
	defer d.Close()
	return syncOpen(d)
}

// inFolder puts the whole path into an error of os.Root, which names the last
// part alone.
func inFolder(err error, path string) error {
	if e, ok := err.(*fs.PathError); ok {
		return &fs.PathError{Op: "open", Path: path, Err: e.Err}
	}
	return err
}
