package api

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/valyala/fasthttp"

	"are-we-alive/pkg/api/internal/wire"
	"are-we-alive/pkg/awa"
)

func readAll(s string) (*response, *bufio.Reader, error) {
	br := bufio.NewReader(strings.NewReader(s))
	r, err := readResponse(br, testBound, 0)
	return r, br, err
}

// testBound is the bound of the answers in these tests.
const testBound = 1 << 20

const ok200 = "HTTP/1.1 200 OK\r\n"

func TestReadResponse(t *testing.T) {
	for name, test := range map[string]struct {
		raw    string
		status int
		body   string
		last   bool
		rest   string // what is left for the next answer
	}{
		"a length":              {ok200 + "Content-Length: 2\r\n\r\nhimore", 200, "hi", false, "more"},
		"another case":          {ok200 + "content-LENGTH:2\r\n\r\nhi", 200, "hi", false, ""},
		"spaces around a value": {ok200 + "Content-Length: \t 2 \r\n\r\nhi", 200, "hi", false, ""},
		"a length twice":        {ok200 + "Content-Length: 2\r\nContent-Length: 2\r\n\r\nhi", 200, "hi", false, ""},
		"length 0":              {ok200 + "Content-Length: 0\r\n\r\nx", 200, "", false, "x"},
		"no reason":             {"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", 200, "", false, ""},
		"an empty reason":       {"HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", 200, "", false, ""},
		"chunks": {raw: ok200 + "Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n00A \r\n0123456789\r\n0\r\n\r\nx",
			status: 200, body: "hi0123456789", rest: "x"},
		"chunks with more": {raw: ok200 + "Transfer-Encoding: Chunked\r\n\r\n2;a=b\r\nhi\r\n0;c\r\nTrailer: x\r\n\r\nx",
			status: 200, body: "hi", rest: "x"},
		"no length":               {ok200 + "\r\nhi", 200, "hi", true, ""},
		"it will close":           {ok200 + "Connection: close\r\nContent-Length: 2\r\n\r\nhi", 200, "hi", true, ""},
		"it will close, in words": {ok200 + "Connection: x , Close\r\nContent-Length: 2\r\n\r\nhi", 200, "hi", true, ""},
		"HTTP/1.0":                {"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", 200, "hi", true, ""},
		"HTTP/1.0, kept open": {raw: "HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 2\r\n\r\nhi",
			status: 200, body: "hi"},
		"100 before it": {raw: "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: x\r\n\r\n" + ok200 +
			"Content-Length: 2\r\n\r\nhi", status: 200, body: "hi"},
		"101":               {"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nraft", 101, "", true, "raft"},
		"101 with a length": {"HTTP/1.1 101 Switching Protocols\r\nContent-Length: 4\r\n\r\nraft", 101, "", true, "raft"},
		"204":               {"HTTP/1.1 204 No Content\r\n\r\nx", 204, "", false, "x"},
		"304 with a length": {"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\nx", 304, "", false, "x"},
		"the longest line": {raw: ok200 + "X: " + strings.Repeat("y", MaxLine-5) + "\r\nContent-Length: 2\r\n\r\nhi",
			status: 200, body: "hi"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, wrap := range []func(io.Reader) io.Reader{func(r io.Reader) io.Reader { return r }, iotest.OneByteReader,
				iotest.DataErrReader} {
				br := bufio.NewReaderSize(wrap(strings.NewReader(test.raw)), 16)
				r, err := readResponse(br, testBound, 0)
				if err != nil {
					t.Fatal(err)
				}
				rest, _ := io.ReadAll(br)
				if r.status != test.status || string(r.body) != test.body || r.last != test.last || string(rest) != test.rest {
					t.Errorf("%d %q, last %v, then %q", r.status, r.body, r.last, rest)
				}
			}
		})
	}
}

