package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/replica"
	"are-we-alive/pkg/store"
)

// Restore puts the list of a backup into an empty data folder, as a new
// history of the same cluster with this agent as its only voter. A folder
// that holds a list already stays as it is. What root restores belongs to the
// folder's owner, the user of the service.
func Restore(dataDir string, set awa.ChangeSet) (h awa.History, err error) {
	if err := os.MkdirAll(dataDir, 0o700); err != nil {
		return h, fmt.Errorf("make the data folder: %w", err)
	}
	st, err := store.Open(filepath.Join(dataDir, "awa.db"))
	if err != nil {
		return h, err
	}
	defer func() { err = errors.Join(err, st.Close(), giveToOwner(dataDir)) }()
	if m := st.Meta(); m.Cluster != "" {
		return h, fmt.Errorf("%s holds a list already (cluster %s, state %d): move the folder away first, nothing was changed", dataDir, m.Cluster, st.State())
	}
	set.History = awa.NewHistory(set.History)
	return set.History, replica.Found(st, filepath.Join(dataDir, "raft"), set)
}

// giveToOwner gives all that is in a folder to the folder's own user and group.
// For anybody but root it does nothing.
func giveToOwner(folder string) error {
	info, err := os.Stat(folder)
	if err != nil {
		return err
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok || os.Geteuid() != 0 {
		return nil
	}
	return filepath.WalkDir(folder, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, int(owner.Uid), int(owner.Gid))
	})
}
