package daemon

import (
	"errors"
	"net"
	"testing"
)

// TestListeners connects to each of two ports that are served as one.
func TestListeners(t *testing.T) {
	open := func() net.Listener {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		return ln
	}
	first, also := open(), open()
	both := newListeners(first, also)
	if both.Addr() != first.Addr() {
		t.Errorf("the address is %v, want %v", both.Addr(), first.Addr())
	}
	for _, ln := range []net.Listener{first, also, first} {
		client, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		conn, err := both.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if conn.LocalAddr().String() != ln.Addr().String() {
			t.Errorf("a connection to %v is accepted at %v", ln.Addr(), conn.LocalAddr())
		}
		client.Close()
		conn.Close()
	}
	if err := both.Close(); err != nil {
		t.Error(err)
	}
	if _, err := both.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("closed, it fails with %v", err)
	}
	for _, ln := range []net.Listener{first, also} {
		if conn, err := net.Dial("tcp", ln.Addr().String()); err == nil {
			conn.Close()
			t.Errorf("%v is still open", ln.Addr())
		}
	}
}
