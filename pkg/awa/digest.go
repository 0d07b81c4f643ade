package awa

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
)

// Digest is a hash over all changes of a list up to a state. Two lists of one
// cluster are equal when their states and digests are; and a list is the
// beginning of a longer one when its digest is the longer one's at its state.
type Digest [16]byte

// FirstDigest is the digest of a cluster's list at state 0.
func FirstDigest(cluster string) Digest {
	sum := sha256.Sum256([]byte("are-we-alive " + cluster))
	return Digest(sum[:])
}

// Next is the digest after one more change, whose id must follow. It is the
// first 16 bytes of the SHA-256 of the digest before, the id (8 bytes, big-endian),
// and action, data and key, each after its length (4 bytes, big-endian). The
// change's place in the voters' log is not part of it: a restored list has none.
func (d Digest) Next(c Change) Digest {
	b := make([]byte, 0, len(d)+8+3*4+len(c.Action)+len(c.Data)+len(c.Key))
	b = append(b, d[:]...)
	b = binary.BigEndian.AppendUint64(b, c.ID)
	for _, s := range []string{string(c.Action), c.Data, c.Key} {
		b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
		b = append(b, s...)
	}
	sum := sha256.Sum256(b)
	return Digest(sum[:])
}

// DigestOf returns the digest of a cluster's list with all of these changes,
// which begin with the first.
func DigestOf(cluster string, changes []Change) Digest {
	d := FirstDigest(cluster)
	for _, c := range changes {
		d = d.Next(c)
	}
	return d
}

// String returns 32 hex digits, or "" for the zero Digest, which no list has.
func (d Digest) String() string {
	if d == (Digest{}) {
		return ""
	}
	return hex.EncodeToString(d[:])
}

// ParseDigest reads what String wrote.
func ParseDigest(s string) (d Digest, err error) {
	if s == "" {
		return d, nil
	}
	if b, err := hex.DecodeString(s); err == nil && len(b) == len(d) {
		return Digest(b), nil
	}
	return d, fmt.Errorf("%q is not a digest: it has 32 hex digits", Clip(s))
}

// MarshalText implements encoding.TextMarshaler with String.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler with ParseDigest.
func (d *Digest) UnmarshalText(b []byte) error {
	var err error
	*d, err = ParseDigest(string(b))
	return err
}
