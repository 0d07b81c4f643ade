package daemon

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/replica"
	"are-we-alive/pkg/store"
)

// Restore puts the list of a backup into an empty data folder, as a new
// history of the same cluster with this agent as its only voter. A folder
// that holds a list already stays as it is.
func Restore(dataDir string, set awa.ChangeSet) (h awa.History, err error) {
	if err := os.MkdirAll(dataDir, 0o700); err != nil {
		return h, fmt.Errorf("make the data folder: %w", err)
	}
	st, err := store.Open(filepath.Join(dataDir, "awa.db"))
	if err != nil {
		return h, err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	if m := st.Meta(); m.Cluster != "" {
		return h, fmt.Errorf("%s holds a list already (cluster %s, state %d): move the folder away first, nothing was changed", dataDir, m.Cluster, st.State())
	}
	set.History = awa.NewHistory(set.History)
	return set.History, replica.Found(st, filepath.Join(dataDir, "raft"), set)
}
