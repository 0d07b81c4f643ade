package watch_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/watch"
)

const cluster = "c0ffee"

var (
	errRefused    = errors.New("connection refused")
	errReset      = errors.New("connection reset by peer")
	errNoSuchHost = errors.New("no such host")
)

// nodes makes nodes n1 to nN, each with a uid.
func nodes(n int) []awa.Node {
	all := make([]awa.Node, n)
	for i := range all {
		all[i] = awa.Node{ID: uint64(i + 1), Name: fmt.Sprintf("n%d", i+1), Host: fmt.Sprintf("10.0.%d.%d", i/250, i%250+1),
			Port: awa.DefaultPort, UID: fmt.Sprintf("%032x", i+1)}
	}
	return all
}

// selfOf is what the agent of a node answers.
func selfOf(n awa.Node) awa.Self {
	return awa.Self{Name: n.Name, UID: n.UID, Cluster: cluster, State: 12}
}

// reply is what a fake node does with an attempt: it answers, or fails, after
// a time, or never.
type reply struct {
	after time.Duration
	hangs bool      // until ctx ends
	stage awa.Stage // reached when it fails or hangs; StageNone for an answer
	err   error     // not in a PingError when stage is StageNone
}

var (
	answers   = reply{}
	blackHole = reply{hangs: true, stage: awa.StageConnect}
	refuses   = reply{stage: awa.StageConnect, err: errRefused}
)

func (r reply) in(d time.Duration) reply { r.after = d; return r }

// network is a Pinger of fake nodes. Those without replies answer at once.
type network struct {
	mu       sync.Mutex
	selfs    map[string]awa.Self
	replies  map[string][]reply // one for each attempt of a sweep; the last one for those after it
	attempts map[string][]call
	inside   int // attempts under way
	peak     int
	starts   map[time.Time]int
}

type call struct {
	at    time.Time
	fresh bool
}

func newNetwork(nodes []awa.Node) *network {
	n := &network{selfs: map[string]awa.Self{}, starts: map[time.Time]int{}}
	for _, node := range nodes {
		n.selfs[node.Addr()] = selfOf(node)
	}
	n.reset()
	return n
}

// reset makes every node answer at once, and forgets the attempts.
func (n *network) reset() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.replies, n.attempts = map[string][]reply{}, map[string][]call{}
}

func (n *network) set(node awa.Node, replies ...reply) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.replies[node.Addr()] = replies
	delete(n.attempts, node.Addr())
}

// answerAs makes somebody else answer at a node's address.
func (n *network) answerAs(node awa.Node, self awa.Self) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.selfs[node.Addr()] = self
}

func (n *network) Ping(ctx context.Context, addr string, fresh bool) (awa.Self, error) {
	n.mu.Lock()
	var r reply
	if rs := n.replies[addr]; len(rs) > 0 {
		r = rs[min(len(n.attempts[addr]), len(rs)-1)]
	}
	n.attempts[addr] = append(n.attempts[addr], call{time.Now(), fresh})
	n.starts[time.Now()]++
	n.inside++
	n.peak = max(n.peak, n.inside)
	self := n.selfs[addr]
	n.mu.Unlock()
	defer func() {
		n.mu.Lock()
		n.inside--
		n.mu.Unlock()
	}()

	var done <-chan time.Time
	if !r.hangs {
		done = time.After(r.after)
	}
	if r.hangs || r.after > 0 {
		select {
		case <-ctx.Done():
			stage := r.stage
			if stage == awa.StageNone {
				stage = awa.StageReply
			}
			return awa.Self{}, &awa.PingError{Stage: stage, Err: ctx.Err()}
		case <-done:
		}
	}
	switch {
	case r.err == nil:
		return self, nil
	case r.stage == awa.StageNone:
		return awa.Self{}, r.err
	}
	return awa.Self{}, &awa.PingError{Stage: r.stage, Err: r.err}
}

// underWay fails the test when an attempt is still going on.
func (n *network) underWay(t *testing.T) {
	t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.inside != 0 {
		t.Errorf("%d attempts are still under way", n.inside)
	}
}

// observer is an agent that is on no list of these tests.
var observer = awa.Node{Name: "observer", UID: "ffffffffffffffffffffffffffffffff"}

// first makes the Watcher that of the first node.
func first(list []awa.Node) func(*watch.Config) {
	return func(cfg *watch.Config) { cfg.Self = func() awa.Self { return selfOf(list[0]) } }
}

// newWatcher makes a Watcher of the observer.
func newWatcher(net *network, list []awa.Node, change ...func(*watch.Config)) *watch.Watcher {
	cfg := watch.Config{
		Pinger: net,
		Nodes:  func() []awa.Node { return list },
		Self:   func() awa.Self { return selfOf(observer) },
		Busy:   func() bool { return false },
	}
	for _, c := range change {
		c(&cfg)
	}
	return watch.New(cfg)
}

// logTo writes the log into a buffer, without times.
func logTo(buf *bytes.Buffer) func(*watch.Config) {
	return func(cfg *watch.Config) {
		cfg.Log = slog.New(slog.NewTextHandler(buf, &slog.HandlerOptions{
			ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
				if a.Key == slog.TimeKey {
					return slog.Attr{}
				}
				return a
			},
		}))
	}
}

func online(statuses []awa.NodeStatus) int {
	n := 0
	for _, st := range statuses {
		if st.Verdict == awa.Online {
			n++
		}
	}
	return n
}

// processor is a Pinger that needs the one processor there is for each ping,
// except those of nodes that hang.
type processor struct {
	pinger watch.Pinger
	work   time.Duration
	one    chan struct{}
	hangs  map[string]bool // by address
	queue  atomic.Int64
}

func (p *processor) Ping(ctx context.Context, addr string, fresh bool) (awa.Self, error) {
	if !p.hangs[addr] {
		p.queue.Add(1)
		p.one <- struct{}{}
		time.Sleep(p.work) // of the bubble's clock
		<-p.one
		p.queue.Add(-1)
		if ctx.Err() != nil {
			return awa.Self{}, &awa.PingError{Stage: awa.StageTLS, Err: ctx.Err()}
		}
	}
	return p.pinger.Ping(ctx, addr, fresh)
}

func (p *processor) busy() bool { return p.queue.Load() > 4 }

// pings is how many attempts there were.
func (n *network) pings() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	all := 0
	for _, at := range n.attempts {
		all += len(at)
	}
	return all
}
