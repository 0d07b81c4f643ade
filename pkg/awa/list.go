package awa

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
)

// KeyWindow is how long an idempotency key is remembered, in changes: an edit
// with the key of one of the last KeyWindow changes answers as that one did.
// It is counted in changes, not in time, so that every agent forgets alike.
const KeyWindow = 1 << 16

// List is the node list in memory, with what is needed to decide the next
// edit. It is made by applying changes 1, 2, 3, …, and equal changes make
// equal lists on every agent. It is not safe for concurrent use.
type List struct {
	state uint64
	head  Head
	nodes map[uint64]Node
	names map[string]uint64 // NameKey → node id
	uids  map[string]uint64

	// Keys of the last changes, in two generations: when recent alone spans
	// the window, older is dropped.
	recent, older map[string]uint64 // idempotency key → change id
	pivot         uint64            // recent holds the keys of the changes after this one
}

// Head is what a list holds besides its nodes.
type Head struct {
	NextID      uint64 // that the next CREATE assigns
	ClusterName string // for people; "" for none
}

// NewList makes the empty list.
func NewList() *List {
	return &List{
		head:   Head{NextID: 1},
		nodes:  map[uint64]Node{},
		names:  map[string]uint64{},
		uids:   map[string]uint64{},
		recent: map[string]uint64{},
	}
}

// LoadList makes a list from what a disk holds: its state, its head, its nodes, and the keys
// of the last KeyWindow changes.
func LoadList(state uint64, head Head, nodes []Node, keys map[string]uint64) (*List, error) {
	l := NewList()
	l.state, l.head, l.recent, l.pivot = state, head, keys, state-min(state, KeyWindow)
	if keys == nil {
		l.recent = map[string]uint64{}
	}
	for _, n := range nodes {
		if n.ID == 0 || n.ID >= head.NextID || n.Changed > state {
			return nil, fmt.Errorf("node %d (%s) can't be in a list of state %d whose next node is %d", n.ID, n.Name, state,
				head.NextID)
		}
		if _, taken := l.names[n.Key()]; taken {
			return nil, fmt.Errorf("two nodes have the name %s", n.Name)
		}
		if _, taken := l.uids[n.UID]; taken {
			return nil, fmt.Errorf("two nodes have the uid %s", n.UID)
		}
		l.put(n)
	}
	return l, nil
}

// State is the id of the newest change, 0 when there is none.
func (l *List) State() uint64 { return l.state }

// Head returns what the list holds besides its nodes.
func (l *List) Head() Head { return l.head }

// Nodes returns all nodes by id.
func (l *List) Nodes() []Node {
	all := make([]Node, 0, len(l.nodes))
	for _, n := range l.nodes {
		all = append(all, n)
	}
	slices.SortFunc(all, func(a, b Node) int { return cmp.Compare(a.ID, b.ID) })
	return all
}

// Agent returns the node of the agent with a uid, and whether there is one.
func (l *List) Agent(uid string) (Node, bool) {
	n, ok := l.nodes[l.uids[uid]] // no node has the id 0
	return n, ok
}

// Draft is a batch of changes on top of a list, which stays as it is until
// Commit. So a batch that can't be written to disk leaves no trace.
type Draft struct {
	list        *List
	state       uint64
	head        Head
	nodes       map[uint64]*Node // nil: removed
	names, uids map[string]uint64
	changes     []Change
	keys        map[string]uint64
}

// Draft begins a batch. One draft at a time may be committed.
func (l *List) Draft() *Draft {
	return &Draft{
		list: l, state: l.state, head: l.head,
		nodes: map[uint64]*Node{}, names: map[string]uint64{}, uids: map[string]uint64{}, keys: map[string]uint64{},
	}
}

// State is the id of the newest change, those of the draft included.
func (d *Draft) State() uint64 { return d.state }

// Head returns what the list holds besides its nodes, after the draft.
func (d *Draft) Head() Head { return d.head }

// Changes returns the changes of the draft in their order.
func (d *Draft) Changes() []Change { return d.changes }

// Touched calls f for each node that the draft touches: with the node as it
// is afterwards, or nil when it is gone. The order is by id.
func (d *Draft) Touched(f func(id uint64, n *Node) error) error {
	ids := make([]uint64, 0, len(d.nodes))
	for id := range d.nodes {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		if err := f(id, d.nodes[id]); err != nil {
			return err
		}
	}
	return nil
}

