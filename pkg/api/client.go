package api

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/goccy/go-json"

	"are-we-alive/pkg/api/internal/wire"
	"are-we-alive/pkg/awa"
)

// ClientConfig says who asks and what may be kept open.
type ClientConfig struct {
	// Caller returns the agent that asks; nil for a monitoring client.
	Caller func() awa.Caller
	// MaxIdle is how many connections are kept open in all, 2,000 when 0. One
	// costs about 6 KiB on each side, with TLS 15 KiB here and 23 KiB there; a
	// sweep opens again what is not kept.
	MaxIdle int
	// MaxOpen is how many file descriptors the connections may hold, those too
	// that are being opened, idle, or Raft streams; 0 means no bound. A call that
	// needs one more closes the connection that has been idle for the longest
	// time, and else waits: a time that is over before is awa.ErrShortage.
	MaxOpen int
	// KeepIdle is how long an unused connection is kept, 2 minutes when 0. It
	// must be shorter than the server's idle time (3 minutes).
	KeepIdle time.Duration
	// Names is what remembers the addresses of names, which several clients may
	// share; with nil the client has its own.
	Names *Names
	// Dial opens a connection to an IP address; nil is net.Dialer's.
	Dial Dial
	// Secure makes a connection safe after each dial, such as a TLS
	// handshake; nil leaves it as it is. addr is the host:port that is
	// called, uid the agent that is meant, or "" for whichever answers there.
	// It ends with ctx, and closes conn when it fails. Its error is one of
	// awa.StageTLS, and so is every later one of reading or writing that
	// holds an awa.Code: in TLS 1.3 a refusal comes with the first answer.
	Secure func(ctx context.Context, conn net.Conn, addr, uid string) (net.Conn, error)
}

// Dial opens a connection, as net.Dialer.DialContext does.
type Dial func(ctx context.Context, network, addr string) (net.Conn, error)

// Client asks agents. Every address is host:port, every call ends with its
// context, and after MaxTime at the latest. Every error is an *awa.PingError
// when no agent was reached or it did not answer, and an *awa.Fault when it
// refused. An *awa.PingError with awa.ErrShortage says nothing of the agent. An
// answer beyond its Bound, or that holds what no agent says, is one of
// awa.StageReply with the code awa.ErrNoAgent. It is safe for concurrent use.
type Client struct {
	cfg     ClientConfig
	pool    pool
	permits *permits
	names   *Names
	readers sync.Pool // *bufio.Reader
	writers sync.Pool // *bufio.Writer
}

// NewClient makes a client; it opens nothing yet.
func NewClient(cfg ClientConfig) *Client {
	if cfg.MaxIdle == 0 {
		cfg.MaxIdle = 2000
	}
	if cfg.KeepIdle == 0 {
		cfg.KeepIdle = 2 * time.Minute
	}
	if cfg.Dial == nil {
		cfg.Dial = new(net.Dialer).DialContext
	}
	c := &Client{cfg: cfg, pool: pool{most: cfg.MaxIdle, keep: cfg.KeepIdle}, names: cfg.Names}
	if c.names == nil {
		c.names = NewNames(nil)
	}
	c.permits = newPermits(cfg.MaxOpen, c.pool.dropOldest)
	c.pool.wanted = c.permits.wanted
	return c
}

// Close closes the idle connections; those in use close after their call.
func (c *Client) Close() {
	if c.cfg.Names == nil {
		c.names.Close()
	}
	c.pool.close(true)
}

// CloseIdle closes the idle connections, and those in use after their call, so
// that the next calls open new ones.
func (c *Client) CloseIdle() { c.pool.close(false) }

// decode reads an answer's JSON.
func decode(r *response, most Bound, to any) error {
	if err := most.check(r.body); err != nil {
		return err
	}
	if err := json.Unmarshal(r.body, to); err != nil {
		if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && wrong.Field != "" {
			return fmt.Errorf("%w (in its JSON %s can't be a %s)", errNoAgent, awa.CleanText(wrong.Field),
				awa.CleanText(wrong.Value))
		}
		return errNoAgent
	}
	return nil
}

// believe turns what is wrong with an answer's content into the error of a
// call: whoever sends such an answer is not an agent.
func believe(wrong error) error {
	if wrong == nil {
		return nil
	}
	return notOurs(wrong)
}

// onTheWay is what of a caller's time is kept for an answer to arrive and to be read.
const onTheWay = 100 * time.Millisecond

