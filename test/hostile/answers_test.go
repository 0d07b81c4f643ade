//go:build system

package hostile

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unicode"

	"are-we-alive/pkg/api"
	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/awatest/testaid"
	"are-we-alive/pkg/trust"
	"are-we-alive/test/program"
)

// liar is what sits at an agent's address: with a key a member of the cluster,
// since nobody else is believed there. It answers as is set for each path, and
// any other ping as an agent does.
type liar struct {
	name string
	addr string
	self map[string]any // its answer to a ping
	// answers are by method and path, "" for all that are not there.
	answers map[string]http.HandlerFunc
	pings,
	edits atomic.Int64
}

// newLiar starts a liar that is called name and belongs to a's cluster, if a is
// not nil. at is its address, "" for a free one.
func newLiar(t *testing.T, keys, name, uid, at string, a *program.Agent) *liar {
	t.Helper()
	if at == "" {
		at = "127.0.0.1:0"
	}
	ln, err := net.Listen("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	l := &liar{name: name, addr: ln.Addr().String(), answers: map[string]http.HandlerFunc{},
		self: map[string]any{"name": name, "uid": uid, "version": "0.1.0"}}
	if a != nil {
		self := pingOf(t, keys, a)
		l.self["cluster"], l.self["history"], l.self["db_state"] = self.Cluster, self.History.String(), self.State
	}
	if keys != "" {
		all, err := trust.ReadFile(keys, false)
		if err != nil {
			t.Fatal(err)
		}
		ring, err := trust.NewAgent(all, uid, name)
		if err != nil {
			t.Fatal(err)
		}
		ln = ring.Listener(ln, func(net.Addr, error) {})
	}
	l.answers["GET /ping"] = l.ping
	srv := &http.Server{Handler: http.HandlerFunc(l.serve), ErrorLog: log.New(io.Discard, "", 0)}
	go srv.Serve(ln) // which ends with an error when it is closed
	t.Cleanup(func() { srv.Close() })
	return l
}

func (l *liar) serve(w http.ResponseWriter, r *http.Request) {
	call := r.Method + " " + r.URL.Path
	switch call {
	case "GET /ping":
		l.pings.Add(1)
	case "POST /v1/changes":
		l.edits.Add(1)
	}
	answer := l.answers[call]
	if answer == nil {
		answer = l.answers[""]
	}
	if answer == nil {
		answer = http.NotFound
	}
	answer(w, r)
}

// ping answers as an agent does, with self.
func (l *liar) ping(w http.ResponseWriter, _ *http.Request) {
	now := time.Now()
	self := map[string]any{"macaddr": "1a:d6:6e:ce:b5:5f", "time": now.Unix(), "time_ms": now.UnixMilli()}
	for k, v := range l.self {
		self[k] = v
	}
	json.NewEncoder(w).Encode(map[string]any{"status": self})
}

// says has a call answered with 200 and this body.
func (l *liar) says(call, body string) *liar {
	l.answers[call] = func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, body) }
	return l
}

// pours has a call answered with 255 MiB: begin, and more over and over, as the
// connection takes it.
func (l *liar) pours(call, begin, more string) *liar {
	block := []byte(strings.Repeat(more, 1+(256<<10)/len(more)))
	l.answers[call] = func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(30 * time.Second))
		io.WriteString(conn, begin)
		for sent := 0; sent < 255<<20 && err == nil; sent += len(block) {
			_, err = conn.Write(block)
		}
	}
	return l
}

// member makes a client that may do everything.
func member(t *testing.T, keys string) *api.Client {
	t.Helper()
	var cfg api.ClientConfig
	if keys != "" {
		all, err := trust.ReadFile(keys, false)
		if err != nil {
			t.Fatal(err)
		}
		ring, err := trust.NewClient(all, awa.RoleMember)
		if err != nil {
			t.Fatal(err)
		}
		cfg.Secure = ring.Secure
	}
	c := api.NewClient(cfg)
	t.Cleanup(c.Close)
	return c
}

