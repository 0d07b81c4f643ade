//go:build system

package hostile

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/awatest/testaid"
	"are-we-alive/test/program"
)

// An Idempotency-Key answers the same edit again, and refuses any other one,
// at each agent.
func TestKeyUsedAgain(t *testing.T) {
	eachKey(t, func(t *testing.T, keys string) {
		client := memberOf(t, keys, awa.Caller{})
		all := program.Cluster(t, keys, 2)
		edit := func(a *program.Agent, action awa.Action, data string) (uint64, error) {
			ctx, cancel := context.WithTimeout(t.Context(), editWithin)
			defer cancel()
			id, _, err := client.Edit(ctx, a.Addr(), awa.Edit{Action: action, Data: []byte(data), Key: "one-key"}, 0)
			return id, err
		}
		first, err := edit(all[0], awa.Create, `{"name":"x","host":"h","port":1,"labels":{"a":"1","b":"2"}}`)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			for _, a := range all {
				again, err := edit(a, awa.Create, `{"labels":{"b":"2","a":"1"},"port":"1","host":"h","name":"x","by":"another"}`)
				if err != nil || again != first {
					t.Errorf("the same edit at %s gave %d, %v, and the first one %d", a.Name, again, err, first)
				}
				for _, other := range [][2]string{
					{"CREATE", `{"name":"y","host":"h","port":1,"labels":{"a":"1","b":"2"}}`},
					{"CREATE", `{"name":"x","host":"h","port":1}`},
					{"UPDATE", `{"id":1,"name":"x","host":"h","port":1}`},
					{"DELETE", `{"id":1}`},
				} {
					id, err := edit(a, awa.Action(other[0]), other[1])
					if !errors.Is(err, awa.ErrKeyReused) || !strings.Contains(err.Error(), "one-key") {
						t.Errorf("another edit (%s %s) at %s gave %d, %v", other[0], other[1], a.Name, id, err)
					}
				}
			}
			restart(all)
			client.CloseIdle() // an edit is sent once, over a connection that may be dead now
		}
	})
}

// cutter stands between an agent and the others. It passes everything on until
// it is armed: then it lets one edit through and cuts off its answer, and
// answers those that follow as an agent of another cluster would.
type cutter struct {
	ln net.Listener
	to string

	mu        sync.Mutex
	armed     bool
	cut, told int
	all       sync.WaitGroup
}

func newCutter(t *testing.T) *cutter {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return &cutter{ln: ln}
}

// serve passes connections on until the test ends.
func (c *cutter) serve(t *testing.T, to string) {
	c.to = to
	ctx, stop := context.WithCancel(context.Background())
	c.all.Go(func() {
		for {
			conn, err := c.ln.Accept()
			if err != nil {
				return
			}
			c.all.Go(func() { c.pass(ctx, conn) })
		}
	})
	t.Cleanup(func() {
		stop()
		c.ln.Close()
		c.all.Wait()
	})
}

// pass passes a connection on in both directions.
func (c *cutter) pass(ctx context.Context, near net.Conn) {
	far, err := net.Dial("tcp", c.to)
	if err != nil {
		near.Close()
		return
	}
	closeBoth := func() { near.Close(); far.Close() }
	defer closeBoth()
	defer context.AfterFunc(ctx, closeBoth)()
	var cutting sync.Once
	lost := make(chan struct{}) // closed when the next bytes of the answer are to be lost
	c.all.Go(func() {
		defer closeBoth()
		r := bufio.NewReader(far)
		for b := make([]byte, 64<<10); ; {
			n, err := r.Read(b)
			select {
			case <-lost:
				return
			default:
			}
			if _, e := near.Write(b[:n]); err != nil || e != nil {
				return
			}
		}
	})
	for b := make([]byte, 64<<10); ; {
		n, err := near.Read(b)
		if bytes.HasPrefix(b[:n], []byte("POST /v1/changes")) {
			switch c.next() {
			case "cut":
				cutting.Do(func() { close(lost) })
			case "refuse":
				body := `{"error":"agent elsewhere belongs to another cluster","code":"other_cluster"}`
				fmt.Fprintf(near, "HTTP/1.1 409 Conflict\r\nContent-Type: application/json\r\nContent-Length: "+
					"%d\r\nConnection: close\r\n\r\n%s", len(body), body)
				return
			}
		}
		if _, e := far.Write(b[:n]); err != nil || e != nil {
			if errors.Is(err, io.EOF) {
				return
			}
			return
		}
	}
}

// next says what becomes of the next edit.
func (c *cutter) next() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case !c.armed:
		return ""
	case c.cut == 0:
		c.cut++
		return "cut"
	}
	c.told++
	return "refuse"
}

// The answer to an edit that one agent passed on to another is lost, and what
// is tried next is refused for a reason that has nothing to do with it: then it
// is not known whether the edit was made, and that is what the client is told.
func TestLostAnswer(t *testing.T) {
	t.Parallel()
	client := memberOf(t, "", awa.Caller{})
	between := newCutter(t)
	_, port, err := net.SplitHostPort(between.ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	a1 := program.NewAgent(t, "a1", "--first", "--my-port", port)
	a1.Start()
	between.serve(t, a1.Addr())
	a2 := program.NewAgent(t, "a2", "--join", between.ln.Addr().String())
	a2.Start()
	testaid.Await(t, 30*time.Second, func() error {
		if r := a2.Check(""); r.Code != 0 || !strings.Contains(r.Out, "2 of 2 nodes online") {
			return fmt.Errorf("check_awa: %s%s", r.Out, r.Errors)
		}
		return nil
	})
	between.mu.Lock()
	between.armed = true
	between.mu.Unlock()
	ctx, cancel := context.WithTimeout(t.Context(), editWithin)
	defer cancel()
	e := awa.Edit{Action: awa.Create, Data: []byte(`{"name":"x","host":"h","port":1}`), Key: awa.NewUID()}
	_, _, err = client.Edit(ctx, a2.Addr(), e, 0)
	if !errors.Is(err, awa.ErrUnknownOutcome) || !strings.Contains(err.Error(), "not known whether the edit was made") ||
		!strings.Contains(err.Error(), "read the list") {
		t.Errorf("the edit was answered with %v", err)
	}
	between.mu.Lock()
	if between.cut != 1 || between.told == 0 {
		t.Errorf("%d answers were cut off, %d edits refused", between.cut, between.told)
	}
	between.armed = false
	between.mu.Unlock()
	again, _, err := client.Edit(ctx, a2.Addr(), e, 0) // it was made, and is answered so
	if err != nil {
		t.Fatal(err)
	}
	if self := pingAgent(t, client, a1); self.State != again {
		t.Errorf("the edit is change %d, and the state is %d", again, self.State)
	}
}
