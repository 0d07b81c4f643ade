package server

import (
	"context"
	"slices"
	"time"

	"github.com/valyala/fasthttp"

	"are-we-alive/pkg/api/internal/wire"
	"are-we-alive/pkg/awa"
)

// statusTimeout bounds a sweep for a client that may have gone away.
const statusTimeout = 30 * time.Second

func (h *handler) sweep(ctx *fasthttp.RequestCtx, cached bool) (awa.ClusterStatus, error) {
	bounded, cancel := context.WithTimeout(context.Background(), statusTimeout)
	defer cancel()
	return h.agent.Status(bounded, cached)
}

func (h *handler) oldStatus(ctx *fasthttp.RequestCtx, _ awa.Caller) error {
	s, err := h.sweep(ctx, false)
	if err != nil {
		return err
	}
	return answer(ctx, wire.NewOldStatus(s))
}

func (h *handler) status(ctx *fasthttp.RequestCtx, _ awa.Caller) error {
	cached := false
	if v := ctx.QueryArgs().Peek("cached"); len(v) > 0 {
		switch string(v) {
		case "1":
			cached = true
		case "0":
		default:
			return wire.Faultf(awa.ErrBadInput, "cached=%s is not understood: use cached=1 or leave it out", clip(string(v)))
		}
	}
	s, err := h.sweep(ctx, cached)
	if err != nil {
		return err
	}
	return answer(ctx, wire.NewStatusBody(s))
}

// view answers with what was last seen of the nodes that are not online.
func (h *handler) view(ctx *fasthttp.RequestCtx, _ awa.Caller) error {
	s, err := h.sweep(ctx, true)
	if err != nil {
		return err
	}
	s.Nodes = slices.DeleteFunc(slices.Clone(s.Nodes), func(n awa.NodeStatus) bool { return n.Verdict == awa.Online })
	return answer(ctx, wire.NewStatusBody(s))
}

// probeTimeout bounds the time that a caller may ask for. It is that of a whole
// sweep (2.2 pings) at the longest --ping-timeout, 10 s: a request that is
// refused is an opinion less, and may turn a node that is cut off into a dead one.
const probeTimeout = 22 * time.Second

// probe gives a second opinion: this agent's own pings of some nodes.
func (h *handler) probe(ctx *fasthttp.RequestCtx, from awa.Caller) error {
	var b wire.ProbeBody
	if err := readBody(ctx, &b, `{"nodes":[3,7]}`); err != nil {
		return err
	}
	if len(b.Nodes) == 0 {
		return wire.Faultf(awa.ErrBadInput, `the body names no node: send the ids of some, such as {"nodes":[3,7]}`)
	}
	if b.WithinMS < 0 || b.WithinMS > probeTimeout.Milliseconds() {
		return wire.Faultf(awa.ErrBadInput, "within_ms=%d is no time to ping in: use a number of milliseconds up to %d", b.WithinMS, probeTimeout.Milliseconds())
	}
	if err := sameList(h.agent.Self(), from); err != nil { // ids mean something else on another list
		return err
	}
	bounded, cancel := context.WithTimeout(context.Background(), probeTimeout)
	defer cancel()
	return answer(ctx, wire.NewProbeAnswer(h.agent.Probe(bounded, b.Nodes, time.Duration(b.WithinMS)*time.Millisecond)))
}