// pingOf asks an agent who it is.
func pingOf(t *testing.T, keys string, a *program.Agent) awa.Self {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	self, err := member(t, keys).Ping(ctx, a.Addr(), true)
	if err != nil {
		t.Fatal(err)
	}
	return self
}

// list puts liars on a's list.
func list(t *testing.T, keys string, a *program.Agent, all ...*liar) {
	t.Helper()
	c := member(t, keys)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for _, l := range all {
		host, port, _ := strings.Cut(l.addr, ":")
		data := fmt.Sprintf(`{"name":%q,"host":%q,"port":%q}`, l.name, host, port)
		if _, _, err := c.Edit(ctx, a.Addr(), awa.Edit{Action: awa.Create, Data: []byte(data), Key: awa.NewUID()},
			0); err != nil {
			t.Fatalf("%s: %v", l.name, err)
		}
	}
}

// maintain has nobody be alerted by a liar.
func maintain(t *testing.T, keys string, a *program.Agent, l *liar) {
	t.Helper()
	if r := program.Run(t, "awa-agent", "node", "maintain", "--agent", a.Addr(), "--key-file", keys, l.name, "--for",
		"1h"); r.Code != 0 {
		t.Fatalf("node maintain %s: %d %s%s", l.name, r.Code, r.Out, r.Errors)
	}
}

// checked is check_awa's JSON.
type checked struct {
	State int
	Text  string
	Nodes []struct {
		Name, Verdict, Stage, Error string
		Behind                      uint64
	}
}

// noEscape asserts that nothing in an output speaks to a terminal.
func noEscape(t *testing.T, what, text string) {
	t.Helper()
	if i := strings.IndexFunc(text, func(r rune) bool { return r != '\n' && r != '\t' && !unicode.IsPrint(r) }); i >= 0 {
		t.Errorf("%s holds a control character: %.300q", what, text[max(0, i-100):])
	}
}

// influxTimes asserts that there are lines, all of them made since began.
func influxTimes(t *testing.T, out string, lines int, began time.Time) {
	t.Helper()
	all := strings.Split(strings.TrimSpace(out), "\n")
	health := 0 // how many there are depends on the key
	for _, line := range all {
		if strings.HasPrefix(line, "awa_health,") {
			health++
		}
	}
	if len(all)-health != lines {
		t.Errorf("%d Influx lines, want %d: %.1000s", len(all)-health, lines, out)
	}
	for _, line := range all {
		ns, err := strconv.ParseInt(line[strings.LastIndexByte(line, ' ')+1:], 10, 64)
		if at := time.Unix(0, ns); err != nil || at.Before(began) || at.After(time.Now()) {
			t.Errorf("an Influx line of another time: %s", line)
		}
	}
}

// TestAnswers_endless has three addresses on the list answer each ping, and a
// question for changes, with 255 MiB: in a body, in answers 100, in extensions of chunks.
func TestAnswers_endless(t *testing.T) {
	eachKey(t, func(t *testing.T, keys string) {
		t.Parallel()
		a := program.Cluster(t, keys, 2)[0]
		const body, chunks = "HTTP/1.1 200 OK\r\nContent-Length: 267386880\r\n\r\n", "HTTP/1.1 200 " +
			"OK\r\nTransfer-Encoding: chunked\r\n\r\n"
		all := []*liar{
			newLiar(t, keys, "body", awa.NewUID(), "", a).pours("GET /ping", body, `{"status":[{},{},{},`),
			newLiar(t, keys, "hundreds", awa.NewUID(), "", a).pours("GET /ping", "", "HTTP/1.1 100 Continue\r\nX: y\r\n\r\n"),
			newLiar(t, keys, "chunks", awa.NewUID(), "", a).pours("GET /ping", chunks,
				"1;"+strings.Repeat("x", 4000)+"\r\n[\r\n"),
		}
		list(t, keys, a, all...)
		for _, l := range all {
			maintain(t, keys, a, l)
		}
		a.ResetPeak()
		before, pings := a.RSS(), all[0].pings.Load()
		end := a.Witness(keys, 2*time.Second)
		testaid.Await(t, 30*time.Second, func() error {
			if n := all[0].pings.Load() - pings; n < 40 {
				return fmt.Errorf("%d pings", n)
			}
			return nil
		})
		end()
		if grown := a.PeakRSS() - before; grown > 60<<20 {
			t.Errorf("the agent took %d MiB for the answers of three", grown>>20)
		} else {
			t.Logf("%d MiB more", grown>>20)
		}
		r := a.Check(keys, "-o", "json")
		var c checked
		if err := json.Unmarshal([]byte(r.Out), &c); err != nil || r.Code != 0 {
			t.Fatalf("%d %v: %s%s", r.Code, err, r.Out, r.Errors)
		}
		for _, n := range c.Nodes {
			want, text := "mismatch", "not an awa-agent"
			if strings.HasPrefix(n.Name, "a") {
				want, text = "online", ""
			}
			if n.Verdict != want || !strings.Contains(n.Error, text) {
				t.Errorf("%s is %s: %s", n.Name, n.Verdict, n.Error)
			}
		}
	})
}

