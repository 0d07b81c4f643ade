//go:build system

package test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"are-we-alive/pkg/awatest/testaid"
)

// TestIcinga has Icinga 2 watch a cluster with a key with the shipped commands,
// templates and rules: as one service, as a service for some of the nodes, and
// each node as the check of its host. The agent that is asked first dies, then
// all do, and they come back.
func TestIcinga(t *testing.T) {
	t.Parallel()
	agents, key := keyedCluster(t)
	i := startIcinga(t, icingaSite(agents, key))

	// In its first seconds a1 is the only voter.
	const offline = `a1 \(connect: connection refused, 1 other does not see it either\)(?:, and no majority for edits, 1 of 1 voter not alive \(a1\))?`
	well := []icingaWant{
		{"services", "web-cluster!awa", 0, `AWA OK - 3 of 3 nodes online`, icingaTable("Online", "Online", "Online"), icingaValues("3", "0", "null", "0", "3")},
		{"services", "web-cluster!awa web servers", 0, `AWA OK - 1 of 1 node online`, "", icingaValues("1", "0", "0", "1", "1")},
		{"hosts", "web1.example.org", 0, `AWA OK - a1 .*`, "", icingaValues("1", "0", "null", "0", "1")},
		{"hosts", "a2", 0, `AWA OK - a2 .*`, "", icingaValues("1", "0", "null", "0", "1")},
		{"hosts", "a3", 0, `AWA OK - a3 .*`, "", icingaValues("1", "0", "null", "0", "1")},
		{"hosts", "web-cluster", 0, `A cluster`, "", nil},
	}
	i.await(well)
	i.checkEveryOption()
	agents[0].kill()
	i.await([]icingaWant{
		{
			"services", "web-cluster!awa", 2, `AWA CRITICAL - 1 of 3 nodes offline: ` + offline,
			icingaTable(`Offline \(.*\)`, "Online", "Online") + `\n127\.0\.0\.1:\d+ gave no status: connect: connection refused`,
			icingaValues("2", "1", "null", "0", "3"),
		},
		{"services", "web-cluster!awa web servers", 1, `AWA WARNING - 1 of 1 node offline: ` + offline, "", icingaValues("0", "1", "0", "1", "1")},
		{"hosts", "web1.example.org", 1, `AWA CRITICAL - a1 .*connection refused.*`, "", icingaValues("0", "1", "null", "0", "1")},
		{"hosts", "a2", 0, `AWA OK - a2 .*`, "", nil},
		{"hosts", "a3", 0, `AWA OK - a3 .*`, "", nil},
		{"hosts", "web-cluster", 0, `A cluster`, "", nil},
	})
	agents[1].kill()
	agents[2].kill()
	const nobody = `AWA CRITICAL - no agent answers: .*`
	i.await([]icingaWant{
		{"services", "web-cluster!awa", 2, nobody, "", nil},
		{"hosts", "web1.example.org", 1, nobody, "", nil},
		{"hosts", "a2", 1, nobody, "", nil},
		{"hosts", "a3", 1, nobody, "", nil},
	})
	for _, a := range agents {
		a.start()
	}
	i.await(well)
}

// TestIcinga_example has Icinga check all shipped files as they are.
func TestIcinga_example(t *testing.T) {
	t.Parallel()
	d := newIcingaDaemon(t, icingaShipped(t, "are-we-alive-example.conf"))
	out := d.run("daemon", "-C", "-c", d.conf)
	for _, want := range []string{"Instantiated 4 Hosts.", "Instantiated 2 Services."} {
		if !strings.Contains(out, want) || strings.Contains(out, "warning/") {
			t.Errorf("not %s:\n%s", want, out)
		}
	}
}

