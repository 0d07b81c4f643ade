package daemon_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/awatest"
	"are-we-alive/pkg/daemon"
	"are-we-alive/pkg/trust"
)

// withWeb returns each agent a port for Prometheus.
func withWeb(more func(cfg *daemon.Config)) awatest.Option {
	return awatest.Configure(func(_ int, cfg *daemon.Config) {
		cfg.Web = "127.0.0.1:0"
		if more != nil {
			more(cfg)
		}
	})
}

// page reads a page as Prometheus does, over a connection of its own.
func page(t *testing.T, c *awatest.Cluster, i int, path string) (int, string) {
	t.Helper()
	client := http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := client.Get("http://" + c.WebAddr(i) + path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(b)
}

// shows tells which of some metrics are not as they should be.
func shows(t *testing.T, c *awatest.Cluster, i int, lines ...string) error {
	t.Helper()
	status, text := page(t, c, i, "/metrics")
	for _, want := range lines {
		if status != http.StatusOK || !strings.Contains("\n"+text, "\n"+want+"\n") {
			return fmt.Errorf("no %s in\n%d %s", want, status, text)
		}
	}
	return nil
}

// targets are the nodes that /sd returns, by name.
func targets(t *testing.T, c *awatest.Cluster, i int) map[string]string {
	t.Helper()
	status, text := page(t, c, i, "/sd")
	var groups []struct {
		Targets []string
		Labels  map[string]string
	}
	if err := json.Unmarshal([]byte(text), &groups); err != nil || status != http.StatusOK {
		t.Fatalf("/sd: %d %s (%v)", status, text, err)
	}
	all := map[string]string{}
	for _, g := range groups {
		all[g.Labels["__meta_awa_node"]] = strings.Join(g.Targets, " ")
	}
	return all
}

// Prometheus is told of a death, of a node that left, and by an agent whose key
// was changed.
func TestWeb_life(t *testing.T) {
	c := awatest.New(t, 3, awatest.WithKey(trust.NewKey()), withWeb(nil))
	c.Wait("all are online", func() error {
		return shows(t, c, 0, `awa_node_online{node="n0"} 1`, `awa_node_online{node="n1"} 1`, `awa_node_online{node="n2"} 1`,
			`awa_nodes{verdict="online"} 3`, "awa_problem_nodes 0", "awa_voters 3", "awa_voters_alive 3", "awa_majority 1",
			"awa_isolated 0")
	})
	if all := targets(t, c, 0); len(all) != 3 || all["n2"] != c.Addr(2) {
		t.Errorf("targets %v", all)
	}
	leaders := 0
	for i := range 3 {
		if shows(t, c, i, "awa_is_leader 1") == nil {
			leaders++
		}
	}
	if leaders != 1 {
		t.Errorf("%d agents lead", leaders)
	}

	c.Kill(2)
	c.Wait("a background sweep has seen the death", func() error {
		return shows(t, c, 0, `awa_node_online{node="n2"} 0`, `awa_node_verdict{node="n2",verdict="offline"} 1`,
			`awa_node_verdict{node="n2",verdict="online"} 0`, "awa_problem_nodes 1")
	})
	if all := targets(t, c, 0); len(all) != 3 {
		t.Errorf("a dead node is not a target any more: %v", all)
	}
	st, err := c.Client().ClusterStatus(t.Context(), c.Addr(0), true)
	if err != nil {
		t.Fatal(err)
	}
	c.MustEdit(0, awa.Edit{Action: awa.Delete, Data: fmt.Appendf(nil, `{"id":%d}`, nodeOf(t, c, st, 2).Node.ID)})
	c.Leave(2)
	c.Wait("the node is gone", func() error {
		if _, text := page(t, c, 0, "/metrics"); strings.Contains(text, `"n2"`) {
			return fmt.Errorf("it is still there:\n%s", text)
		}
		return nil
	})
	if all := targets(t, c, 0); len(all) != 2 {
		t.Errorf("targets %v", all)
	}

	c.SetKeys(trust.NewKey())
	if err := shows(t, c, 1, "awa_build_info{version=\""+awa.Version+"\"} 1"); err != nil {
		t.Error(err)
	}
	held, err := net.Dial("tcp", c.WebAddr(1)) // and asks nothing
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	addr := c.WebAddr(1)
	c.Stop(1) // which fails when it takes too long
	if conn, err := net.Dial("tcp", addr); err == nil {
		conn.Close()
		t.Error("the port is still open")
	}
}

// Prometheus causes no ping, however often it asks.
func TestWeb_noSweep(t *testing.T) {
	var pings atomic.Int32
	node := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/ping" {
			pings.Add(1)
		}
	}))
	defer node.Close()
	at, err := url.Parse(node.URL)
	if err != nil {
		t.Fatal(err)
	}
	c := awatest.New(t, 1, withWeb(func(cfg *daemon.Config) {
		cfg.Watch = time.Hour
		dial := cfg.Dial
		cfg.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if addr == at.Host {
				return new(net.Dialer).DialContext(ctx, network, addr)
			}
			return dial(ctx, network, addr)
		}
	}))
	c.Wait("the first sweep is over", func() error { return shows(t, c, 0, "awa_isolated 0") })
	c.MustEdit(0, awa.Edit{Action: awa.Create, Data: fmt.Appendf(nil, `{"name":"x","host":"127.0.0.1","port":%q}`,
		at.Port())})
	sweptAt := func() string {
		_, text := page(t, c, 0, "/metrics")
		_, after, _ := strings.Cut(text, "\nawa_last_sweep_timestamp_seconds ")
		line, _, _ := strings.Cut(after, "\n")
		return line
	}
	first := sweptAt()
	for range 20 {
		if again := sweptAt(); again != first || first == "" {
			t.Fatalf("swept at %q, and at %q", first, again)
		}
		if all := targets(t, c, 0); all["x"] != "127.0.0.1:"+at.Port() {
			t.Fatalf("targets %v", all)
		}
	}
	if n := pings.Load(); n != 0 {
		t.Errorf("%d pings", n)
	}
	see(t, c, 0)
	if pings.Load() == 0 {
		t.Error("a live status must ping the node, else this test shows nothing")
	}
}

