package awa

import (
	"bytes"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestReadFile(t *testing.T) {
	const most = 1 << 10
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	for name, size := range map[string]int{"empty": 0, "full": most, "large": most + 1} {
		if err := os.WriteFile(at(name), make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, link := range [][2]string{{"full", "link"}, {"/dev/zero", "zero"}, {"pipe", "link to pipe"},
		{".", "link to folder"}, {"nowhere", "dangling"}, {"loop", "loop"}} {
		if err := os.Symlink(link[0], at(link[1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(at("pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("unix", at("socket"))
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for name, want := range map[string]string{
		"empty": "", "full": "", "link": "",
		"large":          "DIR/large is larger than 1 KiB",
		".":              "DIR is a folder: name a file in it",
		"link to folder": "DIR/link to folder is a folder: name a file in it",
		"pipe":           "DIR/pipe is a pipe: write what comes out of it to a file, and name that file",
		"link to pipe":   "DIR/link to pipe is a pipe: write what comes out of it to a file, and name that file",
		"zero":           "DIR/zero is a device: name a regular file",
		"socket":         "DIR/socket is a socket: name a regular file",
		"none":           "open DIR/none: no such file or directory",
		"dangling":       "open DIR/dangling: no such file or directory",
		"loop":           "open DIR/loop: too many levels of symbolic links",
		"full/below":     "open DIR/full/below: not a directory",
	} {
		t.Run(name, func(t *testing.T) {
			b, err := ReadFile(at(name), most, nil)
			if want == "" {
				if err != nil || name != "empty" && len(b) != most {
					t.Errorf("%d bytes, %v", len(b), err)
				}
				return
			}
			if err == nil || strings.ReplaceAll(err.Error(), dir, "DIR") != want || b != nil {
				t.Errorf("%d bytes, %v, want %s", len(b), err, want)
			}
		})
	}
	t.Run("what is open is looked at before it is read", func(t *testing.T) {
		refused := errors.New("refused")
		if b, err := ReadFile(at("full"), most, func(fs.FileInfo) error { return refused }); b != nil || err != refused {
			t.Errorf("%d bytes, %v", len(b), err)
		}
	})
	t.Run("a file that grows while it is read", func(t *testing.T) {
		// The size of /proc/self/maps is 0, whatever it holds.
		info, err := os.Stat("/proc/self/maps")
		if err != nil || info.Size() != 0 {
			t.Fatal(info.Size(), err)
		}
		var large *FileError
		if b, err := ReadFile("/proc/self/maps", 64, nil); !errors.As(err, &large) || large.Kind != "" || b != nil {
			t.Errorf("%d bytes, %v", len(b), err)
		}
	})
	t.Run("the edge", func(t *testing.T) {
		for size, ok := range map[int]bool{most: true, most + 1: false} {
			if b, err := readAtMost(bytes.NewReader(make([]byte, size)), "f", most); (err == nil) != ok || ok && len(b) != size {
				t.Errorf("%d bytes: %d, %v", size, len(b), err)
			}
		}
	})
}
