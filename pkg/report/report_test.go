package report_test

import (
	"bytes"
	"errors"
	"math"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/influxdata/line-protocol/v2/lineprotocol"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/report"
)

func TestEvaluate(t *testing.T) {
	dead := func(n, of int) awa.ClusterStatus {
		st := cluster(of)
		for i := range n {
			kill(st, i, awa.StageConnect, "connection refused")
		}
		return st
	}
	excused := dead(2, 10)
	maintain(excused, 0)
	over := dead(1, 3)
	over.Nodes[0].Node.Maintenance = now.Format(time.RFC3339)
	unheard := cluster(3)
	unheard.Nodes[2].Verdict = "" // an agent that says nothing of it
	mixed := dead(4, 10)
	for i, v := range []awa.Verdict{awa.Unreachable, awa.Unreachable, awa.Mismatch} {
		mixed.Nodes[i].Verdict = v
	}
	maintain(mixed, 1)
	apart := dead(1, 3)
	apart.Nodes[0].Verdict = awa.Unreachable
	tests := map[string]struct {
		st                awa.ClusterStatus
		warning, critical string
		want              report.State
		counts            report.Counts
	}{
		"all well":                       {dead(0, 3), "", "0", report.OK, report.Counts{Nodes: 3, Online: 3}},
		"one dead":                       {dead(1, 3), "", "0", report.Critical, report.Counts{Nodes: 3, Online: 2, Offline: 1}},
		"no rules":                       {dead(3, 3), "", "", report.OK, report.Counts{Nodes: 3, Offline: 3}},
		"critical goes before warning":   {dead(3, 3), "0", "2", report.Critical, report.Counts{Nodes: 3, Offline: 3}},
		"warning below critical":         {dead(2, 3), "0", "2", report.Warning, report.Counts{Nodes: 3, Online: 1, Offline: 2}},
		"percent of all nodes":           {dead(3, 10), "20%", "30%", report.Warning, report.Counts{Nodes: 10, Online: 7, Offline: 3}},
		"maintenance excuses":            {excused, "", "1", report.OK, report.Counts{Nodes: 10, Online: 8, Offline: 1, Maintenance: 1}},
		"percent counts excused ones in": {excused, "10%", "9%", report.Critical, report.Counts{Nodes: 10, Online: 8, Offline: 1, Maintenance: 1}},
		"maintenance that is over":       {over, "", "0", report.Critical, report.Counts{Nodes: 3, Online: 2, Offline: 1}},
		"unreachable is a warning":       {apart, "", "0", report.Warning, report.Counts{Nodes: 3, Online: 2, Unreachable: 1}},
		"unreachable, with no rules":     {apart, "", "", report.Warning, report.Counts{Nodes: 3, Online: 2, Unreachable: 1}},
		"mismatch is not alive":          {mixed, "", "1", report.Critical, report.Counts{Nodes: 10, Online: 6, Offline: 2, Unreachable: 1, Maintenance: 1}},
		"unreachable doesn't add up":     {mixed, "", "2", report.Warning, report.Counts{Nodes: 10, Online: 6, Offline: 2, Unreachable: 1, Maintenance: 1}},
		"no verdict is not alive":        {unheard, "", "0", report.Critical, report.Counts{Nodes: 3, Online: 2, Offline: 1}},
		"no nodes":                       {dead(0, 0), "", "0", report.Unknown, report.Counts{}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r := report.Evaluate(test.st, rules(t, test.warning, test.critical), now)
			if r.State != test.want || r.Counts != test.counts {
				t.Errorf("it is %v with %+v, want %v with %+v", r.State, r.Counts, test.want, test.counts)
			}
		})
	}
}

func TestState_ExitCode(t *testing.T) {
	for s := report.State(-3); s < 300; s++ {
		if code := s.ExitCode(); code < 0 || code > 3 || s >= 0 && s <= 3 && code != int(s) {
			t.Errorf("state %d exits with %d", s, code)
		}
	}
}

// perfItem is one value of the performance data as the guidelines allow it
// and as the project narrows it: no quotes, no U, no exponent.
var perfItem = regexp.MustCompile(`^([a-z_]{1,19})=-?[0-9]+(\.[0-9]+)?(s?)(;[@~:.0-9-]*){0,2}(;[0-9.]*){0,2}$`)

// checkLine fails when b is not one line that a Nagios plugin may print.
func checkLine(t *testing.T, b []byte) {
	t.Helper()
	line, ok := strings.CutSuffix(string(b), "\n")
	if !ok || len(b) >= 1024 {
		t.Errorf("it has %d bytes and ends in %q", len(b), b[len(b)-1:])
	}
	text, perf, _ := strings.Cut(line, " | ")
	if !utf8.ValidString(line) || strings.ContainsAny(text, "|\"'`\\$&;<>") || strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		t.Errorf("the text is not safe: %q", text)
	}
	seen := map[string]bool{}
	for item := range strings.SplitSeq(perf, " ") {
		m := perfItem.FindStringSubmatch(item)
		if perf != "" && (m == nil || seen[m[1]]) {
			t.Errorf("%q is no perfdata of its own", item)
		} else if m != nil {
			seen[m[1]] = true
		}
	}
}

