package main

import (
	"bytes"
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"are-we-alive/pkg/awatest/testaid"
)

// TestHelp_golden keeps what each command says of itself.
func TestHelp_golden(t *testing.T) {
	t.Setenv("COLUMNS", "80")
	var commands [][]string
	var walk func(n *kong.Node, path []string)
	walk = func(n *kong.Node, path []string) {
		commands = append(commands, path)
		for _, child := range n.Children {
			walk(child, append(path[:len(path):len(path)], child.Name))
		}
	}
	walk(newParser().Model.Node, nil)
	var all bytes.Buffer
	for _, path := range commands {
		all.WriteString("$ awa-agent " + strings.Join(append(path, "--help"), " ") + "\n")
		if code := execute(context.Background(), &ending{}, append(path, "--help"), streams{nil, &all, &all}); code != 0 {
			t.Errorf("awa-agent %s --help: exit code %d", path, code)
		}
		all.WriteString("\n")
	}
	testaid.Golden(t, filepath.Join("testdata", "help.golden"), all.String(), *update)
}
