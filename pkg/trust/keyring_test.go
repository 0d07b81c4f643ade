package trust

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"are-we-alive/pkg/awa"
)

// serve answers meetings at an address until the test ends or stop is called.
func serve(t testing.TB, addr string, config *tls.Config) (at string, stop func()) {
	t.Helper()
	ln := must[net.Listener](t)(net.Listen("tcp", addr))
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			all.Go(func() { answer(tls.Server(c, config)) })
		}
	})
	stop = func() { ln.Close(); all.Wait() }
	t.Cleanup(stop)
	return ln.Addr().String(), stop
}

func ok(t *testing.T, m met) met {
	t.Helper()
	if m.clientErr != nil || m.serverErr != nil {
		t.Fatalf("client: %v; server: %v", m.clientErr, m.serverErr)
	}
	return m
}

func TestKeyring_configurations(t *testing.T) {
	k := NewKey()
	agent, client := newAgent(t, uidA, "n1", k), newClient(t, awa.RoleCheck, k.Check())
	m := ok(t, meet(t, agent.Server(), client.Client(Target{})))
	for _, s := range []tls.ConnectionState{m.server, m.client} {
		if s.Version != tls.VersionTLS13 || s.CurveID != tls.X25519 || s.NegotiatedProtocol != "http/1.1" {
			t.Errorf("version %x, curve %v, protocol %q", s.Version, s.CurveID, s.NegotiatedProtocol)
		}
	}
	t.Run("a client takes the member CA's word only", func(t *testing.T) {
		a := derived(t, k)
		members, callers := x509.NewCertPool(), x509.NewCertPool()
		members.AddCert(a.member.cert)
		callers.AddCert(a.member.cert)
		callers.AddCert(a.check.cert)
		if !agent.Client(Target{}).RootCAs.Equal(members) {
			t.Error("its roots are others")
		}
		if !agent.now.Load().server.ClientCAs.Equal(callers) {
			t.Error("the server's are others than the two CAs")
		}
	})
	t.Run("a client that could speak HTTP/2 speaks HTTP/1.1", func(t *testing.T) {
		config := client.Client(Target{})
		config.NextProtos = []string{"h2", "http/1.1"}
		if m := ok(t, meet(t, agent.Server(), config)); m.client.NegotiatedProtocol != "http/1.1" {
			t.Error(m.client.NegotiatedProtocol)
		}
	})
	t.Run("nothing but X25519", func(t *testing.T) {
		config := client.Client(Target{})
		config.CurvePreferences = []tls.CurveID{tls.X25519MLKEM768, tls.CurveP256}
		if m := meet(t, agent.Server(), config); m.clientErr == nil || code(client.ClientError(m.clientErr)) != ErrNoTLS {
			t.Errorf("%v", m.clientErr)
		}
	})
	t.Run("the names that count", func(t *testing.T) {
		for name, c := range map[string]struct {
			target Target
			want   awa.Code
		}{
			"uid":                      {Target{UID: uidA}, ""},
			"name":                     {Target{Name: "n1"}, ""},
			"name in other letters":    {Target{Name: "N1"}, ""},
			"any agent":                {Target{}, ""},
			"uid before name":          {Target{UID: uidA, Name: "n2"}, ""},
			"another uid":              {Target{UID: uidB}, awa.ErrOtherAgent},
			"another uid, right name":  {Target{UID: uidB, Name: "n1"}, awa.ErrOtherAgent},
			"another name":             {Target{Name: "n2"}, awa.ErrOtherAgent},
			"a name that ends like it": {Target{Name: "x.n1"}, awa.ErrOtherAgent},
			"no uid":                   {Target{UID: "*"}, awa.ErrOtherAgent},
		} {
			err := client.ClientError(meet(t, agent.Server(), client.Client(c.target)).clientErr)
			if code(err) != c.want {
				t.Errorf("%s: %v, want %q", name, err, c.want)
			}
			var f *Failure
			if errors.As(err, &f) && f.UID != uidA {
				t.Errorf("%s: it is said to be %q that answers", name, f.UID)
			}
		}
	})
	t.Run("SetIdentity", func(t *testing.T) {
		server := agent.Server()
		if err := agent.SetIdentity(uidB, "renamed"); err != nil {
			t.Fatal(err)
		}
		ok(t, meet(t, server, client.Client(Target{UID: uidB})))
		if err := agent.SetKeys([]Key{k, NewKey()}); err != nil { // which keeps the identity
			t.Fatal(err)
		}
		ok(t, meet(t, server, client.Client(Target{Name: "renamed"})))
		if m := meet(t, server, client.Client(Target{UID: uidA})); code(client.ClientError(m.clientErr)) != awa.ErrOtherAgent {
			t.Error(m.clientErr)
		}
	})
	t.Run("any legal name", func(t *testing.T) {
		for _, name := range []string{"a", "_.", "n1.", strings.Repeat("x", awa.MaxName), "a..b", "web_01", "1.2.3.4"} {
			agent := newAgent(t, uidA, name, k)
			ok(t, meet(t, agent.Server(), client.Client(Target{Name: name})))
		}
	})
	t.Run("an agent that has no name and uid yet", func(t *testing.T) {
		ok(t, meet(t, newAgent(t, "", "", k).Server(), client.Client(Target{})))
	})
}

