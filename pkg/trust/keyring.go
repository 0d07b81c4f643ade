package trust

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"are-we-alive/pkg/awa"
)

// Keyring holds the keys that one program accepts and its certificate out of
// the first of them. Its configurations follow a change of either at the next
// handshake. It is safe for concurrent use.
type Keyring struct {
	now      atomic.Pointer[holding]
	sessions tls.ClientSessionCache
	tickets  *tls.Config // an agent's, see tickets

	mu    sync.Mutex // one change at a time
	owner owner
}

// owner says whose certificate a Keyring mints.
type owner struct {
	role      awa.Role
	agent     bool // else a client, which can only ask
	uid, name string
}

// holding is what a Keyring holds at a moment; nothing in it changes.
type holding struct {
	keys    []Key
	all     []authorities // of keys
	own     tls.Certificate
	members *x509.CertPool // whom a client accepts
	callers *x509.CertPool // whom a server accepts
	server  *tls.Config    // nil for a client
	clock   clock
}

// NewAgent makes an agent's keyring. The keys must be cluster keys, all of
// which it accepts; the uid and the node's name go into its certificate, where
// clients look for them. An error is an *awa.Fault when the keys are no
// cluster keys.
func NewAgent(keys []Key, uid, name string) (*Keyring, error) {
	return newKeyring(keys, owner{awa.RoleMember, true, uid, name})
}

// NewClient makes the keyring of a program that asks agents, in a role. A
// cluster key can take both roles, a check key Check only. An error is an
// *awa.Fault when the keys can't do it.
func NewClient(keys []Key, role awa.Role) (*Keyring, error) {
	return newKeyring(keys, owner{role: role})
}

func newKeyring(keys []Key, o owner) (*Keyring, error) {
	k := &Keyring{sessions: tls.NewLRUClientSessionCache(sessionsKept), tickets: &tls.Config{}}
	if err := k.change(keys, o); err != nil {
		return nil, err
	}
	return k, nil
}

// SetKeys takes other keys from now on, as after a key file was read again.
// Handshakes under way end with the old ones. An error leaves all as it was.
//
// A rotation passes no moment at which two programs refuse each other when
// every program takes each of these steps before any takes the next one:
// old; old, new; new, old; new.
func (k *Keyring) SetKeys(keys []Key) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.change(keys, k.owner)
}

// SetIdentity takes another uid and node name into an agent's certificate, as
// after its node was renamed. An error leaves all as it was.
func (k *Keyring) SetIdentity(uid, name string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	o := k.owner
	o.uid, o.name = uid, name
	return k.change(k.now.Load().keys, o)
}

func (k *Keyring) change(keys []Key, o owner) error {
	h, err := newHolding(keys, o)
	if err != nil {
		return err
	}
	if o.agent {
		h.server = h.serverConfig(k.tickets)
	}
	k.owner = o
	k.now.Store(h)
	return nil
}

// newHolding derives all that a Keyring hands out.
func newHolding(keys []Key, o owner) (*holding, error) {
	if len(keys) == 0 {
		return nil, awa.Faultf(awa.ErrBadInput, "there is no key: make one with awa-agent key new")
	}
	if o.role != awa.RoleMember && o.role != awa.RoleCheck {
		return nil, awa.Faultf(awa.ErrBadInput, "a certificate's role is member or check")
	}
	if o.uid != "" && awa.CheckUID(o.uid) != nil {
		return nil, errors.New("trust: an agent's uid is 32 hex digits")
	}
	h := &holding{keys: append([]Key(nil), keys...), members: x509.NewCertPool(), callers: x509.NewCertPool(),
		clock: time.Now}
	for _, key := range keys {
		if key.open == nil {
			return nil, errors.New("trust: the zero Key was handed in")
		}
		if !key.Role().May(o.role) {
			return nil, awa.Faultf(awa.ErrBadInput, "%s key %s can only read: this needs the cluster key",
				key.Role(), key.ID())
		}
		a, err := key.derive()
		if err != nil {
			return nil, err
		}
		h.all = append(h.all, a)
		h.members.AddCert(a.member.cert)
		h.callers.AddCert(a.member.cert)
		h.callers.AddCert(a.check.cert)
	}
	issuer, l := h.all[0].check, clientLeaf(o.role)
	if o.role == awa.RoleMember {
		issuer = h.all[0].member
	}
	if o.agent {
		l = agentLeaf(o.uid, o.name, h.all)
	}
	var err error
	h.own, err = issuer.mint(l)
	return h, err
}

// base is what both sides' configurations have in common.
func base() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		// The hybrid with ML-KEM takes a third more processor time for a
		// handshake, and a second packet for its longer hello.
		CurvePreferences: []tls.CurveID{tls.X25519},
		NextProtos:       []string{"http/1.1"}, // else a client may speak HTTP/2
	}
}

