package test

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"are-we-alive/pkg/awatest/testaid"
)

// TestStart_refused has all that keeps an agent from starting: the exit code
// is 2 for wrong usage or configuration and 1 for what else fails, and stderr
// holds one sentence. DIR stands for the folder that it is started in.
func TestStart_refused(t *testing.T) {
	t.Parallel()
	const (
		loopback = "not a loopback address, and without a key every stranger who reaches it could edit the node list: " +
			"make the cluster's key with awa-agent key new, or copy it from another server, use 127.0.0.1 for a trial on " +
			"one machine (with --my-host 127.0.0.1), or --insecure on a network that you trust"
		help      = " (see awa-agent --help)"
		looksLike = `; it looks like {"my_name": "web1", "my_host": "10.0.0.1", "my_port": "25483"}` + help
		noPort    = " is not a port: use a number from 1 to 65535"
		damaged   = ": move the data folder away and start the agent again, which then joins the cluster with an empty " +
			"one; if no other agent holds the list, restore a backup"
	)
	usual := func(more ...string) []string {
		return append([]string{"run", "--my-name", "n1", "--my-host", "127.0.0.1", "--listen", "127.0.0.1:0", "--data-dir",
			"DIR/data"}, more...)
	}
	tests := map[string]struct {
		args []string
		file string // cluster_info.json, {} when ""
		env  string
		db   string // awa.db, none when ""
		code int
		text string
	}{
		"no list, and nobody to ask": {args: usual(), code: 2,
			text: "DIR/data holds no node list yet: start the first agent of a new cluster with --first, and every other " +
				"one with --join HOST[:PORT] of an agent that runs (in cluster_info.json: \"first\": true, or " +
				"\"join\": [\"HOST\"])"},
		"another address":     {args: usual("--first", "--listen", "0.0.0.0"), code: 2, text: "listen: 0.0.0.0 is " + loopback},
		"another address, v6": {args: usual("--first", "--listen", "[::]:0"), code: 2, text: "listen: :: is " + loopback},
		"an address of nobody's, by my_host": {args: []string{"run", "--first", "--data-dir", "DIR/data", "--my-host",
			"192.0.2.1"}, code: 2, text: "listen: 192.0.2.1 is " + loopback},
		"a listen that is none": {args: usual("--first", "--listen", "127.0.0.1:http"), code: 2, text: `listen: "http"` +
			noPort},
		"an empty awa.db": {args: usual("--first"), db: "EMPTY", code: 1, text: "DIR/data/awa.db is damaged or no node " +
			"list (it is empty)" + damaged},
		"a damaged awa.db": {args: usual("--first"), db: strings.Repeat("damaged\n", 4096), code: 1,
			text: "DIR/data/awa.db is damaged or no node list (invalid database)" + damaged},
		"a data folder that is a file": {args: []string{"run", "--first", "--my-host", "127.0.0.1", "--data-dir",
			"DIR/cluster_info.json"}, code: 1,
			text: "make the data folder: mkdir DIR/cluster_info.json: not a directory; name another one with --data-dir"},

		"the file named is not there": {args: usual("--first", "--config", "DIR/other.json"), code: 2,
			text: "the configuration can't be read: open DIR/other.json: no such file or directory" + help},
		"the file named, by the environment": {args: usual("--first"), env: "AWA_CONFIG=DIR/other.json", code: 2,
			text: "the configuration can't be read: open DIR/other.json: no such file or directory" + help},
		"the file is a folder": {args: usual("--first", "--config", "DIR"), code: 2, text: "the configuration can't be " +
			"read: DIR is a folder: name a file in it" + help},
		"the file is not JSON": {args: usual("--first"), file: "my_name = n1\n", code: 2,
			text: "cluster_info.json:1:1 is not JSON: 'm' is not expected here" + looksLike},
		"the file is half JSON": {args: usual("--first"), file: "{\"my_name\": \"n1\",\n", code: 2,
			text: "cluster_info.json:1:18 is not JSON: the file ends too early" + looksLike},
		"the file is empty": {args: usual("--first"), file: "\n", code: 2,
			text: "cluster_info.json:1:1 is not JSON: the file ends too early" + looksLike},
		"the file has a comment": {args: usual("--first"), file: "{\n  // this server\n  \"my_name\": \"n1\"\n}\n", code: 2,
			text: "cluster_info.json:2:3 is not JSON: JSON has no comments" + looksLike},
		"the file has a comma too many": {args: usual("--first"), file: "{\n  \"my_näme\": \"n1\",\n}\n", code: 2,
			text: "cluster_info.json:3:1 is not JSON: the comma before the } is one too many" + looksLike},
		"the file lacks a comma": {args: usual("--first"), file: `{"my_näme": "n1" "first": true}`, code: 2,
			text: "cluster_info.json:1:18 is not JSON: '\"' is not expected here" + looksLike},
		"the file is UTF-16": {args: usual("--first"), file: "\xff\xfe{\x00}\x00", code: 2,
			text: "cluster_info.json:1:1 is not JSON: it is UTF-16, and must be UTF-8" + looksLike},
		"the file is an array": {args: usual("--first"), file: `["n1"]`, code: 2,
			text: "cluster_info.json:1:1 is not JSON: the file must hold an object" + looksLike},
		"the file is null": {args: usual("--first"), file: `null`, code: 2,
			text: "cluster_info.json:1:1 is not JSON: the file must hold an object" + looksLike},
		"the file has a second object": {args: usual("--first"), file: `{}{}`, code: 2,
			text: "cluster_info.json:1:3 is not JSON: more follows after the end of the object" + looksLike},

		"my_name of a wrong type": {args: []string{"run"}, file: `{"my_name":7}`, code: 2, text: "cluster_info.json: " +
			"my_name must be a string, not 7" + help},
		"my_host of a wrong type": {args: []string{"run"}, file: `{"my_host":["h"]}`, code: 2,
			text: `cluster_info.json: my_host must be a string, not ["h"]` + help},
		"my_port of a wrong type": {args: []string{"run"}, file: `{"my_port":true}`, code: 2, text: "cluster_info.json: " +
			"my_port must be a number or a string, not true" + help},
		"my_port that is null": {args: []string{"run"}, file: `{"my_port":null}`, code: 2, text: "cluster_info.json: " +
			"my_port must be a number or a string, not null" + help},
		"listen of a wrong type": {args: []string{"run"}, file: `{"listen":25483}`, code: 2, text: "cluster_info.json: " +
			"listen must be a string, not 25483" + help},
		"data_dir of a wrong type": {args: []string{"run"}, file: `{"data_dir":{}}`, code: 2, text: "cluster_info.json: " +
			"data_dir must be a string, not {}" + help},
		"first of a wrong type": {args: []string{"run"}, file: `{"first":"yes"}`, code: 2,
			text: `cluster_info.json: first must be true or false, not "yes"` + help},
		"join of a wrong type": {args: []string{"run"}, file: `{"join":[7]}`, code: 2, text: "cluster_info.json: join " +
			"must be a string or an array of strings, not [7]" + help},
		"insecure of a wrong type": {args: []string{"run"}, file: `{"insecure":1}`, code: 2, text: "cluster_info.json: " +
			"insecure must be true or false, not 1" + help},
		"watch of a wrong type": {args: []string{"run"}, file: `{"watch":5}`, code: 2, text: "cluster_info.json: watch " +
			"must be a string, not 5" + help},
		"watch without a unit": {args: []string{"run"}, file: `{"watch":"5"}`, code: 2,
			text: `--watch: expected duration but got "5": time: missing unit in duration "5"` + help},
		"ping_timeout of a wrong type": {args: []string{"run"}, file: `{"ping_timeout":false}`, code: 2,
			text: "cluster_info.json: ping_timeout must be a string, not false" + help},
		"log_format of a wrong type": {args: []string{"run"}, file: `{"log_format":{}}`, code: 2,
			text: "cluster_info.json: log_format must be a string, not {}" + help},
		"log_level that is none": {args: []string{"run"}, file: `{"log_level":"loud"}`, code: 2,
			text: `--log-level must be one of "debug","info","warn","error" but got "loud"` + help},

		"a bad name in the file": {args: []string{"run", "--my-host", "127.0.0.1"}, file: `{"my_name":"a b"}`, code: 2,
			text: `my_name: "a b" is not a name for a node: use 1 to 63 letters, digits, dots, dashes and underscores, a ` +
				`letter or digit first`},
		"a host with a port": {args: usual("--my-host", "h:1"), code: 2,
			text: `my_host: "h:1" is not a host: an IPv6 address is written without brackets and without a port`},
		"a port too high in the file": {args: []string{"run", "--my-host", "127.0.0.1"}, file: `{"my_port":65536}`, code: 2,
			text: `my_port: "65536"` + noPort},
		"a port with a fraction": {args: []string{"run", "--my-host", "127.0.0.1"}, file: `{"my_port":1.5}`, code: 2,
			text: `my_port: "1.5"` + noPort},
		"a port that is not a number": {args: []string{"run", "--my-host", "127.0.0.1"}, env: "AWA_MY_PORT=http", code: 2,
			text: `my_port: "http"` + noPort},
		"a join that is not an address": {args: usual("--join", "h,a b"), code: 2,
			text: `join: "a b" is not a host: give a DNS name or an IP address`},
		"a short watch": {args: usual("--watch", "1ms"), code: 2, text: "watch: use 100ms to 1h, not 1ms"},
		"a watch for days": {args: []string{"run", "--my-host", "127.0.0.1"}, file: `{"watch":"24h"}`, code: 2,
			text: "watch: use 100ms to 1h, not 24h0m0s"},
		"a ping of 0s": {args: []string{"run", "--my-host", "127.0.0.1"}, file: `{"ping_timeout":"0s"}`, code: 2,
			text: "watch and ping_timeout must not be 0: leave them out for the defaults"},
		"a long ping": {args: usual("--ping-timeout", "1m"), code: 2, text: "ping_timeout: use 10ms to 10s, not 1m0s"},
		"a web port alone": {args: usual("--first", "--web", "25484"), code: 2, text: "web: 25484 is a port without an " +
			"address: write 127.0.0.1:25484 for this machine only, or :25484 for every address"},
		"a web port that is none": {args: usual("--first"), env: "AWA_WEB=127.0.0.1:http", code: 2, text: `web: "http"` +
			noPort},
		"a web port that is missing": {args: usual("--first", "--web", "127.0.0.1:"), code: 2, text: `web: ""` + noPort},
		"a web host that is none": {args: []string{"run", "--my-host", "127.0.0.1"}, file: `{"web":"a b"}`, code: 2,
			text: `web: "a b" is not a host: give a DNS name or an IP address`},
		"a web host that is missing": {args: usual("--first", "--web", "[]"), code: 2, text: "web: the host is empty: " +
			"give a DNS name or an IP address"},
		"a web address of nobody's": {args: usual("--first", "--web", "192.0.2.1:0"), code: 1, text: "open the port for " +
			"Prometheus: listen tcp 192.0.2.1:0: bind: cannot assign requested address"},
		"web of a wrong type": {args: []string{"run"}, file: `{"web":25484}`, code: 2, text: "cluster_info.json: web " +
			"must be a string, not 25484" + help},
		"an unknown flag": {args: usual("--fast"), code: 2, text: `unknown flag --fast, did you mean "--first"?` + help},
		"an argument":     {args: usual("now"), code: 2, text: "unexpected argument now" + help},
		"a flag without a value": {args: []string{"run", "--my-name"}, code: 2,
			text: `--my-name: expected string value but got "EOL" (<EOL>)` + help},
		"a boolean that is none": {args: []string{"run"}, env: "AWA_FIRST=maybe", code: 2,
			text: `--first: bool value must be true, 1, yes, false, 0 or no but got "maybe" (from envar AWA_FIRST="maybe")` +
				help},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			own := strings.NewReplacer("DIR", dir)
			file := test.file
			if file == "" {
				file = "{}"
			}
			write(t, filepath.Join(dir, "cluster_info.json"), own.Replace(file))
			db := filepath.Join(dir, "data", "awa.db")
			if test.db != "" {
				write(t, db, strings.TrimPrefix(test.db, "EMPTY"))
			}
			args := slices.Clone(test.args)
			for i := range args {
				args[i] = own.Replace(args[i])
			}
			begin := time.Now()
			r := runIn(t, dir, []string{own.Replace(test.env)}, "awa-agent", args...)
			want := "awa-agent: " + own.Replace(test.text)
			if r.code != test.code || r.out != "" || r.errors != want+"\n" {
				t.Errorf("exit code %d, want %d; on stdout %q; on stderr\n%swant\n%s", r.code, test.code, r.out, r.errors, want)
			}
			if took := time.Since(begin); took > 10*time.Second {
				t.Errorf("it took %v", took)
			}
			if test.db != "" {
				if b, err := os.ReadFile(db); err != nil || string(b) != strings.TrimPrefix(test.db, "EMPTY") {
					t.Errorf("awa.db was changed (%v)", err)
				}
			}
		})
	}
}

