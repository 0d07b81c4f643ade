package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"are-we-alive/pkg/awa"
)

func heapInUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// fuzzAnswer answers a call with any bytes: nothing panics, the
// memory stays in proportion to what was sent, and the answer is either good
// or an error whose sentence can be shown. good is the answer that the lies
// begin with; call returns what makes a result wrong that was given as good.
func fuzzAnswer(f *testing.F, heads, good string, call func(context.Context, *Client) (wrong, err error)) {
	status := 200
	if good == "" {
		status = 101
	}
	answer := func(body string) []byte {
		return fmt.Appendf(nil, "HTTP/1.1 %d X\r\n%sContent-Length: %d\r\n\r\n%s", status, heads, len(body), body)
	}
	f.Add(answer(good))
	f.Add(fmt.Appendf(nil, "HTTP/1.1 103 X\r\n\r\nHTTP/1.1 %d X\r\n%sTransfer-Encoding: "+
		"chunked\r\n\r\n%x;e\r\n%s\r\n0\r\nT: x\r\n\r\n", status, heads, len(good), good))
	for _, body := range []string{
		strings.Repeat("[", 20_000), strings.Repeat(`{"a":`, 10_000), `{"nodes":[` + strings.Repeat("{},", 10_000) +
			"{}]}", "[" + strings.Repeat("[],", 10_000) + "[]]",
		"null", "{}", "[]", `""`, "1e999", `{"nodes":null,"changes":null,"node":null,"status":null,"voters":null}`,
		strings.ReplaceAll(good, "1", "18446744073709551615"), strings.ReplaceAll(good, "7",
			"-9e307"), strings.ReplaceAll(good, "n", `\u001b`), good + good,
	} {
		f.Add(answer(body))
	}
	f.Add([]byte("HTTP/1.1 409 X\r\nContent-Length: 36\r\n\r\n" + `{"error":"\u001b[2J","code":"gap"}` + "  "))
	f.Add([]byte("HTTP/1.0 200 OK\r\n" + heads + "\r\n" + good))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := answered(func(ctx context.Context, c *Client) error {
			wrong, err := call(ctx, c)
			if err == nil && wrong != nil {
				t.Errorf("%q is believed: %v", raw, wrong)
			}
			return err
		}, bytes.NewReader(raw))
		runtime.ReadMemStats(&after)
		// A node that is empty has three bytes, and some 500 when it is decoded.
		if took := after.TotalAlloc - before.TotalAlloc; took > 1<<20+500*uint64(len(raw)) {
			t.Errorf("%d bytes took %d bytes of memory", len(raw), took)
		}
		if err == nil {
			return
		}
		var ping *awa.PingError
		var fault *awa.Fault
		if !errors.As(err, &ping) && !errors.As(err, &fault) {
			t.Errorf("%q is an error of another kind: %v", raw, err)
		}
		if text := err.Error(); awa.CleanText(text) != text && len(text) < awa.MaxText || len(text) > 2*awa.MaxText {
			t.Errorf("%q has a sentence that can't be shown: %q", raw, text)
		}
	})
}

func FuzzPing(f *testing.F) {
	fuzzAnswer(f, "", goodPing, func(ctx context.Context, c *Client) (error, error) {
		self, err := c.Ping(ctx, "127.0.0.1:1", false)
		return self.Check(), err
	})
}

func FuzzClusterStatus(f *testing.F) {
	fuzzAnswer(f, "", goodStatus, func(ctx context.Context, c *Client) (error, error) {
		s, err := c.ClusterStatus(ctx, "127.0.0.1:1", true)
		return checkShown(s), err
	})
}

func FuzzView(f *testing.F) {
	fuzzAnswer(f, "", goodStatus, func(ctx context.Context, c *Client) (error, error) {
		s, err := c.View(ctx, "127.0.0.1:1")
		return checkShown(s), err
	})
}

func FuzzNodes(f *testing.F) {
	fuzzAnswer(f, "", goodNodes, func(ctx context.Context, c *Client) (error, error) {
		set, err := c.Nodes(ctx, "127.0.0.1:1")
		return set.Check(), err
	})
}

// checkShown is Check, and looks at the sentences too.
func checkShown(s awa.ClusterStatus) error {
	for _, n := range s.Nodes {
		if awa.CleanText(n.Error) != n.Error {
			return fmt.Errorf("%q can't be shown", n.Error)
		}
	}
	return s.Check()
}

func FuzzProbe(f *testing.F) {
	ids := []uint64{7, 8}
	fuzzAnswer(f, "", goodProbe, func(ctx context.Context, c *Client) (error, error) {
		all, err := c.Probe(ctx, "127.0.0.1:1", ids, time.Second)
		for _, o := range all {
			if awa.CleanText(o.Error) != o.Error {
				return fmt.Errorf("%q can't be shown", o.Error), err
			}
		}
		return awa.CheckOpinions(all, ids), err
	})
}

func FuzzSync(f *testing.F) {
	fuzzAnswer(f, syncHeads, "["+goodChange+"]", func(ctx context.Context, c *Client) (error, error) {
		set, err := c.Sync(ctx, "127.0.0.1:1", awa.Position{State: 2}, 3)
		return set.Check(2, 3), err
	})
}

func FuzzChanges(f *testing.F) {
	fuzzAnswer(f, "", goodChanges, func(ctx context.Context, c *Client) (error, error) {
		set, err := c.Changes(ctx, "127.0.0.1:1", 2, 3)
		return set.Check(2, 3), err
	})
}

func FuzzPush(f *testing.F) {
	fuzzAnswer(f, "", "Change applied", func(ctx context.Context, c *Client) (error, error) {
		return nil, c.Push(ctx, "127.0.0.1:1", awa.Change{ID: 3, Action: awa.Delete, Data: `{"id":7}`})
	})
}

func FuzzEdit(f *testing.F) {
	fuzzAnswer(f, "", goodEdit, func(ctx context.Context, c *Client) (error, error) {
		id, node, err := c.Edit(ctx, "127.0.0.1:1", theEdit(), 0)
		return theEdit().CheckOutcome(id, &node), err
	})
}

func FuzzDialRaft(f *testing.F) {
	fuzzAnswer(f, "Upgrade: awa-raft/1\r\n", "", func(ctx context.Context, c *Client) (error, error) {
		return nil, dialRaft(ctx, c)
	})
}
