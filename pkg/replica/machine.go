package replica

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"

	"github.com/goccy/go-json"
	"github.com/hashicorp/raft"

	"are-we-alive/pkg/awa"
)

// machine is the list as Raft's state machine. The list is on disk and knows
// up to where the log is applied to it, so a replay after a crash changes
// nothing.
type machine struct {
	list   List
	disk   *disk
	fail   func(error)               // stops the agent
	voters func(awa.VoterSet)        // told of each committed configuration
	opened func() *raft.SnapshotMeta // the snapshot that was opened last; nil: not known
	log    *slog.Logger
	broken atomic.Bool // the disk failed: nothing may be applied any more
}

// command is an entry of Raft's log, in JSON. Version 1.
type command struct {
	Action    awa.Action      `json:"action"`
	Data      json.RawMessage `json:"data"`
	Key       string          `json:"key,omitempty"`
	ID        uint64          `json:"id,omitempty"`
	IfChanged uint64          `json:"if_changed,omitempty"`
}

func encodeCommand(e awa.Edit) ([]byte, error) {
	return json.Marshal(command{e.Action, json.RawMessage(e.Data), e.Key, e.ID, e.IfChanged})
}

// decodeEntry reads an entry of Raft's log; ok is false when it is not an edit.
func decodeEntry(l *raft.Log) (e awa.Entry, ok bool) {
	var c command
	if json.Unmarshal(l.Data, &c) != nil {
		return awa.Entry{}, false
	}
	edit := awa.Edit{Action: c.Action, Data: []byte(c.Data), Key: c.Key, ID: c.ID, IfChanged: c.IfChanged}
	return awa.Entry{Index: l.Index, Term: l.Term, Edit: edit}, true
}

// tellDropped logs when changes had to give way to what Raft has, since before
// so many had.
func (m *machine) tellDropped(before uint64) {
	if n := m.list.Dropped() - before; n > 0 {
		m.log.Error("the list held changes that the voters never agreed on: they were dropped, and the list is now that of the voters", "changes", n, "state", m.list.State())
	}
}

// errBroken answers edits after the disk failed.
var errBroken = fault(awa.ErrUnknownOutcome, "it is not known whether the edit was made, since this agent's disk failed and it stops: repeat it with the same Idempotency-Key at another agent, or read the list there")

// Apply implements raft.FSM.
func (m *machine) Apply(l *raft.Log) any { return m.ApplyBatch([]*raft.Log{l})[0] }

// ApplyBatch implements raft.BatchingFSM. The answers are awa.Outcome.
func (m *machine) ApplyBatch(logs []*raft.Log) []any {
	answers := make([]any, len(logs))
	var entries []awa.Entry
	var at []int
	for i, l := range logs {
		if l.Type == raft.LogConfiguration {
			m.StoreConfiguration(l.Index, raft.DecodeConfiguration(l.Data))
			continue
		}
		e, ok := decodeEntry(l)
		if !ok {
			answers[i] = awa.Outcome{Err: fault(awa.ErrBadInput, "entry %d of the voters' log is no edit", l.Index)}
			continue
		}
		entries = append(entries, e)
		at = append(at, i)
	}
	if len(entries) == 0 {
		return answers
	}
	defer m.tellDropped(m.list.Dropped())
	var outcomes []awa.Outcome
	err := error(errBroken)
	if !m.broken.Load() {
		err = m.disk.retry(func() (err error) {
			outcomes, err = m.list.Decide(entries)
			return err
		})
		if err != nil {
			m.broken.Store(true)
		}
		if err != nil && !errors.Is(err, errEnding) {
			m.fail(fmt.Errorf("write the node list: %w", err))
		}
	}
	for j, i := range at {
		if err != nil {
			answers[i] = awa.Outcome{Err: errBroken}
		} else {
			answers[i] = outcomes[j]
		}
	}
	return answers
}