// TestStart_configuration starts agents whose configuration is unusual, and usable.
func TestStart_configuration(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		file string
		env  []string
		want string // in the log, nothing when ""
	}{
		"a key that is not known": {file: `{"# my_hosts": "a comment", "my_hots": "127.0.0.1", "quorum": 3}`,
			want: `"msg":"a key of the configuration is not known, and is ignored","file":"cluster_info.json",` +
				`"key":"my_hots","nearest":"my_host"`},
		"a byte order mark": {file: "\ufeff{\"log_level\": \"debug\"}", want: `"level":"DEBUG"`},
		"variables that are empty": {file: `{"log_level": "debug"}`, env: []string{"AWA_FIRST=", "AWA_WATCH=", "AWA_LOG_LEVEL=",
			"AWA_JOIN=", "AWA_MY_PORT="}, want: `"level":"DEBUG"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAgent(t, "n1", "--first")
			a.env = test.env
			write(t, filepath.Join(a.dir, "cluster_info.json"), test.file)
			a.start()
			testaid.Await(t, 10*time.Second, func() error {
				if !strings.Contains(a.log.String(), test.want) {
					return fmt.Errorf("the log is\n%s\nwant in it\n%s", a.log, test.want)
				}
				return nil
			})
			if strings.Contains(a.log.String(), `"nearest":""`) || strings.Contains(a.log.String(), `"key":"#`) {
				t.Errorf("the log is\n%s", a.log)
			}
		})
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestStart_inUse starts a second agent on a data folder, on the same port,
// and as a copy of the first.
func TestStart_inUse(t *testing.T) {
	t.Parallel()
	a := newAgent(t, "n1", "--first")
	a.start()
	t.Run("the data folder", func(t *testing.T) {
		begin := time.Now()
		r := run(t, "awa-agent", "run", "--my-host", "127.0.0.1", "--listen", "127.0.0.1:0", "--data-dir", a.data())
		want := "awa-agent: " + a.data() + "/awa.db is in use by another process: stop the other agent, or give this one " +
			"a data folder of its own\n"
		if r.code != 1 || r.errors != want {
			t.Errorf("exit code %d with\n%swant\n%s", r.code, r.errors, want)
		}
		if took := time.Since(begin); took > 5*time.Second {
			t.Errorf("it took %v", took)
		}
	})
	t.Run("the port", func(t *testing.T) {
		r := run(t, "awa-agent", "run", "--first", "--my-host", "127.0.0.1", "--listen", a.addr(), "--data-dir",
			filepath.Join(t.TempDir(), "data"))
		want := "awa-agent: open the port: listen tcp " + a.addr() + ": bind: address already in use\n"
		if r.code != 1 || r.errors != want {
			t.Errorf("exit code %d with\n%swant\n%s", r.code, r.errors, want)
		}
	})
	t.Run("the port for Prometheus", func(t *testing.T) {
		r := run(t, "awa-agent", "run", "--first", "--my-host", "127.0.0.1", "--listen", "127.0.0.1:0", "--web", a.addr(),
			"--data-dir", filepath.Join(t.TempDir(), "data"))
		want := "awa-agent: open the port for Prometheus: listen tcp " + a.addr() + ": bind: address already in use\n"
		if r.code != 1 || r.errors != want {
			t.Errorf("exit code %d with\n%swant\n%s", r.code, r.errors, want)
		}
	})
	t.Run("the name", func(t *testing.T) {
		b := newAgent(t, "N1", "--join", a.addr())
		b.start()
		want := fmt.Sprintf(`"code":"DUPLICATE","why":"two agents claim node n1: %s (on the list) and this one, %s: stop one `+
			`of them, start this one with another my_name, or replace the other with --take-over"`, a.addr(), b.addr())
		b.log.wait(t, 30*time.Second, func(l logLine) bool {
			return l.Msg == "this agent is not registered as configured"
		}, b.ended)
		if !strings.Contains(b.log.String(), want) {
			t.Errorf("the log is\n%s, and does not hold\n%s", b.log, want)
		}
		b.kill()
	})
	t.Run("another cluster", func(t *testing.T) {
		b := newAgent(t, "n2", "--first")
		b.start()
		b.log.wait(t, 30*time.Second, func(l logLine) bool { return l.Msg == "registered" }, b.ended)
		if r := run(t, "awa-agent", "node", "add", "more", "127.0.0.1", "1", "--agent",
			b.addr()); r.code != 0 { // else it would join
			t.Fatal(r.errors)
		}
		b.kill()
		b.args = []string{"--join", a.addr()}
		b.start()
		code := b.wait(30 * time.Second)
		if text := b.log.String(); code != 1 || !strings.Contains(text, "and two clusters never mix: to move this server "+
			"there, start it with an empty data folder\n") {
			t.Errorf("exit code %d with\n%s", code, text)
		}
		if text := a.log.String(); !strings.Contains(text, "an agent of another cluster calls") {
			t.Errorf("the other side says nothing of it:\n%s", text)
		}
	})
	if st, err := a.status(false); err != nil || len(st.Nodes) != 1 || st.Nodes[0].Verdict != "online" {
		t.Errorf("the first agent: %v, %+v", err, st)
	}
}

