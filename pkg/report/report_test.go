package report_test

import (
	"bytes"
	"errors"
	"math"
	"regexp"
	"slices"
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
		st.Voters = nil // judged in TestEvaluate_majority
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
		"mismatch is not alive":          {mixed, "", "1", report.Critical, report.Counts{Nodes: 10, Online: 6, Offline: 1, Mismatch: 1, Unreachable: 1, Maintenance: 1}},
		"unreachable doesn't add up":     {mixed, "", "2", report.Warning, report.Counts{Nodes: 10, Online: 6, Offline: 1, Mismatch: 1, Unreachable: 1, Maintenance: 1}},
		"no verdict is not alive":        {unheard, "", "0", report.Critical, report.Counts{Nodes: 3, Online: 2, Offline: 1}},
		"no nodes":                       {dead(0, 0), "", "0", report.Unknown, report.Counts{}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r := report.Evaluate(test.st, all, rules(t, test.warning, test.critical), now)
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

// nodeItem is one value of the performance data of nodes.
var nodeItem = regexp.MustCompile(`^rtt-[A-Za-z0-9._~-]{1,15}=[0-9]+\.[0-9]{6}s$`)

// checkNodePerfdata fails when s is not one line of performance data behind a
// text, or nothing.
func checkNodePerfdata(t *testing.T, s string) {
	t.Helper()
	if s == "" {
		return
	}
	text, perf, ok := strings.Cut(s, " | ")
	if perf, ok = strings.CutSuffix(perf, "\n"); !ok || text == "" {
		t.Errorf("it is no line: %q", s)
	}
	seen := map[string]bool{}
	for item := range strings.SplitSeq(perf, " ") {
		label, _, _ := strings.Cut(item, "=")
		if !nodeItem.MatchString(item) || seen[label] {
			t.Errorf("%q is no perfdata of its own", item)
		}
		seen[label] = true
	}
}

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
	r := report.Evaluate(st, all, rules(t, "@"+long+".999999%:"+long+".9999999%", "@"+long+".999999%:"+long+".9999999%"), now)
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
		if err := report.Nagios(&b, report.NoAnswer(failures[:n], report.Critical, now)); err != nil {
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

// points are the lines that a result must become, taken from it by the words
// of Influx's comment.
func pointsOf(r report.Result) []point {
	st, c := r.Status, r.Counts
	if st == nil {
		return []point{{"awa_cluster", nil, map[string]any{"state": int64(r.State), "error": report.Printable(r.Text())}, now}}
	}
	tags := func(more ...string) map[string]string {
		found := map[string]string{}
		more = append(more, "agent", st.Agent, "cluster", st.Cluster)
		for i := 0; i < len(more); i += 2 {
			value := report.Printable(more[i+1])
			if strings.HasSuffix(value, `\`) {
				value = strings.TrimSuffix(value, `\`) + "?"
			}
			if value != "" {
				found[more[i]] = value
			}
		}
		return found
	}
	flag := func(b bool) int64 {
		if b {
			return 1
		}
		return 0
	}
	fields := map[string]any{
		"state": int64(r.State), "nodes": int64(c.Nodes), "online": int64(c.Online), "offline": int64(c.Offline), "mismatch": int64(c.Mismatch),
		"unreachable": int64(c.Unreachable), "maintenance": int64(c.Maintenance), "isolated": flag(st.Isolated), "no_majority": flag(len(r.DeadVoters) > 0),
		"took": st.Took.Seconds(), "list_state": int64(st.State), "voters": int64(len(st.Voters)),
	}
	if r.Maxima.Behind != nil {
		fields["behind_max"], fields["rtt_max"] = int64(*r.Maxima.Behind), r.Maxima.RTT.Seconds()
	}
	if r.Maxima.Skew != nil {
		fields["skew_max"] = r.Maxima.Skew.Seconds()
	}
	if st.Leader != "" {
		fields["leader"] = report.Printable(st.Leader)
	}
	if c.Nodes == 0 {
		fields["error"] = r.Text()
	}
	points := []point{{"awa_cluster", tags(), fields, st.SweptAt}}
	taken := strings.Fields("agent cluster host node online verdict maintenance port rtt behind skew skew_error error time")
	for _, n := range st.Nodes {
		more := []string{"host", n.Node.Host, "node", n.Node.Name}
		for key, value := range n.Node.Labels {
			if slices.Contains(taken, key) || strings.HasPrefix(key, "label_") {
				key = "label_" + key
			}
			if awa.CheckName(key) == nil {
				more = append(more, key, value)
			}
		}
		online := n.Verdict == awa.Online
		fields := map[string]any{
			"online": flag(online), "verdict": report.Printable(string(n.Verdict)), "maintenance": flag(n.Node.InMaintenance(now)), "port": int64(n.Node.Port),
		}
		if online {
			fields["rtt"], fields["behind"] = n.RTT.Seconds(), int64(n.Behind)
			if n.SkewError > 0 {
				fields["skew"], fields["skew_error"] = n.Skew.Seconds(), n.SkewError.Seconds()
			}
		} else {
			fields["error"] = report.Printable(report.Reason(n))
		}
		points = append(points, point{"awa_node", tags(more...), fields, st.SweptAt})
	}
	return points
}

// checkInflux fails when the lines, read again, are not the result.
func checkInflux(t *testing.T, b []byte, r report.Result) {
	t.Helper()
	got, want := decode(t, b), pointsOf(r)
	if len(got) != len(want) || bytes.Count(b, []byte("\n")) != len(want) {
		t.Fatalf("%d points, want %d, in %q", len(got), len(want), b)
	}
	for i := range want {
		comparePoints(t, got[i], want[i])
	}
}

func TestInflux_decoded(t *testing.T) {
	for name, r := range results(t) {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			if err := report.Influx(&b, r); err != nil {
				t.Fatal(err)
			}
			checkInflux(t, b.Bytes(), r)
		})
	}
}

func TestInflux_noAnswer(t *testing.T) {
	r := report.NoAnswer([]report.Failure{{Agent: "h:1", Err: errors.New("connect: connection refused")}}, report.Critical, now)
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

// TestFormats_writeError proves that a closed pipe is noticed.
func TestFormats_writeError(t *testing.T) {
	for name, r := range results(t) {
		for kind, write := range kinds {
			var b bytes.Buffer
			if err := write(&b, r); err != nil || b.Len() == 0 { // there may be no node to have perfdata
				continue
			}
			if err := write(closed{}, r); !errors.Is(err, errClosed) {
				t.Errorf("%s of %s says %v", kind, name, err)
			}
		}
	}
}

var errClosed = errors.New("closed")

type closed struct{}

func (closed) Write([]byte) (int, error) { return 0, errClosed }
