package store

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/goccy/go-json"

	"are-we-alive/pkg/awa"
)

// backupFormat is the version of a backup: one JSON object, in which changes
// stand in their order, from the first.
const backupFormat = 1

type backupFile struct {
	Format  int         `json:"format"`
	Cluster string      `json:"cluster"`
	History awa.History `json:"history"`
	State   uint64      `json:"state"`
	// Digest is that of the list; files of older programs have none.
	Digest string `json:"digest,omitempty"`
	// Why and After stand in what SetAside writes: the reason, and the position
	// of the list that the changes follow.
	Why     string         `json:"why,omitempty"`
	After   *awa.Position  `json:"after,omitempty"`
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

// WriteBackup is CreateBackup of a list that is in memory.
func WriteBackup(path string, set awa.ChangeSet) error {
	return CreateBackup(path, set, func() ([]awa.Change, error) { return set.Changes, nil })
}

// CreateBackup writes a whole list to a new file that only its owner can read.
// The file is there once it is whole and on disk, or not at all; an existing
// one stays as it is, and the error says so. of says whose list it is and its
// state; next returns the next of its changes, any number but none, and is
// asked until all up to that state are there. So no more than what it returns
// at once is in memory.
func CreateBackup(path string, of awa.ChangeSet, next func() ([]awa.Change, error)) error {
	head := backupFile{Format: backupFormat, Cluster: of.Cluster, History: of.History, State: of.State,
		Digest: of.Digest.String(), Changes: []backupChange{}}
	return createFile(path, head, next)
}

// SetAside writes the changes after a state, which are about to be given up, to
// a new file beside awa.db, as a backup has them, and returns its path. why is
// one sentence.
func (s *Store) SetAside(after uint64, why string, now time.Time) (path string, err error) {
	m := s.Meta()
	to := s.Position()
	from, _, err := s.DigestAt(after)
	if err != nil {
		return "", err
	}
	head := backupFile{
		Format: backupFormat, Cluster: m.Cluster, History: m.History, State: to.State, Digest: to.Digest.String(),
		Why: why, After: &awa.Position{State: after, Digest: from}, Changes: []backupChange{},
	}
	name := "set-aside-" + now.UTC().Format("20060102T150405.000Z") + ".json"
	path = filepath.Join(filepath.Dir(s.path), name)
	at := after
	return path, createFile(path, head, func() ([]awa.Change, error) {
		changes, err := s.Changes(at, pageSize)
		if n := len(changes); n > 0 {
			at = changes[n-1].ID
		}
		return changes, err
	})
}

// createFile writes a backup. next returns its changes, those after head.After.
func createFile(path string, head backupFile, next func() ([]awa.Change, error)) (err error) {
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
	err = writeChanges(tmp, head, next)
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
	return awa.SyncFolder(d)
}

// inFolder puts the whole path into an error of os.Root, which names the last
// part alone.
func inFolder(err error, path string) error {
	if e, ok := err.(*fs.PathError); ok {
		return &fs.PathError{Op: "open", Path: path, Err: e.Err}
	}
	return err
}

// writeChanges writes the JSON of a backup, as json.MarshalIndent would.
func writeChanges(to io.Writer, of backupFile, next func() ([]awa.Change, error)) error {
	head, err := json.MarshalIndent(of, "", " ")
	if err != nil {
		return err
	}
	head, _ = bytes.CutSuffix(head, []byte("]\n}"))
	w := bufio.NewWriter(to) // keeps its first error for Flush
	w.Write(head)
	size := len(head)
	first := uint64(0)
	if of.After != nil {
		first = of.After.State
	}
	for last := first; last < of.State; {
		changes, err := next()
		if err != nil {
			return err
		}
		if len(changes) == 0 {
			return fmt.Errorf("change %d of %d is missing", last+1, of.State)
		}
		for _, c := range changes {
			if c.ID != last+1 {
				return fmt.Errorf("change %d is missing: change %d came", last+1, c.ID)
			}
			b, err := json.MarshalIndent(backupChange{c.ID, c.Action, c.Data, c.Index, c.Term, c.Key}, "  ", " ")
			if err != nil {
				return err
			}
			if last > first {
				w.WriteByte(',')
			}
			w.WriteString("\n  ")
			w.Write(b)
			if size += len(b) + 4; size >= maxBackup {
				return fmt.Errorf("it would be larger than %d GiB, which restore doesn't read", int64(maxBackup)>>30)
			}
			if last = c.ID; last == of.State {
				break
			}
		}
	}
	if of.State > first {
		w.WriteString("\n ")
	}
	w.WriteString("]\n}\n")
	return w.Flush()
}