func TestKeyring_badInput(t *testing.T) {
	k := NewKey()
	for name, err := range map[string]error{
		"no key":           second(NewAgent(nil, uidA, "n1")),
		"the zero key":     second(NewAgent([]Key{{}}, uidA, "n1")),
		"no uid":           second(NewAgent([]Key{k}, "n1", "n1")),
		"an unknown role":  second(NewClient([]Key{k}, "root")),
		"SetKeys: none":    newAgent(t, uidA, "n1", k).SetKeys(nil),
		"SetIdentity: bad": newAgent(t, uidA, "n1", k).SetIdentity("*", "n1"),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	t.Run("a change that fails changes nothing", func(t *testing.T) {
		agent := newAgent(t, uidA, "n1", k)
		agent.SetKeys(nil)
		agent.SetIdentity("*", "n2")
		ok(t, meet(t, agent.Server(), agent.Client(Target{UID: uidA})))
		if err := agent.SetKeys([]Key{k}); err != nil {
			t.Fatal(err)
		}
		ok(t, meet(t, agent.Server(), agent.Client(Target{Name: "n1"})))
	})
	t.Run("a client can't serve", func(t *testing.T) {
		defer func() {
			if recover() == nil {
				t.Error("no panic")
			}
		}()
		newClient(t, awa.RoleMember, k).Server()
	})
}

func second[T any](_ T, err error) error { return err }

// Whoever has been there before greets shorter, with the role and the
// certificate that belong to it.
func TestKeyring_resumption(t *testing.T) {
	k := NewKey()
	a, b := newAgent(t, uidA, "n1", k), newAgent(t, uidB, "n2", k)
	roles := make(chan awa.Role, 100)
	watched := func(k *Keyring) *tls.Config {
		c := k.now.Load().server.Clone()
		accept := c.VerifyConnection
		c.VerifyConnection = func(s tls.ConnectionState) error {
			if err := accept(s); err != nil {
				return err
			}
			s.HandshakeComplete = true
			role, _ := k.RoleOf(s)
			roles <- role
			return nil
		}
		return c
	}
	addrA, stopA := serve(t, "127.0.0.1:0", watched(a))
	addrB, _ := serve(t, "127.0.0.1:0", watched(b))
	for role, client := range map[awa.Role]*Keyring{awa.RoleMember: newClient(t, awa.RoleMember, k),
		awa.RoleCheck: newClient(t, awa.RoleCheck, k.Check())} {
		for round := range 4 {
			for _, c := range []struct {
				addr, uid string
				by        Target
			}{
				{addrA, uidA, Target{Addr: addrA}}, {addrB, uidB, Target{Addr: addrB}},
				{addrA, uidA, Target{UID: uidA, Addr: addrA}}, {addrB, uidB, Target{UID: uidB, Addr: addrB}},
				{addrA, uidA, Target{Name: "n1", Addr: addrA}}, {addrB, uidB, Target{Name: "n2", Addr: addrB}},
				{addrA, uidA, Target{}}, {addrB, uidB, Target{}},
			} {
				m := call(t, c.addr, client.Client(c.by))
				if m.clientErr != nil {
					t.Fatal(m.clientErr)
				}
				if got := uidIn(m.client.PeerCertificates[0]); got != c.uid {
					t.Errorf("%+v: the certificate is of %s", c.by, got)
				}
				if want := round > 0 && c.by.Addr != ""; m.client.DidResume != want {
					t.Errorf("%+v, round %d: resumed %t", c.by, round, m.client.DidResume)
				}
				if got := <-roles; got != role {
					t.Errorf("%+v, round %d: the role is %q, want %q", c.by, round, got, role)
				}
				if got, _ := client.RoleOf(m.client); got != awa.RoleMember {
					t.Errorf("the server's role is %q", got)
				}
			}
		}
	}
	t.Run("an address that another agent took over", func(t *testing.T) {
		client := newClient(t, awa.RoleMember, k)
		for range 2 {
			call(t, addrA, client.Client(Target{UID: uidA, Addr: addrA}))
			call(t, addrA, client.Client(Target{Addr: addrA}))
		}
		stopA()
		serve(t, addrA, b.Server())
		m := call(t, addrA, client.Client(Target{UID: uidA, Addr: addrA}))
		if code(client.ClientError(m.clientErr)) != awa.ErrOtherAgent {
			t.Errorf("A is said to answer: %v", m.clientErr)
		}
		m = call(t, addrA, client.Client(Target{Addr: addrA}))
		if m.clientErr != nil || uidIn(m.client.PeerCertificates[0]) != uidB {
			t.Errorf("%v; the certificate is of %s", m.clientErr, uidIn(m.client.PeerCertificates[0]))
		}
	})
}

// A change of the keys keeps the sessions of those who are still welcome, and
// ends those of the others.
func TestKeyring_SetKeys_sessions(t *testing.T) {
	old, new := NewKey(), NewKey()
	agent := newAgent(t, uidA, "n1", old)
	addr, _ := serve(t, "127.0.0.1:0", agent.Server())
	client := newClient(t, awa.RoleCheck, old.Check())
	visit := func(resumed bool, want awa.Code) {
		t.Helper()
		m := call(t, addr, client.Client(Target{UID: uidA, Addr: addr}))
		if got := code(client.ClientError(m.clientErr)); got != want || m.client.DidResume != resumed {
			t.Errorf("resumed %t, %q: %v", m.client.DidResume, got, m.clientErr)
		}
	}
	set := func(k *Keyring, keys ...Key) {
		t.Helper()
		if err := k.SetKeys(keys); err != nil {
			t.Fatal(err)
		}
	}
	visit(false, "")
	visit(true, "")
	set(agent, old, new)
	visit(true, "")
	set(agent, new, old)
	visit(true, "") // the server did not have to show its new certificate
	set(client, new.Check(), old.Check())
	visit(true, "")
	set(agent, new)
	visit(false, "") // the session was the old key's: all again
	visit(true, "")
	set(client, old.Check())
	visit(false, ErrOtherKey) // now it is the client that does not take the session
	set(client, new.Check())
	visit(false, "") // a refused handshake forgets the session
	visit(true, "")
	set(agent, old)
	visit(false, ErrOtherKey)
}

// Four steps, each taken by everybody before anybody takes the next one, in
// any order: nobody is ever refused.
func TestKeyring_SetKeys_rotation(t *testing.T) {
	old, new := NewKey(), NewKey()
	steps := [][]Key{{old}, {old, new}, {new, old}, {new}}
	r := rand.New(rand.NewPCG(1, 2))
	names := []string{"n1", "n2", "n3"}
	var agents, all []*Keyring
	var addrs []string
	uid := func(i int) string { return fmt.Sprintf("%032x", i+1) }
	for i, name := range names {
		agents = append(agents, newAgent(t, uid(i), name, old))
		addr, _ := serve(t, "127.0.0.1:0", agents[i].Server())
		addrs = append(addrs, addr)
	}
	checker := len(agents)
	all = append(agents, newClient(t, awa.RoleCheck, old.Check()), newClient(t, awa.RoleMember, old))
	// visits lets everybody visit every agent, as far as i takes part; -1 is all.
	visits := func(i int) {
		t.Helper()
		for from, k := range all {
			for to, addr := range addrs {
				if i >= 0 && from != i && to != i {
					continue
				}
				for _, target := range []Target{
					{UID: uid(to), Addr: addr}, {Name: names[to], Addr: addr}, {Addr: addr}, // with what sessions there are
					{UID: uid(to)},
				} {
					if m := call(t, addr, k.Client(target)); m.clientErr != nil {
						t.Fatalf("%d (keys %v) can't reach agent %d (keys %v) by %+v: %v", from, k.IDs(), to, agents[to].IDs(),
							target, m.clientErr)
					}
				}
			}
		}
	}
	visits(-1)
	for _, step := range steps[1:] {
		for _, i := range r.Perm(len(all)) {
			keys := slices.Clone(step)
			if i == checker {
				for j := range keys {
					keys[j] = keys[j].Check()
				}
			}
			if err := all[i].SetKeys(keys); err != nil {
				t.Fatal(err)
			}
			visits(i)
		}
	}
}

// All pairs of key files that two programs may hold at a time: they meet when
// each accepts the key that the other one uses, and else both say why not.
func TestKeyring_pairsOfKeys(t *testing.T) {
	old, new := NewKey(), NewKey()
	files := map[string][]Key{"old": {old}, "old,new": {old, new}, "new,old": {new, old}, "new": {new}}
	for a, keysA := range files {
		for b, keysB := range files {
			agent, client := newAgent(t, uidA, "n1", keysA...), newClient(t, awa.RoleCheck, keysB...)
			m := meet(t, agent.Server(), client.Client(Target{UID: uidA}))
			want := slices.ContainsFunc(keysA, keysB[0].Equal) && slices.ContainsFunc(keysB, keysA[0].Equal)
			if (m.clientErr == nil && m.serverErr == nil) != want {
				t.Errorf("agent %s, client %s: %v, %v", a, b, m.clientErr, m.serverErr)
			}
			if !want && code(client.ClientError(m.clientErr)) != ErrOtherKey &&
				code(agent.ServerError(m.serverErr)) != ErrOtherKey {
				t.Errorf("agent %s, client %s: nobody says why: %v, %v", a, b, m.clientErr, m.serverErr)
			}
		}
	}
}

// A connection that outlives its key has no role any more.
func TestKeyring_RoleOf(t *testing.T) {
	old, new := NewKey(), NewKey()
	agent, client := newAgent(t, uidA, "n1", old), newClient(t, awa.RoleCheck, old)
	open := ok(t, meet(t, agent.Server(), client.Client(Target{}))).server
	for _, c := range []struct {
		keys []Key
		want awa.Role
	}{{[]Key{old, new}, awa.RoleCheck}, {[]Key{new, old}, awa.RoleCheck}, {[]Key{new}, ""}, {[]Key{old}, awa.RoleCheck}} {
		if err := agent.SetKeys(c.keys); err != nil {
			t.Fatal(err)
		}
		if got, _ := agent.RoleOf(open); got != c.want {
			t.Errorf("with keys %v it is %q, want %q", agent.IDs(), got, c.want)
		}
	}
	t.Run("without a handshake and a certificate there is none", func(t *testing.T) {
		unfinished, nobody, foreign := open, open, open
		unfinished.HandshakeComplete = false
		nobody.PeerCertificates = nil
		foreign.PeerCertificates = []*x509.Certificate{newClient(t, awa.RoleMember, new).now.Load().own.Leaf}
		for _, s := range []tls.ConnectionState{{}, unfinished, nobody, foreign} {
			if role, ok := agent.RoleOf(s); role != "" || ok {
				t.Errorf("%q", role)
			}
		}
	})
}

// Handshakes and changes at the same time; -race looks on.
func TestKeyring_concurrently(t *testing.T) {
	old, new := NewKey(), NewKey()
	agent := newAgent(t, uidA, "n1", old, new)
	addr, _ := serve(t, "127.0.0.1:0", agent.Server())
	client := newClient(t, awa.RoleCheck, old.Check(), new.Check())
	var all, changers sync.WaitGroup
	var done atomic.Bool
	for _, k := range []*Keyring{agent, client} {
		changers.Go(func() {
			for i := 0; !done.Load(); i++ {
				keys := []Key{old, new}
				if i%2 == 1 {
					keys = []Key{new, old}
				}
				if k == client {
					keys[0], keys[1] = keys[0].Check(), keys[1].Check()
				}
				if err := k.SetKeys(keys); err != nil {
					t.Error(err)
				}
				if k == agent && k.SetIdentity(uidA, fmt.Sprintf("n%d", i)) != nil {
					t.Error("SetIdentity")
				}
				k.IDs()
				runtime.Gosched()
			}
		})
	}
	for range 8 {
		all.Go(func() {
			for i := range 10 {
				target := Target{UID: uidA}
				if i%2 == 0 {
					target.Addr = addr
				}
				m := call(t, addr, client.Client(target))
				if m.clientErr != nil {
					t.Error(client.ClientError(m.clientErr))
				}
				if role, _ := client.RoleOf(m.client); role != awa.RoleMember {
					t.Errorf("the agent's role is %q", role)
				}
			}
		})
	}
	all.Wait()
	done.Store(true)
	changers.Wait()
}

func TestKeyring_anyClock(t *testing.T) {
	k := NewKey()
	agent, client := newAgent(t, uidA, "n1", k), newClient(t, awa.RoleCheck, k.Check())
	for _, at := range []time.Time{time.Unix(60, 0), time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC),
		time.Date(2400, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)} {
		for _, k := range []*Keyring{agent, client} {
			other := *k.now.Load()
			other.clock = func() time.Time { return at }
			held := k.now.Swap(&other)
			server, config := agent.now.Load().serverConfig(agent.tickets), client.Client(Target{UID: uidA})
			server.Time, config.Time = agent.now.Load().clock, client.now.Load().clock
			ok(t, meet(t, server, config))
			k.now.Store(held)
		}
	}
}
