//go:build system

package test

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/influxdata/line-protocol/v2/lineprotocol"

	"are-we-alive/pkg/awatest/testaid"
)

// telegrafs are the versions of Telegraf that are tried, with the shipped
// files for them: with 1.39 the form of commands has changed.
var telegrafs = map[string][]string{
	"v1.37.2": {"check_awa-influx-before-1.39.conf", "check_awa-nagios-before-1.39.conf"},
	"v1.39.0": {"check_awa-influx.conf", "check_awa-nagios.conf"},
}

// telegrafHost is what Telegraf calls the host it runs on.
const telegrafHost = "monitor"

// TestTelegraf runs Telegraf on the shipped files, against a cluster with a
// key of which an agent dies and comes back, and compares what it writes to
// its file output with what check_awa says.
func TestTelegraf(t *testing.T) {
	t.Parallel()
	for version, files := range telegrafs {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			bin := buildTelegraf(t, version)
			agents, checkKey := keyedCluster(t)
			var addrs []string
			for _, a := range agents {
				addrs = append(addrs, a.addr())
			}
			site := checkSite{agents: strings.Join(addrs, ","), key: checkKey}
			tg := startTelegraf(t, bin, site, files)

			tg.await(t, site, 0, `AWA OK - 3 of 3 nodes online`+lastMajority)
			// The first that is asked: the record shows the next one's view.
			agents[0].kill()
			tg.await(t, site, 2, `AWA CRITICAL - 1 of 3 nodes offline: a1 \(the host answers, its agent is not running.*`)
			agents[0].start()
			tg.await(t, site, 0, `AWA OK - 3 of 3 nodes online`+lastMajority)
			tg.checkTimes(t)
		})
	}
}

// buildTelegraf builds a version of Telegraf with what the test needs of it.
func buildTelegraf(t *testing.T, version string) string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "go", "install",
		"-tags", "custom,inputs.exec,outputs.file,parsers.influx,parsers.nagios,serializers.influx",
		"github.com/influxdata/telegraf/cmd/telegraf@"+version)
	cmd.Env = append(os.Environ(), "GOBIN="+dir, "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		testaid.Skip(t, "Telegraf ", version, " can't be built: ", err, "\n", string(out))
	}
	return filepath.Join(dir, "telegraf")
}

// keyedCluster starts agents a1 to a3 with a key, a1 with a label, and returns
// them and the file of their check key.
func keyedCluster(t *testing.T) (agents []*agent, checkKey string) {
	t.Helper()
	cluster, checkKey := filepath.Join(t.TempDir(), "cluster.key"), filepath.Join(t.TempDir(), "check.key")
	rewrite(t, cluster, newKey(t))
	r := run(t, "awa-agent", "key", "check", "--key-file", cluster)
	if r.code != 0 {
		t.Fatal(r)
	}
	rewrite(t, checkKey, strings.TrimSpace(r.out))
	for i := range 3 {
		how := []string{"--first"}
		if i > 0 {
			how = []string{"--join", agents[0].addr()}
		}
		a := newAgent(t, fmt.Sprint("a", i+1), append(how, "--key-file", cluster)...)
		a.start()
		agents = append(agents, a)
		testaid.Await(t, 30*time.Second, func() error {
			if r := run(t, "check_awa", "-H", a.addr(), "-k", checkKey); !strings.HasPrefix(r.out,
				fmt.Sprintf("AWA OK - %d of %[1]d ", i+1)) {
				return fmt.Errorf("%d %s", r.code, r.out)
			}
			return nil
		})
	}
	r = run(t, "awa-agent", "node", "set", "a1", "--label", "role=web", "--agent", agents[0].addr(), "--key-file", cluster)
	if r.code != 0 {
		t.Fatal(r)
	}
	return agents, checkKey
}

// checkSite is what differs from site to site.
type checkSite struct{ agents, key string }

// telegraf is a running Telegraf.
type telegraf struct {
	began  time.Time
	record string // the file it writes
}

