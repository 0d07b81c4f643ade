package server

import (
	"cmp"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/valyala/fasthttp"

	"are-we-alive/pkg/api/internal/wire"
	"are-we-alive/pkg/awa"
)

// Web is what Prometheus, load balancers and browsers read of an agent. Its methods are called
// concurrently. Their errors are *awa.Fault where a client is to read them.
type Web interface {
	// Page returns the page that shows the cluster to a person. The query is what it leaves
	// to its reader; what it does not know it ignores.
	Page(query []Param) (PageResult, error)
	// Metrics returns the metrics, and their media type.
	Metrics() (body []byte, mediaType string, err error)
	// Targets returns the JSON array of Prometheus' http_sd. What is not a list of
	// all targets is an error, since Prometheus drops those that are missing.
	Targets() ([]byte, error)
	// Check answers a health check with a plugin's line. The query has the flags of
	// check_awa that say what is a problem.
	Check(query []Param) (CheckResult, error)
	// Healthy returns why the agent itself does not work, or nil.
	Healthy() error
}

// Param is a parameter of a query.
type Param struct{ Name, Value string }

// PageResult is a page.
type PageResult struct {
	Body      []byte
	MediaType string
	Policy    string        // its Content-Security-Policy
	Refresh   time.Duration // when a browser loads it again; 0 is never
}

// CheckResult is what a health check found.
type CheckResult struct {
	Line []byte // of a plugin, with its line break
	OK   bool   // the state is OK
}

// The pages of a web server.
const (
	pathIndex   = "/"
	pathMetrics = "/metrics"
	pathTargets = "/sd"
	pathCheck   = "/check"
	pathHealthy = "/healthz"
)

// webPaths are all of them, for who asks for another one.
var webPaths = [...]string{pathIndex, pathMetrics, pathTargets, pathCheck, pathHealthy}

// maxWebBody is the most bytes of a body that a web server reads, which has no
// use for any.
const maxWebBody = 4 << 10

// The most connections of a web server, in all and of one address.
const (
	maxWebConns        = 1280
	maxWebConnsPerAddr = 1024
)

// webLimits are for strangers alone: all connections stay pending, and of too many the
// oldest is closed, so that nobody can keep Prometheus or a load balancer out by holding
// some. What their clients don't read is shared, and
// bounded by maxRetained.
func webLimits(conns int) limits {
	n := min(conns, maxWebConns)
	return limits{pending: {n, min(n, maxWebConnsPerAddr)}}
}

// NewWebServer makes a server of plain HTTP that shows pages to everybody, and
// holds at most so many connections, maxWebConns when conns is 0; it starts nothing.
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
	p, err := w.page(ctx)
	if err != nil {
		w.refuse(ctx, err)
		return
	}
	ctx.SetContentType(p.media)
	ctx.SetStatusCode(p.status)
	if len(p.body) <= pageBytes {
		ctx.Response.SetBodyRaw(p.body)
		return
	}
	w.send(ctx, w.long(bytesPages(p.body), string(ctx.Path()), w.log), len(p.body), result{&p.body[0], len(p.body)})
}

// webPage is an answer.
type webPage struct {
	body   []byte
	media  string
	status int
}

const plainText = "text/plain; charset=utf-8"

// page finds the page and makes it.
func (w *web) page(ctx *fasthttp.RequestCtx) (webPage, error) {
	if err := fromOtherPage(ctx); err != nil {
		return webPage{}, err
	}
	path := string(ctx.Path())
	if !slices.Contains(webPaths[:], path) {
		last := len(webPaths) - 1
		return webPage{}, awa.Faultf(wire.CodeNotFound, "there is no %s here: this port has %s and %s", awa.Clip(path),
			strings.Join(webPaths[:last], ", "), webPaths[last])
	}
	if !ctx.IsGet() && !ctx.IsHead() {
		ctx.Response.Header.Set(fasthttp.HeaderAllow, "GET, HEAD")
		return webPage{}, awa.Faultf(wire.CodeMethod, "%s does not take %s: use GET", path, awa.Clip(string(ctx.Method())))
	}
	switch path {
	case pathMetrics:
		body, media, err := w.metrics.get(w.pages.Metrics)
		return webPage{body, media, fasthttp.StatusOK}, err
	case pathTargets:
		body, media, err := w.targets.get(func() ([]byte, string, error) {
			body, err := w.pages.Targets()
			return body, "application/json", err
		})
		return webPage{body, media, fasthttp.StatusOK}, err
	case pathCheck:
		return w.check(ctx)
	case pathHealthy:
		return w.healthy(ctx)
	}
	return w.index(ctx)
}

// maxParams is how many parameters a query may have.
const maxParams = 1000

// queryOf reads the query.
func queryOf(ctx *fasthttp.RequestCtx) ([]Param, error) {
	var query []Param
	for name, value := range ctx.QueryArgs().All() {
		query = append(query, Param{string(name), string(value)})
	}
	if len(query) > maxParams {
		return nil, awa.Faultf(awa.ErrBadInput, "the query has %d parameters: at most %d are allowed", len(query), maxParams)
	}
	return query, nil
}

// index shows the page for a person. Nobody on the way may keep it, no other page may show
// it as its own, and nobody is told where its reader came from.
func (w *web) index(ctx *fasthttp.RequestCtx) (webPage, error) {
	query, err := queryOf(ctx)
	if err != nil {
		return webPage{}, err
	}
	p, err := w.pages.Page(query)
	if err != nil {
		return webPage{}, err
	}
	head := &ctx.Response.Header
	head.Set(fasthttp.HeaderCacheControl, "no-store")
	head.Set(fasthttp.HeaderContentSecurityPolicy, p.Policy)
	head.Set(fasthttp.HeaderXContentTypeOptions, "nosniff")
	head.Set(fasthttp.HeaderReferrerPolicy, "no-referrer")
	if p.Refresh > 0 {
		head.Set("Refresh", strconv.Itoa(int(p.Refresh.Seconds())))
	}
	return webPage{p.Body, p.MediaType, fasthttp.StatusOK}, nil
}

// check answers a health check. Nobody on the way may keep the answer.
func (w *web) check(ctx *fasthttp.RequestCtx) (webPage, error) {
	query, err := queryOf(ctx)
	if err != nil {
		return webPage{}, err
	}
	r, err := w.pages.Check(query)
	if err != nil {
		return webPage{}, err
	}
	ctx.Response.Header.Set(fasthttp.HeaderCacheControl, "no-store")
	if !r.OK {
		return webPage{r.Line, plainText, fasthttp.StatusServiceUnavailable}, nil
	}
	return webPage{r.Line, plainText, fasthttp.StatusOK}, nil
}

// healthy says whether this agent itself works.
func (w *web) healthy(ctx *fasthttp.RequestCtx) (webPage, error) {
	ctx.Response.Header.Set(fasthttp.HeaderCacheControl, "no-store")
	if err := w.pages.Healthy(); err != nil {
		return webPage{[]byte(awa.CleanText(err.Error()) + "\n"), plainText, fasthttp.StatusServiceUnavailable}, nil
	}
	return webPage{[]byte("ok\n"), plainText, fasthttp.StatusOK}, nil
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
