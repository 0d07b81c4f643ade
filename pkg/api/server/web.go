package server

import (
	"cmp"
	"log/slog"
	"sync"
	"time"

	"github.com/valyala/fasthttp"

	"are-we-alive/pkg/api/internal/wire"
	"are-we-alive/pkg/awa"
)

// Web is what Prometheus reads of an agent. Its methods are called
// concurrently. Their errors are *awa.Fault where a client is to read them.
type Web interface {
	// Metrics returns the metrics, and their media type.
	Metrics() (body []byte, mediaType string, err error)
	// Targets returns the JSON array of Prometheus' http_sd. What is not a list of
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
// Prometheus out by holding some. What their clients don't read is shared, and
// bounded by maxRetained.
func webLimits(conns int) limits {
	n := min(conns, maxWebConns)
	return limits{pending: {n, min(n, maxWebConnsPerAddr)}}
}

// NewWebServer makes a server of plain HTTP that shows pages to everybody, and
// holds at most so many connections, 64 when conns is 0; it starts nothing.
func NewWebServer(pages Web, log *slog.Logger, conns int) *Server {
	w := &web{errorWriter: errorWriter{log, maxWebBody}, sender: newSender(), pages: pages}
	s := newServer(log, w.serve, w.unreadable, maxWebBody)
	s.limits, s.sender = webLimits(cmp.Or(conns, maxWebConns)), &w.sender
	return s
}

// web answers requests out of a Web.
type web struct {
	errorWriter
	sender
	pages            Web
	metrics, targets shared
}

func (w *web) serve(ctx *fasthttp.RequestCtx) {
	defer w.rescue(ctx)
	body, mediaType, err := w.page(ctx)
	if err != nil {
		w.refuse(ctx, err)
		return
	}
	ctx.SetContentType(mediaType)
	if len(body) <= pageBytes {
		ctx.Response.SetBodyRaw(body)
		return
	}
	w.send(ctx, w.long(bytesPages(body), string(ctx.Path()), w.log), len(body), result{&body[0], len(body)})
}

// page finds the page and makes it.
func (w *web) page(ctx *fasthttp.RequestCtx) (body []byte, mediaType string, err error) {
	if err := fromOtherPage(ctx); err != nil {
		return nil, "", err
	}
	path := string(ctx.Path())
	if path != pathIndex && path != pathMetrics && path != pathTargets {
		return nil, "", awa.Faultf(wire.CodeNotFound, "there is no %s here: this port has %s and %s", awa.Clip(path),
			pathMetrics, pathTargets)
	}
	if !ctx.IsGet() && !ctx.IsHead() {
		ctx.Response.Header.Set(fasthttp.HeaderAllow, "GET, HEAD")
		return nil, "", awa.Faultf(wire.CodeMethod, "%s does not take %s: use GET", path, awa.Clip(string(ctx.Method())))
	}
	switch path {
	case pathMetrics:
		return w.metrics.get(w.pages.Metrics)
	case pathTargets:
		return w.targets.get(func() ([]byte, string, error) {
			body, err := w.pages.Targets()
			return body, "application/json", err
		})
	}
	return []byte("An agent of are-we-alive.\n/metrics  for Prometheus to scrape\n/sd       the nodes as targets, for " +
		"http_sd_configs\n"), "text/plain; charset=utf-8", nil
}

// A page that takes long to make is used again for freshFactor times as long,
// but no longer than freshMost: so strangers who ask again and again get at
// most a tenth of a processor, and Prometheus nothing that is old.
const (
	freshFactor = 10
	freshMost   = 2 * time.Second
)

// shared is a page that all who ask at the same time get.
type shared struct {
	mu    sync.Mutex
	body  []byte
	media string
	until time.Time
}

// get returns the page, which get makes when there is none that is fresh. An
// error is not kept.
func (s *shared) get(get func() ([]byte, string, error)) ([]byte, string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	began := time.Now()
	if began.Before(s.until) {
		return s.body, s.media, nil
	}
	s.body = nil
	body, media, err := get()
	if err != nil {
		return nil, "", err
	}
	s.body, s.media = body, media
	s.until = time.Now().Add(min(freshFactor*time.Since(began), freshMost))
	return body, media, nil
}
