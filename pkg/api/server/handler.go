package server

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"net"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/goccy/go-json"
	"github.com/valyala/fasthttp"

	"are-we-alive/pkg/api/internal/wire"
	"are-we-alive/pkg/awa"
)

// Agent is what the server needs of the agent behind it. All methods are
// called concurrently. Their errors are *awa.Fault where a client is to read
// them; anything else is logged and answered as an internal error.
type Agent interface {
	// Self answers a ping.
	Self() awa.Self
	// Heard is called for each request that another agent sent.
	Heard(from awa.Caller)
	// Status returns what this agent sees of the nodes.
	Status(q awa.StatusQuery) (awa.ClusterStatus, error)
	// Changes returns the first changes after a state, in order: at most limit
	// of them, and fewer when they are large, but at least one if there is one.
	// It holds nothing of the list any more when it returns.
	Changes(since uint64, limit int) ([]awa.Change, error)
	// DigestAt returns the digest of the list at a state; held is false when the
	// list has not come that far.
	DigestAt(state uint64) (d awa.Digest, held bool, err error)
	// Nodes returns the node list. Its nodes are shared and not modified.
	Nodes() (awa.NodeSet, error)
	// Push takes a decided change; applied is false when it was held already.
	Push(from awa.Caller, c awa.Change) (applied bool, err error)
	// Edit submits an edit, and returns when it is decided; hops is how often it was
	// passed on already.
	Edit(ctx context.Context, e awa.ParsedEdit, hops int) (uint64, awa.Node, error)
	// Probe pings nodes by their ids within a time (0: that of one ping), and
	// leaves out those that are not on the list.
	Probe(ctx context.Context, ids []uint64, within time.Duration) []awa.Opinion
	// Events returns what happened, as far as one call looks, and who says so.
	Events(q awa.EventQuery) (awa.EventSet, error)
	// Availability returns for which share of the time each node was online.
	Availability() ([]awa.NodeShare, error)
	// Goodbye takes in that an agent is being stopped.
	Goodbye(from awa.Caller, why awa.StopReason)
	// Notified returns what people were notified of, and TakeNotified takes in what
	// another agent has notified them of.
	Notified() []awa.Notified
	TakeNotified(all []awa.Notified)
	// AcceptRaft returns why no Raft stream is accepted now, or nil.
	AcceptRaft() error
	// RaftStream takes over a Raft stream that was accepted.
	RaftStream(conn net.Conn)
}

// handler answers requests out of an Agent.
type handler struct {
	errorWriter
	sender
	calls []route
	agent Agent
	role  func(tls.ConnectionState) (awa.Role, bool) // nil: everybody may do everything
	hosts func() []string                            // see Config.Hosts; may be nil
}

// route is one call of the interface, and the role that it needs.
type route struct {
	path, method string
	role         awa.Role
	serve        func(*handler, *fasthttp.RequestCtx, awa.Caller) error
}

// routes are all calls there are.
func routes() []route {
	const get, post = fasthttp.MethodGet, fasthttp.MethodPost
	const check, member = awa.RoleCheck, awa.RoleMember
	return []route{
		{wire.PathPing, get, check, (*handler).ping},
		{wire.PathStatus, get, check, (*handler).oldStatus},
		{wire.PathSync, get, check, (*handler).sync},
		{wire.PathPush, post, member, (*handler).push},
		{wire.PathStatus1, get, check, (*handler).status},
		{wire.PathNodes, get, check, (*handler).nodes},
		{wire.PathChanges, get, check, (*handler).changes},
		{wire.PathChanges, post, member, (*handler).edit},
		{wire.PathProbe, post, member, (*handler).probe},
		{wire.PathView, get, check, (*handler).view},
		{wire.PathRaft, post, member, (*handler).raft},
		{wire.PathEvents, get, check, (*handler).events},
		{wire.PathAvailability, get, check, (*handler).availability},
		{wire.PathGoodbye, post, member, (*handler).goodbye},
		{wire.PathNotified, get, member, (*handler).notified},
		{wire.PathNotified, post, member, (*handler).takeNotified},
	}
}

// serve finds the call and answers it.
func (h *handler) serve(ctx *fasthttp.RequestCtx) {
	defer h.rescue(ctx)
	r, role, err := h.admit(ctx)
	if role != "" { // else nothing of the request is looked at
		if page := h.admitBrowser(ctx); page != nil {
			err = page
		}
	}
	var from awa.Caller
	if err == nil && role == awa.RoleMember { // whoever can only read is not an agent, whatever it says
		from, err = wire.CallerOf(func(name string) string { return string(ctx.Request.Header.Peek(name)) })
	}
	if err == nil {
		err = r.serve(h, ctx, from)
		from.IP = ctx.RemoteIP().String()
		if from.UID != "" { // only now: a push may just have brought what the caller is ahead by
			h.agent.Heard(from)
		}
	}
	if err != nil {
		h.refuse(ctx, err)
	}
}

