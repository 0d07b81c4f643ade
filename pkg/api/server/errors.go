package server

import (
	"errors"
	"log/slog"

	"github.com/valyala/fasthttp"

	"are-we-alive/pkg/api/internal/wire"
	"are-we-alive/pkg/awa"
)

// errorWriter answers what is not served, with JSON: {"error":"…","code":"…"}.
type errorWriter struct {
	log     *slog.Logger
	maxBody int // bytes of a request's body, for the sentence about it
}

// refuse answers with an error.
func (r errorWriter) refuse(ctx *fasthttp.RequestCtx, err error) {
	status := statusOf(err)
	body := wire.ErrorBody{Error: err.Error(), Code: wire.CodeInternal}
	if !errors.As(err, &body.Code) { // not for a client to read
		body.Error = "the agent failed at this request: see its log"
	}
	if status == fasthttp.StatusInternalServerError {
		r.log.Error("request failed", "method", string(ctx.Method()), "path", string(ctx.Path()), "error", err)
	}
	b, _ := wire.Encode(body)
	ctx.Response.SetBodyRaw(b)
	ctx.SetContentType("application/json")
	ctx.SetStatusCode(status)
}

// rescue is deferred round a request, and answers one that panics.
func (r errorWriter) rescue(ctx *fasthttp.RequestCtx) {
	if p := recover(); p != nil {
		r.log.Error("panic in a request", "path", string(ctx.Path()), "panic", p)
		r.refuse(ctx, awa.Faultf(wire.CodeInternal, "the agent failed at this request: see its log"))
	}
}

// unreadable answers a request that could not be read.
func (r errorWriter) unreadable(ctx *fasthttp.RequestCtx, err error) {
	var small *fasthttp.ErrSmallBuffer
	switch {
	case errors.Is(err, fasthttp.ErrBodyTooLarge):
		r.refuse(ctx, awa.Faultf(wire.CodeTooLarge, "the body is larger than %d bytes: nothing was changed", r.maxBody))
	case errors.As(err, &small):
		r.refuse(ctx, awa.Faultf(wire.CodeTooLarge, "the request's head is larger than %d bytes", maxHeader))
		ctx.SetStatusCode(fasthttp.StatusRequestHeaderFieldsTooLarge)
	case awa.IsTimeout(err):
		r.refuse(ctx, awa.Faultf(awa.ErrBadInput, "the request did not arrive whole within %s", readTimeout))
		ctx.SetStatusCode(fasthttp.StatusRequestTimeout)
	default:
		r.refuse(ctx, awa.Faultf(awa.ErrBadInput, "this is not an HTTP request that can be read: nothing was changed"))
	}
}

// statusOf maps an error's code to the HTTP status that fits it.
func statusOf(err error) int {
	var code awa.Code
	if !errors.As(err, &code) {
		return fasthttp.StatusInternalServerError
	}
	switch code {
	case awa.ErrBadInput:
		return fasthttp.StatusBadRequest
	case awa.ErrForbidden:
		return fasthttp.StatusForbidden
	case awa.ErrUnknownNode, wire.CodeNotFound:
		return fasthttp.StatusNotFound
	case wire.CodeMethod:
		return fasthttp.StatusMethodNotAllowed
	case wire.CodeTooMany:
		return fasthttp.StatusTooManyRequests
	case wire.CodeTooLarge:
		return fasthttp.StatusRequestEntityTooLarge
	case awa.ErrNameTaken, awa.ErrUIDTaken, awa.ErrConflict, awa.ErrKeyReused, awa.ErrGap, awa.ErrOtherCluster,
		awa.ErrOtherHistory, awa.ErrDiverged:
		return fasthttp.StatusConflict
	case awa.ErrOtherAgent:
		return fasthttp.StatusMisdirectedRequest
	case awa.ErrNoMajority, awa.ErrUnknownOutcome, awa.ErrNotJoined, awa.ErrNoNodes, awa.ErrStarting, awa.ErrStopping,
		awa.ErrShortage:
		return fasthttp.StatusServiceUnavailable
	}
	return fasthttp.StatusInternalServerError
}
