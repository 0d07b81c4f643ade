package trust

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"are-we-alive/pkg/awa"
)

// fixed is the key of the vectors: the bytes 0, 1, 2, …, 31.
func fixed() Key {
	b := make([]byte, 32)
	for i := range b {
		b[i] = byte(i)
	}
	return newKey(awa.RoleMember, b)
}

// Whatever changes here, a version that has the change and one that hasn't
// can't talk to each other, and check keys that were handed out are void.
func TestKey_derived(t *testing.T) {
	member, check := derived(t, fixed()), derived(t, fixed().Check())
	for what, v := range map[string][2]string{
		"line": {fixed().Line(), "awa1 member AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="},
		"check key": {fixed().Check().Line(),
			"awa1 check y6BwfTOwIC9+JaVStoHVzejySIZHmj/Sp5gauCFlrRf7VVwdKBYU+igCRbQgCWPdnUL6k3YdrHWS0j0noHuMSQ=="},
		"id":                  {fixed().ID(), "589c40d9"},
		"id of the check key": {fixed().Check().ID(), "589c40d9"},
		"member CA":           {sum(member.member.cert), "0daf9af66125f6ba25d323cb6b2524ca345b626cbcd449dc65b57d750e8fc10a"},
		"check CA":            {sum(member.check.cert), "6defe513d2aeca70825f364e00dd10a20f410046f9289b842dbd0da4da3ba238"},
		"anchor made from the check key": {sum(check.member.cert),
			"6ae73c2f017a105f080f50a5a1fe790089343f9e74aba9ecffc1c7006e25741f"},
		"a node's name": {member.hashedName("Web-01"), "44d47e664efd7151c971d2f6c6d4c178.name.awa.internal"},
	} {
		if v[0] != v[1] {
			t.Errorf("%s: %s, want %s", what, v[0], v[1])
		}
	}
}

func sum(c *x509.Certificate) string {
	s := sha256.Sum256(c.Raw)
	return hex.EncodeToString(s[:])
}

func TestKey_Check(t *testing.T) {
	k := NewKey()
	member, check := derived(t, k), derived(t, k.Check())
	t.Run("a check key is its own", func(t *testing.T) {
		if !k.Check().Check().Equal(k.Check()) || k.Check().Equal(k) {
			t.Error("it is not")
		}
	})
	t.Run("the anchor is the member CA except for the signature", func(t *testing.T) {
		if !bytes.Equal(member.member.cert.RawTBSCertificate, check.member.cert.RawTBSCertificate) {
			t.Error("what is signed differs")
		}
		if bytes.Equal(member.member.cert.Signature, check.member.cert.Signature) {
			t.Error("the signature is the same: a check key can sign as the member CA")
		}
	})
	t.Run("the check CA is the same", func(t *testing.T) {
		if !member.check.cert.Equal(check.check.cert) || !member.check.key.Equal(check.check.key) {
			t.Error("it differs")
		}
	})
	t.Run("the names of nodes are the same, whatever the case", func(t *testing.T) {
		if member.hashedName("N1") != check.hashedName("n1") {
			t.Error("they differ")
		}
	})
	t.Run("no other private key is in it", func(t *testing.T) {
		if check.member.key != nil {
			t.Error("a check key gives the member CA's private key")
		}
		for name, secret := range map[string][]byte{"cluster key": k.open().bytes,
			"seed of the member CA": member.member.key.Seed()} {
			if bytes.Contains(k.Check().open().bytes, secret) {
				t.Errorf("the check key holds the %s", name)
			}
		}
	})
}

func TestNewKey(t *testing.T) {
	a, b := NewKey(), NewKey()
	if a.Equal(b) || a.ID() == b.ID() || a.Role() != awa.RoleMember || len(a.open().bytes) != 32 {
		t.Errorf("%v and %v are not two new cluster keys", a, b)
	}
}

