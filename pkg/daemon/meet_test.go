package daemon_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/awatest"
	"are-we-alive/pkg/daemon"
	"are-we-alive/pkg/trust"
)

// keyFile writes a key file with a mode.
func keyFile(t *testing.T, k trust.Key, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "a.key")
	if err := os.WriteFile(path, []byte(k.FileText()), mode); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestJoin_keysDiffer joins an agent to one whose key it does not have:
// each says what is wrong and what to do.
func TestJoin_keysDiffer(t *testing.T) {
	const notJoined = "no agent to join answers"
	key, other := trust.NewKey(), trust.NewKey()
	for name, test := range map[string]struct {
		keys         []trust.Key // of the cluster
		own          *trust.Key  // of the one that joins
		asked, joins string      // what the two say
	}{
		"a wrong key": {keys: []trust.Key{key}, own: &other,
			asked: "a client does not accept the certificate of this agent (key " + key.ID() + "): it has another key, or " +
				"meant another agent",
			joins: "the agent there has another key (" + key.ID() + ", ours: " + other.ID() + "): use the same key file " +
				"on both sides"},
		"no key": {[]trust.Key{key}, nil,
			"a client speaks plain HTTP to this TLS port: give it the key file of the cluster",
			"this agent speaks TLS only: give this side the key file of the cluster"},
		"a key, and the cluster has none": {nil, &other,
			"a client speaks TLS to this agent, which has no key: give this agent the key file of the cluster",
			"it answers in plain HTTP and not in TLS: if it is an agent, give it the key file of the cluster"},
	} {
		t.Run(name, func(t *testing.T) {
			file := ""
			if test.own != nil {
				file = keyFile(t, *test.own, 0o600)
			}
			c := awatest.New(t, 1, awatest.WithKey(test.keys...), awatest.Configure(func(i int, cfg *daemon.Config) {
				if i == 1 {
					cfg.KeyFile = file
				}
			}))
			i := c.Add()
			c.Start(i)
			c.Wait("both say what is wrong", func() error {
				if !c.Logged(i, notJoined, test.joins) {
					return errors.New("the one that joins doesn't say: " + test.joins)
				}
				if !c.Logged(0, "a client was not let in", "left_out", test.asked) {
					return errors.New("the one that is asked doesn't say: " + test.asked)
				}
				return nil
			})
			c.Stop(i)
			c.Leave(i)
			if n := len(c.Nodes(0)); n != 1 {
				t.Errorf("the list has %d nodes", n)
			}
		})
	}
}

// TestSweep_otherCluster has a node on the list at whose address another
// cluster's agent answers.
func TestSweep_otherCluster(t *testing.T) {
	key, other := trust.NewKey(), trust.NewKey()
	file := keyFile(t, other, 0o600)
	c := awatest.New(t, 1, awatest.WithKey(key), awatest.Configure(func(i int, cfg *daemon.Config) {
		if i == 1 {
			cfg.KeyFile, cfg.First, cfg.Join = file, true, nil
		}
	}))
	i := c.Add()
	c.Start(i)
	n := awa.Node{Name: "there", Host: "127.0.0.1"}
	_, n.Port, _ = awa.ParseAddr(c.Addr(i), 0)
	_, made := c.MustEdit(0, awatest.CreateEdit("there"))
	n.ID = made.ID
	c.MustEdit(0, awatest.UpdateEdit(n))
	want := "the agent there has another key (" + other.ID() + ", ours: " + key.ID() + ")"
	ctx, cancel := context.WithTimeout(t.Context(), awatest.Patience)
	defer cancel()
	st, err := c.Client().ClusterStatus(ctx, c.Addr(0), false)
	if err != nil {
		t.Fatal(err)
	}
	at := slices.IndexFunc(st.Nodes, func(n awa.NodeStatus) bool { return n.Node.Name == "there" })
	if at < 0 || st.Nodes[at].Verdict != awa.Mismatch || st.Nodes[at].Stage != awa.StageTLS ||
		!strings.Contains(st.Nodes[at].Error, want) {
		t.Errorf("the status is %+v, want %s", st.Nodes, want)
	}
	if st.Insecure {
		t.Error("an agent with a key calls itself insecure")
	}
	c.Stop(i)
	c.Leave(i)
}

func TestOpen_keys(t *testing.T) {
	key := trust.NewKey()
	open := func(change func(*daemon.Config)) (*daemon.Daemon, error) {
		cfg := daemon.Config{Name: "n1", Host: "127.0.0.1", Listen: "127.0.0.1:0", DataDir: t.TempDir(), First: true,
			Log: discard()}
		change(&cfg)
		d, err := daemon.Open(cfg)
		if err == nil {
			t.Cleanup(func() { d.Close() })
		}
		return d, err
	}
	check, readable := keyFile(t, key.Check(), 0o600), keyFile(t, key, 0o644)
	missing := filepath.Join(t.TempDir(), "no.key")
	for name, test := range map[string]struct {
		change func(*daemon.Config)
		want   string // the error
	}{
		"a check key": {func(c *daemon.Config) { c.KeyFile = check }, fmt.Sprintf("key file %s: check key %s can only "+
			"read: this needs the cluster key", check, key.ID())},
		"others read it": {func(c *daemon.Config) { c.KeyFile = readable }, "other users may read it (its mode is 0644): " +
			"run chmod 600 on it"},
		"there is none":            {func(c *daemon.Config) { c.KeyFile = missing }, "make a cluster key with awa-agent key new"},
		"others read it, insecure": {func(c *daemon.Config) { c.KeyFile, c.Insecure = readable, true }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := open(test.change)
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("the error is %v, want %q", err, test.want)
			}
		})
	}
	everywhere := daemon.Config{Name: "n1", Host: "n1.invalid", DataDir: t.TempDir()}
	if err := everywhere.Validate(); err == nil {
		t.Error("without a key it may listen on every address")
	}
	everywhere.KeyFile = missing
	if err := everywhere.Validate(); err != nil {
		t.Errorf("with a key: %v", err)
	}
}