// An agent that knows nothing yet says so, instead of what looks like an
// outage.
func TestWeb_start(t *testing.T) {
	const hangs = "192.0.2.1:1" // whoever dials it waits while the gate is shut
	gate := make(chan struct{})
	c := awatest.New(t, 2, awatest.Idle(), withWeb(func(cfg *daemon.Config) {
		cfg.PingTimeout = 10 * time.Second
		dial := cfg.Dial
		cfg.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if addr == hangs {
				select {
				case <-gate:
				case <-ctx.Done():
				}
				return nil, net.ErrClosed
			}
			return dial(ctx, network, addr)
		}
	}))
	unknown := func(i int, want string) {
		t.Helper()
		if status, text := page(t, c, i, "/sd"); status != http.StatusServiceUnavailable || text != want {
			t.Errorf("/sd: %d %s\nwant %s", status, text, want)
		}
		status, text := page(t, c, i, "/metrics")
		for _, early := range []string{"awa_node_", "awa_nodes", "awa_problem", "awa_last_sweep", "awa_isolated",
			"awa_majority"} {
			if status != http.StatusOK || strings.Contains(text, early) {
				t.Errorf("before the first sweep: %d, %s in\n%s", status, early, text)
			}
		}
	}
	c.Start(1)
	unknown(1, `{"error":"agent n1 holds no list yet: ask another one, or wait until it has joined","code":"not_joined"}`)
	if err := shows(t, c, 1, "awa_list_state 0"); err != nil {
		t.Error(err)
	}
	c.Start(0)
	c.WaitAll(2)
	c.Wait("agent 0 has swept", func() error { return shows(t, c, 0, `awa_nodes{verdict="online"} 2`) })
	c.MustEdit(0, awa.Edit{Action: awa.Create, Data: []byte(`{"name":"x","host":"192.0.2.1","port":1}`)})
	c.Stop(0)
	c.Start(0)
	unknown(0, `{"error":"agent n0 was just started and compares its list with the other agents first: ask again in a `+
		`few seconds","code":"starting"}`)
	close(gate)
	c.Wait("it has swept", func() error {
		return shows(t, c, 0, `awa_node_online{node="n1"} 1`, `awa_node_online{node="x"} 0`)
	})
	if all := targets(t, c, 0); len(all) != 3 {
		t.Errorf("targets %v", all)
	}
}