// lies are fields of a ping's answer that nobody can have, by the word that
// must stand in the reason.
func lies() map[string]struct {
	field string
	value any
} {
	type lie = struct {
		field string
		value any
	}
	return map[string]lie{
		"version":   {"version", strings.Repeat("9", 40<<10)},
		"macaddr":   {"macaddr", "\x1b]0;x\x07"},
		"db_state":  {"db_state", uint64(1<<64 - 1)},
		"time_ms":   {"time_ms", int64(-1 << 63)},
		"time":      {"time", int64(1<<63 - 1)},
		"leader":    {"leader", "\x1b[2J"},
		"instance":  {"instance", strings.Repeat("i", 1000)},
		"log_index": {"log_index", uint64(1<<64 - 1)},
		"voters": {"voters", map[string]any{"index": 1, "term": 1, "uids": strings.Split(strings.Repeat("u,", 5000)+"u",
			",")}},
		"the index of voters":    {"voters", map[string]any{"index": uint64(1<<64 - 1), "term": 1, "uids": []string{"u"}}},
		"JSON":                   {"db_state", "2"},
		"larger than 64 KiB":     {"version", ""}, // below
		"more than 256 elements": {"x", strings.Split(strings.Repeat("x,", 5000)+"x", ",")},
	}
}

// TestAnswers_values lists a liar for each field that can be wrong, one that
// claims the newest list of all, and an honest one.
func TestAnswers_values(t *testing.T) {
	eachKey(t, func(t *testing.T, keys string) {
		t.Parallel()
		agents := program.Cluster(t, keys, 2)
		a := agents[0]
		want := map[string]string{"a1": "", "a2": "", "ahead": "", "honest": ""}
		all := []*liar{newLiar(t, keys, "honest", awa.NewUID(), "", a), newLiar(t, keys, "ahead", awa.NewUID(), "", a)}
		all[1].self["db_state"] = int64(1<<63 - 1)
		all[1].pours("GET /sync", "HTTP/1.1 200 OK\r\nAwa-State: 9223372036854775807\r\n\r\n[", "[],")
		for field, lie := range lies() {
			name := strings.ReplaceAll(field, " ", "-")
			l := newLiar(t, keys, name, awa.NewUID(), "", a)
			l.self[lie.field] = lie.value
			switch field {
			case "more than 256 elements": // at the second level
				l.says("GET /ping", `{"status":[`+strings.Repeat("{},", 20_000)+`{}]}`)
			case "larger than 64 KiB":
				l.says("GET /ping", fmt.Sprintf(`{"status":{"name":%q,"uid":%q,"cluster":%q,"version":"%s"}}`, name,
					l.self["uid"], l.self["cluster"], strings.Repeat("9", 20<<20)))
			}
			all, want[name] = append(all, l), field
		}
		bomb := newLiar(t, keys, "bomb", awa.NewUID(), "", a).says("GET /ping", strings.Repeat("[", 60<<10))
		refuser := newLiar(t, keys, "refuser", awa.NewUID(), "", a)
		delete(refuser.answers, "GET /ping")
		refuser.answers[""] = func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprintf(w, `{"error":"go away\u001b]0;x\u0007 %s","code":"forbidden"}`, strings.Repeat("x", 4000))
		}
		all = append(all, bomb, refuser)
		want["bomb"], want["refuser"] = "not an awa-agent", "go away?]0;x?"
		all[0].self["db_state"] = len(agents) + len(all) // once all are on the list
		list(t, keys, a, all...)
		for _, a := range agents {
			a.ResetPeak()
		}
		for _, a := range agents {
			level(t, keys, a)
		}
		pings := bomb.pings.Load()
		testaid.Await(t, 30*time.Second, func() error {
			if n := bomb.pings.Load() - pings; n < 6 {
				return fmt.Errorf("%d pings", n)
			}
			return nil
		})
		for _, a := range agents {
			checkValues(t, keys, a, want)
			if peak := a.PeakRSS(); peak > 120<<20 {
				t.Errorf("agent %s took %d MiB", a.Name, peak>>20)
			} else {
				t.Logf("agent %s took %d MiB at most", a.Name, peak>>20)
			}
			noEscape(t, "the log of "+a.Name, a.Log.String())
		}
	})
}

