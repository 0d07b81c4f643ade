package page_test

import (
	"flag"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/awatest/testaid"
	"are-we-alive/pkg/page"
)

var update = flag.Bool("update", false, "write the golden files again")

var now = time.Date(2026, 11, 23, 18, 0, 0, 0, time.UTC)

func ago(d time.Duration) time.Time { return now.Add(-d) }

// node is one that was online all day.
func node(i int) page.Node {
	return page.Node{
		Name: fmt.Sprintf("web%d", i), Status: "Online", Severity: page.OK, Online: true, Since: "3 d", RTT: "0.2 ms",
		Addr: fmt.Sprintf("10.0.%d.%d:25483", i/250, i%250+1), Labels: fmt.Sprintf("rack=r%d,role=web", i/40+1),
		URL:   fmt.Sprintf("http://10.0.%d.%d:25484/", i/250, i%250+1),
		Spans: []awa.Span{{From: ago(page.Day), To: now, Verdict: awa.Online}},
	}
}

func cluster(n int) page.Data {
	d := page.Data{
		Severity: page.OK, Headline: fmt.Sprintf("AWA OK - %d of %[1]d nodes online", n), Cluster: "7d0c1fe2",
		Voters:  "web1, web2, web3, web4, web5",
		Summary: fmt.Sprintf("%d nodes online · leader web1 · 5 voters · list 4711", n), Agent: "web2", Now: now,
		SweptAt: ago(2 * time.Second), Refresh: 10 * time.Second,
	}
	for i := range n {
		d.Others = append(d.Others, node(i+1))
	}
	return d
}

// troubled has everything that a page may hold.
func troubled() page.Data {
	d := cluster(4)
	d.Severity, d.Headline = page.Critical, "AWA CRITICAL - 1 of 6 nodes offline: db1 (connect: no answer within 1s)"
	db := node(5)
	db.Name, db.Status, db.Severity, db.Online, db.RTT, db.URL = "db1", "Offline", page.Critical, false, "", ""
	db.Since, db.Why = "4 min", "connect: no answer within 1s, 3 others do not see it either"
	db.Spans = []awa.Span{
		{From: ago(20 * time.Hour), To: ago(10 * time.Hour), Verdict: awa.Online},
		{From: ago(10 * time.Hour), To: ago(10*time.Hour - time.Second), Verdict: awa.Offline},
		{From: ago(9 * time.Hour), To: ago(6 * time.Hour), Verdict: awa.Unreachable},
		{From: ago(6 * time.Hour), To: ago(4 * time.Minute), Verdict: awa.Online},
		{From: ago(4 * time.Minute), To: now, Verdict: awa.Offline},
	}
	cut := node(6)
	cut.Status, cut.Severity, cut.Online, cut.RTT, cut.Spans = "Unreachable", page.Warning, false, "", nil
	cut.Why = "seen by web3, not from here: connect: no answer within 1s"
	d.Problems = []page.Node{db, cut}
	d.Others[0].Status, d.Others[0].Online, d.Others[0].Why = "Offline", false, "maintenance until 19:00: new disk"
	d.Advice = []page.Advice{
		{Severity: page.Critical, About: "DISK_FULL", Text: "the disk of web3 is full: free some space in its data folder"},
		{Severity: page.OK, About: "LAST_MAJORITY", Text: "one more lost voter stops edits"},
	}
	d.Mesh = []string{"web2 does not see web6"}
	d.Events = []page.Event{{At: ago(4 * time.Minute), Text: "db1 is offline after 5 h online"},
		{At: ago(30 * time.Hour), Text: "web3 restarted after 2 s away"}}
	d.Edits = []page.Event{{At: ago(time.Hour), Text: "web1 was changed by root@web1"}, {Text: "node 9 was removed"}}
	return d
}

