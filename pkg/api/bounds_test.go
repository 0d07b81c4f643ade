package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"are-we-alive/pkg/api/internal/wire"
	"are-we-alive/pkg/awa"
)

// scripted is a connection to a server whose answer is known before.
type scripted struct {
	io.Reader
	closed *bool
}

func (scripted) Write(b []byte) (int, error)      { return len(b), nil }
func (s scripted) Close() error                   { *s.closed = true; return nil }
func (scripted) LocalAddr() net.Addr              { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }
func (scripted) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }
func (scripted) SetDeadline(time.Time) error      { return nil }
func (scripted) SetReadDeadline(time.Time) error  { return nil }
func (scripted) SetWriteDeadline(time.Time) error { return nil }

// answered makes a call to a server that answers with raw.
func answered(call func(context.Context, *Client) error, raw io.Reader) (closed bool, err error) {
	c := NewClient(ClientConfig{Dial: func(context.Context, string, string) (net.Conn,
		error) {
		return scripted{raw, &closed}, nil
	}})
	err = call(context.Background(), c)
	return closed, err
}

const (
	testUID  = "2965c4ba819f866b0b62263dab403dee"
	goodPing = `{"status":{"macaddr":"1a:d6:6e:ce:b5:5f","db_state":2,"time":1795423597,"time_ms":1795423597123,` +
		`"name":"n1","uid":"` + testUID +
		`","instance":"faf9379e73b13049","cluster":"d92d900e040fdfbd9ea5060a2ad48f9b",` +
		`"history":"1-abc71fa72cf3fd26","leader":"` + testUID + `","version":"0.1.0","log_index":4}}`
	goodNode   = `{"id":7,"name":"n7","host":"10.0.0.7","port":"25483"}`
	goodStatus = `{"cluster":"c","history":"1-ab","agent":"n1","state":3,"leader":"n1","voters":["n1"],` +
		`"swept_at":"2026-11-23T18:00:00Z","took_ms":2.5,` +
		`"nodes":[{"id":7,"name":"n7","host":"10.0.0.7","port":"25483","changed":3,"verdict":"offline","stage":"connect",` +
		`"error":"connection refused","status":null}]}`
	goodNodes = `{"cluster":"c","history":"1-ab","state":3,"nodes":[{"id":7,"name":"n7","host":"10.0.0.7",` +
		`"port":"25483","changed":3}]}`
	goodProbe   = `{"nodes":[{"id":7,"verdict":"online","rtt_ms":1.5}]}`
	goodChange  = `[3,"CREATE","{\"id\":7,\"name\":\"n7\",\"host\":\"10.0.0.7\",\"port\":\"25483\"}",9,2,"k"]`
	goodChanges = `{"cluster":"c","history":"1-ab","state":3,"changes":[{"id":3,"action":"CREATE","data":` + goodNode +
		`}]}`
	goodEdit   = `{"id":3,"node":` + goodNode + `}`
	goodEvents = `{"agent":"n1","newest":9,"through":9,"events":[{"id":9,"at":"2026-11-23T18:00:00Z","event":"offline",` +
		`"node_id":7,"node":"n7","verdict":"offline","before":"online","lasted_s":1.5,"why":"no answer"}]}`
	goodShares = `{"agent":"n1","nodes":[{"id":7,"name":"n7","shares":[{"online_s":1,"watched_s":2},` +
		`{"online_s":1,"watched_s":2},{"online_s":1,"watched_s":2}]}]}`
	goodNotified = `{"notified":[{"node_id":7,"verdict":"offline","at":"2026-11-23T18:00:00Z","by":"u","done":true}]}`
	syncHeads    = "Awa-Cluster: c\r\nAwa-History: 1-ab\r\nAwa-State: 3\r\n"
)

// theEdit is what goodEdit answers.
func theEdit() awa.Edit {
	return awa.Edit{Action: awa.Create, Data: []byte(`{"name":"n7","host":"10.0.0.7","port":25483}`), Key: "k"}
}

// oneCall is a call with an answer to it that is believed.
type oneCall struct {
	name  string // as in the documentation
	bound Bound
	each  Bound  // what one node or change more adds to it
	heads string // of its answer, besides the length
	body  string // "" for a Raft stream
	make  func(context.Context, *Client) error
}

