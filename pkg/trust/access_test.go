package trust

import (
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"strings"
	"testing"
	"time"

	"are-we-alive/pkg/awa"
)

// stage is what everybody in these tests may hold: our cluster, another one,
// and what a thief makes of a check key, of what strangers can see, or of
// nothing.
type stage struct {
	key, foreign Key
	ours, theirs authorities // of the cluster keys
	stolen       authorities // of our check key
	names        []string    // that our agent A's certificate holds
}

func newStage(t testing.TB) stage {
	s := stage{key: NewKey(), foreign: NewKey()}
	s.ours, s.theirs, s.stolen = derived(t, s.key), derived(t, s.foreign), derived(t, s.key.Check())
	s.names = agentLeaf(uidA, "n1", []authorities{s.ours}).names
	return s
}

func (s stage) leafOf(t testing.TB, a authority, l leaf) tls.Certificate {
	t.Helper()
	return must[tls.Certificate](t)(a.mint(l))
}

// shown is a certificate that somebody shows, and what comes of it.
type shown struct {
	cert *tls.Certificate // nil: none
	role awa.Role         // as a client: "" is let in as nobody
	// What each side says then, when the one with the certificate is a client
	// and when it is a server. "?" is an error without a sentence of ours. A
	// client learns no more than that its certificate was refused (alert
	// bad_certificate), and ours is refused for another key only.
	asClient, byServer awa.Code
	byClient, asServer awa.Code
}

