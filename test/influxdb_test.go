//go:build system

package test

import (
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-json"

	"are-we-alive/pkg/awatest/testaid"
)

// TestInfluxDB asks InfluxDB the questions of the document, once it has read what check_awa
// said while a node died and came back.
func TestInfluxDB(t *testing.T) {
	t.Parallel()
	db := startInfluxDB(t)
	c := newCluster(t, 3)
	a1, a3 := c.agents[0], c.agents[2]
	record := func() {
		t.Helper()
		r := run(t, "check_awa", "-o", "influx", "-H", a1.addr())
		if r.code != 0 {
			t.Fatal(r)
		}
		db.write(t, r.out)
	}
	record()
	a3.kill()
	record()
	record()
	a3.start()
	c.await(30*time.Second, func(a *agent) error { _, err := a.status(true); return err })
	record()

	document, err := os.ReadFile(filepath.Join("..", "docs", "INFLUXQL.md"))
	if err != nil {
		t.Fatal(err)
	}
	queries := regexp.MustCompile("(?s)```sql\n(.*?)\n```").FindAllStringSubmatch(string(document), -1)
	want := [][]string{ // of each row the tag, and the values behind the time
		{`a3 offline the host answers, .*`, `a3 offline the host answers, .*`},
		{`a3 -1`, `a3 1`},
		{`a1 100`, `a2 100`, `a3 50`},
		{` 1`},
		{` 0\.\d+ a\d`, ` 0\.\d+ a\d`, ` 0\.\d+ a\d`},
	}
	if len(queries) != len(want) {
		t.Fatalf("the document has %d queries", len(queries))
	}
	for i, q := range queries {
		rows := db.query(t, q[1])
		if !slices.EqualFunc(rows, want[i], func(row, want string) bool { return matches(want, row) }) {
			t.Errorf("%s\nfinds %q, want %q", q[1], rows, want[i])
		}
	}
}

// influxDB is a running InfluxDB.
type influxDB struct{ address string }

// startInfluxDB starts an InfluxDB with a database. It reports to nobody.
func startInfluxDB(t *testing.T) influxDB {
	t.Helper()
	influxd, err := exec.LookPath("influxd")
	if err != nil {
		testaid.Skip(t, "influxd is not installed: test/install-debian.sh influxdb")
	}
	address, dir := "127.0.0.1:"+freePort(t), t.TempDir()
	startServer(t, "env", "INFLUXDB_REPORTING_DISABLED=true", "INFLUXDB_HTTP_BIND_ADDRESS="+address,
		"INFLUXDB_BIND_ADDRESS=127.0.0.1:0", "INFLUXDB_META_DIR="+filepath.Join(dir, "meta"),
		"INFLUXDB_DATA_DIR="+filepath.Join(dir, "data"), "INFLUXDB_DATA_WAL_DIR="+filepath.Join(dir, "wal"),
		"INFLUXDB_MONITOR_STORE_ENABLED=false", "INFLUXDB_CONFIG_PATH=/dev/null", influxd, "run")
	db := influxDB{"http://" + address}
	testaid.Await(t, 30*time.Second, func() error {
		_, err := getPage(db.address + "/query?q=" + url.QueryEscape("SHOW DATABASES"))
		return err
	})
	db.post(t, "/query?q="+url.QueryEscape("CREATE DATABASE telegraf"), "")
	return db
}

func (db influxDB) post(t *testing.T, path, body string) {
	t.Helper()
	resp, err := client.Post(db.address+path, "text/plain", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		t.Fatalf("InfluxDB says %s", resp.Status)
	}
}

func (db influxDB) write(t *testing.T, lines string) {
	t.Helper()
	db.post(t, "/write?db=telegraf", lines)
}

// query returns the rows that a query finds, each as its tag and the values behind the time.
func (db influxDB) query(t *testing.T, q string) (rows []string) {
	t.Helper()
	b, err := getPage(db.address + "/query?db=telegraf&q=" + url.QueryEscape(q))
	if err != nil {
		t.Fatal(err)
	}
	var answer struct {
		Results []struct {
			Error  string
			Series []struct {
				Tags   map[string]string
				Values [][]any
			}
		}
	}
	if err := json.Unmarshal(b, &answer); err != nil || len(answer.Results) != 1 || answer.Results[0].Error != "" {
		t.Fatalf("%s: %v\n%s", q, err, b)
	}
	for _, s := range answer.Results[0].Series {
		for _, v := range s.Values {
			row := s.Tags["node"]
			for _, value := range v[1:] {
				row += " " + fmt.Sprint(value)
			}
			rows = append(rows, row)
		}
	}
	return rows
}
