package trust

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"

	"are-we-alive/pkg/awa"
)

// The names of the CAs are the same in every cluster. So a client with a wrong
// key finds its own CA's name in the server's request, sends its certificate,
// and both sides can say what is wrong.
const (
	organisation = "are-we-alive"
	memberName   = "are-we-alive member CA"
	checkName    = "are-we-alive check CA"
)

// The names in an agent's certificate; see the package comment.
const (
	// AnyAgent is in every agent's certificate: the server name for curl,
	// Prometheus, and a client that does not know yet which agent it meets.
	AnyAgent = "agent.awa.internal"

	uidSuffix  = ".uid.awa.internal"
	nameSuffix = ".name.awa.internal"
)

// validity is the life of every certificate; see the package comment. The end
// is RFC 5280's for "no well-defined expiration date" (section 4.1.2.5).
func validity() (from, to time.Time) {
	return time.Unix(0, 0).UTC(), time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
}

// authority is a CA of one key.
type authority struct {
	role awa.Role
	cert *x509.Certificate
	root *x509.CertPool     // holds cert alone
	key  ed25519.PrivateKey // nil for the member CA of a check key
}

// authorities is all that follows from a key.
type authorities struct {
	id            string
	member, check authority
	nameKey       []byte
}

// derive makes the CAs of a key. Out of a check key the member CA is a trust
// anchor that can verify and not sign.
func (k Key) derive() (authorities, error) {
	memberKey := k.memberKey()
	a := authorities{
		id:      idOf(authorityID(awa.RoleMember, memberKey)),
		member:  authority{role: awa.RoleMember},
		check:   authority{role: awa.RoleCheck, key: ed25519.NewKeyFromSeed(k.checkSeed())},
		nameKey: expand(k.checkSeed(), infoNames),
	}
	signer := anchorSigner()
	if k.Role() == awa.RoleMember {
		a.member.key = k.memberSeed()
		signer = a.member.key
	}
	var err error
	if a.member.cert, err = authorityCert(awa.RoleMember, memberKey, memberKey, signer); err != nil {
		return authorities{}, err
	}
	if a.check.cert, err = authorityCert(awa.RoleCheck, memberKey, public(a.check.key), a.check.key); err != nil {
		return authorities{}, err
	}
	for _, ca := range []*authority{&a.member, &a.check} {
		ca.root = x509.NewCertPool()
		ca.root.AddCert(ca.cert)
	}
	return a, nil
}

// anchorSigner signs the member CA's certificate where only its public key is
// known. The certificate is the member CA's except the signature, which is no
// proof of anything: verifiers take a root's name and key and leave its
// signature alone, and this private key is known to everybody.
func anchorSigner() ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
}

// authorityCert makes a CA's certificate. It depends on the public keys only,
// and all of it is spelt out: what crypto/x509 would choose by itself (the
// subject key id, a random serial) may differ from one version to the next.
func authorityCert(r awa.Role, member, own ed25519.PublicKey, signer ed25519.PrivateKey) (*x509.Certificate, error) {
	from, to := validity()
	t := &x509.Certificate{
		// Not the same for all clusters: programs with one store of
		// certificates, such as browsers, refuse a second CA with the same
		// name and serial.
		SerialNumber:          serial(own),
		Subject:               pkix.Name{Organization: []string{organisation}, CommonName: memberName},
		NotBefore:             from,
		NotAfter:              to,
		KeyUsage:              x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true, // no further CA below: the check CA can't make itself a member CA
		SubjectKeyId:          authorityID(r, member),
	}
	if r == awa.RoleCheck {
		t.Subject.CommonName = checkName
		t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} // never a server, wherever it is trusted
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, own, signer)
	if err != nil {
		return nil, fmt.Errorf("make the certificate of the %s CA: %w", r, err)
	}
	return x509.ParseCertificate(der)
}

// serial is a CA's serial number: 16 bytes of its public key's hash, and
// positive.
func serial(own ed25519.PublicKey) *big.Int {
	sum := sha256.Sum256(own)
	sum[0] = sum[0]&0x7f | 0x40
	return new(big.Int).SetBytes(sum[:16])
}

// leaf says what a certificate is for.
type leaf struct {
	subject string   // its common name, which nothing looks at
	names   []string // DNS names; only a server has some
	uses    []x509.ExtKeyUsage
}

// clientLeaf is a certificate that can only ask.
func clientLeaf(r awa.Role) leaf {
	return leaf{
		subject: "are-we-alive " + string(r) + " client",
		uses:    []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
}

// agentLeaf is an agent's own certificate, with which it answers and asks. Its
// name is there under each key, since a client may use another of them first.
func agentLeaf(uid, name string, keys []authorities) leaf {
	l := leaf{
		subject: "are-we-alive agent",
		names:   []string{AnyAgent},
		uses:    []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if uid != "" {
		l.names = append(l.names, uid+uidSuffix)
	}
	for _, a := range keys {
		if name != "" {
			l.names = append(l.names, a.hashedName(name))
		}
	}
	return l
}

// hashedName is a node's name as a DNS name, for any legal node name.
func (a authorities) hashedName(name string) string {
	h := hmac.New(sha256.New, a.nameKey)
	h.Write([]byte(awa.NameKey(name)))
	return hex.EncodeToString(h.Sum(nil)[:16]) + nameSuffix
}

// uidIn finds the uid in an agent's certificate, "" when there is none.
func uidIn(c *x509.Certificate) string {
	for _, name := range c.DNSNames {
		if uid, ok := strings.CutSuffix(name, uidSuffix); ok && awa.CheckUID(uid) == nil {
			return uid
		}
	}
	return ""
}

// mint makes a certificate with a key of its own and a random serial.
func (a authority) mint(l leaf) (tls.Certificate, error) {
	if a.key == nil {
		return tls.Certificate{}, awa.Faultf(awa.ErrBadInput, "a check key can only read: this needs the cluster key")
	}
	pub, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make a key pair: %w", err)
	}
	from, to := validity()
	t := &x509.Certificate{
		Subject:               pkix.Name{Organization: []string{organisation}, CommonName: l.subject},
		NotBefore:             from,
		NotAfter:              to,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           l.uses,
		BasicConstraintsValid: true,
		DNSNames:              slices.Clone(l.names),
	}
	der, err := x509.CreateCertificate(rand.Reader, t, a.cert, pub, a.key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make a %s certificate: %w", a.role, err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make a %s certificate: %w", a.role, err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: priv, Leaf: parsed}, nil
}