// all is every kind of certificate that comes to mind.
func (s stage) all(t testing.TB) map[string]shown {
	agent := agentLeaf(uidA, "n1", []authorities{s.ours})
	all := map[string]shown{
		"no certificate": {nil, "", ErrNoCertificate, ErrNoCertificate, ErrRefused, "?"},
	}
	add := func(name string, c tls.Certificate, v shown) {
		v.cert = &c
		all[name] = v
	}
	otherKey := shown{asClient: ErrOtherKey, byServer: ErrOtherKey, byClient: ErrOtherKey, asServer: ErrRefused}
	madeUp := shown{asClient: ErrOtherKey, byServer: awa.ErrNoAgent, byClient: awa.ErrNoAgent, asServer: ErrRefused}

	// Those who belong here.
	add("member role", s.leafOf(t, s.ours.member, agent), shown{role: awa.RoleMember})
	add("member role, asks only", s.leafOf(t, s.ours.member, clientLeaf(awa.RoleMember)),
		shown{role: awa.RoleMember, byClient: awa.ErrNoAgent, asServer: ErrRefused})
	check := shown{role: awa.RoleCheck, byClient: awa.ErrNoAgent, asServer: ErrRefused}
	add("check role", s.leafOf(t, s.ours.check, clientLeaf(awa.RoleCheck)), check)
	add("check role, out of a check key", s.leafOf(t, s.stolen.check, clientLeaf(awa.RoleCheck)), check)
	add("another agent", s.leafOf(t, s.ours.member, agentLeaf(uidB, "n2", []authorities{s.ours})),
		shown{role: awa.RoleMember, byClient: awa.ErrOtherAgent, asServer: ErrRefused})

	// Those who don't.
	add("other cluster's", s.leafOf(t, s.theirs.member, agentLeaf(uidA, "n1", []authorities{s.theirs})), otherKey)
	add("other cluster's, another agent", s.leafOf(t, s.theirs.member, agentLeaf(uidB, "n1", []authorities{s.theirs})),
		otherKey)
	add("other cluster's check role", s.leafOf(t, s.theirs.check, clientLeaf(awa.RoleCheck)),
		shown{asClient: ErrOtherKey, byServer: ErrOtherKey, byClient: awa.ErrNoAgent, asServer: ErrRefused})
	add("expired", forge{
		subject: agent.subject, names: s.names, uses: bothUses, parent: s.ours.member.cert, signer: s.ours.member.key,
		from: time.Unix(0, 0), to: time.Now().Add(-time.Hour),
	}.make(t), shown{asClient: ErrOtherKey, byServer: ErrExpired, byClient: ErrExpired, asServer: ErrRefused})
	add("not yet valid", forge{
		subject: agent.subject, names: s.names, uses: bothUses, parent: s.ours.member.cert, signer: s.ours.member.key,
		from: time.Now().Add(time.Hour), to: time.Now().Add(2 * time.Hour),
	}.make(t), shown{asClient: ErrOtherKey, byServer: ErrExpired, byClient: ErrExpired, asServer: ErrRefused})
	add("self-made with our names", forge{subject: memberName, names: s.names, uses: bothUses}.make(t), shown{
		asClient: ErrOtherKey, byServer: ErrOtherKey, byClient: ErrOtherKey, asServer: ErrRefused})
	add("of a stranger", forge{subject: "www.example.org", names: []string{"www.example.org"}}.make(t), shown{
		asClient: ErrOtherKey, byServer: awa.ErrNoAgent, byClient: awa.ErrNoAgent, asServer: ErrRefused})

	add("of a stranger, expired", forge{
		subject: "www.example.org", names: []string{"www.example.org"}, from: time.Unix(0, 0), to: time.Unix(1, 0),
	}.make(t), shown{asClient: ErrOtherKey, byServer: awa.ErrNoAgent, byClient: awa.ErrNoAgent, asServer: ErrRefused})

	// What can be made of a check key.
	add("check CA signs an agent's", s.leafOf(t, s.stolen.check, agent), check)
	add("the check CA's own", tls.Certificate{Certificate: [][]byte{s.stolen.check.cert.Raw},
		PrivateKey: s.stolen.check.key}, check)
	below := forge{subject: memberName, ca: true, id: s.ours.member.cert.SubjectKeyId, parent: s.stolen.check.cert,
		signer: s.stolen.check.key}.make(t)
	add("check CA signs a member CA", under(forge{
		subject: agent.subject, names: s.names, uses: bothUses, parent: below.Leaf, signer: keyOf(below),
	}.make(t), below.Leaf, s.stolen.check.cert), shown{asClient: ErrOtherKey, byServer: awa.ErrNoAgent,
		byClient: awa.ErrNoAgent, asServer: ErrRefused})
	beneath := forge{subject: "any", ca: true, parent: s.stolen.check.cert, signer: s.stolen.check.key}.make(t)
	add("check CA signs a CA", under(forge{
		subject: agent.subject, names: s.names, uses: bothUses, parent: beneath.Leaf, signer: keyOf(beneath),
	}.make(t), beneath.Leaf), shown{asClient: ErrOtherKey, byServer: awa.ErrNoAgent, byClient: awa.ErrNoAgent,
		asServer: ErrRefused})
	add("a check certificate signs", under(forge{
		subject: agent.subject, names: s.names, uses: bothUses, parent: beneath.Leaf, signer: keyOf(beneath),
	}.make(t), s.leafOf(t, s.stolen.check, clientLeaf(awa.RoleCheck)).Leaf),
		shown{asClient: ErrOtherKey, byServer: awa.ErrNoAgent, byClient: awa.ErrNoAgent, asServer: ErrRefused})
	forged := forge{subject: memberName, ca: true, id: s.ours.member.cert.SubjectKeyId}.make(t)
	add("forged member CA", under(forge{
		subject: agent.subject, names: s.names, uses: bothUses, parent: forged.Leaf, signer: keyOf(forged),
	}.make(t), forged.Leaf), madeUp)
	add("the key of the anchor's signature signs", under(forge{
		subject: agent.subject, names: s.names, uses: bothUses, parent: anyKey(s.stolen.member.cert), signer: anchorSigner(),
	}.make(t), s.stolen.member.cert), madeUp)
	add("check CA's key signs as the member CA", under(forge{
		subject: agent.subject, names: s.names, uses: bothUses, parent: anyKey(s.stolen.member.cert),
		signer: s.stolen.check.key,
	}.make(t), s.stolen.member.cert), madeUp)
	noProof := shown{asClient: ErrRefused, byServer: "?", byClient: awa.ErrNoAgent, asServer: ErrRefused}
	add("the anchor itself", tls.Certificate{Certificate: [][]byte{s.stolen.member.cert.Raw},
		PrivateKey: anchorSigner()}, madeUp)
	add("the member CA itself", tls.Certificate{Certificate: [][]byte{s.ours.member.cert.Raw},
		PrivateKey: s.stolen.check.key}, noProof)
	swapped := derived(t, newKey(awa.RoleCheck, append(append([]byte(nil), s.key.memberKey()...), s.key.checkSeed()...)))
	add("swapped halves", s.leafOf(t, swapped.check, agent), otherKeyCheck)
	for name, b := range map[string][]byte{
		"member CA's public key": s.key.memberKey(), "check CA's seed": s.key.checkSeed(),
		"check CA's public key": public(s.stolen.check.key), "key of names": s.stolen.nameKey,
	} {
		a := derived(t, newKey(awa.RoleMember, b))
		add("the "+name+" as a cluster key", s.leafOf(t, a.member, agent), otherKey)
		a.member.key = ed25519.NewKeyFromSeed(b)
		a.member.cert = must[*x509.Certificate](t)(authorityCert(awa.RoleMember, s.key.memberKey(), public(a.member.key),
			a.member.key))
		add("the "+name+" as the member CA's seed", s.leafOf(t, a.member, agent), madeUp)
	}

	// What every stranger can see and not use: an agent's certificate.
	seen := s.leafOf(t, s.ours.member, agent)
	seen.PrivateKey = keyOf(forged)
	add("an agent's without its key", seen, shown{asClient: ErrRefused, byServer: "?", byClient: "?",
		asServer: ErrRefused})
	return all
}