// serverConfig is the configuration for one handshake of an agent. crypto/tls
// must not verify the client's certificate itself: it would check the signatures of
// whatever chain a stranger shows, a hundred of the costliest kind.
func (h *holding) serverConfig(secret *tls.Config) *tls.Config {
	c := base()
	c.Certificates = []tls.Certificate{h.own}
	c.ClientAuth = tls.RequireAnyClientCert
	c.ClientCAs = h.callers // whose names the client gets
	c.VerifyConnection = h.acceptClient
	t := tickets{secret, h}
	c.WrapSession, c.UnwrapSession = t.wrap, t.unwrap
	return c
}

// Server returns an agent's configuration for its listeners. It stays good over
// every change of the keyring, and so do the sessions of clients whose key is
// still accepted. It panics for a client's keyring. Listener, which uses it,
// can also say why a handshake failed.
func (k *Keyring) Server() *tls.Config {
	if k.now.Load().server == nil {
		panic("trust: a client's keyring can't serve")
	}
	c := base()
	c.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		return k.now.Load().server, nil
	}
	return c
}

// Target says which agent a client means to reach.
type Target struct {
	// UID is the agent's; its certificate must hold it. When it is "", Name
	// counts, the node's name; when that is "" too, any agent of the cluster
	// will do.
	UID, Name string
	// Addr is host:port, under which sessions are kept for the next
	// handshake. Without it every handshake is a full one.
	Addr string
}

// Client returns the configuration for one connection to a target: make it again
// for each, it is cheap, and an old one does not follow a change of the
// keyring. The agent's certificate is verified against the member CAs and the
// name that stands for the target; ClientError returns what a failure means.
//
// A target without uid and name is for a client that knows an address only,
// such as check_awa or a joining agent: whoever answers is a member of the
// cluster, and its answer says which one. Go keeps sessions under the server
// name, which all agents share then, and a resumed session returns the
// certificate of the first connection. So sessions are kept for the name and
// the address together, and no address sees another's.
func (k *Keyring) Client(t Target) *tls.Config {
	h := k.now.Load()
	c := base()
	c.RootCAs = h.members
	c.ServerName = h.serverName(t)
	// As for a server: the certificate is verified by VerifyConnection.
	c.InsecureSkipVerify = true
	var issuer atomic.Pointer[authority]
	c.VerifyConnection = func(s tls.ConnectionState) error {
		a, err := h.acceptServer(s, c.ServerName)
		issuer.Store(a)
		return err
	}
	if t.Addr != "" {
		c.ClientSessionCache = sessionsOf{k.sessions, t.Addr, h, &issuer}
	}
	// Not Certificates: an agent that names no CA of ours must learn who
	// asks, so that it can say what is wrong.
	c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		return &h.own, nil
	}
	return c
}

func (h *holding) serverName(t Target) string {
	switch {
	case t.UID != "":
		return t.UID + uidSuffix
	case t.Name != "":
		return h.all[0].hashedName(t.Name)
	}
	return AnyAgent
}

// Secure is Connect with the agent at an address, which has a uid if that is known: it makes
// the connections of an api.Client speak TLS.
func (k *Keyring) Secure(ctx context.Context, conn net.Conn, addr, uid string) (net.Conn, error) {
	return k.Connect(ctx, conn, Target{UID: uid, Addr: addr})
}

// Connect makes a client's handshake with a target over an open connection,
// within ctx. Its errors, and those of reading and writing later, are what
// ClientError makes of them. When it fails, conn is closed.
func (k *Keyring) Connect(ctx context.Context, conn net.Conn, t Target) (net.Conn, error) {
	c := tls.Client(bound(conn), k.Client(t))
	if err := c.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, k.ClientError(err)
	}
	release(c)
	return &clientConn{c, k}, nil
}

// clientConn is a *tls.Conn whose errors are made plain.
type clientConn struct {
	*tls.Conn
	keys *Keyring
}

// Read reads as tls.Conn does. A first one may bring the news that the agent
// did not like our certificate.
func (c *clientConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	return n, c.keys.ClientError(err)
}

// Write writes as tls.Conn does.
func (c *clientConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	return n, c.keys.ClientError(err)
}

// RoleOf returns the role of the peer on a connection that was made with a
// configuration of this keyring: which CA its certificate is of. It is asked
// for each request, not once for a connection: when the peer's key was removed
// since, there is no role any more. It compares bytes: the handshake is
// complete only after the certificate was verified, see accept.
func (k *Keyring) RoleOf(s tls.ConnectionState) (awa.Role, bool) {
	if !s.HandshakeComplete || len(s.PeerCertificates) == 0 {
		return "", false
	}
	if a := k.now.Load().issuerOf(s.PeerCertificates[0]); a != nil {
		return a.role, true
	}
	return "", false
}

// IDs returns the ids of the keys, the one in use first.
func (k *Keyring) IDs() []string { return k.now.Load().ids() }

func (h *holding) ids() []string {
	var ids []string
	for _, a := range h.all {
		ids = append(ids, a.id)
	}
	return ids
}
