package trust

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"log/slog"

	"are-we-alive/pkg/awa"
)

// The format of a key: these three words with blanks between them. A program
// that derives anything in another way counts the version up.
//
//	awa1 member BASE64   the 32 bytes of a cluster key
//	awa1 check BASE64    a check key: the check CA's seed (32 bytes), the
//	                     member CA's public key (32 bytes)
const keyVersion = "awa1"

// The info strings of HKDF. Another text is another cluster.
const (
	infoMember = "are-we-alive awa1 member CA"
	infoCheck  = "are-we-alive awa1 check CA"
	infoNames  = "are-we-alive awa1 node names"
)

// sizeOf is the length of a key of a role in bytes.
func sizeOf(r awa.Role) int {
	if r == awa.RoleCheck {
		return ed25519.SeedSize + ed25519.PublicKeySize
	}
	return 32
}

// Key is a cluster key (role awa.RoleMember) or a check key (awa.RoleCheck). Printing and
// logging one shows its role and id, never the secret; only Line and FileText
// give that. The zero Key is none.
type Key struct {
	// A function, since fmt calls no methods on a struct's unexported fields,
	// and some of its verbs print what a pointer leads to.
	open func() secret
}

type secret struct {
	role  awa.Role
	bytes []byte
}

// NewKey makes a new cluster key.
func NewKey() Key {
	b := make([]byte, sizeOf(awa.RoleMember))
	rand.Read(b) // never fails, see crypto/rand.Read
	return newKey(awa.RoleMember, b)
}

func newKey(r awa.Role, b []byte) Key { return Key{func() secret { return secret{r, b} }} }

// Role returns what the key's holder may do.
func (k Key) Role() awa.Role {
	if k.open == nil {
		return ""
	}
	return k.open().role
}

// Check derives the check key; a check key is its own.
func (k Key) Check() Key {
	if k.Role() != awa.RoleMember {
		return k
	}
	return newKey(awa.RoleCheck, append(expand(k.open().bytes, infoCheck), k.memberKey()...))
}

// Line returns the line that stands in a key file. It holds the secret.
func (k Key) Line() string {
	if k.open == nil {
		return ""
	}
	return keyVersion + " " + string(k.open().role) + " " + base64.StdEncoding.EncodeToString(k.open().bytes)
}

// FileText returns a whole key file: comments that say what it is, the key, and
// more keys of its role that are accepted.
func (k Key) FileText(more ...Key) string {
	what := "# The key of an are-we-alive cluster. Who holds it may do everything: keep it secret.\n" +
		"# Every server of the cluster needs this file; monitoring hosts need a check key only\n" +
		"# (awa-agent key check).\n"
	if k.Role() == awa.RoleCheck {
		what = "# The check key of an are-we-alive cluster, for monitoring hosts. Who holds it can\n" +
			"# read the cluster's state and change nothing: keep it secret.\n"
	}
	for _, key := range append([]Key{k}, more...) {
		what += "# id " + key.ID() + "\n" + key.Line() + "\n"
	}
	return what
}

// ID names the key in messages: 8 hex digits, the same for a cluster key and
// its check key. It is not a secret.
func (k Key) ID() string {
	if k.open == nil {
		return ""
	}
	return idOf(authorityID(awa.RoleMember, k.memberKey()))
}

// Equal reports whether two keys are the same.
func (k Key) Equal(other Key) bool {
	if k.open == nil || other.open == nil {
		return k.open == nil && other.open == nil
	}
	return k.Role() == other.Role() && bytes.Equal(k.open().bytes, other.open().bytes)
}

// Format implements fmt.Formatter: no verb shows the secret.
func (k Key) Format(f fmt.State, _ rune) {
	if k.open == nil {
		fmt.Fprint(f, "no key")
		return
	}
	fmt.Fprintf(f, "%s key %s", k.open().role, k.ID())
}

// LogValue implements slog.LogValuer.
func (k Key) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(k)) }

// memberKey is the public key of the member CA.
func (k Key) memberKey() ed25519.PublicKey {
	if k.open().role == awa.RoleCheck {
		return ed25519.PublicKey(k.open().bytes[ed25519.SeedSize:])
	}
	return public(k.memberSeed())
}

// memberSeed is the member CA's private key; only a cluster key has it.
func (k Key) memberSeed() ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(expand(k.open().bytes, infoMember))
}

// checkSeed is the seed of the check CA's private key.
func (k Key) checkSeed() []byte {
	if k.open().role == awa.RoleCheck {
		return k.open().bytes[:ed25519.SeedSize]
	}
	return expand(k.open().bytes, infoCheck)
}

// expand derives 32 bytes from a secret.
func expand(secret []byte, info string) []byte {
	b, err := hkdf.Key(sha256.New, secret, nil, info, 32)
	if err != nil {
		panic("trust: HKDF of fixed lengths: " + err.Error())
	}
	return b
}

func public(k ed25519.PrivateKey) ed25519.PublicKey { return k.Public().(ed25519.PublicKey) }

// authorityID is the subject key id of a CA: the hash of the member CA's
// public key, and a last byte for the role. So the authority key id in any
// certificate names the key that it comes from.
func authorityID(r awa.Role, member ed25519.PublicKey) []byte {
	sum := sha256.Sum256(member)
	id := append([]byte(nil), sum[:20]...)
	id[19] = 1
	if r == awa.RoleCheck {
		id[19] = 2
	}
	return id
}

// idOf is a key's id, out of a CA's subject key id.
func idOf(authority []byte) string {
	if len(authority) < 4 {
		return "unknown"
	}
	return hex.EncodeToString(authority[:4])
}
