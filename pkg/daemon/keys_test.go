package daemon_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/awatest"
	"are-we-alive/pkg/daemon"
	"are-we-alive/pkg/trust"
)

// steady asks all the time, and no request may fail.
type steady struct {
	edits, sweeps atomic.Int64
	stop          func()
}

func runSteady(t *testing.T, c *awatest.Cluster) *steady {
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	s := &steady{stop: sync.OnceFunc(func() { cancel(); all.Wait() })}
	t.Cleanup(s.stop)
	for i := range c.Len() {
		all.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				if err := s.edit(c, i, fmt.Sprintf("x%d-%d", i, n)); err != nil {
					t.Errorf("edit at agent %d: %v", i, err)
					return
				}
			}
		})
		all.Go(func() {
			for ctx.Err() == nil {
				if err := s.sweep(c, i); err != nil {
					t.Errorf("status of agent %d: %v", i, err)
					return
				}
			}
		})
	}
	return s
}

func (s *steady) edit(c *awatest.Cluster, i int, name string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	_, n, err := c.Edit(ctx, i, awatest.CreateEdit(name))
	if err == nil {
		_, _, err = c.Edit(ctx, i, awatest.DeleteEdit(n.ID))
	}
	s.edits.Add(2)
	return err
}

func (s *steady) sweep(c *awatest.Cluster, i int) error {
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	st, err := c.Client().ClusterStatus(ctx, c.Addr(i), false)
	if err != nil {
		return err
	}
	for _, n := range st.Nodes {
		if n.Node.UID != "" && n.Verdict != awa.Online {
			return fmt.Errorf("node %s is %s: %s: %s", n.Node.Name, n.Verdict, n.Stage, n.Error)
		}
	}
	s.sweeps.Add(1)
	return nil
}

// wait waits for some more of everything.
func (s *steady) wait(c *awatest.Cluster) {
	edits, sweeps := s.edits.Load(), s.sweeps.Load()
	c.Wait("more is asked", func() error {
		if e, w := s.edits.Load()-edits, s.sweeps.Load()-sweeps; e < 30 || w < 30 {
			return fmt.Errorf("%d edits and %d sweeps", e, w)
		}
		return nil
	})
}

func TestDaemon_Reload_rotation(t *testing.T) {
	old, key := trust.NewKey(), trust.NewKey()
	c := awatest.New(t, 3, awatest.WithKey(old))
	s := runSteady(t, c)
	s.wait(c)
	for _, step := range [][]trust.Key{{old, key}, {key, old}, {key}} {
		c.SetKeys(step...)
		s.wait(c)
	}
	s.stop()
	closed := 0
	for i := range c.Len() {
		if !c.Logged(i, "keys="+key.ID()+" ", "raft_streams_closed=0") {
			closed++
		}
		if c.Logged(i, "a client was not let in") {
			t.Errorf("agent %d let somebody not in", i)
		}
		if !c.Logged(i, "read the key file again", "keys_before=\""+key.ID()+" "+old.ID()+"\"", "keys="+key.ID()) {
			t.Errorf("agent %d does not tell of its keys", i)
		}
	}
	if closed == 0 { // one end's agent closes them for both
		t.Errorf("%d agents closed Raft streams of the removed key", closed)
	}
	if voters := c.Voters(); len(voters) != 3 {
		t.Errorf("the voters are %v", voters)
	}
}

func TestDaemon_Reload_bad(t *testing.T) {
	var log bytes.Buffer
	key := trust.NewKey()
	file := keyFile(t, key, 0o600)
	d, err := daemon.Open(daemon.Config{
		Name: "n1", Host: "127.0.0.1", Listen: "127.0.0.1:0", DataDir: t.TempDir(), First: true, KeyFile: file,
		Log: slog.New(slog.NewTextHandler(&log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for _, text := range []string{"garbage\n", "", key.Check().FileText()} {
		log.Reset()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		err := d.Reload()
		if err == nil || !strings.Contains(err.Error(), file) || !strings.Contains(log.String(), "the keys stay as they "+
			"were\" keys="+key.ID()) {
			t.Errorf("%q: the error is %v, the log %s", text, err, log.String())
		}
	}
}

// The certificate holds the name that the list has for the node.
func TestDaemon_nameInCertificate(t *testing.T) {
	key := trust.NewKey()
	c := awatest.New(t, 1, awatest.WithKey(key))
	keys, err := trust.NewClient([]trust.Key{key}, awa.RoleCheck)
	if err != nil {
		t.Fatal(err)
	}
	meet := func(name string) error {
		ctx, cancel := context.WithTimeout(t.Context(), awatest.Patience)
		defer cancel()
		conn, err := net.Dial("tcp", c.Addr(0))
		if err != nil {
			return err
		}
		defer conn.Close()
		_, err = keys.Connect(ctx, conn, trust.Target{Name: name})
		return err
	}
	if err := meet(c.Name(0)); err != nil {
		t.Fatal(err)
	}
	n := c.Nodes(0)[c.Name(0)]
	n.Name = "renamed"
	c.MustEdit(0, awatest.UpdateEdit(n))
	c.Wait("the certificate holds the new name", func() error { return meet("renamed") })
	if err := meet(c.Name(0)); !errors.Is(err, awa.ErrOtherAgent) {
		t.Errorf("under the old name: %v", err)
	}
}

func TestDaemon_insecure(t *testing.T) {
	for name, insecure := range map[string]bool{"insecure": true, "a trial on loopback": false} {
		t.Run(name, func(t *testing.T) {
			c := awatest.New(t, 1, awatest.Configure(func(_ int, cfg *daemon.Config) { cfg.Insecure = insecure }))
			ctx, cancel := context.WithTimeout(t.Context(), awatest.Patience)
			defer cancel()
			st, err := c.Client().ClusterStatus(ctx, c.Addr(0), true)
			if err != nil || st.Insecure != insecure {
				t.Errorf("%v, %+v", err, st)
			}
			if c.Logged(0, "level=WARN", "INSECURE") != insecure {
				t.Errorf("insecure: %t; the log tells otherwise", insecure)
			}
		})
	}
}