func TestNagios_line(t *testing.T) {
	for name, r := range results(t) {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			if err := report.Nagios(&b, r); err != nil {
				t.Fatal(err)
			}
			checkLine(t, b.Bytes())
		})
	}
}

// TestNagios_size makes every part as long as it gets.
func TestNagios_size(t *testing.T) {
	const n = 100_000
	long := strings.Repeat("9", 9)
	st := cluster(n)
	for i := range st.Nodes {
		kill(st, i, awa.StageConnect, strings.Repeat("x", 1000))
		st.Nodes[i].Node.Name = strings.Repeat("n", awa.MaxName)
		if i%2 == 0 {
			maintain(st, i)
		}
	}
	st.Nodes[7].Verdict, st.Nodes[7].RTT = awa.Online, math.MaxInt64
	r := report.Evaluate(st, rules(t, "@"+long+".999999%:"+long+".9999999%", "@"+long+".999999%:"+long+".9999999%"), now)
	r.Took = math.MaxInt64
	var b bytes.Buffer
	if err := report.Nagios(&b, r); err != nil {
		t.Fatal(err)
	}
	checkLine(t, b.Bytes())
	if !strings.Contains(b.String(), " more | online=1;;;0;100000 ") {
		t.Errorf("got %s", &b)
	}

	failures := make([]report.Failure, 500)
	for i := range failures {
		failures[i] = report.Failure{Agent: strings.Repeat("h", 260), Err: errors.New(strings.Repeat("e", 1000))}
	}
	for _, n := range []int{0, 1, 2, 500} {
		b.Reset()
		if err := report.Nagios(&b, report.NoAnswer(failures[:n], now)); err != nil {
			t.Fatal(err)
		}
		checkLine(t, b.Bytes())
	}
}

// TestTable_bar proves that a table can follow a plugin's line.
func TestTable_bar(t *testing.T) {
	for name, r := range results(t) {
		var b bytes.Buffer
		if err := report.Table(&b, r, false); err != nil {
			t.Fatal(err)
		}
		if strings.ContainsRune(b.String(), '|') || strings.ContainsFunc(b.String(), func(r rune) bool { return r < ' ' && r != '\n' || r == 0x7f }) {
			t.Errorf("%s holds a bar or a control character: %q", name, &b)
		}
		want := len(r.Failures) + r.Counts.Nodes + 1
		if name == "isolated" || name == "better_view" { // a sentence says whose view it is
			want++
		}
		if r.Status != nil && strings.Count(b.String(), "\n") != want {
			t.Errorf("%s has %d lines, want %d", name, strings.Count(b.String(), "\n"), want)
		}
	}
}

// point is a decoded line of line protocol.
type point struct {
	measurement string
	tags        map[string]string
	fields      map[string]any
	at          time.Time
}

func decode(t *testing.T, b []byte) (points []point) {
	t.Helper()
	must := func(err error) {
		if err != nil {
			t.Fatalf("%v in %q", err, b)
		}
	}
	for d := lineprotocol.NewDecoderWithBytes(b); d.Next(); {
		p := point{tags: map[string]string{}, fields: map[string]any{}}
		m, err := d.Measurement()
		must(err)
		p.measurement = string(m)
		for {
			k, v, err := d.NextTag()
			must(err)
			if k == nil {
				break
			}
			p.tags[string(k)] = string(v)
		}
		for {
			k, v, err := d.NextField()
			must(err)
			if k == nil {
				break
			}
			p.fields[string(k)] = v.Interface()
		}
		p.at, err = d.Time(lineprotocol.Nanosecond, time.Time{})
		must(err)
		points = append(points, p)
	}
	return points
}

func TestInflux_decoded(t *testing.T) {
	st := cluster(3)
	kill(st, 1, awa.StageConnect, `say "no", a=b c`)
	maintain(st, 2)
	st.Nodes[2].Node.Host = "fe80::1"
	st.Nodes[2].Behind, st.Nodes[2].Skew, st.Nodes[2].SkewError = 4, -1500*time.Millisecond, 500*time.Microsecond
	st.Isolated = true
	r := report.Evaluate(st, rules(t, "", "0"), now)
	var b bytes.Buffer
	if err := report.Influx(&b, r); err != nil {
		t.Fatal(err)
	}
	got := decode(t, b.Bytes())
	if len(got) != 4 {
		t.Fatalf("%d points, want 4", len(got))
	}
	tags := map[string]string{"agent": "n1", "cluster": st.Cluster}
	want := []point{
		{"awa_cluster", tags, map[string]any{
			"state": int64(2), "nodes": int64(3), "online": int64(2), "offline": int64(1), "unreachable": int64(0), "maintenance": int64(0), "isolated": int64(1),
			"rtt_max": 0.000202, "took": 0.0042, "list_state": int64(3), "voters": int64(3), "leader": "n2",
		}, st.SweptAt},
		{"awa_node", with(tags, "host", "10.0.0.1", "node", "n1"), map[string]any{
			"online": int64(1), "verdict": "online", "maintenance": int64(0), "port": int64(25483), "rtt": 0.0002, "behind": int64(0),
		}, st.SweptAt},
		{"awa_node", with(tags, "host", "10.0.0.2", "node", "n2"), map[string]any{
			"online": int64(0), "verdict": "offline", "maintenance": int64(0), "port": int64(25483), "error": `connect: say "no", a=b c`,
		}, st.SweptAt},
		{"awa_node", with(tags, "host", "fe80::1", "node", "n3"), map[string]any{
			"online": int64(1), "verdict": "online", "maintenance": int64(1), "port": int64(25483), "rtt": 0.000202,
			"behind": int64(4), "skew": -1.5, "skew_error": 0.0005,
		}, st.SweptAt},
	}
	for i := range want {
		comparePoints(t, got[i], want[i])
	}
}

