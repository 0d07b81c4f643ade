package awatest

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"go.uber.org/goleak"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/store"
)

// finish asserts what must hold after every test: once the network is whole
// and every agent runs, the cluster takes an edit; all agents hold the same
// changes, with the ids 1, 2, 3, …; what clients were answered is
// true; each data folder opens again, with the nodes that the changes make;
// and no goroutine is left.
func (c *Cluster) finish() {
	c.Heal()
	for i := range c.Len() {
		if a := c.agent(i); !c.Up(i) && a.died {
			c.t.Errorf("agent %d ended by itself: %v", i, a.err)
		}
	}
	// A test that went wrong is over, but its agents must be stopped.
	if !c.t.Failed() {
		if err := c.settle(); err != nil {
			c.t.Errorf("at the end: %v", err)
		}
	}
	c.Stop(c.Running()...)
	for i := range c.Len() { // those that were killed and not started again
		if err := c.over(i); err != nil {
			c.t.Errorf("agent %d ended with an error: %v", i, err)
		}
	}
	if !c.t.Failed() {
		if err := c.checkFolders(); err != nil {
			c.t.Errorf("after the end: %v", err)
		}
	}
	c.client.Close()
	c.net.close()
	// A request that an agent could not finish, because it was killed, ends when
	// its time is over.
	if err := eventually(func() error { return goleak.Find(append(leftovers(), c.alone)...) }); err != nil {
		c.t.Errorf("after the end: %v", err)
	}
	if !c.t.Failed() {
		return
	}
	for i := range c.Len() {
		c.t.Logf("agent %d, uid %s:\n%s", i, c.UID(i), c.agent(i).log.end())
	}
}

// leftovers are goroutines that end by themselves, or are one for the whole
// process.
func leftovers() []goleak.Option {
	return []goleak.Option{
		// Looks every ten seconds whether its server has been stopped; nothing
		// wakes it before.
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"),
		// Keeps the time of day for the header Date, once for all servers.
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
	}
}

// members are the agents that belong to the cluster and have been started.
func (c *Cluster) members() []int {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []int
	for i, a := range c.agents {
		if a.done != nil && !a.left {
			all = append(all, i)
		}
	}
	return all
}

// settle starts what is down and waits until all lists are the same, and
// right.
func (c *Cluster) settle() error {
	members := c.members()
	if len(members) == 0 {
		return nil
	}
	for _, i := range members {
		if !c.Up(i) {
			if err := c.TryStart(i); err != nil {
				return fmt.Errorf("agent %d does not start: %w", i, err)
			}
		}
	}
	if err := eventually(func() error { return c.registered(members) }); err != nil {
		return err
	}
	// An edit that is made now comes after all those whose outcome is not
	// known, so that they can't be made any more once the lists are compared.
	last := CreateEdit("end-of-test")
	err := eventually(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
		defer cancel()
		_, _, err := c.Edit(ctx, members[0], last)
		return err
	})
	if err != nil {
		return fmt.Errorf("the whole cluster takes no edit: %w", err)
	}
	changes, err := c.same()
	if err != nil {
		return err
	}
	return c.ledger.check(changes)
}

// registered fails while an agent does not stand on its own list as it is.
func (c *Cluster) registered(agents []int) error {
	for _, i := range agents {
		changes, err := c.Changes(i)
		if err != nil {
			return fmt.Errorf("agent %d: %w", i, err)
		}
		l, err := awa.Replay(changes)
		if err != nil {
			return fmt.Errorf("agent %d: %w", i, err)
		}
		if !slices.ContainsFunc(l.Nodes(), func(n awa.Node) bool { return n.UID == c.UID(i) && n.Addr() == c.Addr(i) }) {
			return fmt.Errorf("agent %d is not on its list with its address %s", i, c.Addr(i))
		}
	}
	return nil
}

// WaitSame waits until all agents that run hold the same changes, and returns
// them. It must not be called while edits are made.
func (c *Cluster) WaitSame() []awa.Change {
	c.t.Helper()
	changes, err := c.same()
	if err != nil {
		c.t.Fatal(err)
	}
	return changes
}

