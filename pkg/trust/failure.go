package trust

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"reflect"
	"slices"
	"strings"
	"time"

	"are-we-alive/pkg/awa"
)

// Why two sides did not come together: the codes of a Failure, beside awa.ErrNoAgent
// (the other side's certificate is none of ours at all), awa.ErrOtherAgent and
// awa.ErrPlainHTTP.
const (
	// ErrOtherKey: one side's key is not among the other's. It is another
	// cluster, or a rotation that left a server out.
	ErrOtherKey awa.Code = "other_key"
	// ErrExpired: by this side's clock a certificate has expired or is not yet valid.
	ErrExpired awa.Code = "expired"
	// ErrNoCertificate: the client showed no certificate.
	ErrNoCertificate awa.Code = "no_certificate"
	// ErrRefused: the other side did not like our certificate and said no more.
	ErrRefused awa.Code = "refused"
	// ErrNoTLS: what came is neither TLS nor HTTP, or a TLS that is too old.
	ErrNoTLS awa.Code = "no_tls"
)

// Failure is a connection that failed for a reason that a person can mend.
// errors.Is finds its code, and errors.As what crypto/tls said.
type Failure struct {
	Code awa.Code
	// Text is one sentence: what is wrong and what to do. It stands well
	// behind "node n1: " and holds no name of a node.
	Text string
	// UID is the agent that answered in place of another one (awa.ErrOtherAgent),
	// "" when unknown.
	UID string
	Err error
}

// Error returns the sentence.
func (f *Failure) Error() string { return f.Text }

// Unwrap returns the code and the cause.
func (f *Failure) Unwrap() []error { return []error{f.Code, f.Err} }

// ClientError makes a *Failure of an error that a client met in a handshake,
// or in its first request: with TLS 1.3 a client learns that its certificate
// was refused only when it reads. Any other error comes back as it is.
func (k *Keyring) ClientError(err error) error {
	if err == nil {
		return nil
	}
	h := k.now.Load()
	if header, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return h.notTLS(header, err)
	}
	if alert, ok := alertIn(err); ok {
		return h.refusal(alert, err)
	}
	if bad, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return h.badServer(bad, err)
	}
	switch {
	case errors.Is(err, errTooMuch):
		return &Failure{Code: awa.ErrNoAgent, Err: err, Text: fmt.Sprintf("what answers there in TLS sends more than %d "+
			"KiB before it is known who it is, so it is not an agent: correct the address", maxHandshake>>10)}
	case strings.HasPrefix(err.Error(), errServerKey):
		return &Failure{Code: awa.ErrNoAgent, Err: err, Text: "what answers there in TLS is not an agent, its " +
			"certificate is of an unknown kind: correct the address"}
	}
	return err
}

// notTLS is a server that did not answer with TLS.
func (h *holding) notTLS(header tls.RecordHeaderError, err error) error {
	if string(header.RecordHeader[:]) == "HTTP/" {
		return &Failure{Code: awa.ErrPlainHTTP, Err: err, Text: "it answers in plain HTTP and not in TLS: if it is an " +
			"agent, give it the key file of the cluster (--key-file) and start it again; else correct the address"}
	}
	return &Failure{Code: ErrNoTLS, Err: err, Text: "what answers there speaks no TLS, so it is not an agent with a " +
		"key: correct the address, or give that agent the key file of the cluster"}
}

// TLS alerts, RFC 8446 section 6.
const (
	alertBadRecord           = 20
	alertHandshakeFailure    = 40
	alertBadCertificate      = 42
	alertUnsupported         = 43
	alertCertificateExpired  = 45
	alertCertificateUnknown  = 46
	alertUnknownCA           = 48
	alertProtocolVersion     = 70
	alertInsufficient        = 71
	alertCertificateRequired = 116
)

// alertIn finds the alert that the other side sent. Its type in crypto/tls is
// not exported, a number all the same.
func alertIn(err error) (uint8, bool) { return alertOf("remote error", err) }

// alertOf finds an alert that either side sent; by says which.
func alertOf(by string, err error) (uint8, bool) {
	op, ok := errors.AsType[*net.OpError](err)
	if !ok || op.Op != by {
		return 0, false
	}
	v := reflect.ValueOf(op.Err)
	if v.Kind() != reflect.Uint8 {
		return 0, false
	}
	return uint8(v.Uint()), true
}

