package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"are-we-alive/packaging/manual"
)

// choices are the values of the flags that take a word. Kong doesn't know
// them, since parse says it in its own words when another one is given.
func choices() map[string][]string {
	states := []string{"ok", "warning", "critical", "unknown"}
	return map[string][]string{
		"output":            {formatNagios, formatTable, formatInflux, formatJSON},
		"perfdata":          {perfdataCluster, perfdataNodes},
		"no-majority-state": states,
		"no-answer-state":   states,
		"timeout-state":     states,
	}
}

// TestManual keeps the man page and the completions as the command line is.
func TestManual(t *testing.T) {
	k, err := kong.New(&flags{}, kong.Name("check_awa"), kong.NoDefaultHelp())
	if err != nil {
		t.Fatal(err)
	}
	explain(k.Model)
	p := manual.Program{App: k.Model, Values: choices()}
	if err := manual.Files(p, filepath.Join("..", "packaging"), *update, "check_awa.8"); err != nil {
		t.Error(err)
	}
}

// TestManual_choices has parse read every value that a completion offers.
func TestManual_choices(t *testing.T) {
	for flag, values := range choices() {
		for _, value := range values {
			if _, _, err := parse([]string{"--" + flag, value}); err != nil {
				t.Errorf("--%s %s: %v", flag, value, err)
			}
		}
	}
}

// TestManual_examples has parse read the command lines of the man pages.
func TestManual_examples(t *testing.T) {
	tried := 0
	for _, name := range []string{"awa-agent.8", "check_awa.8"} {
		page, err := os.ReadFile(filepath.Join("..", "packaging", "man", name))
		if err != nil {
			t.Fatal(err)
		}
		for _, example := range manual.Examples(string(page)) {
			for line := range strings.Lines(example) {
				if args := strings.Fields(line); args[0] == "check_awa" {
					tried++
					if _, _, err := parse(args[1:]); err != nil {
						t.Errorf("%s: %s: %v", name, line, err)
					}
				}
			}
		}
	}
	if tried < 5 {
		t.Errorf("%d command lines were tried", tried)
	}
}
