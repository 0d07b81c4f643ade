package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/report"
)

const (
	// markFor is how long a row is marked after its status changed.
	markFor = 10 * time.Second
	// recentEvents is from when on events are shown, and maxEvents how many.
	recentEvents = time.Hour
	maxEvents    = 3
	// maxEventPages bounds how many calls are made for events each time.
	maxEventPages = 20
	// redrawEvery has the age of what is shown go on.
	redrawEvery = time.Second
)

// watcher shows the table in place until it is told to quit: check_awa --watch.
type watcher struct {
	agents fetcher
	cfg    config
	screen *screen
	color  bool

	latest  outcome
	nodes   outcome // the latest one that has nodes
	status  map[uint64]string
	changed map[uint64]time.Time // when the status of a node became another one, by id
	tail    eventTail
}

// eventTail is the last events of the agent that answered.
type eventTail struct {
	agent  string // its address
	after  uint64
	events []awa.Event
}

// pollResult is what is new each time that the agents were asked.
type pollResult struct {
	outcome  outcome
	tail     eventTail
	panicked any
}

// watch asks every cfg.watch, and shows the table until q, Ctrl-C or the end of ctx. The exit
// code is that of the latest result.
func watch(ctx context.Context, agents fetcher, cfg config, p printer, stdin io.Reader) int {
	_, _, isTerminal := sizeOf(p.stdout)
	if !isTerminal {
		p.forced = true
		return p.print(report.NoResult("bad --watch: the output must be a terminal (see check_awa -h)", time.Now()))
	}
	screen, err := openScreen(stdin, p.stdout.(*os.File))
	if err != nil {
		p.forced = true
		return p.print(report.NoResult(err.Error(), time.Now()))
	}
	w := watcher{agents: agents, cfg: cfg, screen: screen, color: cfg.color.on(true), changed: map[uint64]time.Time{}}
	if err := w.run(ctx); err != nil {
		fmt.Fprintf(p.stderr, "check_awa: %v\n", err)
		return report.Unknown.ExitCode()
	}
	if w.latest.asked.IsZero() { // no result has come yet
		return report.Unknown.ExitCode()
	}
	return w.latest.result.State.ExitCode()
}

