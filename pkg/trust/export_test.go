package trust

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/awatest/testaid"
)

func TestExport(t *testing.T) {
	k, other := NewKey(), NewKey()
	dir := filepath.Join(t.TempDir(), "a", "b")
	if err := Export(dir, []Key{k, other}, awa.RoleCheck); err != nil {
		t.Fatal(err)
	}
	before := map[string][]byte{}
	for name, mode := range map[string]os.FileMode{KeyFile: 0o600, CertFile: 0o644, CAFile: 0o644} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm()&^0o022 != mode {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
		before[name] = must[[]byte](t)(os.ReadFile(filepath.Join(dir, name)))
	}
	if n := bytes.Count(before[CAFile], []byte("BEGIN CERTIFICATE")); n != 2 {
		t.Errorf("%d CAs for 2 keys", n)
	}
	t.Run("never overwrites", func(t *testing.T) {
		for gone := range before {
			if err := os.Remove(filepath.Join(dir, gone)); err != nil {
				t.Fatal(err)
			}
			err := Export(dir, []Key{other}, awa.RoleMember)
			if !errors.Is(err, awa.ErrBadInput) || !strings.Contains(err.Error(), "is never overwritten") {
				t.Errorf("without %s: %v", gone, err)
			}
			if _, err := os.Stat(filepath.Join(dir, gone)); err == nil {
				t.Errorf("%s was written", gone)
			}
			if err := os.WriteFile(filepath.Join(dir, gone), before[gone], 0o600); err != nil {
				t.Fatal(err)
			}
			for name, text := range before {
				if now, _ := os.ReadFile(filepath.Join(dir, name)); !bytes.Equal(now, text) {
					t.Errorf("%s changed", name)
				}
			}
		}
	})
}

func run(t *testing.T, dir, in string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c := exec.CommandContext(ctx, args[0], args[1:]...)
	c.Dir, c.Stdin = dir, strings.NewReader(in)
	out, err := c.CombinedOutput()
	return string(out), err
}

// exported is a folder with the files of Export, the certificate of an agent
// with the key k, and its member CA; check.pem is the check CA of the first of
// the keys.
func exported(t *testing.T, k Key, role awa.Role, keys ...Key) string {
	t.Helper()
	dir := t.TempDir()
	if err := Export(dir, keys, role); err != nil {
		t.Fatal(err)
	}
	agent := newAgent(t, uidA, "n1", k).now.Load()
	for name, der := range map[string][]byte{
		"agent.pem": agent.own.Certificate[0], "member.pem": agent.all[0].member.cert.Raw,
		"check.pem": derived(t, keys[0]).check.cert.Raw,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), block("CERTIFICATE", der), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestExport_opensslVerify(t *testing.T) {
	openssl := testaid.Tool(t, "openssl")
	k, next := NewKey(), NewKey()
	for name, keys := range map[string][]Key{"cluster key": {k}, "check key": {k.Check()}, "two keys": {next, k},
		"two check keys": {next.Check(), k.Check()}} {
		t.Run(name, func(t *testing.T) {
			dir := exported(t, k, awa.RoleCheck, keys...)
			for what, c := range map[string]struct {
				args string
				bad  bool
			}{
				"an agent answers": {args: "-purpose sslserver -verify_hostname agent.awa.internal -CAfile ca.pem agent.pem"},
				"an agent by its uid": {args: "-purpose sslserver -verify_hostname " + uidA + ".uid.awa.internal -CAfile " +
					"ca.pem agent.pem"},
				"another agent's uid": {bad: true, args: "-purpose sslserver -verify_hostname " + uidB + ".uid.awa.internal " +
					"-CAfile ca.pem agent.pem"},
				"an agent asks":                      {args: "-purpose sslclient -CAfile member.pem agent.pem"},
				"the check role asks":                {args: "-purpose sslclient -CAfile check.pem cert.pem"},
				"the check role can't answer":        {bad: true, args: "-purpose sslserver -CAfile check.pem cert.pem"},
				"the check role is not the member's": {bad: true, args: "-purpose sslclient -CAfile ca.pem cert.pem"},
			} {
				for _, strict := range []string{"", "-x509_strict"} {
					args := append([]string{openssl, "verify"}, strings.Fields(strict+" -no-CApath "+c.args)...)
					if out, err := run(t, dir, "", args...); (err != nil) != c.bad {
						t.Errorf("%s %s: %v\n%s", what, strict, err, out)
					}
				}
			}
		})
	}
}

func TestExport_tools(t *testing.T) {
	openssl, curl := testaid.Tool(t, "openssl"), testaid.Tool(t, "curl")
	k := NewKey()
	agent := newAgent(t, uidA, "n1", k)
	said := newTold()
	ln := listen(t)
	startHTTP(t, agent.Listener(ln, said.tell))
	addr := ln.Addr().String()
	_, port, _ := net.SplitHostPort(addr)
	sClient := []string{openssl, "s_client", "-connect", addr, "-servername", AnyAgent, "-verify_hostname", AnyAgent,
		"-verify_return_error", "-CAfile", "ca.pem", "-no-CApath", "-quiet"}
	request := "GET / HTTP/1.0\r\n\r\n"
	for name, c := range map[string]struct {
		role awa.Role
		keys []Key
	}{"check": {awa.RoleCheck, []Key{k}}, "check with a check key": {awa.RoleCheck,
		[]Key{k.Check()}}, "member": {awa.RoleMember, []Key{k}}, "two keys": {awa.RoleCheck, []Key{k, NewKey()}}} {
		t.Run(name, func(t *testing.T) {
			dir := exported(t, k, c.role, c.keys...)
			t.Run("curl", func(t *testing.T) {
				out, err := run(t, dir, "", curl, "-sS", "--cacert", CAFile, "--cert", CertFile, "--key", KeyFile,
					"--connect-to", "::127.0.0.1:"+port, "https://"+AnyAgent+"/")
				if err != nil || out != "hello" {
					t.Errorf("%v: %s", err, out)
				}
			})
			t.Run("openssl s_client", func(t *testing.T) {
				out, err := run(t, dir, request, append(sClient, "-cert", CertFile, "-key", KeyFile, "-ign_eof")...)
				if err != nil || !strings.HasSuffix(out, "hello") {
					t.Errorf("%v: %s", err, out)
				}
			})
			said.none(t)
		})
	}
	t.Run("refused", func(t *testing.T) {
		ours, theirs := exported(t, k, awa.RoleCheck, k), exported(t, k, awa.RoleCheck, NewKey())
		for name, c := range map[string]struct {
			dir, extra string
			want       awa.Code
		}{
			"no certificate":            {ours, "", ErrNoCertificate},
			"TLS 1.2":                   {ours, "-tls1_2 -cert cert.pem -key key.pem", "?"},
			"does not trust this agent": {theirs, "-cert cert.pem -key key.pem", ErrRefused},
		} {
			out, _ := run(t, c.dir, request, append(append(sClient, strings.Fields(c.extra)...), "-ign_eof")...)
			if strings.Contains(out, "hello") {
				t.Errorf("%s: is answered", name)
			}
			if err := said.next(t); code(err) != c.want {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}
