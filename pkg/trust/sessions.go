package trust

import (
	"bytes"
	"crypto/tls"
	"sync/atomic"

	"are-we-alive/pkg/awa"
)

const (
	// sessionsKept is how many peers a Keyring can greet again without a full
	// handshake; one costs about 4 KiB. With more peers than that, visited in
	// turn, each finds its session gone, and the handshakes are full ones.
	sessionsKept = 4096
	// maxTicket is the size of a session ticket that a client keeps, in bytes.
	// An agent's ticket holds the client's certificate and so has less than
	// 3 KiB. A larger one would cost memory, and at the next handshake too
	// much of maxHandshake: what is left of that must hold the certificate in
	// case that the agent does not take the ticket.
	maxTicket = 4 << 10
)

// issuedBy begins the entry in a session's Extra that names the CA of the
// peer's certificate, its subject key id. It is why a session that outlives
// the key of its peer is not resumed and a full handshake is made instead, so
// that a peer with another key by now gets in, and others get a reason.
var issuedBy = []byte("awa1 issuer ")

// mark notes in a session which CA the peer's certificate is of.
func mark(s *tls.SessionState, a *authority) {
	s.Extra = append(s.Extra, append(bytes.Clone(issuedBy), a.cert.SubjectKeyId...))
}

// markOf returns what mark noted, nil for nothing.
func markOf(s *tls.SessionState) []byte {
	for _, e := range s.Extra {
		if id, ok := bytes.CutPrefix(e, issuedBy); ok {
			return id
		}
	}
	return nil
}

// holds reports whether a CA of a role is among ours.
func (h *holding) holds(id []byte, roles ...awa.Role) bool {
	for _, all := range h.all {
		for _, a := range []authority{all.member, all.check} {
			for _, role := range roles {
				if a.role == role && bytes.Equal(id, a.cert.SubjectKeyId) {
					return true
				}
			}
		}
	}
	return false
}

// tickets are the session tickets of an agent. Their secret is the Keyring's
// for as long as it lives, and crypto/tls changes it every day; it is not
// derived from a key.
type tickets struct {
	secret *tls.Config // serves nobody, has the secret
	held   *holding
}

// wrap is tls.Config.WrapSession; the client was accepted just before.
func (t tickets) wrap(c tls.ConnectionState, s *tls.SessionState) ([]byte, error) {
	if a := t.held.issuerOf(c.PeerCertificates[0]); a != nil {
		mark(s, a)
	}
	return t.secret.EncryptTicket(c, s)
}

// unwrap is tls.Config.UnwrapSession. Without a session a full handshake is
// made.
func (t tickets) unwrap(ticket []byte, c tls.ConnectionState) (*tls.SessionState, error) {
	s, err := t.secret.DecryptTicket(ticket, c)
	if err != nil || s == nil || !t.held.holds(markOf(s), awa.RoleMember, awa.RoleCheck) {
		return nil, err
	}
	return s, nil
}

// sessionsOf is the part of a client's sessions that belongs to an address.
type sessionsOf struct {
	cache tls.ClientSessionCache
	addr  string
	held  *holding
	// issuer is the CA of the server's certificate, once that was accepted.
	issuer *atomic.Pointer[authority]
}

// Get implements tls.ClientSessionCache. A session whose server has a key that
// is not ours any more is forgotten.
func (s sessionsOf) Get(name string) (*tls.ClientSessionState, bool) {
	session, ok := s.cache.Get(name + " " + s.addr)
	if !ok {
		return nil, false
	}
	if _, state, err := session.ResumptionState(); err != nil || state == nil || !s.held.holds(markOf(state),
		awa.RoleMember) {
		s.Put(name, nil)
		return nil, false
	}
	return session, true
}

// Put implements tls.ClientSessionCache.
func (s sessionsOf) Put(name string, session *tls.ClientSessionState) {
	if session != nil {
		ticket, state, err := session.ResumptionState()
		issuer := s.issuer.Load()
		if err != nil || state == nil || issuer == nil || len(ticket) > maxTicket {
			return
		}
		mark(state, issuer)
	}
	s.cache.Put(name+" "+s.addr, session)
}
