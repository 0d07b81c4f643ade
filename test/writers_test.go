package test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// writers edit the list all the time, at all agents of a cluster. Each works
// on nodes of its own, one edit after the other, and repeats an edit with its
// key until it is acknowledged, at whichever agent answers.
type writers struct {
	t    *testing.T
	stop context.CancelFunc
	all  sync.WaitGroup

	mu      sync.Mutex
	acked   []acked
	count   map[string]int // acknowledged edits, by the agent's name
	refused []string       // edits that failed at an agent that was up all the time, see watch
	watched map[string]bool
	moved   chan struct{} // closed and made again when something changes
}

// acked is an edit that was acknowledged.
type acked struct {
	id                 uint64
	key, action, wants string // wants is what the change's data must hold
}

// pause keeps a writer from taking all of the machine.
const pause = 4 * time.Millisecond

// write starts writers, each at each agent.
func (c *cluster) write(each int) *writers {
	ctx, stop := context.WithCancel(context.Background())
	w := &writers{t: c.t, stop: stop, count: map[string]int{}, watched: map[string]bool{}, moved: make(chan struct{})}
	for i := range each * len(c.agents) {
		one := &writer{w: w, name: fmt.Sprintf("w%d-%d", i, time.Now().UnixNano()), agents: c.agents, home: i % len(c.agents),
			http: &http.Client{Transport: &http.Transport{}}}
		w.all.Go(func() { one.run(ctx) })
	}
	c.t.Cleanup(w.end)
	return w
}

// end stops the writers. An edit that is under way may or may not be made.
func (w *writers) end() {
	w.stop()
	w.all.Wait()
}

// progress waits until each of the agents has acknowledged n more edits.
func (w *writers) progress(n int, agents ...*agent) {
	w.t.Helper()
	w.mu.Lock()
	goal := map[string]int{}
	for _, a := range agents {
		goal[a.name] = w.count[a.name] + n
	}
	w.mu.Unlock()
	for over := time.After(2 * time.Minute); ; {
		w.mu.Lock()
		missing := ""
		for name, n := range goal {
			if w.count[name] < n {
				missing = fmt.Sprintf("agent %s has acknowledged %d edits, not %d", name, w.count[name], n)
			}
		}
		moved := w.moved
		w.mu.Unlock()
		if missing == "" {
			return
		}
		select {
		case <-moved:
		case <-over:
			w.t.Fatalf("the edits don't get on: %s", missing)
		}
	}
}

// watch begins to note every edit that fails at the agents. The function that
// it returns ends that and fails the test when there were some.
func (w *writers) watch(agents ...*agent) (unwatch func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range agents {
		w.watched[a.name] = true
	}
	return func() {
		w.t.Helper()
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, text := range w.refused {
			w.t.Error(text)
		}
		clear(w.watched)
		w.refused = nil
	}
}

// check compares what was acknowledged with a list.
func (w *writers) check(list []change) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	byKey := map[string]uint64{}
	for _, ch := range list {
		if first, ok := byKey[ch.Key]; ok && ch.Key != "" {
			w.t.Errorf("changes %d and %d were made by one edit: %+v", first, ch.ID, ch)
		}
		byKey[ch.Key] = ch.ID
	}
	lost := 0
	for _, a := range w.acked {
		if a.id == 0 || a.id > uint64(len(list)) || list[a.id-1].Key != a.key || list[a.id-1].Action != a.action ||
			!strings.Contains(list[a.id-1].Data, a.wants) {
			lost++
			w.t.Errorf("the edit %+v was acknowledged, and the list has it as change %d", a, byKey[a.key])
		}
		if lost == 10 {
			break
		}
	}
	if len(w.acked) == 0 {
		w.t.Error("no edit was acknowledged")
	}
	w.t.Logf("%d changes, %d of them acknowledged to the writers: %v", len(list), len(w.acked), w.count)
}

