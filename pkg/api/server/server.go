// Package server answers the agent's HTTP interface; pkg/api asks it.
//
// It owns how a request is read and refused, and nothing behind it: what an
// agent answers comes from the Agent interface. It alone uses fasthttp.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"syscall"
	"time"

	"github.com/valyala/fasthttp"

	"are-we-alive/pkg/api/internal/wire"
	"are-we-alive/pkg/awa"
)

// Times and sizes that bound what one client can hold.
const (
	readTimeout  = 10 * time.Second // for a whole request
	writeTimeout = 30 * time.Second
	idleTimeout  = 3 * time.Minute // must exceed the interval of sweeps, else every sweep is cold
	maxHeader    = 8 << 10
	maxBody      = 1 << 20 // of a request
)

// Server answers the agent's calls on one listener. The zero value is not
// usable: see NewServer.
type Server struct {
	http *fasthttp.Server
	log  *slog.Logger
}

// NewServer makes a server for an agent; it starts nothing.
func NewServer(agent Agent, log *slog.Logger) *Server {
	h := &handler{agent: agent, log: log}
	return &Server{log: log, http: &fasthttp.Server{
		Handler:               h.serve,
		ErrorHandler:          h.broken,
		ReadTimeout:           readTimeout,
		WriteTimeout:          writeTimeout,
		IdleTimeout:           idleTimeout,
		ReadBufferSize:        maxHeader,
		MaxRequestBodySize:    maxBody,
		KeepHijackedConns:     true, // else Close doesn't wake a blocked Read of a Raft stream
		ReduceMemoryUsage:     true,
		CloseOnShutdown:       true,
		NoDefaultServerHeader: true,
		Logger:                debugLog{log},
	}}
}

// Serve answers until Shutdown or until the listener fails; it closes the
// listener.
func (s *Server) Serve(ln net.Listener) error {
	if err := s.http.Serve(patient{ln, s.log}); err != nil {
		return fmt.Errorf("serve %s: %w", ln.Addr(), err)
	}
	return nil
}

// Shutdown closes the listener and waits for the requests under way, until
// ctx ends. Raft streams are not waited for.
func (s *Server) Shutdown(ctx context.Context) error {
	return s.http.ShutdownWithContext(ctx)
}

// patient is a listener that outlives a shortage: out of file descriptors is
// no reason to stop serving for good.
type patient struct {
	net.Listener
	log *slog.Logger
}

// Accept waits and tries again while the system is short of something.
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

// debugLog takes the server's own log lines, which tell of misbehaving
// clients: nothing that an administrator must see.
type debugLog struct{ log *slog.Logger }

// Printf implements fasthttp.Logger.
func (l debugLog) Printf(format string, args ...any) {
	l.log.Debug("http server", "message", fmt.Sprintf(format, args...))
}

// broken answers a request that could not be read.
func (h *handler) broken(ctx *fasthttp.RequestCtx, err error) {
	var small *fasthttp.ErrSmallBuffer
	switch {
	case errors.Is(err, fasthttp.ErrBodyTooLarge):
		h.refuse(ctx, wire.Faultf(wire.CodeTooLarge, "the body is larger than %d bytes: nothing was changed", maxBody))
	case errors.As(err, &small):
		h.refuse(ctx, wire.Faultf(wire.CodeTooLarge, "the request's head is larger than %d bytes", maxHeader))
		ctx.SetStatusCode(fasthttp.StatusRequestHeaderFieldsTooLarge)
	case isTimeout(err):
		h.refuse(ctx, wire.Faultf(awa.ErrBadInput, "the request did not arrive whole within %s", readTimeout))
		ctx.SetStatusCode(fasthttp.StatusRequestTimeout)
	default:
		h.refuse(ctx, wire.Faultf(awa.ErrBadInput, "this is no HTTP request that can be read: nothing was changed"))
	}
}

// isTimeout tells whether a time was over; fasthttp's own such error is no
// net.Error.
func isTimeout(err error) bool {
	var late interface{ Timeout() bool }
	return errors.As(err, &late) && late.Timeout()
}
