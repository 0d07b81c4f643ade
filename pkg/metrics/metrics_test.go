package metrics_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/awatest/testaid"
	"are-we-alive/pkg/metrics"
)

var update = flag.Bool("update", false, "write the golden files again")

var now = time.Date(2026, 11, 23, 18, 0, 0, 123456789, time.UTC)

// cluster makes a healthy status of n nodes as n1 sees it.
func cluster(n int) awa.ClusterStatus {
	st := awa.ClusterStatus{
		Cluster: "7d0c1fe2a95b4c6d8e3f00112233aabb", Agent: "n1", Leader: "n2", Voters: []string{"n1", "n2", "n3"},
		State: uint64(n), SweptAt: now.Add(-3 * time.Second), Took: 4200 * time.Microsecond,
	}
	for i := range n {
		st.Nodes = append(st.Nodes, awa.NodeStatus{
			Node: awa.Node{ID: uint64(i + 1), Name: fmt.Sprintf("n%d", i+1), Host: fmt.Sprintf("10.0.0.%d", i+1),
				Port: awa.DefaultPort},
			Verdict: awa.Online, RTT: time.Duration(200+i) * time.Microsecond, Since: now.Add(-time.Hour),
			Skew: time.Duration(i) * time.Millisecond, SkewError: time.Duration(100+i) * time.Microsecond,
			Self: &awa.Self{Started: now.Unix() - 3600, Booted: now.Unix() - 86400},
		})
	}
	return st
}

// fail returns a node another verdict than online.
func fail(st awa.ClusterStatus, i int, verdict awa.Verdict) {
	n := &st.Nodes[i]
	*n = awa.NodeStatus{Node: n.Node, Verdict: verdict, Stage: awa.StageConnect, Error: "connection refused",
		Since: now.Add(-time.Minute)}
}

// maintain puts a node under maintenance until a time.
func maintain(st awa.ClusterStatus, i int, until time.Time) {
	st.Nodes[i].Node.Maintenance = until.Format(time.RFC3339)
}

// views are the situations of which golden files are kept.
func views() map[string]awa.ClusterStatus {
	all := map[string]awa.ClusterStatus{
		"no_list":  {Agent: "n1"},
		"all_well": cluster(3),
		"no_nodes": {Cluster: "7d0c1fe2a95b4c6d8e3f00112233aabb", Agent: "n1", Leader: "n1", Voters: []string{"n1"},
			State: 1, SweptAt: now, Took: time.Millisecond},
		"no_sweep":   cluster(3),
		"isolated":   cluster(3),
		"new_voter":  cluster(2),
		"no_leader":  cluster(3),
		"one_leader": cluster(1),
	}
	st := cluster(3)
	st.Nodes, st.SweptAt, st.Took = nil, time.Time{}, 0
	all["no_sweep"] = st

	st = cluster(6)
	fail(st, 1, awa.Unreachable)
	fail(st, 2, awa.Mismatch)
	fail(st, 3, awa.Offline)
	fail(st, 4, awa.Offline)
	maintain(st, 4, now.Add(time.Hour))
	maintain(st, 3, now.Add(-time.Hour)) // over
	st.Nodes[5].Behind, st.Nodes[5].Skew, st.Nodes[5].Since = 2, -3600*time.Second, time.Time{}
	maintain(st, 5, now.Add(time.Hour))
	all["all_verdicts"] = st

	st = all["isolated"]
	st.Isolated = true
	fail(st, 1, awa.Offline)
	fail(st, 2, awa.Offline)
	all["isolated"] = st

	st = all["no_leader"]
	st.Leader, st.Nodes[2].SkewError = "", 0
	all["no_leader"] = st

	st = all["one_leader"]
	st.Leader, st.Voters = "n1", []string{"n1"}
	all["one_leader"] = st

	st = cluster(3)
	st.Agent = "a\"b\\c\nd{e=\"f\"} 1"
	st.Nodes[0].Node.Name = st.Agent
	st.Nodes[1].Node.Name = "\xff\xfe\tü漢"
	st.Nodes[2].Node.Name, st.Nodes[2].Verdict = strings.Repeat("n", 300), "mis\nmatch"
	all["hostile"] = st
	return all
}

// ours is what an exporter returns of a status, without the metrics of Go and of
// the process.
func ours(t *testing.T, st awa.ClusterStatus) string {
	t.Helper()
	text, err := metrics.New(func() awa.ClusterStatus { return st }, func() time.Time { return now }, metrics.OfAll).Text()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(strings.TrimPrefix(strings.TrimPrefix(line, "# HELP "), "# TYPE "), "awa_") {
			b.WriteString(line)
		}
	}
	return b.String()
}

