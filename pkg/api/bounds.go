package api

import (
	"context"
	"fmt"
	"time"

	"are-we-alive/pkg/api/internal/wire"
	"are-we-alive/pkg/awa"
)

// MaxTime is how long a call may last, whatever its context allows. It is far
// more than a sweep, an edit or a page of changes takes.
const MaxTime = time.Minute

// Bounds of every answer, in bytes.
const (
	// MaxLine is the longest line of a head, with its line break.
	MaxLine = 8 << 10
	// MaxHead is the longest head with the answers 1xx before it, and the
	// longest trailer.
	MaxHead = 16 << 10
	// MaxRefusal is the largest body of an answer with another status than the
	// call is made for, with its framing: a sentence of at most awa.MaxText
	// bytes, and a code. It holds for every call.
	MaxRefusal = 8 << 10
)

// MaxChanges is how many changes one call brings. Whoever wants more asks again
// for those after the last one.
const MaxChanges = 250

// MaxEvents is how many events one call brings at most.
const MaxEvents = 500

// Bound is the most that we take of the answer to a call: the whole of it,
// that is the answers 1xx before it, its head, its body with the framing and
// the extensions of chunks, and the trailer.
type Bound struct {
	// Bytes it may have. Reading ends there, and the connection is closed.
	Bytes int
	// Elements are how many elements of arrays and members of objects there
	// may be at the first two levels of its JSON, counted before anything is
	// decoded: an empty element costs three bytes here, and hundreds once it
	// is decoded. 0 means that nobody decodes it.
	Elements int
	// Values are how many there may be at all levels; 0 leaves that to Bytes,
	// where no element costs much more when it is decoded than it has bytes.
	Values int
}

// What the bounds are made of, in bytes.
const (
	// someFields are the other members of a JSON object, whatever it is.
	someFields = 256
	// nodeBytes is what a node costs in a status or a list, on the average of
	// many: 500 with all that we send of it, and the rest for its labels.
	nodeBytes = 2 << 10
	// opinionBytes holds a sentence of awa.MaxText, each character of it escaped.
	opinionBytes = 2*awa.MaxText + 560
	// changeBytes holds the data of a change, each character of it escaped, and its key.
	changeBytes = 2*awa.MaxData + 1<<10
	// eventBytes holds the cause of an event, each character of it escaped.
	eventBytes = 2*awa.MaxText + 2<<10
	// shareBytes and notifiedBytes hold names and numbers.
	shareBytes    = 512
	notifiedBytes = 512
)

// The bounds of the calls. The documentation of this package shows them as a
// table, which a test compares with these functions.

// PingBound is that of GET /ping: an agent's answer has some 500 bytes.
func PingBound() Bound { return Bound{Bytes: 64 << 10, Elements: someFields} }

// StatusBound is that of GET /v1/status and GET /v1/view.
func StatusBound() Bound {
	return Bound{64<<10 + nodeBytes*awa.MaxNodes, someFields + awa.MaxNodes, 128 * awa.MaxNodes}
}

// NodesBound is that of GET /v1/nodes.
func NodesBound() Bound {
	return Bound{Bytes: 64<<10 + nodeBytes*awa.MaxNodes, Elements: someFields + awa.MaxNodes}
}

// ProbeBound is that of POST /v1/probe for so many nodes.
func ProbeBound(nodes int) Bound {
	nodes = min(nodes, awa.MaxNodes)
	return Bound{Bytes: 64<<10 + opinionBytes*nodes, Elements: someFields + nodes}
}

// ChangesBound is that of GET /sync and GET /v1/changes for at most so many
// changes, of which no call brings more than MaxChanges.
func ChangesBound(limit int) Bound {
	return Bound{Bytes: 64<<10 + changeBytes*limit, Elements: someFields + 16*limit}
}

// EditBound is that of POST /v1/changes: one node, each character of it escaped.
func EditBound() Bound { return Bound{Bytes: 64 << 10, Elements: someFields} }

// PushBound is that of POST /push, POST /v1/goodbye and POST /v1/notified, which answer with
// a few words.
func PushBound() Bound { return Bound{Bytes: 20 << 10} }

// EventsBound is that of GET /v1/events for at most so many events.
func EventsBound(limit int) Bound {
	return Bound{Bytes: 64<<10 + eventBytes*limit, Elements: someFields + limit}
}

// AvailabilityBound is that of GET /v1/availability.
func AvailabilityBound() Bound {
	return Bound{64<<10 + shareBytes*awa.MaxNodes, someFields + awa.MaxNodes, 32 * awa.MaxNodes}
}

// NotifiedBound is that of GET /v1/notified.
func NotifiedBound() Bound {
	return Bound{64<<10 + notifiedBytes*awa.MaxNotified, someFields + awa.MaxNotified, 32 * awa.MaxNotified}
}

// RaftBound is that of POST /v1/raft: a head without body. What follows it is
// the stream.
func RaftBound() Bound { return Bound{Bytes: MaxHead} }

// boundOf is the bound of a request's answer.
func boundOf(req request) Bound {
	switch req.path {
	case wire.PathPing:
		return PingBound()
	case wire.PathStatus1, wire.PathView:
		return StatusBound()
	case wire.PathNodes:
		return NodesBound()
	case wire.PathProbe:
		return ProbeBound(req.items)
	case wire.PathSync:
		return ChangesBound(req.items)
	case wire.PathChanges:
		if req.method == methodPost {
			return EditBound()
		}
		return ChangesBound(req.items)
	case wire.PathEvents:
		return EventsBound(req.items)
	case wire.PathAvailability:
		return AvailabilityBound()
	case wire.PathNotified:
		if req.method == methodPost {
			return PushBound()
		}
		return NotifiedBound()
	case wire.PathPush, wire.PathGoodbye:
		return PushBound()
	case wire.PathRaft:
		return RaftBound()
	}
	panic("api: a call without a bound: " + req.path)
}

// page is the limit of a call that brings changes, which 0 leaves to us.
func page(limit int) int {
	if limit <= 0 {
		return MaxChanges
	}
	return min(limit, MaxChanges)
}

// inTime bounds a call's time.
func inTime(ctx context.Context) (context.Context, context.CancelFunc) {
	if at, ok := ctx.Deadline(); ok && time.Until(at) <= MaxTime {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, MaxTime)
}

// check counts what an answer's JSON holds, valid or not.
func (b Bound) check(body []byte) error {
	elements, values, level := 0, 0, 0
	for i := 0; i < len(body); i++ {
		switch body[i] {
		case '"':
			for i++; i < len(body) && body[i] != '"'; i++ {
				if body[i] == '\\' {
					i++
				}
			}
		case '[', '{':
			level++
		case ']', '}':
			level--
		case ',':
			if values++; level <= 2 {
				elements++
			}
		}
	}
	switch {
	case elements > b.Elements:
		return fmt.Errorf("%w (its JSON has more than %d elements)", errNoAgent, b.Elements)
	case b.Values > 0 && values > b.Values:
		return fmt.Errorf("%w (its JSON has more than %d values)", errNoAgent, b.Values)
	}
	return nil
}
