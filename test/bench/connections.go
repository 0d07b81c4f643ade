package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"

	"github.com/valyala/fasthttp"
)

// connections measures the memory that a server holds for each connection that is kept open
// and idle, fasthttp as the agents configure it and net/http beside it.
func connections(ctx context.Context, b *bench) error {
	const kept = 2000
	body := []byte(`{"status":{}}`)
	fast := &fasthttp.Server{ReduceMemoryUsage: true, ReadBufferSize: 4 << 10, NoDefaultServerHeader: true,
		Handler: func(c *fasthttp.RequestCtx) { c.SetBody(body) }}
	standard := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(body) })}
	perConn := map[string]float64{}
	for _, s := range []struct {
		name  string
		serve func(net.Listener) error
		close func() error
	}{
		{"nobody reads", func(net.Listener) error { return nil }, func() error { return nil }},
		{"fasthttp", fast.Serve, fast.Shutdown},
		{"net/http", standard.Serve, standard.Close},
	} {
		size, err := memoryOf(ctx, kept, s.serve, s.name != "nobody reads")
		s.close() // which may say that its listener is closed already
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		perConn[s.name] = size
	}
	for _, name := range []string{"fasthttp", "net/http"} { // without the clients' sides
		perConn[name] -= perConn["nobody reads"]
	}
	b.figure("net/http, for each kept connection", fmt.Sprintf("%.1f KiB", perConn["net/http"]/1024))
	b.atMost("fasthttp, for each kept connection", perConn["fasthttp"]/1024, perConn["net/http"]/1024/2, "%.1f KiB")
	return nil
}

// memoryOf returns the bytes that each of n connections costs which had one request, and wait
// for the next one.
func memoryOf(ctx context.Context, n int, serve func(net.Listener) error, answers bool) (float64, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer ln.Close()
	go serve(ln) // until it is closed
	before := inUse()
	conns := make([]net.Conn, 0, n)
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	answer := make([]byte, 4<<10)
	for range n {
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", ln.Addr().String())
		if err != nil {
			return 0, err
		}
		conns = append(conns, c)
		if _, err := io.WriteString(c, "GET /ping HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
			return 0, err
		}
		if answers {
			if _, err := c.Read(answer); err != nil {
				return 0, err
			}
		}
	}
	return (inUse() - before) / float64(n), nil
}