// startTelegraf starts Telegraf on shipped files, beside a file of the site's
// own with what is not business of ours: how often, and where to.
func startTelegraf(t *testing.T, bin string, site checkSite, files []string) *telegraf {
	t.Helper()
	dir := t.TempDir()
	tg := &telegraf{began: time.Now(), record: filepath.Join(dir, "metrics.out")}
	own := filepath.Join(dir, "telegraf.conf")
	write(t, own, fmt.Sprintf(`
[agent]
  interval = "500ms"
  flush_interval = "100ms"
  hostname = %q
[[outputs.file]]
  files = [%q]
  data_format = "influx"
`, telegrafHost, tg.record))
	args := []string{"--config", own}
	for _, f := range files {
		args = append(args, "--config", filepath.Join("..", "packaging", "telegraf", f))
	}
	cmd := exec.Command(bin, args...)
	cmd.Env = environment("PATH="+os.Getenv(envBin), "AWA_AGENTS="+site.agents, "AWA_CHECK_KEY="+site.key)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	var log testaid.Log
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill() // fails when it has ended, which the log tells
		cmd.Wait()
		text := log.String()
		if strings.Contains(text, " E! ") || strings.Contains(text, "DeprecationWarning") {
			t.Error("Telegraf complains")
		}
		if t.Failed() {
			t.Logf("the log of Telegraf:\n%s", text)
		}
	})
	return tg
}

// await waits until the newest that Telegraf has written, in both formats, is
// what check_awa says, with that exit code and that text.
func (tg *telegraf) await(t *testing.T, site checkSite, code int, text string) {
	t.Helper()
	args := []string{"-H", site.agents, "-k", site.key}
	testaid.Await(t, 30*time.Second, func() error {
		influx := run(t, "check_awa", append(args, "-o", "influx")...)
		plugin := run(t, "check_awa", args...)
		line, _, _ := strings.Cut(plugin.out, " | ")
		if plugin.code != code || !regexp.MustCompile(`\A(?:`+text+`)\z`).MatchString(line) {
			return fmt.Errorf("check_awa says %d %s", plugin.code, plugin.out)
		}
		recorded, err := tg.points()
		if err != nil {
			return err
		}
		if err := compareInflux(recorded, influx.out); err != nil {
			return err
		}
		return compareNagios(recorded, plugin)
	})
}

// point is a line of the Influx line protocol.
type point struct {
	name   string
	tags   map[string]string
	fields map[string]any
	at     time.Time
}

// points reads Telegraf's record, up to the last whole line.
func (tg *telegraf) points() ([]point, error) {
	b, err := os.ReadFile(tg.record)
	if err != nil {
		return nil, err
	}
	return decodePoints(b[:bytes.LastIndexByte(b, '\n')+1])
}

