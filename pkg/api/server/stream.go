package server

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"are-we-alive/pkg/api/internal/wire"
)

// What a long answer may cost. Everything that grows with the list goes out in
// pages, so that a reader who doesn't read holds one page and not the answer.
const (
	// pageBytes is how much of an answer is encoded at once. An answer that
	// fits goes out whole, with its length. A page may exceed it by one element:
	// a change or a node, at most some 40 KiB.
	pageBytes = 16 << 10
	// minRate is the slowest reading, in bytes a second, that an answer goes on
	// for. Without it a reader of a byte a minute would hold its page for days.
	minRate = 16 << 10
	// sendBuffer bounds what the kernel holds of a long answer that isn't read,
	// in bytes; Linux takes twice that. By itself it would grow to 4 MiB.
	sendBuffer = 64 << 10
)

// pages makes an answer piece by piece: each call appends the next piece to b
// and says whether there are more. What it returns is valid until the next call.
type pages func(b []byte) (page []byte, more bool, err error)

// answerPages sends an answer in pages. start begins it, a second time where
// its length must be known before. An error in the first page is returned; one
// in a later page ends the connection before the end of the answer, so that
// nobody takes a cut answer for a whole one. shared is what the pages are made
// of, if that stays in memory until they are all sent.
func (h *handler) answerPages(ctx *fasthttp.RequestCtx, shared result, start func() pages) error {
	body := h.long(start(), string(ctx.Path()), h.log)
	if err := body.fill(); err != nil {
		return err
	}
	ctx.SetContentType("application/json")
	if !body.more {
		ctx.Response.SetBodyRaw(body.page)
		return nil
	}
	size := -1
	if !ctx.Request.Header.IsHTTP11() { // it knows no chunks, and needs the length to notice a cut answer
		var err error
		if size, err = h.length(start()); err != nil {
			return err
		}
	}
	h.send(ctx, body, size, shared)
	return nil
}

// length is that of a whole answer, in bytes.
func (h *handler) length(next pages) (size int, err error) {
	for more := true; more && err == nil; {
		var page []byte
		h.turn.do(func() { page, more, err = next(page[:0]) })
		size += len(page)
	}
	return size, err
}

// long makes a body of pages.
func (s *sender) long(next pages, path string, log *slog.Logger) *longBody {
	return &longBody{next: next, pace: s.pace, turn: s.turn, log: log, path: path, more: true,
		buf: make([]byte, 0, pageBytes+pageBytes/4)}
}

// send makes a long body the answer; size is -1 when its length is not known.
func (s *sender) send(ctx *fasthttp.RequestCtx, body *longBody, size int, shared result) {
	body.conn, body.began = ctx.Conn(), time.Now()
	shrink(body.conn)
	body.leave = s.held.enter(shared, body.cut)
	ctx.Response.SetBodyStream(body, size)
}

// sender is what long answers have in common.
type sender struct {
	held *retained
	turn turn
	pace pace
}

func newSender() sender {
	return sender{newRetained(maxRetained), newTurn(), pace{stall: writeTimeout, rate: minRate}}
}

// jsonPages are the pages of a JSON text that is long because of one array in
// it. some calls add for the next few elements until add has a page full, and
// says whether there are more.
func jsonPages(head, tail string, some func(add func(v any) (full bool, err error)) (more bool, err error)) pages {
	begun, first := false, true
	return func(b []byte) ([]byte, bool, error) {
		if !begun {
			b, begun = append(b, head...), true
		}
		more, err := some(func(v any) (bool, error) {
			e, err := wire.Encode(v)
			if err != nil {
				return false, err
			}
			if !first {
				b = append(b, ',')
			}
			b, first = append(b, e...), false
			return len(b) >= pageBytes, nil
		})
		if !more {
			b = append(b, tail...)
		}
		return b, more, err
	}
}

// slicePages are jsonPages whose elements are those of a slice that keep
// accepts (nil: all), each as element makes it.
func slicePages[T any](head, tail string, all []T, keep func(*T) bool, element func(*T) any) pages {
	i := 0
	return jsonPages(head, tail, func(add func(any) (bool, error)) (bool, error) {
		for full := false; i < len(all) && !full; i++ {
			if keep != nil && !keep(&all[i]) {
				continue
			}
			var err error
			if full, err = add(element(&all[i])); err != nil {
				return false, err
			}
		}
		return i < len(all), nil
	})
}

