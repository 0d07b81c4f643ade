package server

import (
	"cmp"
	"log/slog"

	"github.com/valyala/fasthttp"

	"are-we-alive/pkg/api/internal/wire"
)

// Web is what Prometheus reads of an agent. Its methods are called
// concurrently. Their errors are *awa.Fault where a client is to read them.
type Web interface {
	// Metrics gives the metrics, and their media type.
	Metrics() (body []byte, mediaType string, err error)
	// Targets gives the JSON array of Prometheus' http_sd. What is no list of
	// all targets is an error, since Prometheus drops those that are missing.
	Targets() ([]byte, error)
}

// The pages of a web server.
const (
	pathIndex   = "/"
	pathMetrics = "/metrics"
	pathTargets = "/sd"
)

// maxWebBody is the most bytes of a body that a web server reads, which has no
// use for any.
const maxWebBody = 4 << 10

// The most connections of a web server, in all and of one address.
const (
	maxWebConns        = 64
	maxWebConnsPerAddr = 16
)

// webLimits are small, since every client is a stranger: all connections stay
// pending, and of too many the oldest is closed, so that nobody can keep
// Prometheus out by holding some. A connection costs at most the answer that
// its client doesn't read, some 600 KiB for a thousand nodes.
func webLimits(conns int) limits {
	n := min(conns, maxWebConns)
	return limits{pending: {n, min(n, maxWebConnsPerAddr)}}
}

// NewWebServer makes a server of plain HTTP that shows pages to everybody, and
// holds at most so many connections, 64 when conns is 0; it starts nothing.
func NewWebServer(pages Web, log *slog.Logger, conns int) *Server {
	w := &web{refuser{log, maxWebBody}, pages}
	s := newServer(log, w.serve, w.unreadable, maxWebBody)
	s.limits = webLimits(cmp.Or(conns, maxWebConns))
	return s
}

// web answers requests out of a Web.
type web struct {
	refuser
	pages Web
}

func (w *web) serve(ctx *fasthttp.RequestCtx) {
	defer w.rescue(ctx)
	body, mediaType, err := w.page(ctx)
	if err != nil {
		w.refuse(ctx, err)
		return
	}
	ctx.SetContentType(mediaType)
	ctx.Response.SetBodyRaw(body)
}

// page finds the page and makes it.
func (w *web) page(ctx *fasthttp.RequestCtx) (body []byte, mediaType string, err error) {
	path := string(ctx.Path())
	if path != pathIndex && path != pathMetrics && path != pathTargets {
		return nil, "", wire.Faultf(wire.CodeNotFound, "there is no %s here: this port has %s and %s", clip(path), pathMetrics, pathTargets)
	}
	if !ctx.IsGet() && !ctx.IsHead() {
		ctx.Response.Header.Set(fasthttp.HeaderAllow, "GET, HEAD")
		return nil, "", wire.Faultf(wire.CodeMethod, "%s does not take %s: use GET", path, clip(string(ctx.Method())))
	}
	switch path {
	case pathMetrics:
		return w.pages.Metrics()
	case pathTargets:
		body, err = w.pages.Targets()
		return body, "application/json", err
	}
	return []byte("An agent of are-we-alive.\n/metrics  for Prometheus to scrape\n/sd       the nodes as targets, for http_sd_configs\n"), "text/plain; charset=utf-8", nil
}
