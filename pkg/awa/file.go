package awa

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// FileError says why a file is not read: it is not a regular file, or it is
// too large.
type FileError struct {
	Path string
	// Kind is what it is instead of a regular file, with an article; "" for a
	// regular file that is too large.
	Kind string
	// Most is the most bytes that it may have.
	Most int64
}

// Error implements error.
func (e *FileError) Error() string {
	switch e.Kind {
	case "":
		return fmt.Sprintf("%s is larger than %s", e.Path, sizeText(e.Most))
	case kindFolder:
		return e.Path + " is a folder: name a file in it"
	case kindPipe:
		return e.Path + " is a pipe: write what comes out of it to a file, and name that file"
	}
	return fmt.Sprintf("%s is %s: name a regular file", e.Path, e.Kind)
}

// IsFolder reports whether it is a folder.
func (e *FileError) IsFolder() bool { return e.Kind == kindFolder }

const (
	kindFolder = "a folder"
	kindPipe   = "a pipe"
	kindSocket = "a socket"
	kindDevice = "a device"
)

func sizeText(n int64) string {
	for _, unit := range []struct {
		name  string
		shift int
	}{{"GiB", 30}, {"MiB", 20}, {"KiB", 10}} {
		if n >= 1<<unit.shift && n%(1<<unit.shift) == 0 {
			return fmt.Sprintf("%d %s", n>>unit.shift, unit.name)
		}
	}
	return fmt.Sprintf("%d bytes", n)
}

// OpenFile opens a regular file, or a link to one, of at most most bytes for
// reading. Anything else is a *FileError, and is not waited for: opening a
// pipe would wait for its writer, and a device never ends. The file may still
// grow while it is read.
func OpenFile(path string, most int64) (*os.File, fs.FileInfo, error) {
	info, err := os.Stat(path) // first, since to open some devices is to use them
	if err == nil {
		err = CheckFile(path, info, most)
	}
	if err != nil {
		return nil, nil, openError(path, err)
	}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err = f.Stat() // of what was opened: the path may lead elsewhere by now
	if err == nil {
		err = CheckFile(path, info, most)
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

// openError is the error of a stat as that of an open, which it stands for.
func openError(path string, err error) error {
	if e, ok := err.(*fs.PathError); ok {
		return &fs.PathError{Op: "open", Path: path, Err: e.Err}
	}
	return err
}

// CheckFile returns a *FileError unless info is that of a regular file of at
// most most bytes.
func CheckFile(path string, info fs.FileInfo, most int64) error {
	kind := ""
	switch mode := info.Mode(); {
	case mode.IsRegular() && info.Size() <= most:
		return nil
	case mode.IsRegular():
	case mode.IsDir():
		kind = kindFolder
	case mode&fs.ModeNamedPipe != 0:
		kind = kindPipe
	case mode&fs.ModeSocket != 0:
		kind = kindSocket
	default:
		kind = kindDevice
	}
	return &FileError{Path: path, Kind: kind, Most: most}
}

// ReadFile reads a file that OpenFile opens, of at most most bytes however
// much it grows meanwhile. check, unless nil, may refuse it before it is read.
func ReadFile(path string, most int64, check func(fs.FileInfo) error) ([]byte, error) {
	f, info, err := OpenFile(path, most)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if check != nil {
		if err := check(info); err != nil {
			return nil, err
		}
	}
	return readAtMost(f, path, most)
}

func readAtMost(r io.Reader, path string, most int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, most+1))
	if err == nil && int64(len(b)) > most {
		return nil, &FileError{Path: path, Most: most}
	}
	return b, err
}

// SyncFolder makes the names in an open folder survive a power failure. A file system that
// can't do that is not an error.
func SyncFolder(folder *os.File) error {
	err := folder.Sync()
	if err == nil || errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	return fmt.Errorf("sync the folder: %w", err)
}
