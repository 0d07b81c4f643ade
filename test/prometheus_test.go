//go:build system

package test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"are-we-alive/pkg/awatest/testaid"
)

// promFiles holds the shipped files.
var promFiles = filepath.Join("..", "packaging", "prometheus")

// promtool runs promtool and fails the test unless it is content.
func promtool(t *testing.T, stdin io.Reader, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, prometheusTool(t, "promtool"), args...)
	cmd.Stdin = stdin
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// prometheusTool finds a program of Debian's package prometheus.
func prometheusTool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		testaid.Skip(t, name, " is not installed: test/install-debian.sh prometheus")
	}
	return path
}

// TestPrometheus_files holds the shipped files against promtool, and the alerts
// against what they are to do.
func TestPrometheus_files(t *testing.T) {
	t.Parallel()
	promtool(t, nil, "check", "config", filepath.Join(promFiles, "are-we-alive.yml"))
	promtool(t, nil, "check", "rules", filepath.Join(promFiles, "are-we-alive.rules.yml"))
	promtool(t, nil, "test", "rules", "prometheus_rules.yml")
}

// TestPrometheus runs Prometheus with the shipped job and rules, against a
// cluster of which the agent dies that it has the node list from, and comes
// back.
func TestPrometheus(t *testing.T) {
	t.Parallel()
	prometheusTool(t, "prometheus")
	c, hosts := webCluster(t)
	web1, web2 := c.agents[0], c.agents[1]
	for _, a := range c.agents {
		promtool(t, strings.NewReader(a.metrics()), "check", "metrics")
	}
	// A node that never answers, under maintenance, at an IPv6 address.
	for _, args := range [][]string{{"add", "spare", "::1", "1"}, {"maintain", "spare", "--for", "1h"}} {
		if r := run(t, "awa-agent", append(append([]string{"node"}, args...), "--agent", web2.addr())...); r.code != 0 {
			t.Fatal(r)
		}
	}
	c.awaitNodes(4)
	p := startPrometheus(t, hosts)
	targets := map[string]target{
		"web1": {"http://" + webAddr(web1) + "/metrics", "up"}, "web2": {"http://" + webAddr(web2) + "/metrics", "up"},
		"db1": {"http://" + webAddr(c.agents[2]) + "/metrics", "up"}, "spare": {"http://[::1]:25484/metrics", "down"},
	}
	online := map[string]string{}
	for _, a := range c.agents {
		for _, node := range []string{"web1", "web2", "db1"} {
			online[a.name+" "+node] = "1"
		}
		online[a.name+" spare"] = "0"
	}
	p.await(t, targets, online, nil)

	web1.kill()
	targets["web1"] = target{targets["web1"].url, "down"}
	dead := maps.Clone(online)
	for k := range dead {
		from, node, _ := strings.Cut(k, " ")
		if from == "web1" {
			delete(dead, k)
		} else if node == "web1" {
			dead[k] = "0"
		}
	}
	p.await(t, targets, dead, []string{"AwaNodeOffline web1"})
	p.dashboard(t)

	web1.start()
	targets["web1"] = target{targets["web1"].url, "up"}
	p.await(t, targets, online, nil)
}

