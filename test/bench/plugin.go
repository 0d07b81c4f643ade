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
)

// checkHTTP is where Debian's monitoring-plugins-basic puts it.
const checkHTTP = "/usr/lib/nagios/plugins/check_http"

// plugin measures check_awa, from its start to its end, beside check_http.
func plugin(ctx context.Context, b *bench) (err error) {
	if _, err := os.Stat(checkHTTP); err != nil {
		b.note("SKIPPED: there is no %s: apt-get install monitoring-plugins-basic", checkHTTP)
		return nil
	}
	bin, err := b.program("check_awa")
	if err != nil {
		return err
	}
	const agents = 10
	c, err := startListed(ctx, b.dir, agents)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.stop()) }()
	web, err := startWeb(ctx, b.dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, web.stop()) }()

	host, port, err := net.SplitHostPort(web.addr)
	if err != nil {
		return err
	}
	ours := []string{bin, "-H", c.first()}
	theirs := []string{checkHTTP, "-H", host, "-p", port, "-u", "/"}
	var a, h []time.Duration
	var ratios []float64
	for i := range b.pairs + 3 {
		ta, err := process(ctx, ours)
		if err != nil {
			return err
		}
		th, err := process(ctx, theirs)
		if err != nil {
			return err
		}
		if i < 3 { // the files come from the disk
			continue
		}
		a, h, ratios = append(a, ta), append(h, th), append(ratios, float64(ta)/float64(th))
	}
	b.figure("check_awa, ten agents, median", fmt.Sprintf("%.2f ms", ms(median(a))))
	b.figure("check_http, one URL, median", fmt.Sprintf("%.2f ms", ms(median(h))))
	b.atMost("check_awa / check_http, median of the pairs' ratios", median(ratios), 1.5, "%.2f")
	b.note("(%d pairs, run in turns; the URL is served by %s)", b.pairs, web.by)
	b.note("(%s)", strings.Join(theirs, " "))
	return nil
}

// process runs a plugin and gives its time from start to end. It must find
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
	stop     func() error
}

// startWeb starts nginx where there is one, else a server in this process.
func startWeb(ctx context.Context, dir string) (*web, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	path, err := exec.LookPath("nginx")
	if err != nil {
		path, err = exec.LookPath("/usr/sbin/nginx") // often not in the path
	}
	if err != nil {
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("ok\n")) })}
		go server.Serve(ln) // Close ends it
		return &web{ln.Addr().String(), "a server in this process, since there is no nginx", server.Close}, nil
	}
	addr := ln.Addr().String()
	ln.Close()
	conf := filepath.Join(dir, "nginx.conf")
	text := fmt.Sprintf(`daemon off; master_process off; pid %[1]s/nginx.pid; error_log stderr crit;
events {}
http {
	access_log off; client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy; fastcgi_temp_path %[1]s/fastcgi; uwsgi_temp_path %[1]s/uwsgi; scgi_temp_path %[1]s/scgi;
	server { listen %[2]s; location / { return 200 "ok\n"; } }
}
`, dir, addr)
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
	return &web{addr, "nginx (" + path + ", return 200)", stop}, nil
}
