package daemon

import (
	"context"
	"net/netip"
	"time"

	"are-we-alive/pkg/awa"
)

// keepNamesEvery is how often the addresses of names are kept, for an agent that is
// started while the name servers are silent.
const keepNamesEvery = time.Minute

// recallNames remembers the addresses that names had in an earlier life.
func (d *Daemon) recallNames() {
	all, err := d.store.Addresses()
	if err != nil {
		d.log.Warn("the addresses of names can't be read", "error", err)
	}
	for host, addr := range all {
		d.names.Remember(host, addr)
	}
}

// keepNames keeps the addresses of the names that are in use, also when ctx ends.
func (d *Daemon) keepNames(ctx context.Context) error {
	tick := time.NewTicker(keepNamesEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
		if err := d.store.KeepAddresses(d.addresses()); err != nil {
			d.log.Info("the addresses of names could not be kept", "error", err)
		}
	}
	return nil
}

// addresses are those at which the names of nodes, and of agents to join, answered.
func (d *Daemon) addresses() map[string]string {
	all := map[string]string{}
	add := func(host string) {
		if _, err := netip.ParseAddr(host); err == nil {
			return
		}
		if addr := d.names.Answered(host); addr != "" {
			all[host] = addr
		}
	}
	for _, n := range d.store.Nodes() {
		add(n.Host)
	}
	for _, addr := range d.cfg.Join {
		if host, _, err := awa.ParseAddr(addr, awa.DefaultPort); err == nil {
			add(host)
		}
	}
	return all
}
