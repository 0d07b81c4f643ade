// Package api is the agent's HTTP interface: its paths and JSON shapes, the
// server that answers them and the client that asks them. The first four
// calls are the original program's, with its JSON.
//
// It owns what stands on the wire and nothing behind it: what an agent
// answers comes from the Agent interface. It alone uses fasthttp.
package api

import (
	"errors"
	"strconv"

	"github.com/valyala/fasthttp"

	"are-we-alive/pkg/awa"
)

// The paths.
const (
	PathPing    = "/ping"
	PathStatus  = "/status"
	PathSync    = "/sync"
	PathPush    = "/push"
	PathStatus1 = "/v1/status"
	PathChanges = "/v1/changes"
	PathRaft    = "/v1/raft"
)

// The headers in which agents tell each other who they are and what they
// hold. A request with a uid comes from an agent; other clients send none.
const (
	headerUID     = "Awa-Uid"
	headerCluster = "Awa-Cluster"
	headerHistory = "Awa-History"
	headerState   = "Awa-State"
	// headerHops counts how often an edit was passed on.
	headerHops = "Awa-Hops"
	// headerKey makes an edit safe to repeat.
	headerKey = "Idempotency-Key"
)

// raftProtocol is the name of a Raft stream in the Upgrade header.
const raftProtocol = "awa-raft/1"

// MaxBody is the largest request body, in bytes.
const MaxBody = 1 << 20

// statusOf maps an error's code to the HTTP status that fits it.
func statusOf(err error) int {
	var code awa.Code
	if !errors.As(err, &code) {
		return fasthttp.StatusInternalServerError
	}
	switch code {
	case awa.ErrBadInput:
		return fasthttp.StatusBadRequest
	case awa.ErrUnknownNode, codeNotFound:
		return fasthttp.StatusNotFound
	case codeMethod:
		return fasthttp.StatusMethodNotAllowed
	case codeTooLarge:
		return fasthttp.StatusRequestEntityTooLarge
	case awa.ErrNameTaken, awa.ErrUIDTaken, awa.ErrConflict, awa.ErrGap, awa.ErrOtherCluster, awa.ErrOtherHistory:
		return fasthttp.StatusConflict
	case awa.ErrNoMajority, awa.ErrUnknownOutcome, awa.ErrNotJoined, awa.ErrStopping:
		return fasthttp.StatusServiceUnavailable
	}
	return fasthttp.StatusInternalServerError
}

// Codes that only the HTTP interface gives.
const (
	codeNotFound awa.Code = "not_found"
	codeMethod   awa.Code = "method_not_allowed"
	codeTooLarge awa.Code = "too_large"
	codeInternal awa.Code = "internal"
)

// setCaller writes who asks into a request.
func setCaller(h *fasthttp.RequestHeader, c awa.Caller) {
	if c.UID == "" {
		return
	}
	h.Set(headerUID, c.UID)
	h.Set(headerState, strconv.FormatUint(c.State, 10))
	if c.Cluster != "" {
		h.Set(headerCluster, c.Cluster)
		h.Set(headerHistory, c.History.String())
	}
}

// callerOf reads who asks; it fails with awa.ErrBadInput when the headers
// can't be what setCaller wrote.
func callerOf(h *fasthttp.RequestHeader) (awa.Caller, error) {
	c := awa.Caller{UID: string(h.Peek(headerUID)), Cluster: string(h.Peek(headerCluster))}
	if c.UID == "" {
		return awa.Caller{}, nil
	}
	var err error
	if len(c.UID) > 64 || len(c.Cluster) > 64 {
		return awa.Caller{}, fault(awa.ErrBadInput, "the headers %s and %s must be at most 64 characters", headerUID, headerCluster)
	}
	if c.History, err = awa.ParseHistory(string(h.Peek(headerHistory))); err != nil {
		return awa.Caller{}, fault(awa.ErrBadInput, "the header %s: %v", headerHistory, err)
	}
	if c.State, err = strconv.ParseUint(string(h.Peek(headerState)), 10, 64); err != nil {
		return awa.Caller{}, fault(awa.ErrBadInput, "the header %s must be a number", headerState)
	}
	return c, nil
}