func TestInflux_noAnswer(t *testing.T) {
	r := report.NoAnswer([]report.Failure{{Agent: "h:1", Err: errors.New("connect: connection refused")}}, now)
	var b bytes.Buffer
	if err := report.Influx(&b, r); err != nil {
		t.Fatal(err)
	}
	got := decode(t, b.Bytes())
	if len(got) != 1 {
		t.Fatalf("%d points, want 1", len(got))
	}
	comparePoints(t, got[0], point{"awa_cluster", nil, map[string]any{
		"state": int64(2), "error": "no agent answers: h:1 (connect: connection refused)",
	}, now})
}

func with(tags map[string]string, more ...string) map[string]string {
	all := map[string]string{}
	for k, v := range tags {
		all[k] = v
	}
	for i := 0; i < len(more); i += 2 {
		all[more[i]] = more[i+1]
	}
	return all
}

func comparePoints(t *testing.T, got, want point) {
	t.Helper()
	if got.measurement != want.measurement || !got.at.Equal(want.at) || len(got.tags) != len(want.tags) || len(got.fields) != len(want.fields) {
		t.Errorf("got %v, want %v", got, want)
	}
	for k, v := range want.tags {
		if got.tags[k] != v {
			t.Errorf("the tag %s is %q, want %q", k, got.tags[k], v)
		}
	}
	for k, v := range want.fields {
		if got.fields[k] != v {
			t.Errorf("the field %s is %v, want %v", k, got.fields[k], v)
		}
	}
}

// FuzzFormats hands every format what no agent should send.
func FuzzFormats(f *testing.F) {
	f.Add("n1", "10.0.0.1", "connect", "connection refused", "offline", "agent", 3, true)
	f.Add("a|b", `c\`, "", "\n\x00\xff", "x;y", "'\"`$", 1, false)
	f.Add("", "", "", "", "", "", 12, true)
	f.Add("=, ", ",", "=", " ", "online", "\\", 2, false)
	f.Fuzz(func(t *testing.T, name, host, stage, why, verdict, agent string, n int, answered bool) {
		n = 1 + n&31
		st := cluster(n)
		for i := range st.Nodes {
			kill(st, i, awa.Stage(stage), why)
			st.Nodes[i].Node.Name, st.Nodes[i].Node.Host, st.Nodes[i].Verdict = name, host, awa.Verdict(verdict)
		}
		st.Agent, st.Cluster, st.Leader = agent, agent, agent
		r := report.Evaluate(st, report.Rules{}, now)
		r.Failures = []report.Failure{{Agent: host, Err: errors.New(why)}}
		if !answered {
			r = report.NoAnswer(r.Failures, now)
			n = 0
		}
		var b bytes.Buffer
		for kind, write := range kinds {
			b.Reset()
			if err := write(&b, r); err != nil {
				t.Fatalf("%s: %v", kind, err)
			}
			switch kind {
			case "nagios":
				checkLine(t, b.Bytes())
			case "table":
				if strings.ContainsRune(b.String(), '|') || !utf8.Valid(b.Bytes()) {
					t.Errorf("the table is %q", &b)
				}
			case "influx":
				if got := decode(t, b.Bytes()); len(got) != n+1 || bytes.Count(b.Bytes(), []byte("\n")) != n+1 {
					t.Errorf("%d points, want %d, in %q", len(got), n+1, &b)
				}
			case "json":
				if bytes.Count(b.Bytes(), []byte("\n")) != 1 || !utf8.Valid(b.Bytes()) {
					t.Errorf("the object is %q", &b)
				}
			}
		}
	})
}

// TestFormats_writeError proves that a closed pipe is noticed.
func TestFormats_writeError(t *testing.T) {
	for name, r := range results(t) {
		for kind, write := range kinds {
			if err := write(closed{}, r); !errors.Is(err, errClosed) {
				t.Errorf("%s of %s says %v", kind, name, err)
			}
		}
	}
}

var errClosed = errors.New("closed")

type closed struct{}

func (closed) Write([]byte) (int, error) { return 0, errClosed }
