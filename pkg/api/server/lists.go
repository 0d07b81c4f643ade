package server

import (
	"bytes"
	"fmt"
	"strconv"

	"github.com/valyala/fasthttp"

	"are-we-alive/pkg/api/internal/wire"
	"are-we-alive/pkg/awa"
)

// pageChanges is the most changes that are read from the database at once. The
// agent returns fewer when they are large.
const pageChanges = 128

func (h *handler) sync(ctx *fasthttp.RequestCtx, from awa.Caller) error {
	if !ctx.QueryArgs().Has("state") {
		return awa.Faultf(awa.ErrBadInput, "the parameter state is missing: /sync?state=-1 returns all changes")
	}
	log, err := h.changesAfter(ctx, "state", from)
	if err != nil {
		return err
	}
	if err := h.follows(ctx, log); err != nil {
		return err
	}
	ctx.Response.Header.Set(wire.HeaderCluster, log.of.Cluster)
	ctx.Response.Header.Set(wire.HeaderHistory, log.of.History.String())
	ctx.Response.Header.Set(wire.HeaderState, strconv.FormatUint(log.of.State, 10))
	if log.of.State == log.state { // else the digest is of the state before
		ctx.Response.Header.Set(wire.HeaderDigest, log.of.Digest.String())
	}
	return h.answerPages(ctx, result{}, func() pages {
		return log.pages("[", "]", func(c awa.Change) (any, error) { return wire.Change(c), nil })
	})
}

// follows refuses changes to a caller that names the digest of its list, and
// whose list has another one at that state than ours.
func (h *handler) follows(ctx *fasthttp.RequestCtx, log changeLog) error {
	theirs, err := awa.ParseDigest(string(ctx.QueryArgs().Peek("digest")))
	if err != nil {
		return awa.Faultf(awa.ErrBadInput, "the parameter digest: %v", err)
	}
	if theirs == (awa.Digest{}) {
		return nil
	}
	ours, held, err := h.agent.DigestAt(log.since)
	if err == nil && held && ours != theirs {
		err = awa.Faultf(awa.ErrDiverged, "the lists differ: up to change %d that of agent %s has the digest %s, and the "+
			"caller's %s", log.since, log.of.Name, ours, theirs)
	}
	return err
}

func (h *handler) changes(ctx *fasthttp.RequestCtx, from awa.Caller) error {
	log, err := h.changesAfter(ctx, "since", from)
	if err != nil {
		return err
	}
	head, tail, err := around(wire.ChangesBody{Cluster: log.of.Cluster, History: log.of.History, State: log.of.State,
		Changes: []wire.ChangeBody{}})
	if err != nil {
		return err
	}
	return h.answerPages(ctx, result{}, func() pages {
		return log.pages(head, tail, func(c awa.Change) (any, error) { return wire.NewChangeBody(c) })
	})
}

// nodes answers with the node list.
func (h *handler) nodes(ctx *fasthttp.RequestCtx, from awa.Caller) error {
	if err := sameList(h.agent.Self(), from); err != nil {
		return err
	}
	set, err := h.agent.Nodes()
	if err != nil {
		return err
	}
	head, tail, err := around(wire.NodesBody{Cluster: set.Cluster, History: set.History, State: set.State,
		Nodes: []awa.Node{}})
	if err != nil {
		return err
	}
	return h.answerPages(ctx, resultOf(set.Nodes), func() pages {
		return slicePages(head, tail, set.Nodes, nil, func(n *awa.Node) any { return n })
	})
}

// around encodes a body that ends with an empty array: what stands before the
// array's elements, and what behind.
func around(body any) (head, tail string, err error) {
	const empty = "]}"
	b, err := wire.Encode(body)
	if err == nil && !bytes.HasSuffix(b, []byte(empty)) {
		err = fmt.Errorf("%T does not end with an array", body)
	}
	if err != nil {
		return "", "", err
	}
	return string(b[:len(b)-len(empty)]), empty, nil
}

// resultOf is the result that a slice is, which all that are made of it share.
func resultOf[T any](all []T) result {
	if len(all) == 0 {
		return result{}
	}
	return result{&all[0], len(all) * nodeBytes}
}

// changeLog is the part of the change log that a request asks for. It was
// settled when the request came, and does not grow while it is sent.
type changeLog struct {
	agent Agent
	of    awa.Self // whose list it is; its state is that of the list, as the answer says it
	state uint64   // that of.Digest is of
	since uint64
	until uint64 // the last change
	first []awa.Change
}

// changesAfter finds the changes that a request asks for, which names the
// state that they follow in a parameter.
func (h *handler) changesAfter(ctx *fasthttp.RequestCtx, param string, from awa.Caller) (changeLog, error) {
	since, err := stateArg(ctx, param)
	if err != nil {
		return changeLog{}, err
	}
	limit, err := limitArg(ctx)
	if err != nil {
		return changeLog{}, err
	}
	l := changeLog{agent: h.agent, of: h.agent.Self(), since: since}
	l.state = l.of.State
	if err := sameList(l.of, from); err != nil {
		return changeLog{}, err
	}
	most := pageChanges
	if limit > 0 {
		most = min(most, limit)
	}
	h.turn.do(func() { l.first, err = h.agent.Changes(since, most) })
	if err != nil {
		return changeLog{}, err
	}
	if n := len(l.first); n > 0 {
		l.of.State = max(l.of.State, l.first[n-1].ID) // made since
	}
	l.until = l.of.State
	if limit > 0 && l.until > since {
		l.until = min(l.until, since+min(uint64(limit), l.until-since))
	}
	return l, nil
}

// pages are the changes as an array of what element makes of each.
func (l changeLog) pages(head, tail string, element func(awa.Change) (any, error)) pages {
	at, batch := l.since, l.first
	l.first = nil // a reader who doesn't read holds no more than what is left of a batch
	return jsonPages(head, tail, func(add func(any) (bool, error)) (bool, error) {
		for full := false; !full; {
			if len(batch) == 0 && at < l.until {
				var err error
				if batch, err = l.read(at); err != nil {
					return false, err
				}
			}
			if len(batch) == 0 {
				return false, nil
			}
			v, err := element(batch[0])
			if err == nil {
				full, err = add(v)
			}
			if err != nil {
				return false, err
			}
			at, batch = batch[0].ID, batch[1:]
		}
		return at < l.until || len(batch) > 0, nil
	})
}

// read reads the next changes of the same list.
func (l changeLog) read(at uint64) ([]awa.Change, error) {
	batch, err := l.agent.Changes(at, int(min(pageChanges, l.until-at)))
	if err != nil {
		return nil, err
	}
	if len(batch) == 0 || batch[0].ID != at+1 {
		return nil, awa.Faultf(awa.ErrConflict, "the list was cut before change %d while it was read: ask again", at+1)
	}
	if now := l.agent.Self(); now.Cluster != l.of.Cluster || now.History != l.of.History {
		return nil, awa.Faultf(awa.ErrConflict, "the list became that of history %s while it was read, and was that of "+
			"history %s: ask again", now.History, l.of.History)
	}
	return batch, nil
}
