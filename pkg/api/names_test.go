package api

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"are-we-alive/pkg/awa"
)

// world is the name servers and the hosts that a client meets.
type world struct {
	lookup  func(ctx context.Context) ([]string, error)
	silent  []string // addresses that never answer
	refuses []string // those that refuse

	mu       sync.Mutex
	lookedUp int
	dialed   []string
}

// client makes a client in this world.
func (w *world) client(t *testing.T) *Client {
	c := NewClient(ClientConfig{Dial: w.dial})
	c.names.lookup = func(ctx context.Context, host string) ([]string, error) {
		w.mu.Lock()
		w.lookedUp++
		w.mu.Unlock()
		return w.lookup(ctx)
	}
	t.Cleanup(c.Close)
	return c
}

func (w *world) dial(ctx context.Context, _, addr string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	w.dialed = append(w.dialed, host)
	w.mu.Unlock()
	switch {
	case slices.Contains(w.silent, host):
		<-ctx.Done()
		return nil, ctx.Err()
	case slices.Contains(w.refuses, host):
		return nil, errors.New("connection refused")
	}
	conn, other := net.Pipe()
	other.Close()
	return conn, nil
}

// says is a name server that answers at once.
func says(addrs ...string) func(context.Context) ([]string, error) {
	return func(context.Context) ([]string, error) { return addrs, nil }
}

// after is one that answers after a while.
func after(d time.Duration, then func(context.Context) ([]string, error)) func(context.Context) ([]string, error) {
	return func(ctx context.Context) ([]string, error) {
		select {
		case <-time.After(d):
			return then(ctx)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func unknown(context.Context) ([]string, error) {
	return nil, &net.DNSError{Err: "no such host", Name: "web1", IsNotFound: true}
}

// open opens a connection to web1 within the time of a ping, and returns which
// addresses were dialed for it and how long it took.
func (w *world) open(t *testing.T, c *Client) (dialed []string, took time.Duration, err error) {
	t.Helper()
	w.mu.Lock()
	w.dialed = nil
	w.mu.Unlock()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	began := time.Now()
	conn, err := c.connect(ctx, "web1", 1)
	took = time.Since(began)
	if err == nil {
		conn.Close()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.dialed), took, err
}

const ms = time.Millisecond

func TestConnect_names(t *testing.T) {
	const a, b, c, d = "10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"
	never := after(time.Hour, unknown)
	for name, test := range map[string]struct {
		first func(context.Context) ([]string, error) // what a connection before learned; nil for none
		then  *world
		dials []string
		takes time.Duration
		err   string
	}{
		"its address answers": {then: &world{lookup: says(a)}, dials: []string{a}},
		"the first address is silent": {then: &world{lookup: says(a, b), silent: []string{a}}, dials: []string{a, b},
			takes: nextAddress},
		"the first address refuses": {then: &world{lookup: says(a, b), refuses: []string{a}}, dials: []string{a, b}},
		"three are silent": {then: &world{lookup: says(a, b, c, d), silent: []string{a, b, c}}, dials: []string{a, b, c, d},
			takes: 3 * nextAddress},
		"all are silent": {then: &world{lookup: says(a, b), silent: []string{a, b}},
			dials: []string{a, b}, takes: time.Second, err: "connect: no answer in time"},
		"all refuse": {then: &world{lookup: says(a, b), refuses: []string{a, b}},
			dials: []string{a, b}, err: "connect: connection refused"},
		"it has no address":                 {then: &world{lookup: unknown}, err: "resolve: no such host"},
		"nobody knows":                      {then: &world{lookup: never}, takes: time.Second, err: "resolve: no answer in time"},
		"the server is slow":                {then: &world{lookup: after(300*ms, says(a))}, dials: []string{a}, takes: 300 * ms},
		"it has moved":                      {first: says(a), then: &world{lookup: says(b)}, dials: []string{b}},
		"the one that was good comes first": {first: says(b), then: &world{lookup: says(a, b, c)}, dials: []string{b}},
		"the server is silent":              {first: says(a), then: &world{lookup: never}, dials: []string{a}, takes: lookupWait},
		"it is unknown by now":              {first: says(a), then: &world{lookup: unknown}, dials: []string{a}},
		"it has moved, and the server is slow": {first: says(a), then: &world{lookup: after(300*ms, says(b)),
			silent: []string{a}},
			dials: []string{a, b}, takes: 500 * ms},
		"it is dead, and the server is silent": {first: says(a), then: &world{lookup: never, refuses: []string{a}},
			dials: []string{a}, takes: time.Second, err: "connect: connection refused"},
		"it is dead, and unknown": {first: says(a), then: &world{lookup: unknown, refuses: []string{a}}, dials: []string{a},
			err: "connect: connection refused"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := test.then
				client := w.client(t)
				if then := w.lookup; test.first != nil {
					silent, refuses := w.silent, w.refuses
					w.lookup, w.silent, w.refuses = test.first, nil, nil
					if _, _, err := w.open(t, client); err != nil {
						t.Fatal(err)
					}
					w.lookup, w.silent, w.refuses = then, silent, refuses
				}
				dialed, took, err := w.open(t, client)
				if test.err == "" && err != nil || test.err != "" && (err == nil || err.Error() != test.err) {
					t.Errorf("the error is %v", err)
				}
				if err != nil && !errors.As(err, new(*awa.PingError)) {
					t.Errorf("the error is a %T", err)
				}
				if !slices.Equal(dialed, test.dials) || took != test.takes {
					t.Errorf("dialed were %v, within %v", dialed, took)
				}
			})
		})
	}
}

