//go:build system

package packages

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"are-we-alive/pkg/awatest/testaid"
)

// headCommands are the commands in the comment at the head of an example, after "$ ".
func headCommands(text string) []string {
	var all []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && !strings.ContainsAny(line[:1], "#/*") {
			break // the head is over
		}
		if _, command, ok := strings.Cut(line, " $ "); ok {
			all = append(all, command)
		}
	}
	return all
}

// example is a file that shows how a monitoring system asks.
type example struct {
	file    string // in the folder of examples
	change  string // what a site changes before the commands, as a line of shell
	user    string // who runs the check; "" is root
	command string // a check as the example makes it
	want    string // in its output
}

// TestDebian_examples follows the heads of the examples, and nothing else, on a server that
// monitors itself, with the monitoring systems of Debian.
func TestDebian_examples(t *testing.T) {
	t.Parallel()
	m := bootTree(t, "monitor", treeWith(t, "monitoring", "nagios4-core", "icinga2", "nagios-nrpe-server", "nagios-nrpe-plugin",
		"prometheus"), nil)
	m.install(file(t, theStage.first, kinds[0]))
	m.sh(`awa-agent key new && echo '{"first": true, "my_name": "web1", "my_host": "web1", "web": ":25484"}' \
			>/etc/are-we-alive/cluster_info.json &&
		systemctl enable --now awa-agent`)
	m.awaitOK(1)
	// Telegraf is not in Debian: of it there are its user, its folder and the name of its unit.
	m.sh(`useradd --system telegraf && mkdir -p /etc/telegraf/telegraf.d &&
		printf '[Service]\nExecStart=/bin/sleep infinity\n' >/etc/systemd/system/telegraf.service && systemctl daemon-reload`)

	const plugin = "/usr/lib/nagios/plugins/check_awa -H 127.0.0.1 -k /etc/are-we-alive/check.key"
	const ownAddress = `sed -i 's/10\.0\.0\.[0-9]*/127.0.0.1/g' `
	examples := []example{
		{"nagios/example.cfg", ownAddress + "example.cfg", "nagios", plugin, "AWA OK - 1 of 1 node online"},
		{"icinga2/are-we-alive-example.conf", ownAddress + "are-we-alive-example.conf", "nagios", plugin, "AWA OK - 1 of 1 node"},
		{"nrpe/are-we-alive.cfg", "", "", "/usr/lib/nagios/plugins/check_nrpe -H 127.0.0.1 -c check_awa", "AWA OK - 1 of 1 node"},
		{"checkmk/are_we_alive", "", "", "/usr/lib/check_mk_agent/local/are_we_alive", `0 "are-we-alive" online=1`},
		// Debian's Prometheus is older than 2.43: the job is in prometheus.yml itself.
		{"prometheus/are-we-alive.yml", "{ sed 's/web2/web1/' are-we-alive.yml; echo 'rule_files: [are-we-alive.rules.yml]'; } " +
			">/etc/prometheus/prometheus.yml", "", "promtool query instant http://localhost:9090 awa_node_online", `node="web1"`},
	}
	for _, name := range []string{"nagios", "influx", "nagios-before-1.39", "influx-before-1.39"} {
		e := example{file: "telegraf/check_awa-" + name + ".conf", user: "telegraf", command: plugin, want: "AWA OK - 1 of 1 node"}
		if strings.HasPrefix(name, "influx") {
			e.command, e.want = plugin+" -o influx", "awa_cluster,asked=127.0.0.1:25483,"
		}
		examples = append(examples, e)
	}
	defer func() { m.t = t }()
	for _, e := range examples {
		t.Run(strings.ReplaceAll(e.file, "/", " "), func(t *testing.T) {
			m.t = t
			text := m.sh("cat /usr/share/doc/are-we-alive/examples/" + e.file)
			commands := headCommands(text)
			if len(commands) == 0 {
				t.Fatal("its head has no commands")
			}
			m.sh("rm -rf /root/example /etc/are-we-alive/check.key; cp -r /usr/share/doc/are-we-alive/examples/" +
				filepath.Dir(e.file) + " /root/example")
			m.sh("set -e; cd /root/example; " + e.change + "\n" + strings.Join(commands, "\n"))
			check := []string{"sh", "-c", e.command}
			if e.user != "" {
				check = append([]string{"runuser", "-u", e.user, "--"}, check...)
			}
			testaid.Await(t, 2*bootMost, func() error {
				if r := m.run(check...); !strings.Contains(r.out, e.want) {
					return fmt.Errorf("%q says, with exit code %d, %.2000s", check, r.code, r.all())
				}
				return nil
			})
		})
	}
}
