package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"are-we-alive/pkg/api/server"
	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/report"
)

// How long what a health check saw serves those who come after it.
const (
	checkFresh     = time.Second
	checkFreshMost = 5 * time.Second
	// maxRendered is how many different checks share a sweep; further ones are made
	// one by one.
	maxRendered = 64
)

// checks answer health checks by live sweeps that all callers share. However many ask, and
// whatever they ask for, a sweep is made once in a second at most.
type checks struct {
	agent *agent

	mu       sync.Mutex // held during the sweep, so that those who come meanwhile get its result
	status   awa.ClusterStatus
	err      error
	until    time.Time
	rendered map[string]server.CheckResult // by query
}

// check judges the nodes as a query says.
func (c *checks) check(query []server.Param) (server.CheckResult, error) {
	settings, key, err := settingsOf(query)
	if err != nil {
		return server.CheckResult{}, err
	}
	rules, selection, err := settings.Parse()
	if err != nil {
		return server.CheckResult{}, awa.Faultf(awa.ErrBadInput, "%v", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	began := time.Now()
	if !began.Before(c.until) {
		c.status, c.err = c.agent.Status(awa.StatusQuery{})
		c.rendered = map[string]server.CheckResult{}
		c.until = time.Now().Add(min(max(checkFresh, time.Since(began)), checkFreshMost))
	}
	if r, ok := c.rendered[key]; ok {
		return r, nil
	}
	r, err := c.render(rules, selection)
	if err == nil && len(c.rendered) < maxRendered {
		c.rendered[key] = r
	}
	return r, err
}

// render judges what the last sweep saw. The caller holds c.mu.
func (c *checks) render(rules report.Rules, selection report.Selection) (server.CheckResult, error) {
	now := c.agent.clock()
	var result report.Result
	switch _, known := errors.AsType[awa.Code](c.err); {
	case c.err == nil:
		result = report.Evaluate(c.status, selection, rules, now)
	case known:
		result = report.NoResult(c.err.Error(), now)
	default:
		return server.CheckResult{}, c.err
	}
	var line bytes.Buffer
	if err := report.Nagios(&line, result); err != nil {
		return server.CheckResult{}, err
	}
	return server.CheckResult{Line: line.Bytes(), OK: result.State == report.OK}, nil
}

// shortNames are the flags of check_awa that have a short name.
var shortNames = map[string]string{"w": "warning", "c": "critical"}

// settingsOf reads a query, and returns what names it among others too.
func settingsOf(query []server.Param) (s report.Settings, key string, err error) {
	var b strings.Builder
	for _, p := range query {
		name := p.Name
		if long, ok := shortNames[name]; ok {
			name = long
		}
		if !s.Set(name, p.Value) {
			return s, "", awa.Faultf(awa.ErrBadInput, "%q is not a parameter: use those of check_awa's flags that say what "+
				"is a problem: %s", awa.Clip(p.Name), strings.Join(report.SettingNames(), ", "))
		}
		fmt.Fprintf(&b, "%q=%q ", name, p.Value)
	}
	return s, b.String(), nil
}

// healthWithin is how long an agent may take to find that it works.
const healthWithin = 2 * time.Second

// wellness finds out whether the agent itself works, once at a time for all who ask.
type wellness struct {
	look func(context.Context) error

	mu      sync.Mutex
	pending chan struct{} // closed when the look under way has ended; nil when there is none
	err     error         // of the last one
	until   time.Time
}

// errNoLook is of an agent whose disk or port hangs.
var errNoLook = errors.New("this agent does not find within " + healthWithin.String() + " whether it works: its disk or " +
	"its port hangs")

// check returns why the agent does not work, or nil.
func (w *wellness) check() error {
	w.mu.Lock()
	if time.Now().Before(w.until) {
		defer w.mu.Unlock()
		return w.err
	}
	pending := w.pending
	if pending == nil {
		pending = make(chan struct{})
		w.pending = pending
		go w.run(pending)
	}
	w.mu.Unlock()
	select {
	case <-pending:
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.err
	case <-time.After(healthWithin):
		return errNoLook
	}
}

func (w *wellness) run(ended chan struct{}) {
	ctx, cancel := context.WithTimeout(context.Background(), healthWithin)
	defer cancel()
	err := w.look(ctx)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.err, w.until, w.pending = err, time.Now().Add(checkFresh), nil
	close(ended)
}
