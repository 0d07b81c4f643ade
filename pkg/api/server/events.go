package server

import (
	"time"

	"github.com/valyala/fasthttp"

	"are-we-alive/pkg/api/internal/wire"
	"are-we-alive/pkg/awa"
)

// maxEvents is how many events one answer holds.
const maxEvents = 500

// maxNotified is how many elements one request may hold. Who has more sends another one.
const maxNotified = 1000

// events answers with what happened.
func (h *handler) events(ctx *fasthttp.RequestCtx, from awa.Caller) error {
	if err := sameList(h.agent.Self(), from); err != nil {
		return err
	}
	q, err := eventQuery(ctx, time.Now())
	if err != nil {
		return err
	}
	var set awa.EventSet
	h.turn.do(func() { set, err = h.agent.Events(q) })
	if err != nil {
		return err
	}
	head, tail, err := around(wire.EventsBody{Agent: set.Agent, Newest: set.Newest, Through: set.Through,
		Events: []awa.Event{}})
	if err != nil {
		return err
	}
	return h.answerPages(ctx, resultOf(set.Events), func() pages {
		return slicePages(head, tail, set.Events, nil, func(e *awa.Event) any { return e })
	})
}

// eventQuery reads which events a request wants.
func eventQuery(ctx *fasthttp.RequestCtx, now time.Time) (q awa.EventQuery, err error) {
	if q.After, err = stateArg(ctx, "after"); err != nil {
		return q, err
	}
	if q.Limit, err = limitArg(ctx); err != nil {
		return q, err
	}
	if q.Limit == 0 || q.Limit > maxEvents {
		q.Limit = maxEvents
	}
	if q.Nodes, err = nodeArgs(ctx); err != nil {
		return q, err
	}
	if since := string(ctx.QueryArgs().Peek("since")); since != "" {
		at, err := time.Parse(time.RFC3339, since)
		if err != nil {
			d, span := time.ParseDuration(since)
			if span != nil || d < 0 {
				return q, awa.Faultf(awa.ErrBadInput, "since=%s is not a time: use one such as 2026-11-25T18:00:00Z, or "+
					"how long ago, such as 24h", awa.Clip(since))
			}
			at = now.Add(-d)
		}
		q.Since = at
	}
	return q, nil
}

// availability answers with the share of the time that each node was online.
func (h *handler) availability(ctx *fasthttp.RequestCtx, from awa.Caller) error {
	self := h.agent.Self()
	if err := sameList(self, from); err != nil {
		return err
	}
	var all []awa.NodeShare
	var err error
	h.turn.do(func() { all, err = h.agent.Availability() })
	if err != nil {
		return err
	}
	head, tail, err := around(wire.AvailabilityBody{Agent: self.Name, Nodes: []awa.NodeShare{}})
	if err != nil {
		return err
	}
	return h.answerPages(ctx, resultOf(all), func() pages {
		return slicePages(head, tail, all, nil, func(s *awa.NodeShare) any { return s })
	})
}

// goodbye takes in that the caller is being stopped.
func (h *handler) goodbye(ctx *fasthttp.RequestCtx, from awa.Caller) error {
	var b wire.GoodbyeBody
	if err := readBody(ctx, &b, `{"reason":"service"}`); err != nil {
		return err
	}
	if from.UID == "" {
		return awa.Faultf(awa.ErrBadInput, "%s is for agents among themselves: the header %s is missing", wire.PathGoodbye,
			wire.HeaderUID)
	}
	if err := sameList(h.agent.Self(), from); err != nil {
		return err
	}
	if err := (awa.Goodbye{Reason: b.Reason}).Check(); err != nil {
		return awa.Faultf(awa.ErrBadInput, "%v", err)
	}
	h.agent.Goodbye(from, b.Reason)
	return answer(ctx, struct{}{})
}

// notified answers with what people were notified of.
func (h *handler) notified(ctx *fasthttp.RequestCtx, from awa.Caller) error {
	if err := sameList(h.agent.Self(), from); err != nil {
		return err
	}
	all := h.agent.Notified()
	head, tail, err := around(wire.NotifiedBody{Notified: []awa.Notified{}})
	if err != nil {
		return err
	}
	return h.answerPages(ctx, resultOf(all), func() pages {
		return slicePages(head, tail, all, nil, func(n *awa.Notified) any { return n })
	})
}

// takeNotified takes in what the caller has notified people of.
func (h *handler) takeNotified(ctx *fasthttp.RequestCtx, from awa.Caller) error {
	var b wire.NotifiedBody
	if err := readBody(ctx, &b, `{"notified":[]}`); err != nil {
		return err
	}
	if len(b.Notified) > maxNotified {
		return awa.Faultf(awa.ErrBadInput, "the body holds %d elements: send at most %d at once", len(b.Notified), maxNotified)
	}
	if err := awa.CheckNotified(b.Notified); err != nil {
		return awa.Faultf(awa.ErrBadInput, "%v", err)
	}
	if err := sameList(h.agent.Self(), from); err != nil {
		return err
	}
	h.agent.TakeNotified(b.Notified)
	return answer(ctx, struct{}{})
}