// bytesPages are the pages of an answer that is in memory.
func bytesPages(all []byte) pages {
	return func([]byte) ([]byte, bool, error) {
		n := min(pageBytes, len(all))
		page := all[:n:n]
		all = all[n:]
		return page, len(all) > 0, nil
	}
}

// longBody is an answer that goes out in pages, each of which is written before
// the next one is made.
type longBody struct {
	next  pages
	turn  turn
	pace  pace
	log   *slog.Logger
	path  string
	conn  net.Conn
	leave func() // not nil once it is sent

	page []byte // what is left of it
	buf  []byte // the whole page, to be used again
	more bool

	began time.Time
	sent  int64
	ended atomic.Bool // by cut
}

// errCut ends an answer that is taken from its reader, see retained.
var errCut = errors.New("the reader is too slow, and its answer was given up")

// Read implements io.Reader, for answers that have a length.
func (l *longBody) Read(p []byte) (int, error) {
	page, err := l.ready()
	n := copy(p, page)
	l.page = page[n:]
	l.sent += int64(n)
	return n, err
}

// SupportsBodyWriteTo implements fasthttp.BodyWriterTo.
func (l *longBody) SupportsBodyWriteTo() bool { return true }

// WriteTo implements io.WriterTo, for answers in chunks: each page is one.
func (l *longBody) WriteTo(w io.Writer) (int64, error) {
	for {
		page, err := l.ready()
		if err == nil {
			_, err = w.Write(page)
		}
		switch {
		case errors.Is(err, io.EOF):
			return l.sent, nil
		case err != nil:
			return l.sent, err
		}
		l.page = nil
		l.sent += int64(len(page))
	}
}

// ready returns what is left of the page, or the next one, and returns its
// writing a time. The error is io.EOF after the last page.
func (l *longBody) ready() ([]byte, error) {
	for len(l.page) == 0 {
		if !l.more {
			return nil, io.EOF
		}
		if err := l.fill(); err != nil {
			l.log.Error("a long answer ends in the middle", "path", l.path, "error", err)
			return nil, err
		}
	}
	return l.page, l.extend(time.Now())
}

// fill makes the next page.
func (l *longBody) fill() (err error) {
	l.turn.do(func() { l.buf, l.more, err = l.next(l.buf[:0]) })
	l.page = l.buf
	return err
}

// extend returns the next write its time.
func (l *longBody) extend(now time.Time) error {
	if err := l.conn.SetWriteDeadline(l.pace.deadline(l.began, now, l.sent)); err != nil {
		return err
	}
	if l.ended.Load() { // its deadline was just overwritten
		return errCut
	}
	return nil
}

// cut ends the answer, whatever its reader does.
func (l *longBody) cut() {
	l.ended.Store(true)
	l.conn.SetWriteDeadline(time.Unix(1, 0))
}

// Close implements io.Closer: fasthttp has sent the answer, or given it up.
func (l *longBody) Close() error {
	l.leave()
	return nil
}

// pace is how fast an answer must be read.
type pace struct {
	stall time.Duration // the longest time in which nothing is read
	rate  int64         // bytes a second, on average after that time
}

// deadline is when the next write must be done: soon after now, so that a
// reader who has stopped is found, and soon enough after the beginning, so
// that one who almost has is found too.
func (p pace) deadline(began, now time.Time, sent int64) time.Time {
	stalled := now.Add(p.stall)
	slow := began.Add(p.stall + time.Duration(float64(sent)/float64(p.rate)*float64(time.Second)))
	if slow.Before(stalled) {
		return slow
	}
	return stalled
}

// turn bounds the processors that work on pages: however many readers there
// are, the rest stays for pings and checks.
type turn chan struct{}

func newTurn() turn { return make(turn, maxWorking()) }

// do runs f when it is its turn. f must not wait for anybody.
func (t turn) do(f func()) {
	t <- struct{}{}
	defer func() { <-t }()
	f()
}

// shrink bounds the kernel's memory for what a connection's client doesn't read.
func shrink(conn net.Conn) {
	for conn != nil {
		switch c := conn.(type) {
		case interface{ SetWriteBuffer(int) error }: // TCP
			c.SetWriteBuffer(sendBuffer) // a failure leaves the system's own bound
			return
		case *guarded:
			conn = c.Conn
		case interface{ NetConn() net.Conn }:
			conn = c.NetConn()
		default:
			return
		}
	}
}
