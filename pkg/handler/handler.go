// Package handler runs the program of an administrator when something has happened.
//
// It owns what is worth a run, who of the agents makes it, and how the program is run. What
// happened comes from outside, with each background sweep (Notifier.Swept, Notifier.Add);
// what the agents say to each other about it goes over Peers; what survives a restart goes
// to a Store.
//
// # When it runs
//
// Notified is what people know of a node or a health code. A state that differs from it and
// has stood for two sweeps is worth a run, so that all that goes by between two runs comes to
// one event for each node. All such states go into one run. It waits one sweep more while
// further nodes change, so that a rack that dies is one message. A node under maintenance
// is left alone until that is over; so is one whose agent is being restarted.
//
// # Who runs it
//
// The agent on duty: the leader, or without one for a while the online agent with the lowest
// id. All agents follow the same states, and so whoever takes over knows what is worth a run.
// What was notified is passed to all agents before a run (not Done) and after it (Done). An agent
// that comes on duty asks all others for what they know. It repeats a run that was not Done when
// its agent is gone: what happened is passed on at least once, and more than once only if an agent
// died while its program was running.
//
// # Invariants
//
//   - The sweeps never wait: Swept and Add only take notes.
//   - Never two runs at once on one agent. A run ends after Timeout, with all its children.
//   - A program that can't be run, or that others may change, is left alone and logged; what is
//     worth a run stays so.
package handler

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"are-we-alive/pkg/awa"
)

const (
	// stands is for how many sweeps a state must hold.
	stands = 2
	// staleRestart is when it is too late to tell of the restart of an agent.
	staleRestart = 15 * time.Minute
	// runsLong is for how long an agent that is online may take for a run.
	runsLong = 2 * Timeout
	// forgetAfter is how long it is remembered that a health code holds no more.
	forgetAfter = 24 * time.Hour
	// tries is how often a run is made again that failed for a while.
	tries = 5
	// peersWithin is how long the others may take to hear of a run, or to say what they know.
	peersWithin = time.Second
	// peersAtOnce is how many of them are asked at once.
	peersAtOnce = 64
)

// Store keeps over restarts what people were notified of.
type Store interface {
	Notified() ([]awa.Notified, error)
	// KeepNotified keeps some, and forgets some keys.
	KeepNotified(all []awa.Notified, gone []string) error
}

// Peers are the other agents.
type Peers interface {
	// Others returns those that were online when this agent looked last.
	Others() []awa.Node
	Notified(ctx context.Context, addr string) ([]awa.Notified, error)
	SendNotified(ctx context.Context, addr string, all []awa.Notified) error
}

// Sweep is what a background sweep saw.
type Sweep struct {
	Cluster, Agent string
	ClusterName    string // how people call it, "" for no name
	Isolated       bool   // the agent reaches no other one
	Duty           bool   // it is the one that notifies
	At             time.Time
	Nodes          []awa.NodeStatus
	Conditions     []awa.Condition
}

// Config is what a Notifier needs. All fields must be set.
type Config struct {
	UID   func() string // of this agent
	Store Store
	Peers Peers
	// Run runs the program. It calls ended once the program has ended, before it ends what
	// that has left.
	Run   func(ctx context.Context, program string, message []byte, ended func(error)) error
	Clock func() time.Time
	Log   *slog.Logger
}

// Notifier decides when the program runs. It is safe for concurrent use.
type Notifier struct {
	cfg  Config
	news chan struct{} // holds a token when there was a sweep

	mu       sync.Mutex
	program  string // "" for none
	trouble  string // why it can't be run, as it was logged
	sweep    Sweep  // the last one
	notified map[string]awa.Notified
	states   map[string]*state
	events   map[string]awa.Event // the last one of each key
	waited   bool                 // for further nodes
	gone     []string             // keys that Store is to forget

	failures int // runs that are to be made again, in a row; of Run alone
}

// state is how a node or a health code is, and for how many sweeps.
type state struct {
	awa.Notified
	since  time.Time
	sweeps int
}

