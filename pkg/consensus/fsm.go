package consensus

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

// fsm is the list as Raft's state machine. The list is on disk and knows
// up to where the log is applied to it, so a replay after a crash changes
// nothing.
type fsm struct {
	list   List
	disk   *Disk
	fail   func(error)               // stops the agent
	voters func(awa.VoterSet)        // called with each committed configuration
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

// logDropped logs when changes had to give way to what Raft has, since before so many
// had.
func logDropped(log *slog.Logger, list List, before uint64) {
	if n := list.Dropped() - before; n > 0 {
		log.Error("the list held changes that the voters never agreed on: they were dropped, and the list is now that of "+
			"the voters", "changes", n, "state", list.State())
	}
}

// errBroken answers edits after the disk failed.
var errBroken = awa.Faultf(awa.ErrUnknownOutcome, "it is not known whether the edit was made, since this agent's "+
	"disk failed and it stops: repeat it with the same Idempotency-Key at another agent, or read the list there")

// Apply implements raft.FSM.
func (m *fsm) Apply(l *raft.Log) any { return m.ApplyBatch([]*raft.Log{l})[0] }

// ApplyBatch implements raft.BatchingFSM. The answers are awa.Outcome.
func (m *fsm) ApplyBatch(logs []*raft.Log) []any {
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
			answers[i] = awa.Outcome{Err: awa.Faultf(awa.ErrBadInput, "entry %d of the voters' log is not an edit", l.Index)}
			continue
		}
		entries = append(entries, e)
		at = append(at, i)
	}
	if len(entries) == 0 {
		return answers
	}
	defer logDropped(m.log, m.list, m.list.Dropped())
	var outcomes []awa.Outcome
	err := error(errBroken)
	if !m.broken.Load() {
		err = m.disk.Retry(func() (err error) {
			outcomes, err = m.list.Decide(entries)
			return err
		})
		if err != nil {
			m.broken.Store(true)
		}
		if err != nil && !errors.Is(err, ErrEnding) {
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
func (m *fsm) StoreConfiguration(index uint64, c raft.Configuration) {
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

// Snapshot implements raft.FSM.
func (m *fsm) Snapshot() (raft.FSMSnapshot, error) {
	if m.broken.Load() {
		return nil, errBroken
	}
	meta := m.list.Meta()
	head, err := headOf(m.list, meta, snapshotPosition)
	return &snapshot{head}, err
}

// Restore implements raft.FSM: it adds what Raft has not decided here yet. A
// list that Raft has brought further than the snapshot stays as it is.
func (m *fsm) Restore(from io.ReadCloser) error {
	defer from.Close()
	d := json.NewDecoder(bufio.NewReader(from))
	var head snapshotHead
	if err := d.Decode(&head); err != nil {
		return fmt.Errorf("read snapshot: %w", err)
	}
	meta := m.list.Meta()
	if head.Version != snapshotWhole && head.Version != snapshotPosition || head.Cluster != meta.Cluster ||
		head.History != meta.History {
		return fmt.Errorf("the snapshot (version %d, cluster %s, history %s) is not of this list (cluster %s, history %s)",
			head.Version, head.Cluster, head.History, meta.Cluster, meta.History)
	}
	defer logDropped(m.log, m.list, m.list.Dropped())
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
func (m *fsm) restorePosition(head snapshotHead) error {
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
func (m *fsm) prove(changes []awa.Change, index, term uint64) error {
	return m.disk.Retry(func() error { return m.list.Prove(changes, index, term) })
}

// placeOf is the place of a snapshot in Raft's log, and the voters at it. They
// are those of Raft's own file, which it has agreed on; what an earlier
// version wrote into the snapshot may be what a peer had claimed. With its list
// it may be ahead of Raft by what was pushed.
func (m *fsm) placeOf(head snapshotHead, last awa.Change) (index, term uint64, voters awa.VoterSet) {
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