// dashboard runs every query of the dashboard, with what Grafana puts in the place of its
// variables. Each one finds something.
func (p prometheus) dashboard(t *testing.T) {
	t.Helper()
	var clusters []string
	if err := p.get("label/awa_cluster/values", &clusters); err != nil || len(clusters) != 1 {
		t.Fatalf("the clusters are %v (%v)", clusters, err)
	}
	values := strings.NewReplacer("$cluster", clusters[0], "$agent", ".+")
	d := readDashboard(t)
	var queries []string
	for _, panel := range d.Panels {
		for _, target := range panel.Targets {
			queries = append(queries, values.Replace(target.Expr))
		}
	}
	for _, v := range d.Templating.List { // label_values(SERIES, LABEL) is Grafana's
		if series, ok := strings.CutPrefix(v.Definition, "label_values("); ok {
			series, label, _ := strings.Cut(strings.TrimSuffix(series, ")"), ", ")
			queries = append(queries, fmt.Sprintf("count by (%s) (%s)", label, values.Replace(series)))
		}
	}
	var offline string
	for _, q := range queries {
		var data struct {
			Result []struct {
				Metric map[string]string
				Value  [2]any
			}
		}
		if err := p.get("query?query="+url.QueryEscape(q), &data); err != nil || len(data.Result) == 0 {
			t.Errorf("a query of the dashboard finds nothing (%v): %s", err, q)
		}
		if strings.Contains(q, "$") {
			t.Errorf("a variable of the dashboard is not known: %s", q)
		}
		for _, r := range data.Result {
			if r.Metric["node"] == "web1" && r.Value[1] == "3" && strings.Contains(q, "awa_node_verdict") {
				offline = q
			}
		}
	}
	if offline == "" {
		t.Error("no query says that web1 is offline")
	}
}

// webCluster starts the agents web1, web2 and db1 with --web, and returns a file
// as /etc/hosts, which has the names of the first two.
//
// The shipped job wants the same port, 25484, on each node's host: so each has
// an address of its own in 127.0.0.0/8, of a network that is drawn for the
// test, where nobody else listens.
func webCluster(t *testing.T) (c *cluster, hosts string) {
	t.Helper()
	network := fmt.Sprintf("127.%d.%d.", 1+rand.IntN(254), 1+rand.IntN(254))
	c = &cluster{t: t}
	var names strings.Builder
	for i, name := range []string{"web1", "web2", "db1"} {
		host := fmt.Sprint(network, i+1)
		how := []string{"--first"}
		if i > 0 {
			how = []string{"--join", c.agents[0].addr()}
		}
		a := newAgent(t, name, append(how, "--my-host", host, "--web", host)...)
		at := net.JoinHostPort(host, "0")
		a.at.Store(&at)
		a.start()
		c.agents = append(c.agents, a)
		c.awaitNodes(i + 1)
		if i < 2 {
			fmt.Fprintln(&names, host, name)
		}
	}
	// What Prometheus does not get when it starts, it asks for half a minute
	// later, and an agent tells of targets after its first sweep.
	c.await(30*time.Second, func(a *agent) error {
		_, err := getPage("http://" + webAddr(a) + "/sd")
		return err
	})
	hosts = filepath.Join(t.TempDir(), "hosts")
	write(t, hosts, names.String())
	return c, hosts
}

// webAddr is where an agent of webCluster listens for Prometheus.
func webAddr(a *agent) string {
	host, _, err := net.SplitHostPort(a.addr())
	if err != nil {
		a.t.Fatal(err)
	}
	return net.JoinHostPort(host, "25484")
}

// metrics is the agent's page for Prometheus.
func (a *agent) metrics() string {
	a.t.Helper()
	page, err := getPage("http://" + webAddr(a) + "/metrics")
	if err != nil {
		a.t.Fatal(err)
	}
	return string(page)
}

func getPage(address string) ([]byte, error) {
	resp, err := client.Get(address)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %d %s", address, resp.StatusCode, b)
	}
	return b, err
}

// prometheus is a running Prometheus.
type prometheus struct{ api string }