// StoreConfiguration implements raft.ConfigurationStore: the voters as they
// were agreed on.
func (m *machine) StoreConfiguration(index uint64, c raft.Configuration) {
	m.voters(voterSet(index, c.Servers))
}

func voterSet(index uint64, all []raft.Server) awa.VoterSet {
	v := awa.VoterSet{Index: index}
	for _, s := range all {
		if s.Suffrage == raft.Voter {
			v.UIDs = append(v.UIDs, string(s.ID))
		}
	}
	return v
}

// snapshotHead is the first line of a snapshot. In version 1, which agents send
// each other, one line for each change follows. In version 2, which they keep,
// nothing does: the list itself is on the same disk.
type snapshotHead struct {
	Version int         `json:"version"`
	Cluster string      `json:"cluster"`
	History awa.History `json:"history"`
	State   uint64      `json:"state"`
	Digest  awa.Digest  `json:"digest"` // older programs don't write it
	// Voters are those that were agreed on last: raft doesn't tell the state
	// machine of a configuration that comes with a snapshot.
	Voters awa.VoterSet `json:"voters"`
	// Index and Term are the place in Raft's log where the list had this state:
	// it may be further than Raft says. Older programs don't write them.
	Index uint64 `json:"index,omitempty"`
	Term  uint64 `json:"term,omitempty"`
}

// The versions of a snapshot.
const (
	snapshotWhole    = 1
	snapshotPosition = 2
)

// snapshot is the list up to a state. Since changes never change, it needs no
// copy: what is written is where the list was.
type snapshot struct{ head snapshotHead }

// Snapshot implements raft.FSM.
func (m *machine) Snapshot() (raft.FSMSnapshot, error) {
	if m.broken.Load() {
		return nil, errBroken
	}
	meta := m.list.Meta()
	head, err := headOf(m.list, meta, snapshotPosition)
	return &snapshot{head}, err
}

// headOf is the head of a snapshot of the part of a list that Raft has decided.
func headOf(list List, m awa.Meta, version int) (snapshotHead, error) {
	digest, held, err := list.DigestAt(m.State)
	if err == nil && !held {
		err = fmt.Errorf("the list does not hold change %d", m.State)
	}
	return snapshotHead{
		Version: version, Cluster: m.Cluster, History: m.History, State: m.State, Digest: digest,
		Voters: m.Voters, Index: m.Index, Term: m.Term,
	}, err
}

// Persist implements raft.FSMSnapshot.
func (s *snapshot) Persist(sink raft.SnapshotSink) error {
	if err := json.NewEncoder(sink).Encode(s.head); err != nil {
		return errors.Join(err, sink.Cancel())
	}
	return sink.Close()
}

// Release implements raft.FSMSnapshot.
func (s *snapshot) Release() {}

// page is how many changes are read, sent or applied at a time.
const page = 4096

// writeWhole writes a snapshot of version 1 out of the list.
func writeWhole(to io.Writer, list List, head snapshotHead) error {
	head.Version = snapshotWhole
	w := bufio.NewWriter(to)
	e := json.NewEncoder(w)
	if err := e.Encode(head); err != nil {
		return err
	}
	for at := uint64(0); at < head.State; {
		changes, err := list.Changes(at, int(min(page, head.State-at)))
		if err == nil && len(changes) == 0 {
			err = fmt.Errorf("the list does not hold change %d of the snapshot", at+1)
		}
		if err != nil {
			return err
		}
		for _, c := range changes {
			if err := e.Encode(c); err != nil {
				return err
			}
		}
		at += uint64(len(changes))
	}
	return w.Flush()
}

