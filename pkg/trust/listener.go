package trust

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"are-we-alive/pkg/awa"
)

// Listener makes the connections of another listener speak TLS with the
// keyring's Server configuration. A handshake that fails is passed to failed,
// once for each connection, with what ServerError makes of it; failed may be
// called from many goroutines at once, as often as strangers like. A client
// that speaks plain HTTP gets an answer that says so.
//
// A connection bounds no time by itself: its user sets deadlines before the
// handshake, which the first Read or Write does unless Handshake was called.
func (k *Keyring) Listener(inner net.Listener, failed func(remote net.Addr, err error)) net.Listener {
	return tlsListener{inner, k, k.Server(), failed}
}

type tlsListener struct {
	net.Listener
	keys   *Keyring
	config *tls.Config
	failed func(net.Addr, error)
}

// Accept returns a connection whose handshake is still to be made.
func (l tlsListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &serverConn{Conn: tls.Server(bound(c), l.config), of: &l}, nil
}

// serverConn is a *tls.Conn that says why its handshake failed.
type serverConn struct {
	*tls.Conn
	of   *tlsListener
	once sync.Once
}

// Handshake makes the handshake if that is still to be done. fasthttp looks
// for this method.
func (c *serverConn) Handshake() error {
	err := c.Conn.Handshake()
	if err != nil {
		c.once.Do(func() { c.report(err) })
		return err
	}
	release(c.Conn)
	return nil
}

// Read makes the handshake first.
func (c *serverConn) Read(p []byte) (int, error) {
	if err := c.Handshake(); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

// Write makes the handshake first.
func (c *serverConn) Write(p []byte) (int, error) {
	if err := c.Handshake(); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

func (c *serverConn) report(err error) {
	tooMuch := errors.Is(err, errTooMuch)
	err = c.of.keys.ServerError(err)
	c.of.failed(c.RemoteAddr(), err)
	var why *Failure
	if !errors.As(err, &why) || tooMuch {
		return
	}
	if why.Code == awa.ErrPlainHTTP {
		answerPlain(c.NetConn())
	}
	linger(c.NetConn())
}

// answerPlain answers a client that must speak TLS.
func answerPlain(c net.Conn) {
	body, err := json.Marshal(map[string]string{
		"error": "this agent speaks TLS only: give this side the key file of the cluster (--key-file, check_awa -k), or " +
			"use https with a certificate (awa-agent key cert --role check)",
		"code": string(awa.ErrPlainHTTP),
	})
	if err != nil {
		return
	}
	c.SetWriteDeadline(time.Now().Add(lingerTime))
	fmt.Fprintf(c, "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: "+
		"close\r\n\r\n%s", len(body), body)
}

// lingerTime bounds linger.
const lingerTime = 500 * time.Millisecond

// linger reads on for a moment before a connection is closed. Closing with
// unread bytes resets it, and the other side's system may then drop what we
// said last: the alert or the answer that says to its user what is wrong. When
// maxHandshake bytes were read, it waits without reading: what a client still
// sends stays in the system's buffer, and it has the time to read.
func linger(c net.Conn) {
	until := time.Now().Add(lingerTime)
	c.SetReadDeadline(until)
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		half.CloseWrite()
	}
	if _, err := io.Copy(io.Discard, c); errors.Is(err, errTooMuch) {
		<-time.After(time.Until(until))
	}
}

// PlainListener is for an agent without a key: it leaves the connections of
// another listener as they are, and calls failed, as Listener does, when a
// client begins to speak TLS. What that client gets is the HTTP server's
// answer to something that is not HTTP.
func PlainListener(inner net.Listener, failed func(remote net.Addr, err error)) net.Listener {
	return plainListener{inner, failed}
}

type plainListener struct {
	net.Listener
	failed func(net.Addr, error)
}

// Accept returns a connection whose first bytes will be looked at.
func (l plainListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &plainConn{Conn: c, failed: l.failed}, nil
}

type plainConn struct {
	net.Conn
	failed func(net.Addr, error) // nil once something was read
}

// NetConn returns the connection below, as tls.Conn.NetConn does.
func (c *plainConn) NetConn() net.Conn { return c.Conn }

// Read looks at the first bytes.
func (c *plainConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.failed != nil && n > 0 {
		// A handshake record: type 22, version 3.something. One byte would
		// do, since no HTTP request begins with a control character.
		if p[0] == 22 && (n == 1 || p[1] == 3) {
			c.failed(c.RemoteAddr(), &Failure{Code: awa.ErrPlainHTTP, Err: awa.ErrBadInput, Text: "a client speaks TLS to " +
				"this agent, which has no key: give this agent the key file of the cluster (--key-file) and start it again, " +
				"or call it without a key"})
		}
		c.failed = nil
	}
	return n, err
}
