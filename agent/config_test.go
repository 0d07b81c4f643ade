package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"are-we-alive/pkg/conf"
)

func TestReadConfig_files(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	filled := func(size int) []byte {
		const fields = `{"my_name":"n1"}`
		return []byte(fields + strings.Repeat(" ", size-len(fields)))
	}
	for name, size := range map[string]int{"full": conf.MaxSize, "large": conf.MaxSize + 1} {
		if err := os.WriteFile(at(name), filled(size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(at("pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"full":  "",
		"large": "the configuration can't be read: DIR/large is larger than 1 MiB",
		"pipe": "the configuration can't be read: DIR/pipe is a pipe: write what comes out of it to a file, and " +
			"name that file",
	} {
		t.Run(name, func(t *testing.T) {
			_, fields, err := readConfig(at(name))
			if want == "" {
				if err != nil || string(fields["my_name"]) != `"n1"` {
					t.Errorf("%s, %v", fields, err)
				}
				return
			}
			if err == nil || strings.ReplaceAll(err.Error(), dir, "DIR") != want {
				t.Errorf("%v, want %s", err, want)
			}
		})
	}
}
