package daemon

import (
	"context"
	"fmt"
	"net"
	"strings"

	"are-we-alive/pkg/api/server"
	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/metrics"
)

// webAddr is the address that Prometheus asks; "" for none.
func (c Config) webAddr() (string, error) {
	if c.Web == "" {
		return "", nil
	}
	if strings.Trim(c.Web, "0123456789") == "" {
		return "", fmt.Errorf("%s is a port without an address: write 127.0.0.1:%[1]s for this machine only, or :%[1]s "+
			"for every address", c.Web)
	}
	host, port, err := net.SplitHostPort(c.Web)
	if err != nil {
		host, port = strings.Trim(c.Web, "[]"), awa.DefaultWebPort.String()
	} else if _, err := awa.ParsePort(port); err != nil && port != "0" {
		return "", err
	}
	if !strings.HasPrefix(c.Web, ":") {
		if err := awa.CheckHost(host); err != nil {
			return "", err
		}
	}
	return net.JoinHostPort(host, port), nil
}

// web is the agent's second port, which Prometheus asks.
type web struct {
	ln     net.Listener
	server *server.Server
}

// openWeb opens the second port, if there shall be one.
func (d *Daemon) openWeb() error {
	addr, err := d.cfg.webAddr()
	if err != nil || addr == "" {
		return err
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("open the port for Prometheus: %w", err)
	}
	if at := ln.Addr().(*net.TCPAddr); !at.IP.IsLoopback() {
		d.log.Warn("everybody who reaches the port for Prometheus can read what this agent knows of the cluster: --web "+
			"127.0.0.1 keeps it to this machine", "addr", at.String())
	}
	d.web = &web{ln: ln}
	return nil
}

// webPort is the part that serves the second port, if there is one.
func (d *Daemon) webPort() part {
	if d.web == nil {
		return task(func(ctx context.Context) error { <-ctx.Done(); return nil })
	}
	d.log.Info("listening for Prometheus", "addr", d.WebAddr())
	return d.port(d.web.server, d.web.ln)
}

// pagePort is where others find this agent's page, see awa.Self.
func (d *Daemon) pagePort() awa.Port {
	if d.web == nil {
		return 0
	}
	at := d.web.ln.Addr().(*net.TCPAddr)
	if at.IP.IsLoopback() && !saysLoopback(d.cfg.Host) {
		return 0
	}
	return awa.Port(at.Port)
}

// closeWeb closes the second port; it is safe to call it twice.
func (d *Daemon) closeWeb() {
	if d.web != nil {
		d.web.ln.Close()
	}
}

// WebAddr is the address that Prometheus asks, "" when there is none.
func (d *Daemon) WebAddr() string {
	if d.web == nil {
		return ""
	}
	return d.web.ln.Addr().String()
}

var _ server.Web = (*pages)(nil)

// pages are what Prometheus, load balancers and browsers read. Only a health check causes
// a sweep.
type pages struct {
	agent    *agent
	exporter *metrics.Exporter
	checks   checks
	wellness wellness
	views    views
}

func newPages(a *agent, look func(context.Context) error, of metrics.Of) *pages {
	last := func() awa.ClusterStatus { return a.status(a.watch.Last()) }
	return &pages{agent: a, exporter: metrics.New(last, a.clock, of),
		checks: checks{agent: a}, wellness: wellness{look: look}, views: newViews(a)}
}

// Page implements server.Web.
func (p *pages) Page(query []server.Param) (server.PageResult, error) { return p.views.page(query) }

// Check implements server.Web.
func (p *pages) Check(query []server.Param) (server.CheckResult, error) { return p.checks.check(query) }

// Healthy implements server.Web.
func (p *pages) Healthy() error { return p.wellness.check() }

// Metrics implements server.Web.
func (p *pages) Metrics() (body []byte, mediaType string, err error) {
	body, err = p.exporter.Text()
	return body, metrics.ContentType, err
}

// Targets implements server.Web. Before the first sweep the list may lack what
// was changed while this agent was down: the sweep finds out who has more.
func (p *pages) Targets() ([]byte, error) {
	if err := p.agent.hasList(); err != nil {
		return nil, err
	}
	if p.agent.watch.Last().At.IsZero() {
		return nil, awa.Faultf(awa.ErrStarting, "agent %s was just started and compares its list with the other agents "+
			"first: ask again in a few seconds", p.agent.name)
	}
	return metrics.Targets(p.agent.store.Meta().Cluster, p.agent.store.ClusterName(), p.agent.store.Nodes(), p.agent.clock())
}