// level waits until an agent's list holds all that was put on it.
func level(t *testing.T, keys string, a *program.Agent) {
	t.Helper()
	testaid.Await(t, 30*time.Second, func() error {
		var c checked
		if err := json.Unmarshal([]byte(a.Check(keys, "-o", "json").Out), &c); err != nil {
			return err
		}
		for _, n := range c.Nodes {
			if n.Behind != 0 && n.Behind < 1000 {
				return fmt.Errorf("%s is behind by %d", n.Name, n.Behind)
			}
		}
		return nil
	})
}

// checkValues asks an agent in every format; want has the nodes with what
// must stand in the reason, "" for those that are online.
func checkValues(t *testing.T, keys string, a *program.Agent, want map[string]string) {
	t.Helper()
	began := time.Now()
	for _, format := range []string{"json", "table", "nagios", "influx"} {
		r := a.Check(keys, "-o", format)
		noEscape(t, format, r.Out+r.Errors)
		code := 2
		if format == "influx" {
			influxTimes(t, r.Out, 1+len(want), began)
			code = 0
		}
		if r.Code != code || len(r.Out) > 100<<10 {
			t.Errorf("%s: exit code %d, %d bytes", format, r.Code, len(r.Out))
		}
		if format != "json" {
			continue
		}
		var c checked
		if err := json.Unmarshal([]byte(r.Out), &c); err != nil || len(c.Nodes) != len(want) {
			t.Fatalf("%v, %d nodes of %d: %.500s", err, len(c.Nodes), len(want), r.Out)
		}
		for _, n := range c.Nodes {
			reason, listed := want[n.Name]
			switch {
			case !listed:
				t.Errorf("%s is on the list", n.Name)
			case reason == "" && (n.Verdict != "online" || n.Behind != 0):
				t.Errorf("as %s sees it, %s is %s (%s), and behind by %d", a.Name, n.Name, n.Verdict, n.Error, n.Behind)
			case reason != "" && (n.Verdict != "mismatch" || n.Stage != "reply" || !strings.Contains(n.Error, reason) ||
				len(n.Error) > awa.MaxText+50):
				t.Errorf("as %s sees it, %s is %s, %s: %.300q, want %s", a.Name, n.Name, n.Verdict, n.Stage, n.Error, reason)
			}
		}
	}
}

// statusOf is an agent's status with things in it that it may not hold.
func statusOf(more, node string) string {
	return `{"cluster":"c","history":"1-ab","agent":"n1","state":3,"leader":"n1","voters":["n1"],` +
		`"swept_at":"2999-01-01T00:00:00Z","took_ms":2.5` + more +
		`,"nodes":[{"id":1,"name":"n1","host":"10.0.0.1","port":"25483","verdict":"online","rtt_ms":1,"status":null},` +
		`{"id":2,"name":"n2","host":"10.0.0.2","port":"25483","verdict":"offline","stage":"reply","status":null` + node +
		`}]}`
}

