package api

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"are-we-alive/pkg/api/internal/wire"
	"are-we-alive/pkg/awa"
)

// HTTP/1.1 as a client needs it (RFC 9112). A library for it would take
// check_awa longer to load than its question takes. It is strict: an answer
// whose end could be understood in two ways is refused.

// Errors of reading an answer, except those of the connection.
var (
	// errNoAgent is an answer of another program.
	errNoAgent error = awa.Faultf(awa.ErrNoAgent, "something answers there that is not an awa-agent")
	errClosed        = errors.New("the connection was closed without an answer")
	errHalf          = errors.New("the connection was closed in the middle of the answer")
)

// malformed is an answer that is not HTTP/1.1; why is the place to look at.
func malformed(why string) error { return fmt.Errorf("%w (HTTP: %s)", errNoAgent, why) }

// notOurs is an answer whose content no agent of ours sends.
func notOurs(why error) error { return fmt.Errorf("%w: %s", errNoAgent, awa.CleanText(why.Error())) }

// answerReader reads one answer, byte by byte against what it may have. It
// never takes a byte more from the connection than its buffer is large.
type answerReader struct {
	br   *bufio.Reader
	most int // bytes of the whole answer, for the sentence
	left int // bytes that it may still have
}

// count counts bytes that were read. Of what is too large nothing is left.
func (in *answerReader) count(n int) error {
	if n > in.left {
		in.left = 0
		return fmt.Errorf("%w (its answer is larger than %d KiB)", errNoAgent, in.most>>10)
	}
	in.left -= n
	return nil
}

// writeRequest writes a request. The headers' values hold no line break.
func writeRequest(w *bufio.Writer, method, target string, headers []wire.Header, body []byte) error {
	write := func(parts ...string) {
		for _, p := range parts {
			w.WriteString(p)
		}
	}
	write(method, " ", target, " HTTP/1.1\r\n")
	for _, h := range headers {
		write(h.Name, ": ", h.Value, "\r\n")
	}
	if method != methodGet {
		write("Content-Length: ", strconv.Itoa(len(body)), "\r\n")
	}
	write("\r\n")
	w.Write(body)
	return w.Flush() // returns the first error
}

// response is an answer that was read whole.
type response struct {
	status int
	fields []byte // the lines of the head after the first
	body   []byte
	http10 bool
	last   bool // the connection serves no further request
}

// values returns every value of a header.
func (r *response) values(name string) (all []string) {
	for line := range bytes.Lines(r.fields) {
		if n := len(name); len(line) > n && line[n] == ':' && strings.EqualFold(string(line[:n]), name) {
			all = append(all, string(bytes.Trim(line[n+1:], " \t\r\n")))
		}
	}
	return all
}

// value returns the first value of a header, or "".
func (r *response) value(name string) string {
	return append(r.values(name), "")[0]
}

// has reports whether a header that lists words lists this one.
func (r *response) has(name, word string) bool {
	for _, v := range r.values(name) {
		for w := range strings.SplitSeq(v, ",") {
			if strings.EqualFold(strings.Trim(w, " \t"), word) {
				return true
			}
		}
	}
	return false
}

// readResponse reads the answer to a request that is not HEAD, of at most so
// many bytes. Answers 1xx before it are skipped, except 101. The body of an
// answer with another status than want (0: none is another) is left out when it
// is larger than a refusal may be.
func readResponse(br *bufio.Reader, most, want int) (*response, error) {
	in := &answerReader{br, most, most}
	for head := MaxHead; ; {
		r, err := in.readHead(&head)
		if errors.Is(err, io.EOF) {
			return nil, errClosed
		}
		if err != nil {
			return nil, err
		}
		if r.status < 200 && r.status != statusSwitching {
			continue
		}
		refusal := want != 0 && r.status != want
		if refusal {
			in.left = min(in.left, MaxRefusal)
		}
		err = r.readBody(in)
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return nil, errHalf
		case err != nil && in.left == 0 && refusal:
			r.body, r.last = nil, true // a web page, say: the status says more than its size
		case err != nil:
			return nil, err
		}
		return r, nil
	}
}

func (in *answerReader) readHead(left *int) (*response, error) {
	line, err := in.readLine(left)
	if err != nil {
		return nil, err
	}
	version, rest, _ := strings.Cut(string(line), " ")
	code, _, reason := strings.Cut(rest, " ")
	status, err := strconv.ParseUint(code, 10, 16)
	if err != nil || len(code) != 3 || status < 100 || !reason && len(rest) != 3 || version != "HTTP/1.1" &&
		version != "HTTP/1.0" {
		return nil, malformed("its first line")
	}
	r := &response{status: int(status), http10: version == "HTTP/1.0"}
	r.fields, err = in.readFields(left)
	return r, err
}

