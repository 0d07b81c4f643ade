package test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"are-we-alive/pkg/awatest/testaid"
)

// alone starts an agent n1, the first and only of its cluster, and waits
// until it has registered itself.
func alone(t *testing.T) *agent {
	t.Helper()
	a := newAgent(t, "n1", "--first")
	a.start()
	a.log.wait(t, 30*time.Second, func(l logLine) bool { return l.Msg == "registered" }, a.ended)
	return a
}

// TestNode edits the list as a person does.
func TestNode(t *testing.T) {
	t.Parallel()
	a := alone(t)
	list := func(rows string) string {
		return strings.ReplaceAll(rows, "PORT", fmt.Sprintf("%-5s", a.port()))
	}
	for _, step := range []struct {
		args string
		code int
		out  string // of stderr when the code is not 0
	}{
		{"node list", 0, list("Id  Name  Host       Port   Labels\n1   n1    127.0.0.1  PORT  \n")},
		{"node add db1 127.0.0.3", 0, "db1 is node 2 at 127.0.0.3:25483 (change 2).\n"},
		{"node add db2 ::1 7 --label role=database --label=rack=a,b=c", 0, "db2 is node 3 at [::1]:7 (change 3).\n"},
		{args: "node list", out: list("Id  Name  Host       Port   Labels\n1   n1    127.0.0.1  PORT  \n2   db1   " +
			"127.0.0.3  25483  \n3   db2   ::1        7      rack=a,b=c role=database\n")},
		{"node add DB1 127.0.0.4", 1, "the name DB1 is taken by node 2: choose another name, or change that node"},
		{"node set DB1 --name db3 --host db3.invalid --port 80", 0, "db3 is node 2 at db3.invalid:80 (change 4).\n"},
		{"node set db2 --label rack= --label role=web", 0, "db2 is node 3 at [::1]:7 (change 5).\n"},
		{"node set db2 --name db3", 1, "the name db3 is taken by node 2: choose another name, or change that node"},
		{"node set db1 --port 1", 1, "the list has no node db1, so nothing was changed: awa-agent node list shows the names"},
		{"node remove db1", 1, "the list has no node db1, so nothing was changed: awa-agent node list shows the names"},
		{"node list -o json", 0, list(`[
  {
    "id": 1,
    "name": "n1",
    "host": "127.0.0.1",
    "port": "` + a.port() + `",
    "uid": "UID",
    "changed": 1
  },
  {
    "id": 2,
    "name": "db3",
    "host": "db3.invalid",
    "port": "80",
    "changed": 4
  },
  {
    "id": 3,
    "name": "db2",
    "host": "::1",
    "port": "7",
    "labels": {
      "role": "web"
    },
    "changed": 5
  }
]
`)},
		{"node remove DB3", 0, "Removed db3 (change 6).\n"},
		{"node add db1 127.0.0.3 -o json", 0, `{
  "id": 7,
  "node": {
    "id": 4,
    "name": "db1",
    "host": "127.0.0.3",
    "port": "25483",
    "changed": 7
  }
}
`},
		{"node remove db1 -o json", 0, "{\n  \"id\": 8\n}\n"},
		{args: "node list", out: list("Id  Name  Host       Port   Labels\n1   n1    127.0.0.1  PORT  \n3   db2   ::1    " +
			"    7      role=web\n")},
	} {
		r := run(t, "awa-agent", append(strings.Fields(step.args), "--agent", a.addr())...)
		out, errs := regexp.MustCompile(`[0-9a-f]{32}`).ReplaceAllString(r.out, "UID"), ""
		if step.code != 0 {
			step.out, errs = "", "awa-agent: "+step.out+"\n"
		}
		if r.code != step.code || out != step.out || r.errors != errs {
			t.Fatalf("awa-agent %s: exit code %d, want %d, with\n%s%swant\n%s%s", step.args, r.code, step.code, out, r.errors,
				step.out, errs)
		}
	}
	t.Run("changes", func(t *testing.T) { testChanges(t, a) })
}

