package replica

import (
	"bufio"
	"errors"
	"fmt"
	"io"
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
	fail   func(error)        // stops the agent
	voters func(awa.VoterSet) // told of each committed configuration
	broken atomic.Bool        // the disk failed: nothing may be applied any more
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

// errBroken answers edits after the disk failed.
var errBroken = fault(awa.ErrStopping, "this agent's disk failed, so it stops: the edit may or may not have been made")

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
		var c command
		if err := json.Unmarshal(l.Data, &c); err != nil {
			answers[i] = awa.Outcome{Err: fault(awa.ErrBadInput, "entry %d of the voters' log is no edit", l.Index)}
			continue
		}
		entries = append(entries, awa.Entry{Index: l.Index, Term: l.Term, Edit: awa.Edit{Action: c.Action, Data: []byte(c.Data), Key: c.Key, ID: c.ID, IfChanged: c.IfChanged}})
		at = append(at, i)
	}
	if len(entries) == 0 {
		return answers
	}
	var outcomes []awa.Outcome
	err := error(errBroken)
	if !m.broken.Load() {
		if outcomes, err = m.list.Decide(entries); err != nil {
			m.broken.Store(true)
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

// snapshotHead is the first line of a snapshot; one line for each change
// follows. Version 1.
type snapshotHead struct {
	Version int         `json:"version"`
	Cluster string      `json:"cluster"`
	History awa.History `json:"history"`
	State   uint64      `json:"state"`
	// Voters are those that were agreed on last: raft doesn't tell the state
	// machine of a configuration that comes with a snapshot.
	Voters awa.VoterSet `json:"voters"`
}

// snapshot is the list up to a state. Since changes never change, it needs no
// copy: it is read from the list when Raft writes it.
type snapshot struct {
	list  List
	state uint64
}

// Snapshot implements raft.FSM.
func (m *machine) Snapshot() (raft.FSMSnapshot, error) {
	if m.broken.Load() {
		return nil, errBroken
	}
	return &snapshot{m.list, m.list.State()}, nil
}

// Persist implements raft.FSMSnapshot.
func (s *snapshot) Persist(sink raft.SnapshotSink) error {
	if err := s.write(sink); err != nil {
		return errors.Join(err, sink.Cancel())
	}
	return sink.Close()
}

// Release implements raft.FSMSnapshot.
func (s *snapshot) Release() {}

// page is how many changes are read, sent or applied at a time.
const page = 4096

func (s *snapshot) write(to io.Writer) error {
	m := s.list.Meta()
	return writeSnapshot(to, snapshotHead{1, m.Cluster, m.History, s.state, m.Voters}, func(at uint64) ([]awa.Change, error) {
		return s.list.Changes(at, int(min(page, s.state-at)))
	})
}

// writeSnapshot writes the changes that after gives piece by piece.
func writeSnapshot(to io.Writer, head snapshotHead, after func(state uint64) ([]awa.Change, error)) error {
	w := bufio.NewWriter(to)
	e := json.NewEncoder(w)
	if err := e.Encode(head); err != nil {
		return err
	}
	for at := uint64(0); at < head.State; {
		changes, err := after(at)
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

// Restore implements raft.FSM: it adds what the list lacks. A list that is
// ahead of the snapshot stays as it is.
func (m *machine) Restore(from io.ReadCloser) error {
	defer from.Close()
	d := json.NewDecoder(bufio.NewReader(from))
	var head snapshotHead
	if err := d.Decode(&head); err != nil {
		return fmt.Errorf("read snapshot: %w", err)
	}
	meta := m.list.Meta()
	if head.Version != 1 || head.Cluster != meta.Cluster || head.History != meta.History {
		return fmt.Errorf("the snapshot (version %d, cluster %s, history %s) is not of this list (cluster %s, history %s)", head.Version, head.Cluster, head.History, meta.Cluster, meta.History)
	}
	var batch []awa.Change
	for i := uint64(1); i <= head.State && m.list.State() < head.State; i++ {
		var c awa.Change
		if err := d.Decode(&c); err != nil {
			return fmt.Errorf("read change %d of the snapshot: %w", i, err)
		}
		if c.ID > m.list.State() {
			batch = append(batch, c)
		}
		if len(batch) == page || i == head.State {
			if err := m.list.Apply(batch); err != nil {
				return fmt.Errorf("apply the snapshot: %w", err)
			}
			batch = nil
		}
	}
	if head.Voters.Index > 0 {
		m.voters(head.Voters)
	}
	return nil
}
