//go:build system

package test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"are-we-alive/pkg/awatest/testaid"
)

// The folders of Debian's Nagios Core.
const (
	nagiosConf    = "/etc/nagios4"
	nagiosState   = "/var/lib/nagios4"
	nagiosPlugins = "/usr/lib/nagios/plugins"
	nagiosMail    = nagiosState + "/mail" // what contacts were told
)

// TestNagios has Nagios Core watch a cluster with the files of
// packaging/nagios, all of them as they are: the cluster and its nodes are
// those of example.cfg.
func TestNagios(t *testing.T) {
	t.Parallel()
	if !ownHost(t, []string{"10.0.0.1", "10.0.0.2", "10.0.0.3"}, "nagios4") {
		return
	}
	s := newSite(t, siteNode{name: "web1", host: "10.0.0.1", label: "role=web"}, siteNode{name: "web2", host: "10.0.0.2",
		label: "role=web"}, siteNode{name: "db1", host: "10.0.0.3", label: "role=db"})
	n := newNagios(t, s, "templates.cfg", "example.cfg")

	db1, web1 := tableRow("db1", "Online", "10.0.0.3:25483", ""), tableRow("web1", "Online", "10.0.0.1:25483", "")
	const offline = `web2 \(the host answers, its agent is not running \(connection refused\), 1 other does not see it either\)`
	well := []nagiosWant{
		{"web-cluster", "Nodes", "0", `AWA OK - 3 of 3 nodes online` + lastMajority,
			[]string{db1, web1, tableRow("web2", "Online", "10.0.0.2:25483", "")}},
		{"web-cluster", "Web servers", "0", `AWA OK - 2 of 2 nodes online`, nil},
		{"web1", "", "0", `AWA OK - .*web1.*`, nil},
		{"web2", "", "0", `AWA OK - .*web2.*`, nil},
		{"db1", "", "0", `AWA OK - .*db1.*`, nil},
	}
	n.await(well)
	s.agents["web2"].kill()
	n.await([]nagiosWant{
		{"web-cluster", "Nodes", "2", `AWA CRITICAL - 1 of 3 nodes offline: ` + offline + lastMajority,
			[]string{tableRow("web2", "Offline", "10.0.0.2:25483", "host answers, .*"), db1, web1}},
		{"web-cluster", "Web servers", "1", `AWA WARNING - 1 of 2 nodes offline: ` + offline, nil},
		{"web1", "", "0", `AWA OK - .*web1.*`, nil},
		{"web2", "", "1", `AWA CRITICAL - web2 is offline: the host answers, its agent is not running ` +
			`\(connection refused\), 1 other does not see it either`, nil},
		{"db1", "", "0", `AWA OK - .*db1.*`, nil},
	})
	n.awaitMail("PROBLEM", "CRITICAL", `AWA CRITICAL - 1 of 3 nodes offline: `+offline+lastMajority)
	s.agents["web2"].start()
	n.await(well)
	n.awaitMail("RECOVERY", "OK", `AWA OK - 3 of 3 nodes online`+lastMajority)
}

// nagiosWant is what Nagios shall say of a service, or of a host when there is
// no service.
type nagiosWant struct {
	host, service string
	state         string   // its number: of a host, 0 is UP and 1 is DOWN
	output        string   // a regular expression for all of it
	rows          []string // regular expressions for the rows of its table; empty where it has none
}

// nagios is a running Nagios Core.
type nagios struct {
	t *testing.T
}

// newNagios starts Debian's Nagios Core as it is configured there, with the
// shipped commands and the shipped object files named. It differs in this: it
// counts time in seconds, writes down mails instead of sending them, and leaves
// out Debian's example of a host. It runs as the user nagios.
func newNagios(t *testing.T, s *site, objects ...string) *nagios {
	t.Helper()
	return newNagiosWith(t, s, "", objects...)
}