func allCalls() []oneCall {
	more := func(more, less Bound) Bound {
		return Bound{more.Bytes - less.Bytes, more.Elements - less.Elements, more.Values - less.Values}
	}
	return []oneCall{
		{name: "GET /ping", bound: PingBound(), each: Bound{}, body: goodPing,
			make: func(ctx context.Context, c *Client) error { _, err := c.Ping(ctx, "127.0.0.1:1", false); return err }},
		{"GET /v1/status", StatusBound(), Bound{}, "", goodStatus, func(ctx context.Context, c *Client) error {
			_, err := c.ClusterStatus(ctx, "127.0.0.1:1", false)
			return err
		}},
		{name: "GET /v1/view", bound: StatusBound(), each: Bound{}, body: goodStatus,
			make: func(ctx context.Context, c *Client) error { _, err := c.View(ctx, "127.0.0.1:1"); return err }},
		{name: "GET /v1/nodes", bound: NodesBound(), each: Bound{}, body: goodNodes,
			make: func(ctx context.Context, c *Client) error { _, err := c.Nodes(ctx, "127.0.0.1:1"); return err }},
		{name: "POST /v1/probe", bound: ProbeBound(1), each: more(ProbeBound(2), ProbeBound(1)), body: goodProbe,
			make: func(ctx context.Context, c *Client) error {
				_, err := c.Probe(ctx, "127.0.0.1:1", []uint64{7}, time.Second)
				return err
			}},
		{name: "GET /sync", bound: ChangesBound(1), each: more(ChangesBound(2), ChangesBound(1)), heads: syncHeads,
			body: "[" + goodChange + "]", make: func(ctx context.Context, c *Client) error {
				_, err := c.Sync(ctx, "127.0.0.1:1", awa.Position{State: 2}, 1)
				return err
			}},
		{name: "GET /v1/changes", bound: ChangesBound(1), each: more(ChangesBound(2), ChangesBound(1)), body: goodChanges,
			make: func(ctx context.Context, c *Client) error {
				_, err := c.Changes(ctx, "127.0.0.1:1", 2, 1)
				return err
			}},
		{"POST /v1/changes", EditBound(), Bound{}, "", goodEdit, func(ctx context.Context, c *Client) error {
			_, _, err := c.Edit(ctx, "127.0.0.1:1", theEdit(), 0)
			return err
		}},
		{name: "GET /v1/events", bound: EventsBound(1), each: more(EventsBound(2), EventsBound(1)), body: goodEvents,
			make: func(ctx context.Context, c *Client) error {
				_, err := c.Events(ctx, "127.0.0.1:1", awa.EventQuery{Limit: 1})
				return err
			}},
		{name: "GET /v1/availability", bound: AvailabilityBound(), each: Bound{}, body: goodShares,
			make: func(ctx context.Context, c *Client) error {
				_, _, err := c.Availability(ctx, "127.0.0.1:1")
				return err
			}},
		{name: "GET /v1/notified", bound: NotifiedBound(), each: Bound{}, body: goodNotified,
			make: func(ctx context.Context, c *Client) error {
				_, err := c.Notified(ctx, "127.0.0.1:1")
				return err
			}},
		{"POST /v1/goodbye", PushBound(), Bound{}, "", "{}", func(ctx context.Context, c *Client) error {
			return c.Goodbye(ctx, "127.0.0.1:1", awa.StopSignal)
		}},
		{"POST /v1/notified", PushBound(), Bound{}, "", "{}", func(ctx context.Context, c *Client) error {
			return c.SendNotified(ctx, "127.0.0.1:1", []awa.Notified{{NodeID: 7}})
		}},
		{"POST /push", PushBound(), Bound{}, "", wire.PushApplied, func(ctx context.Context, c *Client) error {
			return c.Push(ctx, "127.0.0.1:1", awa.Change{ID: 3, Action: awa.Delete, Data: `{"id":7}`})
		}},
		{"POST /v1/raft", RaftBound(), Bound{}, "Upgrade: awa-raft/1\r\n", "", dialRaft},
	}
}

func dialRaft(ctx context.Context, c *Client) error {
	conn, err := c.DialRaft(ctx, "127.0.0.1:1", testUID)
	if err == nil {
		conn.Close()
	}
	return err
}

