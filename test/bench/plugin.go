package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/trust"
)

// checkHTTP is where Debian's monitoring-plugins-basic puts it.
const checkHTTP = "/usr/lib/nagios/plugins/check_http"

// plugin measures check_awa, from its start to its end, beside check_http and beside a program
// of Go's that does nothing.
func plugin(ctx context.Context, b *bench) error { return b.plugins(ctx, nil, 1.5) }

// pluginTLS does so over TLS, where both sides show a certificate and verify
// it; but check_http does not know how to verify that of a server.
func pluginTLS(ctx context.Context, b *bench) error {
	if _, err := nginx(); err != nil {
		b.note("SKIPPED: there is no nginx: apt-get install nginx-light")
		return nil
	}
	k, err := newKeys(b.dir)
	if err != nil {
		return err
	}
	return b.plugins(ctx, k, 1.0)
}

// nginx finds the program, which is often not in the path.
func nginx() (string, error) {
	path, err := exec.LookPath("nginx")
	if err != nil {
		path, err = exec.LookPath("/usr/sbin/nginx")
	}
	return path, err
}

func (b *bench) plugins(ctx context.Context, k *keys, aim float64) (err error) {
	if _, err := os.Stat(checkHTTP); err != nil {
		b.note("SKIPPED: there is no %s: apt-get install monitoring-plugins-basic", checkHTTP)
		return nil
	}
	bin, err := b.program("check_awa")
	if err != nil {
		return err
	}
	const agents = 10
	c, err := listed{agents: agents, keys: k}.start(ctx, b.dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.stop()) }()
	web, err := startWeb(ctx, b.dir, k)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, web.stop()) }()
	host, port, err := net.SplitHostPort(web.addr)
	if err != nil {
		return err
	}
	// The other agents dial nobody, so they say that they can't reach the one asked.
	ours := []string{bin, "-H", c.first(), "--health", "NOT_REACHED=ok", "-k", ""}
	theirs := append([]string{checkHTTP, "-H", host, "-p", port, "-u", "/"}, web.flags...)
	if k != nil {
		ours[len(ours)-1] = k.check
	}
	if err := b.pair(ctx, ours, yardstickProgram{"check_http, one URL", theirs, aim}); err != nil {
		return err
	}
	if k == nil {
		nothing, err := b.nothing(ctx)
		if err != nil {
			return err
		}
		if err := b.pair(ctx, ours, yardstickProgram{"a Go program that does nothing", []string{nothing}, 2}); err != nil {
			return err
		}
	}
	b.note("(%d pairs, run in turns; the URL is served by %s)", b.pairs, web.by)
	b.note("(%s)", strings.Join(theirs, " "))
	return nil
}

// nothing builds a program that does nothing, as make build does, and returns its path.
func (b *bench) nothing(ctx context.Context) (string, error) {
	source, program := filepath.Join(b.dir, "nothing.go"), filepath.Join(b.dir, "nothing")
	if err := os.WriteFile(source, []byte("package main\n\nfunc main() {}\n"), 0o600); err != nil {
		return "", err
	}
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", program, source)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s: %w: %s", build, err, out)
	}
	return program, nil
}

// yardstickProgram is a program beside which check_awa is measured: its time may be aim times that
// of this one.
type yardstickProgram struct {
	name    string
	command []string
	aim     float64
}

// pair measures check_awa and another program in turns.
func (b *bench) pair(ctx context.Context, ours []string, other yardstickProgram) error {
	var a, h []time.Duration
	var ratios []float64
	for i := range b.pairs + 3 {
		ta, err := process(ctx, ours)
		if err != nil {
			return err
		}
		th, err := process(ctx, other.command)
		if err != nil {
			return err
		}
		if i < 3 { // the files come from the disk
			continue
		}
		a, h, ratios = append(a, ta), append(h, th), append(ratios, float64(ta)/float64(th))
	}
	b.figure("check_awa, ten agents, median", fmt.Sprintf("%.2f ms", ms(median(a))))
	b.figure(other.name+", median", fmt.Sprintf("%.2f ms", ms(median(h))))
	b.atMost("check_awa / "+other.name+", median of the pairs' ratios", median(ratios), other.aim, "%.2f")
	return nil
}

// process runs a program and returns its time from start to end. It must find
// that all is well.
func process(ctx context.Context, command []string) (time.Duration, error) {
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	begin := time.Now()
	out, err := cmd.CombinedOutput()
	took := time.Since(begin)
	if err != nil {
		return 0, fmt.Errorf("%s: %w: %s", strings.Join(command, " "), err, out)
	}
	return took, nil
}

// web is a server of one small page.
type web struct {
	addr, by string
	flags    []string // of check_http besides the address
	stop     func() error
}

// startWeb starts nginx where there is one, else a server in this process.
// With keys it must be there: it then has a certificate of the kind that agents
// have, and asks for such a one.
func startWeb(ctx context.Context, dir string, k *keys) (*web, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	path, err := nginx()
	if err != nil {
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter,
			_ *http.Request) {
			w.Write([]byte("ok\n"))
		})}
		go server.Serve(ln) // Close ends it
		return &web{ln.Addr().String(), "a server in this process, since there is no nginx", nil, server.Close}, nil
	}
	addr := ln.Addr().String()
	ln.Close()
	conf := filepath.Join(dir, "nginx.conf")
	text, flags, err := nginxConf(dir, addr, k)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		return nil, err
	}
	cmd := exec.Command(path, "-p", dir, "-c", conf, "-e", "stderr")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var said strings.Builder
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	stop := func() error {
		cmd.Process.Signal(syscall.SIGTERM) // an error means that it has ended
		return cmd.Wait()
	}
	err = until(ctx, 5*time.Second, "nginx", func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	if err != nil {
		return nil, errors.Join(err, stop(), errors.New(said.String()))
	}
	return &web{addr, "nginx (" + path + ", return 200)", flags, stop}, nil
}

// nginxConf is nginx's configuration, and what check_http needs to ask it.
func nginxConf(dir, addr string, k *keys) (text string, flags []string, err error) {
	secure, setup := "", ""
	if k != nil {
		if err := trust.Export(dir, []trust.Key{k.key}, awa.RoleMember); err != nil {
			return "", nil, err
		}
		in := func(name string) string { return filepath.Join(dir, name) }
		secure = " ssl"
		setup = fmt.Sprintf("ssl_certificate %s; ssl_certificate_key %s; ssl_client_certificate %s; ssl_verify_client "+
			"on; ssl_protocols TLSv1.3; ssl_ecdh_curve X25519;",
			in(trust.CertFile), in(trust.KeyFile), in(trust.CAFile))
		flags = []string{"--ssl", "-J", in(trust.CertFile), "-K", in(trust.KeyFile)}
	}
	return fmt.Sprintf(`daemon off; master_process off; pid %[1]s/nginx.pid; error_log stderr crit;
events {}
http {
	access_log off; client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy; fastcgi_temp_path %[1]s/fastcgi; uwsgi_temp_path %[1]s/uwsgi; scgi_temp_path %[1]s/scgi;
	server { listen %[2]s%[3]s; %[4]s location / { return 200 "ok\n"; } }
}
`, dir, addr, secure, setup), flags, nil
}