// newNagiosWith is newNagios with objects of the test's own.
func newNagiosWith(t *testing.T, s *site, own string, objects ...string) *nagios {
	t.Helper()
	ownFolder(t, "/etc", nagiosPlugins, nagiosState, "/var/log/nagios4")
	install(t, program("check_awa"), filepath.Join(nagiosPlugins, "check_awa"), "root", 0o755)
	installCheckKey(t, s, "nagios")
	install(t, "../packaging/nagios/commands.cfg", "/etc/nagios-plugins/config/are-we-alive.cfg", "root", 0o644)
	for _, name := range objects {
		install(t, filepath.Join("../packaging/nagios", name), filepath.Join(nagiosConf, "conf.d", name), "root", 0o644)
	}
	if err := os.WriteFile(filepath.Join(nagiosConf, "conf.d/own.cfg"), []byte(own), 0o644); err != nil {
		t.Fatal(err)
	}
	edit(t, filepath.Join(nagiosConf, "objects/commands.cfg"), `\| /usr/bin/mail .*`, ">> "+nagiosMail)
	main := filepath.Join(nagiosConf, "nagios.cfg")
	edit(t, main, `(?m)^cfg_file=.*/localhost\.cfg$`, "")
	for key, value := range map[string]string{
		"interval_length": "1", "status_update_interval": "1", "check_result_reaper_frequency": "1",
		"service_inter_check_delay_method": "n", "host_inter_check_delay_method": "n",
		"check_for_updates": "0", "use_syslog": "0", "temp_path": nagiosState,
	} {
		edit(t, main, "(?m)^"+key+"=.*$", key+"="+value)
	}
	verify := must(t, "nagios4", "-v", main)
	for _, want := range []string{"Total Warnings: 0\n", "Total Errors:   0\n"} {
		if !strings.Contains(verify, want) {
			t.Fatalf("nagios4 -v:\n%s", verify)
		}
	}

	var out bytes.Buffer
	cmd := exec.Command("nagios4", main)
	cmd.Stdout, cmd.Stderr = &out, &out
	asUser(t, cmd, "nagios")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil || t.Failed() {
			log, _ := os.ReadFile("/var/log/nagios4/nagios.log")
			t.Errorf("nagios4: %v\n%s\n%s", err, out.String(), log)
		}
	})
	return &nagios{t}
}

// edit replaces what an expression matches in a file; it must match.
func edit(t *testing.T, path, what, with string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	next := regexp.MustCompile(what).ReplaceAllLiteral(text, []byte(with))
	if bytes.Equal(next, text) {
		t.Fatalf("%s holds nothing like %s", path, what)
	}
	if err := os.WriteFile(path, next, 0o644); err != nil {
		t.Fatal(err)
	}
}

// await waits until Nagios says what it shall, in states that are no longer
// being tried again.
func (n *nagios) await(all []nagiosWant) {
	n.t.Helper()
	testaid.Await(n.t, 40*time.Second, func() error {
		status, err := n.status()
		if err != nil {
			return err
		}
		for _, w := range all {
			found := status[w.host+"/"+w.service]
			if found["has_been_checked"] != "1" || found["state_type"] != "1" || found["current_state"] != w.state {
				return fmt.Errorf("%s %s is not in the state %s but %v", w.host, w.service, w.state, found)
			}
			if err := w.check(found); err != nil {
				return fmt.Errorf("%s %s: %w\n%v", w.host, w.service, err, found)
			}
		}
		return nil
	})
}

// check compares the texts of a state that is the right one.
func (w nagiosWant) check(found map[string]string) error {
	if !matches(w.output, found["plugin_output"]) {
		return fmt.Errorf("its output is not %s", w.output)
	}
	table := strings.Join(w.rows, `.*\\n`)
	if table != "" {
		table = strings.ReplaceAll(tableHead(`\d.* online`), "\n", `\\n`) + table + `.*\\n`
	}
	if long := found["long_plugin_output"]; !matches(table, long) && !matches(strings.TrimSuffix(table, `\\n`), long) {
		return fmt.Errorf("its long output is not %s", table)
	}
	return w.checkPerfdata(found["performance_data"])
}

func matches(whole, text string) bool {
	return regexp.MustCompile(`\A(?:` + whole + `)\z`).MatchString(text)
}