// New makes a Notifier with a program, "" for none. It runs nothing before Run.
func New(cfg Config, program string) *Notifier {
	n := &Notifier{cfg: cfg, news: make(chan struct{}, 1), program: program, notified: map[string]awa.Notified{},
		states: map[string]*state{}, events: map[string]awa.Event{}}
	all, err := cfg.Store.Notified()
	if err != nil {
		cfg.Log.Warn("it can't be read what people were notified of", "error", err)
	}
	for _, known := range all {
		n.notified[known.Key()] = known
	}
	n.checkProgram()
	return n
}

// SetProgram has another program run from now on, "" for none.
func (n *Notifier) SetProgram(program string) {
	n.mu.Lock()
	n.program, n.trouble = program, ""
	if program == "" { // then nothing is followed, which would cost memory for each node
		clear(n.states)
		clear(n.events)
	}
	n.mu.Unlock()
	n.checkProgram()
}

// checkProgram logs why the program can't be run, once. It returns the program, "" for
// none that can.
func (n *Notifier) checkProgram() string {
	n.mu.Lock()
	program, before := n.program, n.trouble
	n.mu.Unlock()
	if program == "" {
		return ""
	}
	trouble := ""
	if err := Check(program); err != nil { // which may wait for a disk
		trouble, program = err.Error(), ""
	}
	n.mu.Lock()
	n.trouble = trouble
	n.mu.Unlock()
	if trouble != "" && trouble != before {
		n.cfg.Log.Warn("the program of on_event is not run", "error", trouble)
	}
	return program
}

// Add takes in what happened, for the words of a message. It returns at once.
func (n *Notifier) Add(all []awa.Event) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, e := range all {
		if e.Verdict != "" && n.program != "" {
			n.events[awa.Notified{NodeID: e.NodeID}.Key()] = e
		}
	}
}

// Swept takes in a background sweep. It returns at once.
func (n *Notifier) Swept(s Sweep) {
	n.mu.Lock()
	if n.program == "" {
		n.mu.Unlock()
		return
	}
	n.sweep = s
	n.follow(s)
	n.mu.Unlock()
	select {
	case n.news <- struct{}{}:
	default:
	}
}

// Notified returns what people were notified of, as far as this agent knows.
func (n *Notifier) Notified() []awa.Notified {
	n.mu.Lock()
	defer n.mu.Unlock()
	all := make([]awa.Notified, 0, len(n.notified))
	for _, known := range n.notified {
		if !known.At.IsZero() {
			all = append(all, known)
		}
	}
	slices.SortFunc(all, func(a, b awa.Notified) int { return compareKeys(a, b) })
	return all[:min(len(all), awa.MaxNotified)]
}

// Take takes in what another agent has notified people of.
func (n *Notifier) Take(all []awa.Notified) {
	n.mu.Lock()
	var newer []awa.Notified
	for _, theirs := range all {
		if ours, ok := n.notified[theirs.Key()]; (!ok || theirs.Newer(ours)) && len(n.notified) < awa.MaxNotified {
			n.notified[theirs.Key()] = theirs
			newer = append(newer, theirs)
		}
	}
	n.mu.Unlock()
	n.keep(newer, nil)
}

// keep passes to the Store what changed.
func (n *Notifier) keep(all []awa.Notified, gone []string) {
	if len(all)+len(gone) == 0 {
		return
	}
	if err := n.cfg.Store.KeepNotified(all, gone); err != nil {
		n.cfg.Log.Warn("it can't be kept what people were notified of, and may be repeated after a restart", "error", err)
	}
}

