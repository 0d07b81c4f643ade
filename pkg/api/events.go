package api

import (
	"bytes"
	"context"
	"errors"
	"net/url"
	"slices"
	"strconv"
	"time"

	"are-we-alive/pkg/api/internal/wire"
	"are-we-alive/pkg/awa"
)

// Events asks an agent for what happened, as that agent saw it. It brings no more than
// MaxEvents, also when the query's limit is 0, and perhaps fewer than there are: whoever
// wants more asks for what is after EventSet.Through, until that does not grow any more.
func (c *Client) Events(ctx context.Context, addr string, q awa.EventQuery) (set awa.EventSet, err error) {
	if q.Limit <= 0 || q.Limit > MaxEvents {
		q.Limit = MaxEvents
	}
	query := url.Values{"limit": {strconv.Itoa(q.Limit)}, "after": {strconv.FormatUint(q.After, 10)}}
	if len(q.Nodes) > 0 {
		query["node"] = q.Nodes
	}
	if !q.Since.IsZero() {
		query.Set("since", q.Since.UTC().Format(time.RFC3339))
	}
	req := request{path: wire.PathEvents, query: query.Encode(), items: q.Limit}
	err = c.call(ctx, addr, req, func(r *response) error {
		var body wire.EventsBody
		if err := decode(r, EventsBound(q.Limit), &body); err != nil {
			return err
		}
		set = awa.EventSet(body)
		for i := range set.Events {
			set.Events[i].Why = awa.CleanText(set.Events[i].Why)
			set.Events[i].By = awa.CleanText(set.Events[i].By)
		}
		return believe(set.Check(q))
	})
	if err != nil {
		return awa.EventSet{}, err
	}
	return set, nil
}

// Availability asks an agent for which share of the time each node was online, as that
// agent saw it.
func (c *Client) Availability(ctx context.Context, addr string) (agent string, all []awa.NodeShare, err error) {
	err = c.call(ctx, addr, request{path: wire.PathAvailability}, func(r *response) error {
		var body wire.AvailabilityBody
		if err := decode(r, AvailabilityBound(), &body); err != nil {
			return err
		}
		agent, all = body.Agent, body.Nodes
		if err := awa.CheckName(agent); err != nil {
			return believe(err)
		}
		return believe(awa.CheckShares(all))
	})
	if err != nil {
		return "", nil, err
	}
	return agent, all, nil
}

// Goodbye tells an agent that the caller is being stopped.
func (c *Client) Goodbye(ctx context.Context, addr string, why awa.StopReason) error {
	req := request{method: methodPost, path: wire.PathGoodbye, body: wire.GoodbyeBody{Reason: why}}
	return c.call(ctx, addr, req, taken)
}

// taken reads the answer of an agent that took something in.
func taken(r *response) error {
	if string(bytes.TrimSpace(r.body)) != "{}" {
		return notOurs(errors.New("it takes that with other words"))
	}
	return nil
}

// Notified asks an agent what people were notified of, as far as it knows.
func (c *Client) Notified(ctx context.Context, addr string) (all []awa.Notified, err error) {
	err = c.call(ctx, addr, request{path: wire.PathNotified}, func(r *response) error {
		var body wire.NotifiedBody
		if err := decode(r, NotifiedBound(), &body); err != nil {
			return err
		}
		all = body.Notified
		return believe(awa.CheckNotified(all))
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

// notifiedAtOnce is how many elements one request has: an agent takes 1,000.
const notifiedAtOnce = 500

// SendNotified tells an agent what the caller has notified people of.
func (c *Client) SendNotified(ctx context.Context, addr string, all []awa.Notified) error {
	for part := range slices.Chunk(all, notifiedAtOnce) {
		req := request{method: methodPost, path: wire.PathNotified, body: wire.NotifiedBody{Notified: part}}
		if err := c.call(ctx, addr, req, taken); err != nil {
			return err
		}
	}
	return nil
}
