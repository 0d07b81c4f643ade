package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"

	"are-we-alive/pkg/awa"
)

// backupOf is the text of a backup without changes, with more keys in it.
func backupOf(more string) string {
	return fmt.Sprintf(`{%s"format":1,"cluster":%q,"history":"1-abc71fa72cf3fd26","state":0,"changes":[]}`, more,
		awa.NewUID())
}

func TestReadBackup_hostile(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	const damaged = " is not a backup of a node list, or is damaged: nothing was changed"
	for name, test := range map[string]struct{ text, want string }{
		"empty":              {"", damaged},
		"text":               {"hello\n", damaged},
		"an array":           {"[]", damaged},
		"an empty object":    {"{}", damaged},
		"cut":                {`{"format":1,"changes":[{"id":1`, damaged},
		"something after it": {backupOf("") + "{}", damaged},
		"deep":               {`{"x":` + strings.Repeat("[", 1<<20), damaged},
		"long":               {`{"x":"` + strings.Repeat("x", 2*maxBackupValue), damaged},
		"spaces":             {"{" + strings.Repeat(" ", 2*maxBackupValue), damaged},
		"a change too long": {`{"format":1,"changes":[{"id":1,"action":"CREATE","data":"` + strings.Repeat("x",
			2*maxBackupValue), damaged},
		"changes of a kind": {`{"format":1,"changes":{"id":1}}`, damaged},
		"a later format": {`{"format":2,"changes":7}`, " is a backup of format 2, and this program knows format 1: use a " +
			"newer awa-agent"},
		"a list that lies": {strings.Replace(backupOf(""), `"state":0`, `"state":7`, 1), " is a damaged backup (it says " +
			"its state is 7 and holds 0 changes): nothing was changed"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(at("f"), []byte(test.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := ReadBackup(at("f")); err == nil || err.Error() != at("f")+test.want {
				t.Errorf("%v, want …%s", err, test.want)
			}
		})
	}
	if err := syscall.Mkfifo(at("pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Run("a pipe", func(t *testing.T) {
		var kind *awa.FileError
		if _, err := ReadBackup(at("pipe")); !errors.As(err, &kind) || kind.Kind == "" {
			t.Error(err)
		}
	})
}

// The bounds of a backup, each at its edge.
func TestReadBackup_bounds(t *testing.T) {
	for more, ok := range map[int]bool{0: true, 1: false} {
		t.Run(fmt.Sprintf("a value with %d bytes too many", more), func(t *testing.T) {
			const head, end = `"x":{"x":"`, `"}`
			value := head + strings.Repeat("x", maxBackupValue-len(head)-len(end)+more) + end
			r := newBackupReader(iotest.OneByteReader(strings.NewReader(backupOf(value + ","))))
			if _, err := r.read(); (err == nil) != ok {
				t.Error(err)
			}
		})
		t.Run(fmt.Sprintf("a file with %d bytes too many", more), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "f")
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(path, maxBackup+int64(more)); err != nil { // it takes no place
				t.Fatal(err)
			}
			var large *awa.FileError
			if _, err := ReadBackup(path); errors.As(err, &large) == ok {
				t.Error(err)
			}
		})
	}
}
