package awatest

import (
	"os"
	"path/filepath"

	"are-we-alive/pkg/api"
	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/trust"
)

// takeKey writes the key file of a cluster that has one, and makes the
// client's keyring.
func (c *Cluster) takeKey(folder string) {
	c.t.Helper()
	if len(c.opts.keys) == 0 {
		return
	}
	c.file = filepath.Join(folder, "cluster.key")
	c.writeKeys(c.opts.keys)
	var err error
	if c.keys, err = trust.NewClient(c.opts.keys, awa.RoleMember); err != nil {
		c.t.Fatal(err)
	}
}

func (c *Cluster) writeKeys(keys []trust.Key) {
	c.t.Helper()
	text := ""
	for _, k := range keys {
		text += k.Line() + "\n"
	}
	if err := os.WriteFile(c.file, []byte(text), 0o600); err != nil {
		c.t.Fatal(err)
	}
}

// asks configures a client that is not an agent.
func (c *Cluster) asks() api.ClientConfig {
	cfg := api.ClientConfig{Dial: c.net.dialer(outside)}
	if c.keys != nil {
		cfg.Secure = c.keys.Secure
	}
	return cfg
}

// KeyFile is the file of the cluster's keys; "" without any.
func (c *Cluster) KeyFile() string { return c.file }

// SetKeys changes the key file. The agents that run read it again, one after
// the other as an administrator would have them, and then the client does.
func (c *Cluster) SetKeys(keys ...trust.Key) {
	c.t.Helper()
	c.writeKeys(keys)
	for _, i := range c.Running() {
		if err := c.agent(i).daemon.Reload(); err != nil {
			c.t.Fatalf("agent %d: %v", i, err)
		}
	}
	if err := c.keys.SetKeys(keys); err != nil {
		c.t.Fatal(err)
	}
	c.client.CloseIdle()
}