// ClusterStatus asks an agent what it sees of the whole cluster; cached asks
// for its last background sweep instead of a live one. With names of nodes, only
// those are pinged and in the answer, as far as the agent's list has them. Nodes that could not be
// pinged before ctx ends are awa.Unjudged.
func (c *Client) ClusterStatus(ctx context.Context, addr string, cached bool,
	nodes ...string) (awa.ClusterStatus, error) {
	query := url.Values{}
	if cached {
		query.Set("cached", "1")
	}
	if end, ok := ctx.Deadline(); ok && !cached {
		// The answer of an agent that has run out of time is worth more than none.
		query.Set("within_ms", strconv.FormatInt(max(1, (time.Until(end)-onTheWay).Milliseconds()), 10))
	}
	if len(nodes) > 0 {
		query["node"] = nodes
	}
	return c.status(ctx, addr, request{path: wire.PathStatus1, query: query.Encode()})
}

// View asks an agent what it last saw of the nodes that are not online, which
// are the only ones in the answer.
func (c *Client) View(ctx context.Context, addr string) (awa.ClusterStatus, error) {
	return c.status(ctx, addr, request{path: wire.PathView})
}

func (c *Client) status(ctx context.Context, addr string, req request) (s awa.ClusterStatus, err error) {
	err = c.call(ctx, addr, req, func(r *response) error {
		var body wire.StatusBody
		if err := decode(r, StatusBound(), &body); err != nil {
			return err
		}
		if body.Agent == "" {
			return errNoAgent
		}
		s = body.Status()
		return believe(s.Check())
	})
	if err != nil {
		return awa.ClusterStatus{}, err
	}
	return s, nil
}

