package trust

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"are-we-alive/pkg/awa"
)

// Limits on a key file. A rotation needs two keys.
const (
	maxKeyFile = 64 << 10 // bytes
	maxKeys    = 16       // each costs an authority more to try for every certificate
)

// ReadFile reads a key file: one key a line, of one role, "#" begins a
// comment. The first key is the one to use, all are accepted. A file that the
// group or others may read is refused unless insecure is set. A symbolic link
// is followed, and what it leads to must keep the rules. What is wrong with
// the content is an *awa.Fault of awa.ErrBadInput that names the file and the
// line; no error shows a part of the secret.
func ReadFile(path string, insecure bool) ([]Key, error) {
	text, err := awa.ReadFile(path, maxKeyFile, func(info fs.FileInfo) error {
		if info.Mode().Perm()&0o077 != 0 && !insecure {
			return badFile(path, 0, "other users may read it (its mode is %04o): run chmod 600 on it, and make a new key if "+
				"somebody may have read it", info.Mode().Perm())
		}
		return nil
	})
	var fault *awa.Fault
	var kind *awa.FileError
	switch {
	case err == nil:
		return ParseKeys(path, text)
	case errors.As(err, &fault):
		return nil, err
	case errors.As(err, &kind):
		return nil, badKind(path, kind)
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("key file: %w: make a cluster key with awa-agent key new, or copy the file from another "+
			"server of the cluster", err)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("key file: %w: this runs as %s, so give the file to that user with chown, or run this as "+
			"its owner or as root", err, ownUser())
	}
	return nil, fmt.Errorf("key file: %w", err)
}

// ownUser names the user that this process runs as.
func ownUser() string {
	uid := strconv.Itoa(os.Geteuid())
	if u, err := user.LookupId(uid); err == nil {
		return u.Username
	}
	return "user " + uid
}

// badKind says why a file is not read.
func badKind(path string, e *awa.FileError) error {
	switch {
	case e.Kind == "":
		return tooLarge(path)
	case e.IsFolder():
		return badFile(path, 0, "it is a folder: name the file in it")
	}
	return badFile(path, 0, "it is %s: a key is read from a regular file only", e.Kind)
}

func tooLarge(path string) error {
	return badFile(path, 0, "it is larger than %d KiB: this is not a key file", maxKeyFile>>10)
}

// badFile is an error in a key file; line 0 is the whole file. The text must
// not hold anything out of the file: a line that can't be read may be a key.
func badFile(path string, line int, format string, args ...any) error {
	where := "key file " + path
	if line > 0 {
		where += fmt.Sprintf(", line %d", line)
	}
	return awa.Faultf(awa.ErrBadInput, "%s: %s", where, fmt.Sprintf(format, args...))
}

// ParseKeys reads the text of a key file, as ReadFile says; path is for
// messages. A key that comes twice counts once.
func ParseKeys(path string, text []byte) ([]Key, error) {
	if len(text) > maxKeyFile {
		return nil, tooLarge(path)
	}
	var keys []Key
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, maxKeyFile+1)
	for n := 1; lines.Scan(); n++ {
		content, _, _ := strings.Cut(lines.Text(), "#")
		words := strings.Fields(content)
		if len(words) == 0 {
			continue
		}
		k, err := parseKey(words)
		if err != nil {
			return nil, badFile(path, n, "%v", err)
		}
		if len(keys) > 0 && k.Role() != keys[0].Role() {
			return nil, badFile(path, n, "this is a %s key, and the first in the file is a %s key: keep cluster keys and "+
				"check keys in files of their own", k.Role(), keys[0].Role())
		}
		if slices.ContainsFunc(keys, k.Equal) {
			continue
		}
		if len(keys) == maxKeys {
			return nil, badFile(path, n, "this is one key too many, %d are allowed: remove those that no server uses any more",
				maxKeys)
		}
		keys = append(keys, k)
	}
	if err := lines.Err(); err != nil {
		return nil, badFile(path, 0, "it is not readable: %v", err)
	}
	if len(keys) == 0 {
		return nil, badFile(path, 0, "it holds no key: make one with awa-agent key new, or copy the file from another "+
			"server of the cluster")
	}
	return keys, nil
}

// parseKey reads the words of a key's line. Its errors repeat none of them.
func parseKey(words []string) (Key, error) {
	if words[0] != keyVersion {
		if version, ok := strings.CutPrefix(words[0], "awa"); ok && len(words) == 3 && len(version) == 1 &&
			version[0] >= '2' && version[0] <= '9' {
			return Key{}, errors.New("this key was made by a newer version of are-we-alive: install that here, or make a " +
				"key with this one")
		}
		return Key{}, fmt.Errorf("it does not begin with %s: a key looks like %s member BASE64, and # begins a comment",
			keyVersion, keyVersion)
	}
	if len(words) != 3 {
		return Key{}, fmt.Errorf("it has %d words instead of 3: a key looks like %s member BASE64", len(words), keyVersion)
	}
	role := awa.Role(words[1])
	if role != awa.RoleMember && role != awa.RoleCheck {
		return Key{}, errors.New("the second word is not a role: write member or check")
	}
	b, err := base64.StdEncoding.Strict().DecodeString(words[2])
	if err != nil {
		return Key{}, errors.New("the third word is not base64: copy the whole line again, nothing more and nothing less")
	}
	if len(b) != sizeOf(role) {
		return Key{}, fmt.Errorf("the key has %d bytes, and a %s key has %d: copy the whole line again, nothing more and "+
			"nothing less", len(b), role, sizeOf(role))
	}
	return newKey(role, b), nil
}

// WriteFile writes a new key file, with more keys of the role of the first if
// there are any, that only its owner can read. It never
// overwrites: an existing file is an *awa.Fault of awa.ErrBadInput. When it
// returns without an error the file is on disk.
func WriteFile(path string, k Key, more ...Key) error {
	dir, name := filepath.Split(path)
	folder, err := openFolder(dir)
	if err != nil {
		return named(err, path)
	}
	defer folder.Close()
	if err := writeNew(folder, dir, name, []byte(k.FileText(more...)), 0o600); err != nil {
		return err
	}
	return syncFolder(folder)
}

// openFolder opens a folder, so that all that is written and deleted lies in
// it, whatever becomes of its path meanwhile.
func openFolder(path string) (*os.Root, error) {
	if path == "" {
		path = "."
	}
	return os.OpenRoot(path)
}

// writeNew writes a file that was not there, or leaves none; dir is the
// folder's name for messages.
func writeNew(folder *os.Root, dir, name string, data []byte, mode fs.FileMode) error {
	path := filepath.Join(dir, name)
	f, err := folder.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if errors.Is(err, fs.ErrExist) {
		return awa.Faultf(awa.ErrBadInput, "%s exists already and is never overwritten: name another file, or move "+
			"it away first", path)
	}
	if err != nil {
		return named(err, path)
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		folder.Remove(name)
	}
	return named(err, path)
}

// named puts the whole path into an error of os.Root, which names the last
// part alone.
func named(err error, path string) error {
	if e, ok := err.(*fs.PathError); ok {
		return &fs.PathError{Op: "open", Path: path, Err: e.Err}
	}
	return err
}

// syncFolder brings the names in a folder to the disk.
func syncFolder(folder *os.Root) error {
	d, err := folder.Open(".")
	if err != nil {
		return err
	}
	defer d.Close()
	return awa.SyncFolder(d)
}
