package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"are-we-alive/pkg/api/server"
	"are-we-alive/pkg/awatest/testaid"
	"are-we-alive/pkg/trust"
)

// serveKeys starts a real server with that agent behind it, which has keys.
func serveKeys(t *testing.T, agent served, keys ...trust.Key) string {
	t.Helper()
	ring, err := trust.NewAgent(keys, strings.Repeat("ab", 16), "n1")
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	return testaid.Serve(t, server.NewServer(server.Config{Agent: agent, Log: log, Secure: ring.Listener,
		Role: ring.RoleOf}))
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

// TestProcess_key asks agents with a key and without one.
func TestProcess_key(t *testing.T) {
	key, other, dir := trust.NewKey(), trust.NewKey(), t.TempDir()
	addr := serveKeys(t, served{st: cluster(3)}, key)
	third, others := serveKeys(t, served{st: cluster(3)}, key), serveKeys(t, served{st: cluster(3)}, other)
	plain, closed := serve(t, served{st: cluster(3)}), "127.0.0.1:1"
	write(t, dir, "check", key.Check().FileText(), 0o600)
	write(t, dir, "cluster", key.FileText(), 0o400)
	write(t, dir, "other", other.Check().FileText(), 0o600)
	write(t, dir, "both", other.Check().FileText(key.Check()), 0o600)
	write(t, dir, "empty", "", 0o600)
	write(t, dir, "open", key.FileText(), 0o644)
	write(t, dir, "mixed", key.FileText()+key.Check().Line(), 0o600)
	write(t, dir, "nonsense", "hello\n", 0o600)
	for name, test := range map[string]struct {
		args string
		code int
		out  string // how stdout begins, with DIR for the folder
	}{
		"check key":   {"-k DIR/check -H " + addr, 0, "AWA OK - 3 of 3 nodes online |"},
		"cluster key": {"--key-file=DIR/cluster -H " + addr, 0, "AWA OK - 3 of 3 nodes online |"},
		"no key": {args: "--key-file= -H " + addr, code: 2, out: "AWA CRITICAL - no agent answers: " + addr +
			" (tls: this agent speaks TLS only: give this side the key file of the cluster (--key-file, check_awa -k)"},
		"another key": {args: "-k DIR/other -H " + addr, code: 3, out: "AWA UNKNOWN - no agent accepts the key: " + addr +
			" (tls: the agent there has another key (" + key.ID() + ", ours: " + other.ID() + "): use the same key file " +
			"on both sides"},
		"a key it does not accept": {args: "-k DIR/both -H " + addr, code: 3, out: "AWA UNKNOWN - no agent " +
			"accepts the key: " + addr + " (tls: it does not accept our key (" + other.ID() + "): add this key to " +
			"its key file"},
		"two of another key": {args: "-k DIR/other -H " + addr + " -H " + third, code: 3, out: "AWA UNKNOWN - no agent " +
			"accepts the key: " + addr + " (tls: the agent there has another key ("},
		"another key, and a state": {args: "--no-answer-state ok --timeout-state ok -k DIR/other -H " + addr, code: 3,
			out: "AWA UNKNOWN - no agent accepts the key: "},
		"another key, and nobody": {args: "-k DIR/other -H " + addr + " -H " + closed, code: 2, out: "AWA CRITICAL - no " +
			"agent answers: " + addr + " (tls: the agent there has another key ("},
		"nobody, and another key": {args: "--no-answer-state warning -k DIR/both -H " + closed + " -H " + addr, code: 1,
			out: "AWA WARNING - no agent answers: " + closed + " (connect: connection refused), "},
		"another key, and a good one": {"-k DIR/other -H " + addr + " -H " + others, 0, "AWA OK - 3 of 3 nodes online"},
		"another key, as JSON": {args: "-o json -k DIR/other -H " + addr, code: 3,
			out: `{"state":3,"text":"no agent accepts the key: ` + addr + ` (tls: the agent there has another key (`},
		"an agent without a key":  {"-k DIR/check -H " + plain, 2, "AWA CRITICAL - no agent answers: " + plain + " (tls: "},
		"the second agent has it": {"-k DIR/check -H " + plain + " -H " + addr, 0, "AWA OK - 3 of 3 nodes online |"},
		"neither has one":         {"--key-file= -H " + plain, 0, "AWA OK - 3 of 3 nodes online |"},
		"no such file": {args: "-k DIR/none -H " + addr, code: 3, out: "AWA UNKNOWN - key file DIR/none: file does not " +
			"exist: derive a check key on a server (awa-agent key check) and copy it here\n"},
		"a folder":      {"-k DIR -H " + addr, 3, "AWA UNKNOWN - key file DIR: it is a folder: name the file in it"},
		"an empty file": {"-k DIR/empty -H " + addr, 3, "AWA UNKNOWN - key file DIR/empty: it holds no key: "},
		"a file that others read": {args: "-k DIR/open -H " + addr, code: 3, out: "AWA UNKNOWN - key file DIR/open: " +
			"other users may read it (its mode is 0644): run chmod 600 on it"},
		"two kinds of keys": {args: "-k DIR/mixed -H " + addr, code: 3, out: "AWA UNKNOWN - key file DIR/mixed, line 6: " +
			"this is a check key, and the first in the file is a member key"},
		"no key in it": {args: "-k DIR/nonsense -H " + addr, code: 3, out: "AWA UNKNOWN - key file DIR/nonsense, line 1: " +
			"it does not begin with awa1"},
		"no value": {"-k", 3, "AWA UNKNOWN - --key-file: its value is missing"},
		"a bad file, and -o json": {"-o json -k DIR/none", 3,
			`{"state":3,"text":"key file DIR/none: file does not exist: `},
		"a bad file, for Telegraf":   {"-o influx -k DIR/none", 3, `awa_cluster state=3i,error="key file DIR/none: `},
		"a bad file, and bad usage":  {"-k DIR/none -c x", 3, "AWA UNKNOWN - bad -c: x is not a range"},
		"a bad file does not matter": {"-k DIR/none -V", 3, "check_awa v"},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := command(t, strings.Fields(strings.ReplaceAll(test.args, "DIR", dir))...)
			var out, errs bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &errs
			code := exitCode(t, cmd.Run())
			said := strings.ReplaceAll(out.String(), dir, "DIR")
			if code != test.code || !strings.HasPrefix(said, test.out) || errs.Len() > 0 {
				t.Errorf("exit code %d, want %d, with\n%s%swant\n%s", code, test.code, said, &errs, test.out)
			}
			if code == 3 && strings.HasPrefix(said, "AWA") && strings.Count(said, "\n") != 1 {
				t.Errorf("it is not one line:\n%s", said)
			}
		})
	}
}

