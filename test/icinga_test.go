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

// The folders of Debian's Icinga 2.
const (
	icingaConf  = "/etc/icinga2"
	icingaState = "/var/lib/icinga2"
	icingaCache = "/var/cache/icinga2"
)

// TestIcinga has Icinga 2 watch a cluster with the files of packaging/icinga2,
// all of them as they are: as one service, as a service for some of the nodes,
// and each node as the check of its host. An agent dies, then all do, and they
// come back.
func TestIcinga(t *testing.T) {
	t.Parallel()
	if !ownHost(t, []string{"10.0.0.1", "10.0.0.2", "10.0.0.3"}, "icinga2") {
		return
	}
	s := newSite(t, siteNode{name: "web1", host: "10.0.0.1", label: "role=web"}, siteNode{name: "web2", host: "10.0.0.2",
		label: "role=web"}, siteNode{name: "db1", host: "10.0.0.3", label: "role=db"})
	i := startIcinga(t, s)

	up := func(name string) icingaWant {
		return icingaWant{"hosts", name, 0, `AWA OK - ` + name + ` is online.*`, "", icingaValues("1", "0", "null", "0", "1")}
	}
	well := []icingaWant{
		{"services", "web-cluster!awa", 0, `AWA OK - 3 of 3 nodes online` + lastMajority,
			icingaTable("3 nodes online", "Online", "", true), icingaValues("3", "0", "null", "0", "3")},
		{kind: "services", name: "web-cluster!awa databases", output: `AWA OK - 1 of 1 node online`,
			table:    icingaTable(`1 node online \(of 3 on the list\)`, "Online", "", false),
			perfdata: icingaValues("1", "0", "0", "0.5", "1")},
		up("web1"), up("web2"), up("db1"),
		{"hosts", "web-cluster", 0, `a cluster is as its service says`, "", nil},
		{"hosts", "db1.example.org", 0, `AWA OK - db1 is online.*`, "", icingaValues("1", "0", "null", "0", "1")},
		{"hosts", "web2.example.org", 0, `AWA OK - web2 is online.*`, "", icingaValues("1", "0", "null", "0", "1")},
	}
	i.await(well)
	i.checkEveryOption()
	s.agents["db1"].kill()
	const offline = `the host answers, its agent is not running \(connection refused\), 1 other does not see it either`
	const why = `host answers, agent not running, 1 other does not see it either`
	down := icingaValues("0", "1", "null", "0", "1")
	i.await([]icingaWant{
		{
			"services", "web-cluster!awa", 2, `AWA CRITICAL - 1 of 3 nodes offline: db1 \(` + offline + `\)` + lastMajority,
			icingaTable("1 of 3 not online", "Offline", why, true), icingaValues("2", "1", "null", "0", "3"),
		},
		{
			"services", "web-cluster!awa databases", 2, `AWA CRITICAL - 1 of 1 node offline: db1 \(` + offline + `\)`,
			icingaTable(`1 of 1 not online \(of 3 on the list\)`, "Offline", why, false), icingaValues("0", "1", "0", "0.5", "1"),
		},
		up("web1"), up("web2"),
		{"hosts", "db1", 1, `AWA CRITICAL - db1 is offline: ` + offline, "", down},
		{"hosts", "db1.example.org", 1, `AWA CRITICAL - db1 is offline: ` + offline, "", down},
	})
	s.agents["web1"].kill()
	s.agents["web2"].kill()
	const nobody = `AWA CRITICAL - no agent answers: .*`
	i.await([]icingaWant{
		{"services", "web-cluster!awa", 2, nobody, "", nil},
		{"hosts", "web1", 1, nobody, "", nil},
		{"hosts", "web2", 1, nobody, "", nil},
		{"hosts", "db1", 1, nobody, "", nil},
		{kind: "hosts", name: "web2.example.org", state: 1,
			output: `AWA CRITICAL - no agent answers: 10\.0\.0\.2:25483 \(connect: connection refused\)`},
	})
	for _, a := range s.agents {
		a.start()
	}
	i.await(well)
}

