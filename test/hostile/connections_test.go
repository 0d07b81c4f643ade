//go:build system

package hostile

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"are-we-alive/pkg/api"
	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/awatest/testaid"
	"are-we-alive/pkg/trust"
	"are-we-alive/test/program"
)

// manyConns is more than an agent has places for.
const manyConns = 8200

// checkKey derives the check key of a cluster's key file; "" for none.
func checkKey(t *testing.T, keys string) string {
	t.Helper()
	if keys == "" {
		return ""
	}
	file := filepath.Join(t.TempDir(), "check.key")
	if r := program.Run(t, "awa-agent", "key", "check", "--key-file", keys, file); r.Code != 0 {
		t.Fatalf("key check: %d %s%s", r.Code, r.Out, r.Errors)
	}
	return file
}

// dialer opens connections from one address with the keys of a file, if any.
type dialer struct {
	from net.Dialer
	ring *trust.Keyring
}

func newDialer(t *testing.T, from, keys string) *dialer {
	t.Helper()
	d := &dialer{from: net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}}
	if keys == "" {
		return d
	}
	all, err := trust.ReadFile(keys, false)
	if err == nil {
		d.ring, err = trust.NewClient(all, awa.RoleCheck)
	}
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func (d *dialer) secure(ctx context.Context, conn net.Conn, addr, uid string) (net.Conn, error) {
	if d.ring == nil {
		return conn, nil
	}
	return d.ring.Secure(ctx, conn, addr, uid)
}

// client is one of ours that calls from this address.
func (d *dialer) client(t *testing.T) *api.Client {
	c := api.NewClient(api.ClientConfig{Dial: d.from.DialContext, Secure: d.secure})
	t.Cleanup(c.Close)
	return c
}

// holders hold connections on which they have asked something once.
type holders struct {
	open, answered atomic.Int32
	all            sync.WaitGroup
	mu             sync.Mutex
	conns          []net.Conn
}

// hold opens a connection, asks for a ping, and holds it until the agent or end
// closes it.
func (h *holders) hold(ctx context.Context, d *dialer, addr string) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	conn, err := d.from.DialContext(ctx, "tcp", addr)
	if err != nil {
		return
	}
	safe, err := d.secure(ctx, conn, addr, "")
	if err != nil {
		return
	}
	safe.SetDeadline(time.Now().Add(10 * time.Second))
	io.WriteString(safe, "GET /ping HTTP/1.1\r\nHost: "+addr+"\r\n\r\n")
	r := bufio.NewReaderSize(safe, 1<<10)
	if a, err := http.ReadResponse(r, nil); err != nil || a.StatusCode != http.StatusOK {
		conn.Close()
		return
	} else if _, err := io.Copy(io.Discard, a.Body); err != nil {
		conn.Close()
		return
	}
	safe.SetDeadline(time.Time{})
	h.mu.Lock()
	h.conns = append(h.conns, conn)
	h.mu.Unlock()
	h.answered.Add(1)
	h.open.Add(1)
	h.all.Go(func() {
		io.Copy(io.Discard, conn)
		h.open.Add(-1)
		conn.Close()
	})
}

// crowd holds n connections, from each of some addresses in turn.
func (h *holders) crowd(t *testing.T, n int, addr string, from ...*dialer) {
	t.Helper()
	var next atomic.Int32
	var workers sync.WaitGroup
	for range 8 {
		workers.Go(func() {
			for i := int(next.Add(1)); i <= n; i = int(next.Add(1)) {
				h.hold(t.Context(), from[i%len(from)], addr)
			}
		})
	}
	workers.Wait()
}

func (h *holders) end() {
	h.mu.Lock()
	for _, c := range h.conns {
		c.Close()
	}
	h.mu.Unlock()
	h.all.Wait()
}

// enoughFiles leaves a test out that needs more descriptors than there are.
func enoughFiles(t *testing.T, n uint64) {
	t.Helper()
	var limit syscall.Rlimit
	err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit)
	if err == nil && limit.Cur < n {
		limit.Cur = limit.Max
		err = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
	}
	if err != nil || limit.Cur < n {
		testaid.Skip(t, "it needs ", n, " open files, and the limit is ", limit.Cur)
	}
}

