package main

import (
	"os"
	"path/filepath"
	"testing"
)

// The address of a name is kept in the user's cache folder; a file that can't be used
// is as none.
func TestMemory(t *testing.T) {
	folder := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", folder)
	path := filepath.Join(folder, rememberedFile)
	asked := []string{"10.0.0.1:25483", "web1:25483", "[fe80::1]:1", "localhost:25483"}

	m := recall(asked[:1])
	if len(m.hosts) != 0 || m.path != "" {
		t.Errorf("without names it reads a file: %+v", m)
	}
	for name, content := range map[string]string{
		"none": "", "not JSON": "{", "of another kind": `["web1"]`, "no address": `{"web1":"x"}`,
	} {
		if content != "" {
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		m = recall(asked)
		if len(m.hosts) != 1 || m.names.Answered("web1") != "" {
			t.Errorf("%s: %+v", name, m)
		}
		m.names.Remember("web1", "10.0.0.7")
		m.keep()
		if got := recall(asked).names.Answered("web1"); got != "10.0.0.7" {
			t.Errorf("%s: the address is %q", name, got)
		}
		os.RemoveAll(filepath.Dir(path))
	}

	m = recall(asked)
	if err := os.WriteFile(filepath.Join(folder, "are-we-alive"), nil, 0o600); err != nil { // no folder
		t.Fatal(err)
	}
	m.names.Remember("web1", "10.0.0.7")
	m.keep()
	t.Setenv("XDG_CACHE_HOME", "")
	t.Setenv("HOME", "")
	m = recall(asked)
	m.names.Remember("web1", "10.0.0.7")
	m.keep()
}