// Commit carries the draft into its list.
func (d *Draft) Commit() {
	l := d.list
	for id, n := range d.nodes {
		if old, ok := l.nodes[id]; ok {
			l.drop(old)
		}
		if n == nil {
			delete(d.nodes, id)
		}
	}
	for _, n := range d.nodes {
		l.put(*n)
	}
	for key, id := range d.keys {
		l.recent[key] = id
	}
	l.state, l.head = d.state, d.head
	if l.state-l.pivot >= KeyWindow {
		l.older, l.recent, l.pivot = l.recent, map[string]uint64{}, l.state
	}
}

func (l *List) put(n Node) {
	l.nodes[n.ID] = n
	l.names[n.Key()] = n.ID
	if n.UID != "" {
		l.uids[n.UID] = n.ID
	}
}

func (l *List) drop(n Node) {
	delete(l.nodes, n.ID)
	delete(l.names, n.Key())
	delete(l.uids, n.UID)
}

// Repeated returns the id of the change that was made with an idempotency key,
// when that was at most KeyWindow changes ago.
func (d *Draft) Repeated(key string) (uint64, bool) {
	if key == "" {
		return 0, false
	}
	for _, keys := range []map[string]uint64{d.keys, d.list.recent, d.list.older} {
		if id, ok := keys[key]; ok {
			return id, d.state-id < KeyWindow
		}
	}
	return 0, false
}

// Decide turns an edit into the next change and adds it to the draft, or returns why not,
// as a Fault: ErrBadInput, ErrNameTaken, ErrUIDTaken, ErrUnknownNode, ErrConflict or
// ErrGap. Whoever calls it must look for a repeated key before, with Repeated.
func (d *Draft) Decide(e Edit, index, term uint64) (Change, Node, error) {
	p, err := e.Parse()
	if err != nil {
		return Change{}, Node{}, err
	}
	return d.DecideParsed(p, index, term)
}

// DecideParsed is Decide for an edit that was parsed already.
func (d *Draft) DecideParsed(p ParsedEdit, index, term uint64) (Change, Node, error) {
	e, in := p.edit, p.data
	if err := d.checkID(e.ID); err != nil {
		return Change{}, Node{}, err
	}
	n, err := d.nodeAfter(p)
	if err != nil {
		return Change{}, Node{}, err
	}
	c := Change{ID: d.state + 1, Action: e.Action, Index: index, Term: term, Key: e.Key}
	if e.Key != "" {
		c.Asked = p.fingerprint()
	}
	n.Changed = 0
	if c.Data, err = encodeData(e.Action, n, in.stamps); err != nil {
		return Change{}, Node{}, err
	}
	if len(c.Data) > MaxData {
		return Change{}, Node{}, Faultf(ErrBadInput, "node %s would hold %d bytes: at most %d are allowed", n.Name,
			len(c.Data), MaxData)
	}
	n.Changed = c.ID
	if err := d.add(c, n, in.ClusterName); err != nil {
		return Change{}, Node{}, err
	}
	return c, n, nil
}

// nodeAfter returns the node as it is after an edit; of a DELETE only its id.
func (d *Draft) nodeAfter(p ParsedEdit) (Node, error) {
	e, asked := p.edit, p.data.node
	if e.Action == Create {
		if asked.ID != 0 {
			return Node{}, Faultf(ErrBadInput, "a CREATE must not hold an id: the list assigns it")
		}
		return merge(Node{ID: d.head.NextID}, p.data), nil
	}
	old, ok := d.node(asked.ID)
	switch {
	case !ok:
		return Node{}, Faultf(ErrUnknownNode, "the list has no node %d", asked.ID)
	case e.IfChanged != 0 && e.IfChanged != old.Changed:
		return Node{}, Faultf(ErrConflict, "node %s was changed by somebody else (change %d): read it again and repeat the "+
			"edit", old.Name, old.Changed)
	case e.Action == Update:
		return merge(old, p.data), nil
	}
	return Node{ID: old.ID}, nil
}

// checkID says why the next change can't have the id that an edit asks for.
func (d *Draft) checkID(id uint64) error {
	switch {
	case id > d.state+1:
		return gap(id, d.state)
	case id != 0 && id <= d.state:
		return Faultf(ErrConflict, "change %d was made already, and it is another one: the state is %d, read what is new "+
			"and ask for change %d", id, d.state, d.state+1)
	}
	return nil
}

func gap(id, state uint64) error {
	return Faultf(ErrGap, "change %d does not follow state %d", id, state)
}

