package daemon_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"are-we-alive/pkg/api"
	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/awatest"
	"are-we-alive/pkg/daemon"
)

func TestJoin_OneOfSeveralIsEnough(t *testing.T) {
	c := awatest.New(t, 1)
	c.Add()
	c.Add() // these two never run
	c.Start(c.Add())
	c.WaitAll(2)
}

func TestJoin_WaitsForSomebody(t *testing.T) {
	c := awatest.New(t, 2, awatest.Idle())
	c.Start(1)
	c.Wait("agent 1 says that nobody answers", func() error {
		if !c.Logged(1, "level=WARN", "no agent to join answers", c.Addr(0)+" (connect: connection refused)") {
			return errors.New("it has not")
		}
		return nil
	})
	c.Start(0)
	c.WaitAll(2)
}

func TestJoin_OwnAddress(t *testing.T) {
	var c *awatest.Cluster
	c = awatest.New(t, 1, awatest.Configure(func(i int, cfg *daemon.Config) {
		if i > 0 {
			cfg.Join = append(cfg.Join, c.Addr(i))
		}
	}))
	i := c.Add()
	c.Start(i)
	c.WaitAll(2)
	c.Stop(i)
	c.Start(i)
	c.MustEdit(i, awatest.CreateEdit("x"))
}

// Two clusters that were begun apart never mix: agent 1 has begun one of its
// own, which holds more than itself, and is told to join agent 0.
func TestJoin_TwoClusters(t *testing.T) {
	var second bool // agent 1 begins a cluster
	c := awatest.New(t, 2, awatest.Idle(), awatest.Configure(func(i int, cfg *daemon.Config) {
		if i == 1 && second {
			cfg.First, cfg.Join = true, nil
		}
	}))
	c.Start(0)
	second = true
	c.Start(1)
	waitJoined(t, c, 0)
	waitJoined(t, c, 1)
	create := awa.Edit{Action: awa.Create, Data: []byte(`{"name":"x","host":"h","port":1}`), Key: awa.NewUID()}
	if _, _, err := c.Client().Edit(t.Context(), c.Addr(1), create, 0); err != nil {
		t.Fatal(err)
	}
	other, err := c.Ping(1)
	if err != nil {
		t.Fatal(err)
	}
	c.Stop(1)
	second = false
	c.Start(1)
	err = c.Ended(1)
	if !errors.Is(err, awa.ErrOtherCluster) || !strings.Contains(err.Error(), c.Name(0)) ||
		!strings.Contains(err.Error(), c.Addr(0)) {
		t.Errorf("the joining agent ended with %v", err)
	}
	if !c.Logged(0, "level=WARN", "another cluster", c.UID(1)) {
		t.Error("the other agent has not logged that a stranger called")
	}
	checkRefused(t, c, 0, awa.Caller{UID: other.UID, Cluster: other.Cluster, History: other.History, State: other.State},
		awa.ErrOtherCluster)

	c.Wipe(1)
	c.Return(1)
	c.Start(1)
	c.WaitAll(2)
}

func waitJoined(t *testing.T, c *awatest.Cluster, i int) {
	t.Helper()
	c.Wait(fmt.Sprintf("agent %d is on a list", i), func() error {
		self, err := c.Ping(i)
		if err == nil && self.State == 0 {
			err = errors.New("it is not")
		}
		return err
	})
}

// checkRefused asks an agent all that one agent asks of another, as somebody
// whose list can't be mixed with its own.
func checkRefused(t *testing.T, c *awatest.Cluster, i int, who awa.Caller, want awa.Code) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), awatest.Patience)
	defer cancel()
	before, err := c.Ping(i)
	if err != nil {
		t.Fatal(err)
	}
	stranger, addr := c.Stranger(who), c.Addr(i)
	for name, call := range map[string]func(*api.Client) error{
		"sync": func(s *api.Client) error { _, err := s.Sync(ctx, addr, awa.Position{}, 0); return err },
		"push": func(s *api.Client) error {
			return s.Push(ctx, addr, awa.Change{ID: before.State + 1, Action: awa.Create,
				Data: `{"id":99,"name":"x","host":"h","port":"1"}`})
		},
		"edit": func(s *api.Client) error {
			_, _, err := s.Edit(ctx, addr, awatest.CreateEdit("stranger"), 1)
			return err
		},
		"raft": func(s *api.Client) error {
			conn, err := s.DialRaft(ctx, addr, before.UID)
			if err == nil {
				conn.Close()
			}
			return err
		},
	} {
		if err := call(stranger); !errors.Is(err, want) {
			t.Errorf("%s by a stranger gave %v, not %s", name, err, want)
		}
	}
	if nodes := c.Nodes(i); nodes["x"].ID != 0 || nodes["stranger"].ID != 0 {
		t.Errorf("a stranger changed the list: %v", nodes)
	}
}

