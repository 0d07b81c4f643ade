package api

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/goccy/go-json"

	"are-we-alive/pkg/api/internal/wire"
	"are-we-alive/pkg/awa"
)

// call sends a request and reads its answer with read, which sees only good
// ones and whose error means that no agent of ours answered. A kept
// connection that turns out to be dead is replaced once, when the request is
// safe to repeat.
func (c *Client) call(ctx context.Context, addr string, req request, read func(*response) error) error {
	ctx, cancel := inTime(ctx)
	defer cancel()
	round := c.pool.now()
	if !req.fresh {
		if conn := c.kept(addr, req); conn != nil {
			err := c.use(ctx, conn, round, addr, req, read)
			var dead *awa.PingError
			// Nothing of a forbidden request was looked at: the key that the
			// connection was made with may have been removed since.
			forbidden := errors.Is(err, awa.ErrForbidden) && c.cfg.Secure != nil && ctx.Err() == nil
			if !forbidden && (!errors.As(err, &dead) || ctx.Err() != nil || errors.Is(err, context.DeadlineExceeded) ||
				req.once) {
				return err
			}
		}
	}
	began := time.Now()
	conn, waited, err := c.dial(ctx, addr, "")
	if err == nil {
		err = c.use(ctx, conn, round, addr, req, read)
	}
	return c.ownDelay(err, waited, began)
}

// kept takes a kept connection, or nil. A request that is not to be repeated
// gets none that the agent has closed already: its answer would be lost, and
// nobody could say whether it was read.
func (c *Client) kept(addr string, req request) net.Conn {
	conn := c.pool.get(addr)
	for conn != nil && req.once && !stillOpen(conn) {
		conn.Close()
		conn = c.pool.get(addr)
	}
	return conn
}

// use sends a request over a connection of a pool's round, and keeps it when it
// stays good.
func (c *Client) use(ctx context.Context, conn net.Conn, round int, addr string, req request,
	read func(*response) error) error {
	br, bw := c.reader(conn), c.writer(conn)
	release := bound(ctx, conn)
	whole, err := c.exchange(bw, br, hostOf(conn, addr), req, read)
	givenUp(ctx, err)
	good := release() && whole && br.Buffered() == 0
	c.readers.Put(br)
	c.writers.Put(bw)
	if good {
		c.pool.put(addr, conn, round)
	} else {
		conn.Close()
	}
	return err
}

// givenUp distinguishes a call that was cancelled from one whose time ran out: see
// bound, which makes both of them a read that times out.
func givenUp(ctx context.Context, err error) {
	var ping *awa.PingError
	if errors.As(err, &ping) && errors.Is(ctx.Err(), context.Canceled) {
		ping.Err = context.Canceled
	}
}

// exchange writes a request and reads its answer. It reports whether the answer
// was read whole and the connection may serve another request.
func (c *Client) exchange(bw *bufio.Writer, br *bufio.Reader, host string, req request,
	read func(*response) error) (whole bool, err error) {
	headers, body, err := c.fill(host, req)
	if err != nil {
		return false, err
	}
	target := req.path
	if req.query != "" {
		target += "?" + req.query
	}
	want := statusOK
	if req.raftTo != "" {
		want = statusSwitching
	}
	err = writeRequest(bw, cmp.Or(req.method, methodGet), target, headers, body)
	var a *response
	if err == nil {
		a, err = readResponse(br, boundOf(req).Bytes, want)
	}
	if err != nil {
		return false, &awa.PingError{Stage: stageOf(err), Err: plain(err)}
	}
	whole = !a.last
	if a.status != want {
		return whole, refusal(a)
	}
	if err := read(a); err != nil {
		return false, &awa.PingError{Stage: awa.StageReply, Err: err}
	}
	return whole, nil
}

// stageOf is the stage of an error of reading or writing: see
// ClientConfig.Secure.
func stageOf(err error) awa.Stage {
	if _, refused := errors.AsType[awa.Code](err); refused && !errors.Is(err, errNoAgent) {
		return awa.StageTLS
	}
	return awa.StageReply
}

// refusal reads an error's body. Its sentence is made fit to be shown.
func refusal(a *response) error {
	var body wire.ErrorBody
	if err := json.Unmarshal(a.body, &body); err != nil || body.Error == "" || body.Code.Check() != nil {
		return &awa.PingError{Stage: awa.StageReply, Err: fmt.Errorf("%w (HTTP status %d)", errNoAgent, a.status)}
	}
	fault := &awa.Fault{Code: body.Code, Text: awa.CleanText(body.Error)}
	if body.Code == awa.ErrPlainHTTP {
		return &awa.PingError{Stage: awa.StageTLS, Err: fault}
	}
	return fault
}

// fill returns a request's headers, except its length, and its body.
func (c *Client) fill(host string, req request) (headers []wire.Header, body []byte, err error) {
	add := func(name, value string) { headers = append(headers, wire.Header{Name: name, Value: value}) }
	headers = make([]wire.Header, 0, 10)
	add("Host", host)
	add("User-Agent", "are-we-alive/"+awa.Version)
	if c.cfg.Caller != nil {
		caller := c.cfg.Caller()
		if req.newcomer {
			caller = awa.Caller{UID: caller.UID, Instance: caller.Instance, Addr: caller.Addr}
		}
		headers = wire.AppendCaller(headers, caller)
	}
	if req.hops > 0 {
		add(wire.HeaderHops, strconv.Itoa(req.hops))
	}
	if req.key != "" {
		add(wire.HeaderKey, req.key)
	}
	if req.raftTo != "" {
		add(wire.HeaderTo, req.raftTo)
		add("Connection", "Upgrade")
		add("Upgrade", wire.RaftProtocol)
	}
	if req.body != nil {
		if body, err = wire.Encode(req.body); err != nil {
			return nil, nil, awa.Faultf(awa.ErrBadInput, "the request can't be written as JSON: %v", err)
		}
		add("Content-Type", "application/json")
	}
	for _, h := range headers {
		if strings.ContainsFunc(h.Value, unicode.IsControl) { // one could begin another header
			return nil, nil, awa.Faultf(awa.ErrBadInput, "the header %s can't hold the control character in %q", h.Name, h.Value)
		}
	}
	return headers, body, nil
}

func (c *Client) reader(conn net.Conn) *bufio.Reader {
	if r, ok := c.readers.Get().(*bufio.Reader); ok {
		r.Reset(conn)
		return r
	}
	return bufio.NewReader(conn)
}

func (c *Client) writer(conn net.Conn) *bufio.Writer {
	if w, ok := c.writers.Get().(*bufio.Writer); ok {
		w.Reset(conn)
		return w
	}
	return bufio.NewWriter(conn)
}