// checkPerfdata wants every label once, in the form of the plugin guidelines.
func (w nagiosWant) checkPerfdata(text string) error {
	values, err := parsePerfdata(text)
	if err != nil {
		return err
	}
	state, nodes, dead := w.state, "3", "0"
	warning, critical := "", "0"
	switch {
	case w.service == "Web servers":
		nodes, warning, critical = "2", "0", "1" // half of two
	case w.service == "":
		nodes = "1"
	}
	if w.state != "0" {
		dead = "1"
	}
	if w.service == "" && w.state == "1" {
		state = "2" // DOWN is what Nagios makes of CRITICAL
	}
	want := map[string]string{
		"online":      minus(nodes, dead) + ";;;0;" + nodes,
		"offline":     dead + ";" + warning + ";" + critical + ";0;" + nodes,
		"unreachable": "0;0;;0;" + nodes,
		"mismatch":    "0;" + warning + ";" + critical + ";0;" + nodes,
		"maintenance": `0;;;0`,
		"health":      `0;;;0`,
		"behind":      `\d+;;;0`,
		"rtt_max":     `0\.\d+s;;;0`,
		"skew_max":    `0\.\d+s;5;;0`,
		"time":        `\d\.\d+s;;;0`,
		"state":       state + ";;;0;3",
	}
	if w.service == "" && w.state == "1" { // nothing is known of a node that is offline
		delete(want, "behind")
		delete(want, "rtt_max")
		delete(want, "skew_max")
	}
	for label, form := range want {
		if !matches(form, values[label]) {
			return fmt.Errorf("the perfdata hold %s=%s, not %s", label, values[label], form)
		}
	}
	if len(values) != len(want) {
		return fmt.Errorf("the perfdata hold other labels than %v: %s", want, text)
	}
	return nil
}

func minus(a, b string) string {
	x, _ := strconv.Atoi(a)
	y, _ := strconv.Atoi(b)
	return strconv.Itoa(x - y)
}

// parsePerfdata splits label=value;warning;critical;min;max at the blanks.
func parsePerfdata(text string) (map[string]string, error) {
	values := map[string]string{}
	for _, item := range strings.Split(text, " ") {
		label, value, ok := strings.Cut(item, "=")
		if _, double := values[label]; !ok || double || !matches(`[a-z_]{1,19}`, label) {
			return nil, fmt.Errorf("the perfdata hold %q: %s", item, text)
		}
		values[label] = value
	}
	return values, nil
}

// status reads status.dat: each host and service by "host/service", its
// values by their names.
func (n *nagios) status() (map[string]map[string]string, error) {
	text, err := os.ReadFile(nagiosState + "/status.dat")
	if err != nil {
		return nil, err
	}
	found := map[string]map[string]string{}
	for block := range strings.SplitSeq(string(text), "\n\n") {
		kind, rest, _ := strings.Cut(strings.TrimSpace(block), " {\n")
		if kind != "hoststatus" && kind != "servicestatus" {
			continue
		}
		values := map[string]string{}
		for line := range strings.Lines(rest) {
			if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
				values[key] = value
			}
		}
		found[values["host_name"]+"/"+values["service_description"]] = values
	}
	if len(found) == 0 {
		return nil, errors.New("status.dat holds no hosts yet")
	}
	return found, nil
}

// awaitMail waits until somebody was told of the service Nodes, with a text
// that Nagios has stripped of what its shell could misunderstand: nothing.
func (n *nagios) awaitMail(kind, state, output string) {
	n.t.Helper()
	want := regexp.MustCompile(`Notification Type: ` + kind +
		`\n\nService: Nodes\nHost: web-cluster\nAddress: 127\.0\.0\.1\nState: ` + state +
		`\n\nDate/Time: .*\n\nAdditional Info:\n\n` + output + `\n`)
	testaid.Await(n.t, 20*time.Second, func() error {
		text, err := os.ReadFile(nagiosMail)
		if err == nil && !want.Match(text) {
			err = fmt.Errorf("nobody was told %s:\n%s", want, text)
		}
		return err
	})
}