func TestReadResponse_malformed(t *testing.T) {
	const (
		first  = "something answers there that is not an awa-agent (HTTP: its first line)"
		line   = "something answers there that is not an awa-agent (HTTP: a line of its head)"
		header = "something answers there that is not an awa-agent (HTTP: a header)"
		long   = "something answers there that is not an awa-agent (HTTP: its head is too long)"
		length = "something answers there that is not an awa-agent (HTTP: its length)"
		coding = "something answers there that is not an awa-agent (HTTP: its transfer coding)"
		chunk  = "something answers there that is not an awa-agent (HTTP: a chunk)"
		closed = "the connection was closed without an answer"
		half   = "the connection was closed in the middle of the answer"
		large  = "something answers there that is not an awa-agent (its answer is larger than 1024 KiB)"
	)
	const chunks = ok200 + "Transfer-Encoding: chunked\r\n\r\n"
	for name, test := range map[string]struct{ raw, text string }{
		"nothing":                  {"", closed},
		"half a first line":        {"HTTP/1.1 2", closed},
		"half a head":              {ok200 + "Content-Le", closed},
		"100 and nothing":          {"HTTP/1.1 100 Continue\r\n\r\n", closed},
		"half a body":              {ok200 + "Content-Length: 9\r\n\r\n{", half},
		"no body":                  {ok200 + "Content-Length: 9\r\n\r\n", half},
		"half a chunk":             {chunks + "5\r\nab", half},
		"no chunk":                 {chunks, half},
		"no last chunk":            {chunks + "2\r\nab\r\n", half},
		"half a trailer":           {chunks + "0\r\nX: y\r\n", half},
		"SSH":                      {"SSH-2.0-OpenSSH_9.2\r\n", first},
		"HTTP/2":                   {"HTTP/2.0 200 OK\r\n\r\n", first},
		"HTTP/1.10":                {"HTTP/1.10 200 OK\r\n\r\n", first},
		"http":                     {"http/1.1 200 OK\r\n\r\n", first},
		"no status":                {"HTTP/1.1\r\n\r\n", first},
		"a status of two digits":   {"HTTP/1.1 20 OK\r\n\r\n", first},
		"a status of four digits":  {"HTTP/1.1 2000 OK\r\n\r\n", first},
		"a status below 100":       {"HTTP/1.1 099 OK\r\n\r\n", first},
		"a status with a sign":     {"HTTP/1.1 +20 OK\r\n\r\n", first},
		"two spaces":               {"HTTP/1.1  200 OK\r\n\r\n", first},
		"an empty line":            {"\r\n" + ok200 + "\r\n", first},
		"a bare line feed":         {"HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n", line},
		"a bare carriage return":   {ok200 + "X: a\rContent-Length: 2\r\n\r\nhi", line},
		"a NUL byte":               {ok200 + "X: a\x00b\r\n\r\n", line},
		"no colon":                 {ok200 + "X\r\n\r\n", header},
		"no name":                  {ok200 + ": x\r\n\r\n", header},
		"a space before the colon": {ok200 + "Content-Length : 2\r\n\r\nhi", header},
		"a folded line":            {ok200 + "X: y\r\n Content-Length: 2\r\n\r\nhi", header},
		"a name that is not ASCII": {ok200 + "Ä: y\r\n\r\n", header},
		"a long line":              {ok200 + "X: " + strings.Repeat("y", MaxLine-4) + "\r\n\r\n", long},
		"a line without end":       {ok200 + strings.Repeat("y", 1<<20), long},
		"a long head":              {ok200 + strings.Repeat("X: y\r\n", MaxHead/6) + "\r\n", long},
		"100 without end":          {strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 3000), long},
		"a long trailer":           {chunks + "0\r\n" + strings.Repeat("X: y\r\n", MaxHead/6) + "\r\n", long},
		"a length that is none":    {ok200 + "Content-Length: many\r\n\r\n", length},
		"an empty length":          {ok200 + "Content-Length:\r\n\r\n", length},
		"a length below 0":         {ok200 + "Content-Length: -1\r\n\r\n", length},
		"a length with a sign":     {ok200 + "Content-Length: +2\r\n\r\nhi", length},
		"a length in hex":          {ok200 + "Content-Length: 0x2\r\n\r\nhi", length},
		"an absurd length":         {ok200 + "Content-Length: 99999999999999999999\r\n\r\n", length},
		"two lengths":              {ok200 + "Content-Length: 2\r\nX: y\r\nContent-Length: 3\r\n\r\nhi!", length},
		"two lengths in one":       {ok200 + "Content-Length: 2, 2\r\n\r\nhi", length},
		"a length and chunks":      {ok200 + "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", coding},
		"chunks and a length":      {ok200 + "Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n", coding},
		"packed":                   {ok200 + "Transfer-Encoding: gzip\r\n\r\n", coding},
		"packed chunks":            {ok200 + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", coding},
		"chunks twice": {ok200 + "Transfer-Encoding: chunked\r\n" +
			"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", coding},
		"chunks in HTTP/1.0":         {"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", coding},
		"an empty coding":            {ok200 + "Transfer-Encoding:\r\n\r\n", coding},
		"a chunk's size is none":     {chunks + "xyz\r\n", chunk},
		"a chunk with a space":       {chunks + "2 ;a=b\r\nhi\r\n0\r\n\r\n", chunk},
		"a chunk without size":       {chunks + "\r\n", chunk},
		"a chunk's size has a sign":  {chunks + "+2\r\nhi\r\n0\r\n\r\n", chunk},
		"a chunk's size is 0x2":      {chunks + "0x2\r\nhi\r\n0\r\n\r\n", chunk},
		"a chunk's size is absurd":   {chunks + "fffffffffffffffff\r\n", chunk},
		"a chunk goes on":            {chunks + "2\r\nhi!\r\n0\r\n\r\n", chunk},
		"a length beyond the bound":  {ok200 + "Content-Length: 1048577\r\n\r\n{", large},
		"a chunk beyond the bound":   {chunks + "100001\r\n{", large},
		"chunks beyond the bound":    {chunks + "1\r\n{\r\n100000\r\n{", large},
		"a chunk beyond an int":      {chunks + "7fffffffffffffff\r\n{", large},
		"a length just in the bound": {ok200 + "Content-Length: 1048000\r\n\r\n{", half},
	} {
		t.Run(name, func(t *testing.T) {
			if r, _, err := readAll(test.raw); err == nil || err.Error() != test.text {
				t.Errorf("%v, %+v\nwant %s", err, r, test.text)
			}
		})
	}
}

