package daemon

import (
	"fmt"
	"syscall"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/watch"
)

// Every connection and every open file takes a file descriptor of this process,
// and the system grants it a limit of them. They are shared out once, at the
// start, so that none of the parts can starve another one: above all not the
// connections to others the agent's own port and its disk.
const (
	// ownFiles is for what is not a connection: the log, the two databases of
	// the list and of Raft's snapshots, the ports, the key file, the resolver's
	// and the kernel's own. An agent at rest has ten of them.
	ownFiles = 18
	// minFiles is the limit without which an agent does not start: fewer leave
	// no ping and no connection for each kind of caller.
	minFiles = 50
	// spareFiles is what an agent needs besides two for each node: for checks,
	// strangers, second attempts and second opinions.
	spareFiles = 128
	// plentyFiles is a limit that bounds nothing: 8,192 connections at the port
	// and 1,280 at the second one, 2,000 kept ones to others, and two for
	// each of 4,096 pings under way, or what is 6,144 of them (package watch).
	plentyFiles = 20_000
	// otherCalls is the least for what is not a ping: Raft's streams to four
	// other voters, pushes, syncs, edits that are passed on. With enoughCalls
	// they take no more than a quarter of what there is.
	otherCalls  = 10
	enoughCalls = 16
)

// descriptors is how an agent shares out its limit. Zero fields bound nothing.
type descriptors struct {
	limit int
	port  int // connections at the agent's port
	web   int // connections at the port for Prometheus
	pings int // pings and second opinions under way at once
	calls int // descriptors for calls that are not pings
	kept  int // connections to others that stay open for the next sweep
}

// share shares out a limit.
func share(limit int, withWeb bool) descriptors {
	if limit >= plentyFiles {
		return descriptors{limit: limit, kept: keptConnections}
	}
	left := limit - ownFiles
	d := descriptors{limit: limit}
	if withWeb {
		d.web = min(64, max(2, left/16))
	}
	d.port = (left - d.web) / 2
	left -= d.web + d.port
	d.calls = max(otherCalls, min(left/2, enoughCalls), left/4)
	d.pings = max(1, (left-d.calls-opinions)/pingFiles)
	d.kept = min(keptConnections, max(d.pings, d.pingDescriptors()-pingFiles*watch.DefaultInFlight))
	return d
}

// What pings need: one has two attempts at most, and three agents are asked for
// their opinions at once.
const (
	pingFiles = 2
	opinions  = 3
)

// pingDescriptors is how many descriptors pings and second opinions may have.
func (d descriptors) pingDescriptors() int {
	if d.pings == 0 {
		return 0
	}
	return d.pings*pingFiles + opinions
}

// needs is the limit for a list of n nodes: each keeps a connection to this
// agent, and this agent one to each.
func needs(n int) int { return ownFiles + spareFiles + 2*n }

// shareDescriptors reads this process's limit and shares it out.
func (d *Daemon) shareDescriptors() error {
	limit, err := fileLimit()
	if err != nil {
		return fmt.Errorf("read the limit of open files: %w", err)
	}
	if limit < minFiles {
		return awa.Faultf(awa.ErrBadInput, "this process may have no more than %d open files, and an agent needs at "+
			"least %d, better %d: raise the limit, with LimitNOFILE= in its systemd unit or ulimit -n "+
			"in its shell", limit, minFiles, needs(100))
	}
	d.files = share(limit, d.cfg.Web != "")
	return nil
}

// fileLimit is the limit of open files. Go has raised the soft one to the hard
// one already.
func fileLimit() (int, error) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0, err
	}
	return int(min(limit.Cur, 1<<30)), nil
}

// warnFiles logs when the limit is too low for the list.
func (d *Daemon) warnFiles() {
	n := len(d.store.Nodes())
	if need := needs(n); d.files.limit < need {
		d.log.Warn("the limit of open files is low for this list: sweeps are slower, and open most connections again; "+
			"raise it, with LimitNOFILE= in the systemd unit or ulimit -n in the shell",
			"limit", d.files.limit, "needed", need, "nodes", n)
	}
}
