package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/goccy/go-json"
	"github.com/valyala/fasthttp"

	"are-we-alive/pkg/api"
	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/awatest/testaid"
)

// large measures an awa-agent process with a long list of nodes that answer, refuse or are
// silent, beside fping of the same addresses. The nodes are one program: each has an address
// of its own on loopback, at one port.
func large(ctx context.Context, b *bench) error {
	for _, n := range []int{1000, 10_000} {
		if err := b.largeOf(ctx, n); err != nil {
			return fmt.Errorf("%d nodes: %w", n, err)
		}
	}
	return nil
}

// nodesOf are nodes of one kind: what is at the port that all of them have.
type nodesOf struct {
	name  string
	port  int
	times int
	most  time.Duration // of a status; 0 without an aim
}

func (b *bench) largeOf(ctx context.Context, n int) error {
	ping, err := fping(ctx, n)
	if err != nil {
		return err
	}
	b.figure(fmt.Sprintf("%d addresses, fping -i1", n), fmt.Sprintf("%.0f ms", ms(ping)))
	f := &fakes{answers: map[netip.Addr][]byte{}}
	alive, err := f.listen()
	if err != nil {
		return err
	}
	defer alive.Close()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	closed.Close()
	hole, err := testaid.OpenHole()
	if err != nil {
		return err
	}
	defer hole.Close()
	for _, of := range []nodesOf{
		{name: "answer", port: alive.Addr().(*net.TCPAddr).Port, times: 7, most: time.Second},
		{name: "refuse", port: closed.Addr().(*net.TCPAddr).Port, times: 5},
		{name: "are silent", port: hole.Addr.Port, times: 3, most: 2640 * time.Millisecond}, // 2.2 s and a fifth
	} {
		if err := b.statusOf(ctx, n, of, f); err != nil {
			return fmt.Errorf("that %s: %w", of.name, err)
		}
	}
	return nil
}

// address is that of a node of a long list.
func address(i int) netip.Addr { return netip.AddrFrom4([4]byte{127, 1, byte(i >> 8), byte(i)}) }

// statusOf measures GET /v1/status of an agent with nodes of one kind.
func (b *bench) statusOf(ctx context.Context, n int, of nodesOf, f *fakes) (err error) {
	dir := filepath.Join(b.dir, fmt.Sprint(n, of.name))
	addrs := make([]net.Addr, n-1)
	for i := range addrs {
		addrs[i] = net.TCPAddrFromAddrPort(netip.AddrPortFrom(address(i), uint16(of.port)))
	}
	c, err := listed{agents: 1, strangers: addrs, apart: true}.start(ctx, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.stop()) }()
	if err := f.be(c); err != nil {
		return err
	}
	web, err := freePort()
	if err != nil {
		return err
	}
	a, err := startAgent(ctx, b, "large", "--listen", c.first(), "--data-dir", folder(dir, 0), "--key-file", "",
		"--watch", "1h", "--web", web)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.stop()) }()
	client := api.NewClient(api.ClientConfig{})
	defer client.Close()
	online := 1
	if of.name == "answer" {
		online = n
	}
	var took []time.Duration
	for range of.times {
		began := time.Now()
		st, err := client.ClusterStatus(ctx, a.addr, false)
		if err == nil {
			err = seen(st.Nodes, online)
		}
		if err != nil {
			return err
		}
		took = append(took, time.Since(began))
	}
	memory, err := peak(a.cmd.Process.Pid)
	if err != nil {
		return err
	}
	first := took[0]
	what := fmt.Sprintf("%d nodes that %s, GET /v1/status", n, of.name)
	b.figure(what+", the first", fmt.Sprintf("%.0f ms", ms(first)))
	if again := median(took[1:]); of.most > 0 {
		b.atMost(what+", median", ms(again), ms(of.most), "%.0f ms")
	} else {
		b.figure(what+", median", fmt.Sprintf("%.0f ms", ms(again)))
	}
	b.atMost(fmt.Sprintf("%d nodes that %s, most resident memory", n, of.name), memory, 150, "%.0f MB")
	if of.name != "answer" {
		return nil
	}
	return b.viewsOf(ctx, n, a, web, median(took[1:]))
}

