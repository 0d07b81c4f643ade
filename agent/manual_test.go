package main

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"are-we-alive/packaging/manual"
)

var update = flag.Bool("update", false, "write the man pages and completions again")

// TestManual keeps the man pages and the completions as the command line is.
func TestManual(t *testing.T) {
	p := manual.Program{App: newParser().Model, KeyType: keyType}
	if err := manual.Files(p, filepath.Join("..", "packaging"), *update, "awa-agent.8",
		"cluster_info.json.5"); err != nil {
		t.Error(err)
	}
}

// TestManual_examples parses what the man pages show.
func TestManual_examples(t *testing.T) {
	commands, files := 0, 0
	for _, name := range []string{"awa-agent.8", "check_awa.8", "cluster_info.json.5"} {
		page, err := os.ReadFile(filepath.Join("..", "packaging", "man", name))
		if err != nil {
			t.Fatal(err)
		}
		for _, example := range manual.Examples(string(page)) {
			for line := range strings.Lines(example) {
				if args := strings.Fields(line); args[0] == "awa-agent" {
					commands++
					if _, err := newParser().Parse(args[1:]); err != nil {
						t.Errorf("%s: %s: %v", name, line, err)
					}
				}
			}
			if strings.HasPrefix(example, "{") {
				files++
				file := filepath.Join(t.TempDir(), "cluster_info.json")
				if err := os.WriteFile(file, []byte(example), 0o600); err != nil {
					t.Fatal(err)
				}
				if _, err := newParser().Parse([]string{"run", "--config", file}); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
		}
	}
	if commands < 5 || files != 1 {
		t.Errorf("%d commands and %d configurations were tried", commands, files)
	}
}
