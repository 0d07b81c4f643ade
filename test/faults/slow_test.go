//go:build system

package faults

import (
	"errors"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// slow delays all that a host sends until stop is called: its cable gets a
// second piece, and what comes out of the first is put into it late. (Debian's
// `tc netem` does that where the kernel has it, which many don't.)
func (n *network) slow(h *host, delay time.Duration) (stop func()) {
	n.t.Helper()
	n.bridge.ip("link", "add", "slow0", "type", "veth", "peer", "name", "slow1")
	n.bridge.ip("link", "set", "slow0", "up")
	n.bridge.ip("link", "set", h.name, "nomaster")
	n.bridge.ip("link", "set", "slow1", "master", "br0", "up")
	var near, far *os.File
	n.bridge.inside(func() (err error) {
		near, err = tap(h.name)
		if err == nil {
			far, err = tap("slow0")
		}
		return err
	})
	var all sync.WaitGroup
	all.Go(func() { carry(far, near, 0) })
	all.Go(func() { carry(near, far, delay) })
	return func() {
		near.Close()
		far.Close()
		all.Wait()
		n.bridge.ip("link", "del", "slow0")
		n.bridge.ip("link", "set", h.name, "master", "br0")
	}
}

// tap reads and writes the frames of an interface, each behind the header in
// which the kernel keeps what is to be done to it yet, such as its checksum.
func tap(name string) (*os.File, error) {
	link, err := net.InterfaceByName(name)
	if err != nil {
		return nil, err
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	const everyProtocol = unix.ETH_P_ALL<<8&0xff00 | unix.ETH_P_ALL>>8 // in network order
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1),
		unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1),
		unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: everyProtocol, Ifindex: link.Index}),
	)
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// carry passes frames on, each after a delay, until from is closed.
func carry(from, to *os.File, delay time.Duration) {
	type frame struct {
		due  time.Time
		data []byte
	}
	frames := make(chan frame, 10_000)
	var writer sync.WaitGroup
	writer.Go(func() {
		for f := range frames {
			<-time.After(time.Until(f.due))
			to.Write(f.data) // a frame that doesn't fit is lost, as on a wire
		}
	})
	defer writer.Wait()
	defer close(frames)
	buf := make([]byte, 1<<17)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		frames <- frame{time.Now().Add(delay), append([]byte(nil), buf[:n]...)}
	}
}
