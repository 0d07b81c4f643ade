package awa

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// Notified is what people were notified of last, of a node or of a health code. The agents
// pass it on to each other, so that whoever notifies next does not repeat it.
type Notified struct {
	NodeID uint64 `json:"node_id,omitempty"` // 0 of a health code
	// Code is the health code, and Agent the name of the agent that it is of, if of one.
	Code  HealthCode `json:"code,omitempty"`
	Agent string     `json:"agent,omitempty"`

	Verdict  Verdict `json:"verdict,omitempty"`
	Instance string  `json:"instance,omitempty"` // of the agent of an online node, as in Self
	Flapping bool    `json:"flapping,omitempty"`
	Raised   bool    `json:"raised,omitempty"` // of a health code

	At   time.Time `json:"at"`             // by the clock of the agent that notified
	By   string    `json:"by"`             // its uid
	Done bool      `json:"done,omitempty"` // its handler has ended
}

// Key returns what it is about: there is one Notified for each key.
func (n Notified) Key() string {
	if n.Code != "" {
		return "code " + string(n.Code) + " " + n.Agent
	}
	return "node " + strconv.FormatUint(n.NodeID, 10)
}

// Same reports whether the two say the same of one key.
func (n Notified) Same(o Notified) bool {
	return n.Key() == o.Key() && n.Verdict == o.Verdict && n.Flapping == o.Flapping && n.Raised == o.Raised &&
		(n.Verdict != Online || n.Instance == o.Instance)
}

// Newer reports whether n was said after o. Of one time, that which is done is newer.
func (n Notified) Newer(o Notified) bool {
	if c := n.At.Compare(o.At); c != 0 {
		return c > 0
	}
	return cmp.Or(boolOrder(n.Done, o.Done), cmp.Compare(n.By, o.By)) > 0
}

func boolOrder(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// MaxNotified is how many an answer or a request may hold.
const MaxNotified = 2 * MaxNodes

// CheckNotified returns what is wrong with what an agent passes on, if anything.
func CheckNotified(all []Notified) error {
	if len(all) > MaxNotified {
		return fmt.Errorf("notified has %d elements: at most %d are allowed", len(all), MaxNotified)
	}
	for i, n := range all {
		err := errors.Join(
			checkNumber("node_id", n.NodeID), checkWord("code", string(n.Code), n.NodeID != 0),
			checkWord("verdict", string(n.Verdict), true), checkWord("instance", n.Instance, true),
			checkTime("at", n.At), checkWord("by", n.By, false),
		)
		if err == nil && n.Agent != "" {
			err = CheckName(n.Agent)
		}
		if err != nil {
			return fmt.Errorf("element %d of notified: %w", i, first(err))
		}
	}
	return nil
}