var otherKeyCheck = shown{asClient: ErrOtherKey, byServer: ErrOtherKey, byClient: awa.ErrNoAgent, asServer: ErrRefused}

// anyKey is a certificate whose public key x509.CreateCertificate does not
// compare with the signer's.
func anyKey(c *x509.Certificate) *x509.Certificate {
	copied := *c
	copied.PublicKey = nil
	return &copied
}

// Who is let in by an agent, in which role, and what both sides say to others.
func TestKeyring_Server(t *testing.T) {
	s := newStage(t)
	agent := newAgent(t, uidB, "n2", s.key)
	client := newClient(t, awa.RoleMember, s.key)
	for name, c := range s.all(t) {
		t.Run(name, func(t *testing.T) {
			config := client.Client(Target{UID: uidB})
			config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				if c.cert == nil {
					return &tls.Certificate{}, nil
				}
				return c.cert, nil
			}
			m := meet(t, agent.Server(), config)
			role, ok := agent.RoleOf(m.server)
			if role != c.role || ok != (c.role != "") {
				t.Errorf("its role is %q, want %q", role, c.role)
			}
			if got := code(agent.ServerError(m.serverErr)); got != c.byServer {
				t.Errorf("the server says %q, want %q: %v", got, c.byServer, m.serverErr)
			}
			if got := code(client.ClientError(m.clientErr)); got != c.asClient {
				t.Errorf("the client says %q, want %q: %v", got, c.asClient, m.clientErr)
			}
			if (m.serverErr == nil) != (c.role != "") || (m.clientErr == nil) != (c.role != "") {
				t.Errorf("%v, %v", m.serverErr, m.clientErr)
			}
			sentences(t, agent.ServerError(m.serverErr), client.ClientError(m.clientErr))
		})
	}
}