func (c *Cluster) same() ([]awa.Change, error) {
	var changes []awa.Change
	err := eventually(func() error {
		running := c.running()
		if len(running) == 0 {
			return errors.New("no agent runs")
		}
		var selfs []awa.Self
		for _, i := range running {
			self, err := c.joined(i)
			if err != nil {
				return err
			}
			selfs = append(selfs, self)
		}
		for i, self := range selfs {
			if first := selfs[0]; self.State != first.State || self.Cluster != first.Cluster || self.History != first.History {
				return fmt.Errorf("agent %d holds state %d of %s %s, agent %d state %d of %s %s", running[0], first.State,
					first.Cluster, first.History, running[i], self.State, self.Cluster, self.History)
			}
		}
		var err error
		changes, err = c.compare(running)
		return err
	})
	return changes, err
}

// running are the agents of the cluster that run.
func (c *Cluster) running() []int {
	return slices.DeleteFunc(c.members(), func(i int) bool { return !c.Up(i) })
}

// compare fetches the lists of some agents and fails when they are not the
// same, byte by byte.
func (c *Cluster) compare(agents []int) ([]awa.Change, error) {
	var first []awa.Change
	for n, i := range agents {
		changes, err := c.Changes(i)
		if err != nil {
			return nil, fmt.Errorf("agent %d: %w", i, err)
		}
		if n == 0 {
			first = changes
		}
		if err := sameChanges(first, changes); err != nil {
			return nil, fmt.Errorf("agents %d and %d: %w", agents[0], i, err)
		}
	}
	return first, nil
}

func sameChanges(a, b []awa.Change) error {
	for i, c := range a {
		if c.ID != uint64(i)+1 {
			return fmt.Errorf("change %d stands at place %d", c.ID, i+1)
		}
		if i >= len(b) {
			break
		}
		other := b[i]
		c.Asked, other.Asked = "", "" // only agents that decided it know it
		if other != c {
			return fmt.Errorf("change %d differs: %+v and %+v", c.ID, c, b[i])
		}
	}
	if len(a) != len(b) {
		return fmt.Errorf("they hold %d and %d changes", len(a), len(b))
	}
	return nil
}

// Changes fetches all changes of an agent.
func (c *Cluster) Changes(i int) ([]awa.Change, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var all []awa.Change
	for {
		set, err := c.client.Sync(ctx, c.Addr(i), awa.Position{State: uint64(len(all))}, 0)
		if err != nil {
			return nil, err
		}
		if all = append(all, set.Changes...); len(set.Changes) == 0 || uint64(len(all)) >= set.State {
			return all, nil
		}
	}
}

// Nodes are the nodes of an agent's list, by name.
func (c *Cluster) Nodes(i int) map[string]awa.Node {
	c.t.Helper()
	changes, err := c.Changes(i)
	if err != nil {
		c.t.Fatalf("the changes of agent %d: %v", i, err)
	}
	l, err := awa.Replay(changes)
	if err != nil {
		c.t.Fatalf("the changes of agent %d: %v", i, err)
	}
	nodes := map[string]awa.Node{}
	for _, n := range l.Nodes() {
		nodes[n.Name] = n
	}
	return nodes
}

// checkFolders opens the data folders of stopped agents, which checks the
// files, and looks whether all hold the same.
func (c *Cluster) checkFolders() error {
	var first []awa.Change
	for _, i := range c.members() {
		changes, err := checkFolder(c.Dir(i))
		if err != nil {
			return fmt.Errorf("the data folder of agent %d: %w", i, err)
		}
		if first == nil {
			first = changes
		}
		if err := sameChanges(first, changes); err != nil {
			return fmt.Errorf("the data folders of agents 0 and %d: %w", i, err)
		}
	}
	return c.ledger.check(first)
}

// checkFolder returns the changes in a data folder, and fails when its nodes are
// not what they make.
func checkFolder(dir string) (changes []awa.Change, err error) {
	st, err := store.Open(filepath.Join(dir, "awa.db"))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	if changes, err = st.Changes(0, 0); err != nil {
		return nil, err
	}
	l, err := awa.Replay(changes)
	if err != nil {
		return nil, err
	}
	if want, have := text(l.Nodes()), text(st.Nodes()); want != have {
		return nil, fmt.Errorf("the changes make %s, and the nodes are %s", want, have)
	}
	return changes, nil
}
