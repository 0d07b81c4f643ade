// Package awa holds the words of are-we-alive: nodes, changes and the list
// they make, histories, verdicts, and the errors that cross package borders.
//
// It owns the rules that must be the same on every agent: what a name, a host,
// a port and a change's data may look like, and what a change does to the
// node list. It knows no file, no network and no clock; the packages around it
// bring those. It uses the standard library only.
package awa

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// NewUID makes 128 random bits in hex: an agent's uid, a cluster's id, an
// idempotency key.
func NewUID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails, see crypto/rand.Read
	return hex.EncodeToString(b[:])
}

// History names a line of changes. Two agents whose histories differ hold
// lists that may contradict each other and must not be mixed.
type History struct {
	Epoch uint64 // 1 at bootstrap, one more each time a list is founded again
	ID    string // random, hex
}

// NewHistory makes the history that follows the given one; NewHistory of the
// zero History is the first of a cluster.
func NewHistory(after History) History {
	return History{Epoch: after.Epoch + 1, ID: NewUID()[:16]}
}

// String returns the form used on the wire and on disk, such as
// "1-5f3a0c21b7e94d10"; the zero History returns "".
func (h History) String() string {
	if h == (History{}) {
		return ""
	}
	return strconv.FormatUint(h.Epoch, 10) + "-" + h.ID
}

// ParseHistory reads what String wrote.
func ParseHistory(s string) (History, error) {
	if s == "" {
		return History{}, nil
	}
	epoch, id, ok := strings.Cut(s, "-")
	n, err := strconv.ParseUint(epoch, 10, 64)
	h := History{Epoch: n, ID: id}
	if !ok || err != nil || n == 0 || checkHistory(h) != nil {
		return History{}, fmt.Errorf("%q is not a history: it looks like 1-5f3a0c21b7e94d10", Clip(s))
	}
	return h, nil
}

// MarshalText implements encoding.TextMarshaler with String.
func (h History) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler with ParseHistory.
func (h *History) UnmarshalText(b []byte) error {
	var err error
	*h, err = ParseHistory(string(b))
	return err
}

// Caller is what a request or a stream says of the agent it comes from. A
// monitoring client says nothing: the zero Caller.
type Caller struct {
	UID string
	// Instance is the one of Self; "" when it does not say.
	Instance string
	Cluster  string
	History  History
	State    uint64
	Digest   Digest // of its list; zero when it does not say
	// Addr is where it can be reached, as it says; "" when it does not say.
	Addr string
	// IP is the address that its connection came from, which it does not say itself.
	IP string
}

// Clip shortens what somebody sent before it goes into a message: to 80 bytes, between two
// characters.
func Clip(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