// TestProcess_key_alone has a store of certificates that nobody may read: to
// open it would wait for ever.
func TestProcess_key_alone(t *testing.T) {
	key, dir := trust.NewKey(), t.TempDir()
	addr := serveKeys(t, served{st: cluster(3)}, key)
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := command(t, "-t", "5", "-k", write(t, dir, "key", key.Check().FileText(), 0o600), "-H", addr)
	cmd.Env = append(cmd.Env, "SSL_CERT_FILE="+pipe, "SSL_CERT_DIR="+dir)
	if out, err := cmd.Output(); err != nil || !strings.HasPrefix(string(out), "AWA OK") {
		t.Errorf("%v: %s", err, out)
	}
}

func TestFindKeys(t *testing.T) {
	check, key, dir := trust.NewKey().Check(), trust.NewKey(), t.TempDir()
	good, second := write(t, dir, "good", check.FileText(), 0o600), write(t, dir, "second", key.FileText(), 0o600)
	bad, none := write(t, dir, "bad", "hello", 0o600), filepath.Join(dir, "none")
	// Root, who may run the tests, can read every file.
	denied := filepath.Join(dir, "denied")
	read := func(path string) ([]trust.Key, error) {
		if path == denied {
			return nil, fmt.Errorf("key file: %w", &fs.PathError{Op: "open", Path: path, Err: syscall.EACCES})
		}
		return readFile(path)
	}
	for name, test := range map[string]struct {
		named *string
		usual []string
		want  *trust.Key
		err   string
	}{
		"the first":                             {usual: []string{good, second}, want: &check},
		"the second":                            {usual: []string{none, second}, want: &key},
		"none":                                  {usual: []string{none, none}},
		"the named one":                         {named: &second, usual: []string{good}, want: &key},
		"an empty name":                         {named: new(string), usual: []string{good}},
		"the named one is not there":            {named: &none, usual: []string{good}, err: "file does not exist"},
		"a bad first one is not passed over":    {usual: []string{bad, second}, err: "it does not begin with awa1"},
		"the second is not looked at":           {usual: []string{good, bad}, want: &check},
		"one that can't be read is passed over": {usual: []string{denied, second}, want: &key},
		"the second can't be read":              {usual: []string{good, denied}, want: &check},
		"the only one can't be read": {usual: []string{none, denied}, err: "key file " + denied + ": permission denied: " +
			"give the user of check_awa a check key that it owns (awa-agent key check)"},
	} {
		t.Run(name, func(t *testing.T) {
			keys, err := findKeys(test.named, test.usual, read)
			switch {
			case test.err != "":
				if err == nil || !strings.Contains(err.Error(), test.err) || keys != nil {
					t.Errorf("%v, %v", keys, err)
				}
			case err != nil || test.want == nil && keys != nil || test.want != nil &&
				(len(keys) != 1 || !keys[0].Equal(*test.want)):
				t.Errorf("%v, %v; want %v", keys, err, test.want)
			}
		})
	}
}
