// Package wire is what the agent's server and its clients share: the paths,
// headers and JSON shapes of the HTTP interface. The first four calls are the
// original program's, with its JSON.
//
// It owns the names and shapes that stand on the wire. How HTTP itself is
// read and written is left to pkg/api and pkg/api/server.
package wire

import (
	"strconv"

	"are-we-alive/pkg/awa"
)

// The paths.
const (
	PathPing    = "/ping"
	PathStatus  = "/status"
	PathSync    = "/sync"
	PathPush    = "/push"
	PathStatus1 = "/v1/status"
	PathNodes   = "/v1/nodes"
	PathChanges = "/v1/changes"
	PathProbe   = "/v1/probe"
	PathView    = "/v1/view"
	PathRaft    = "/v1/raft"

	PathEvents       = "/v1/events"
	PathAvailability = "/v1/availability"
	PathGoodbye      = "/v1/goodbye"
	PathNotified     = "/v1/notified"
)

// The headers in which agents say who they are and what they
// hold. A request with a uid comes from an agent; other clients send none.
const (
	HeaderUID     = "Awa-Uid"
	HeaderCluster = "Awa-Cluster"
	HeaderHistory = "Awa-History"
	HeaderState   = "Awa-State"
	HeaderDigest  = "Awa-Digest" // of the list at that state; may be missing
	HeaderAddr    = "Awa-Addr"   // host:port of the agent that asks; may be missing
	// HeaderInstance is the instance of the agent that asks; may be missing.
	HeaderInstance = "Awa-Instance"
	// HeaderTo is the uid of the agent that a Raft stream is meant for.
	HeaderTo = "Awa-To"
	// HeaderHops counts how often an edit was passed on.
	HeaderHops = "Awa-Hops"
	// HeaderKey makes an edit safe to repeat.
	HeaderKey = "Idempotency-Key"
)

// What POST /push answers with, as the original does.
const (
	PushApplied = "Change applied"
	PushHeld    = "Change already applied"
)

// RaftProtocol is the name of a Raft stream in the Upgrade header.
const RaftProtocol = "awa-raft/1"

// Codes that only the HTTP interface returns.
const (
	CodeNotFound awa.Code = "not_found"
	CodeMethod   awa.Code = "method_not_allowed"
	CodeTooLarge awa.Code = "too_large"
	CodeInternal awa.Code = "internal"
	CodeTooMany  awa.Code = "too_many" // requests of one caller at once
)

// Header is a header's name and value.
type Header struct{ Name, Value string }

// AppendCaller adds the headers that say who asks; none for a zero Caller.
func AppendCaller(h []Header, c awa.Caller) []Header {
	if c.UID == "" {
		return h
	}
	h = append(h, Header{HeaderUID, c.UID}, Header{HeaderState, strconv.FormatUint(c.State, 10)})
	if c.Cluster != "" {
		h = append(h, Header{HeaderCluster, c.Cluster}, Header{HeaderHistory, c.History.String()})
	}
	if c.Digest != (awa.Digest{}) {
		h = append(h, Header{HeaderDigest, c.Digest.String()})
	}
	if c.Addr != "" {
		h = append(h, Header{HeaderAddr, c.Addr})
	}
	if c.Instance != "" {
		h = append(h, Header{HeaderInstance, c.Instance})
	}
	return h
}

// CallerOf reads who asks; get returns a header's value, or "". It fails with
// awa.ErrBadInput when the headers can't be what AppendCaller gave.
func CallerOf(get func(name string) string) (awa.Caller, error) {
	c := awa.Caller{UID: get(HeaderUID), Instance: get(HeaderInstance), Cluster: get(HeaderCluster), Addr: get(HeaderAddr)}
	if c.UID == "" {
		return awa.Caller{}, nil
	}
	var err error
	if len(c.UID) > 64 || len(c.Cluster) > 64 || len(c.Instance) > 64 {
		return awa.Caller{}, awa.Faultf(awa.ErrBadInput, "the headers %s, %s and %s must be at most 64 characters",
			HeaderUID, HeaderCluster, HeaderInstance)
	}
	if c.History, err = awa.ParseHistory(get(HeaderHistory)); err != nil {
		return awa.Caller{}, awa.Faultf(awa.ErrBadInput, "the header %s: %v", HeaderHistory, err)
	}
	if c.State, err = strconv.ParseUint(get(HeaderState), 10, 64); err != nil {
		return awa.Caller{}, awa.Faultf(awa.ErrBadInput, "the header %s must be a number", HeaderState)
	}
	if c.Digest, err = awa.ParseDigest(get(HeaderDigest)); err != nil {
		return awa.Caller{}, awa.Faultf(awa.ErrBadInput, "the header %s: %v", HeaderDigest, err)
	}
	if c.Addr != "" {
		if _, _, err := awa.ParseAddr(c.Addr, awa.DefaultPort); err != nil {
			return awa.Caller{}, awa.Faultf(awa.ErrBadInput, "the header %s: %v", HeaderAddr, err)
		}
	}
	return c, nil
}