func TestRegister_NodeAddedByHand(t *testing.T) {
	c := awatest.New(t, 1)
	i := c.Add()
	e := awatest.CreateEdit(c.Name(i))
	e.Data = []byte(fmt.Sprintf(`{"name":%q,"host":"127.0.0.1","port":1,"labels":{"rack":"7"}}`, c.Name(i)))
	_, n := c.MustEdit(0, e)
	c.Start(i)
	c.WaitAll(2)
	if now := c.Nodes(0)[c.Name(i)]; now.ID != n.ID || now.Labels["rack"] != "7" || now.Addr() != c.Addr(i) {
		t.Errorf("the node became %+v", now)
	}
}

func TestRegister_NewNameHolds(t *testing.T) {
	c := awatest.New(t, 3)
	n := c.Nodes(0)["n1"]
	n.Name = "renamed"
	c.MustEdit(1, awatest.UpdateEdit(n))
	c.Stop(1)
	c.Start(1)
	c.Wait("agent 1 says that the list has another name for it", func() error {
		if !c.Logged(1, "the list has another name", "renamed") {
			return errors.New("it has not")
		}
		return nil
	})
	if self, err := c.Ping(1); err != nil || self.Name != "renamed" {
		t.Errorf("it calls itself %s (%v)", self.Name, err)
	}
	if nodes := c.Nodes(0); nodes["renamed"].UID != c.UID(1) || nodes["n1"].ID != 0 {
		t.Errorf("the list is %v", nodes)
	}
}

func TestOpen_ErrorsSayWhatToDo(t *testing.T) {
	good := func() daemon.Config {
		return daemon.Config{Name: "n1", Host: "127.0.0.1", DataDir: t.TempDir(), First: true, Log: discard()}
	}
	for name, test := range map[string]struct {
		change func(*daemon.Config)
		want   string
	}{
		"bad name": {func(c *daemon.Config) { c.Name = "a b" },
			`my_name: "a b" is not a name for a node: use 1 to 63 letters, digits, dots, dashes and underscores, a letter ` +
				`or digit first`},
		"no host":        {func(c *daemon.Config) { c.Host = "" }, `my_host: the host is empty: give a DNS name or an IP address`},
		"no data folder": {func(c *daemon.Config) { c.DataDir = "" }, `data_dir is empty: name the folder for the node list`},
		"bad join": {func(c *daemon.Config) { c.First, c.Join = false, []string{"a:b"} },
			`join: "b" is not a port: use a number from 1 to 65535`},
		"watch":        {func(c *daemon.Config) { c.Watch = time.Millisecond }, `watch: use 100ms to 1h, not 1ms`},
		"ping timeout": {func(c *daemon.Config) { c.PingTimeout = time.Minute }, `ping_timeout: use 10ms to 10s, not 1m0s`},
		"open to all": {func(c *daemon.Config) { c.Listen = "0.0.0.0" },
			`listen: 0.0.0.0 is not a loopback address, and without a key every stranger who reaches it could edit the node ` +
				`list: make the cluster's key with awa-agent key new, or copy it from another server, use 127.0.0.1 for a ` +
				`trial on one machine (with --my-host 127.0.0.1), or --insecure on a network that you trust`},
		"listen": {func(c *daemon.Config) { c.Listen = "127.0.0.1:http" },
			`listen: "http" is not a port: use a number from 1 to 65535`},

		"every address": {func(c *daemon.Config) { c.Host = "0.0.0.0" },
			`my_host: 0.0.0.0 stands for every address of a machine: use the one under which others reach it`},
		"nobody else's": {func(c *daemon.Config) { c.Host, c.Join = "localhost", []string{"192.0.2.1", "192.0.2.2:7"} },
			`my_host: localhost is this machine for each that asks, so the agents at 192.0.2.1, 192.0.2.2:7 could not reach ` +
				`it: set the DNS name or the address under which they do`},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := good()
			test.change(&cfg)
			_, err := daemon.Open(cfg)
			if !errors.Is(err, awa.ErrBadInput) || err.Error() != test.want {
				t.Errorf("the error is %v\nand not %s", err, test.want)
			}
		})
	}
	cfg := good()
	cfg.First = false
	if _, err := daemon.Open(cfg); !errors.Is(err, awa.ErrBadInput) || !strings.Contains(err.Error(), "--first") ||
		!strings.Contains(err.Error(), "--join") {
		t.Errorf("without a list, --first and --join the error is %v", err)
	}
	cfg = good()
	d, err := daemon.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if _, err := daemon.Open(cfg); !errors.Is(err, awa.ErrInUse) {
		t.Errorf("a second agent on the folder gave %v", err)
	}
}