// run shows the table until it is told to quit. It fails when the terminal does.
func (w *watcher) run(ctx context.Context) error {
	defer w.screen.close()
	ctx, cancel := context.WithCancel(ctx)
	updates := make(chan pollResult)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		w.poll(ctx, updates)
	}()
	defer func() {
		cancel()
		<-ended
	}()
	redraw := time.NewTicker(redrawEvery)
	defer redraw.Stop()
	for {
		if err := w.screen.draw(w.frame(time.Now())); err != nil {
			return err
		}
		select {
		case u := <-updates:
			if u.panicked != nil {
				panic(u.panicked)
			}
			w.apply(u, time.Now())
		case key := <-w.screen.keys:
			if key == 'q' || key == 'Q' || key == ctrlC {
				return nil
			}
		case <-w.screen.resized:
		case <-redraw.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// ctrlC is what a terminal that is not interpreted sends for Ctrl-C.
const ctrlC = 3

// poll asks again and again until ctx ends.
func (w *watcher) poll(ctx context.Context, to chan<- pollResult) {
	defer func() {
		if v := recover(); v != nil { // the terminal is to be left first
			select {
			case to <- pollResult{panicked: v}:
			case <-ctx.Done():
			}
		}
	}()
	var tail eventTail
	for {
		began := time.Now()
		o, err := checkOnce(ctx, w.agents, w.cfg, began)
		if err != nil {
			return
		}
		if o.agent != "" {
			tail = w.follow(ctx, tail, o.agent)
		}
		select {
		case to <- pollResult{outcome: o, tail: tail}:
		case <-ctx.Done():
			return
		}
		select {
		case <-time.After(time.Until(began.Add(w.cfg.watch))):
		case <-ctx.Done():
			return
		}
	}
}

// follow returns the last events of an agent, given those that were known. An agent that
// shows none, of an earlier version, say, has none.
func (w *watcher) follow(ctx context.Context, tail eventTail, agent string) eventTail {
	if tail.agent != agent {
		tail = eventTail{agent: agent}
	}
	ctx, cancel := context.WithTimeout(ctx, w.cfg.timeout)
	defer cancel()
	last := slices.Clone(tail.events)
	for range maxEventPages {
		set, err := w.agents.Events(ctx, agent, awa.EventQuery{After: tail.after, Since: time.Now().Add(-recentEvents)})
		if err != nil || set.Through <= tail.after {
			break
		}
		tail.after = set.Through
		last = append(last, set.Events...)
		last = last[max(0, len(last)-maxEvents):]
	}
	slices.SortStableFunc(last, func(a, b awa.Event) int { return a.At.Compare(b.At) })
	tail.events = last
	return tail
}

// apply keeps what is new, and notes whose status has changed.
func (w *watcher) apply(u pollResult, now time.Time) {
	w.latest, w.tail = u.outcome, u.tail
	if u.outcome.result.Counts.All() == 0 {
		return
	}
	w.nodes = u.outcome
	status := map[uint64]string{}
	for _, row := range u.outcome.result.Rows(report.DefaultOrder(), false) {
		id := row.NodeStatus.Node.ID
		status[id] = row.Status
		if before, known := w.status[id]; w.status != nil && (!known || before != row.Status) {
			w.changed[id] = now
		}
	}
	w.status = status
}

// frame returns the lines to show.
func (w *watcher) frame(now time.Time) []string {
	columns, lines := w.screen.size()
	top := w.top(columns, now)
	bottom := w.bottom(columns)
	o := w.cfg.options
	o.Color, o.Width, o.Changed = w.color, columns, map[uint64]bool{}
	o.Lines = max(1, lines-len(top)-len(bottom))
	for id, at := range w.changed {
		if now.Sub(at) < markFor {
			o.Changed[id] = true
		} else {
			delete(w.changed, id)
		}
	}
	var middle []string
	if w.nodes.result.Counts.All() > 0 {
		var b bytes.Buffer
		r := w.nodes.result
		r.Took = now.Sub(w.nodes.asked).Round(time.Second)
		if err := w.cfg.format.Write(&b, r, o); err == nil {
			middle = strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
		}
	}
	middle = middle[:min(len(middle), o.Lines)]
	return slices.Concat(top, middle, bottom)
}

// top says how things are, and whether what is below it is as of now.
func (w *watcher) top(columns int, now time.Time) []string {
	keys := fmt.Sprintf("%s, every %v, q quits", now.Format(time.TimeOnly), w.cfg.watch)
	switch {
	case w.latest.asked.IsZero():
		return []string{report.Cut("check_awa asks "+strings.Join(w.cfg.agents, ", ")+" - "+keys, columns)}
	case w.latest.result.Counts.All() == 0 && w.nodes.result.Counts.All() > 0:
		return w.paint(w.latest.result.State, columns, w.latest.result.Headline(), "the last answer ("+keys+"):")
	case w.latest.result.Counts.All() == 0:
		return w.paint(w.latest.result.State, columns, w.latest.result.Headline(), keys)
	}
	return w.paint(w.latest.result.State, columns, "AWA "+w.latest.result.State.String()+" - "+keys)
}

// paint returns lines that are cut to the terminal, the first one in the color of a state.
func (w *watcher) paint(s report.State, columns int, lines ...string) []string {
	for i := range lines {
		lines[i] = report.Cut(lines[i], columns)
	}
	if w.color {
		lines[0] = report.Paint(s, lines[0])
	}
	return lines
}

// bottom has the last events, the newest last.
func (w *watcher) bottom(columns int) []string {
	var lines []string
	for _, e := range w.tail.events {
		lines = append(lines, report.Cut(e.At.Local().Format(time.TimeOnly)+" "+report.EventText(e), columns))
	}
	return lines
}