// TestStart_join has an agent wait for the one that it joins, and say so.
func TestStart_join(t *testing.T) {
	t.Parallel()
	waits := func(l logLine) bool {
		return l.Level == "WARN" && l.Msg == "no agent to join answers, trying again; a new cluster needs one agent that "+
			"is started with --first"
	}
	t.Run("it comes late", func(t *testing.T) {
		t.Parallel()
		a, b := newAgent(t, "n1", "--first"), newAgent(t, "n2", "--join", "127.0.0.1:1,no-such-host.invalid")
		addr := "127.0.0.1:" + freePort(t)
		b.args[1] += "," + addr
		b.start()
		b.log.wait(t, 30*time.Second, waits, b.ended)
		if text := b.log.String(); !strings.Contains(text, addr+" (connect: connection refused)") ||
			!strings.Contains(text, "127.0.0.1:1 (connect: connection refused)") {
			t.Errorf("the log does not name all that were tried:\n%s", text)
		}
		if !a.launch(addr) {
			t.Fatalf("it ended before it listened:\n%s", a.log)
		}
		b.log.wait(t, 30*time.Second, func(l logLine) bool { return l.Msg == "registered" }, b.ended)
	})
	t.Run("it never comes", func(t *testing.T) {
		t.Parallel()
		b := newAgent(t, "n2", "--join", "127.0.0.1:1")
		b.start()
		b.log.wait(t, 30*time.Second, waits, b.ended)
		r := run(t, "awa-agent", "node", "list", "--agent", b.addr())
		if want := "awa-agent: agent n2 holds no list yet: ask another one, or wait until it has joined\n"; r.code != 1 ||
			r.errors != want {
			t.Errorf("exit code %d with\n%swant\n%s", r.code, r.errors, want)
		}
		if code, took := b.stop(syscall.SIGTERM); code != 0 || took > 3*time.Second {
			t.Errorf("exit code %d after %v", code, took)
		}
	})
}