// TestNode_removeAlive removes a node whose agent runs, which is told. The agent
// comes back only when it is told to join by hand.
func TestNode_removeAlive(t *testing.T) {
	t.Parallel()
	a := alone(t)
	r := run(t, "awa-agent", "node", "remove", "n1", "--agent", a.addr())
	want := "n1 still answers at " + a.addr() + ": stop its agent. Until it is started with --join, it stays " +
		"off the list " +
		"and says so.\n"
	if r.code != 0 || r.out != "Removed n1 (change 2).\n" || r.errors != want {
		t.Errorf("exit code %d, %s%s", r.code, r.out, r.errors)
	}
	waits := func() {
		t.Helper()
		testaid.Await(t, 20*time.Second, func() error {
			if !strings.Contains(a.log.String(), "this agent was removed from the list by "+editorHere(t)+" at 20") {
				return errors.New("the agent does not say who removed it")
			}
			return nil
		})
	}
	waits()
	a.kill()
	a.start() // with a new log
	waits()
	a.kill()
	a.args = []string{"--join", "127.0.0.1:1"}
	a.start()
	a.log.wait(t, 30*time.Second, func(l logLine) bool { return l.Msg == "registered" }, a.ended)
	if r := run(t, "awa-agent", "node", "list", "--agent", a.addr()); !strings.Contains(r.out, "n1") {
		t.Errorf("the list is\n%s%s", r.out, r.errors)
	}
}

// TestNode_maintain has a dead node under maintenance be not a problem, until it
// ends, by command or by itself.
func TestNode_maintain(t *testing.T) {
	t.Parallel()
	a := alone(t)
	do := func(out, args string) {
		t.Helper()
		r := run(t, "awa-agent", append(strings.Fields(args), "--agent", a.addr())...)
		if r.code != 0 || !regexp.MustCompile(out).MatchString(r.out) {
			t.Fatalf("awa-agent %s: exit code %d with\n%s%swant\n%s", args, r.code, r.out, r.errors, out)
		}
	}
	check := func(out string) {
		t.Helper()
		if r := run(t, "check_awa", "-H", a.addr(), "-v"); !regexp.MustCompile(out).MatchString(r.out) {
			t.Errorf("check_awa: exit code %d with\n%swant\n%s", r.code, r.out, out)
		}
	}
	do(`change 2`, "node add db1 127.0.0.3 1 --label role=database")
	check(`(?s)^AWA CRITICAL - 1 of 2 nodes offline: db1 `)
	do(`^db1 is under maintenance until 20\d\d-\d\d-\d\d \d\d:\d\d:\d\d \S+ \(change 3\)\.\n$`, "node maintain DB1 --for 2h")
	do(`db1 .* role=database \(under maintenance until 20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ\)\n$`, "node list")
	check(`(?s)^AWA OK - 1 of 1 node online \(1 under maintenance\).*db1 .*Offline .*maintenance until \d\d:\d\d, `)
	do(`^db1 is under maintenance until .* \S+: kernel \(change 4\)\.\n$`, "node maintain db1 --for 2h --reason kernel")
	do(`db1 .* \(under maintenance until 20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ: kernel\)\n$`, "node list")
	check(`db1 .*Offline .*maintenance until \d\d:\d\d: kernel, `)
	do(`^The maintenance of db1 has ended \(change 5\)\.\n$`, "node maintain db1 --off")
	do(`db1 .* role=database\n$`, "node list")
	check(`(?s)^AWA CRITICAL - 1 of 2 nodes offline: db1 `)
	do(`change 6`, "node maintain db1 --for 1s")
	for end := time.Now().Add(20 * time.Second); run(t, "check_awa", "-H", a.addr()).code != 2; {
		if time.Now().After(end) {
			t.Fatal("a maintenance of one second does not end")
		}
	}
}

