package daemon_test

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"are-we-alive/pkg/awatest"
	"are-we-alive/pkg/trust"
)

// crowd is strangers who hold connections to an agent, and connect again a
// second after they were thrown out.
type crowd struct {
	addr string
	all  sync.WaitGroup
	ctx  context.Context
	stop context.CancelFunc
}

// join adds strangers from some addresses. Once a second each sends its next
// bytes.
func (c *crowd) join(n int, from []string, next func(i int) []byte) {
	for i := range n {
		c.all.Go(func() {
			dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from[i%len(from)])}}
			tick := time.NewTicker(time.Second)
			defer tick.Stop()
			for c.ctx.Err() == nil {
				if conn, err := dialer.DialContext(c.ctx, "tcp", c.addr); err == nil {
					c.bother(conn, tick.C, next)
				}
				select {
				case <-tick.C:
				case <-c.ctx.Done():
				}
			}
		})
	}
}

// bother holds a connection until it is closed or the test ends.
func (c *crowd) bother(conn net.Conn, tick <-chan time.Time, next func(i int) []byte) {
	defer conn.Close()
	closed := make(chan struct{})
	c.all.Go(func() {
		defer close(closed)
		for buf := make([]byte, 64); ; {
			if _, err := conn.Read(buf); err != nil {
				return
			}
		}
	})
	for i := 0; ; i++ {
		if b := next(i); b != nil {
			if _, err := conn.Write(b); err != nil {
				return
			}
		}
		select {
		case <-tick:
		case <-closed:
			return
		case <-c.ctx.Done():
			return
		}
	}
}

func (c *crowd) end() {
	c.stop()
	c.all.Wait()
}

// clientHello is how a TLS client begins.
func clientHello(t *testing.T) []byte {
	t.Helper()
	near, far := net.Pipe()
	go func() {
		tls.Client(near, &tls.Config{InsecureSkipVerify: true}).Handshake()
		near.Close()
	}()
	b := make([]byte, 4096)
	n, err := far.Read(b)
	far.Close()
	if err != nil {
		t.Fatal(err)
	}
	return b[:n]
}

// usage is what a process holds.
type usage struct{ heap, stacks, files, goroutines int }

func measure() usage {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	files, _ := os.ReadDir("/proc/self/fd")
	return usage{int(m.HeapAlloc >> 20), int(m.StackInuse >> 20), len(files), runtime.NumGoroutine()}
}

func (u usage) String() string {
	return fmt.Sprintf("heap %d MiB, stacks %d MiB, %d files, %d goroutines", u.heap, u.stacks, u.files, u.goroutines)
}

// With two and a half thousand strangers around, an agent answers every friend,
// and they cost it little.
func TestDaemon_slowAndHostileClients(t *testing.T) {
	for name, keys := range map[string][]trust.Key{"with a key": {trust.NewKey()}, "without": nil} {
		t.Run(name, func(t *testing.T) {
			c := awatest.New(t, 1, awatest.WithKey(keys...))
			before := measure()
			strangers := &crowd{addr: c.Addr(0)}
			strangers.ctx, strangers.stop = context.WithCancel(t.Context())
			defer strangers.end()
			begin := []byte("GET /v1/status HTTP/1.1\r\nHost: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n\r\n")
			hello := clientHello(t)
			if keys != nil {
				begin = hello
			}
			strangers.join(500, []string{"127.0.0.2", "127.0.0.3"},
				func(i int) []byte { return begin[min(i, len(begin)-1):][:1] })
			strangers.join(2000, addresses(10, 20), func(int) []byte { return nil })
			strangers.join(50, addresses(30, 5), func(int) []byte {
				b := make([]byte, 1000)
				rand.Read(b)
				return b
			})
			strangers.join(100, addresses(40, 5), func(i int) []byte {
				if i > 0 {
					return nil
				}
				return hello
			})
			slowest, most := bystander(t, c)
			if !c.Logged(0, "connections of strangers") {
				t.Error("it does not say that connections are closed")
			}
			t.Logf("before: %v; with them, theirs included: %v; the slowest answer took %s", before, most, slowest)
			// The strangers use this process as well, with the race detector, so
			// that all answers come is what counts here: for how fast an agent
			// answers see TestStrangers, with whole programs.
			if grown := most.heap + most.stacks - before.heap - before.stacks; grown > 150 {
				t.Errorf("it grew by %d MiB", grown)
			}
			strangers.end()
			// The cluster's end looks for goroutines that are left.
			c.Wait("no connection of theirs is left", func() error {
				if now := measure(); now.files > before.files+5 {
					return fmt.Errorf("%v, and before %v", now, before)
				}
				return nil
			})
			t.Logf("afterwards: %v", measure())
		})
	}
}

// bystander asks an agent now and then, for longer than any stranger may take
// for a request. It returns the longest answer, and the most that was in use.
func bystander(t *testing.T, c *awatest.Cluster) (slowest time.Duration, most usage) {
	t.Helper()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for i := range 32 {
		<-tick.C
		ctx, cancel := context.WithTimeout(t.Context(), awatest.Patience)
		began := time.Now()
		_, err := c.Client().Ping(ctx, c.Addr(0), true)
		if err == nil {
			c.Client().CloseIdle()
			_, err = c.Client().ClusterStatus(ctx, c.Addr(0), false)
		}
		cancel()
		if err != nil {
			t.Fatalf("after %d answers: %v", i, err)
		}
		slowest = max(slowest, time.Since(began))
		if i%8 == 7 {
			if now := measure(); now.heap+now.stacks > most.heap+most.stacks {
				most = now
			}
		}
	}
	return slowest, most
}

// addresses are some of this machine's own, from 127.0.0.FIRST on.
func addresses(first, n int) []string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf("127.0.0.%d", first+i))
	}
	return all
}

// Half a handshake, like a silent connection, is not waited for.
func TestDaemon_halfHandshake(t *testing.T) {
	c := awatest.New(t, 1, awatest.WithKey(trust.NewKey()))
	hello := clientHello(t)
	var all sync.WaitGroup
	for name, send := range map[string][]byte{"nothing": nil, "half a hello": hello[:len(hello)/2], "a hello": hello} {
		all.Go(func() {
			conn, err := net.Dial("tcp", c.Addr(0))
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			began := time.Now()
			conn.SetDeadline(began.Add(20 * time.Second))
			conn.Write(send)
			_, err = io.Copy(io.Discard, conn)
			if took := time.Since(began); err != nil || took < 4*time.Second || took > 10*time.Second {
				t.Errorf("%s: closed after %s: %v", name, took, err)
			}
		})
	}
	all.Wait()
}
