package awa

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Limits on what a node may hold. They keep one node from filling every
// agent's disk; all are far above what a person would type.
const (
	MaxName       = 63
	MaxHost       = 253 // RFC 1035, section 2.3.4, without the trailing dot
	MaxLabels     = 64
	MaxLabelValue = 255
	MaxReason     = 255
	MaxData       = 16 << 10 // bytes of a change's data
)

// Node is an entry of the node list. In JSON it is one flat object: the known keys, then
// those of Extra, sorted. A new field needs a line in nodeFields too.
type Node struct {
	ID          uint64            `json:"id"`                    // assigned by CREATE, counted up, never used twice
	Name        string            `json:"name"`                  // unique, compared without regard to case
	Host        string            `json:"host"`                  // DNS name or IP address, v6 without brackets
	Port        Port              `json:"port"`                  //
	UID         string            `json:"uid,omitempty"`         // the agent's; "" until an agent registered itself
	Labels      map[string]string `json:"labels,omitempty"`      // may be nil
	Maintenance string            `json:"maintenance,omitempty"` // RFC 3339 time at which it ends; "" for none
	Reason      string            `json:"reason,omitempty"`      // why it is under maintenance
	Ephemeral   string            `json:"ephemeral,omitempty"`   // for how long it may be offline before it is removed: "72h"
	Configured  []string          `json:"configured,omitempty"`  // what its agent's configuration sets of it, see Configure
	Changed     uint64            `json:"changed,omitempty"`     // id of the last change of this node

	// Extra keeps the keys of a change's data that this version doesn't know.
	Extra map[string]json.RawMessage `json:"-"`
}

// NodeFields is a Node without its methods, for shapes in JSON that hold the known keys of
// a node among others.
type NodeFields Node

// Key returns the form of the name in which names are compared.
func (n Node) Key() string { return NameKey(n.Name) }

// NameKey is the form in which names are compared.
func NameKey(name string) string { return strings.ToLower(name) }

// Addr returns host:port, with brackets round an IPv6 address.
func (n Node) Addr() string { return Addr(n.Host, n.Port) }

// Addr joins a host and a port, with brackets round an IPv6 address.
func Addr(host string, port Port) string {
	if strings.Contains(host, ":") {
		return "[" + host + "]:" + port.String()
	}
	return host + ":" + port.String()
}

// ParseAddr reads HOST, HOST:PORT, an IPv6 address with or without brackets,
// or [V6]:PORT. A missing port is def.
func ParseAddr(s string, def Port) (string, Port, error) {
	host, port := s, ""
	switch {
	case strings.HasPrefix(s, "["):
		end := strings.IndexByte(s, ']')
		if end < 0 {
			return "", 0, fmt.Errorf("%q is not an address: the bracket is not closed", Clip(s))
		}
		rest := s[end+1:]
		if rest != "" && !strings.HasPrefix(rest, ":") {
			return "", 0, fmt.Errorf("%q is not an address: only :PORT may follow the bracket", Clip(s))
		}
		host, port = s[1:end], strings.TrimPrefix(rest, ":")
		if rest == ":" {
			return "", 0, fmt.Errorf("%q is not an address: the port after the colon is missing", Clip(s))
		}
	case strings.Count(s, ":") == 1:
		host, port, _ = strings.Cut(s, ":")
		if port == "" {
			return "", 0, fmt.Errorf("%q is not an address: the port after the colon is missing", Clip(s))
		}
	}
	if err := CheckHost(host); err != nil {
		return "", 0, err
	}
	if port == "" {
		return host, def, nil
	}
	p, err := ParsePort(port)
	return host, p, err
}

// CheckName says what is wrong with a node's name, if anything:
// [A-Za-z0-9][A-Za-z0-9._-]{0,62}.
func CheckName(name string) error {
	ok := name != "" && len(name) <= MaxName && strings.IndexByte("._-", name[0]) < 0
	for i := 0; ok && i < len(name); i++ {
		ok = isNameByte(name[i])
	}
	if !ok {
		return fmt.Errorf("%q is not a name for a node: use 1 to 63 letters, digits, dots, dashes and underscores, a "+
			"letter or digit first", Clip(name))
	}
	return nil
}

func isNameByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("._-", c) >= 0
}

