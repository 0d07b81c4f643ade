package trust

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"time"

	"are-we-alive/pkg/awa"
)

// Bounds on what a peer may make this side read and compute before it is
// known; see the package comment.
const (
	// maxHandshake is how many bytes are read from a peer until its handshake
	// is complete, or refused and the connection closed. One of ours takes
	// less than 4 KiB, one of OpenSSL with a post-quantum key share, a second
	// hello and the CA's certificate about 5 KiB. All that crypto/tls and
	// crypto/x509 parse of a stranger comes out of these bytes, in half a
	// millisecond at worst (a certificate of nothing but URIs or extensions);
	// raising it raises that.
	maxHandshake = 8 << 10
	// maxCertificates is how many certificates a peer may show: its own, and
	// behind it the CA's, which OpenSSL (and curl with it) sends by itself
	// when it finds it in its trust store.
	maxCertificates = 2
	// maxCertificate is the size of each of them, in bytes. The largest is an
	// agent's, which holds a name for each of maxKeys keys: about 1.3 KiB.
	maxCertificate = 2 << 10
)

// odd is a certificate that names a CA of ours and that no program of ours
// makes; the text says what is odd about it, behind "is not one of ours: ".
type odd string

// Error implements error.
func (o odd) Error() string { return "not one of ours: " + string(o) }

// acceptClient is the server's tls.Config.VerifyConnection.
func (h *holding) acceptClient(s tls.ConnectionState) error {
	_, err := h.accept(s, x509.VerifyOptions{KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	return err
}

// acceptServer is the client's: the server must be the named one. It returns
// the CA that issued the server's certificate.
func (h *holding) acceptServer(s tls.ConnectionState, name string) (*authority, error) {
	return h.accept(s, x509.VerifyOptions{DNSName: name, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
}

// accept decides about the certificates that a peer shows; crypto/tls has only
// parsed them so far, and checks behind this that the peer has the key. What
// is not exactly one certificate like ours, of a CA that we hold, is refused
// before any signature is checked, and then it is one signature, of Ed25519.
// For a resumed session it is none: the certificate comes out of a ticket of
// ours, or out of our own memory, and was verified before it went in there.
//
// Every error is a *tls.CertificateVerificationError.
func (h *holding) accept(s tls.ConnectionState, opts x509.VerifyOptions) (*authority, error) {
	refused := func(err error) (*authority, error) {
		return nil, &tls.CertificateVerificationError{UnverifiedCertificates: s.PeerCertificates, Err: err}
	}
	if len(s.PeerCertificates) == 0 {
		return refused(odd("no certificate"))
	}
	leaf := s.PeerCertificates[0]
	opts.CurrentTime = h.clock()
	if opts.CurrentTime.Before(leaf.NotBefore) || opts.CurrentTime.After(leaf.NotAfter) {
		return refused(x509.CertificateInvalidError{Cert: leaf, Reason: x509.Expired})
	}
	issuer := h.issuerOf(leaf)
	if issuer == nil || issuer.role != awa.RoleMember && opts.DNSName != "" {
		return refused(x509.UnknownAuthorityError{Cert: leaf})
	}
	if err := likeOurs(s, issuer); err != nil {
		return refused(err)
	}
	if s.DidResume {
		if opts.DNSName != "" {
			if err := leaf.VerifyHostname(opts.DNSName); err != nil {
				return refused(err)
			}
		}
		return issuer, nil
	}
	opts.Roots = issuer.root
	if _, err := leaf.Verify(opts); err != nil {
		return refused(err)
	}
	return issuer, nil
}

// issuerOf finds the CA that a certificate says it is issued by, nil when it
// is none of ours. It compares bytes only: what the certificate says is true
// once accept has accepted it.
func (h *holding) issuerOf(leaf *x509.Certificate) *authority {
	id := issuerID(leaf)
	for i := range h.all {
		for _, a := range []*authority{&h.all[i].member, &h.all[i].check} {
			if bytes.Equal(id, a.cert.SubjectKeyId) && bytes.Equal(leaf.RawIssuer, a.cert.RawSubject) {
				return a
			}
		}
	}
	return nil
}

// issuerID is the subject key id of the CA that a certificate says it is
// issued by.
func issuerID(c *x509.Certificate) []byte {
	if len(c.AuthorityKeyId) == 0 { // as in a CA's own
		return c.SubjectKeyId
	}
	return c.AuthorityKeyId
}

// likeOurs reports what about a peer's certificates is not as our programs
// make them, or nil.
func likeOurs(s tls.ConnectionState, issuer *authority) error {
	certs := s.PeerCertificates
	if len(certs) > maxCertificates {
		return odd(fmt.Sprintf("it comes with %d certificates, and at most %d may be shown", len(certs), maxCertificates))
	}
	for _, c := range certs {
		if len(c.Raw) > maxCertificate {
			return odd(fmt.Sprintf("it has %d bytes, and at most %d are allowed", len(c.Raw), maxCertificate))
		}
	}
	if leaf := certs[0]; leaf.PublicKeyAlgorithm != x509.Ed25519 || leaf.SignatureAlgorithm != x509.PureEd25519 {
		return odd(fmt.Sprintf("its key is of %s and its signature of %s, and both must be of Ed25519",
			leaf.PublicKeyAlgorithm, leaf.SignatureAlgorithm))
	}
	// The signature is left out: under a check key our own copy of the member
	// CA has another one, and nobody looks at it.
	if len(certs) == maxCertificates && !bytes.Equal(certs[1].RawTBSCertificate, issuer.cert.RawTBSCertificate) {
		return odd("it comes with another one that is not its CA's")
	}
	if len(s.OCSPResponse) > 0 || len(s.SignedCertificateTimestamps) > 0 {
		return odd("it comes with a stapled answer about it")
	}
	return nil
}

// clock is what time it is, for tests of other times.
type clock func() time.Time
