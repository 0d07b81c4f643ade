package daemon_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/awatest"
	"are-we-alive/pkg/daemon"
)

// recoverAt runs awa-agent recover on an agent that is down.
func recoverAt(t *testing.T, c *awatest.Cluster, i int, force bool) (daemon.Recovered, error) {
	t.Helper()
	c.Wait("the agent is down", func() error { return isDown(c, i) })
	ask := func(ctx context.Context, addr string) (awa.Self, error) { return c.Client().Ping(ctx, addr, true) }
	return daemon.Recover(t.Context(), c.Dir(i), ask, force)
}

func isDown(c *awatest.Cluster, i int) error {
	if slices.Contains(c.Running(), i) {
		return fmt.Errorf("agent %d runs", i)
	}
	return nil
}

func codesOf(t *testing.T, c *awatest.Cluster, i int) (codes []awa.HealthCode) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	s, err := c.Client().ClusterStatus(ctx, c.Addr(i), false)
	if err != nil {
		t.Fatal(err)
	}
	for _, condition := range s.Health {
		codes = append(codes, condition.Code)
	}
	return codes
}

// Two of three voters are destroyed. The third one recovers, takes edits, and the
// old voters follow when they come back, with what only they hold set aside.
func TestRecover(t *testing.T) {
	c := awatest.New(t, 3, awatest.KeepVoters())
	c.MustEdit(0, awatest.CreateEdit("kept"))
	c.WaitSame()
	c.Kill(2)
	c.MustEdit(0, awatest.CreateEdit("lost"))
	c.Wait("agents 0 and 1 hold it", func() error {
		if c.Nodes(0)["lost"].ID == 0 || c.Nodes(1)["lost"].ID == 0 {
			return errors.New("they don't")
		}
		return nil
	})
	before, err := c.Ping(0)
	if err != nil {
		t.Fatal(err)
	}

	// While a majority answers, or this agent would make it one.
	if _, err := recoverAt(t, c, 2, false); err == nil || !strings.Contains(err.Error(),
		"2 of 3 voters answer (n0, n1)") || !strings.Contains(err.Error(), "nothing was changed") {
		t.Errorf("with a majority it ends with %v", err)
	}
	c.Kill(1)
	if _, err := recoverAt(t, c, 2, false); err == nil || !strings.Contains(err.Error(),
		"with this agent 2 of 3 voters are there (n0 answer)") {
		t.Errorf("with a majority that it makes it ends with %v", err)
	}
	c.Kill(0)
	c.Wait("agent 0 is down", func() error { return isDown(c, 0) })
	c.Forget()
	began := time.Now()
	done, err := recoverAt(t, c, 2, false)
	if err != nil || done.History.Epoch != 2 || len(done.Answered) > 0 || len(done.Silent) != 2 {
		t.Fatalf("recover: %+v, %v", done, err)
	}
	c.Start(2)
	c.MustEdit(2, awatest.CreateEdit("after"))
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it takes edits after %s", took)
	}
	c.Start(0, 1)
	c.Wait("all hold the same", func() error {
		for i := range 3 {
			if self, err := c.Ping(i); err != nil || self.History != done.History || c.Nodes(i)["after"].ID == 0 {
				return fmt.Errorf("agent %d follows history %s (%v)", i, self.History, err)
			}
		}
		return nil
	})
	c.WaitVoters(3)
	for i := range 3 {
		if nodes := c.Nodes(i); nodes["kept"].ID == 0 || nodes["lost"].ID != 0 {
			t.Errorf("agent %d holds %v", i, nodes)
		}
		files, _ := filepath.Glob(filepath.Join(c.Dir(i), "set-aside-*.json"))
		if want := 1 - i/2; len(files) != want {
			t.Errorf("agent %d has set aside %v", i, files)
		}
		self, err := c.Ping(i)
		if err != nil || self.Fork == nil || self.Fork.State != before.State-1 {
			t.Errorf("agent %d says its history forked at %+v", i, self.Fork)
		}
	}
}