// refusal is a server that ended the connection with an alert.
func (h *holding) refusal(alert uint8, err error) error {
	f := &Failure{Code: ErrRefused, Err: err}
	switch alert {
	// Agents send bad_certificate, and older ones unknown_ca. That we are no
	// more than a holder of another key is certain: our certificate is as all
	// of ours, and we have verified that it is an agent that says so.
	case alertUnknownCA, alertBadCertificate:
		f.Code = ErrOtherKey
		f.Text = fmt.Sprintf("it does not accept our key (%s): add this key to its key file, or use the same key file "+
			"on both sides", h.all[0].id)
	case alertCertificateRequired:
		f.Code = ErrNoCertificate
		f.Text = "it wants a certificate and got none: name the key file (--key-file, check_awa -k)"
	case alertCertificateExpired:
		f.Code = ErrExpired
		f.Text = "its clock says that our certificate has expired: set the clock of that server"
	case alertProtocolVersion, alertInsufficient, alertHandshakeFailure:
		f.Code = ErrNoTLS
		f.Text = "it speaks no TLS 1.3 with X25519 and Ed25519, so it is not an agent: correct the address"
	case alertCertificateUnknown, alertUnsupported:
		f.Text = "it does not accept our certificate: use the same key file on both sides, and compare the clocks"
	default:
		f.Text = fmt.Sprintf("it ended the TLS connection (alert %d): its log may say why; if it is not an agent, "+
			"correct the address", alert)
	}
	return f
}

// badServer is a server whose certificate we don't accept.
func (h *holding) badServer(bad *tls.CertificateVerificationError, err error) error {
	if len(bad.UnverifiedCertificates) == 0 {
		return err
	}
	cert := bad.UnverifiedCertificates[0]
	// The name is looked at before the chain: whose certificate it is must be
	// known before "another agent" can be said.
	if _, wrongName := errors.AsType[x509.HostnameError](bad.Err); wrongName {
		_, chain := cert.Verify(x509.VerifyOptions{Roots: h.members, CurrentTime: h.clock()})
		if chain == nil && slices.Contains(cert.DNSNames, AnyAgent) {
			return h.otherAgent(cert, err)
		}
		bad = &tls.CertificateVerificationError{UnverifiedCertificates: bad.UnverifiedCertificates, Err: chain}
	}
	if f := expired(cert, bad.Err, err); f != nil {
		return f
	}
	switch cert.Issuer.CommonName {
	case memberName:
		if what, ok := errors.AsType[odd](bad.Err); ok {
			return &Failure{Code: awa.ErrNoAgent, Err: err, Text: fmt.Sprintf("its certificate names this cluster and is "+
				"not that of an agent (%s): what answers there is not an agent; correct the address", string(what))}
		}
		if h.knows(cert) {
			return &Failure{Code: awa.ErrNoAgent, Err: err, Text: "its certificate names this cluster and is not that of an " +
				"agent: what answers there is not an agent; correct the address"}
		}
		return &Failure{Code: ErrOtherKey, Err: err, Text: fmt.Sprintf("the agent there has another key (%s, ours: %s): "+
			"use the same key file on both sides, or correct the address if it belongs to "+
			"another cluster", keyOfCert(cert), strings.Join(h.ids(), ", "))}
	case checkName:
		return &Failure{Code: awa.ErrNoAgent, Err: err, Text: "it shows a certificate of the check role, which must not " +
			"answer for an agent: what answers there is not an agent; correct the address"}
	}
	return &Failure{Code: awa.ErrNoAgent, Err: err, Text: fmt.Sprintf("what answers there in TLS is not an agent, its "+
		"certificate is issued by %q: correct the address", awa.Clip(cert.Issuer.CommonName))}
}

func (h *holding) otherAgent(cert *x509.Certificate, err error) error {
	f := &Failure{Code: awa.ErrOtherAgent, UID: uidIn(cert), Err: err}
	who := "another agent of this cluster answers there"
	if f.UID != "" {
		who += " (uid " + f.UID + ")"
	}
	f.Text = who + ": correct host and port of the node, or remove the node if it is gone"
	return f
}

// knows reports whether a certificate says that it comes from a key of ours.
func (h *holding) knows(cert *x509.Certificate) bool {
	for _, a := range h.all {
		if a.id == keyOfCert(cert) {
			return true
		}
	}
	return false
}

// keyOfCert is the id of the key that a certificate says it comes from.
func keyOfCert(cert *x509.Certificate) string { return idOf(issuerID(cert)) }

// expired is a certificate of ours that is not valid at this moment, or nil.
func expired(cert *x509.Certificate, cause, err error) error {
	invalid, ok := errors.AsType[x509.CertificateInvalidError](cause)
	if !ok || invalid.Reason != x509.Expired || cert.Issuer.CommonName != memberName &&
		cert.Issuer.CommonName != checkName {
		return nil
	}
	const minute = "2006-01-02 15:04"
	return &Failure{Code: ErrExpired, Err: err, Text: fmt.Sprintf("its certificate is valid from %s to %s, and by the "+
		"clock here it is %s (UTC): set the clock if it is wrong, else make a new certificate (awa-agent key cert)",
		cert.NotBefore.Format(minute), cert.NotAfter.Format(minute), time.Now().UTC().Format(minute))}
}