// A lookup that took too long for one connection serves the next, and one at a time
// is under way.
func TestConnect_lookupGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{lookup: after(5*time.Second, says("10.0.0.1"))}
		c := w.client(t)
		for range 3 {
			if _, took, err := w.open(t, c); err == nil || took != time.Second {
				t.Errorf("within %v: %v", took, err)
			}
		}
		done, _, _ := c.names.begin("web1") // the one that is under way
		<-done
		if w.lookedUp != 1 {
			t.Errorf("there were %d lookups", w.lookedUp)
		}
		if dialed, took, err := w.open(t, c); err != nil || took != lookupWait || len(dialed) != 1 {
			t.Errorf("dialed were %v, within %v: %v", dialed, took, err)
		}
		if _, took, err := w.open(t, c); err != nil || took != 0 { // the same lookup is still under way
			t.Errorf("within %v: %v", took, err)
		}
	})
}

// An outage is one line in the log, however many names it is met with, and so is its
// end.
func TestNames_log(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		n := NewNames(slog.New(slog.NewTextHandler(&log, nil)))
		defer n.Close()
		silent := &net.DNSError{Err: "i/o timeout", Server: "10.0.0.53:53", IsTimeout: true}
		answers := error(nil)
		n.lookup = func(context.Context, string) ([]string, error) { return []string{"10.0.0.1"}, answers }
		look := func(hosts ...string) {
			for _, host := range hosts {
				done, _, _ := n.begin(host)
				<-done
				n.answered(host, "10.0.0.1")
			}
		}
		look("web1", "web2", "web3")
		answers = silent
		look("web1", "web2", "web1", "web4")
		answers = nil
		look("web2", "web1")
		answers = silent
		look("web2") // a moment later: not again
		answers = &net.DNSError{Err: "no such host", IsNotFound: true}
		look("web3", "web3", "web5")
		var said []string
		for line := range strings.Lines(log.String()) {
			_, text, _ := strings.Cut(strings.TrimSpace(line), "level=")
			said = append(said, text)
		}
		want := []string{
			`WARN msg="names can't be looked up: their earlier addresses are used" name=web1 ` +
				`error="name server 10.0.0.53: no answer in time"`,
			`INFO msg="names can be looked up again"`,
			`WARN msg="the name no longer exists: its last address is used" name=web3 addr=10.0.0.1`,
		}
		if !slices.Equal(said, want) {
			t.Errorf("logged:\n%s", strings.Join(said, "\n"))
		}
	})
}

func TestInOrder(t *testing.T) {
	for _, test := range [][3]string{
		{"", "", ""},
		{"10.0.0.1 10.0.0.2", "", "10.0.0.1 10.0.0.2"},
		{"10.0.0.1 10.0.0.2", "10.0.0.2", "10.0.0.2 10.0.0.1"},
		{"10.0.0.1 10.0.0.2", "10.0.0.3", "10.0.0.1 10.0.0.2"},
		{"::1 ::2 10.0.0.1 10.0.0.2", "", "::1 10.0.0.1 ::2 10.0.0.2"},
		{"10.0.0.1 ::1 ::2", "::2", "::2 10.0.0.1 ::1"},
	} {
		if got := strings.Join(inOrder(strings.Fields(test[0]), test[1]), " "); got != test[2] {
			t.Errorf("%s with %s: %s", test[0], test[1], got)
		}
	}
}

// What a name server does is told in the same words each time.
func TestPlain_nameServer(t *testing.T) {
	for text, err := range map[string]error{
		"no such host": &net.DNSError{Err: "no such host", Server: "10.0.0.53:53", IsNotFound: true},
		"name server 10.0.0.53: no answer in time": &net.DNSError{Err: "i/o timeout", Server: "10.0.0.53:53",
			IsTimeout: true},
		"name server 10.0.0.53: server misbehaving": &net.DNSError{Err: "server misbehaving", Server: "10.0.0.53:53"},
		"name server 127.0.0.1: connection refused": &net.DNSError{
			Err: "read udp 127.0.0.1:51996->127.0.0.1:53: read: connection refused", Server: "127.0.0.1:53"},
		"name server 10.0.0.53:5353: no route to host": &net.DNSError{Err: "dial udp 10.0.0.53:5353: connect: no " +
			"route to host",
			Server: "10.0.0.53:5353"},
		"no answer in time": &net.DNSError{Err: "i/o timeout", IsTimeout: true},
	} {
		if got := plain(err).Error(); got != text {
			t.Errorf("%v: %s", err, got)
		}
	}
}