// TestReadResponse_memory has answers that announce more than they send.
func TestReadResponse_memory(t *testing.T) {
	for name, raw := range map[string]string{
		"length": ok200 + "Content-Length: 1000000\r\n\r\n" + strings.Repeat("x", 1000),
		"chunk":  ok200 + "Transfer-Encoding: chunked\r\n\r\nf0000\r\n" + strings.Repeat("x", 1000),
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, _, err := readAll(raw)
			runtime.ReadMemStats(&after)
			if took := after.TotalAlloc - before.TotalAlloc; !errors.Is(err, errHalf) || took > 100<<10 {
				t.Errorf("%v, after %d bytes of memory", err, took)
			}
		})
	}
}

func TestReadResponse_values(t *testing.T) {
	r, _, err := readAll(ok200 + "Awa-State: 7\r\nawa-cluster:c\r\nX-Awa-Cluster: d\r\nAwa-Cluster: " +
		"e\r\nContent-Length: 0\r\n\r\n")
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprintf("%q", append(r.values("Awa-Cluster"), r.value("Awa-State"), r.value("Awa"),
		r.value("Awa-Statement"))); got != `["c" "e" "7" "" ""]` {
		t.Error(got)
	}
}

// TestClient_requests fixes what stands on the wire.
func TestClient_requests(t *testing.T) {
	history, err := awa.ParseHistory("1-abc71fa72cf3fd26")
	if err != nil {
		t.Fatal(err)
	}
	agent := func() awa.Caller { return awa.Caller{UID: "u", Cluster: "c", History: history, State: 7} }
	agentUA := "User-Agent: are-we-alive/" + awa.Version + "\r\n"
	for name, test := range map[string]struct {
		caller func() awa.Caller
		req    request
		raw    string
	}{
		"of a monitoring client": {nil, request{path: wire.PathStatus1, query: "cached=1"},
			"GET /v1/status?cached=1 HTTP/1.1\r\nHost: h:1\r\n" + agentUA + "\r\n"},
		"of an agent": {caller: agent, req: request{path: wire.PathPing},
			raw: "GET /ping HTTP/1.1\r\nHost: h:1\r\n" + agentUA + "Awa-Uid: u\r\nAwa-State: 7\r\nAwa-Cluster: " +
				"c\r\nAwa-History: 1-abc71fa72cf3fd26\r\n\r\n"},
		"of one that has not joined": {func() awa.Caller { return awa.Caller{UID: "u"} }, request{path: wire.PathPing},
			"GET /ping HTTP/1.1\r\nHost: h:1\r\n" + agentUA + "Awa-Uid: u\r\nAwa-State: 0\r\n\r\n"},
		"an edit": {req: request{method: methodPost, path: wire.PathChanges, body: "<ü>", key: "k", hops: 2},
			raw: "POST /v1/changes HTTP/1.1\r\nHost: h:1\r\n" + agentUA + "Awa-Hops: 2\r\nIdempotency-Key: " +
				"k\r\nContent-Type: application/json\r\nContent-Length: 6\r\n\r\n\"<ü>\""},
		"a Raft stream": {req: request{method: methodPost, path: wire.PathRaft, raftTo: "u"},
			raw: "POST /v1/raft HTTP/1.1\r\nHost: h:1\r\n" + agentUA + "Awa-To: u\r\nConnection: Upgrade\r\nUpgrade: " +
				"awa-raft/1\r\nContent-Length: 0\r\n\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			c, sent := NewClient(ClientConfig{Caller: test.caller}), bytes.Buffer{}
			c.exchange(bufio.NewWriter(&sent), bufio.NewReader(strings.NewReader("")), "h:1", test.req, isRaft)
			if sent.String() != test.raw {
				t.Errorf("%q\nwant\n%q", &sent, test.raw)
			}
		})
	}
	t.Run("nothing can be smuggled into a header", func(t *testing.T) {
		c, sent := NewClient(ClientConfig{}), bytes.Buffer{}
		_, err := c.exchange(bufio.NewWriter(&sent), nil, "h:1", request{path: wire.PathPing, key: "k\r\nX: y"}, isRaft)
		if !errors.Is(err, awa.ErrBadInput) || sent.Len() > 0 {
			t.Errorf("%v, %q", err, &sent)
		}
	})
}