// everyOption has each variable of the command "awa" but for those that every
// service here has, in the words of Icinga's configuration, and what comes of it
// on check_awa's command line.
var everyOption = [][2]string{
	{`awa_port = 25483`, `-p 25483`},
	{`awa_timeout = 3.5`, `-t 3.500000`},
	{`awa_no_answer_state = "unknown"`, `--no-answer-state unknown`},
	{`awa_timeout_state = "critical"`, `--timeout-state critical`},
	{`awa_perfdata = "nodes"`, `--perfdata nodes`},
	{`awa_verbose = true`, `-v`},
	{`awa_warning = 0`, `-w 0`},
	{`awa_critical = "10%"`, `-c 10%`},
	{`awa_unreachable_warning = "~:"`, `--unreachable-warning ~:`},
	{`awa_unreachable_critical = "50%"`, `--unreachable-critical 50%`},
	{`awa_behind_warning = 100`, `--behind-warning 100`},
	{`awa_behind_critical = 200`, `--behind-critical 200`},
	{`awa_skew_warning = 60`, `--skew-warning 60`},
	{`awa_skew_critical = 61.5`, `--skew-critical 61.500000`},
	{`awa_rtt_warning = 3`, `--rtt-warning 3`},
	{`awa_rtt_critical = 4`, `--rtt-critical 4`},
	{`awa_no_majority_state = "ok"`, `--no-majority-state ok`},
	{`awa_nodes = [ "a1", "A2" ]`, `--node a1 --node A2`},
	{`awa_labels = [ "role=web" ]`, `--label role=web`},
	{`awa_exclude = [ "test*", "*.old" ]`, `--exclude test* --exclude *.old`},
}

// checkEveryOption wants all variables on the command line that Icinga has run,
// and check_awa to know all of them. Of the flags that check_awa -h tells none
// may be missing, but for those that are nothing for a plugin's command.
func (i *icinga) checkEveryOption() {
	i.t.Helper()
	const name = "web-cluster!awa every option"
	i.await([]icingaWant{{"services", name, 0, `AWA OK - a1 is online.*`, `(?s:.*)`, nil}})
	found, err := i.record("services", name)
	if err != nil {
		i.t.Fatal(err)
	}
	line := strings.Trim(fmt.Sprint(found.Last.Command), "[]") + " "
	for _, o := range everyOption {
		if !strings.Contains(line, " "+o[1]+" ") {
			i.t.Errorf("of %s comes not %s but %s", o[0], o[1], line)
		}
	}
	flags := regexp.MustCompile(`(?m)^  (?:-\w|    --[\w-]+)`).FindAllString(run(i.t, "check_awa", "-h").out, -1)
	for _, f := range flags {
		f = strings.TrimSpace(f)
		if !slices.Contains([]string{"-o", "-V", "-h"}, f) && !strings.Contains(line, " "+f+" ") {
			i.t.Errorf("no variable sets %s: %s", f, line)
		}
	}
	if len(flags) <= len(everyOption) {
		i.t.Errorf("check_awa -h tells only of %q", flags)
	}
}

// icingaSite is the configuration of an administrator who has made a cluster
// and its nodes with the shipped templates.
func icingaSite(agents []*agent, key string) string {
	var all []string
	for _, a := range agents {
		all = append(all, fmt.Sprintf("%q", a.addr()))
	}
	var options strings.Builder
	for _, o := range everyOption {
		options.WriteString("  vars." + o[0] + "\n")
	}
	return fmt.Sprintf(`
const Agents = [ %s ]
const Key = %q
object Host "web-cluster" {
  check_command = "dummy"
  vars.dummy_text = "A cluster"
  vars.awa_cluster = true
  vars.awa_agents = Agents
  vars.awa_key_file = Key
  vars.awa_verbose = true
}
object Service "awa web servers" {
  host_name = "web-cluster"
  import "awa-service"
  vars.awa_verbose = false
  vars.awa_labels = "role=web"
  vars.awa_warning = 0
  vars.awa_critical = "100%%"
}
object Service "awa every option" {
  host_name = "web-cluster"
  import "awa-service"
%s}
template Host "web-cluster-node" {
  import "awa-node-host"
  address = "127.0.0.1"
  vars.awa_key_file = Key
  vars.awa_agents = Agents
  vars.awa_critical = 1 // is for services
}
object Host "web1.example.org" {
  import "web-cluster-node"
  vars.awa_node = "a1"
}
object Host "a2" {
  import "web-cluster-node"
  vars.awa_agents = Agents + [ "$address$" ]
}
object Host "a3" {
  import "web-cluster-node"
  vars.remove("awa_agents") // the address of the host then
  vars.awa_port = %s
}
`, strings.Join(all, ", "), key, options.String(), agents[2].port())
}