// Apply adds a decided change to the draft. It fails with ErrGap when the
// change is not the next one, and with the errors of Decide when this list
// can't be the one that it was decided on.
func (d *Draft) Apply(c Change) error {
	if c.ID != d.state+1 {
		return gap(c.ID, d.state)
	}
	in, err := c.parse()
	if err != nil {
		return err
	}
	return d.add(c, in.node, in.ClusterName)
}

// add adds a change, after which its node is n, to the draft. clusterName is "" where it
// leaves that as it is.
func (d *Draft) add(c Change, n Node, clusterName string) error {
	old, exists := d.node(n.ID)
	switch {
	case c.Action == Create && n.ID != d.head.NextID:
		return Faultf(ErrBadInput, "change %d creates node %d, but the next node is %d", c.ID, n.ID, d.head.NextID)
	case c.Action != Create && !exists:
		return Faultf(ErrUnknownNode, "the list has no node %d", n.ID)
	}
	if c.Action != Delete {
		if id := lookup(d.names, d.list.names, n.Key()); id != 0 && id != n.ID {
			return Faultf(ErrNameTaken, "the name %s is taken by node %d: choose another name, or change that node", n.Name, id)
		}
		if id := lookup(d.uids, d.list.uids, n.UID); n.UID != "" && id != 0 && id != n.ID {
			return Faultf(ErrUIDTaken, "the uid %s belongs to node %d: every agent needs a data folder of its own", n.UID, id)
		}
	}
	if exists {
		d.names[old.Key()] = 0
		if old.UID != "" {
			d.uids[old.UID] = 0
		}
	}
	if c.Action == Delete {
		d.nodes[n.ID] = nil
	} else {
		d.nodes[n.ID] = &n
		d.names[n.Key()] = n.ID
		if n.UID != "" {
			d.uids[n.UID] = n.ID
		}
	}
	if c.Action == Create {
		d.head.NextID++
	}
	d.head.ClusterName = cmp.Or(clusterName, d.head.ClusterName)
	d.state = c.ID
	d.changes = append(d.changes, c)
	if c.Key != "" {
		d.keys[c.Key] = c.ID
	}
	return nil
}

func (d *Draft) node(id uint64) (Node, bool) {
	if n, ok := d.nodes[id]; ok {
		if n == nil {
			return Node{}, false
		}
		return *n, true
	}
	n, ok := d.list.nodes[id]
	return n, ok
}

// lookup reads through the draft's map into the list's; 0 is nobody.
func lookup(draft, list map[string]uint64, key string) uint64 {
	if id, ok := draft[key]; ok {
		return id
	}
	return list[key]
}

// merge lays the keys that an edit names over the node: null removes an
// optional one.
func merge(old Node, in data) Node {
	n := old
	for _, f := range nodeFields {
		if in.has(f.key) && f.key != "id" {
			f.copy(&n, &in.node)
			if f.isZero(&n) { // as it is once it is read again
				f.copy(&n, &Node{})
			}
		}
	}
	if len(in.node.Extra) > 0 {
		n.Extra = map[string]json.RawMessage{}
		for k, v := range old.Extra {
			n.Extra[k] = v
		}
		for k, v := range in.node.Extra {
			n.Extra[k] = v
			if bytes.Equal(v, []byte("null")) {
				delete(n.Extra, k)
			}
		}
		if len(n.Extra) == 0 {
			n.Extra = nil
		}
	}
	return n
}

func (d data) has(key string) bool {
	_, ok := d.fields[key]
	return ok
}

// encodeData writes a change's data: the node, or just its id, then its stamps.
func encodeData(a Action, n Node, s stamps) (string, error) {
	var b []byte
	var err error
	if a == Delete {
		b, err = json.Marshal(struct {
			ID uint64 `json:"id"`
		}{n.ID})
	} else {
		b, err = json.Marshal(n)
	}
	if err != nil {
		return "", err
	}
	stamp, err := json.Marshal(s)
	if err != nil {
		return "", err
	}
	if len(stamp) > 2 {
		stamp[0] = ','
		b = append(b[:len(b)-1], stamp...)
	}
	return string(b), nil
}

// Replay makes the list that changes 1, 2, 3, … make.
func Replay(changes []Change) (*List, error) {
	l := NewList()
	d := l.Draft()
	for _, c := range changes {
		if err := d.Apply(c); err != nil {
			return nil, fmt.Errorf("change %d: %w", c.ID, err)
		}
	}
	d.Commit()
	return l, nil
}