// broken answers a request that could not be read. Whoever has no role gets
// that alone.
func (h *handler) broken(ctx *fasthttp.RequestCtx, err error) {
	if _, nobody := h.roleOf(ctx); nobody != nil {
		h.refuse(ctx, nobody)
		return
	}
	h.unreadable(ctx, err)
}

// find finds a call; a HEAD is a GET.
func (h *handler) find(path, method string, ctx *fasthttp.RequestCtx) (route, error) {
	allow := ""
	for _, r := range h.calls {
		switch {
		case r.path != path:
		case r.method == method, r.method == fasthttp.MethodGet && method == fasthttp.MethodHead:
			return r, nil
		case allow == "":
			allow = r.method
		default:
			allow += ", " + r.method
		}
	}
	if allow == "" {
		return route{}, awa.Faultf(wire.CodeNotFound, "there is no %s here: see the list of calls in the documentation",
			awa.Clip(path))
	}
	ctx.Response.Header.Set(fasthttp.HeaderAllow, allow)
	return route{}, awa.Faultf(wire.CodeMethod, "%s does not take %s: use %s", path, awa.Clip(method), allow)
}

// answer sends v as JSON.
func answer(ctx *fasthttp.RequestCtx, v any) error {
	b, err := wire.Encode(v)
	if err != nil {
		return err
	}
	ctx.SetContentType("application/json")
	ctx.Response.SetBodyRaw(b)
	return nil
}

func (h *handler) ping(ctx *fasthttp.RequestCtx, _ awa.Caller) error {
	return answer(ctx, wire.PingBody{Status: h.agent.Self()})
}

// sameList refuses an agent whose list can't be mixed with ours. One that
// holds no list yet may have ours.
func sameList(self awa.Self, from awa.Caller) error {
	switch {
	case self.Cluster == "":
		return awa.NotJoined(self.Name)
	case from.Cluster == "":
		return nil
	case from.Cluster != self.Cluster:
		return awa.Faultf(awa.ErrOtherCluster, "agent %s belongs to cluster %s, the caller to cluster %s, and two "+
			"clusters never mix: to move a server, stop its agent and start it with an empty data "+
			"folder and --join", self.Name, self.Cluster, from.Cluster)
	case from.History != self.History:
		return awa.Faultf(awa.ErrOtherHistory, "agent %s follows history %s, the caller history %s: their lists may differ",
			self.Name, self.History, from.History)
	}
	return nil
}

// stateArg reads a state: a number from -1, which like 0 means before the
// first change. A missing one is 0.
func stateArg(ctx *fasthttp.RequestCtx, name string) (uint64, error) {
	s := string(ctx.QueryArgs().Peek(name))
	if !ctx.QueryArgs().Has(name) || s == "-1" {
		return 0, nil
	}
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil {
		return 0, awa.Faultf(awa.ErrBadInput, "%s=%s is not a state: use a whole number from -1 to %d", name, awa.Clip(s),
			int64(1<<63-1))
	}
	return n, nil
}

func limitArg(ctx *fasthttp.RequestCtx) (int, error) {
	if !ctx.QueryArgs().Has("limit") {
		return 0, nil
	}
	s := string(ctx.QueryArgs().Peek("limit"))
	n, err := strconv.ParseUint(s, 10, 31)
	if err != nil || n == 0 {
		return 0, awa.Faultf(awa.ErrBadInput, "limit=%s is not a limit: use a whole number from 1", awa.Clip(s))
	}
	return int(n), nil
}

func (h *handler) push(ctx *fasthttp.RequestCtx, from awa.Caller) error {
	var b wire.PushBody
	if err := readBody(ctx, &b, `{"id":13,"action":"CREATE","data":"{…}"}`); err != nil {
		return err
	}
	if b.ID == 0 {
		return awa.Faultf(awa.ErrBadInput, "the body holds no id of a change: send one such as "+
			"{\"id\":13,\"action\":\"CREATE\",\"data\":\"{…}\"}")
	}
	if err := sameList(h.agent.Self(), from); err != nil {
		return err
	}
	bounded, cancel := context.WithTimeout(context.Background(), editTimeout)
	defer cancel()
	var applied bool
	var err error
	if from.Cluster == "" {
		applied, err = h.claim(bounded, ctx, b)
	} else {
		applied, err = h.decided(from, b)
	}
	if err != nil {
		return err
	}
	text := wire.PushHeld
	if applied {
		text = wire.PushApplied
	}
	ctx.SetContentType("text/plain; charset=utf-8")
	ctx.SetBodyString(text)
	return nil
}

// decided takes a change from an agent of this list.
func (h *handler) decided(from awa.Caller, b wire.PushBody) (applied bool, err error) {
	c := awa.Change{ID: b.ID, Action: b.Action, Data: b.Data, Index: b.Index, Term: b.Term, Key: b.Key}
	if _, _, _, err := c.Node(); err != nil {
		return false, err
	}
	return h.agent.Push(from, c)
}