// TestAnswers_status has check_awa ask a liar.
func TestAnswers_status(t *testing.T) {
	eachKey(t, func(t *testing.T, keys string) {
		t.Parallel()
		ask := func(t *testing.T, status string, args ...string) program.Result {
			l := newLiar(t, keys, "n1", awa.NewUID(), "", nil).says("GET /v1/status", status)
			return program.Run(t, "check_awa", append([]string{"-H", l.addr, "-k", keys}, args...)...)
		}
		t.Run("a sweep in 2999", func(t *testing.T) {
			began := time.Now()
			influxTimes(t, ask(t, statusOf("", ""), "-o", "influx").Out, 3, began)
		})
		t.Run("sentences that speak to a terminal", func(t *testing.T) {
			for _, format := range []string{"nagios", "table", "influx", "json"} {
				r := ask(t, statusOf("", `,"error":"\u001b]0;x\u0007\u009b31m|\nOK `+strings.Repeat("x", 1<<20)+`"`), "-o",
					format, "-v")
				noEscape(t, format, r.Out+r.Errors)
				if len(r.Out) > 8<<10 || !strings.Contains(r.Out, "n2") {
					t.Errorf("%s: %d bytes: %.300s", format, len(r.Out), r.Out)
				}
			}
		})
		for name, test := range map[string]struct{ status, reason string }{
			"a round trip of 1e308 ms": {statusOf("", `,"rtt_ms":1e308`), "rtt_ms"},
			"a name":                   {strings.Replace(statusOf("", ""), `"n2"`, `"\u001b[2J"`, 1), "is not a name"},
			"a label":                  {statusOf("", `,"labels":{"a":"\u001b[2J"}`), "label a"},
			"a lack":                   {statusOf("", `,"behind":18446744073709551615`), "behind"},
			"a state":                  {statusOf(`,"state":18446744073709551615`, ""), "state"},
		} {
			t.Run(name, func(t *testing.T) {
				r := ask(t, test.status)
				noEscape(t, "the line", r.Out)
				if r.Code != 2 || !strings.Contains(r.Out, "no agent answers: ") || !strings.Contains(r.Out, test.reason) {
					t.Errorf("%d %s", r.Code, r.Out)
				}
			})
		}
		t.Run("memory", func(t *testing.T) {
			l := newLiar(t, keys, "n1", awa.NewUID(), "", nil)
			l.pours("GET /v1/status", "HTTP/1.1 200 OK\r\n\r\n"+`{"agent":"n1","nodes":[`, "{},")
			checkMemory(t, keys, l)
		})
		t.Run("memory for elements", func(t *testing.T) {
			l := newLiar(t, keys, "n1", awa.NewUID(), "", nil)
			l.says("GET /v1/status", `{"agent":"n1","swept_at":"2026-11-23T18:00:00Z","nodes":[`+strings.Repeat("{},",
				10<<20)+`{}]}`)
			checkMemory(t, keys, l)
		})
	})
}

// checkMemory asks a liar, and looks at what that takes meanwhile.
func checkMemory(t *testing.T, keys string, l *liar) {
	t.Helper()
	var out bytes.Buffer
	cmd := exec.CommandContext(t.Context(), program.Path("check_awa"), "-H", l.addr, "-k", keys, "-t", "20")
	cmd.Stdout = &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		cmd.Wait() // the exit code is in cmd.ProcessState
		close(ended)
	}()
	peak, looks := 0, 0
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for over := false; !over; {
		select {
		case <-ended:
			over = true
		case <-tick.C:
			text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid))
			if m := regexp.MustCompile(`VmHWM:\s*(\d+) kB`).FindSubmatch(text); m != nil {
				kib, _ := strconv.Atoi(string(m[1]))
				peak, looks = max(peak, kib>>10), looks+1
			}
		}
	}
	if code := cmd.ProcessState.ExitCode(); code != 2 || !strings.Contains(out.String(), "not an awa-agent") ||
		looks == 0 {
		t.Errorf("%d after %d looks: %s", code, looks, &out)
	}
	if peak > 250 {
		t.Errorf("check_awa took %d MiB", peak)
	}
	t.Logf("%d MiB: %s", peak, &out)
}

