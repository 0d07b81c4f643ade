package report_test

import (
	"bytes"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/influxdata/line-protocol/v2/lineprotocol"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/report"
)

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
		return []point{{"awa_cluster", asked(r), map[string]any{"state": int64(r.State), "error": report.Printable(r.Text())},
			now}}
	}
	tags := func(more ...string) map[string]string {
		found := map[string]string{}
		more = append(more, "cluster", st.Cluster, "cluster_name", st.ClusterName)
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
		"state": int64(r.State), "nodes": int64(c.Nodes), "online": int64(c.Online), "offline": int64(c.Offline),
		"mismatch":    int64(c.Mismatch),
		"unreachable": int64(c.Unreachable), "maintenance": int64(c.Maintenance),
		"isolated": flag(st.Isolated), "no_majority": flag(len(r.DeadVoters) > 0 ||
			slices.ContainsFunc(st.Health, func(c awa.Condition) bool { return c.Code == awa.NoMajority })),
		"agent": report.Printable(st.Agent),
		"took":  st.Took.Seconds(), "list_state": int64(st.State), "voters": int64(len(st.Voters)),
	}
	if r.Maxima.Behind != nil {
		fields["behind_max"], fields["rtt_max"] = int64(*r.Maxima.Behind), r.Maxima.RTT.Seconds()
	}
	if r.Maxima.Skew != nil {
		fields["skew_max"] = r.Maxima.Skew.Seconds()
	}
	fields["health"] = int64(r.HealthProblems())
	if st.Leader != "" {
		fields["leader"] = report.Printable(st.Leader)
	}
	if c.All() == 0 {
		fields["error"] = r.Text()
	}
	points := []point{{"awa_cluster", tags("asked", asked(r)["asked"]), fields, now}}
	taken := strings.Fields("agent cluster cluster_name since health host node online verdict maintenance port rtt behind " +
		"skew skew_error error time")
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
			"online": flag(online), "verdict": report.Printable(string(n.Verdict)),
			"maintenance": flag(n.Node.InMaintenance(now)), "port": int64(n.Node.Port),
			"agent": report.Printable(st.Agent), "health": int64(0),
		}
		if !n.Since.IsZero() {
			fields["since"] = n.Since.Unix()
		}
		if online {
			fields["rtt"], fields["behind"] = n.RTT.Seconds(), int64(n.Behind)
			if n.SkewError > 0 {
				fields["skew"], fields["skew_error"] = n.Skew.Seconds(), n.SkewError.Seconds()
			}
		} else {
			fields["error"] = report.Printable(report.Reason(r, n))
		}
		points = append(points, point{"awa_node", tags(more...), fields, now})
	}
	return points
}

// asked is the tag of the agents that were asked.
func asked(r report.Result) map[string]string {
	if len(r.Asked) == 0 {
		return nil
	}
	return map[string]string{"asked": strings.Join(r.Asked, ",")}
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
	r := report.NoAnswer([]report.Failure{{Agent: "h:1", Err: errors.New("connect: connection refused")}},
		report.Critical, now)
	r.Asked = []string{"h:1", "[fd00::1]:2"}
	var b bytes.Buffer
	if err := report.Influx(&b, r); err != nil {
		t.Fatal(err)
	}
	got := decode(t, b.Bytes())
	if len(got) != 1 {
		t.Fatalf("%d points, want 1", len(got))
	}
	comparePoints(t, got[0], point{"awa_cluster", map[string]string{"asked": "h:1,[fd00::1]:2"}, map[string]any{
		"state": int64(2), "error": "no agent answers: h:1 (connect: connection refused)",
	}, now})
}

func comparePoints(t *testing.T, got, want point) {
	t.Helper()
	if got.measurement != want.measurement || !got.at.Equal(want.at) || len(got.tags) != len(want.tags) ||
		len(got.fields) != len(want.fields) {
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

// TestInflux_clock has agents whose clocks are wrong, or that lie: the lines
// come, at the time of the check.
func TestInflux_clock(t *testing.T) {
	for name, at := range map[string]time.Time{
		"none":       {},
		"in 1970":    time.Unix(0, 0),
		"in 2999":    time.Date(2999, 1, 1, 0, 0, 0, 0, time.UTC), // no Influx time
		"in 9999":    time.Unix(awa.MaxUnix, 0),
		"an hour on": now.Add(time.Hour),
	} {
		t.Run(name, func(t *testing.T) {
			st := awa.ClusterStatus{
				Agent: "n1", State: math.MaxUint64, SweptAt: at,
				Nodes: []awa.NodeStatus{{Node: awa.Node{ID: 1, Name: "n1", Host: "h", Port: 1}, Verdict: awa.Online,
					Behind: math.MaxUint64}},
			}
			var b bytes.Buffer
			if err := report.Influx(&b, report.Evaluate(st, report.Selection{}, report.Rules{}, now)); err != nil {
				t.Fatal(err)
			}
			points := decode(t, b.Bytes())
			if len(points) != 2 {
				t.Fatalf("%d points: %s", len(points), &b)
			}
			for _, p := range points {
				if !p.at.Equal(now) {
					t.Errorf("%s at %v", p.measurement, p.at)
				}
			}
			if have := points[0].fields["list_state"]; have != int64(math.MaxInt64) {
				t.Errorf("list_state %v", have)
			}
		})
	}
}