// newest is the highest id that was acknowledged.
func (w *writers) newest() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	var newest uint64
	for _, a := range w.acked {
		newest = max(newest, a.id)
	}
	return newest
}

// writer makes one edit after the other: it creates a node, updates it a few
// times and removes it.
type writer struct {
	w      *writers
	name   string
	agents []*agent
	home   int // the agent that it prefers
	http   *http.Client
	edits  int
}

func (o *writer) run(ctx context.Context) {
	tick := time.NewTicker(pause)
	defer tick.Stop()
	var node uint64
	for round := 0; ; round++ {
		var a acked
		host := `"host":"127.0.0.1","port":1,"labels":{"n":` + fmt.Sprintf(`"%d"`, round) + `}`
		switch {
		case round%6 == 0:
			a = acked{action: "CREATE", wants: fmt.Sprintf(`"name":"%s-%d"`, o.name, round)}
			a, node = o.edit(ctx, a, `{`+a.wants+`,`+host+`}`)
		case round%6 < 5:
			a = acked{action: "UPDATE", wants: fmt.Sprintf(`"labels":{"n":"%d"}`, round)}
			a, _ = o.edit(ctx, a, fmt.Sprintf(`{"id":%d,"name":"%s-%d",%s}`, node, o.name, round-round%6, host))
		default:
			a = acked{action: "DELETE", wants: fmt.Sprintf(`{"id":%d,`, node)}
			a, _ = o.edit(ctx, a, fmt.Sprintf(`{"id":%d}`, node))
		}
		if a.id == 0 {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// edit repeats an edit until it is acknowledged, or ctx ends: then the id
// stays 0. Now and then it repeats an acknowledged one as well, as a client
// does whose answer was lost.
func (o *writer) edit(ctx context.Context, a acked, data string) (acked, uint64) {
	o.edits++
	a.key = fmt.Sprintf("%s-%d", o.name, o.edits)
	for try := 0; ctx.Err() == nil; try++ {
		at := o.agents[(o.home+try)%len(o.agents)]
		answer, err := o.send(ctx, at, patience(try), a, data)
		if err == nil {
			a.id = answer.ID
			o.w.note(at, a)
			if o.edits%10 == 0 {
				o.again(ctx, a, data)
			}
			return a, answer.Node.ID
		}
		o.w.fail(ctx, at, a, err)
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
		}
	}
	return a, 0
}

// patience is how long a writer waits for an answer: longer than an agent
// tries, but where another agent is asked that may be frozen.
func patience(try int) time.Duration {
	if try == 0 {
		return 12 * time.Second
	}
	return 3 * time.Second
}

func (o *writer) send(ctx context.Context, at *agent, most time.Duration, a acked, data string) (editAnswer, error) {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	return at.edit(ctx, o.http, a.action, data, a.key)
}

// again repeats an edit that was acknowledged.
func (o *writer) again(ctx context.Context, a acked, data string) {
	at := o.agents[(o.home+1)%len(o.agents)]
	if answer, err := o.send(ctx, at, time.Second, a, data); err == nil && answer.ID != a.id {
		o.w.t.Errorf("the edit %+v was repeated and made change %d", a, answer.ID)
	}
}

// note takes down an acknowledged edit.
func (w *writers) note(at *agent, a acked) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.acked = append(w.acked, a)
	w.count[at.name]++
	close(w.moved)
	w.moved = make(chan struct{})
}

// fail takes down a failure. An agent that is there may only refuse an edit
// because no majority decides it now.
func (w *writers) fail(ctx context.Context, at *agent, a acked, err error) {
	if ctx.Err() != nil {
		return
	}
	var r refusal
	if errors.As(err, &r) && r.Status != http.StatusServiceUnavailable {
		w.t.Errorf("agent %s refused the edit %+v: %v", at.name, a, err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.watched[at.name] {
		w.refused = append(w.refused, fmt.Sprintf("agent %s, which was up, failed the edit %+v: %v", at.name, a, err))
	}
}