// icingaWant is what Icinga shall say of a service or host (kind) in the end:
// in a hard state.
type icingaWant struct {
	kind, name string
	state      int               // of a host, 0 is UP and 1 is DOWN
	output     string            // a regular expression for the first line
	table      string            // likewise, for the lines below it
	perfdata   map[string]string // by label; nil: not compared
}

// icingaTable is the table of -v: what it tells of a1, a2 and a3.
func icingaTable(status ...string) string {
	table := `\nName +Host +Port +Status`
	for n, s := range status {
		table += fmt.Sprintf(`\na%d +127\.0\.0\.1 +\d+ +%s`, n+1, s)
	}
	return table
}

// icingaValues gives perfdata as Icinga understands them, value warn crit min
// max: every label of check_awa, with what differs.
func icingaValues(online, offline, warning, critical, nodes string) map[string]string {
	values := map[string]string{
		"online":      online + ` null null 0 ` + nodes,
		"offline":     offline + ` ` + warning + ` ` + critical + ` 0 ` + nodes,
		"unreachable": `0 0 null 0 ` + nodes,
		"mismatch":    `0 ` + warning + ` ` + critical + ` 0 ` + nodes,
		"time":        `\d[^ ]* null null 0 null`,
		"state":       `[0-3] null null 0 3`,
	}
	if online != "0" { // else nothing is known of these
		values["behind"] = `\d+ null null 0 null`
		values["rtt_max"] = `\d[^ ]* null null 0 null`
		values["skew_max"] = `\d[^ ]* 5 null 0 null`
	}
	return values
}

// icingaDaemon is Icinga 2 with a configuration, and with all that it writes in
// a folder of the test's.
type icingaDaemon struct {
	t         *testing.T
	path      string // of the program
	dir, conf string
	defines   []string
	authority []byte // its certificate, in PEM
}

// The user of Icinga's API.
const icingaUser, icingaPassword = "awa", "test"

// newIcingaDaemon prepares Icinga with a checker and an API, the shipped files
// that are not to be changed, and a site's configuration.
func newIcingaDaemon(t *testing.T, site string) *icingaDaemon {
	t.Helper()
	d := &icingaDaemon{t: t, path: testaid.Tool(t, "icinga2"), dir: t.TempDir()}
	if os.Geteuid() != 0 {
		testaid.Skip(t, "Icinga's processes end with the test for root only: run  sudo make system-test")
	}
	d.defines = []string{"-DConfiguration.RunAsUser=root", "-DConfiguration.RunAsGroup=root"}
	for _, name := range []string{"Data", "Log", "Cache", "Spool", "InitRun"} {
		path := filepath.Join(d.dir, name)
		if err := os.Mkdir(path, 0o700); err != nil {
			t.Fatal(err)
		}
		d.defines = append(d.defines, "-DConfiguration."+name+"Dir="+path)
	}
	d.certify()
	d.conf = filepath.Join(d.dir, "icinga2.conf")
	write(t, d.conf, fmt.Sprintf(`
include <itl>
include <plugins>
const PluginDir = %q
const NodeName = "localhost"
const ZoneName = NodeName
object Endpoint NodeName { }
object Zone ZoneName { endpoints = [ NodeName ] }
object CheckerComponent "checker" { }
object ApiListener "api" {
  bind_host = "127.0.0.1"
  bind_port = 0
}
object ApiUser %q {
  password = %q
  permissions = [ "objects/query/*", "actions/reschedule-check", "console" ]
}
`, os.Getenv(envBin), icingaUser, icingaPassword)+icingaShipped(t, "are-we-alive-commands.conf", "are-we-alive-apply.conf")+site)
	return d
}