// Whom a client believes to be agent A, and what both sides say of others.
func TestKeyring_Client(t *testing.T) {
	s := newStage(t)
	for role, client := range map[string]*Keyring{
		"member":                      newClient(t, awa.RoleMember, s.key),
		"check":                       newClient(t, awa.RoleCheck, s.key),
		"check with a check key":      newClient(t, awa.RoleCheck, s.key.Check()),
		"an agent":                    newAgent(t, uidB, "n2", s.key),
		"a member with two keys":      newClient(t, awa.RoleMember, NewKey(), s.key),
		"check, two keys, this first": newClient(t, awa.RoleCheck, s.key.Check(), NewKey().Check()),
	} {
		target := Target{UID: uidA}
		if role == "check" {
			target = Target{Name: "N1"}
		}
		for name, c := range s.all(t) {
			t.Run(role+"/"+name, func(t *testing.T) {
				config := base()
				config.ClientAuth = tls.RequireAnyClientCert
				config.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
					if c.cert == nil {
						return nil, errors.New("none")
					}
					return c.cert, nil
				}
				m := meet(t, config, client.Client(target))
				if got := code(client.ClientError(m.clientErr)); got != c.byClient {
					t.Errorf("the client says %q, want %q: %v", got, c.byClient, m.clientErr)
				}
				if got := code(client.ServerError(m.serverErr)); got != c.asServer {
					t.Errorf("the server says %q, want %q: %v", got, c.asServer, m.serverErr)
				}
				if (m.clientErr == nil) != (c.byClient == "") || m.clientErr == nil && uidIn(m.client.PeerCertificates[0]) != uidA {
					t.Errorf("the client takes it for agent A: %v", m.clientErr)
				}
				sentences(t, client.ServerError(m.serverErr), client.ClientError(m.clientErr))
			})
		}
	}
}

// sentences checks what a person reads: one sentence without a node's name,
// and what to do behind a colon or semicolon.
func sentences(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if code(err) == "" || code(err) == "?" {
			continue
		}
		s := err.Error()
		if strings.ContainsAny(s, "\n.\x00") && !strings.Contains(s, "1.3") && !strings.Contains(s, "www.example.org") ||
			!strings.ContainsAny(s, ":;") || len(s) > 250 || strings.Contains(s, "n1") {
			t.Errorf("%q is not a good sentence", s)
		}
		if errors.Unwrap(err) != nil || !errors.Is(err, code(err)) {
			t.Errorf("%v is not its own code", err)
		}
	}
}

// The same attempts as library calls.
func TestCheckKey_cantBecomeMember(t *testing.T) {
	check := NewKey().Check()
	const want = "can only read: this needs the cluster key"
	for name, try := range map[string]func() error{
		"NewAgent":           func() error { _, err := NewAgent([]Key{check}, uidA, "n1"); return err },
		"NewClient":          func() error { _, err := NewClient([]Key{check}, awa.RoleMember); return err },
		"Export":             func() error { return Export(t.TempDir(), []Key{check}, awa.RoleMember) },
		"behind another key": func() error { _, err := NewAgent([]Key{NewKey(), check}, uidA, "n1"); return err },
		"the anchor mints": func() error {
			_, err := derived(t, check).member.mint(clientLeaf(awa.RoleMember))
			return err
		},
		"SetKeys": func() error { return newAgent(t, uidA, "n1", NewKey()).SetKeys([]Key{check}) },
	} {
		if err := try(); !errors.Is(err, awa.ErrBadInput) || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%s: %v, want …%s", name, err, want)
		}
	}
}

// Strangers see an agent's certificate before they are refused.
func TestKeyring_Server_hidesNames(t *testing.T) {
	const name = "db-prod-3"
	k := NewKey()
	agent := newAgent(t, uidA, name, k, NewKey())
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		var seen [][]byte
		m := meet(t, agent.Server(), &tls.Config{
			InsecureSkipVerify: true, MaxVersion: version,
			VerifyPeerCertificate: func(raw [][]byte, _ [][]*x509.Certificate) error { seen = raw; return nil },
		})
		if m.serverErr == nil || m.clientErr == nil {
			t.Fatal("a stranger was let in")
		}
		if version == tls.VersionTLS12 {
			if seen != nil {
				t.Error("it speaks TLS 1.2")
			}
			continue
		}
		if len(seen) != 1 {
			t.Fatalf("%d certificates", len(seen))
		}
		if all := strings.ToLower(string(seen[0])); strings.Contains(all, name) || strings.Contains(all, "6462") ||
			strings.Contains(all, "127.0.0.1") {
			t.Errorf("a stranger learns the name: %q", all)
		}
	}
}
