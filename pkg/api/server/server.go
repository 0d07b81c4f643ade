package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/valyala/fasthttp"

	"are-we-alive/pkg/awa"
)

// Times and sizes that bound what one client can hold.
const (
	// readTimeout is for a whole request, and before the first one for a TLS
	// handshake, which fasthttp bounds by nothing else.
	readTimeout  = 5 * time.Second
	writeTimeout = 30 * time.Second
	idleTimeout  = 3 * time.Minute // must exceed the interval of sweeps, else every sweep is cold
	maxHeader    = 8 << 10
	maxBody      = 1 << 20 // of a request
)

// Config is what a Server needs. Agent and Log must be set.
type Config struct {
	Agent Agent
	Log   *slog.Logger
	// Secure makes the port's connections speak TLS, as trust.Keyring.Listener
	// does, and calls failed for each client that it refuses. nil leaves
	// the connections as they are.
	Secure func(inner net.Listener, failed func(remote net.Addr, err error)) net.Listener
	// Role returns the role that a client's certificate stands for; false for
	// none. It is asked at every request, since keys may be removed. nil means
	// that there is no TLS and everybody may do everything.
	Role func(tls.ConnectionState) (awa.Role, bool)
	// MaxConns is how many connections may be open at a time, 8,192 when 0,
	// which is also the most. Half of them are for members.
	MaxConns int
	// Hosts returns the names, without a port, by which clients may call this
	// agent. Without Role a request for any other is refused, unless it is for
	// an IP address or localhost. nil means that any name will do.
	Hosts func() []string
}

// Server answers requests on one listener: see NewServer for the agent's calls,
// and NewWebServer for the pages that Prometheus reads.
type Server struct {
	http    *fasthttp.Server
	log     *slog.Logger
	secure  func(net.Listener, func(net.Addr, error)) net.Listener
	limited *rateLimitedLog
	limits  limits
	sender  *sender // what its long answers have in common

	mu    sync.Mutex
	guard *guard // nil before Serve
}

// NewServer makes a server for an agent; it starts nothing.
func NewServer(cfg Config) *Server {
	h := &handler{errorWriter: errorWriter{cfg.Log, maxBody}, sender: newSender(), calls: routes(), agent: cfg.Agent,
		role: cfg.Role, hosts: cfg.Hosts}
	s := newServer(cfg.Log, h.serve, h.broken, maxBody)
	s.secure, s.limits, s.sender = cfg.Secure, standardLimits(), &h.sender
	if cfg.MaxConns > 0 {
		s.limits = limitsFor(cfg.MaxConns)
	}
	return s
}

// newServer makes a server of one kind, without its limits on connections.
func newServer(log *slog.Logger, serve fasthttp.RequestHandler, broken func(*fasthttp.RequestCtx, error),
	maxBody int) *Server {
	r := &rateLimitedLog{log: log}
	return &Server{log: log, limited: r, http: &fasthttp.Server{
		Handler:               serve,
		ErrorHandler:          broken,
		ReadTimeout:           readTimeout,
		WriteTimeout:          writeTimeout,
		IdleTimeout:           idleTimeout,
		ReadBufferSize:        maxHeader,
		ConnState:             onState,
		MaxRequestBodySize:    maxBody,
		KeepHijackedConns:     true, // else Close doesn't wake a blocked Read of a Raft stream
		ReduceMemoryUsage:     true,
		CloseOnShutdown:       true,
		NoDefaultServerHeader: true,
		Logger:                debugLog{r},
	}}
}

// onState marks the connection below as busy while it has a request, as idle after it, and as
// a stream once it has become one of Raft's.
func onState(conn net.Conn, state fasthttp.ConnState) {
	c := guardedBelow(conn)
	if c == nil || !c.authorized.Load() {
		return
	}
	switch state {
	case fasthttp.StateActive, fasthttp.StateIdle:
		c.turn(state == fasthttp.StateActive)
	case fasthttp.StateHijacked:
		c.move(streaming)
	}
}

// Serve answers until Shutdown or until the listener fails; it closes the
// listener.
func (s *Server) Serve(ln net.Listener) error {
	g := newGuard(patient{ln, s.log}, s.limits, s.limited)
	s.mu.Lock()
	s.guard = g
	s.mu.Unlock()
	var outer net.Listener = g
	if s.secure != nil {
		outer = s.secure(g, s.failed)
	}
	if err := s.http.Serve(outer); err != nil {
		return fmt.Errorf("serve %s: %w", ln.Addr(), err)
	}
	return nil
}

// failed logs that a client was not let in. What a person can mend has a code;
// the rest are connections that broke, or were given up.
func (s *Server) failed(remote net.Addr, err error) {
	var code awa.Code
	if !errors.As(err, &code) {
		s.limited.line(slog.LevelDebug, "handshake", "a connection ended before its first request", "from", remote.String(),
			"error", err)
		return
	}
	s.limited.line(slog.LevelWarn, string(code), "a client was not let in", "from", remote.String(), "error", err)
}

// Shutdown closes the listener and waits for the requests under way, until
// ctx ends. Then it closes the connections on which nobody has asked anything
// yet. Raft streams are not waited for.
func (s *Server) Shutdown(ctx context.Context) error {
	err := s.http.ShutdownWithContext(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.guard != nil {
		s.guard.closePending()
	}
	return err
}

// patient is a listener that outlives a shortage: out of file descriptors is
// no reason to stop serving for good.
type patient struct {
	net.Listener
	log *slog.Logger
}

// Accept waits and tries again while the system is short of something, as
// net/http's server does: to wait is all that helps, since what is missing is
// given back when a connection ends. The port closing meanwhile is seen at
// most a second late.
func (p patient) Accept() (net.Conn, error) {
	for wait := 5 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		c, err := p.Listener.Accept()
		if err == nil || !isShortage(err) {
			return c, err
		}
		p.log.Warn("can't accept a connection, trying again", "error", err, "wait", wait)
		time.Sleep(wait)
	}
}

func isShortage(err error) bool {
	for _, e := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// debugLog takes the server's own log lines, which are about misbehaving
// clients: nothing that an administrator must see.
type debugLog struct{ *rateLimitedLog }

// Printf implements fasthttp.Logger. Its lines are distinguished by their format.
func (l debugLog) Printf(format string, args ...any) {
	l.line(slog.LevelDebug, format, "http server", "message", lazy{format, args})
}

// lazy is a text that is made only when it is logged.
type lazy struct {
	format string
	args   []any
}

// LogValue implements slog.LogValuer.
func (l lazy) LogValue() slog.Value { return slog.StringValue(fmt.Sprintf(l.format, l.args...)) }
