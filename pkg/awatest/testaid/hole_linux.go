package testaid

import (
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"
)

// Hole is a port that swallows connection requests at every address of loopback: a
// listener that nobody accepts from, whose queue is full.
type Hole struct {
	fd     int
	Addr   *net.TCPAddr
	inside []int // connections that fill the queue
}

// OpenHole opens one.
func OpenHole() (h *Hole, err error) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("make a black hole: %w", err)
	}
	h = &Hole{fd: fd}
	defer func() {
		if err != nil {
			h.Close()
			err = fmt.Errorf("make a black hole: %w", err)
		}
	}()
	if err := errors.Join(OnLoopback(fd), syscall.Bind(fd, &syscall.SockaddrInet4{}), syscall.Listen(fd, 0)); err != nil {
		return nil, err
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		return nil, err
	}
	h.Addr = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: name.(*syscall.SockaddrInet4).Port}
	for range 4 { // a queue of length 0 holds one, on some kernels two
		c, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK, 0)
		if err != nil {
			return nil, err
		}
		h.inside = append(h.inside, c)
		to := &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: h.Addr.Port}
		if err := syscall.Connect(c, to); err != nil && !errors.Is(err, syscall.EINPROGRESS) {
			return nil, err
		}
	}
	return h, h.Verify()
}

// OnLoopback keeps a socket that listens at every address from what comes from elsewhere.
func OnLoopback(fd int) error { return syscall.BindToDevice(fd, "lo") }

// Verify fails when the address answers, be it with a refusal.
func (h *Hole) Verify() error {
	c, err := net.DialTimeout("tcp", h.Addr.String(), 300*time.Millisecond)
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

// Close closes it.
func (h *Hole) Close() {
	for _, fd := range append(h.inside, h.fd) {
		syscall.Close(fd)
	}
}