// everyOption has each variable of the command "awa" except those that every
// service here has, in the words of Icinga's configuration, and what comes of it
// on check_awa's command line.
var everyOption = [][2]string{
	{`awa_port = 25483`, `-p 25483`},
	{`awa_timeout = 3.5`, `-t 3.500000`},
	{`awa_no_answer_state = "unknown"`, `--no-answer-state unknown`},
	{`awa_timeout_state = "critical"`, `--timeout-state critical`},
	{`awa_perfdata = "nodes"`, `--perfdata nodes`},
	{`awa_mesh = true`, `--mesh`},
	{`awa_problems = true`, `--problems`},
	{`awa_sort = "since"`, `--sort since`},
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
	{`awa_stopped_state = "warning"`, `--stopped-state warning`},
	{`awa_health = [ "LAST_MAJORITY=ok", "DISK_FULL=critical" ]`, `--health LAST_MAJORITY=ok --health DISK_FULL=critical`},
	{`awa_nodes = [ "web1", "DB1" ]`, `--node web1 --node DB1`},
	{`awa_labels = [ "role=web" ]`, `--label role=web`},
	{`awa_exclude = [ "test*", "*.old" ]`, `--exclude test* --exclude *.old`},
}

// checkEveryOption wants all variables on the command line that Icinga has run,
// and check_awa to know all of them. Of the flags that check_awa -h lists none
// may be missing, except those that are nothing for a plugin's command.
func (i *icinga) checkEveryOption() {
	i.t.Helper()
	const name = "web-cluster!awa every option"
	i.await([]icingaWant{{"services", name, 0, `AWA OK - web1 is online.*`, `(?s:.*)`, nil}})
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
		if !slices.Contains([]string{"-o", "-V", "-h", "--color", "--watch", "--wait"}, f) && !strings.Contains(line, " "+f+" ") {
			i.t.Errorf("no variable sets %s: %s", f, line)
		}
	}
	if len(flags) <= len(everyOption) {
		i.t.Errorf("check_awa -h lists only %q", flags)
	}
}

