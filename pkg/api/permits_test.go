package api

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/awatest/testaid"
)

// counter counts the connections that are open or being opened.
type counter struct {
	mu         sync.Mutex
	open, peak int
}

func (c *counter) add(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open += n
	c.peak = max(c.peak, c.open)
}

// dial is an api.Dial.
func (c *counter) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	c.add(1)
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		c.add(-1)
		return nil, err
	}
	return &countedConn{Conn: conn, of: c}, nil
}

type countedConn struct {
	net.Conn
	of   *counter
	once sync.Once
}

func (c *countedConn) NetConn() net.Conn { return c.Conn }

func (c *countedConn) Close() error {
	c.once.Do(func() { c.of.add(-1) })
	return c.Conn.Close()
}

// hangs reads requests and never answers.
func hangs(conn net.Conn, _ int) { bufio.NewReader(conn).ReadByte() }

// TestClient_MaxOpen asks more agents at once than connections may be open:
// all of them answer, some a little later.
func TestClient_MaxOpen(t *testing.T) {
	var addrs []string
	for range 20 {
		addrs = append(addrs, newPeer(t, pongs).addr)
	}
	const most = 3
	count := &counter{}
	c := NewClient(ClientConfig{MaxOpen: most, Dial: count.dial})
	t.Cleanup(c.Close)
	for range 3 {
		var all sync.WaitGroup
		for _, addr := range addrs {
			for range 3 {
				all.Go(func() {
					if _, err := c.Ping(t.Context(), addr, false); err != nil {
						t.Error(err)
					}
				})
			}
		}
		all.Wait()
	}
	if count.peak != most {
		t.Errorf("%d connections were open, want at most %d and no fewer", count.peak, most)
	}
	c.CloseIdle()
	if count.open != 0 || c.permits.free != most {
		t.Errorf("%d connections are open, and %d permits are free", count.open, c.permits.free)
	}
}

// A call that gets no descriptor in time says so, and nothing of the agent.
func TestClient_shortage_of_permits(t *testing.T) {
	silent, well := newPeer(t, hangs), newPeer(t, pongs)
	c := NewClient(ClientConfig{MaxOpen: 1})
	t.Cleanup(c.Close)
	within := func(d time.Duration, addr string) error {
		ctx, cancel := context.WithTimeout(t.Context(), d)
		defer cancel()
		_, err := c.Ping(ctx, addr, false)
		return err
	}
	long, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	held := make(chan error, 1)
	go func() {
		_, err := c.Ping(long, silent.addr, false)
		held <- err
	}()
	testaid.Await(t, 10*time.Second, func() error {
		if silent.count() == 0 {
			return errors.New("not connected yet")
		}
		return nil
	})
	var ping *awa.PingError
	if err := within(50*time.Millisecond, well.addr); !errors.Is(err, awa.ErrShortage) || !errors.As(err, &ping) ||
		ping.Stage != awa.StageConnect || !strings.Contains(err.Error(), "LimitNOFILE") {
		t.Errorf("without a descriptor: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Ping(ctx, well.addr, false); !errors.Is(err, context.Canceled) || errors.Is(err, awa.ErrShortage) {
		t.Errorf("given up while it waits: %v", err)
	}

	// One that waited for half of its time, and then got no answer, is not better.
	late := make(chan error, 1)
	go func() { late <- within(2*time.Second, silent.addr) }()
	testaid.Await(t, 10*time.Second, func() error {
		if !c.permits.wanted() {
			return errors.New("nobody waits")
		}
		return nil
	})
	time.AfterFunc(time.Second, stop)
	if err := <-held; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := <-late; !errors.Is(err, awa.ErrShortage) {
		t.Errorf("after half of its time without a descriptor: %v", err)
	}
	// And with all of its time an agent that doesn't answer is one.
	if err := within(50*time.Millisecond, silent.addr); errors.Is(err, awa.ErrShortage) ||
		!errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("no answer: %v", err)
	}
	if err := within(time.Minute, well.addr); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestPermits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPermits(2, func() bool { return false })
		get := func(n int) chan error {
			got := make(chan error, 1)
			go func() { _, err := p.acquire(t.Context(), n); got <- err }()
			synctest.Wait()
			return got
		}
		a, b := get(1), get(1)
		if <-a != nil || <-b != nil {
			t.Fatal("two are free")
		}
		both, one := get(2), get(1)
		p.release(1)
		synctest.Wait()
		if len(both)+len(one) > 0 {
			t.Fatal("one free permit was given to somebody who came later, or counted twice")
		}
		p.release(1)
		synctest.Wait()
		if len(both) != 1 || len(one) != 0 {
			t.Fatal("the first does not come first")
		}
		p.release(2)
		if synctest.Wait(); len(one) != 1 {
			t.Fatal("nobody was woken")
		}
		if large := get(5); len(large) != 0 {
			t.Fatal("one is still held")
		} else if p.release(1); <-large != nil || p.free != 0 {
			t.Error("whoever wants more than all gets all")
		}
	})
}