// icingaShipped includes shipped files.
func icingaShipped(t *testing.T, files ...string) (lines string) {
	t.Helper()
	dir, err := filepath.Abs("../packaging/icinga2")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		lines += fmt.Sprintf("include %q\n", filepath.Join(dir, f))
	}
	return lines
}

// run runs icinga2 to its end and gives what it prints.
func (d *icingaDaemon) run(args ...string) string {
	d.t.Helper()
	out, err := exec.CommandContext(d.t.Context(), d.path, append(args, d.defines...)...).CombinedOutput()
	if err != nil {
		d.t.Fatalf("icinga2 %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// certify makes an authority and a certificate for the API.
func (d *icingaDaemon) certify() {
	d.t.Helper()
	data := filepath.Join(d.dir, "Data")
	certs := filepath.Join(data, "certs")
	if err := os.Mkdir(certs, 0o700); err != nil {
		d.t.Fatal(err)
	}
	own := filepath.Join(certs, "localhost")
	d.run("pki", "new-ca")
	d.run("pki", "new-cert", "--cn", "localhost", "--key", own+".key", "--csr", own+".csr")
	d.run("pki", "sign-csr", "--csr", own+".csr", "--cert", own+".crt")
	var err error
	if d.authority, err = os.ReadFile(filepath.Join(data, "ca", "ca.crt")); err != nil {
		d.t.Fatal(err)
	}
	write(d.t, filepath.Join(certs, "ca.crt"), string(d.authority))
}

// icinga is a running Icinga 2.
type icinga struct {
	t      *testing.T
	client *http.Client
	url    string    // of its API
	forced time.Time // when checks were last asked for
}

// startIcinga has Icinga check a site's configuration, and starts it.
func startIcinga(t *testing.T, site string) *icinga {
	t.Helper()
	d := newIcingaDaemon(t, site)
	if out := d.run("daemon", "-C", "-c", d.conf); strings.Contains(out, "warning/") {
		t.Fatalf("icinga2 daemon -C:\n%s", out)
	}
	cmd := exec.Command(d.path, append([]string{"daemon", "-x", "warning", "-c", d.conf}, d.defines...)...)
	cmd.Env = environment()
	// Icinga is several processes, of which none outlives the first one of a
	// namespace.
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID, Pdeathsig: syscall.SIGKILL}
	var log testaid.Log
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill() // fails when it has ended, which the log tells
		cmd.Wait()
		if text := log.String(); text != "" {
			t.Errorf("Icinga complains:\n%s", text)
		}
	})
	i := &icinga{t: t, client: icingaClient(d.authority)}
	testaid.Await(t, 30*time.Second, func() error {
		var at struct{ Port int }
		b, err := os.ReadFile(filepath.Join(d.dir, "Cache", "api-state.json"))
		if err == nil {
			err = json.Unmarshal(b, &at)
		}
		i.url = fmt.Sprintf("https://127.0.0.1:%d/v1/", at.Port)
		return err
	})
	return i
}

// icingaClient is for single questions to an API with a certificate of this
// authority; each has 5 s.
func icingaClient(authority []byte) *http.Client {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	return &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{RootCAs: roots, ServerName: "localhost"},
	}}
}

// ask asks Icinga's API, with a body by POST, and reads its results.
func (i *icinga) ask(path, body string, results any) error {
	method := http.MethodGet
	if body != "" {
		method = http.MethodPost
	}
	req, err := http.NewRequestWithContext(i.t.Context(), method, i.url+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	req.SetBasicAuth(icingaUser, icingaPassword)
	req.Header.Set("Accept", "application/json")
	resp, err := i.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: %d %s", method, path, resp.StatusCode, b)
	}
	if err != nil {
		return err
	}
	return json.Unmarshal(b, &struct{ Results any }{results})
}