func TestExporter_golden(t *testing.T) {
	for name, st := range views() {
		t.Run(name, func(t *testing.T) {
			testaid.Golden(t, filepath.Join("testdata", name+".metrics"), ours(t, st), *update)
		})
	}
	files, err := os.ReadDir("testdata")
	if err != nil || len(files) != len(views()) {
		t.Errorf("%d golden files (%v), want %d", len(files), err, len(views()))
	}
}

// TestExporter_lint holds the metrics against Prometheus' own rules, the usual
// ones of Go and of the process among them.
func TestExporter_lint(t *testing.T) {
	for name, st := range views() {
		t.Run(name, func(t *testing.T) {
			text, err := metrics.New(func() awa.ClusterStatus { return st }, time.Now, metrics.OfAll).Text()
			if err != nil {
				t.Fatal(err)
			}
			problems, err := promlint.New(bytes.NewReader(text)).Lint()
			if err != nil || len(problems) > 0 {
				t.Errorf("%v: %v", err, problems)
			}
			for _, usual := range []string{"\ngo_goroutines ", "\ngo_memstats_heap_alloc_bytes ",
				"\nprocess_resident_memory_bytes ", "\nprocess_open_fds "} {
				if !strings.Contains(string(text), usual) {
					t.Errorf("%q is missing", strings.TrimSpace(usual))
				}
			}
		})
	}
}

// TestExporter_scrape asks for one view a scrape, and shows nothing of the one
// before.
func TestExporter_scrape(t *testing.T) {
	var mu sync.Mutex
	asked, st := 0, cluster(3)
	e := metrics.New(func() awa.ClusterStatus {
		mu.Lock()
		defer mu.Unlock()
		asked++
		return st
	}, func() time.Time { return now }, metrics.OfAll)
	first, err := e.Text()
	if err != nil || asked != 1 || !strings.Contains(string(first), `awa_node_online{node="n3"} 1`) {
		t.Fatalf("%v, asked %d times:\n%s", err, asked, first)
	}
	st = cluster(2)
	second, err := e.Text()
	if err != nil || strings.Contains(string(second), `"n3"`) || !strings.Contains(string(second),
		`awa_node_online{node="n2"} 1`) {
		t.Errorf("%v; a node that left the list:\n%s", err, second)
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if _, err := e.Text(); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if asked != 10 {
		t.Errorf("asked %d times in 10 scrapes", asked)
	}
}

// TestExporter_twice has two nodes of one name, which no list holds: the scrape
// fails whole, and says so.
func TestExporter_twice(t *testing.T) {
	st := cluster(2)
	st.Nodes[1].Node.Name = "n1"
	if text, err := metrics.New(func() awa.ClusterStatus { return st }, time.Now, metrics.OfAll).Text(); err == nil {
		t.Errorf("no error, but\n%s", text)
	}
}

func BenchmarkExporter_Text(b *testing.B) {
	st := cluster(1000)
	e := metrics.New(func() awa.ClusterStatus { return st }, time.Now, metrics.OfAll)
	b.ReportAllocs()
	size := 0
	for b.Loop() {
		text, err := e.Text()
		if err != nil {
			b.Fatal(err)
		}
		size = len(text)
	}
	b.ReportMetric(float64(size), "bytes/scrape")
}

// An agent may have the metrics of its own node alone, or of none; those of the cluster are
// the same.
func TestText_of(t *testing.T) {
	for of, want := range map[metrics.Of]int{metrics.OfAll: 3, metrics.OfOwn: 1, metrics.OfNone: 0} {
		st := cluster(3)
		text, err := metrics.New(func() awa.ClusterStatus { return st }, time.Now, of).Text()
		if err != nil {
			t.Fatal(err)
		}
		if n := bytes.Count(text, []byte("\nawa_node_online{")); n != want {
			t.Errorf("%s: %d nodes\n%s", of, n, text)
		}
		if of == metrics.OfOwn && !bytes.Contains(text, []byte(`awa_node_online{node="n1"} 1`)) {
			t.Errorf("not its own:\n%s", text)
		}
		if !bytes.Contains(text, []byte("awa_nodes 3")) && !bytes.Contains(text, []byte(`awa_nodes{`)) {
			t.Errorf("%s: not those of the cluster:\n%.2000s", of, text)
		}
	}
}