// generate writes an answer as a server may.
func generate(r *rand.Rand) string {
	pick := func(all ...string) string { return all[r.IntN(len(all))] }
	body := strings.Repeat(pick("", "x", "{\"a\":1}\r\n", "0\r\n\r\n"), r.IntN(2000))
	var b strings.Builder
	b.WriteString("HTTP/1.1 " + pick("200 OK", "404 Not Found", "503 Service Unavailable", "409") + "\r\n")
	for range r.IntN(4) {
		b.WriteString(pick("Date: Mon, 23 Nov 2026 20:00:00 GMT", "Content-Type: application/json", "X-Empty:",
			"Awa-State: 7", "Via: 1.1 ü") + "\r\n")
	}
	b.WriteString(pick("", "", "Connection: close\r\n", "Connection: keep-alive\r\n"))
	if r.IntN(2) == 0 {
		fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(body), body)
		return b.String()
	}
	b.WriteString("Transfer-Encoding: chunked\r\n\r\n")
	for len(body) > 0 {
		n := 1 + r.IntN(len(body))
		fmt.Fprintf(&b, "%x\r\n%s\r\n", n, body[:n])
		body = body[n:]
	}
	b.WriteString("0\r\n\r\n")
	return b.String()
}

// TestReadResponse_like_fasthttp holds our reader to another one.
func TestReadResponse_like_fasthttp(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		raw := generate(rnd)
		r, _, err := readAll(raw + "HTTP/1.1 200 OK\r\n")
		if err != nil {
			t.Fatalf("%v: %.300q", err, raw)
		}
		var want fasthttp.Response
		if err := want.Read(bufio.NewReader(strings.NewReader(raw))); err != nil {
			t.Fatalf("%v: %.300q", err, raw)
		}
		if r.status != want.StatusCode() || !bytes.Equal(r.body, want.Body()) || r.last != want.ConnectionClose() ||
			r.value("Awa-State") != string(want.Header.Peek("Awa-State")) {
			t.Fatalf("%d, last %v, %d bytes: %.300q", r.status, r.last, len(r.body), raw)
		}
	}
}