// hostile has texts as an attacker would choose them.
func hostile() page.Data {
	const evil = `"><script>alert(1)</script><img src=x onerror=alert(2)>'{{.}}` + "\x00\u202e</title></style>"
	d := troubled()
	d.Headline, d.Summary, d.Cluster, d.Agent, d.ShowOthers = evil, evil, evil, evil, true
	for _, nodes := range [][]page.Node{d.Problems, d.Others} {
		for i := range nodes {
			n := &nodes[i]
			n.Name, n.Status, n.Since, n.Why, n.RTT, n.Addr, n.Labels, n.URL = evil, evil, evil, evil, evil, evil, evil,
				"javascript:alert(3)"
		}
	}
	d.Severity = evil
	d.Advice[0] = page.Advice{Severity: evil, About: evil, Text: evil}
	d.Mesh, d.Events[0].Text, d.Edits[0].Text = []string{evil}, evil, evil
	return d
}

// pages are those of which golden files are kept.
func pages() map[string]page.Data {
	stale, still := cluster(3), troubled()
	stale.Stale, stale.SweptAt = true, ago(10*time.Minute)
	still.Refresh, still.ShowOthers = 0, true
	return map[string]page.Data{
		"well": cluster(3), "one": cluster(1), "troubled": troubled(), "all": still, "hostile": hostile(), "stale": stale,
		"starting": {Severity: page.Unknown, Headline: "AWA UNKNOWN - agent web1 holds no node list yet", Agent: "web1", Now: now},
	}
}

// TestRender compares pages except for their style, which all of them have.
func TestRender(t *testing.T) {
	maker := page.New()
	for name, d := range pages() {
		t.Run(name, func(t *testing.T) {
			b, err := maker.Render(d)
			if err != nil {
				t.Fatal(err)
			}
			head, rest, _ := strings.Cut(string(b), "<style>")
			style, rest, _ := strings.Cut(rest, "</style>")
			if !strings.Contains(style, "prefers-color-scheme") {
				t.Errorf("its style is %s", style)
			}
			testaid.Golden(t, filepath.Join("testdata", name+".html"), head+"<style></style>"+rest, *update)
		})
	}
}

// What an attacker has named a node is text and nothing else.
func TestRender_hostile(t *testing.T) {
	b, err := page.New().Render(hostile())
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"<script", "<img", "javascript:", "\x00"} {
		if strings.Contains(string(b), bad) {
			t.Errorf("the page holds %s", bad)
		}
	}
	for _, once := range []string{"</title>", "</style>", "<style>"} {
		if n := strings.Count(string(b), once); n != 1 {
			t.Errorf("the page holds %d times %s", n, once)
		}
	}
}

// The policy allows the style of the page, and no script.
func TestPolicy(t *testing.T) {
	policy := page.New().Policy()
	if !strings.HasPrefix(policy, "default-src 'none'; style-src 'sha256-") || strings.Contains(policy, "script") ||
		strings.Contains(policy, "unsafe") {
		t.Error(policy)
	}
}

// maxSize is how large a page of a thousand nodes may be.
const maxSize = 300_000

func TestRender_size(t *testing.T) {
	for name, spans := range map[string][]awa.Span{
		"online all day":     {{From: ago(page.Day), To: now, Verdict: awa.Online}},
		"watched for a hour": {{From: ago(time.Hour), To: now, Verdict: awa.Online}},
	} {
		d := cluster(1000)
		d.ShowOthers = true
		for i := range d.Others {
			d.Others[i].Spans = spans
		}
		b, err := page.New().Render(d)
		if err != nil || len(b) > maxSize {
			t.Errorf("%s: %d bytes (%v)", name, len(b), err)
		}
	}
	d := cluster(page.MaxRows + 7)
	d.ShowOthers = true
	if b, err := page.New().Render(d); err != nil || !strings.Contains(string(b), "and 7 more: check_awa -vv shows all") {
		t.Errorf("of too many rows it has all (%v)", err)
	}
}

func BenchmarkRender(b *testing.B) {
	maker := page.New()
	for _, n := range []int{3, 1000} {
		b.Run(fmt.Sprintf("%d nodes", n), func(b *testing.B) {
			d := cluster(n)
			d.ShowOthers = true
			b.ReportAllocs()
			for b.Loop() {
				page, err := maker.Render(d)
				if err != nil {
					b.Fatal(err)
				}
				b.SetBytes(int64(len(page)))
			}
		})
	}
}