// icingaSite is what an administrator might have beside the example.
func icingaSite() string {
	var options strings.Builder
	for _, o := range everyOption {
		options.WriteString("  vars." + o[0] + "\n")
	}
	return fmt.Sprintf(`
object Service "awa every option" {
  host_name = "web-cluster"
  import "awa-service"
%s}
object Host "db1.example.org" {
  import "awa-node-host"
  address = "10.0.0.3"
  vars.awa_node = "db1"
  vars.awa_agents = [ "10.0.0.1", "10.0.0.2", "$address$" ]
  // These are for services. A host is down when its node is.
  vars.awa_critical = 1
  vars.awa_exclude = "db*"
}
object Host "web2.example.org" { // it is asked itself
  import "awa-node-host"
  address = "10.0.0.2"
  vars.awa_node = "web2"
}
`, options.String())
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

// icingaTable is the table of -v, of all nodes or of the databases, in which db1 comes first by
// its name and as a problem.
func icingaTable(howMany, status, why string, all bool) string {
	table := "\n" + tableHead(howMany) + tableRow("db1", status, "10.0.0.3:25483", why)
	if all {
		table += "\n" + tableRow("web1", "Online", "10.0.0.1:25483", "") + "\n" + tableRow("web2", "Online", "10.0.0.2:25483", "")
	}
	if status != "Online" {
		table += "\n" + strings.TrimSpace(startIt("db1"))
	}
	return table
}

// icingaValues returns perfdata as Icinga understands them, value warn crit min
// max: every label of check_awa, with what differs.
func icingaValues(online, offline, warning, critical, nodes string) map[string]string {
	values := map[string]string{
		"online":      online + ` null null 0 ` + nodes,
		"offline":     offline + ` ` + warning + ` ` + critical + ` 0 ` + nodes,
		"unreachable": `0 0 null 0 ` + nodes,
		"mismatch":    `0 ` + warning + ` ` + critical + ` 0 ` + nodes,
		"maintenance": `0 null null 0 null`,
		"health":      `0 null null 0 null`,
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

// icinga is a running Icinga 2.
type icinga struct {
	t        *testing.T
	client   *http.Client
	password string    // of the API's user root
	forced   time.Time // when checks were last asked for
}

// startIcinga starts Debian's Icinga 2 as it is configured there, with an API
// and with the shipped files and icingaSite, but without Debian's example of a
// host and what is applied to it. It runs as the user nagios.
func startIcinga(t *testing.T, s *site) *icinga {
	t.Helper()
	ownFolder(t, "/etc", nagiosPlugins, icingaState, icingaCache, "/var/log/icinga2", "/var/spool/icinga2")
	if err := syscall.Mount("tmpfs", "/run", "tmpfs", 0, ""); err != nil {
		t.Fatal("mount /run: ", err)
	}
	install(t, program("check_awa"), filepath.Join(nagiosPlugins, "check_awa"), "root", 0o755)
	installCheckKey(t, s, "nagios")
	must(t, "/usr/lib/icinga2/prepare-dirs")
	must(t, "icinga2", "api", "setup", "--cn", "localhost")
	for _, name := range []string{"apt", "downtimes", "hosts", "notifications", "services"} {
		must(t, "rm", icingaConf+"/conf.d/"+name+".conf")
	}
	for _, name := range []string{"are-we-alive-commands.conf", "are-we-alive-apply.conf", "are-we-alive-example.conf"} {
		install(t, "../packaging/icinga2/"+name, icingaConf+"/conf.d/"+name, "root", 0o644)
	}
	if err := os.WriteFile(icingaConf+"/conf.d/site.conf", []byte(icingaSite()), 0o644); err != nil {
		t.Fatal(err)
	}
	if out := must(t, "icinga2", "daemon", "-C"); strings.Contains(out, "warning/") {
		t.Fatalf("icinga2 daemon -C:\n%s", out)
	}

	cmd := exec.Command("icinga2", "daemon", "-x", "warning")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var log testaid.Log
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil || log.String() != "" {
			t.Errorf("icinga2: %v\n%s", err, log.String())
		}
	})
	i := &icinga{t: t}
	i.login()
	return i
}

// login waits until the API is there, and reads what it takes to ask it.
func (i *icinga) login() {
	i.t.Helper()
	users, err := os.ReadFile(icingaConf + "/conf.d/api-users.conf")
	if err != nil {
		i.t.Fatal(err)
	}
	password := regexp.MustCompile(`password = "(\w+)"`).FindSubmatch(users)
	authority, err := os.ReadFile(icingaState + "/certs/ca.crt")
	roots := x509.NewCertPool()
	if err != nil || password == nil || !roots.AppendCertsFromPEM(authority) {
		i.t.Fatalf("icinga2 api setup has left: %v\n%s\n%s", err, users, authority)
	}
	i.password = string(password[1])
	i.client = &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{RootCAs: roots},
	}}
	testaid.Await(i.t, 30*time.Second, func() error { return i.ask("status/ApiListener", "", new([]any)) })
}

// ask asks Icinga's API, with a body by POST, and reads its results.
func (i *icinga) ask(path, body string, results any) error {
	method := http.MethodGet
	if body != "" {
		method = http.MethodPost
	}
	return i.request(method, path, body, results)
}

// request sends a request to Icinga's API, and reads its results.
func (i *icinga) request(method, path, body string, results any) error {
	req, err := http.NewRequestWithContext(i.t.Context(), method, "https://localhost:5665/v1/"+path,
		strings.NewReader(body))
	if err != nil {
		return err
	}
	req.SetBasicAuth("root", i.password)
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

// record returns Icinga's record; it is an error when there was no check yet.
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

// perfdata returns the performance data of the last check as Icinga understands
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
				if err := i.ask("actions/reschedule-check", `{"type":"`+kind+`","filter":"true","force":true}`,
					new([]any)); err != nil {
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