// Nothing that prints a key by accident may show it.
func TestKey_printing(t *testing.T) {
	for _, k := range []Key{fixed(), fixed().Check()} {
		holder := struct {
			K Key
			k Key
			p *Key
			s []Key
		}{k, k, &k, []Key{k}}
		var out strings.Builder
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
			fmt.Fprintf(&out, verb+" "+verb+" "+verb+"\n", k, holder, &holder)
		}
		slog.New(slog.NewTextHandler(&out, nil)).Info("key", "key", k, "holder", holder)
		j, err := json.Marshal(holder)
		out.Write(j)
		if err != nil {
			t.Fatal(err)
		}
		b := k.open().bytes
		for _, secret := range []string{
			base64.StdEncoding.EncodeToString(b), hex.EncodeToString(b[:4]), strings.ToUpper(hex.EncodeToString(b[:4])),
			fmt.Sprint(b)[1:12], fmt.Sprintf("%#v", b[:4])[7:20],
		} {
			if strings.Contains(out.String(), secret) {
				t.Errorf("%s is in\n%s", secret, out.String())
			}
		}
		if want := k.Role().String() + " key " + k.ID(); !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, out.String())
		}
	}
	if s := fmt.Sprint(Key{}); s != "no key" || (Key{}).Line() != "" || (Key{}).ID() != "" || (Key{}).Role() != "" {
		t.Errorf("the zero key is %q", s)
	}
}

// A wrong clock makes nobody blind.
func TestAuthority_mint_anyClock(t *testing.T) {
	a := derived(t, NewKey())
	for _, l := range []leaf{agentLeaf(uidA, "n1", []authorities{a}), clientLeaf(awa.RoleMember)} {
		c, err := a.member.mint(l)
		if err != nil {
			t.Fatal(err)
		}
		for _, at := range []time.Time{
			time.Unix(1, 0), time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC), time.Unix(1<<31, 0),
			time.Unix(1<<32, 0), time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC),
		} {
			pool := x509.NewCertPool()
			pool.AddCert(a.member.cert)
			if _, err := c.Leaf.Verify(x509.VerifyOptions{Roots: pool, CurrentTime: at,
				KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
				t.Errorf("at %s: %v", at, err)
			}
		}
	}
}

func TestAuthority_mint(t *testing.T) {
	a := derived(t, NewKey())
	one := must2(t, a.member, agentLeaf(uidA, "n1", []authorities{a}))
	two := must2(t, a.member, agentLeaf(uidA, "n1", []authorities{a}))
	if one.SerialNumber.Cmp(two.SerialNumber) == 0 || one.PublicKey.(ed25519.PublicKey).Equal(two.PublicKey) {
		t.Error("two certificates have the same serial or key")
	}
	if uidIn(one) != uidA || !slices.Contains(one.DNSNames, AnyAgent) || !slices.Contains(one.DNSNames,
		a.hashedName("N1")) {
		t.Errorf("its names are %q", one.DNSNames)
	}
	if one.IsCA || one.KeyUsage != x509.KeyUsageDigitalSignature || !slices.Equal(one.ExtKeyUsage,
		[]x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}) {
		t.Error("it is good for something else")
	}
	client := must2(t, a.check, clientLeaf(awa.RoleCheck))
	if len(client.DNSNames) != 0 || !slices.Equal(client.ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}) {
		t.Error("a client's certificate is good for more than asking")
	}
}

func must2(t *testing.T, a authority, l leaf) *x509.Certificate {
	t.Helper()
	c, err := a.mint(l)
	if err != nil {
		t.Fatal(err)
	}
	return c.Leaf
}

func BenchmarkDerive(b *testing.B) {
	k := NewKey()
	for name, k := range map[string]Key{"cluster key": k, "check key": k.Check()} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				derived(b, k)
			}
		})
	}
}

func BenchmarkMint(b *testing.B) {
	a := derived(b, NewKey())
	l := agentLeaf(uidA, "n1", []authorities{a})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := a.member.mint(l); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkNewAgent(b *testing.B) {
	k := NewKey()
	b.ReportAllocs()
	for b.Loop() {
		newAgent(b, uidA, "n1", k)
	}
}

func BenchmarkNewClient(b *testing.B) {
	k := NewKey().Check()
	b.ReportAllocs()
	for b.Loop() {
		newClient(b, awa.RoleCheck, k)
	}
}
