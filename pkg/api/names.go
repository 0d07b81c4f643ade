package api

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Names looks host names up for clients, and remembers the addresses that answered,
// so that nodes stay reachable while the name servers fail. A lookup continues when
// its caller has given up, and the next connection uses its result. Names is safe for
// concurrent use.
type Names struct {
	lookup func(ctx context.Context, host string) ([]string, error)
	ctx    context.Context // ends when it is closed
	close  context.CancelFunc
	slots  chan struct{} // one for each lookup under way
	log    *slog.Logger

	mu     sync.Mutex
	hosts  map[string]*hostName
	outage bool      // lookups have failed, and it was logged
	warned time.Time // when
}

// hostName is what is known of a name.
type hostName struct {
	addrs []string      // what the last lookup that succeeded gave
	good  string        // the address to which a connection was opened last, "" for none
	err   error         // of the last lookup, nil when it succeeded
	done  chan struct{} // closed when the lookup under way ends; nil when there is none
	began time.Time     // when the last lookup began
	gone  bool          // the name no longer exists, and that was logged
}

const (
	// lookupMost bounds a lookup. Go's resolver asks each name server twice, for 5 s
	// each, by default.
	lookupMost = 20 * time.Second
	// lookupWait is how long a connection waits for a lookup before it tries the
	// addresses that are remembered.
	lookupWait = 100 * time.Millisecond
	// lookupsAtOnce bounds the sockets that lookups hold.
	lookupsAtOnce = 64
	// warnEvery is how seldom an outage is logged, if it comes and goes.
	warnEvery = 10 * time.Minute
	// maxNames is how many names are remembered: as many as a list has nodes, and
	// more.
	maxNames = 20_000
)

// NewNames makes one that remembers nothing yet. It logs when earlier addresses are
// used; log may be nil.
func NewNames(log *slog.Logger) *Names {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	ctx, cancel := context.WithCancel(context.Background())
	return &Names{lookup: net.DefaultResolver.LookupHost, ctx: ctx, close: cancel,
		slots: make(chan struct{}, lookupsAtOnce),
		hosts: map[string]*hostName{}, log: log}
}

// Close ends the lookups that are under way, and all later ones.
func (n *Names) Close() { n.close() }

// Answered is the address of a name to which a connection was opened last, "" for
// none.
func (n *Names) Answered(host string) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if h := n.hosts[host]; h != nil {
		return h.good
	}
	return ""
}

// Remember adds an address at which a name answered before this agent was restarted.
func (n *Names) Remember(host, addr string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.hosts[host] == nil {
		n.hosts[host] = &hostName{addrs: []string{addr}, good: addr}
	}
}

// begin looks a name up, unless that is under way. done is closed when it has ended.
// remembered are the addresses that it had before, and patience is how long to wait
// for the lookup before these are tried.
func (n *Names) begin(host string) (done <-chan struct{}, remembered []string, patience time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	h := n.hosts[host]
	if h == nil {
		if len(n.hosts) >= maxNames {
			clear(n.hosts)
		}
		h = &hostName{}
		n.hosts[host] = h
	}
	failed := h.err != nil
	if h.done == nil {
		h.done, h.began = make(chan struct{}), time.Now()
		go n.run(host, h, h.done)
	}
	if !failed {
		patience = max(0, lookupWait-time.Since(h.began))
	}
	return h.done, inOrder(h.addrs, h.good), patience
}

// run looks a name up.
func (n *Names) run(host string, h *hostName, done chan struct{}) {
	ctx, cancel := context.WithTimeout(n.ctx, lookupMost)
	defer cancel()
	var addrs []string
	err := error(context.DeadlineExceeded)
	select {
	case n.slots <- struct{}{}:
		addrs, err = n.lookup(ctx, host)
		<-n.slots
	case <-ctx.Done():
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if h.err = err; err == nil {
		h.addrs = addrs
	}
	if n.ctx.Err() == nil && len(h.addrs) > 0 {
		n.logRemembered(host, h)
	}
	h.done = nil
	close(done)
}

// logRemembered logs that earlier addresses of a name are used, and when that is over: once
// for an outage of the name servers, and once for a name that is gone.
func (n *Names) logRemembered(host string, h *hostName) {
	dns, ok := errors.AsType[*net.DNSError](h.err)
	switch {
	case h.err == nil:
		h.gone = false
		if n.outage {
			n.outage = false
			n.log.Info("names can be looked up again")
		}
	case ok && dns.IsNotFound:
		if !h.gone {
			h.gone = true
			n.log.Warn("the name no longer exists: its last address is used", "name", host, "addr", h.good)
		}
	case !n.outage && time.Since(n.warned) > warnEvery:
		n.outage, n.warned = true, time.Now()
		n.log.Warn("names can't be looked up: their earlier addresses are used", "name", host, "error", plain(h.err))
	}
}

// result is what the last lookup of a name gave: its addresses in the order in which
// they are to be tried.
func (n *Names) result(host string) ([]string, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	h := n.hosts[host]
	if h == nil {
		return nil, errNoAnswer
	}
	return inOrder(h.addrs, h.good), h.err
}

// answered notes the address of a name to which a connection was opened.
func (n *Names) answered(host, addr string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if h := n.hosts[host]; h != nil {
		h.good = addr
	}
}

// inOrder sorts addresses as RFC 8305, section 4, says: the address families alternate.
// The address that answered last comes first.
func inOrder(addrs []string, good string) []string {
	var families [2][]string
	for _, addr := range addrs {
		family := 0
		if isV6(addr) != isV6(addrs[0]) {
			family = 1
		}
		families[family] = append(families[family], addr)
	}
	all := make([]string, 0, len(addrs))
	if slices.Contains(addrs, good) {
		all = append(all, good)
	}
	for i := range max(len(families[0]), len(families[1])) {
		for _, family := range families {
			if i < len(family) && family[i] != good {
				all = append(all, family[i])
			}
		}
	}
	return all
}

func isV6(addr string) bool {
	ip, err := netip.ParseAddr(addr)
	return err == nil && ip.Is6()
}
