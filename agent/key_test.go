package main

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"are-we-alive/pkg/api/server"
	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/awatest/testaid"
	"are-we-alive/pkg/trust"
)

// command runs awa-agent and returns its exit code and what it printed, with DIR
// for the folder; without a cluster's key on this machine.
func command(t *testing.T, dir string, args ...string) (code int, out, errs string) {
	t.Helper()
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], "DIR", dir)
	}
	var o, e bytes.Buffer
	code = run(t.Context(), args, strings.NewReader(""), &o, &e)
	return code, strings.ReplaceAll(o.String(), dir, "DIR"), strings.ReplaceAll(e.String(), dir, "DIR")
}

// write writes a file into a folder and returns its path.
func write(t *testing.T, dir, name, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := errors.Join(os.WriteFile(path, []byte(text), 0o600), os.Chmod(path, mode)); err != nil {
		t.Fatal(err)
	}
	return path
}

// readKeys reads a key file, which only its owner may read.
func readKeys(t *testing.T, path string) []trust.Key {
	t.Helper()
	keys, err := trust.ReadFile(path, false)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func TestKey_new(t *testing.T) {
	dir := t.TempDir()
	code, out, errs := command(t, dir, "key", "new", "DIR/cluster.key")
	keys := readKeys(t, filepath.Join(dir, "cluster.key"))
	want := "Made cluster key " + keys[0].ID() + ` in DIR/cluster.key, which only its owner can read.
Next: copy the file to every server of the cluster, with mode 0600 and for the user that runs awa-agent there.
Who holds it may do everything. Monitoring hosts need a check key only (awa-agent key check).
`
	if code != 0 || out != want || errs != "" || len(keys) != 1 || keys[0].Role() != awa.RoleMember {
		t.Errorf("exit code %d with\n%s%swant\n%s", code, out, errs, want)
	}
}

func TestKey_check(t *testing.T) {
	dir := t.TempDir()
	old, next := trust.NewKey(), trust.NewKey()
	write(t, dir, "cluster.key", old.FileText(next), 0o600)
	want := old.Check().FileText(next.Check())
	if code, out, errs := command(t, dir, "key", "check", "--key-file", "DIR/cluster.key"); code != 0 || out != want ||
		errs != "" {
		t.Errorf("exit code %d with\n%s%swant\n%s", code, out, errs, want)
	}
	code, out, errs := command(t, dir, "key", "check", "--key-file", "DIR/cluster.key", "DIR/check.key")
	keys := readKeys(t, filepath.Join(dir, "check.key"))
	if len(keys) != 2 || !keys[0].Equal(old.Check()) || !keys[1].Equal(next.Check()) {
		t.Errorf("the file holds %v", keys)
	}
	if code != 0 || !strings.HasPrefix(out, "Wrote the check key of cluster key "+old.ID()+" to DIR/check.key, which "+
		"only its owner can read.\n") || errs != "" {
		t.Errorf("exit code %d with %q and %q", code, out, errs)
	}
}

// TestKey_wrong has wrong usage (2) and what fails (1), each with one sentence
// on stderr; nothing is printed and nothing written.
func TestKey_wrong(t *testing.T) {
	dir := t.TempDir()
	key := trust.NewKey()
	write(t, dir, "cluster", key.FileText(), 0o600)
	write(t, dir, "check", key.Check().FileText(), 0o600)
	write(t, dir, "empty", "", 0o600)
	write(t, dir, "open", key.FileText(), 0o640)
	const readOnly = "key file DIR/check: check key KEY can only read: this needs the cluster key"
	const never = " exists already and is never overwritten: "
	const noFolder = "no such file or directory: make the folder first, or name another place"
	before := tree(t, dir)
	for args, want := range map[string]struct {
		code int
		text string
	}{
		"key new DIR/cluster": {1, "DIR/cluster" + never + "name another file, or move it away first"},
		"key new DIR/none/k":  {1, "open DIR/none/k: " + noFolder},
		"key new DIR/a DIR/b": {2, "unexpected argument DIR/b (see awa-agent --help)"},
		"key check --key-file= DIR/new": {2, "there is no /etc/are-we-alive/cluster.key: name the key file with " +
			"--key-file, or make a cluster's key with awa-agent key new"},
		"key check --key-file DIR/none DIR/new": {2, "key file: open DIR/none: no such file or directory: make a cluster " +
			"key with awa-agent key new, or copy the file from another server of the cluster"},
		"key check --key-file DIR/cluster DIR/empty":  {1, "DIR/empty" + never + "name another file, or move it away first"},
		"key check --key-file DIR/cluster DIR/none/k": {1, "open DIR/none/k: " + noFolder},
		"key check --key-file DIR/check DIR/new": {2, "key file DIR/check: it holds a check key already: copy it, or " +
			"name the cluster's key file with --key-file"},
		"key check --key-file DIR/empty": {2, "key file DIR/empty: it holds no key: make one with awa-agent key new, or " +
			"copy the file from another server of the cluster"},
		"key check --key-file DIR/open": {2, "key file DIR/open: other users may read it (its mode is 0640): run chmod " +
			"600 on it, and make a new key if somebody may have read it"},
		"key check --key-file DIR": {2, "key file DIR: it is a folder: name the file in it"},
		"key cert --key-file DIR/cluster --out DIR/new": {2, "missing flags: --role=ROLE (see awa-agent " +
			"--help)"},
		"key cert --key-file DIR/cluster --role check": {2, "missing flags: --out=DIR (see awa-agent " +
			"--help)"},
		"key cert --key-file DIR/cluster --role all --out DIR/new": {2,
			`--role must be one of "check","member" but got "all" (see awa-agent --help)`},
		"key cert --key-file DIR/check --role member --out DIR/new": {2, readOnly},
		"key cert --key-file DIR/empty --role check --out DIR/new": {2, "key file DIR/empty: it holds no key: make one " +
			"with awa-agent key new, or copy the file from another server of the cluster"},
		"key cert --key-file DIR/cluster --role check --out DIR/check": {1, "mkdir DIR/check: not a directory"},
		"node add n2 h --key-file DIR/check --agent 127.0.0.1:1":       {2, readOnly},
		"node remove n2 --key-file DIR/check --agent 127.0.0.1:1":      {2, readOnly},
		"node list --key-file DIR/none --agent 127.0.0.1:1": {2, "key file: open DIR/none: no such file or directory: " +
			"make a cluster key with awa-agent key new, or copy the file from another server of the cluster"},
		"changes --key-file DIR/open --agent 127.0.0.1:1": {2, "key file DIR/open: other users may read it (its mode is " +
			"0640): run chmod 600 on it, and make a new key if somebody may have read it"},
		"backup DIR/new --key-file DIR/empty --agent 127.0.0.1:1": {2, "key file DIR/empty: it holds no key: make one " +
			"with awa-agent key new, or copy the file from another server of the cluster"},
		"backup DIR/new --key-file DIR/check --agent 127.0.0.1:1": {1, "the agent at 127.0.0.1:1 was not reached " +
			"(connect: connection refused): is it running, and is --agent right?"},
		"node set n2 --name n3 --key-file DIR/cluster --agent 127.0.0.1:1 ": {1, "the agent at 127.0.0.1:1 was not " +
			"reached (connect: connection refused): is it running, and is --agent right?"},
	} {
		t.Run(args, func(t *testing.T) {
			code, out, errs := command(t, dir, strings.Fields(args)...)
			if text := "awa-agent: " + strings.ReplaceAll(want.text, "KEY", key.ID()) + "\n"; code != want.code || out != "" ||
				errs != text {
				t.Errorf("exit code %d, want %d; on stdout %q; on stderr\n%swant\n%s", code, want.code, out, errs, text)
			}
		})
	}
	if after := tree(t, dir); after != before {
		t.Errorf("the folder holds\n%sand held\n%s", after, before)
	}
}

// tree returns every file below a folder with its mode and text.
func tree(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		text := ""
		if info.Mode().IsRegular() {
			raw, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			text = string(raw)
		}
		_, err = b.WriteString(path + " " + info.Mode().String() + "\n" + text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// still is an agent whose list stays as it is.
type still struct{ *growing }

func (s still) Self() awa.Self {
	return awa.Self{Cluster: "c", History: awa.History{Epoch: 1, ID: "ab"}, State: uint64(len(s.changes))}
}

// keyed starts a server that has keys, or none; its list holds two nodes.
func keyed(t *testing.T, keys ...trust.Key) string {
	t.Helper()
	cfg := server.Config{Log: slog.New(slog.DiscardHandler), Secure: trust.PlainListener}
	if len(keys) > 0 {
		ring, err := trust.NewAgent(keys, awa.NewUID(), "n1")
		if err != nil {
			t.Fatal(err)
		}
		cfg.Secure, cfg.Role = ring.Listener, ring.RoleOf
	}
	agent := still{&growing{}}
	agent.grow(2)
	cfg.Agent = agent
	return testaid.Serve(t, server.NewServer(cfg))
}

// TestKeyFile asks agents with a key and without one.
func TestKeyFile(t *testing.T) {
	dir := t.TempDir()
	key, other := trust.NewKey(), trust.NewKey()
	write(t, dir, "cluster", key.FileText(), 0o600)
	write(t, dir, "check", key.Check().FileText(), 0o600)
	write(t, dir, "other", other.FileText(), 0o600)
	with, without := keyed(t, key), keyed(t)
	// By command line: stderr, after "the agent at … was not reached (tls: "; "" when all is well.
	for args, want := range map[string]string{
		"--key-file DIR/cluster --agent WITH": "",
		"--key-file DIR/check --agent WITH":   "",
		"--key-file= --agent WITHOUT":         "",
		"--key-file= --agent WITH": "this agent speaks TLS only: give this side the key file of the cluster (--key-file, " +
			"check_awa -k), or use https with a certificate (awa-agent key cert --role check))\n",
		"--key-file DIR/other --agent WITH": "the agent there has another key (" + key.ID() + ", ours: " + other.ID() +
			"): use the same key file on both sides, or correct the address if it belongs to another cluster)\n",
		"--key-file DIR/cluster --agent WITHOUT": "it answers in plain HTTP and not in TLS: if it is an agent, give it " +
			"the key file of the cluster (--key-file) and start it again; else correct the address)\n",
	} {
		for _, name := range []string{"node list", "changes", "backup DIR/saved"} {
			t.Run(name+" "+args, func(t *testing.T) {
				defer os.Remove(filepath.Join(dir, "saved"))
				addr := with
				if strings.HasSuffix(args, "OUT") {
					addr = without
				}
				full := strings.NewReplacer("WITHOUT", without, "WITH", with).Replace(name + " " + args)
				code, out, errs := command(t, dir, strings.Fields(full)...)
				if want == "" {
					if code != 0 || out == "" || errs != "" {
						t.Errorf("exit code %d with %q and %q", code, out, errs)
					}
					return
				}
				if text := "awa-agent: the agent at " + addr + " was not reached (tls: " + want; code != 1 || out != "" ||
					errs != text {
					t.Errorf("exit code %d with %q and\n%swant\n%s", code, out, errs, text)
				}
			})
		}
	}
	t.Run("by the environment", func(t *testing.T) {
		t.Setenv("AWA_KEY_FILE", filepath.Join(dir, "cluster"))
		if code, _, errs := command(t, dir, "changes", "--agent", with); code != 0 {
			t.Error(errs)
		}
		t.Setenv("AWA_KEY_FILE", "")
		if code, _, errs := command(t, dir, "changes", "--agent", without); code != 0 {
			t.Error(errs)
		}
	})
}

// TestKey_cert runs the line that key cert prints.
func TestKey_cert(t *testing.T) {
	testaid.Tool(t, "curl") // which the line calls
	dir := t.TempDir()
	key := trust.NewKey()
	write(t, dir, "cluster", key.FileText(), 0o600)
	write(t, dir, "check", key.Check().FileText(), 0o600)
	addr := keyed(t, key)
	made := 0
	for args, role := range map[string]string{
		"--role check --key-file DIR/cluster":  "check",
		"--role check --key-file DIR/check":    "check",
		"--role member --key-file DIR/cluster": "member",
	} {
		t.Run(args, func(t *testing.T) {
			made++
			to := fmt.Sprintf("DIR/it's here, %d", made)
			code, out, errs := command(t, dir, append(strings.Fields("key cert "+args), "--out", to)...)
			if code != 0 || errs != "" || !strings.HasPrefix(out,
				"Wrote a "+role+" certificate of key "+key.ID()+" to "+to+": cert.pem, key.pem, and ca.pem") {
				t.Fatalf("exit code %d with %q and %q", code, out, errs)
			}
			_, line, _ := strings.Cut(out, "\ncurl ")
			line = "curl -sS " + strings.NewReplacer("HOST:25483", addr, "DIR", dir).Replace(strings.TrimSpace(line))
			line = strings.Replace(line, "/v1/status", "/v1/changes?since=1", 1) // what this agent can answer
			answer, err := exec.CommandContext(t.Context(), "sh", "-c", line).CombinedOutput()
			if err != nil || !strings.Contains(string(answer), `{"cluster":"c","history":"1-ab","state":2,`) {
				t.Errorf("%s: %v\n%s", line, err, answer)
			}
		})
	}
}

func TestKeyPath(t *testing.T) {
	dir := t.TempDir()
	there, none, empty := write(t, dir, "there", "", 0), filepath.Join(dir, "none"), ""
	for name, test := range map[string]struct {
		named *string
		usual string
		want  string
	}{
		"named":                               {&none, there, none},
		"named as none":                       {&empty, there, ""},
		"the usual one":                       {nil, there, there},
		"the usual one is not there":          {nil, none, ""},
		"the usual one leads nowhere":         {nil, link(t, none, filepath.Join(dir, "link")), filepath.Join(dir, "link")},
		"the usual one is below a non-folder": {nil, filepath.Join(there, "x"), filepath.Join(there, "x")},
	} {
		if got := keyPath(test.named, test.usual); got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}

func link(t *testing.T, to, path string) string {
	t.Helper()
	if err := os.Symlink(to, path); err != nil {
		t.Fatal(err)
	}
	return path
}
