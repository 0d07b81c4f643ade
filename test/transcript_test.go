package test

import (
	"flag"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"are-we-alive/pkg/awatest/testaid"
)

var update = flag.Bool("update", false, "write the transcript again")

// TestTranscript types what an administrator types, and compares all that the programs say with
// a golden file. What differs from run to run stands there as a word.
func TestTranscript(t *testing.T) {
	t.Parallel()
	a := newCluster(t, 1, "--my-name", "web1", "--cluster-name", "prod-eu", "--label", "rack=1").agents[0]
	testaid.Await(t, 20*time.Second, func() error { _, err := a.status(true); return err })
	env := []string{"AWA_AGENT=" + a.addr(), "TZ=UTC", "COLUMNS=80"}
	masks := []struct{ pattern, word string }{
		{regexp.QuoteMeta(a.addr()), "127.0.0.1:PORT"},
		{`\b` + a.port() + `\b`, "PORT"},
		{regexp.QuoteMeta(editorHere(t)), "WHO"},
		{`20\d\d-\d\d-\d\d[T ]\d\d:\d\d:\d\dZ?`, "TIME"},
		{`\b[0-9a-f]{32}\b`, "ID"},
		{`(?m)^(\w+ +(?:Offline|Online) +)\d+ (?:s|min) `, "${1}SINCE "},
		{`(?m)^(web1 +Online +SINCE +)\S+ m?s `, "${1}RTT "},
		{`(rtt_max|skew_max|time)=\d+\.\d+s`, "$1=SECONDSs"},
		{`, \S+ m?s ago`, ", AGO"},
		{`until \d\d:\d\d`, "until TIME"},
		{` {2,}`, "  "}, // the width of columns
	}
	var all strings.Builder
	for _, line := range strings.Split(strings.TrimSpace(`
awa-agent cluster name
awa-agent node add db1 127.0.0.3 1 --label role=db
awa-agent node add db2 127.0.0.4 1 --label role=db
awa-agent node set db1 --host 127.0.0.5
awa-agent node set web1 --label rack=2
awa-agent node set web1 --label owner=ops --ephemeral 72h
check_awa -v
awa-agent node maintain db1 nosuch --for 2h
awa-agent node maintain db1 --for 2h --reason kernel
awa-agent node maintain --label role=db --for 3h
awa-agent node maintain db1
awa-agent node list
check_awa -v
check_awa -o names --problems
awa-agent node maintain --label role=db --off
awa-agent node remove db1 db3
awa-agent node remove db1 db2
awa-agent node remove
awa-agent cluster name prod-us
awa-agent cluster name "prod us"
awa-agent changes
awa-agent changes --since 8 -o json
check_awa --node db1,web1
check_awa --node db1,,web1
check_awa -H 127.0.0.1:1
awa-agent node list --agent 127.0.0.1:1
awa-agent node list --agent 127.0.0.1:1,127.0.0.1:2
`), "\n") {
		args := regexp.MustCompile(`"[^"]*"|\S+`).FindAllString(line, -1)
		for i := range args {
			args[i] = strings.Trim(args[i], `"`)
		}
		r := runIn(t, t.TempDir(), env, args[0], args[1:]...)
		text := r.out + r.errors
		for _, mask := range masks {
			text = regexp.MustCompile(mask.pattern).ReplaceAllString(text, mask.word)
		}
		all.WriteString("$ " + line + "\n" + text)
		if r.code != 0 {
			all.WriteString("[exit code " + string(rune('0'+r.code)) + "]\n")
		}
	}
	testaid.Golden(t, filepath.Join("testdata", "transcript.golden"), all.String(), *update)
}
