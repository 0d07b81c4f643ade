package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"are-we-alive/pkg/api"
)

// background measures what an agent costs that does nothing but look after the
// others, in clusters of each size. The others are in this process.
func background(ctx context.Context, b *bench) error {
	for _, n := range b.agents {
		if err := b.backgroundOf(ctx, n); err != nil {
			return fmt.Errorf("%d agents: %w", n, err)
		}
	}
	b.note("(over %v each; bytes are what TCP carries, both ways; the agent is not a voter, see -only idle for "+
		"what that costs)", b.watched())
	return nil
}

// watched is for how long an agent is watched: for some of its sweeps.
func (b *bench) watched() time.Duration { return 3 * b.idle }

func (b *bench) backgroundOf(ctx context.Context, n int) (err error) {
	dir := filepath.Join(b.dir, fmt.Sprint(n))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	k, err := newKeys(dir)
	if err != nil {
		return err
	}
	var bytes atomic.Int64
	c, err := listed{agents: n, keys: k, apart: true,
		wrap: func(ln net.Listener) net.Listener { return counted{ln, &bytes} }}.start(ctx, dir)
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, c.stop())
		debug.FreeOSMemory()
	}()
	a, err := startAgent(ctx, b, fmt.Sprintf("background%d", n), "--listen", c.first(), "--data-dir", folder(dir, 0),
		"--key-file", k.file())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.stop()) }()
	client, err := k.client(api.ClientConfig{})
	if err != nil {
		return err
	}
	defer client.Close()
	err = until(ctx, time.Minute, "the first sweep", func() bool {
		s, err := client.ClusterStatus(ctx, a.addr, true)
		return err == nil && seen(s.Nodes, n) == nil
	})
	if err != nil {
		return err
	}
	before := bytes.Load()
	cpu, err := cpuOf(ctx, []*agentProcess{a}, b.watched())
	if err != nil {
		return err
	}
	perMinute := float64(bytes.Load()-before) / b.watched().Minutes()
	what, aim := fmt.Sprintf("%d nodes, share of one core", n), 1.5
	if n <= 100 {
		aim = 0.5
	}
	b.atMost(what, cpu[0], aim, "%.2f %%")
	b.figure(fmt.Sprintf("%d nodes, CPU time a minute", n), fmt.Sprintf("%.2f s", cpu[0]*60/100))
	b.figure(fmt.Sprintf("%d nodes, bytes a minute", n), fmt.Sprintf("%.0f KiB", perMinute/1024))
	memory, err := rss(a.cmd.Process.Pid)
	if err != nil {
		return err
	}
	sockets, err := sockets(a.cmd.Process.Pid)
	if err != nil {
		return err
	}
	file, err := os.Stat(filepath.Join(folder(dir, 0), "awa.db"))
	if err != nil {
		return err
	}
	b.figure(fmt.Sprintf("%d nodes, resident memory", n), fmt.Sprintf("%.0f MB", memory))
	b.figure(fmt.Sprintf("%d nodes, sockets", n), fmt.Sprint(sockets))
	b.figure(fmt.Sprintf("%d nodes, awa.db", n), fmt.Sprintf("%.2f MB", float64(file.Size())/1e6))
	return nil
}

// sockets is how many a process has.
func sockets(pid int) (n int, err error) {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	files, err := os.ReadDir(dir)
	for _, f := range files {
		if to, err := os.Readlink(filepath.Join(dir, f.Name())); err == nil && strings.HasPrefix(to, "socket:") {
			n++
		}
	}
	return n, err
}

// counted counts what goes through the connections of a listener.
type counted struct {
	net.Listener
	bytes *atomic.Int64
}

// Accept implements net.Listener.
func (l counted) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return countedConn{c, l.bytes}, nil
}

type countedConn struct {
	net.Conn
	bytes *atomic.Int64
}

// Read implements net.Conn.
func (c countedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.bytes.Add(int64(n))
	return n, err
}

// Write implements net.Conn.
func (c countedConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.bytes.Add(int64(n))
	return n, err
}