// TestStart_order has flag before environment before file before default.
func TestStart_order(t *testing.T) {
	t.Parallel()
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		file string
		env  []string
		args []string
		want string // the agent's name
	}{
		"default":     {`{}`, nil, nil, host},
		"file":        {`{"my_name":"file"}`, nil, nil, "file"},
		"environment": {`{"my_name":"file"}`, []string{"AWA_MY_NAME=environment"}, nil, "environment"},
		"flag": {file: `{"my_name":"file"}`, env: []string{"AWA_MY_NAME=environment"}, args: []string{"--my-name", "flag"},
			want: "flag"},
		"flag before file":                 {`{"my_name":"file"}`, nil, []string{"--my-name", "flag"}, "flag"},
		"another file":                     {`{"my_name":"file"}`, nil, []string{"--config", "other.json"}, "other"},
		"another file, by the environment": {`{"my_name":"file"}`, []string{"AWA_CONFIG=other.json"}, nil, "other"},
		"keys of the original's and others": {file: `{"my_name":"file","my_host":"127.0.0.1",` +
			`"nodes":[{"name":"x"}],"x":null}`, want: "file"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAgent(t, "", "")
			write(t, filepath.Join(a.dir, "cluster_info.json"), test.file)
			write(t, filepath.Join(a.dir, "other.json"), `{"my_name":"other"}`)
			a.env = test.env
			a.spawn(append([]string{"run", "--first", "--listen", "127.0.0.1:0", "--data-dir", "data", "--log-format", "json"},
				test.args...), nil)
			a.listening()
			if got := a.self(); got != test.want {
				t.Errorf("its name is %q, want %q", got, test.want)
			}
			if code, _ := a.stop(syscall.SIGTERM); code != 0 {
				t.Errorf("exit code %d", code)
			}
		})
	}
}