// Another agent that answers holds more.
func TestRecover_LongerListElsewhere(t *testing.T) {
	c := awatest.New(t, 5, awatest.KeepVoters())
	c.WaitSame()
	c.Kill(4)
	c.MustEdit(0, awatest.CreateEdit("more"))
	c.Wait("agent 3 holds it", func() error {
		if c.Nodes(3)["more"].ID == 0 {
			return errors.New("it does not")
		}
		return nil
	})
	c.Kill(0, 1, 2)
	if _, err := recoverAt(t, c, 4, false); err == nil || !strings.Contains(err.Error(), "agent n3 holds change") ||
		!strings.Contains(err.Error(), "run awa-agent recover there") {
		t.Errorf("it ends with %v", err)
	}
	c.Forget()
	done, err := recoverAt(t, c, 4, true)
	if err != nil || !slices.Equal(done.Answered, []string{"n3"}) {
		t.Fatalf("forced: %+v, %v", done, err)
	}
	c.Start(4)
	c.Wait("agent 3 follows", func() error {
		if self, err := c.Ping(3); err != nil || self.History != done.History || c.Nodes(3)["more"].ID != 0 {
			return fmt.Errorf("it follows %s", self.History)
		}
		return nil
	})
}

// Both sides of a cut recover: equal epochs never mix, and both sides say so
// until a person empties one.
func TestRecover_BothSides(t *testing.T) {
	c := awatest.New(t, 3, awatest.KeepVoters())
	c.WaitSame()
	c.Kill(0, 1, 2)
	c.Forget()
	var histories []awa.History
	for _, i := range []int{0, 1} {
		done, err := recoverAt(t, c, i, true)
		if err != nil {
			t.Fatal(err)
		}
		histories = append(histories, done.History)
	}
	if histories[0].Epoch != histories[1].Epoch {
		t.Fatalf("the histories are %v", histories)
	}
	c.Start(0, 1)
	for _, i := range []int{0, 1} {
		c.Wait("it says so", func() error {
			if got := codesOf(t, c, i); !slices.Contains(got, awa.OtherHistory) {
				return fmt.Errorf("agent %d tells of %v", i, got)
			}
			if self, err := c.Ping(i); err != nil || self.Leader != self.UID {
				return fmt.Errorf("agent %d has not been elected yet, %v", i, err)
			}
			return nil
		})
	}
	edit := func(i int) {
		e := awatest.CreateEdit(fmt.Sprint("side", i))
		e.Key = awa.NewUID()
		if _, _, err := c.Client().Edit(t.Context(), c.Addr(i), e, 0); err != nil {
			t.Errorf("agent %d takes no edit: %v", i, err)
		}
	}
	edit(0)
	edit(1)
	for i := range 2 {
		if self, err := c.Ping(i); err != nil || self.History != histories[i] || c.Nodes(i)[fmt.Sprint("side", 1-i)].ID != 0 {
			t.Errorf("agent %d follows %s (%v), and holds %v", i, self.History, err, c.Nodes(i))
		}
	}
	c.Kill(1)
	c.Wipe(1)
	c.Start(1)
	c.Start(2)
	c.WaitAll(3)
	c.Wait("all is well", func() error {
		if got := codesOf(t, c, 0); slices.Contains(got, awa.OtherHistory) {
			return fmt.Errorf("it tells of %v", got)
		}
		return nil
	})
}

func TestRecover_Refused(t *testing.T) {
	c := awatest.New(t, 1)
	nobody := func(context.Context, string) (awa.Self, error) { return awa.Self{}, errors.New("nobody") }
	if _, err := daemon.Recover(t.Context(), c.Dir(0), nobody, true); err == nil ||
		!strings.Contains(err.Error(), "runs: stop it first") {
		t.Errorf("beside a running agent it ends with %v", err)
	}
	if _, err := daemon.Recover(t.Context(), t.TempDir(), nobody, true); err == nil ||
		!strings.Contains(err.Error(), "holds no node list") {
		t.Errorf("without a list it ends with %v", err)
	}
}
