package api

import (
	"errors"
	"net"
	"os"
	"syscall"
	"time"

	"are-we-alive/pkg/awa"
)

// What is missing here says nothing of whoever was to be called. So it is an
// error of its own, awa.ErrShortage, that nobody takes for a dead node.

// shortageOf returns the awa.ErrShortage that an error of opening a connection
// to addr stands for, with how to mend it; nil for any other error.
func shortageOf(err error, addr string) error {
	why := ""
	switch {
	case errors.Is(err, syscall.EMFILE):
		why = "this process may open no more files or connections (too many open files): raise its limit, with " +
			"LimitNOFILE= in its systemd unit or ulimit -n in its shell"
	case errors.Is(err, syscall.ENFILE):
		why = "the system may open no more files or connections (too many open files in system): raise the sysctl " +
			"fs.file-max, or find out who holds them with lsof"
	case errors.Is(err, syscall.ENOBUFS), errors.Is(err, syscall.ENOMEM):
		why = "the system has no memory left for a connection: find out who takes it"
	case errors.Is(err, syscall.EADDRNOTAVAIL) && hasSource(addr):
		why = "the system has no local port left for a connection: raise the sysctl net.ipv4.ip_local_port_range, or " +
			"find out who holds them with ss -tan"
	default:
		return nil
	}
	return &awa.Fault{Code: awa.ErrShortage, Text: why}
}

// hasSource reports whether the system has an address to call addr from. The
// same errno says that it has none, such as for ::1 where IPv6 is off: then
// the node can't be reached from here for as long as its entry is what it is.
// A UDP socket needs the same source address, and sends nothing when it is
// connected.
func hasSource(addr string) bool {
	c, err := net.Dial("udp", addr)
	if err != nil {
		return false
	}
	c.Close()
	return true
}

// outOfFiles returns the error of opening one more file; nil when that works.
// A name that can't be looked up may be one that is missing in a hosts file
// that could not be opened.
func outOfFiles() error {
	f, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	f.Close()
	return nil
}

// tooFewPermits is the error of a call whose time was over before it had a
// descriptor.
func tooFewPermits(most int) error {
	return awa.Faultf(awa.ErrShortage, "no file descriptor became free in time: this process holds %d connections to "+
		"others, and its limit of open files allows no more: raise it, with LimitNOFILE= in its systemd unit or ulimit "+
		"-n in its shell", most)
}

// ownDelay makes a call that found no answer in time an awa.ErrShortage when so
// much of its time went by waiting for a descriptor that silence proves nothing.
func (c *Client) ownDelay(err error, waited time.Duration, began time.Time) error {
	ping, ok := errors.AsType[*awa.PingError](err)
	if !ok || waited == 0 || !errors.Is(ping.Err, errNoAnswer) || waited < time.Since(began)/4 {
		return err
	}
	return &awa.PingError{Stage: ping.Stage, Err: tooFewPermits(c.permits.most)}
}

// stillOpen reports whether a kept connection has neither been closed by the
// other side nor sent anything, as far as this side's system knows. What can't
// be looked at counts as open.
func stillOpen(conn net.Conn) bool {
	for {
		switch c := conn.(type) {
		case syscall.Conn:
			return nothingToRead(c)
		case interface{ NetConn() net.Conn }:
			conn = c.NetConn()
		default:
			return true
		}
	}
}

func nothingToRead(c syscall.Conn) bool {
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	var peeked error
	err = raw.Read(func(fd uintptr) bool {
		var one [1]byte
		_, _, peeked = syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		return true
	})
	return err == nil && errors.Is(peeked, syscall.EAGAIN)
}