// What crypto/tls says without a type; a test holds the texts fast.
const (
	errNobody = "tls: client didn't provide a certificate"
	// Before anybody is asked about a certificate with such a key, as of DSA.
	errClientKey = "tls: client certificate contains an unsupported public key"
	errServerKey = "tls: server's certificate contains an unsupported type of public key"
)

// ServerError makes a *Failure of an error that an agent met in the handshake
// with a client. Any other error comes back as it is: a connection that broke,
// a time that was over, noise.
func (k *Keyring) ServerError(err error) error {
	if err == nil {
		return nil
	}
	h := k.now.Load()
	if header, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		if isHTTP(header.RecordHeader[:]) {
			return &Failure{Code: awa.ErrPlainHTTP, Err: err, Text: "a client speaks plain HTTP to this TLS port: give it " +
				"the key file of the cluster (--key-file, check_awa -k), or use https and a certificate (awa-agent key cert)"}
		}
		return &Failure{Code: ErrNoTLS, Err: err, Text: "what a client sent is not TLS: it is not a client of an agent; " +
			"find out what calls this port"}
	}
	if alert, ok := alertIn(err); ok {
		return h.refusedBy(alert, err)
	}
	// OpenSSL, and curl with it, sends its alert without the encryption that
	// is on by then, so it arrives as a broken record.
	if alert, ok := alertOf("local error", err); ok && alert == alertBadRecord {
		return h.refusedBy(alertBadCertificate, err)
	}
	if bad, ok := errors.AsType[*tls.CertificateVerificationError](err); ok && len(bad.UnverifiedCertificates) > 0 {
		return h.badClient(bad.UnverifiedCertificates[0], bad.Err, err)
	}
	switch {
	case errors.Is(err, errTooMuch):
		return &Failure{Code: awa.ErrNoAgent, Err: err, Text: fmt.Sprintf("a client sends more than %d KiB before it is "+
			"known who it is: it is not a client of an agent; find out what calls this port", maxHandshake>>10)}
	case strings.HasPrefix(err.Error(), errClientKey):
		return &Failure{Code: awa.ErrNoAgent, Err: err, Text: "the certificate of a client is of an unknown kind and not " +
			"of this cluster: give it one of ours (awa-agent key cert)"}
	case err.Error() == errNobody:
		return &Failure{Code: ErrNoCertificate, Err: err, Text: "a client showed no certificate: give it the key file of " +
			"the cluster or a check key (check_awa -k), or a certificate (awa-agent key cert)"}
	}
	return err
}

// refusedBy is a client that ended the handshake with an alert.
func (h *holding) refusedBy(alert uint8, err error) error {
	switch alert {
	case alertUnknownCA, alertBadCertificate, alertCertificateUnknown, alertUnsupported:
		return &Failure{Code: ErrRefused, Err: err, Text: fmt.Sprintf("a client does not accept the certificate of this "+
			"agent (key %s): it has another key, or meant another agent; its own message says which", h.all[0].id)}
	case alertCertificateExpired:
		return &Failure{Code: ErrExpired, Err: err, Text: "the clock of a client says that the certificate of this " +
			"agent has expired: set the clock there"}
	}
	return &Failure{Code: ErrRefused, Err: err, Text: fmt.Sprintf("a client ended the TLS handshake (alert %d): its "+
		"own message may say why", alert)}
}

// badClient is a client whose certificate we don't accept.
func (h *holding) badClient(cert *x509.Certificate, cause, err error) error {
	if f := expired(cert, cause, err); f != nil {
		return f
	}
	issuer := cert.Issuer.CommonName
	if issuer != memberName && issuer != checkName {
		return &Failure{Code: awa.ErrNoAgent, Err: err, Text: fmt.Sprintf("the certificate of a client is issued by %q "+
			"and not by this cluster: give it one of ours (awa-agent key cert)", awa.Clip(issuer))}
	}
	if what, ok := errors.AsType[odd](cause); ok {
		return &Failure{Code: awa.ErrNoAgent, Err: err, Text: fmt.Sprintf("the certificate of a client names this "+
			"cluster and is not one that it makes (%s): give it one of ours (awa-agent key cert), or find out who "+
			"calls this port", string(what))}
	}
	if h.knows(cert) {
		return &Failure{Code: awa.ErrNoAgent, Err: err, Text: "the certificate of a client claims to be of this cluster " +
			"and is not: somebody made it up; find out who calls this port"}
	}
	return &Failure{Code: ErrOtherKey, Err: err, Text: fmt.Sprintf("a client has another key (%s, ours: %s): use the "+
		"same key file on both sides, or correct the address it calls if it belongs to "+
		"another cluster", keyOfCert(cert), strings.Join(h.ids(), ", "))}
}

// isHTTP reports whether the first bytes of a connection are an HTTP request's:
// the beginning of a method, in capital letters.
func isHTTP(b []byte) bool {
	for i, c := range b {
		if c == ' ' && i >= 3 {
			return true
		}
		if c < 'A' || c > 'Z' {
			return false
		}
	}
	return len(b) > 0
}
