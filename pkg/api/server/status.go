package server

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"are-we-alive/pkg/api/internal/wire"
	"are-we-alive/pkg/awa"
)

func (h *handler) oldStatus(ctx *fasthttp.RequestCtx, _ awa.Caller) error {
	s, err := h.agent.Status(awa.StatusQuery{})
	if err != nil {
		return err
	}
	return h.answerPages(ctx, resultOf(s.Nodes), func() pages {
		return slicePages("[", "]", s.Nodes, nil, func(n *awa.NodeStatus) any { return wire.NewOldNode(*n) })
	})
}

func (h *handler) status(ctx *fasthttp.RequestCtx, _ awa.Caller) error {
	var q awa.StatusQuery
	if v := ctx.QueryArgs().Peek("cached"); len(v) > 0 {
		switch string(v) {
		case "1":
			q.Cached = true
		case "0":
		default:
			return awa.Faultf(awa.ErrBadInput, "cached=%s is not understood: use cached=1 or leave it out", awa.Clip(string(v)))
		}
	}
	if v := ctx.QueryArgs().Peek("within_ms"); len(v) > 0 {
		ms, err := strconv.ParseUint(string(v), 10, 31)
		if err != nil || ms == 0 {
			return awa.Faultf(awa.ErrBadInput, "within_ms=%s is not a time to answer in: use a number of milliseconds, or "+
				"leave it out", awa.Clip(string(v)))
		}
		q.Within = time.Duration(ms) * time.Millisecond
	}
	var err error
	if q.Nodes, err = nodeArgs(ctx); err != nil {
		return err
	}
	s, err := h.agent.Status(q)
	if err != nil {
		return err
	}
	return h.answerStatus(ctx, s, nil)
}

// nodeArgs reads the names of nodes that a request is about.
func nodeArgs(ctx *fasthttp.RequestCtx) ([]string, error) {
	var names []string
	for _, name := range ctx.QueryArgs().PeekMulti("node") {
		if err := awa.CheckName(string(name)); err != nil {
			return nil, awa.Faultf(awa.ErrBadInput, "node: %v", err)
		}
		names = append(names, string(name))
	}
	return names, nil
}

// answerStatus answers with a status, and those of its nodes that keep accepts
// (nil: all).
func (h *handler) answerStatus(ctx *fasthttp.RequestCtx, s awa.ClusterStatus, keep func(*awa.NodeStatus) bool) error {
	without := s
	without.Nodes = nil
	head, tail, err := around(wire.NewStatusBody(without))
	if err != nil {
		return err
	}
	return h.answerPages(ctx, resultOf(s.Nodes), func() pages {
		return slicePages(head, tail, s.Nodes, keep, func(n *awa.NodeStatus) any { return wire.NewNodeStatus(*n) })
	})
}

// view answers with what was last seen of the nodes that are not online.
func (h *handler) view(ctx *fasthttp.RequestCtx, _ awa.Caller) error {
	s, err := h.agent.Status(awa.StatusQuery{Cached: true})
	if err != nil {
		return err
	}
	return h.answerStatus(ctx, s, func(n *awa.NodeStatus) bool { return n.Verdict != awa.Online })
}

// probeTimeout bounds the time that a caller may ask for. It is that of a whole
// sweep (2.2 pings) at the longest --ping-timeout, 10 s: a request that is
// refused is an opinion less, and may turn a node that is cut off into a dead one.
const probeTimeout = 22 * time.Second

// maxProbe is the most ids of nodes in one request for a second opinion, of
// which there is one for all the nodes that did not answer: more than any list
// has, and little to hold.
const maxProbe = 1 << 14

// probe returns a second opinion: this agent's own pings of some nodes.
func (h *handler) probe(ctx *fasthttp.RequestCtx, from awa.Caller) error {
	var b wire.ProbeBody
	if err := readBody(ctx, &b, `{"nodes":[3,7]}`); err != nil {
		return err
	}
	if len(b.Nodes) == 0 {
		return awa.Faultf(awa.ErrBadInput, `the body names no node: send the ids of some, such as {"nodes":[3,7]}`)
	}
	if len(b.Nodes) > maxProbe {
		return awa.Faultf(awa.ErrBadInput, "the body names %d nodes: at most %d are pinged for one request", len(b.Nodes),
			maxProbe)
	}
	if b.WithinMS < 0 || b.WithinMS > probeTimeout.Milliseconds() {
		return awa.Faultf(awa.ErrBadInput, "within_ms=%d is not a time to ping in: use a number of milliseconds up to %d",
			b.WithinMS, probeTimeout.Milliseconds())
	}
	if err := sameList(h.agent.Self(), from); err != nil { // ids mean something else on another list
		return err
	}
	bounded, cancel := context.WithTimeout(context.Background(), probeTimeout)
	defer cancel()
	slices.Sort(b.Nodes)
	ids := slices.Compact(b.Nodes)
	opinions := h.agent.Probe(bounded, ids, time.Duration(b.WithinMS)*time.Millisecond)
	head, tail, err := around(wire.NewProbeAnswer(nil))
	if err != nil {
		return err
	}
	return h.answerPages(ctx, resultOf(opinions), func() pages {
		return slicePages(head, tail, opinions, nil, func(o *awa.Opinion) any { return wire.NewOpinion(*o) })
	})
}