func TestPool_dropOldest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pool{most: 9, keep: time.Minute}
		conns := make([]*idler, 3)
		for i, addr := range []string{"b", "a", "b"} {
			conns[i] = &idler{}
			p.put(addr, conns[i], 0)
			time.Sleep(time.Second) // of the bubble's clock
		}
		for i, c := range conns {
			if c.closed || !p.dropOldest() || !c.closed || p.count != 2-i {
				t.Errorf("connection %d is not the oldest, or not closed", i)
			}
		}
		if p.dropOldest() || len(p.idle) != 0 {
			t.Error("there is none left")
		}
		p.wanted = func() bool { return true }
		kept := &idler{}
		if p.put("a", kept, 0); !kept.closed {
			t.Error("one is kept though somebody waits for it")
		}
	})
}

// TestClient_shortage lets the system lack something at a dial.
func TestClient_shortage(t *testing.T) {
	for name, c := range map[string]struct {
		errno syscall.Errno
		addr  string
		short string // what the sentence holds; "" for no shortage
	}{
		"of this process's files":      {syscall.EMFILE, "127.0.0.1:1", "LimitNOFILE="},
		"of the system's files":        {syscall.ENFILE, "127.0.0.1:1", "fs.file-max"},
		"of buffers":                   {syscall.ENOBUFS, "127.0.0.1:1", "memory"},
		"of memory":                    {syscall.ENOMEM, "127.0.0.1:1", "memory"},
		"of local ports":               {syscall.EADDRNOTAVAIL, "127.0.0.1:1", "ip_local_port_range"},
		"no address to call from":      {syscall.EADDRNOTAVAIL, "[fe80::1%nowhere]:1", ""},
		"not ours: it is not running":  {syscall.ECONNREFUSED, "127.0.0.1:1", ""},
		"not ours: there is no way":    {syscall.EHOSTUNREACH, "127.0.0.1:1", ""},
		"not ours: it closed at once":  {syscall.ECONNRESET, "127.0.0.1:1", ""},
		"not ours: it takes too long":  {syscall.ETIMEDOUT, "127.0.0.1:1", ""},
		"not ours: a firewall says no": {syscall.EACCES, "127.0.0.1:1", ""},
	} {
		t.Run(name, func(t *testing.T) {
			client := NewClient(ClientConfig{MaxOpen: 2, Dial: func(context.Context, string, string) (net.Conn, error) {
				return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("socket", c.errno)}
			}})
			_, err := client.Ping(t.Context(), c.addr, false)
			var ping *awa.PingError
			if !errors.As(err, &ping) || ping.Stage != awa.StageConnect {
				t.Fatalf("%v", err)
			}
			if errors.Is(err, awa.ErrShortage) != (c.short != "") || !strings.Contains(err.Error(), c.short) {
				t.Errorf("%v", err)
			}
			if client.permits.free != 2 {
				t.Errorf("%d permits are free", client.permits.free)
			}
		})
	}
}

// TestClient_once_kept closes a kept connection before an edit is sent. The
// edit must go over a new one: whoever sends it could not know otherwise
// whether it was made.
func TestClient_once_kept(t *testing.T) {
	for name, last := range map[string]string{
		"closed":                  "",
		"closed with a last word": "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			closed := make(chan struct{})
			p := newPeer(t, func(conn net.Conn, n int) {
				r := bufio.NewReader(conn)
				if readRequest(r) == "" {
					return
				}
				if n == 1 {
					reply(conn, pong)
					fmt.Fprint(conn, last)
					conn.Close()
					close(closed)
					return
				}
				reply(conn, `{"id":13}`)
			})
			c := newClient(t)
			if _, err := c.Ping(t.Context(), p.addr, false); err != nil {
				t.Fatal(err)
			}
			<-closed
			id, _, err := c.Edit(t.Context(), p.addr, awa.Edit{Action: awa.Delete, Data: []byte(`{"id":1}`)}, 0)
			if err != nil || id != 13 || p.count() != 2 {
				t.Errorf("change %d over %d connections: %v", id, p.count(), err)
			}
		})
	}
}