// icingaRecord is what is used here of Icinga's record of a service or host.
type icingaRecord struct {
	State     int `json:"state"`
	StateType int `json:"state_type"` // 1: hard
	Last      *struct {
		Output  string
		Command any // a list of words, if it is a plugin's
	} `json:"last_check_result"`
}

// record gives Icinga's record; it is an error when there was no check yet.
func (i *icinga) record(kind, name string) (icingaRecord, error) {
	var found []struct{ Attrs icingaRecord }
	err := i.ask("objects/"+kind+"/"+strings.ReplaceAll(name, " ", "%20"), "", &found)
	switch {
	case err != nil:
		return icingaRecord{}, err
	case len(found) != 1 || found[0].Attrs.Last == nil:
		return icingaRecord{}, errors.New("it has not been checked")
	}
	return found[0].Attrs, nil
}

// perfdata gives the performance data of the last check as Icinga understands
// them, by their labels: value, warn, crit, min, max.
func (i *icinga) perfdata(name string) (map[string]string, error) {
	object := fmt.Sprintf(`get_host(%q)`, name)
	if host, service, ok := strings.Cut(name, "!"); ok {
		object = fmt.Sprintf(`get_service(%q, %q)`, host, service)
	}
	script, err := json.Marshal(map[string]string{
		"command": object + `.last_check_result.performance_data.map(x => parse_performance_data(x))`,
	})
	if err != nil {
		return nil, err
	}
	var found []struct {
		Result []struct {
			Label                       string
			Value, Warn, Crit, Min, Max json.RawMessage
		}
	}
	if err := i.ask("console/execute-script", string(script), &found); err != nil {
		return nil, err
	}
	values := map[string]string{}
	for _, f := range found {
		for _, v := range f.Result {
			values[v.Label] = string(bytes.Join([][]byte{v.Value, v.Warn, v.Crit, v.Min, v.Max}, []byte(" ")))
		}
	}
	return values, nil
}

// await waits until Icinga says what it shall. It has it check every second,
// and not once a minute.
func (i *icinga) await(all []icingaWant) {
	i.t.Helper()
	testaid.Await(i.t, time.Minute, func() error {
		if time.Since(i.forced) > time.Second {
			for _, kind := range []string{"Host", "Service"} {
				if err := i.ask("actions/reschedule-check", `{"type":"`+kind+`","filter":"true","force":true}`, new([]any)); err != nil {
					return err
				}
			}
			i.forced = time.Now()
		}
		for _, w := range all {
			if err := i.compare(w); err != nil {
				return fmt.Errorf("%s: %w", w.name, err)
			}
		}
		return nil
	})
}

// compare tells how Icinga's record differs.
func (i *icinga) compare(w icingaWant) error {
	found, err := i.record(w.kind, w.name)
	if err != nil {
		return err
	}
	whole := regexp.MustCompile(`\A` + w.output + ` ?` + w.table + `\s*\z`) // a blank stands before the perfdata
	switch {
	case found.State != w.state || found.StateType != 1:
		return fmt.Errorf("it is not in the hard state %d: %+v", w.state, *found.Last)
	case !whole.MatchString(found.Last.Output):
		return fmt.Errorf("its output is not %s but\n%s", whole, found.Last.Output)
	case w.perfdata == nil:
		return nil
	}
	values, err := i.perfdata(w.name)
	if err != nil {
		return err
	}
	for label, form := range w.perfdata {
		if !regexp.MustCompile(`\A(?:` + form + `)\z`).MatchString(values[label]) {
			return fmt.Errorf("its perfdata hold %s %s, not %s", label, values[label], form)
		}
	}
	if len(values) != len(w.perfdata) {
		return fmt.Errorf("its perfdata have other labels than %v: %v", w.perfdata, values)
	}
	return nil
}