// TestAnswers_edit sends edits to a server that answers 200 and JSON.
func TestAnswers_edit(t *testing.T) {
	eachKey(t, func(t *testing.T, keys string) {
		t.Parallel()
		for name, answer := range map[string]string{
			"no id":                `{}`,
			"a change and no node": `{"id":9}`,
			"another node":         `{"id":9,"node":{"id":2,"name":"other","host":"10.0.0.9","port":"25483"}}`,
			"an escape sequence":   `{"id":9,"node":{"id":2,"name":"x9\u001b[2J","host":"10.0.0.9","port":"25483"}}`,
			"a node that is none":  `{"id":9,"node":{}}`,
		} {
			t.Run(name, func(t *testing.T) {
				l := newLiar(t, keys, "n1", awa.NewUID(), "", nil).says("POST /v1/changes", answer)
				node := `{"id":1,"name":"x9","host":"10.0.0.9","port":"25483"}`
				l.says("GET /v1/nodes", `{"cluster":"c","history":"1-ab","state":1,"nodes":[`+node+`]}`)
				l.answers["GET /sync"] = func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Awa-Cluster", "c")
					w.Header().Set("Awa-History", "1-ab")
					w.Header().Set("Awa-State", "1")
					json.NewEncoder(w).Encode([]any{[]any{1, "CREATE", node}})
				}
				if answer != `{"id":9}` { // which is what a removal is answered with
					r := program.Run(t, "awa-agent", "node", "remove", "--agent", l.addr, "--key-file", keys, "x9")
					noEscape(t, "the output", r.Out+r.Errors)
					if r.Code != 1 || r.Out != "" || !strings.Contains(r.Errors, "not an awa-agent") {
						t.Errorf("remove: %d %s%s", r.Code, r.Out, r.Errors)
					}
				}
				r := program.Run(t, "awa-agent", "node", "add", "--agent", l.addr, "--key-file", keys, "x9", "10.0.0.9")
				noEscape(t, "the output", r.Out+r.Errors)
				if r.Code != 1 || r.Out != "" || !strings.Contains(r.Errors, "not an awa-agent") {
					t.Errorf("%d %s%s", r.Code, r.Out, r.Errors)
				}
			})
		}
	})
}

// TestAnswers_leader has a liar sit down at the address of a leader that died:
// the others pass their edits on to it, and an agent that starts its
// registration.
func TestAnswers_leader(t *testing.T) {
	eachKey(t, func(t *testing.T, keys string) {
		t.Parallel()
		all := program.Cluster(t, keys, 2)
		leader, follower := all[0], all[1]
		self := pingOf(t, keys, leader)
		leader.Kill()
		l := newLiar(t, keys, leader.Name, self.UID, leader.Addr(), follower)
		l.self["leader"] = self.UID
		l.says("POST /v1/changes", `{"id":9,"node":{"id":2,"name":"other","host":"10.0.0.9","port":"25483"}}`)

		newcomer := program.NewAgent(t, "a3", "--key-file", keys, "--join", follower.Addr())
		newcomer.Start()
		t.Run("an edit", func(t *testing.T) {
			t.Parallel()
			r := program.Run(t, "awa-agent", "node", "add", "--agent", follower.Addr(), "--key-file", keys, "x9", "10.0.0.9")
			if r.Code != 1 || r.Out != "" {
				t.Errorf("%d %s%s", r.Code, r.Out, r.Errors)
			}
		})
		t.Run("registration", func(t *testing.T) {
			t.Parallel()
			line := newcomer.Log.Wait(t, 30*time.Second, func(l program.LogLine) bool {
				return l.Msg == "registered" || strings.HasPrefix(l.Msg, "not registered yet")
			}, nil)
			if line.Msg == "registered" {
				t.Errorf("agent a3 believes that it is on the list:\n%s", newcomer.Log)
			}
		})
		t.Cleanup(func() {
			if l.edits.Load() == 0 {
				t.Error("nobody asked the liar to make an edit")
			}
		})
	})
}
