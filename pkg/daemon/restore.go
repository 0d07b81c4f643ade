package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/consensus"
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
	if m := st.Meta(); m.Cluster != "" {
		err := fmt.Errorf("%s holds a list already (cluster %s, state %d): move the folder away first, nothing was "+
			"changed", dataDir, m.Cluster, st.State())
		return h, errors.Join(err, st.Close())
	}
	set.History, set.Fork = awa.NewHistory(set.History), awa.Position{State: set.State, Digest: set.Digest}
	raft := filepath.Join(dataDir, "raft")
	err = errors.Join(consensus.BootstrapFrom(st, raft, set), st.Close())
	if err != nil {
		// The folder held no list, so nothing is lost with what the attempt has
		// left; half of it could mislead an agent that joins from here.
		err = errors.Join(fmt.Errorf("restore into %s: %w", dataDir, err), os.RemoveAll(raft),
			os.Remove(filepath.Join(dataDir, "awa.db")))
	}
	return set.History, err
}

// BecomeOwner makes the process of root that of the user who decides where
// dataDir leads, for good: usually the folder's owner, the user of the service.
// So root writes, reads and deletes nothing that this user couldn't, whatever
// it puts into the way meanwhile, and what is written belongs to it. Folders
// that are missing on the way are made. For anybody but root it does nothing.
func BecomeOwner(dataDir string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	path := dataDir
	if !filepath.IsAbs(path) {
		wd, err := os.Getwd()
		if err != nil {
			return fmt.Errorf("make the data folder: %w", err)
		}
		path = wd + "/" + path // not cleaned: ".." is what lies above what a link leads to
	}
	uid, gid, err := rulerOf(path)
	if err != nil || uid == 0 {
		return err
	}
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		if own, err := strconv.Atoi(u.Gid); err == nil {
			gid = own // a folder may have its group from the one above
		}
	}
	err = syscall.Setgroups([]int{gid})
	if err == nil {
		err = syscall.Setgid(gid)
	}
	if err == nil {
		err = syscall.Setuid(uid)
	}
	if err != nil {
		return fmt.Errorf("go on as the owner of %s (uid %d): %w: run it as that user", dataDir, uid, err)
	}
	return nil
}

// maxLinks is how many symbolic links may stand in a path, as in Linux.
const maxLinks = 40

// rulerOf returns the user, and its folder's group, that decides where an
// absolute path leads: the owner of the first folder or symbolic link on the
// way that isn't root's. Until there only root can change the way, so what
// was seen stays true. It makes the folders that are missing. When all is
// root's, a folder in which others may replace what lies there is an error.
func rulerOf(path string) (uid, gid int, err error) {
	at, links := "/", 0
	loose := "" // the first folder of root's that others may change
	for names := split(path); len(names) > 0; {
		next := filepath.Join(at, names[0]) // at holds no links, so ".." is what lies above
		names = names[1:]
		info, err := os.Lstat(next)
		if errors.Is(err, fs.ErrNotExist) {
			if err := os.Mkdir(next, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
				return 0, 0, fmt.Errorf("make the data folder: %w", err)
			}
			info, err = os.Lstat(next) // somebody may have been quicker
		}
		if err != nil {
			return 0, 0, fmt.Errorf("make the data folder: %w", err)
		}
		stat := info.Sys().(*syscall.Stat_t)
		switch {
		case stat.Uid != 0:
			return int(stat.Uid), int(stat.Gid), nil
		case info.Mode()&fs.ModeSymlink != 0:
			to, err := os.Readlink(next)
			if links++; err == nil && links > maxLinks {
				err = &fs.PathError{Op: "open", Path: path, Err: syscall.ELOOP}
			}
			if err != nil {
				return 0, 0, fmt.Errorf("make the data folder: %w", err)
			}
			if filepath.IsAbs(to) {
				at = "/"
			}
			names = slices.Concat(split(to), names)
		case !info.IsDir():
			return 0, 0, fmt.Errorf("make the data folder: %w", &fs.PathError{Op: "mkdir", Path: next, Err: syscall.ENOTDIR})
		default:
			at = next
			if loose == "" && shared(info, stat, len(names) == 0) {
				loose = next
			}
		}
	}
	if loose != "" {
		return 0, 0, fmt.Errorf("other users may replace what lies in %s, and could lead root elsewhere: run it as the "+
			"user of the agent, or use a folder that only its owner can change", loose)
	}
	return 0, 0, nil
}

// shared reports whether others than root may replace what lies in a folder of
// root's. In one with the sticky bit they can't replace what is root's, but
// still put something there: it can't be the last one.
func shared(info fs.FileInfo, stat *syscall.Stat_t, last bool) bool {
	mode := info.Mode()
	if mode&fs.ModeSticky != 0 && !last {
		return false
	}
	return mode.Perm()&0o002 != 0 || mode.Perm()&0o020 != 0 && stat.Gid != 0
}

func split(path string) []string {
	return slices.DeleteFunc(strings.Split(path, "/"), func(s string) bool { return s == "" || s == "." })
}