// claim takes a change that nobody has decided yet: the original's servers
// number their edits themselves, and push them to every agent they know. It is
// an edit that gets its number or is refused, for two with the same number
// would make the lists differ for good.
func (h *handler) claim(bounded context.Context, ctx *fasthttp.RequestCtx, b wire.PushBody) (applied bool, err error) {
	sum := sha256.Sum256([]byte(string(b.Action) + " " + b.Data))
	e := awa.Edit{Action: b.Action, Data: []byte(b.Data), ID: b.ID, Key: fmt.Sprintf("push-%d-%x", b.ID, sum)}
	held, err := h.agent.Changes(b.ID-1, 1)
	if err != nil {
		return false, err
	}
	if len(held) > 0 && (held[0].Key == e.Key || held[0].Action == b.Action && held[0].Data == b.Data) {
		return false, nil
	}
	_, err = h.submit(bounded, ctx, e, 0)
	return err == nil, err
}

// editTimeout is how long an edit may take before its outcome is given up.
const editTimeout = 10 * time.Second

// maxHops is how often an edit may be passed on: over two agents to the leader,
// where only these reach it.
const maxHops = 3

func (h *handler) edit(ctx *fasthttp.RequestCtx, from awa.Caller) error {
	var b wire.EditBody
	if err := readBody(ctx, &b, `{"action":"CREATE","data":{"name":"n1","host":"10.0.0.1","port":"25483"}}`); err != nil {
		return err
	}
	hops := 0
	if s := string(ctx.Request.Header.Peek(wire.HeaderHops)); s != "" {
		n, err := strconv.ParseUint(s, 10, 8)
		if err != nil {
			return awa.Faultf(awa.ErrBadInput, "the header %s must be a number", wire.HeaderHops)
		}
		hops = int(n)
	}
	if hops > maxHops {
		return awa.Faultf(awa.ErrNoMajority, "the edit was passed on %d times and found no leader: try again", hops)
	}
	if self := h.agent.Self(); from.Cluster != "" && self.Cluster != "" {
		if err := sameList(self, from); err != nil {
			return err
		}
	}
	bounded, cancel := context.WithTimeout(context.Background(), editTimeout)
	defer cancel()
	a, err := h.submit(bounded, ctx, awa.Edit{
		Action: b.Action, Data: append([]byte(nil),
			b.Data...), Key: string(ctx.Request.Header.Peek(wire.HeaderKey)), ID: b.ID, IfChanged: b.IfChanged,
	}, hops)
	if err != nil {
		return err
	}
	return answer(ctx, a)
}

// submit submits an edit, and returns when it is decided. The edit says where it came from
// if it does not say who made it.
func (h *handler) submit(bounded context.Context, ctx *fasthttp.RequestCtx, e awa.Edit,
	hops int) (wire.EditAnswer, error) {
	p, err := e.Parse()
	if err == nil {
		p, err = p.Stamped(ctx.RemoteIP().String(), time.Now())
	}
	if err != nil {
		return wire.EditAnswer{}, err
	}
	id, node, err := h.agent.Edit(bounded, p, hops)
	if err != nil || e.Action == awa.Delete {
		return wire.EditAnswer{ID: id}, err
	}
	return wire.EditAnswer{ID: id, Node: &node}, nil
}

// readBody reads a JSON object; like is an example for the error's sentence.
func readBody(ctx *fasthttp.RequestCtx, to any, like string) error {
	body := ctx.PostBody()
	if len(body) == 0 {
		return awa.Faultf(awa.ErrBadInput, "the body is empty: send one such as %s", like)
	}
	if !utf8.Valid(body) || json.Unmarshal(body, to) != nil {
		return awa.Faultf(awa.ErrBadInput, "the body is not the JSON that is expected: send one such as %s", like)
	}
	return nil
}

func (h *handler) raft(ctx *fasthttp.RequestCtx, from awa.Caller) error {
	if string(ctx.Request.Header.Peek(fasthttp.HeaderUpgrade)) != wire.RaftProtocol {
		return awa.Faultf(awa.ErrBadInput, "%s is for agents among themselves: it needs the header Upgrade: %s",
			wire.PathRaft, wire.RaftProtocol)
	}
	if from.UID == "" {
		return awa.Faultf(awa.ErrBadInput, "%s is for agents among themselves: the header %s is missing", wire.PathRaft,
			wire.HeaderUID)
	}
	self := h.agent.Self()
	if err := sameList(self, from); err != nil {
		return err
	}
	if to := string(ctx.Request.Header.Peek(wire.HeaderTo)); to != self.UID {
		return awa.Faultf(awa.ErrOtherAgent, "this is the agent of node %s with the uid %s, and not the one with the uid "+
			"%s: the node list has a wrong address", self.Name, self.UID, awa.Clip(to))
	}
	if err := h.agent.AcceptRaft(); err != nil {
		return err
	}
	ctx.SetStatusCode(fasthttp.StatusSwitchingProtocols)
	ctx.Response.Header.Set(fasthttp.HeaderConnection, "Upgrade")
	ctx.Response.Header.Set(fasthttp.HeaderUpgrade, wire.RaftProtocol)
	ctx.Hijack(h.agent.RaftStream)
	return nil
}