func decodePoints(b []byte) ([]point, error) {
	var all []point
	for d := lineprotocol.NewDecoderWithBytes(b); d.Next(); {
		name, err := d.Measurement()
		if err != nil {
			return nil, err
		}
		p := point{name: string(name), tags: map[string]string{}, fields: map[string]any{}}
		for {
			key, value, err := d.NextTag()
			if err != nil {
				return nil, err
			}
			if key == nil {
				break
			}
			p.tags[string(key)] = string(value)
		}
		for {
			key, value, err := d.NextField()
			if err != nil {
				return nil, err
			}
			if key == nil {
				break
			}
			p.fields[string(key)] = value.Interface()
		}
		if p.at, err = d.Time(lineprotocol.Nanosecond, time.Time{}); err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, nil
}

// newest returns the points of a measurement that have its newest time, each
// under the value of a tag.
func newest(all []point, name, tag string) map[string]point {
	found := map[string]point{}
	var at time.Time
	for _, p := range all {
		if p.name != name || p.at.Before(at) {
			continue
		}
		if p.at.After(at) {
			clear(found)
			at = p.at
		}
		found[p.tags[tag]] = p
	}
	return found
}

// compareInflux holds the newest awa_cluster and awa_node of a record against
// what check_awa printed: all points, their tags and their fields. What was
// measured, which are the floats, differs from sweep to sweep.
func compareInflux(recorded []point, printed string) error {
	own, err := decodePoints([]byte(printed))
	if err != nil {
		return err
	}
	if n := strings.Count(printed, "\n"); len(own) != n || n != 4+strings.Count(printed, "awa_health,") {
		return fmt.Errorf("check_awa printed %d lines, of which %d are points:\n%s", n, len(own), printed)
	}
	clusters, nodes := newest(recorded, "awa_cluster", ""), newest(recorded, "awa_node", "node")
	if len(clusters) != 1 || len(nodes) != 3 {
		return fmt.Errorf("the newest in the record are %d clusters and %d nodes", len(clusters), len(nodes))
	}
	for _, want := range own {
		if want.name == "awa_health" { // it comes and goes with the voters
			continue
		}
		got := clusters[""]
		if want.name == "awa_node" {
			got = nodes[want.tags["node"]]
		} else {
			want.tags["host"] = telegrafHost // as it adds to what has no host
		}
		if !got.at.Equal(clusters[""].at) {
			return fmt.Errorf("in the record %v has another time than the cluster %v", got, clusters[""])
		}
		if !maps.Equal(got.tags, want.tags) {
			return fmt.Errorf("the record has the tags %v, want %v", got.tags, want.tags)
		}
		if !maps.EqualFunc(got.fields, want.fields, sameButMeasured) {
			return fmt.Errorf("the record has of %v\n%v, want\n%v", want.tags, got.fields, want.fields)
		}
	}
	if role := nodes["a1"].tags["role"]; role != "web" {
		return fmt.Errorf("the label role of a1 is recorded as %q", role)
	}
	return nil
}

// sameButMeasured compares two fields, of floats only that they are some.
func sameButMeasured(a, b any) bool {
	_, measured := a.(float64)
	_, both := b.(float64)
	return measured && both || a == b
}

// pluginValue is a value of perfdata whose thresholds are plain numbers.
var pluginValue = regexp.MustCompile(`^([a-z_]+)=([0-9.]+)(s?);([0-9.]*);([0-9.]*);(0)(?:;([0-9.]*))?$`)

// compareNagios holds the newest nagios_state and nagios of a record against
// what check_awa printed as a plugin.
func compareNagios(recorded []point, plugin result) error {
	states := newest(recorded, "nagios_state", "")
	text, perfdata, _ := strings.Cut(strings.TrimSpace(plugin.out), " | ")
	fields := map[string]any{"state": int64(plugin.code), "service_output": text}
	if got := states[""]; !maps.Equal(got.fields, fields) || got.tags["check"] != "awa" {
		return fmt.Errorf("the record has %v, want %v", got, fields)
	}
	values := newest(recorded, "nagios", "perfdata")
	var labels []string
	for v := range strings.FieldsSeq(perfdata) {
		m := pluginValue.FindStringSubmatch(v)
		if m == nil {
			return fmt.Errorf("%q is not perfdata as it should be", v)
		}
		labels = append(labels, m[1])
		got := values[m[1]]
		if got.tags["unit"] != m[3] || got.tags["check"] != "awa" {
			return fmt.Errorf("the record has %v for %q", got, v)
		}
		want := map[string]any{}
		number := func(field, s string) {
			if f, err := strconv.ParseFloat(s, 64); err == nil {
				want[field] = f
			}
		}
		number("value", m[2])
		if number("warning_gt", m[4]); m[4] != "" {
			want["warning_lt"] = 0.
		}
		if number("critical_gt", m[5]); m[5] != "" {
			want["critical_lt"] = 0.
		}
		number("min", m[6])
		number("max", m[7])
		if m[3] == "s" { // measured again
			want["value"] = got.fields["value"]
		}
		if !maps.Equal(got.fields, want) {
			return fmt.Errorf("the record has %v for %q, want %v", got.fields, v, want)
		}
	}
	if got := slices.Sorted(maps.Keys(values)); !slices.Equal(got, slices.Sorted(slices.Values(labels))) {
		return fmt.Errorf("the record has the values %v, want %v", got, labels)
	}
	return nil
}

// checkTimes asserts that check_awa's times have come through in nanoseconds.
func (tg *telegraf) checkTimes(t *testing.T) {
	t.Helper()
	points, err := tg.points()
	if err != nil {
		t.Fatal(err)
	}
	rounded := true
	for _, p := range points {
		if p.at.Before(tg.began) || p.at.After(time.Now()) {
			t.Errorf("%v has a time out of the test's", p)
		}
		if strings.HasPrefix(p.name, "awa_") && p.at.Nanosecond()%1000 != 0 {
			rounded = false
		}
	}
	if rounded {
		t.Error("the times of the sweeps are rounded")
	}
}
