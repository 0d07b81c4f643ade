package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"are-we-alive/pkg/awa"
)

// blackhole measures a sweep of nine agents and an address that is silent.
func blackhole(ctx context.Context, b *bench) (err error) {
	hole, err := openHole()
	if err != nil {
		return err
	}
	defer hole.close()
	const agents = 9
	c, err := listed{agents: agents, strangers: []net.Addr{hole.addr}}.start(ctx, b.dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.stop()) }()
	s, err := newSweeper(c)
	if err != nil {
		return err
	}
	defer s.client.Close()
	var times [2][]time.Duration
	for i, cold := range []bool{true, false} {
		if times[i], err = s.times(ctx, 3, agents, cold); err != nil {
			return err
		}
	}
	asked, err := statusTimes(ctx, c, 3, agents)
	if err != nil {
		return err
	}
	if err := hole.verify(); err != nil {
		return err
	}
	limit := ms(awa.DefaultPingTimeout + 20*time.Millisecond) // what the other nine and the machine may add
	b.atMost("cold sweep, median", ms(median(times[0])), limit, "%.0f ms")
	b.atMost("warm sweep, median", ms(median(times[1])), limit, "%.0f ms")
	b.figure("GET /v1/status, as a client sees it, median", fmt.Sprintf("%.0f ms", ms(median(asked))))
	b.note("(the ping timeout is %v; %s was verified before and after to take SYNs and answer none)",
		awa.DefaultPingTimeout, hole.addr)
	return nil
}

// hole is a port that swallows connection requests at every address of loopback: a
// listener that nobody accepts from, whose queue is full.
type hole struct {
	fd     int
	addr   *net.TCPAddr
	inside []int // connections that fill the queue
}

func openHole() (h *hole, err error) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("make a black hole: %w", err)
	}
	h = &hole{fd: fd}
	defer func() {
		if err != nil {
			h.close()
			err = fmt.Errorf("make a black hole: %w", err)
		}
	}()
	if err := errors.Join(onLoopback(fd), syscall.Bind(fd, &syscall.SockaddrInet4{}), syscall.Listen(fd, 0)); err != nil {
		return nil, err
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		return nil, err
	}
	h.addr = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: name.(*syscall.SockaddrInet4).Port}
	for range 4 { // a queue of length 0 holds one, on some kernels two
		c, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK, 0)
		if err != nil {
			return nil, err
		}
		h.inside = append(h.inside, c)
		to := &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: h.addr.Port}
		if err := syscall.Connect(c, to); err != nil && !errors.Is(err, syscall.EINPROGRESS) {
			return nil, err
		}
	}
	return h, h.verify()
}

// onLoopback keeps a socket that listens at every address from what comes from elsewhere.
func onLoopback(fd int) error { return unix.BindToDevice(fd, "lo") }

// verify fails when the address answers, be it with a refusal.
func (h *hole) verify() error {
	c, err := net.DialTimeout("tcp", h.addr.String(), 300*time.Millisecond)
	if err == nil {
		c.Close()
		return errors.New("it takes connections")
	}
	var late net.Error
	if !errors.As(err, &late) || !late.Timeout() {
		return fmt.Errorf("it answers: %w", err)
	}
	return nil
}

func (h *hole) close() {
	for _, fd := range append(h.inside, h.fd) {
		syscall.Close(fd)
	}
}
