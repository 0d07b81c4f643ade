package consensus

import (
	"encoding/json"
	"errors"
	"fmt"

	"are-we-alive/pkg/awa"
)

// Adoption makes this agent's list the beginning of another one: what comes after
// a state is dropped, and Raft's log and snapshots with it.
type Adoption struct {
	From    uint64       `json:"from"`  // state of the list before
	State   uint64       `json:"state"` // up to which the two lists are the same
	Cluster string       `json:"cluster"`
	History awa.History  `json:"history"`
	Fork    awa.Position `json:"fork"`
	// Switch reports whether the history is another one. Raft starts from
	// nothing there, so its term and what it dropped before don't count.
	Switch bool `json:"switch"`
}

// Adopt carries out an adoption, and reports whether it was. done is false, and nothing was dropped, when the
// list is not at its From any more. Raft must be stopped.
func (c *Consensus) Adopt(a Adoption) (done bool, err error) {
	b, err := json.Marshal(a)
	if err == nil {
		err = c.list.SetStable(adoptingKey, b)
	}
	if err != nil {
		return false, err
	}
	return c.finishAdopting()
}

// finishAdopting does what Adopt has decided, if there is something.
func (c *Consensus) finishAdopting() (done bool, err error) {
	list := c.list
	b, ok, err := list.Stable(adoptingKey)
	if err != nil || !ok {
		return false, err
	}
	var a Adoption
	if err := json.Unmarshal(b, &a); err != nil {
		return false, fmt.Errorf("read %s: %w", adoptingKey, err)
	}
	if a.Cluster == "" {
		return false, nil
	}
	m := list.Meta()
	if m.Cluster != a.Cluster || m.History != a.History || list.State() != a.State {
		err := list.Rebase(a.From, a.State, a.Cluster, a.History, a.Fork)
		if errors.Is(err, awa.ErrConflict) { // it got a change in between
			return false, list.SetStable(adoptingKey, []byte(none))
		}
		if err != nil {
			return false, err
		}
	}
	if err := c.dropLog(a.Switch); err != nil {
		return false, err
	}
	return true, list.SetStable(adoptingKey, []byte(none))
}

// dropLog drops Raft's log and snapshots; with reset, its votes as well.
func (c *Consensus) dropLog(reset bool) error {
	if !reset {
		if err := c.setFloor(); err != nil {
			return err
		}
		return Forget(c.list, c.cfg.Dir)
	}
	if err := Forget(c.list, c.cfg.Dir); err != nil {
		return err
	}
	for key, value := range map[string][]byte{
		"CurrentTerm": bigEndian(0), "LastVoteTerm": bigEndian(0), floorKey: make([]byte, 16), retiredKey: []byte(none),
	} {
		if err := c.list.SetStable(key, value); err != nil {
			return err
		}
	}
	return nil
}
