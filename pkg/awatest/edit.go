package awatest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"are-we-alive/pkg/awa"
)

// ledger keeps what became of each edit, as its client was answered.
type ledger struct {
	mu   sync.Mutex
	keys map[string]*account // by idempotency key
}

// account is all there is to know of the edits with one key.
type account struct {
	acked   uint64   // the id that it was acknowledged with, 0 when it never was
	node    awa.Node // as answered with that
	unknown bool     // an attempt may have been made
	refused error    // the last refusal
}

// Edit sends an edit to an agent, through its HTTP interface. An edit without
// a key is given one. What the agent answers is remembered and must hold at
// the end of the test: an acknowledged edit is in the list once, with this
// id; a refused one is not in it; one of unknown outcome at most once.
func (c *Cluster) Edit(ctx context.Context, i int, e awa.Edit) (uint64, awa.Node, error) {
	if e.Key == "" {
		e.Key = awa.NewUID()
	}
	id, node, err := c.client.Edit(ctx, c.Addr(i), e, 0)
	if problem := c.ledger.note(e.Key, id, node, err); problem != nil {
		c.t.Errorf("edit %s at agent %d: %v", e.Data, i, problem)
	}
	return id, node, err
}

// Acknowledged is how many edits have been so far.
func (c *Cluster) Acknowledged() int {
	c.ledger.mu.Lock()
	defer c.ledger.mu.Unlock()
	n := 0
	for _, a := range c.ledger.keys {
		if a.acked != 0 {
			n++
		}
	}
	return n
}

// note takes an answer in. It reports when it contradicts an earlier one.
func (l *ledger) note(key string, id uint64, node awa.Node, err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.keys[key]
	if a == nil {
		a = new(account)
		l.keys[key] = a
	}
	switch {
	case err == nil && a.acked != 0 && a.acked != id:
		return fmt.Errorf("it was acknowledged as change %d before, and as change %d now", a.acked, id)
	case err == nil && id == 0:
		return errors.New("it was acknowledged without an id")
	case err == nil:
		a.acked, a.node = id, node
	case Unknown(err):
		a.unknown = true
	default:
		a.refused = err
	}
	return nil
}

// Unknown reports whether an edit that failed so may have been made.
func Unknown(err error) bool {
	var lost *awa.PingError
	return errors.Is(err, awa.ErrUnknownOutcome) || errors.As(err, &lost) && lost.Stage == awa.StageReply
}

// check compares a list with what the clients were answered.
func (l *ledger) check(changes []awa.Change) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	made := map[string]awa.Change{}
	for _, c := range changes {
		if other, twice := made[c.Key]; twice && c.Key != "" {
			return fmt.Errorf("changes %d and %d are of the same edit", other.ID, c.ID)
		}
		made[c.Key] = c
	}
	for key, a := range l.keys {
		c, there := made[key]
		switch {
		case a.acked != 0 && !there:
			return fmt.Errorf("change %d was acknowledged and is lost", a.acked)
		case a.acked != 0 && c.ID != a.acked:
			return fmt.Errorf("an edit was acknowledged as change %d and is change %d", a.acked, c.ID)
		case a.acked == 0 && !a.unknown && there:
			return fmt.Errorf("change %d was refused to its client: %w", c.ID, a.refused)
		}
		if a.acked == 0 || c.Action == awa.Delete {
			continue
		}
		n, _, _, err := c.Node()
		if err != nil {
			return err
		}
		if was, told := text(n), text(a.node); was != told {
			return fmt.Errorf("change %d made %s, and its client was answered %s", c.ID, was, told)
		}
	}
	return nil
}

// text is v as JSON, for comparing.
func text(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// CreateEdit makes the edit that adds a node, at an address where nobody is.
func CreateEdit(name string) awa.Edit {
	return edit(awa.Create, map[string]any{"name": name, "host": "127.0.0.1", "port": 1})
}

// UpdateEdit makes the edit that changes a node into n.
func UpdateEdit(n awa.Node) awa.Edit { return edit(awa.Update, n) }

// DeleteEdit makes the edit that removes a node.
func DeleteEdit(id uint64) awa.Edit { return edit(awa.Delete, map[string]any{"id": id}) }

func edit(a awa.Action, data any) awa.Edit {
	return awa.Edit{Action: a, Data: []byte(text(data)), Key: awa.NewUID()}
}

// Insist is Edit by a client that repeats its edit while no majority decides
// it or the outcome is not known, as happens while a leader is chosen.
func (c *Cluster) Insist(i int, e awa.Edit) (id uint64, n awa.Node, err error) {
	if e.Key == "" {
		e.Key = awa.NewUID()
	}
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	for {
		id, n, err = c.Edit(ctx, i, e)
		if err == nil || ctx.Err() != nil || !Unknown(err) && !errors.Is(err, awa.ErrNoMajority) {
			return id, n, err
		}
	}
}

// MustEdit is Insist for an edit that is to succeed.
func (c *Cluster) MustEdit(i int, e awa.Edit) (uint64, awa.Node) {
	c.t.Helper()
	id, n, err := c.Insist(i, e)
	if err != nil {
		c.t.Fatalf("edit %s at agent %d: %v", e.Data, i, err)
	}
	return id, n
}

// Forget drops what clients were answered so far, for a test that founds the list
// again from a backup.
func (c *Cluster) Forget() {
	c.ledger.mu.Lock()
	defer c.ledger.mu.Unlock()
	clear(c.ledger.keys)
}