// Restore implements raft.FSM: it adds what Raft has not decided here yet. A
// list that Raft has brought further than the snapshot stays as it is.
func (m *machine) Restore(from io.ReadCloser) error {
	defer from.Close()
	d := json.NewDecoder(bufio.NewReader(from))
	var head snapshotHead
	if err := d.Decode(&head); err != nil {
		return fmt.Errorf("read snapshot: %w", err)
	}
	meta := m.list.Meta()
	if head.Version != snapshotWhole && head.Version != snapshotPosition || head.Cluster != meta.Cluster ||
		head.History != meta.History {
		return fmt.Errorf("the snapshot (version %d, cluster %s, history %s) is not of this list (cluster %s, history %s)", head.Version, head.Cluster, head.History, meta.Cluster, meta.History)
	}
	defer m.tellDropped(m.list.Dropped())
	if head.Version == snapshotPosition {
		return m.restorePosition(head)
	}
	var batch []awa.Change
	var last awa.Change
	if meta.State > head.State {
		head.State = 0 // nothing to read
	}
	for i := uint64(1); i <= head.State; i++ {
		if err := d.Decode(&last); err != nil {
			return fmt.Errorf("read change %d of the snapshot: %w", i, err)
		}
		if last.ID != i {
			return fmt.Errorf("change %d of the snapshot says that it is change %d", i, last.ID)
		}
		if i > meta.State {
			batch = append(batch, last)
		}
		if len(batch) == page {
			if err := m.prove(batch, 0, 0); err != nil {
				return fmt.Errorf("apply the snapshot: %w", err)
			}
			batch = nil
		}
	}
	index, term, voters := m.placeOf(head, last)
	if head.State >= meta.State {
		if err := m.prove(batch, index, term); err != nil {
			return fmt.Errorf("apply the snapshot: %w", err)
		}
	}
	if voters.Index > 0 {
		m.voters(voters)
	}
	return nil
}

// restorePosition marks what the list holds up to a snapshot as decided by Raft.
func (m *machine) restorePosition(head snapshotHead) error {
	digest, held, err := m.list.DigestAt(head.State)
	switch {
	case err != nil:
		return fmt.Errorf("read the list: %w", err)
	case !held || digest != head.Digest:
		return fmt.Errorf("the snapshot is of a list whose change %d has the digest %s, and this list has come to change "+
			"%d", head.State, head.Digest, m.list.State())
	}
	for at := m.list.Meta().State; at < head.State; {
		changes, err := m.list.Changes(at, int(min(page, head.State-at)))
		if err == nil {
			err = m.prove(changes, 0, 0)
		}
		if err != nil {
			return fmt.Errorf("read the list: %w", err)
		}
		at += uint64(len(changes))
	}
	index, term, voters := m.placeOf(head, awa.Change{})
	if err := m.prove(nil, index, term); err != nil {
		return fmt.Errorf("apply the snapshot: %w", err)
	}
	if voters.Index > 0 {
		m.voters(voters)
	}
	return nil
}

// prove adds changes of a snapshot to the list, once the disk takes writes.
func (m *machine) prove(changes []awa.Change, index, term uint64) error {
	return m.disk.retry(func() error { return m.list.Prove(changes, index, term) })
}

// placeOf is the place of a snapshot in Raft's log, and the voters at it. They
// are those of Raft's own file, which it has agreed on; what a program of
// before wrote into the snapshot may be what a peer had told it. With its list
// it may be ahead of Raft by what was pushed.
func (m *machine) placeOf(head snapshotHead, last awa.Change) (index, term uint64, voters awa.VoterSet) {
	index, term, voters = head.Index, head.Term, head.Voters
	if m.opened == nil || m.opened() == nil {
		return index, term, voters
	}
	file := m.opened()
	voters = voterSet(file.ConfigurationIndex, file.Configuration.Servers)
	if index == 0 {
		index, term = file.Index, file.Term
		if last.Index > index && last.Index-index <= pushedAhead {
			index, term = last.Index, last.Term
		}
	}
	return index, term, voters
}

// pushedAhead is how many entries the list in a snapshot of an older program
// may be ahead of Raft. Pushes came less than a second before.
const pushedAhead = page