// ways are the ways in which an answer can be made longer than it need be.
func ways() map[string]func(status, heads, body string, total int) io.Reader {
	return map[string]func(status, heads, body string, total int) io.Reader{
		"a length": func(status, heads, body string, total int) io.Reader {
			head := status + heads + "Content-Length: %012d\r\n\r\n"
			n := total - len(fmt.Sprintf(head, 0))
			return io.MultiReader(strings.NewReader(fmt.Sprintf(head, n)+body), spaces(n-len(body)))
		},
		"the end of the connection": func(status, heads, body string, total int) io.Reader {
			head := status + heads + "\r\n"
			return io.MultiReader(strings.NewReader(head+body), spaces(total-len(head)-len(body)))
		},
		"extensions of chunks": func(status, heads, body string, total int) io.Reader {
			var b bytes.Buffer
			fmt.Fprintf(&b, "%s%sTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n", status, heads, len(body), body)
			const bare, end = len("1;\r\n \r\n"), "0\r\n\r\n"
			for left := total - b.Len() - len(end); left > 0; left = total - b.Len() - len(end) {
				n := min(left, 4000)
				if rest := left - n; rest > 0 && rest < bare {
					n -= bare
				}
				b.WriteString("1;" + strings.Repeat("x", n-bare) + "\r\n \r\n")
			}
			b.WriteString(end)
			return &b
		},
		"answers 100 and a length": func(status, heads, body string, total int) io.Reader {
			const more = "HTTP/1.1 100 Continue\r\nX: y\r\n\r\n"
			before := strings.Repeat(more, 100)
			head := before + status + heads + "Content-Length: %012d\r\n\r\n"
			n := total - len(fmt.Sprintf(head, 0))
			return io.MultiReader(strings.NewReader(fmt.Sprintf(head, n)+body), spaces(n-len(body)))
		},
	}
}

func spaces(n int) io.Reader { return io.LimitReader(blanks{}, int64(n)) }

type blanks struct{}

var blank = bytes.Repeat([]byte(" "), 64<<10)

func (blanks) Read(b []byte) (int, error) {
	return copy(b, blank), nil
}

// TestClient_bounds_bytes answers every call with just as many bytes as it
// takes, in every way that it can be made longer, and of one more.
func TestClient_bounds_bytes(t *testing.T) {
	for _, c := range allCalls() {
		for way, long := range ways() {
			if c.body == "" || c.bound.Bytes > 1<<20 && (way != "a length" || c.name == "GET /v1/view") {
				continue // large ones are read by the same code
			}
			t.Run(c.name+" by "+way, func(t *testing.T) {
				if _, err := answered(c.make, long(ok200, c.heads, c.body, c.bound.Bytes)); err != nil {
					t.Errorf("%d bytes: %v", c.bound.Bytes, err)
				}
				closed, err := answered(c.make, long(ok200, c.heads, c.body, c.bound.Bytes+1))
				if !errors.Is(err, awa.ErrNoAgent) || !closed || !strings.Contains(err.Error(),
					fmt.Sprintf("(its answer is larger than %d KiB)", c.bound.Bytes>>10)) {
					t.Errorf("%d bytes: %v, closed %v", c.bound.Bytes+1, err, closed)
				}
			})
		}
	}
}

// TestClient_bounds_raft does the same to the upgrade to a Raft stream, whose
// answer is a head: what follows is the stream.
func TestClient_bounds_raft(t *testing.T) {
	upgrade := func(total int) io.Reader {
		head := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: awa-raft/1\r\n"
		for total-len(head) > 4100 {
			head += "X: " + strings.Repeat("y", 4000) + "\r\n"
		}
		head += "X: " + strings.Repeat("y", total-len(head)-len("X: \r\n\r\n")) + "\r\n\r\n"
		return io.MultiReader(strings.NewReader(head), spaces(1<<20))
	}
	if _, err := answered(dialRaft, upgrade(RaftBound().Bytes)); err != nil {
		t.Error(err)
	}
	if closed, err := answered(dialRaft, upgrade(RaftBound().Bytes+1)); !errors.Is(err, awa.ErrNoAgent) || !closed {
		t.Errorf("%v, closed %v", err, closed)
	}
	if closed, err := answered(dialRaft, strings.NewReader("HTTP/1.1 101 Switching Protocols\r\nUpgrade: "+
		"websocket\r\n\r\n")); !errors.Is(err, awa.ErrNoAgent) || !closed {
		t.Errorf("another protocol: %v, closed %v", err, closed)
	}
}