// TestConnections lets two addresses open more connections than an agent has
// places for. They get their shares; the other agents, whose connections are
// closed then, and a caller from a third address still get in.
func TestConnections(t *testing.T) {
	enoughFiles(t, manyConns+1000)
	for name, c := range map[string]struct {
		keys string
		most int32 // connections that the two can hold; without a key they are members
		cost int   // MiB that these cost at most
	}{
		"check key": {program.NewKey(t), 2 * 64, 40},
		"plain":     {"", 6080, 100},
	} {
		t.Run(name, func(t *testing.T) {
			check := checkKey(t, c.keys)
			agents := program.Cluster(t, c.keys, 3)
			a := agents[0]
			quiet := time.Duration(0)
			for range 5 {
				quiet = max(quiet, a.Check(check).Took)
			}
			// Thousands of handshakes come from this machine too.
			end := sync.OnceValue(a.Witness(check, max(time.Second, 10*quiet)))
			defer end()
			before := a.RSS()

			h := &holders{}
			defer h.end()
			began := time.Now()
			h.crowd(t, manyConns, a.Addr(), newDialer(t, "127.0.0.2", check), newDialer(t, "127.0.0.3", check))
			t.Logf("%d connections had an answer within %v, %d are open; resident were %d KiB, are %d, at most %d",
				h.answered.Load(), time.Since(began).Round(time.Millisecond), h.open.Load(), before>>10, a.RSS()>>10,
				a.PeakRSS()>>10)
			testaid.Await(t, 20*time.Second, func() error {
				if n := h.open.Load(); n > c.most {
					return fmt.Errorf("two callers hold %d connections, at most %d are their share", n, c.most)
				}
				return nil
			})
			if n := h.open.Load(); n < 128 {
				t.Errorf("two callers hold %d connections, 64 each are their share", n)
			}
			if grown := (a.PeakRSS() - before) >> 20; grown > c.cost {
				t.Errorf("it grew by %d MiB, at most %d are allowed", grown, c.cost)
			}

			for _, other := range agents[1:] { // they close what they kept open
				other.Signal(syscall.SIGHUP)
			}
			for i := range 6 {
				for _, other := range agents {
					if r := other.Check(check); r.Code != 0 || !strings.Contains(r.Out, "3 of 3 nodes online") {
						t.Errorf("check %d at %s: %d %s%s", i, other.Name, r.Code, r.Out, r.Errors)
					}
				}
			}
			third := newDialer(t, "127.0.0.4", check).client(t)
			if _, err := third.Ping(t.Context(), a.Addr(), false); err != nil {
				t.Errorf("a third address: %v", err)
			}
			if end() == 0 {
				t.Error("nobody asked")
			}
		})
	}
}

// TestConnections_status lets 200 callers from one address ask for live sweeps
// at once: more than the connections that one caller may hold. All are answered,
// by few sweeps.
func TestConnections_status(t *testing.T) {
	eachKey(t, func(t *testing.T, keys string) {
		a := program.Cluster(t, keys, 3)[0]
		d := newDialer(t, "127.0.0.2", checkKey(t, keys))
		before := a.RSS()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		var callers sync.WaitGroup
		var mu sync.Mutex
		sweeps := map[time.Time]int{}
		for range 200 {
			callers.Go(func() {
				c := d.client(t)
				for range 3 {
					s, err := c.ClusterStatus(ctx, a.Addr(), false)
					if err != nil {
						t.Error(err)
						return
					}
					for _, n := range s.Nodes {
						if n.Verdict != awa.Online {
							t.Errorf("%s is %s: %s", n.Node.Name, n.Verdict, n.Error)
						}
					}
					mu.Lock()
					sweeps[s.SweptAt]++
					mu.Unlock()
				}
				c.Close()
			})
		}
		callers.Wait()
		grown := (a.PeakRSS() - before) >> 20
		t.Logf("600 answers from %d sweeps, and %d MiB more", len(sweeps), grown)
		if grown > 40 {
			t.Errorf("it grew by %d MiB", grown)
		}
	})
}