// TestNode_many edits several nodes with one command: all of them, or none.
func TestNode_many(t *testing.T) {
	t.Parallel()
	a := alone(t)
	for _, args := range []string{"db1 127.0.0.3 1 --label role=db --label rack=1", "db2 127.0.0.4 1 --label role=db",
		"web1 127.0.0.5 1 --label rack=1"} {
		r := run(t, "awa-agent", append([]string{"node", "add", "--agent", a.addr()}, strings.Fields(args)...)...)
		if r.code != 0 {
			t.Fatal(r)
		}
	}
	at := regexp.MustCompile(`until \d\S+ \S+ [A-Z+0-9]+`)
	for _, step := range []struct {
		args string
		code int
		out  string // of stderr where code is not 0
	}{
		{"maintain db1 DB2 nosuch web1 other --for 2h", 1,
			"the list has no node nosuch, other, so nothing was changed: awa-agent node list shows the names"},
		{"remove db1 nosuch", 1, "the list has no node nosuch, so nothing was changed: awa-agent node list shows the names"},
		{"maintain --label role=mail --for 2h", 1,
			"no node has the label role=mail, so nothing was changed: awa-agent node list shows the labels"},
		{"maintain DB2 web1 db2 --for 2h", 0, "db2 is under maintenance until THEN (change 5).\n" +
			"web1 is under maintenance until THEN (change 6).\n"},
		{"maintain --label role=db --for 2h --reason kernel", 0, "db1 is under maintenance until THEN: kernel (change 7).\n" +
			"db2 is under maintenance until THEN: kernel (change 8).\n"},
		{"maintain --label role=db --label rack=1 --off", 0, "The maintenance of db1 has ended (change 9).\n"},
		{"remove web1 db1", 0, "Removed web1 (change 10).\nRemoved db1 (change 11).\n"},
		{"remove --label role=db -o json", 0, "{\n  \"id\": 12\n}\n"},
	} {
		r := run(t, "awa-agent", append(append([]string{"node"}, strings.Fields(step.args)...), "--agent", a.addr())...)
		out, want := at.ReplaceAllString(r.out, "until THEN"), step.out
		if step.code != 0 {
			out, want = r.errors, "awa-agent: "+step.out+"\n"
		}
		if r.code != step.code || out != want {
			t.Fatalf("awa-agent node %s: exit code %d with\n%swant\n%s", step.args, r.code, out, want)
		}
	}
}

// editorHere is who edits when a command of this machine does.
func editorHere(t *testing.T) string {
	t.Helper()
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	return me.Username + "@" + host
}

