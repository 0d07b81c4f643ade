package awa

import (
	"context"
	"errors"
	"fmt"
)

// Code is an error's name: the constants below are the sentinels to compare
// with errors.Is, and on the wire they stand in the "code" of an error.
type Code string

// The errors that cross package borders.
const (
	// ErrBadInput: a parameter, a body or a name is not what it must be.
	ErrBadInput Code = "bad_input"
	// ErrNameTaken: another node has this name (case does not count).
	ErrNameTaken Code = "name_taken"
	// ErrUIDTaken: another node has this uid.
	ErrUIDTaken Code = "uid_taken"
	// ErrUnknownNode: the list has no such node.
	ErrUnknownNode Code = "unknown_node"
	// ErrConflict: the node was changed since the caller read it.
	ErrConflict Code = "conflict"
	// ErrKeyReused: the idempotency key was used for another edit before.
	ErrKeyReused Code = "key_reused"
	// ErrGap: a change can't be applied because one before it is missing.
	ErrGap Code = "gap"
	// ErrNoMajority: too few voters can be reached to decide an edit.
	ErrNoMajority Code = "no_majority"
	// ErrUnknownOutcome: the edit may or may not have been made; it is safe
	// to repeat it with the same idempotency key.
	ErrUnknownOutcome Code = "unknown_outcome"
	// ErrNotJoined: the agent holds no list yet.
	ErrNotJoined Code = "not_joined"
	// ErrOtherCluster: the two sides belong to clusters bootstrapped apart.
	ErrOtherCluster Code = "other_cluster"
	// ErrOtherHistory: the two sides' lists belong to different histories.
	ErrOtherHistory Code = "other_history"
	// ErrDiverged: the two sides' lists contradict each other.
	ErrDiverged Code = "diverged"
	// ErrOtherAgent: another agent answers at an address than was meant.
	ErrOtherAgent Code = "other_agent"
	// ErrNoAgent: what answers at an address is not an agent.
	ErrNoAgent Code = "no_agent"
	// ErrNotReachable: nothing answered at an address.
	ErrNotReachable Code = "not_reachable"
	// ErrInUse: another process holds the data folder.
	ErrInUse Code = "in_use"
	// ErrDamaged: a file can't be what this program wrote.
	ErrDamaged Code = "damaged"
	// ErrFormat: a file's format version is not known to this program.
	ErrFormat Code = "unknown_format"
	// ErrPlainHTTP: one side speaks HTTP without TLS, and the other one TLS.
	ErrPlainHTTP Code = "plain_http"
	// ErrForbidden: the caller's key is not enough for the call, or is not
	// accepted any more.
	ErrForbidden Code = "forbidden"
	// ErrNoNodes: the list holds no node.
	ErrNoNodes Code = "no_nodes"
	// ErrStarting: the agent has not looked around yet since it was started.
	ErrStarting Code = "starting"
	// ErrStopping: the agent is shutting down.
	ErrStopping Code = "stopping"
	// ErrShortage: this process lacks file descriptors, local ports or memory,
	// so that it could not look, and says nothing of whom it wanted to look at.
	ErrShortage Code = "shortage"
)

// Error implements error.
func (c Code) Error() string { return string(c) }

// Fault is an error with a sentence for people and a Code for programs.
// errors.Is(fault, code) holds for its code.
type Fault struct {
	Code Code
	Text string // one sentence: what happened, to what, and what to do next
}

// Faultf returns a *Fault whose sentence is formatted as by fmt.Sprintf.
func Faultf(code Code, format string, args ...any) error {
	return &Fault{Code: code, Text: fmt.Sprintf(format, args...)}
}

// NotJoined returns the Fault (ErrNotJoined) of an agent that holds no list yet. A
// name of "" stands for the agent that says so.
func NotJoined(agent string) error {
	who := "this agent"
	if agent != "" {
		who = "agent " + agent
	}
	return Faultf(ErrNotJoined, "%s holds no list yet: ask another one, or wait until it has joined", who)
}

// Error returns the sentence.
func (f *Fault) Error() string { return f.Text }

// Unwrap returns the code, so that errors.Is finds it.
func (f *Fault) Unwrap() error { return f.Code }

// IsTimeout reports whether an error says that a time was over, be it a deadline of a
// context or of a connection.
func IsTimeout(err error) bool {
	var late interface{ Timeout() bool }
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &late) && late.Timeout()
}