// startPrometheus starts Prometheus with the shipped job and rules, beside a
// file of the site's own with what is not business of ours: how often.
// Before its version 2.43 it can't include a job, so that this file is the
// site's lines and then the shipped one as it is. The names in there are found
// in hosts, which takes the place of /etc/hosts for this process alone.
func startPrometheus(t *testing.T, hosts string) prometheus {
	t.Helper()
	if os.Geteuid() != 0 {
		testaid.Skip(t, "a file in the place of /etc/hosts takes root: run  sudo make system-test")
	}
	dir := t.TempDir()
	job, err := os.ReadFile(filepath.Join(promFiles, "are-we-alive.yml"))
	if err != nil {
		t.Fatal(err)
	}
	rules, err := filepath.Abs(filepath.Join(promFiles, "are-we-alive.rules.yml"))
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "prometheus.yml")
	write(t, config, fmt.Sprintf("global: {scrape_interval: 1s, evaluation_interval: 1s}\nrule_files: [%q]\n%s", rules,
		job))
	promtool(t, nil, "check", "config", config)

	// An address of its own, like the agents', and its usual port.
	listen := fmt.Sprintf("127.%d.%d.9:9090", 1+rand.IntN(254), 1+rand.IntN(254))
	cmd := exec.Command("unshare", "--mount", "sh", "-c", `mount --bind "$1" /etc/hosts && shift && exec "$@"`, "sh",
		hosts,
		prometheusTool(t, "prometheus"), "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir,
			"data"), "--web.listen-address="+listen)
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	var log testaid.Log
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill() // fails when it has ended, which the log tells
		cmd.Wait()
		if t.Failed() {
			t.Logf("the log of Prometheus:\n%s", log.String())
		}
	})
	return prometheus{"http://" + listen + "/api/v1/"}
}

// get asks Prometheus' API, and reads the data of the answer.
func (p prometheus) get(path string, data any) error {
	b, err := getPage(p.api + path)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, &struct{ Data any }{data})
}

// target is what Prometheus knows of one: where, and how it is.
type target struct{ url, health string }

// await waits until Prometheus knows of these targets, by node, these values of
// awa_node_online, by agent and node, and these firing alerts, each with its
// node.
func (p prometheus) await(t *testing.T, targets map[string]target, online map[string]string, alerts []string) {
	t.Helper()
	testaid.Await(t, time.Minute, func() error {
		if got, err := p.targets(); err != nil || !maps.Equal(got, targets) {
			return fmt.Errorf("the targets are %v, %v, want %v", got, err, targets)
		}
		if got, err := p.online(); err != nil || !maps.Equal(got, online) {
			return fmt.Errorf("online are %v, %v, want %v", got, err, online)
		}
		if got, err := p.firing(); err != nil || !slices.Equal(got, alerts) {
			return fmt.Errorf("these alerts fire: %v, %v, want %v", got, err, alerts)
		}
		return nil
	})
}

func (p prometheus) targets() (map[string]target, error) {
	var data struct {
		ActiveTargets []struct {
			Labels            map[string]string
			ScrapeURL, Health string
		}
	}
	if err := p.get("targets?state=active", &data); err != nil {
		return nil, err
	}
	found := map[string]target{}
	for _, a := range data.ActiveTargets {
		if a.Labels["job"] != "are-we-alive" || len(a.Labels["awa_cluster"]) != 32 {
			return nil, fmt.Errorf("a target has the labels %v", a.Labels)
		}
		found[a.Labels["instance"]] = target{a.ScrapeURL, a.Health}
	}
	if len(found) != len(data.ActiveTargets) {
		return nil, fmt.Errorf("some of the %d targets are the same", len(data.ActiveTargets))
	}
	return found, nil
}

func (p prometheus) online() (map[string]string, error) {
	var data struct {
		Result []struct {
			Metric map[string]string
			Value  [2]any // the time, and the value as a text
		}
	}
	if err := p.get("query?query="+url.QueryEscape("awa_node_online"), &data); err != nil {
		return nil, err
	}
	found := map[string]string{}
	for _, r := range data.Result {
		found[r.Metric["instance"]+" "+r.Metric["node"]] = fmt.Sprint(r.Value[1])
	}
	return found, nil
}

func (p prometheus) firing() ([]string, error) {
	var data struct {
		Alerts []struct {
			Labels map[string]string
			State  string
		}
	}
	if err := p.get("alerts", &data); err != nil {
		return nil, err
	}
	var found []string
	for _, a := range data.Alerts {
		if a.State == "firing" {
			found = append(found, a.Labels["alertname"]+" "+a.Labels["node"])
		}
	}
	slices.Sort(found)
	return found, nil
}
