package main

import (
	"encoding/json"
	"errors"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"are-we-alive/packaging/manual"
	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/conf"
	"are-we-alive/pkg/handler"
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
			switch {
			case !strings.HasPrefix(example, "{") || isSchema(example):
			case strings.Contains(example, `"agents"`):
				home := t.TempDir()
				t.Setenv("XDG_CONFIG_HOME", home)
				file := filepath.Join(home, "are-we-alive", "check.json")
				err := errors.Join(os.Mkdir(filepath.Dir(file), 0o700), os.WriteFile(file, []byte(example), 0o600))
				if err != nil {
					t.Fatal(err)
				}
				if c, err := conf.DefaultClient(); err != nil || len(c.Agents) != 2 || c.KeyFile == nil {
					t.Errorf("%s: %+v, %v", name, c, err)
				}
			default:
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

// isSchema reports whether an example is the schema of a handler's message.
func isSchema(example string) bool { return strings.Contains(example, `"properties"`) }

// TestManual_schema holds the schema of a handler's message to the message.
func TestManual_schema(t *testing.T) {
	page, err := os.ReadFile("../packaging/man/awa-agent.8")
	if err != nil {
		t.Fatal(err)
	}
	type object struct {
		Required   []string
		Properties map[string]struct {
			Enum  []string
			Items struct {
				Properties map[string]struct{ Enum []string }
				Required   []string
			}
		}
	}
	var schema object
	for _, example := range manual.Examples(string(page)) {
		if isSchema(example) {
			if err := json.Unmarshal([]byte(example), &schema); err != nil {
				t.Fatalf("%v in\n%s", err, example)
			}
		}
	}
	port := awa.DefaultPort
	m := handler.Message{Cluster: "c", ClusterName: "n", Agent: "n1", Again: true, Isolated: true, Text: "t", Nodes: 1,
		Online: 1, More: 1, Events: []handler.MessageEvent{{Host: "h", Port: &port,
			Labels: map[string]string{"a": "b"}, Severity: "ok",
			Event: awa.Event{ID: 0, At: time.Unix(1, 0), Kind: awa.EventOnline, NodeID: 1, Node: "n1", Verdict: awa.Online,
				Before: awa.Offline, Lasted: 1e9, Away: 1e9, Why: "w", SeenBy: []string{"n1"}, Code: awa.DiskFull}}}}
	text, err := json.Marshal(m)
	var full map[string]any
	if err == nil {
		err = json.Unmarshal(text, &full)
	}
	if err != nil {
		t.Fatal(err)
	}
	event := full["events"].([]any)[0].(map[string]any)
	items := schema.Properties["events"].Items
	if have, want := slices.Sorted(maps.Keys(full)), slices.Sorted(maps.Keys(schema.Properties)); !slices.Equal(have, want) {
		t.Errorf("a message has %q, the schema %q", have, want)
	}
	if have, want := slices.Sorted(maps.Keys(event)), slices.Sorted(maps.Keys(items.Properties)); !slices.Equal(have, want) {
		t.Errorf("an event has %q, the schema %q", have, want)
	}
	for _, kind := range items.Properties["event"].Enum {
		if !slices.Contains(awa.EventKinds(), awa.EventKind(kind)) {
			t.Errorf("the schema has the event %s", kind)
		}
	}
	if len(items.Required) == 0 || len(schema.Required) == 0 {
		t.Error("the schema requires nothing")
	}
}
