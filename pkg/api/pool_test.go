package api

import (
	"fmt"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// idler is a connection that knows whether it was closed.
type idler struct {
	net.Conn
	closed bool
}

func (c *idler) Close() error { c.closed = true; return nil }

func TestPool(t *testing.T) {
	const keep = 2 * time.Minute
	give := func(p *pool, addr string) *idler {
		c := &idler{}
		p.put(addr, c, p.round)
		return c
	}
	for name, test := range map[string]func(t *testing.T, p *pool){
		"gives back the newest, by address": func(t *testing.T, p *pool) {
			a1, a2, b := give(p, "a"), give(p, "a"), give(p, "b")
			if got := []net.Conn{p.get("a"), p.get("b"), p.get("a")}; got[0] != a2 || got[1] != b || got[2] != a1 {
				t.Errorf("%p, not %p, %p, %p", got, a2, b, a1)
			}
			if c := p.get("a"); c != nil || len(p.idle) != 0 {
				t.Errorf("%v is there yet, of %d addresses", c, len(p.idle))
			}
		},
		"holds so many and closes the rest": func(t *testing.T, p *pool) {
			var all []*idler
			for i := range 10 {
				all = append(all, give(p, fmt.Sprint(i)))
			}
			for i, c := range all {
				if c.closed != (i >= 4) {
					t.Errorf("connection %d: closed is %v", i, c.closed)
				}
			}
			p.get("0")
			if c := give(p, "x"); c.closed {
				t.Error("there was room for one more")
			}
		},
		"drops what was idle for long": func(t *testing.T, p *pool) {
			old := give(p, "a")
			time.Sleep(keep - 1) // of the bubble's clock, here and below
			fresh := give(p, "a")
			if p.get("a") != fresh || p.get("a") != old {
				t.Error("one went too early")
			}
			p.put("a", old, p.round)
			time.Sleep(keep)
			if c := p.get("a"); c != nil || !old.closed {
				t.Errorf("%v was kept for too long", c)
			}
		},
		"closes what nobody asks for any more": func(t *testing.T, p *pool) {
			gone := give(p, "gone")
			for range 10 {
				time.Sleep(keep / 8)
				give(p, "a")
				p.get("a")
			}
			if !gone.closed || p.count != 0 {
				t.Errorf("closed is %v, and %d are idle", gone.closed, p.count)
			}
		},
		"makes room for new ones": func(t *testing.T, p *pool) {
			var all []*idler
			for i := range 4 {
				all = append(all, give(p, fmt.Sprint(i)))
			}
			time.Sleep(keep)
			if c := give(p, "x"); c.closed {
				t.Error("the old ones were preferred")
			}
			for i, c := range all {
				if !c.closed {
					t.Errorf("connection %d was not closed", i)
				}
			}
		},
		"closes all, for now": func(t *testing.T, p *pool) {
			a := give(p, "a")
			p.close(false)
			if b := give(p, "a"); !a.closed || b.closed || p.get("a") != b {
				t.Error("it is closed for good, or not at all")
			}
		},
		"closes all, for good": func(t *testing.T, p *pool) {
			a := give(p, "a")
			p.close(true)
			if b := give(p, "a"); !a.closed || !b.closed || p.get("a") != nil {
				t.Error("it is not closed for good")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test(t, &pool{most: 4, keep: keep}) })
		})
	}
}

// TestClient_bounds asks many agents at once and again.
func TestClient_bounds(t *testing.T) {
	var addrs []string
	for range 20 {
		addrs = append(addrs, newPeer(t, pongs).addr)
	}
	c := NewClient(ClientConfig{MaxIdle: 5})
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
		if c.pool.count > 5 {
			t.Errorf("%d idle connections, at most 5 are allowed", c.pool.count)
		}
	}
}