// CheckHost says what is wrong with a host, if anything: it is a DNS name or
// an IP address, v6 without brackets (a zone, as in fe80::1%eth0, is allowed).
func CheckHost(host string) error {
	if host == "" {
		return fmt.Errorf("the host is empty: give a DNS name or an IP address")
	}
	if len(host) > MaxHost {
		return fmt.Errorf("the host has %d characters: at most %d are allowed", len(host), MaxHost)
	}
	if strings.Contains(host, ":") {
		addr, err := netip.ParseAddr(host)
		for i := 0; err == nil && i < len(addr.Zone()); i++ {
			if !isNameByte(addr.Zone()[i]) {
				err = fmt.Errorf("bad zone")
			}
		}
		if err != nil {
			return fmt.Errorf("%q is not a host: an IPv6 address is written without brackets and without a port", Clip(host))
		}
		return nil
	}
	for i := 0; i < len(host); i++ {
		if !isNameByte(host[i]) {
			return fmt.Errorf("%q is not a host: give a DNS name or an IP address", Clip(host))
		}
	}
	for label := range strings.SplitSeq(strings.TrimSuffix(host, "."), ".") {
		if label == "" || len(label) > 63 || label[0] == '-' {
			return fmt.Errorf("%q is not a host: give a DNS name or an IP address", Clip(host))
		}
	}
	return nil
}

// CheckReachable says why a host, which CheckHost allows, can't be one under which
// others reach a node, if anything: it stands for no machine, or for many. A list may
// hold such a host, since earlier programs took it.
func CheckReachable(host string) error {
	addr, err := netip.ParseAddr(host)
	if err != nil {
		last := host[strings.LastIndexByte(strings.TrimSuffix(host, "."), '.')+1:]
		if _, err := strconv.ParseUint(strings.TrimSuffix(last, "."), 10, 64); err == nil {
			return fmt.Errorf("%q is not an IPv4 address, which has four numbers from 0 to 255, and a DNS name can't "+
				"end with a number: use one of these", Clip(host))
		}
		return nil
	}
	switch addr = addr.Unmap(); {
	case addr.IsUnspecified():
		return fmt.Errorf("%s stands for every address of a machine: use the one under which others reach it", host)
	case addr.IsMulticast(), addr == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return fmt.Errorf("%s stands for many machines: use the address of one", host)
	}
	return nil
}

// Port is a TCP port, 1 to 65535. In JSON it is read as a number or a string
// and written as a string, as the original program does.
type Port uint16

// ParsePort reads a port in decimal.
func ParsePort(s string) (Port, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 || s[0] == '+' {
		return 0, fmt.Errorf("%q is not a port: use a number from 1 to 65535", Clip(s))
	}
	return Port(n), nil
}

// String returns the port in decimal.
func (p Port) String() string { return strconv.Itoa(int(p)) }

// MarshalJSON writes the port as a string.
func (p Port) MarshalJSON() ([]byte, error) { return strconv.AppendQuote(nil, p.String()), nil }

// UnmarshalJSON reads a number or a string.
func (p *Port) UnmarshalJSON(b []byte) error {
	s := string(bytes.TrimSpace(b))
	if len(s) > 1 && s[0] == '"' {
		if err := json.Unmarshal(b, &s); err != nil {
			return err
		}
	}
	var err error
	*p, err = ParsePort(s)
	return err
}

// CheckLabels says what is wrong with a node's labels, if anything.
func CheckLabels(labels map[string]string) error {
	if len(labels) == 0 { // as most nodes have it
		return nil
	}
	if len(labels) > MaxLabels {
		return fmt.Errorf("%d labels are too many: at most %d are allowed", len(labels), MaxLabels)
	}
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		if CheckName(k) != nil {
			return fmt.Errorf("%q is not a name for a label: use 1 to 63 letters, digits, dots, dashes and underscores, a "+
				"letter or digit first", Clip(k))
		}
		v := labels[k]
		if len(v) > MaxLabelValue {
			return fmt.Errorf("the label %s has %d characters: at most %d are allowed", k, len(v), MaxLabelValue)
		}
		if !isLine(v) {
			return fmt.Errorf("the label %s holds a control character or a byte that is not UTF-8", k)
		}
	}
	return nil
}

// UntilAndWhy says until when the node is under maintenance, and the reason where there is
// one: "until 19:00: new disk". end is when, in the words of the reader.
func (n Node) UntilAndWhy(end string) string {
	if n.Reason == "" {
		return "until " + end
	}
	return "until " + end + ": " + n.Reason
}

// isLine reports whether a text is one line of UTF-8 without control characters.
func isLine(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f || r == '�' })
}

// InMaintenance reports whether the node is under maintenance at a moment.
func (n Node) InMaintenance(at time.Time) bool {
	end, err := time.Parse(time.RFC3339, n.Maintenance)
	return err == nil && at.Before(end)
}