// viewsOf measures what people and programs see of a long list: the page and the metrics of its
// agent, and the programs' own tables and names. status is how long a live status takes.
func (b *bench) viewsOf(ctx context.Context, n int, a *agentProcess, web string, status time.Duration) error {
	const times = 5
	aim := ms(time.Second)
	for _, path := range []string{"/", "/?others=show", "/metrics"} {
		var took []time.Duration
		size := 0
		for range times {
			d, read, err := get(ctx, "http://"+web+path)
			if err != nil {
				return err
			}
			took, size = append(took, d), read
		}
		// The first: for two seconds an answer may be used again.
		b.atMost(fmt.Sprintf("%d nodes, GET %s, %d kB, the slowest", n, path, size/1000), ms(slices.Max(took)), aim, "%.0f ms")
	}
	for _, view := range []struct {
		program string
		args    []string
		less    time.Duration
		note    string
	}{
		{"check_awa", []string{"-H", a.addr, "-k", "", "-v"}, status, "check_awa -v, without the status"},
		{"awa-agent", []string{"node", "list", "--agent", a.addr, "--key-file", ""}, 0,
			"awa-agent node list, as completions do"},
	} {
		bin, err := b.program(view.program)
		if err != nil {
			return err
		}
		var took []time.Duration
		for range times {
			cmd := exec.CommandContext(ctx, bin, view.args...)
			began := time.Now()
			out, err := cmd.Output()
			took = append(took, time.Since(began))
			if lines := strings.Count(string(out), "\n"); lines < n {
				return fmt.Errorf("%s has %d lines: %w: %.300s", view.note, lines, err, out)
			}
		}
		b.atMost(fmt.Sprintf("%d nodes, %s", n, view.note), max(0, ms(median(took)-view.less)), aim, "%.0f ms")
	}
	memory, err := peak(a.cmd.Process.Pid)
	if err != nil {
		return err
	}
	b.atMost(fmt.Sprintf("%d nodes, most resident memory of the agent after all that", n), memory, 150, "%.0f MB")
	return nil
}

// fakes are nodes that answer pings.
type fakes struct{ answers map[netip.Addr][]byte }

// listen serves all of them at one port.
func (f *fakes) listen() (net.Listener, error) {
	cfg := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var err error
		failed := raw.Control(func(fd uintptr) { err = testaid.OnLoopback(int(fd)) })
		return errors.Join(failed, err)
	}}
	ln, err := cfg.Listen(context.Background(), "tcp4", "0.0.0.0:0")
	if err != nil {
		return nil, err
	}
	server := &fasthttp.Server{Handler: func(ctx *fasthttp.RequestCtx) {
		at, _ := netip.AddrFromSlice(ctx.LocalIP().To4())
		ctx.SetBody(f.answers[at])
	}}
	go server.Serve(ln) // until it is closed
	return ln, nil
}

// be makes them the nodes of a cluster, all of which see each other.
func (f *fakes) be(c *cluster) error {
	clear(f.answers)
	for _, n := range c.nodes[1:] {
		at, err := netip.ParseAddr(n.Host)
		if err != nil {
			return err
		}
		var body struct {
			Status awa.Self `json:"status"`
		}
		body.Status = awa.Self{Name: n.Name, UID: n.UID, Instance: n.UID[:16], Cluster: c.caller.Cluster,
			History: c.caller.History, State: c.caller.State, Version: awa.Version, Sees: []uint64{}}
		if f.answers[at], err = json.Marshal(body); err != nil {
			return err
		}
	}
	return nil
}

// fping measures one ping of n addresses, 1 ms apart, the least that it allows without being
// root.
func fping(ctx context.Context, n int) (time.Duration, error) {
	path, err := exec.LookPath("fping")
	if err != nil {
		return 0, fmt.Errorf("%w: run test/install-debian.sh fping first", err)
	}
	var list strings.Builder
	for i := range n {
		fmt.Fprintln(&list, address(i))
	}
	cmd := exec.CommandContext(ctx, path, "-q", "-c1", "-i1")
	cmd.Stdin = strings.NewReader(list.String())
	began := time.Now()
	out, err := cmd.CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("fping: %w: %.300s", err, out)
	}
	return time.Since(began), nil
}
