package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"are-we-alive/pkg/api"
	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/trust"
)

// tlsCosts measures what TLS adds: handshakes, sweeps, idle connections.
func tlsCosts(ctx context.Context, b *bench) error {
	k, err := newKeys(b.dir)
	if err != nil {
		return err
	}
	// First, since the other two leave much garbage behind in this process.
	for _, keys := range []*keys{k, nil} {
		if err := b.idleConns(ctx, keys); err != nil {
			return fmt.Errorf("idle connections: %w", err)
		}
	}
	if err := b.handshakes(ctx, k); err != nil {
		return fmt.Errorf("handshakes: %w", err)
	}
	if err := b.tlsSweeps(ctx, k); err != nil {
		return fmt.Errorf("sweeps: %w", err)
	}
	return nil
}

// atOnce is how many handshakes are under way at a time.
const atOnce = 16

// handshakes measures connections that are made, used once and closed. Both
// sides share this machine's cores.
func (b *bench) handshakes(ctx context.Context, k *keys) (err error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	agent, err := trust.NewAgent([]trust.Key{k.key}, awa.NewUID(), "n1")
	if err != nil {
		return err
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		echo(agent.Listener(ln, func(net.Addr, error) {}))
	}()
	defer func() { ln.Close(); <-served }()
	ring, err := k.ring()
	if err != nil {
		return err
	}
	addr := ln.Addr().String()
	for _, kind := range []struct {
		name   string
		target trust.Target
	}{{"full", trust.Target{}}, {"resumed", trust.Target{Addr: addr}}} {
		if err := greet(ctx, ring, addr, kind.target); err != nil { // so that there is a session
			return err
		}
		n, cpu, err := b.greetings(ctx, func(ctx context.Context) error { return greet(ctx, ring, addr, kind.target) })
		if err != nil {
			return err
		}
		b.figure(kind.name+" handshakes, both sides on this machine", fmt.Sprintf("%.0f /s", float64(n)/b.each.Seconds()))
		b.figure(kind.name+" handshake, CPU time of both sides", fmt.Sprintf("%.2f ms", ms(cpu)/float64(n)))
	}
	b.note("(connect, TLS 1.3 with both certificates, a byte there and back, close; %d at a time, %v)", atOnce, b.each)
	return nil
}

// greetings counts the calls of greet that are made in the time of a run, and
// the CPU time of this process for all of them.
func (b *bench) greetings(ctx context.Context,
	greet func(context.Context) error) (n int, cpu time.Duration, err error) {
	end := time.Now().Add(b.each)
	before, err := ownCPU()
	if err != nil {
		return 0, 0, err
	}
	counts := make([]int, atOnce)
	var all errgroup.Group
	for i := range counts {
		all.Go(func() error {
			for time.Now().Before(end) && ctx.Err() == nil {
				if err := greet(ctx); err != nil {
					return err
				}
				counts[i]++
			}
			return ctx.Err()
		})
	}
	if err := all.Wait(); err != nil {
		return 0, 0, err
	}
	after, err := ownCPU()
	for _, c := range counts {
		n += c
	}
	return n, after - before, err
}

// ownCPU is the CPU time of this process so far.
func ownCPU() (time.Duration, error) {
	var u syscall.Rusage
	err := syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), err
}

// greet makes a connection and sends a byte there and back.
func greet(ctx context.Context, ring *trust.Keyring, addr string, to trust.Target) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	raw, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	conn, err := ring.Connect(ctx, raw, to)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := conn.Write([]byte{'!'}); err != nil {
		return err
	}
	_, err = conn.Read(make([]byte, 1)) // brings the session for the next one, too
	return err
}

// echo sends the first byte of each connection back, until the listener is
// closed.
func echo(ln net.Listener) {
	for {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			b := make([]byte, 1)
			if _, err := conn.Read(b); err == nil {
				conn.Write(b)
				conn.Read(b) // until the client goes
			}
		}()
	}
}

// tlsSweeps measures sweeps of the largest cluster: with nothing known of the
// agents, with their sessions, and with connections to them.
func (b *bench) tlsSweeps(ctx context.Context, k *keys) (err error) {
	n := b.agents[len(b.agents)-1]
	c, err := listed{agents: n, keys: k}.start(ctx, filepath.Join(b.dir, "sweep"))
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, c.stop())
		debug.FreeOSMemory()
	}()
	var strange []time.Duration
	for range b.sweeps {
		s, err := newSweeper(c) // knows no sessions
		if err != nil {
			return err
		}
		took, err := s.sweep(ctx, n)
		s.client.Close()
		if err != nil {
			return err
		}
		strange = append(strange, took)
	}
	s, err := newSweeper(c)
	if err != nil {
		return err
	}
	defer s.client.Close()
	resumed, err := s.times(ctx, b.sweeps, n, true)
	if err != nil {
		return err
	}
	warm, err := s.times(ctx, b.sweeps, n, false)
	if err != nil {
		return err
	}
	b.atMost(fmt.Sprintf("%d agents, cold: full handshakes, median", n), ms(median(strange)), 800, "%.0f ms")
	b.figure(fmt.Sprintf("%d agents, cold: resumed sessions, median", n), fmt.Sprintf("%.0f ms", ms(median(resumed))))
	b.atMost(fmt.Sprintf("%d agents, warm: over kept connections, median", n), ms(median(warm)), 80, "%.1f ms")
	b.note("(medians of %d; client and agents share this machine's cores)", b.sweeps)
	return nil
}

// idleConns measures the memory of connections that wait for the next request:
// of an awa-agent by its resident memory, of a client by its heap and stacks.
func (b *bench) idleConns(ctx context.Context, k *keys) (err error) {
	const conns = 1000
	what, args := "plain", []string{"--first"}
	if k != nil {
		what, args = "TLS", append(args, "--key-file", k.file())
	}
	a, err := startAgent(ctx, b, what, args...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.stop()) }()
	client, err := k.client(api.ClientConfig{})
	if err != nil {
		return err
	}
	defer client.Close()
	open := func(n int) error {
		for range n {
			if _, err := client.Ping(ctx, a.addr, true); err != nil { // its connection is kept
				return err
			}
		}
		return nil
	}
	if err := open(100); err != nil { // what the first ones leave behind is not the connections' doing
		return err
	}
	agent, err := rss(a.cmd.Process.Pid)
	if err != nil {
		return err
	}
	own := inUse()
	if err := open(conns); err != nil {
		return err
	}
	after, err := rss(a.cmd.Process.Pid)
	if err != nil {
		return err
	}
	b.figure(what+", idle connection in awa-agent, resident", fmt.Sprintf("%.1f KiB", (after-agent)*1e6/conns/1024))
	b.figure(what+", idle connection in a client, heap and stacks", fmt.Sprintf("%.1f KiB", (inUse()-own)/conns/1024))
	return nil
}

// inUse is the memory of this process that is not garbage, in bytes.
func inUse() float64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // the first moves the pools' content only to where the second drops it
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc + m.StackInuse)
}