// Run makes the runs until ctx ends, when the one under way is ended too. It returns nil.
func (n *Notifier) Run(ctx context.Context) error {
	duty := false
	for {
		select {
		case <-n.news:
		case <-ctx.Done():
			return nil
		}
		n.mu.Lock()
		s, gone := n.sweep, n.gone
		n.gone = nil
		n.mu.Unlock()
		n.keep(nil, gone)
		program := n.checkProgram()
		if !s.Duty || program == "" {
			duty = false
			continue
		}
		if !duty {
			n.askOthers(ctx)
			duty = true
		}
		if batch, again := n.due(s); len(batch) > 0 {
			n.notify(ctx, program, s, batch, again)
		}
	}
}

// notify makes one run.
func (n *Notifier) notify(ctx context.Context, program string, s Sweep, batch []news, again bool) {
	m := newMessage(s, batch, again)
	begun := n.mark(batch, false)
	n.keep(begun, nil)
	n.tellOthers(ctx, begun)
	n.cfg.Log.Info("the program of on_event is run", "program", program, "events", len(batch), "text", m.Text)
	began := time.Now()
	err := n.cfg.Run(ctx, program, m.encode(), func(err error) {
		if ctx.Err() != nil || n.tryAgain(err) {
			return
		}
		done := n.mark(batch, true)
		n.tellOthers(ctx, done) // first of all: until then a successor would repeat the run
		n.keep(done, nil)
	})
	took := time.Since(began).Round(time.Millisecond)
	switch {
	case ctx.Err() != nil:
		n.cfg.Log.Warn("this agent ends while the program of on_event runs: the next one on duty repeats the run",
			"program", program)
	case err != nil && n.failures > 0:
		n.cfg.Log.Warn("the program of on_event failed, and is run again", "program", program, "took", took, "error", err)
	case err != nil:
		n.cfg.Log.Warn("the program of on_event failed", "program", program, "took", took, "error", err)
	}
}

// tryAgain reports whether a run that ended so is to be made again.
func (n *Notifier) tryAgain(err error) bool {
	if errors.Is(err, ErrTryAgain) && n.failures+1 < tries {
		n.failures++
		return true
	}
	n.failures = 0
	return false
}

// mark notes that people are being notified, or that they were.
func (n *Notifier) mark(batch []news, done bool) []awa.Notified {
	now, uid := n.cfg.Clock().UTC().Truncate(time.Millisecond), n.cfg.UID()
	n.mu.Lock()
	all := make([]awa.Notified, len(batch))
	for i := range batch {
		b := &batch[i]
		known := n.notified[b.Key()]
		if !done {
			b.At, b.By = now, uid
			if !b.At.After(known.At) { // by a clock that is ahead of ours
				b.At = known.At.Add(time.Millisecond)
			}
		}
		if b.Done = done; !known.Newer(b.Notified) {
			n.notified[b.Key()] = b.Notified
		}
		all[i] = b.Notified
	}
	n.mu.Unlock()
	return all
}

// askOthers asks all others what people were notified of.
func (n *Notifier) askOthers(ctx context.Context) {
	n.each(ctx, func(ctx context.Context, addr string) error {
		all, err := n.cfg.Peers.Notified(ctx, addr)
		if err == nil {
			n.Take(all)
		}
		return err
	})
}

// tellOthers passes on what people were notified of.
func (n *Notifier) tellOthers(ctx context.Context, all []awa.Notified) {
	n.each(ctx, func(ctx context.Context, addr string) error { return n.cfg.Peers.SendNotified(ctx, addr, all) })
}

// each calls f for each other agent, many at once, and waits for peersWithin at most.
func (n *Notifier) each(ctx context.Context, f func(ctx context.Context, addr string) error) {
	ctx, cancel := context.WithTimeout(ctx, peersWithin)
	defer cancel()
	var all sync.WaitGroup
	permits := make(chan struct{}, peersAtOnce)
	for _, other := range n.cfg.Peers.Others() {
		all.Go(func() {
			permits <- struct{}{}
			defer func() { <-permits }()
			if err := f(ctx, other.Addr()); err != nil {
				n.cfg.Log.Debug("an agent does not take part in what people were notified of", "node", other.Name, "error", err)
			}
		})
	}
	all.Wait()
}
