//go:build system

package test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"are-we-alive/pkg/awatest/testaid"
)

// offer is what a shell offers at the end of a command line.
type offer struct {
	line string
	all  []string // just these, where there are any
	some []string // these among others
	none []string // none of these
}

// offers hold in every shell. In the folder lie the file a.key and the folder
// keys, and db9 is a host that the user has been to.
var offers = []offer{
	{line: "awa-agent ", all: []string{"run", "key", "node", "cluster", "changes", "events", "backup", "restore", "recover"}},
	{line: "awa-agent re", all: []string{"restore", "recover"}},
	{line: "awa-agent node ", all: []string{"list", "add", "set", "remove", "maintain"}},
	{line: "awa-agent key ch", all: []string{"check"}},
	{line: "awa-agent node list --a", all: []string{"--agent"}},
	{line: "awa-agent node list --key-file a.key -o ", all: []string{"table", "json"}},
	{line: "awa-agent node maintain --o", all: []string{"--off", "--output"}},
	{line: "awa-agent node maintain --f", all: []string{"--for"}},
	{line: "awa-agent node maintain --key-file a.key --f", all: []string{"--for"}},
	{line: "awa-agent node maintain --agent web1 --f", all: []string{"--for"}},
	{line: "awa-agent node maintain --agent web1:25483 --f", all: []string{"--for"}},
	{line: "awa-agent run --log-level ", all: []string{"debug", "info", "warn", "error"}},
	{line: "awa-agent run --log-format=j", all: []string{"json"}},
	{line: "awa-agent run --key-file ", all: []string{"a.key", "keys"}},
	{line: "awa-agent run --data-dir ", all: []string{"keys"}},
	{line: "awa-agent run --join ", some: []string{"db9"}, none: []string{"a.key"}},
	{line: "awa-agent run ", none: []string{"a.key", "node"}},
	{line: "awa-agent key cert --role member --o", all: []string{"--out"}},
	{line: "awa-agent backup ", all: []string{"a.key", "keys"}},
	{line: "awa-agent node add db1 ", some: []string{"db9"}, none: []string{"a.key"}},
	{line: "awa-agent node add ", none: []string{"db9", "a.key"}},
	{line: "awa-agent node remove ", all: []string{"n1", "spare7"}},
	{line: "awa-agent node maintain --for 2h n1 s", all: []string{"spare7"}},
	{line: "awa-agent node set s", all: []string{"spare7"}},
	{line: "awa-agent events --node ", all: []string{"n1", "spare7"}},
	{line: "check_awa --node s", all: []string{"spare7"}},
	{line: "check_awa -o ", all: []string{"nagios", "table", "influx", "json", "names"}},
	{line: "check_awa -v -o t", all: []string{"table"}},
	{line: "check_awa --no-answer-state ", all: []string{"ok", "warning", "critical", "unknown"}},
	{line: "check_awa --perfdata=", all: []string{"cluster", "nodes"}},
	{line: "check_awa --unr", all: []string{"--unreachable-warning", "--unreachable-critical"}},
	{line: "check_awa -k ", all: []string{"a.key", "keys"}},
	{line: "check_awa -H ", some: []string{"db9"}, none: []string{"a.key"}},
	{line: "check_awa -w ", none: []string{"a.key", "db9"}},
	{line: "check_awa ", none: []string{"a.key", "db9"}},
}

// holds compares what a shell offered with what it should.
func (o offer) holds(t *testing.T, offered []string) {
	t.Helper()
	for i := range offered { // --flag=word, and a folder's slash, which not every shell shows
		_, value, ok := strings.Cut(offered[i], "=")
		if ok && strings.Contains(o.line, "=") {
			offered[i] = value
		}
		offered[i] = strings.TrimSuffix(offered[i], "/")
	}
	slices.Sort(offered)
	offered = slices.Compact(offered)
	if all := slices.Sorted(slices.Values(o.all)); len(all) > 0 && !slices.Equal(offered, all) {
		t.Errorf("%q: offered are %q, want %q", o.line, offered, all)
	}
	for _, want := range o.some {
		if !slices.Contains(offered, want) {
			t.Errorf("%q: offered are %q without %s", o.line, offered, want)
		}
	}
	for _, not := range o.none {
		if slices.Contains(offered, not) {
			t.Errorf("%q: offered are %q", o.line, offered)
		}
	}
}

// completionAgent starts an agent whose list has n1 and spare7, and returns the environment in
// which the shells find it.
func completionAgent(t *testing.T) []string {
	t.Helper()
	a := newCluster(t, 1, "--my-name", "n1").agents[0]
	if r := run(t, "awa-agent", "node", "add", "spare7", "127.0.0.7", "--agent", a.addr()); r.code != 0 {
		t.Fatal(r)
	}
	return []string{"AWA_AGENT=" + a.addr(), "PATH=" + filepath.Dir(program("awa-agent")) + ":" + os.Getenv("PATH")}
}