// readFields reads headers and the empty line after them.
func (in *answerReader) readFields(left *int) ([]byte, error) {
	all := make([]byte, 0, 256)
	for {
		line, err := in.readLine(left)
		if err != nil || len(line) == 0 {
			return all, err
		}
		name, _, ok := bytes.Cut(line, []byte(":"))
		if !ok || len(name) == 0 || bytes.ContainsFunc(name, notToken) {
			return nil, malformed("a header")
		}
		all = append(append(all, line...), '\n')
	}
}

// notToken reports whether a header's name can't hold r (RFC 9110, 5.6.2).
func notToken(r rune) bool {
	return r <= ' ' || r > '~' || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
}

// readLine reads a line of a head, which is valid until the next read, and
// takes its length off left, which is what the head may still have.
func (in *answerReader) readLine(left *int) ([]byte, error) {
	line, err := in.br.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		line = slices.Clone(line)
	}
	for errors.Is(err, bufio.ErrBufferFull) && len(line) <= min(MaxLine, *left) {
		var more []byte
		more, err = in.br.ReadSlice('\n')
		line = append(line, more...)
	}
	if *left -= len(line); *left < 0 || len(line) > MaxLine {
		return nil, malformed("its head is too long")
	}
	if err != nil {
		return nil, err
	}
	if err := in.count(len(line)); err != nil {
		return nil, err
	}
	text, ok := bytes.CutSuffix(line, []byte("\r\n"))
	if !ok || bytes.ContainsFunc(text, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
		return nil, malformed("a line of its head")
	}
	return text, nil
}

// readBody reads what RFC 9112, section 6.3 says belongs to the answer.
func (r *response) readBody(in *answerReader) (err error) {
	r.last = r.has("Connection", "close") || r.http10 && !r.has("Connection", "keep-alive")
	lengths, coding := slices.Compact(r.values("Content-Length")), r.values("Transfer-Encoding")
	var length uint64
	if len(lengths) > 0 {
		length, err = strconv.ParseUint(lengths[0], 10, 63)
	}
	if err != nil || len(lengths) > 1 {
		return malformed("its length")
	}
	if len(coding) > 0 && (len(lengths) > 0 || len(coding) > 1 || !strings.EqualFold(coding[0], "chunked") || r.http10) {
		return malformed("its transfer coding")
	}
	switch {
	case r.status == statusSwitching:
		r.last = true
	case r.status == 204, r.status == 304:
	case len(coding) > 0:
		r.body, err = in.readChunks()
	case len(lengths) > 0:
		r.body, err = in.readMore(nil, length)
	default: // it ends with the connection
		r.last = true
		r.body, err = in.readRest()
	}
	return err
}

// readRest reads to the end of the connection.
func (in *answerReader) readRest() ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(in.br, int64(in.left)+1))
	if err != nil {
		return nil, err
	}
	return body, in.count(len(body))
}

func (in *answerReader) readChunks() (body []byte, err error) {
	for {
		left := MaxHead
		line, err := in.readLine(&left)
		if err != nil {
			return nil, err
		}
		digits, _, _ := bytes.Cut(bytes.TrimRight(line, " \t"), []byte(";")) // extensions mean nothing here
		size, err := strconv.ParseUint(string(digits), 16, 63)
		if err != nil {
			return nil, malformed("a chunk")
		}
		if size == 0 { // a trailer means nothing either
			_, err = in.readFields(&left)
			return body, err
		}
		if body, err = in.readMore(body, size); err != nil {
			return nil, err
		}
		if line, err = in.readLine(&left); err != nil {
			return nil, err
		} else if len(line) > 0 {
			return nil, malformed("a chunk")
		}
	}
}

// readMore reads n bytes more of a body. Memory is taken as they arrive, not
// because somebody says that they will.
func (in *answerReader) readMore(body []byte, n uint64) ([]byte, error) {
	if err := in.count(int(min(n, math.MaxInt))); err != nil {
		return nil, err
	}
	for left := int(n); left > 0; {
		at, step := len(body), min(left, max(len(body), 4<<10))
		body = slices.Grow(body, step)[:at+step]
		if _, err := io.ReadFull(in.br, body[at:]); err != nil {
			return nil, err
		}
		left -= step
	}
	return body, nil
}