// TestClient_bounds_refusal has every call refused, by as many bytes as a
// refusal may have and by one more.
func TestClient_bounds_refusal(t *testing.T) {
	const status, body = "HTTP/1.1 503 No\r\n", `{"error":"it stops","code":"stopping"}`
	for _, c := range allCalls() {
		for way, long := range ways() {
			t.Run(c.name+" by "+way, func(t *testing.T) {
				head := len(status)
				switch way {
				case "a length":
					head += len("Content-Length: 000000000000\r\n\r\n")
				case "the end of the connection":
					head += len("\r\n")
				case "extensions of chunks":
					head += len("Transfer-Encoding: chunked\r\n\r\n")
				default:
					head += 100*len("HTTP/1.1 100 Continue\r\nX: y\r\n\r\n") + len("Content-Length: 000000000000\r\n\r\n")
				}
				var fault *awa.Fault
				want := awa.Fault{Code: awa.ErrStopping, Text: "it stops"}
				if c.name == "GET /ping" {
					want = awa.Fault{Code: awa.ErrNoAgent, Text: "what answers there refuses a ping: it stops"}
				}
				if _, err := answered(c.make, long(status, "", body, head+MaxRefusal)); !errors.As(err, &fault) || *fault != want {
					t.Errorf("%v", err)
				}
				closed, err := answered(c.make, long(status, "", body, head+MaxRefusal+1))
				if !errors.Is(err, awa.ErrNoAgent) || !closed || !strings.HasSuffix(err.Error(), "(HTTP status 503)") {
					t.Errorf("one byte more: %v, closed %v", err, closed)
				}
			})
		}
	}
}

// TestClient_bounds_elements has answers that are short, and hold more elements
// than there can be: they are refused before memory is taken for them.
func TestClient_bounds_elements(t *testing.T) {
	for _, c := range allCalls() {
		if c.bound.Elements == 0 {
			continue
		}
		for what, element := range map[string]string{"nulls": "null", "objects": "{}", "arrays": "[]", "numbers": "0"} {
			t.Run(c.name+" with "+what, func(t *testing.T) {
				list := "[" + strings.Repeat(element+",", min(c.bound.Bytes/8, 200_000)) + element + "]"
				body := list
				if c.name != "GET /sync" {
					key := `{"nodes":`
					switch c.name {
					case "GET /v1/changes":
						key = `{"changes":`
					case "GET /v1/events":
						key = `{"events":`
					case "GET /v1/notified":
						key = `{"notified":`
					case "GET /ping":
						key = `{"status":`
					}
					body = key + list + "}"
				}
				raw := ok200 + c.heads + fmt.Sprintf("Content-Length: %d\r\n\r\n", len(body)) + body
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				_, err := answered(c.make, strings.NewReader(raw))
				runtime.ReadMemStats(&after)
				if !errors.Is(err, awa.ErrNoAgent) || !strings.Contains(err.Error(), fmt.Sprintf("more than %d elements",
					c.bound.Elements)) {
					t.Error(err)
				}
				if took := after.TotalAlloc - before.TotalAlloc; took > 4*uint64(len(raw))+100<<10 {
					t.Errorf("%d bytes took %d bytes of memory", len(raw), took)
				}
			})
		}
	}
}

