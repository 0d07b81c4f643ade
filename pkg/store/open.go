package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"syscall"
	"time"

	"are-we-alive/pkg/awa"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

const (
	// lockTimeout is how long each of Open's two locks is waited for: an
	// agent that is just stopping may still hold it.
	lockTimeout = 800 * time.Millisecond
	// firstMap is what the file grows to with its first changes. bbolt maps
	// twice as much each time it is full, and has to wait for all readers
	// then. The file is sparse.
	firstMap = 1 << 20
)

// Open opens the file at path, or makes one with a fresh uid (mode 0600) when
// there is none. A file that is there is checked from end to end before
// anything is written; one of formatPlain is made one of format then. The error is a Fault with
// awa.ErrInUse when another
// process holds the file, awa.ErrDamaged when it can't be what this program
// wrote, awa.ErrFormat when it was written in a format that this program
// doesn't know; or it wraps the system's.
func Open(path string) (*Store, error) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		if err := create(path); err != nil {
			return nil, err
		}
	}
	held, err := examine(path)
	if err != nil {
		return nil, openError(path, err)
	}
	var db *bolt.DB
	err = guard(func() error {
		db, err = openBolt(path, false, nil)
		return err
	})
	if err != nil {
		return nil, openError(path, err)
	}
	s := &Store{path: path, db: db, list: held.list, digest: held.digest, meta: held.meta, high: held.high,
		moved: make(chan struct{})}
	// Between the two locks somebody else may have had the file.
	err = s.view(func(tx *bolt.Tx) error {
		if tx.ID() != held.txid {
			return inUse(path)
		}
		return nil
	})
	if err == nil && held.plain {
		err = s.upgrade()
	}
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	s.release() // bbolt has looked at every page
	return s, nil
}

// create makes an empty list with a fresh uid. It gets its name when it is
// complete and on disk, so that a crash leaves no half-made file there. Who
// loses a race for the name uses the winner's file.
func create(path string) error {
	folder := filepath.Dir(path)
	temp, err := os.CreateTemp(folder, filepath.Base(path)+".new-*") // mode 0600
	if err != nil {
		return createError(path, err)
	}
	defer os.Remove(temp.Name())
	if err := temp.Close(); err != nil {
		return createError(path, err)
	}
	db, err := openBolt(temp.Name(), false, nil)
	if err != nil {
		return createError(path, err)
	}
	err = db.Update(func(tx *bolt.Tx) error {
		for _, name := range allBuckets() {
			if _, err := tx.CreateBucket([]byte(name)); err != nil {
				return err
			}
		}
		return putMeta(tx, awa.Meta{UID: awa.NewUID()}, awa.Head{NextID: 1}, place{})
	})
	if err := errors.Join(err, db.Close()); err != nil {
		return createError(path, err)
	}
	switch err := os.Link(temp.Name(), path); {
	case errors.Is(err, fs.ErrExist):
		return nil
	case err != nil: // a file system without hard links
		if err := os.Rename(temp.Name(), path); err != nil {
			return createError(path, err)
		}
	}
	return syncFolder(folder)
}

// syncFolder makes a new name in a folder survive a power failure.
func syncFolder(folder string) error {
	f, err := os.Open(folder)
	if err != nil {
		return err
	}
	defer f.Close()
	return awa.SyncFolder(f)
}

// examine reads and checks a file without writing to it. The file must not
// change meanwhile: it is locked against writers.
func examine(path string) (held content, err error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return content{}, err
	case !info.Mode().IsRegular():
		return content{}, awa.Faultf(awa.ErrDamaged, "%s is a folder or a device: the node list needs a file there, "+
			"or a free name", path)
	case info.Size() == 0:
		return content{}, damage("it is empty")
	}
	err = guard(func() error {
		var file *os.File
		db, err := openBolt(path, true, &file)
		if err != nil {
			return err
		}
		defer db.Close()
		return db.View(func(tx *bolt.Tx) error {
			if err := checkPages(file, db.Info().PageSize, tx.ID()); err != nil {
				return err
			}
			held, err = load(tx)
			return err
		})
	})
	return held, err
}

// openBolt opens a file that is there; file, if not nil, is set to its
// descriptor. The file is closed again when bbolt panics on what it finds.
func openBolt(path string, readOnly bool, file **os.File) (db *bolt.DB, err error) {
	if file == nil {
		file = new(*os.File)
	}
	defer func() {
		if db == nil && *file != nil {
			(*file).Close() // bbolt has done so, unless it panicked
		}
	}()
	return bolt.Open(path, 0o600, &bolt.Options{
		ReadOnly:        readOnly,
		Timeout:         lockTimeout,
		NoFreelistSync:  true, // saves a page per transaction; Open reads the whole file anyway
		FreelistType:    bolt.FreelistMapType,
		InitialMmapSize: firstMap,
		OpenFile: func(name string, flag int, mode fs.FileMode) (*os.File, error) {
			f, err := os.OpenFile(name, flag&^os.O_CREATE, mode)
			*file = f
			return f, err
		},
	})
}

// unreadable is what guard says of a file.
const unreadable = "it can't be read"

// guard turns a panic of f into an error, and a fault as well: reading mapped
// memory that the disk can't deliver is one.
func guard(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = damage("%s: %v", unreadable, r)
		}
	}()
	return f()
}

// damage says what is wrong inside the file; openError adds its name.
type damageError struct{ text string }

func (e damageError) Error() string { return e.text }

func damage(format string, args ...any) error { return damageError{fmt.Sprintf(format, args...)} }

// openError makes the sentence that a person reads.
func openError(path string, err error) error {
	var fault *awa.Fault
	var damaged damageError
	damagedText := func(what string) error {
		return awa.Faultf(awa.ErrDamaged, "%s is damaged or no node list (%s): move the data "+
			"folder away and start the agent again, which then joins the cluster with an empty one; if no other agent holds "+
			"the list, restore a backup", path, what)
	}
	switch {
	case errors.As(err, &fault):
		return err
	case errors.As(err, &damaged):
		return damagedText(damaged.text)
	case errors.Is(err, bolterrors.ErrTimeout):
		return inUse(path)
	case errors.Is(err, bolterrors.ErrVersionMismatch):
		return awa.Faultf(awa.ErrFormat, "%s is a bbolt file of a version that this program doesn't know: use the "+
			"program that wrote it", path)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("open %s: this user (uid %d) may not read and write it: %w", path, os.Geteuid(), err)
	case isSystem(err):
		return fmt.Errorf("open %s: %w", path, err)
	default: // bbolt refuses it
		return damagedText(err.Error())
	}
}

func createError(path string, err error) error {
	folder := filepath.Dir(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("create %s: the folder %s does not exist, make it first: %w", path, folder, err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("create %s: this user (uid %d) may not write to the folder %s: %w", path, os.Geteuid(), folder, err)
	default:
		return fmt.Errorf("create %s: %w", path, err)
	}
}

func inUse(path string) error {
	return awa.Faultf(awa.ErrInUse, "%s is in use by another process: stop the other agent, or give this one a data "+
		"folder of its own", path)
}

// isSystem reports whether an error is the system's, and not what bbolt says of a file.
func isSystem(err error) bool {
	var inPath *fs.PathError
	var number syscall.Errno
	return errors.As(err, &inPath) || errors.As(err, &number)
}