// Probe asks an agent for its own pings of nodes, by their ids, within a time
// (0: that of one ping). Nodes that it knows nothing of are left out.
func (c *Client) Probe(ctx context.Context, addr string, ids []uint64, within time.Duration) ([]awa.Opinion, error) {
	var all []awa.Opinion
	req := request{
		method: methodPost, path: wire.PathProbe, items: len(ids),
		body: wire.ProbeBody{Nodes: ids, WithinMS: within.Milliseconds()},
	}
	err := c.call(ctx, addr, req, func(r *response) error {
		var body wire.ProbeAnswer
		if err := decode(r, ProbeBound(len(ids)), &body); err != nil {
			return err
		}
		all = body.Opinions()
		return believe(awa.CheckOpinions(all, ids))
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

// Sync asks for the changes after a position of the list, at most limit. It
// brings no more than MaxChanges, also when limit is 0: whoever wants more asks
// again. awa.ErrDiverged says that the agent's list has another digest at that
// state; a zero digest is not compared.
func (c *Client) Sync(ctx context.Context, addr string, since awa.Position, limit int) (awa.ChangeSet, error) {
	return c.sync(ctx, addr, since, limit, false)
}

// Fetch is Sync by an agent that holds no list yet, or is ready to give up its
// own: whose list the answer is does not matter.
func (c *Client) Fetch(ctx context.Context, addr string, since awa.Position, limit int) (awa.ChangeSet, error) {
	return c.sync(ctx, addr, since, limit, true)
}

func (c *Client) sync(ctx context.Context, addr string, since awa.Position, limit int,
	newcomer bool) (awa.ChangeSet, error) {
	limit = page(limit)
	var a awa.ChangeSet
	req := request{path: wire.PathSync, query: fmt.Sprintf("state=%d&limit=%d", since.State, limit), items: limit,
		newcomer: newcomer}
	if since.Digest != (awa.Digest{}) {
		req.query += "&digest=" + since.Digest.String()
	}
	err := c.call(ctx, addr, req, func(r *response) error {
		var all []wire.Change
		err := decode(r, ChangesBound(limit), &all)
		if err != nil {
			return err
		}
		a.Cluster = r.value(wire.HeaderCluster)
		if a.History, err = awa.ParseHistory(r.value(wire.HeaderHistory)); err != nil {
			return notOurs(err)
		}
		if a.State, err = strconv.ParseUint(r.value(wire.HeaderState), 10, 64); err != nil {
			return notOurs(fmt.Errorf("the header %s must be a number", wire.HeaderState))
		}
		if a.Digest, err = awa.ParseDigest(r.value(wire.HeaderDigest)); err != nil {
			return notOurs(err)
		}
		a.Changes = make([]awa.Change, len(all))
		for i := range all {
			a.Changes[i] = awa.Change(all[i])
		}
		return believe(a.Check(since.State, limit))
	})
	if err != nil {
		return awa.ChangeSet{}, err
	}
	return a, nil
}

// Push hands a change to an agent. awa.ErrGap says that it lacks one before.
func (c *Client) Push(ctx context.Context, addr string, ch awa.Change) error {
	return c.call(ctx, addr, request{
		method: methodPost, path: wire.PathPush,
		body: wire.PushBody{ID: ch.ID, Action: ch.Action, Data: ch.Data, Index: ch.Index, Term: ch.Term, Key: ch.Key},
	}, func(r *response) error {
		switch strings.TrimSpace(string(r.body)) {
		case wire.PushApplied, wire.PushHeld:
			return nil
		}
		return notOurs(errors.New("it takes a change with other words"))
	})
}

// Edit hands an edit to an agent, which passes it to the leader; hops is how
// often it has been passed on. The node is the zero Node after a DELETE. It is
// sent once: whoever repeats it must remember that the first one may have been
// made, whatever the second gets. That is so when the error is of
// awa.StageReply, and then the key makes it safe to repeat. An answer that says
// anything else than what was asked for is such an error too.
func (c *Client) Edit(ctx context.Context, addr string, e awa.Edit, hops int) (uint64, awa.Node, error) {
	req := request{
		method: methodPost, path: wire.PathChanges,
		body: wire.EditBody{Action: e.Action, Data: json.RawMessage(e.Data), ID: e.ID,
			IfChanged: e.IfChanged}, key: e.Key, hops: hops, once: true,
	}
	var answer wire.EditAnswer
	err := c.call(ctx, addr, req, func(r *response) error {
		if err := decode(r, EditBound(), &answer); err != nil {
			return err
		}
		return believe(e.CheckOutcome(answer.ID, answer.Node))
	})
	switch {
	case err != nil:
		return 0, awa.Node{}, err
	case answer.Node == nil:
		return answer.ID, awa.Node{}, nil
	}
	return answer.ID, *answer.Node, nil
}

// Changes asks for the change log after a state, at most limit, as Sync does.
// Its changes come without Raft index, term and key.
func (c *Client) Changes(ctx context.Context, addr string, since uint64, limit int) (awa.ChangeSet, error) {
	limit = page(limit)
	var a awa.ChangeSet
	req := request{path: wire.PathChanges, query: fmt.Sprintf("since=%d&limit=%d", since, limit), items: limit}
	err := c.call(ctx, addr, req, func(r *response) error {
		var body wire.ChangesBody
		if err := decode(r, ChangesBound(limit), &body); err != nil {
			return err
		}
		a = awa.ChangeSet{Cluster: body.Cluster, History: body.History, State: body.State}
		for _, ch := range body.Changes {
			a.Changes = append(a.Changes, awa.Change{ID: ch.ID, Action: ch.Action, Data: string(ch.Data)})
		}
		return believe(a.Check(since, limit))
	})
	if err != nil {
		return awa.ChangeSet{}, err
	}
	return a, nil
}

// DialRaft opens a Raft stream to the agent with a uid; awa.ErrOtherAgent says
// that another one answers there. Raft would count its vote as the first one's.
func (c *Client) DialRaft(ctx context.Context, addr, uid string) (net.Conn, error) {
	ctx, cancel := inTime(ctx)
	defer cancel()
	conn, _, err := c.dial(ctx, addr, uid)
	if err != nil {
		return nil, err
	}
	stream := &streamConn{conn, bufio.NewReader(conn)}
	release := bound(ctx, conn)
	req := request{path: wire.PathRaft, method: methodPost, raftTo: uid}
	_, err = c.exchange(bufio.NewWriter(conn), stream.r, hostOf(conn, addr), req, isRaft)
	givenUp(ctx, err)
	if !release() && err == nil {
		err = &awa.PingError{Stage: awa.StageReply, Err: plain(ctx.Err())}
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return stream, nil
}

// request is what call sends.
type request struct {
	method, path, query string // method GET when ""
	body                any    // encoded as JSON when not nil
	key                 string
	hops                int
	items               int // nodes asked about, or changes asked for: see boundOf
	fresh               bool
	once                bool   // not to be repeated here
	newcomer            bool   // the caller does not say which list it holds
	raftTo              string // for a Raft stream: the uid of the agent meant
}

// What the calls use of HTTP's words.
const (
	methodGet       = "GET"
	methodPost      = "POST"
	statusOK        = 200
	statusSwitching = 101
)

// isRaft says whether a switch of protocols is to a Raft stream.
func isRaft(r *response) error {
	if !r.has("Upgrade", wire.RaftProtocol) {
		return notOurs(errors.New("it switches to another protocol"))
	}
	return nil
}
