package trust

import (
	"os"
	"path/filepath"
	"testing"
)

// A folder that its owner swaps for a link while root writes stays the folder
// that was opened: nothing is written or deleted elsewhere.
func TestWriteNew_swapped(t *testing.T) {
	top := t.TempDir()
	at := func(name string) string { return filepath.Join(top, name) }
	for _, name := range []string{"dir", "victim"} {
		if err := os.Mkdir(at(name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(at("victim/key.pem"), []byte("keep me"), 0o600); err != nil {
		t.Fatal(err)
	}
	folder, err := openFolder(at("dir"))
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	if err := os.Rename(at("dir"), at("moved")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("victim", at("dir")); err != nil {
		t.Fatal(err)
	}
	if err := writeNew(folder, at("dir"), "key.pem", []byte("new"), 0o600); err != nil {
		t.Error(err)
	}
	if b, err := os.ReadFile(at("moved/key.pem")); err != nil || string(b) != "new" {
		t.Errorf("%q, %v", b, err)
	}
	if err := folder.Remove("key.pem"); err != nil {
		t.Error(err)
	}
	if b, err := os.ReadFile(at("victim/key.pem")); err != nil || string(b) != "keep me" {
		t.Errorf("elsewhere lies %q, %v", b, err)
	}
}