// TestBound_check counts at the edge, in JSON with all that could be miscounted.
func TestBound_check(t *testing.T) {
	const json = `{"a":[1,2,{"b":3,"c":",,[{","\",":4}],"d":["\\",5]}` // ,,, at the levels 2, 2, 3, 3, 1, 2
	for name, test := range map[string]struct {
		bound Bound
		ok    bool
	}{
		"just":             {Bound{Elements: 4, Values: 6}, true},
		"an element more":  {Bound{Elements: 3, Values: 6}, false},
		"a value more":     {Bound{Elements: 4, Values: 5}, false},
		"values unbounded": {Bound{Elements: 4}, true},
	} {
		if err := test.bound.check([]byte(json)); (err == nil) != test.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestClient_bounds_nodes holds the number of nodes of a status to its edge.
func TestClient_bounds_nodes(t *testing.T) {
	status := func(n int) io.Reader {
		var b bytes.Buffer
		b.WriteString(`{"agent":"n1","swept_at":"2026-11-23T18:00:00Z","nodes":[`)
		for i := range n {
			if i > 0 {
				b.WriteByte(',')
			}
			fmt.Fprintf(&b, `{"id":%d,"name":"n%d","host":"h","port":1,"verdict":"online"}`, i+1, i+1)
		}
		b.WriteString("]}")
		return io.MultiReader(strings.NewReader(ok200+fmt.Sprintf("Content-Length: %d\r\n\r\n", b.Len())), &b)
	}
	view := func(ctx context.Context, c *Client) error { _, err := c.View(ctx, "127.0.0.1:1"); return err }
	if _, err := answered(view, status(awa.MaxNodes)); err != nil {
		t.Error(err)
	}
	if _, err := answered(view, status(awa.MaxNodes+1)); !errors.Is(err, awa.ErrNoAgent) ||
		!strings.Contains(err.Error(), "nodes has 20001 elements") {
		t.Error(err)
	}
}

// TestClient_bounds_depth has JSON that is nested without end, for decoders
// that follow it: a stack that overflows ends the process.
func TestClient_bounds_depth(t *testing.T) {
	for _, c := range allCalls() {
		if c.bound.Elements == 0 {
			continue
		}
		for name, open := range map[string]string{
			"arrays": "[", "objects": `{"a":`, "arrays in what is known": `{"status":[`, "nodes in nodes": `{"nodes":[`,
			"data in data": `{"data":`, "nodes": `{"node":`,
		} {
			const most = 1 << 20 // a stack that follows it needs a hundred times as much
			t.Run(c.name+" of "+name, func(t *testing.T) {
				n := (min(c.bound.Bytes, most) - 1<<10) / len(open)
				body := strings.Repeat(open, n)
				raw := ok200 + c.heads + fmt.Sprintf("Content-Length: %d\r\n\r\n", len(body))
				if _, err := answered(c.make, io.MultiReader(strings.NewReader(raw), strings.NewReader(body))); !errors.Is(err,
					awa.ErrNoAgent) {
					t.Error(err)
				}
			})
		}
	}
}

// TestClient_time has calls whose context has no end, or a late one.
func TestClient_time(t *testing.T) {
	hour, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	short, cancel := context.WithTimeout(t.Context(), MaxTime-time.Second)
	defer cancel()
	for _, call := range allCalls() {
		for name, ctx := range map[string]context.Context{"no end": t.Context(), "a late end": hour,
			"an end in time": short} {
			t.Run(call.name+" with "+name, func(t *testing.T) {
				var ends time.Time
				c := NewClient(ClientConfig{Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
					ends, _ = ctx.Deadline()
					return nil, errors.New("no network")
				}})
				before := time.Now()
				if err := call.make(ctx, c); err == nil {
					t.Error("it was answered")
				}
				want := MaxTime
				if at, ok := ctx.Deadline(); ok {
					want = min(want, time.Until(at))
				}
				if d := ends.Sub(before); ends.IsZero() || d < want-10*time.Second || d > want+10*time.Second ||
					d > MaxTime+10*time.Second {
					t.Errorf("it ends after %v, want %v", d, want)
				}
			})
		}
	}
}

// TestDoc holds the documentation's table to the constants.
func TestDoc(t *testing.T) {
	text, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile(`(?m)^//\t((?:GET|POST) /\S+) +(\d+) +(\d+)(?: \w+)? +(\d+) +(\d+)(?: \w+)?$`)
	found := map[string]string{}
	for _, m := range row.FindAllStringSubmatch(string(text), -1) {
		found[m[1]] = strings.Join(m[2:], " ")
	}
	all := allCalls()
	for _, c := range all {
		fixed := func(bound, each int) int { // without the one node or change
			return bound - each
		}
		want := fmt.Sprintf("%d %d %d %d", fixed(c.bound.Bytes, c.each.Bytes), c.each.Bytes,
			fixed(c.bound.Elements, c.each.Elements), c.each.Elements)
		if found[c.name] != want {
			t.Errorf("%s: the documentation says %q, and the bounds are %q", c.name, found[c.name], want)
		}
	}
	if len(found) != len(all) {
		t.Errorf("the documentation has %d calls, and there are %d", len(found), len(all))
	}
	flat := regexp.MustCompile(`\s*\n// *`).ReplaceAllString(string(text), " ")
	for _, s := range []string{
		"MaxTime at the latest: " + MaxTime.String() + ".",
		"A head has at most " + strconv.Itoa(MaxHead) + " bytes, a line of it " + strconv.Itoa(MaxLine) + ".",
		"has a body of at most " + strconv.Itoa(MaxRefusal) + " bytes",
		"brings at most " + strconv.Itoa(MaxChanges) + " of them",
		"words of at most " + strconv.Itoa(awa.MaxWord) + " characters",
		"at most " + strconv.Itoa(awa.MaxVoters) + " voters",
		"at most " + strconv.Itoa(awa.MaxNodes) + " nodes",
		"cut at " + strconv.Itoa(awa.MaxText) + " bytes",
	} {
		if !strings.Contains(flat, s) {
			t.Errorf("the documentation doesn't say %q", s)
		}
	}
}