// TestStart_originalsFile reads the original program's cluster_info.json as
// it is, and takes every flag of run from it.
func TestStart_originalsFile(t *testing.T) {
	t.Parallel()
	for name, file := range map[string]string{
		"my_port is a string": `{"my_name": "web1", "my_host": "127.0.0.1", "my_port": "PORT", "first": true, ` +
			`"data_dir": "data", "log_format": "json"}`,
		"my_port is a number": `{"my_name": "web1", "my_host": "127.0.0.1", "my_port": PORT, "first": true, "data_dir": ` +
			`"data", "log_format": "json"}`,
		"with all flags": `{"my_name": "web1", "my_host": "127.0.0.1", "my_port": "PORT", "listen": "127.0.0.1:PORT", "data_dir": "data", "first": true, "join": [],
			"insecure": false, "watch": "1s", "ping_timeout": "500ms", "web": "127.0.0.1:0", "log_format": "json", "log_level": "info"}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			port := freePort(t)
			a := newAgent(t, "")
			write(t, filepath.Join(a.dir, "cluster_info.json"), strings.ReplaceAll(file, "PORT", port))
			a.spawn([]string{"run"}, nil)
			a.listening()
			if want := "127.0.0.1:" + port; a.addr() != want {
				t.Errorf("it listens on %s, want %s", a.addr(), want)
			}
			testaid.Await(t, 20*time.Second, func() error {
				b, err := a.get("/sync?state=-1")
				if want := fmt.Sprintf(`\"name\":\"web1\",\"host\":\"127.0.0.1\",\"port\":\"%s\"`, port); err == nil &&
					!strings.Contains(string(b), want) {
					err = fmt.Errorf("%s is not on the list: %s", want, b)
				}
				return err
			})
		})
	}
}

// listening waits until a spawned agent listens.
func (a *agent) listening() {
	a.t.Helper()
	line := a.log.wait(a.t, 30*time.Second, func(l logLine) bool { return l.Msg == "listening" }, a.ended)
	if line.Addr == "" {
		a.t.Fatalf("the agent ended before it listened:\n%s", a.log)
	}
	a.at.Store(&line.Addr)
}

// self is the name that the agent gives itself.
func (a *agent) self() string {
	a.t.Helper()
	b, err := a.get("/ping")
	var ping struct{ Status struct{ Name string } }
	if err == nil {
		err = json.Unmarshal(b, &ping)
	}
	if err != nil {
		a.t.Fatal(err)
	}
	return ping.Status.Name
}

// freePort returns a port that was free just now.
func freePort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, port, err := net.SplitHostPort(ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}
