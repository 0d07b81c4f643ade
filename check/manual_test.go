package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"are-we-alive/packaging/manual"
	"are-we-alive/pkg/report"
)

// choices are the values of the flags that take a word. Kong doesn't know
// them, since parse says it in its own words when another one is given.
func choices() map[string][]string {
	states := []string{"ok", "warning", "critical", "unknown"}
	return map[string][]string{
		"output":            report.FormatNames(),
		"perfdata":          {perfdataCluster, perfdataNodes},
		"sort":              report.OrderNames(),
		"color":             {string(colorAuto), string(colorAlways), string(colorNever)},
		"no-majority-state": states,
		"no-answer-state":   states,
		"timeout-state":     states,
	}
}

// TestManual keeps the man page and the completions as the command line is.
func TestManual(t *testing.T) {
	k := newParser(&flags{})
	explain(k.Model)
	p := manual.Program{App: k.Model, Values: choices()}
	if err := manual.Files(p, filepath.Join("..", "packaging"), *update, "check_awa.8"); err != nil {
		t.Error(err)
	}
}

// Every format has a section of the man page.
func TestManual_formats(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "packaging", "manual", "check_awa.8.in"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range report.FormatNames() {
		if !strings.Contains(string(page), "\n.Ss "+name+"\n") {
			t.Errorf("the man page has no section on -o %s", name)
		}
	}
}

// TestManual_choices parses every value that a completion offers.
func TestManual_choices(t *testing.T) {
	for flag, values := range choices() {
		for _, value := range values {
			if _, _, err := parse([]string{"--" + flag, value}); err != nil {
				t.Errorf("--%s %s: %v", flag, value, err)
			}
		}
	}
}

// TestManual_examples parses the command lines of the man pages.
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