// testChanges reads the log of what TestNode did.
func testChanges(t *testing.T, a *agent) {
	at := regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`)
	for args, want := range map[string]string{
		"--since 3": `     4  AT  UPDATE  db1: name db1 → db3, host 127.0.0.3 → db3.invalid, port 25483 → 80  (WHO)
     5  AT  UPDATE  db2: label rack a,b=c → none, label role database → web  (WHO)
     6  AT  DELETE  db3: node 2 at db3.invalid:80  (WHO)
     7  AT  CREATE  db1: node 4 at 127.0.0.3:25483  (WHO)
     8  AT  DELETE  db1: node 4 at 127.0.0.3:25483  (WHO)
`,
		"--since 6 -o json": `{"id":7,"action":"CREATE","node":4,"name":"db1","addr":"127.0.0.3:25483","by":"WHO","at":"AT",` +
			`"before":null,"after":{"id":4,"name":"db1","host":"127.0.0.3","port":"25483","changed":7}}
{"id":8,"action":"DELETE","node":4,"name":"db1","addr":"127.0.0.3:25483","by":"WHO","at":"AT",` +
			`"before":{"id":4,"name":"db1","host":"127.0.0.3","port":"25483","changed":7},"after":null}
`,
		"--since 8":   "",
		"--since 999": "",
	} {
		r := run(t, "awa-agent", append(append([]string{"changes"}, strings.Fields(args)...), "--agent", a.addr())...)
		out := strings.ReplaceAll(at.ReplaceAllString(r.out, "AT"), editorHere(t), "WHO")
		if r.code != 0 || out != want || r.errors != "" {
			t.Errorf("changes %s: exit code %d with\n%s%swant\n%s", args, r.code, out, r.errors, want)
		}
	}
	if r := run(t, "awa-agent", "changes", "--agent", a.addr()); strings.Count(r.out, "\n") != 8 ||
		!strings.Contains(r.out, "CREATE  n1: node 1 at "+a.addr()+"  (agent n1)\n") {
		t.Errorf("all changes: %d\n%s", r.code, r.out)
	}
}

// TestChanges_follow shows changes as they are made, until it is interrupted.
func TestChanges_follow(t *testing.T) {
	t.Parallel()
	a := alone(t)
	f := newAgent(t, "follower")
	lines := &logBook{}
	f.spawn([]string{"changes", "--follow", "-o", "json", "--agent", a.addr()}, func(cmd *exec.Cmd) { cmd.Stdout = lines })
	first := lines.wait(t, 20*time.Second, func(l logLine) bool { return l.Addr == a.addr() }, f.ended)
	if first.Addr == "" {
		t.Fatalf("it ended: %s", f.log)
	}
	if r := run(t, "awa-agent", "node", "add", "n2", "127.0.0.2", "--agent", a.addr()); r.code != 0 {
		t.Fatal(r)
	}
	lines.wait(t, 20*time.Second, func(l logLine) bool { return l.Addr == "127.0.0.2:25483" }, f.ended)
	if code, took := f.stop(syscall.SIGINT); code != 0 || took > 3*time.Second || f.log.String() != "" {
		t.Errorf("exit code %d after %v\n%s", code, took, f.log)
	}
}

// TestCommand_interrupted ends a command whose agent says nothing.
func TestCommand_interrupted(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for _, args := range []string{"node list", "node add n2 h", "backup x", "changes"} {
		a := newAgent(t, "command")
		a.spawn(append(strings.Fields(args), "--agent", ln.Addr().String()), nil)
		conn, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		conn.Read(make([]byte, 1)) // its request is here
		want := "awa-agent: interrupted before the agent answered: whether an edit was made is not known\n"
		if code, took := a.stop(syscall.SIGINT); code != 1 || took > 3*time.Second || a.log.String() != want {
			t.Errorf("awa-agent %s: exit code %d after %v with\n%swant\n%s", args, code, took, a.log, want)
		}
		conn.Close()
	}
}

// TestCommand_wrong has wrong usage (2) and what fails (1), each with one
// sentence on stderr and nothing on stdout.
func TestCommand_wrong(t *testing.T) {
	t.Parallel()
	const help = " (see awa-agent --help)"
	const noAgent = "the agent at 127.0.0.1:1 was not reached (connect: connection refused): is it running, and is " +
		"--agent right?"
	dir := t.TempDir()
	write(t, filepath.Join(dir, "there"), "x")
	write(t, filepath.Join(dir, "other.json"), `{"format":2,"cluster":"c","changes":[]}`)
	write(t, filepath.Join(dir, "lies.json"), `{"format":1,"cluster":"c","history":"1-ab","state":7,"changes":[]}`)
	for args, want := range map[string]struct {
		code int
		text string
	}{
		"":                 {2, `expected one of "run", "key", "node", "cluster", "changes", ...` + help},
		"nonsense":         {2, "unexpected argument nonsense" + help},
		"node":             {2, `expected one of "list", "add", "set", "remove", "maintain"` + help},
		"node frobnicate":  {2, "unexpected argument frobnicate" + help},
		"node list x":      {2, "unexpected argument x" + help},
		"node list -o xml": {2, `--output must be one of "table","json" but got "xml"` + help},
		"node list --agent a:b:c": {2, `--agent: "a:b:c" is not a host: an IPv6 address is written without brackets and ` +
			`without a port`},
		"node list --agent 127.0.0.1:":  {2, `--agent: "127.0.0.1:" is not an address: the port after the colon is missing`},
		"node list --agent 127.0.0.1:x": {2, `--agent: "x" is not a port: use a number from 1 to 65535`},
		"node list --agent 127.0.0.1:1": {1, noAgent},
		"node add":                      {2, `expected "<name> <host>"` + help},
		"node add n2":                   {2, `expected "<host>"` + help},
		"node add n2 h 1 2":             {2, "unexpected argument 2" + help},
		"node add a/b h": {2, `"a/b" is not a name for a node: use 1 to 63 letters, digits, dots, dashes and ` +
			`underscores, a letter or digit first`},
		"node add n2 h:1":            {2, `"h:1" is not a host: an IPv6 address is written without brackets and without a port`},
		"node add n2 h 0":            {2, `"0" is not a port: use a number from 1 to 65535`},
		"node add n2 h --label role": {2, `--label: expected "<key>=<value>" but got "role"` + help},
		"node add n2 h --label a/b=c": {2,
			`"a/b" is not a name for a label: use 1 to 63 letters, digits, dots, dashes and underscores, a letter or digit first`},
		"node add n2 h --agent 127.0.0.1:1":        {1, noAgent},
		"node set":                                 {2, `expected "<name>"` + help},
		"node set n1":                              {2, "nothing to change: give --name, --host, --port, --label or --ephemeral"},
		"node set n1 --port":                       {2, `--port: expected string value but got "EOL" (<EOL>)` + help},
		"node set n1 --port 1 --agent 127.0.0.1:1": {1, noAgent},
		"node remove":                              {2, "the nodes are missing: give their names, or --label"},
		"node remove n1 --label a=b":               {2, "names and --label exclude each other: give one of them"},
		"node maintain --for 2h":                   {2, "the nodes are missing: give their names, or --label"},
		"node maintain n1":                         {2, "the time is missing: give --for, such as --for 2h, or --off"},
		"node maintain n1 --for 2h --off":          {2, "--for and --off exclude each other: a maintenance either begins or ends"},
		"node maintain n1 --off --reason x": {2, "--reason and --off exclude each other: a maintenance " +
			"that ends has no reason"},
		"node maintain n1 --for 2":      {2, `--for: expected duration but got "2": time: missing unit in duration "2"` + help},
		"node maintain n1 --for 10000h": {2, "--for must be 1s to 8784h, a year"},
		"changes --since x":             {2, `--since: expected a valid 64 bit int but got "x"` + help},
		"changes --since=-2":            {2, "--since -2: use a change's id, or 0 for all"},
		"changes --agent 127.0.0.1:1":   {1, noAgent},
		"backup":                        {2, `expected "<file>"` + help},
		"backup x --agent 127.0.0.1:1":  {1, noAgent},
		"restore":                       {2, `expected "<file>"` + help},
		"restore nothing --data-dir d":  {1, "read backup: open nothing: no such file or directory"},
		"restore there --data-dir d": {1,
			"there is not a backup of a node list, or is damaged: nothing was changed"},
		"restore other.json --data-dir d": {1, "other.json is a backup of format 2, and this program knows format 1: use " +
			"a newer awa-agent"},
		"restore lies.json --data-dir d": {1, "lies.json is a damaged backup (it says its state is 7 and holds 0 " +
			"changes): nothing was changed"},
	} {
		t.Run(args, func(t *testing.T) {
			t.Parallel()
			r := runIn(t, dir, nil, "awa-agent", strings.Fields(args)...)
			if text := "awa-agent: " + want.text + "\n"; r.code != want.code || r.out != "" || r.errors != text {
				t.Errorf("exit code %d, want %d; on stdout %q; on stderr\n%swant\n%s", r.code, want.code, r.out, r.errors, text)
			}
		})
	}
	t.Cleanup(func() {
		if _, err := os.Stat(filepath.Join(dir, "d")); !os.IsNotExist(err) {
			t.Errorf("a data folder was made (%v)", err)
		}
	})
}

// TestCommand_help explains itself on stdout.
func TestCommand_help(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"--help": "Usage: awa-agent <command> [flags]\n", "run --help": "Usage: awa-agent " +
			"run [flags]\n", "-h": "Usage: awa-agent <command> [flags]\n",
		"node add --help": "Usage: awa-agent node add <name> <host> " +
			"[<port>] [flags]\n", "--version": "awa-agent 0.1.0\n", "-V": "awa-agent 0.1.0\n",
	} {
		if r := run(t, "awa-agent", strings.Fields(args)...); r.code != 0 || !strings.HasPrefix(r.out, want) ||
			r.errors != "" {
			t.Errorf("awa-agent %s: exit code %d with %q and %q", args, r.code, r.out, r.errors)
		}
	}
}

// TestBackup saves a list while it is edited, and begins again with it.
func TestBackup(t *testing.T) {
	t.Parallel()
	a := alone(t)
	c := &cluster{t: t, agents: []*agent{a}}
	w := c.write(4)
	dir := t.TempDir()
	path := func(i int) string { return filepath.Join(dir, fmt.Sprintf("list%d.json", i)) }
	const backups = 10
	for i := range backups {
		w.progress(5, a)
		r := run(t, "awa-agent", "backup", path(i), "--agent", a.addr())
		if r.code != 0 || !strings.HasPrefix(r.out, "Saved the list of cluster ") || r.errors != "" {
			t.Fatalf("%+v", r)
		}
	}
	w.end()
	last := path(backups)
	saved := run(t, "awa-agent", "backup", last, "--agent", a.addr())
	var id string
	var state uint64
	if _, err := fmt.Sscanf(saved.out, "Saved the list of cluster %s at state %d", &id, &state); err != nil ||
		state < w.newest() {
		t.Fatalf("%v: %+v", err, saved)
	}
	list := c.list(state)[:state] // an edit of a writer that has ended may still come in

	// All of them can be used; the last one is.
	for i := range backups {
		if r := run(t, "awa-agent", "restore", path(i), "--data-dir", filepath.Join(dir, fmt.Sprint(i))); r.code != 0 {
			t.Errorf("backup %d: %+v", i, r)
		}
	}
	if r := run(t, "awa-agent", "backup", last, "--agent", a.addr()); r.code != 1 ||
		r.errors != "awa-agent: "+last+" exists already: name a new file, nothing was changed\n" {
		t.Errorf("%+v", r)
	}
	if info, err := os.Stat(last); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, mode %v", err, info.Mode())
	}
	if r := run(t, "awa-agent", "restore", last, "--data-dir", a.data()); r.code != 1 || !strings.Contains(r.errors,
		"in use by another process") {
		t.Errorf("onto a running agent: %+v", r)
	}
	a.kill()
	if r := run(t, "awa-agent", "restore", last, "--data-dir", a.data()); r.code != 1 || !strings.Contains(r.errors,
		"holds a list already") {
		t.Errorf("onto a list: %+v", r)
	}

	b := newAgent(t, "n1")
	r := run(t, "awa-agent", "restore", last, "--data-dir", b.data())
	want := fmt.Sprintf("%s now holds the list at state %d as history 2-", b.data(), len(list))
	if r.code != 0 || !strings.HasPrefix(r.out, want) || r.errors != "" {
		t.Fatalf("%+v", r)
	}
	b.start() // on another address, under the old name
	b.log.wait(t, 30*time.Second, func(l logLine) bool { return l.Msg == "registered" }, b.ended)
	j := newAgent(t, "n2", "--join", b.addr())
	j.start()
	j.log.wait(t, 30*time.Second, func(l logLine) bool { return l.Msg == "registered" }, j.ended)
	again := &cluster{t: t, agents: []*agent{b, j}}
	restored := again.list(uint64(len(list)) + 2)
	if was, is := toJSON(t, list), toJSON(t, restored[:len(list)]); was != is {
		t.Errorf("the restored list begins otherwise:\n%s", difference([]byte(was), []byte(is)))
	}
	if r := run(t, "awa-agent", "node", "add", "n3", "127.0.0.3", "--agent", j.addr()); r.code != 0 {
		t.Errorf("an edit after the restore: %+v", r)
	}
}

func toJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
