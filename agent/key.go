package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/trust"
)

// keyFlag names the key file.
type keyFlag struct {
	// nil when it is not named; a name that is empty means no key.
	KeyFile *string `placeholder:"FILE" env:"AWA_KEY_FILE" help:"${help_key_file}"`
}

// path returns the key file, "" for none.
func (f keyFlag) path() string { return keyPath(f.KeyFile, awa.ClusterKeyFile) }

// keyPath returns the named file, or else the usual one if it is there. It is
// there too when it can't be read: whoever has a key means to use it.
func keyPath(named *string, usual string) string {
	if named != nil {
		return *named
	}
	if _, err := os.Lstat(usual); errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	return usual
}

// keys reads the key file; none without one.
func (f keyFlag) keys() ([]trust.Key, error) {
	path := f.path()
	if path == "" {
		return nil, nil
	}
	keys, err := trust.ReadFile(path, false)
	if err != nil {
		return nil, usageError{err}
	}
	return keys, nil
}

// someKeys reads the key file, which must be there.
func (f keyFlag) someKeys() ([]trust.Key, error) {
	keys, err := f.keys()
	if err == nil && keys == nil {
		err = usageError{errors.New("there is no " + awa.ClusterKeyFile + ": name the key file with --key-file, or make " +
			"a cluster's key with awa-agent key new")}
	}
	return keys, err
}

// keyCmd is awa-agent key.
type keyCmd struct {
	New   keyNewCmd   `cmd:"" help:"Make the key of a cluster."`
	Check keyCheckCmd `cmd:"" help:"Derive the check key, which can only read, for monitoring hosts."`
	Cert  keyCertCmd  `cmd:"" help:"Make a certificate as PEM files, for curl, Prometheus and the like."`
}

// keyNewCmd is awa-agent key new.
type keyNewCmd struct {
	File string `arg:"" optional:"" default:"${key_file}" help:"File to write; it must not exist (${default})."`
}

// Run makes a key.
func (c *keyNewCmd) Run(std streams) error {
	key := trust.NewKey()
	if err := writing(trust.WriteFile(c.File, key)); err != nil {
		return err
	}
	_, err := fmt.Fprintf(std.out, `Made cluster key %s in %s, which only its owner can read.
Next: copy the file to every server of the cluster, with mode 0600 and for the user that runs awa-agent there.
Who holds it may do everything. Monitoring hosts need a check key only (awa-agent key check).
`, key.ID(), c.File)
	return err
}

// keyCheckCmd is awa-agent key check.
type keyCheckCmd struct {
	keyFlag
	File string `arg:"" optional:"" help:"File to write; it must not exist. Standard output by default."`
}

// Run derives the check keys of all keys in the file, in their order: during
// a rotation a monitoring host needs them all, as every server does.
func (c *keyCheckCmd) Run(std streams) error {
	keys, err := c.someKeys()
	if err != nil {
		return err
	}
	if keys[0].Role() == awa.RoleCheck {
		return usageError{fmt.Errorf("key file %s: it holds a check key already: copy it, or name the cluster's key file "+
			"with --key-file", c.path())}
	}
	for i := range keys {
		keys[i] = keys[i].Check()
	}
	if c.File == "" {
		_, err := io.WriteString(std.out, keys[0].FileText(keys[1:]...))
		return err
	}
	if err := writing(trust.WriteFile(c.File, keys[0], keys[1:]...)); err != nil {
		return err
	}
	_, err = fmt.Fprintf(std.out, `Wrote the check key of cluster key %s to %s, which only its owner can read.
Next: copy the file to the monitoring hosts as %s, with mode 0600 and for the user that runs check_awa there (chown nagios).
`, keys[0].ID(), c.File, awa.CheckKeyFile)
	return err
}

// keyCertCmd is awa-agent key cert.
type keyCertCmd struct {
	keyFlag
	Role string `required:"" enum:"check,member" placeholder:"ROLE" help:"${help_role}"`
	Out  string `required:"" placeholder:"DIR" help:"Folder for cert.pem, key.pem and ca.pem, none of which may exist."`
}

// Help is shown below the flags' head.
func (c *keyCertCmd) Help() string {
	return `The certificate ends with the key that it comes from, and not by itself. Programs name the agent agent.awa.internal, whatever its host is. Chrome and Firefox can't use it: they take no Ed25519 certificates, and the agents' own are of that kind. What works: curl, Prometheus (tls_config with server_name), and other programs with TLS 1.3 by OpenSSL, GnuTLS or Go.`
}

// Run makes the certificate.
func (c *keyCertCmd) Run(std streams) error {
	keys, err := c.someKeys()
	if err != nil {
		return err
	}
	role := awa.Role(c.Role)
	if _, err := trust.NewClient(keys, role); err != nil {
		return usageError{fmt.Errorf("key file %s: %w", c.path(), err)}
	}
	if err := writing(trust.Export(c.Out, keys, role)); err != nil {
		return err
	}
	in := func(name string) string { return shellWord(filepath.Join(c.Out, name)) }
	_, err = fmt.Fprintf(std.out, `Wrote a %s certificate of key %s to %s: %s, %s, and %s, by which agents are known.
Next: try it with an agent's address instead of HOST. Its certificate names it %s, wherever it is:
curl --cacert %s --cert %s --key %s --connect-to ::HOST:%s https://%s/v1/status
`, role, keys[0].ID(), c.Out, trust.CertFile, trust.KeyFile, trust.CAFile, trust.AnyAgent,
		in(trust.CAFile), in(trust.CertFile), in(trust.KeyFile), awa.DefaultPort, trust.AnyAgent)
	return err
}

// writing says what to do when a file can't be written.
func writing(err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: run it as root, or name another place", err)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: make the folder first, or name another place", err)
	}
	return err
}

// shellWord quotes a word for a shell if it must be.
func shellWord(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+", r)
	}
	if s != "" && !strings.ContainsFunc(s, func(r rune) bool { return !plain(r) }) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
