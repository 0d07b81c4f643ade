package trust

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"

	"are-we-alive/pkg/awa"
)

// The files that Export writes.
const (
	CertFile = "cert.pem" // the certificate of the client
	KeyFile  = "key.pem"  // its private key, PKCS #8, mode 0600
	CAFile   = "ca.pem"   // the member CA of each key, by which agents are known
)

// Export writes a client's certificate as PEM files into a folder, which it
// makes if need be, for programs that take no key file: curl, Prometheus,
// openssl. They name the server AnyAgent ("agent.awa.internal"), since an
// agent's certificate holds neither its host nor its node's name:
//
//	curl --cacert ca.pem --cert cert.pem --key key.pem \
//	     --connect-to ::n1.example:25483 https://agent.awa.internal/v1/status
//
// Prometheus has tls_config with server_name for it. Browsers can't use the
// files: none of the common ones speaks Ed25519 in TLS. The certificate ends
// with the key that it comes from, and not by itself. Who trusts ca.pem trusts
// every holder of the cluster key for any server name, so it does not belong
// into a system's store.
//
// Nothing is overwritten: when one of the files exists, none is written and
// the error is an *awa.Fault of awa.ErrBadInput.
func Export(dir string, keys []Key, role awa.Role) error {
	k, err := NewClient(keys, role)
	if err != nil {
		return err
	}
	h := k.now.Load()
	key, err := x509.MarshalPKCS8PrivateKey(h.own.PrivateKey)
	if err != nil {
		return fmt.Errorf("write the private key: %w", err)
	}
	var cas []byte
	for _, a := range h.all {
		cas = append(cas, block("CERTIFICATE", a.member.cert.Raw)...)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	folder, err := openFolder(dir)
	if err != nil {
		return err
	}
	defer folder.Close()
	files := []struct {
		name string
		text []byte
		mode os.FileMode
	}{
		{KeyFile, block("PRIVATE KEY", key), 0o600},
		{CertFile, block("CERTIFICATE", h.own.Certificate[0]), 0o644},
		{CAFile, cas, 0o644},
	}
	for _, f := range files {
		if _, err := folder.Lstat(f.name); err == nil {
			return awa.Faultf(awa.ErrBadInput, "%s exists already and is never overwritten: name another folder, "+
				"or move it away first", filepath.Join(dir, f.name))
		}
	}
	for i, f := range files {
		if err := writeNew(folder, dir, f.name, f.text, f.mode); err != nil {
			for _, written := range files[:i] {
				folder.Remove(written.name)
			}
			return err
		}
	}
	return syncFolder(folder)
}

func block(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}