// FuzzReadResponse sends any bytes. What we read, the standard library reads
// too, and understands in the same way.
func FuzzReadResponse(f *testing.F) {
	rnd := rand.New(rand.NewPCG(3, 4))
	for range 20 {
		f.Add([]byte(generate(rnd)))
	}
	for _, seed := range []string{
		ok200 + "Content-Length: 2\r\nContent-Length: 2\r\n\r\nhi", ok200 + "\r\nhi", "HTTP/1.0 200 OK\r\nConnection: " +
			"Keep-Alive\r\nContent-Length: 2\r\n\r\nhi",
		"HTTP/1.1 100 Continue\r\n\r\n" + ok200 + "Content-Length: 2\r\n\r\nhi", "HTTP/1.1 101 Switching " +
			"Protocols\r\nConnection: Upgrade\r\nUpgrade: awa-raft/1\r\n\r\nraft",
		"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", ok200 + "Content-Length: 2\r\nTransfer-Encoding: " +
			"chunked\r\n\r\n0\r\n\r\n",
		ok200 + "Transfer-Encoding: chunked\r\n\r\n2;a=b\r\nhi\r\n0;c\r\nTrailer: x\r\n\r\nx", ok200 +
			"X: y\r\n z\r\n\r\n", "SSH-2.0-OpenSSH_9.2\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		br := bufio.NewReader(bytes.NewReader(raw))
		r, err := readResponse(br, testBound, 0)
		if err != nil {
			if text := err.Error(); strings.ContainsAny(text, "\r\n\x00") || len(text) > 200 {
				t.Errorf("the sentence is not fit for one line: %q", text)
			}
			return
		}
		rest, _ := io.ReadAll(br)
		theirs := bufio.NewReader(bytes.NewReader(raw))
		var want *http.Response
		for want == nil || want.StatusCode < 200 && want.StatusCode != 101 {
			if want, err = http.ReadResponse(theirs, nil); err != nil {
				t.Fatalf("%q is read, though it is %v", raw, err)
			}
		}
		var body []byte
		if r.status != 101 {
			if body, err = io.ReadAll(want.Body); err != nil {
				t.Fatalf("the body of %q is read, though it is %v", raw, err)
			}
		}
		left, _ := io.ReadAll(theirs)
		if r.status != want.StatusCode || !bytes.Equal(r.body, body) || want.Close && !r.last || !r.last &&
			!bytes.Equal(rest, left) {
			t.Errorf("%q is read as %d %q, last %v, then %q;\nnot %d %q, last %v, then %q", raw, r.status, r.body, r.last,
				rest, want.StatusCode, body, want.Close, left)
		}
	})
}