// completionFolder is a folder to press the tab key in. Beside it is the home
// folder, with the rc file, the hosts that are known, and what was offered.
func completionFolder(t *testing.T) (here, own string) {
	t.Helper()
	here, own = t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(here, "a.key"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(here, "keys"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(own, ".ssh"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"hosts": "10.0.0.9 db9\n", ".ssh/known_hosts": "db9 ssh-ed25519 AAAA\n"} {
		if err := os.WriteFile(filepath.Join(own, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return here, own
}

// completionScript is the path of a program's script for a shell.
func completionScript(t *testing.T, program, shell string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("..", "packaging", "completions", program+"."+shell))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// typed is a line of an rc file that has a program's name keep its arguments
// in the file offered, and say so.
const typed = `%s() { printf '%%s\n' "$@" >'%s/offered'; printf '%%s%%s\n' OFFER ED; }` + "\n"

// TestCompletion_bash types command lines at a real bash, has readline insert
// all that it would offer (ESC *), and reads the arguments that come of it.
func TestCompletion_bash(t *testing.T) {
	shell := testaid.Tool(t, "bash")
	here, own := completionFolder(t)
	rc := "PS1='READY> '\n"
	for _, program := range []string{"awa-agent", "check_awa"} {
		rc += fmt.Sprintf("source '%s'\n", completionScript(t, program, "bash")) + fmt.Sprintf(typed, program, own)
	}
	if err := os.WriteFile(filepath.Join(own, "rc"), []byte(rc), 0o600); err != nil {
		t.Fatal(err)
	}
	typeOffers(t, exec.CommandContext(t.Context(), shell, "--noprofile", "--rcfile", filepath.Join(own, "rc"), "-i"),
		here, own)
}

// TestCompletion_zsh is the same with a real zsh, which finds the scripts
// where a package installs them, under its own names.
func TestCompletion_zsh(t *testing.T) {
	shell := testaid.Tool(t, "zsh")
	here, own := completionFolder(t)
	rc := "PROMPT='READY> '\nfpath=('" + own + "' $fpath)\nautoload -U compinit\ncompinit -u -D\n"
	// What readline does by itself (zshcompsys(1), _all_matches).
	rc += "zle -C all-matches complete-word _generic\nbindkey '^[*' all-matches\n" +
		"zstyle ':completion:all-matches::::' completer _all_matches _complete\nzstyle ':completion:all-matches:*' " +
		"insert true\n" +
		"zstyle ':completion:*:hosts' hosts db9\n"
	for _, program := range []string{"awa-agent", "check_awa"} {
		if err := os.Symlink(completionScript(t, program, "zsh"), filepath.Join(own, "_"+program)); err != nil {
			t.Fatal(err)
		}
		rc += fmt.Sprintf(typed, program, own)
	}
	if err := os.WriteFile(filepath.Join(own, ".zshrc"), []byte(rc), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), shell, "-d", "-i")
	cmd.Env = append(os.Environ(), "ZDOTDIR="+own)
	typeOffers(t, cmd, here, own)
}

// typeOffers sits down at a shell and compares what it offers.
func typeOffers(t *testing.T, cmd *exec.Cmd, here, own string) {
	t.Helper()
	term := newTerminal(t)
	term.sit(cmd)
	cmd.Dir, cmd.Stderr = here, term.far
	cmd.Env = append(cmd.Environ(), "TERM=xterm", "HOME="+own, "HISTFILE=", "HOSTFILE="+filepath.Join(own, "hosts"),
		"LC_ALL=C.UTF-8")
	cmd.Env = append(cmd.Env, completionAgent(t)...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	term.far.Close()
	for _, o := range offers {
		term.sees("READY> ")
		term.says(o.line + "\x1b*")
		term.sees("OFFERED")
		b, err := os.ReadFile(filepath.Join(own, "offered"))
		if err != nil {
			t.Fatal(err)
		}
		words := strings.Fields(o.line)[1:]
		if !strings.HasSuffix(o.line, " ") { // the last word is what is completed
			words = words[:len(words)-1]
		}
		args := strings.Fields(string(b))
		if len(args) < len(words) || !slices.Equal(args[:len(words)], words) {
			t.Fatalf("%q became %q", o.line, args)
		}
		o.holds(t, args[len(words):])
	}
	term.sees("READY> ")
	term.says("exit")
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// TestCompletion_fish asks a real fish what it would offer.
func TestCompletion_fish(t *testing.T) {
	shell := testaid.Tool(t, "fish")
	here, own := completionFolder(t)
	found := completionAgent(t)
	for _, o := range offers {
		program, _, _ := strings.Cut(o.line, " ")
		cmd := exec.CommandContext(t.Context(), shell, "--no-config", "-c", `source $argv[1]; complete -C $argv[2]`,
			completionScript(t, program, "fish"), o.line)
		cmd.Dir = here
		cmd.Env = append(append(os.Environ(), "HOME="+own, "XDG_CONFIG_HOME="+own, "XDG_DATA_HOME="+own), found...)
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%v: %v", cmd, err)
		}
		var offered []string
		for line := range strings.Lines(string(out)) {
			word, _, _ := strings.Cut(strings.TrimSpace(line), "\t")
			offered = append(offered, word)
		}
		o.holds(t, offered)
	}
}
