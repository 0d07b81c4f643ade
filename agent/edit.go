package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/goccy/go-json"

	"are-we-alive/pkg/api"
	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/backoff"
)

// editTries is how often a command sends one edit whose answer is lost. Its
// key makes that safe: an edit that was made already answers as it did then.
const editTries = 3

// editConflicts is how often a command reads a node again because somebody else
// has just changed it.
const editConflicts = 10

// newPauses returns the pauses before something is tried again. They are random, so that
// commands which got into each other's way don't meet again.
func newPauses() *backoff.Backoff { return backoff.New(50*time.Millisecond, time.Second) }

// nodeEdit is an edit that a command asks for.
type nodeEdit struct {
	action    awa.Action
	fields    map[string]any
	ifChanged uint64
}

// made is an edit that was made.
type made struct {
	change uint64
	node   awa.Node // as it is now, or as it was before a DELETE
}

// edit makes an edit at an agent.
func (e nodeEdit) edit(ctx context.Context, client *api.Client, addr string) (made, error) {
	e.fields["by"] = editor()
	b, err := json.Marshal(e.fields)
	if err != nil {
		return made{}, err
	}
	edit := awa.Edit{Action: e.action, Data: b, Key: awa.NewUID(), IfChanged: e.ifChanged}
	if err := edit.Check(); err != nil {
		return made{}, usageError{err}
	}
	id, node, err := sendEdit(ctx, client, addr, edit)
	return made{id, node}, err
}

// print prints what was made: as a sentence, or as JSON.
func (t target) print(std streams, m made, sentence string) error {
	if t.Output == "json" {
		answer := map[string]any{"id": m.change}
		if m.node.Changed == m.change {
			answer["node"] = m.node
		}
		return printJSON(std.out, answer)
	}
	_, err := fmt.Fprintf(std.out, "%s (change %d).\n", printable(sentence), m.change)
	return err
}

// isAt is the sentence on a node that was added or changed.
func isAt(n awa.Node) string { return fmt.Sprintf("%s is node %d at %s", n.Name, n.ID, n.Addr()) }

// sendEdit sends an edit until its outcome is known, at most editTries times.
// Once an answer was lost, the edit may have been made whatever a later try is
// told: another agent may have answered that one, of another cluster even, or
// the first try may still be on its way. Only a success proves anything then,
// and a refusal of the edit as such, which every agent answers alike. All else is
// an error with awa.ErrUnknownOutcome.
func sendEdit(ctx context.Context, client *api.Client, addr string, e awa.Edit) (uint64, awa.Node, error) {
	var lost error // of the first try whose answer was lost
	for try, pauses := 1, newPauses(); ; try++ {
		id, node, err := client.Edit(ctx, addr, e, 0)
		switch {
		case err == nil:
			return id, node, nil
		case errors.Is(err, awa.ErrBadInput):
			return 0, awa.Node{}, err
		case lost == nil && !isLost(err):
			return 0, awa.Node{}, unsentError{err}
		case lost == nil:
			lost = err
		}
		if definite(err) || try == editTries || pauses.Wait(ctx) != nil {
			return 0, awa.Node{}, unknownOutcome(addr, lost, err)
		}
	}
}

// unsentError is the end of a command that has changed nothing.
type unsentError struct{ error }

// Unwrap returns the cause.
func (e unsentError) Unwrap() error { return e.error }

// isLost reports whether an edit was sent and nobody knows what became of it.
func isLost(err error) bool {
	var ping *awa.PingError
	return errors.Is(err, awa.ErrUnknownOutcome) || errors.As(err, &ping) && ping.Stage == awa.StageReply
}

// definite reports whether another try would get the same answer: an agent
// refused, or what answers is not one.
func definite(err error) bool {
	var fault *awa.Fault
	return errors.As(err, &fault) && !errors.Is(err, awa.ErrUnknownOutcome) && !errors.Is(err, awa.ErrNoMajority) &&
		!errors.Is(err, awa.ErrStopping)
}

// unknownOutcome is what a person reads when nobody knows whether an edit was
// made; last is the error of the last try.
func unknownOutcome(addr string, lost, last error) error {
	then := ""
	if last.Error() != lost.Error() {
		then = fmt.Sprintf(", and a further try got: %v", last)
	}
	return awa.Faultf(awa.ErrUnknownOutcome,
		"it is not known whether the edit was made: it was sent to the agent at %s and got no definite answer (%v)%s; "+
			"see awa-agent node list or awa-agent changes, and repeat the command if the edit is not there", addr, lost, then)
}
