//go:build system

package faults

import (
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"are-we-alive/pkg/awatest/testaid"
)

const (
	rounds   = 3               // of each fault
	serfMost = 2 * time.Minute // until serf has made up its mind
	// backgroundMax is how long an agent may take by itself: its longest pause
	// between two sweeps, which is 5 s and a tenth, and one sweep.
	backgroundMax = 5500*time.Millisecond + inAll
)

// TestDetection measures how long a death goes unnoticed: by check_awa, by the
// agents' own sweeps, and by serf beside them on the same hosts.
func TestDetection(t *testing.T) {
	c := newCluster(t)
	s := startSerf(c)
	var out strings.Builder
	for _, f := range []struct {
		name        string
		breaks      func()
		mend        func()
		onDemandMax time.Duration
	}{{
		"kill -9", func() { c.n(3).kill(); s.kill(3) }, func() { c.n(3).start(); s.start(3) }, atOnce,
	}, {
		"cut off", func() { c.n(3).host.cutOff() }, func() { c.n(3).host.open() }, inAll,
	}} {
		var onDemand, background, serf []time.Duration
		mend := func() {
			f.mend()
			for _, a := range c.agents {
				c.awaitAll(a)
			}
			s.await("alive")
		}
		for range rounds {
			f.breaks()
			onDemand = append(onDemand, c.untilAsked(time.Now()))
			mend()

			from := c.n(1).log.len()
			f.breaks()
			broken := time.Now()
			background = append(background, c.untilLogged(from, broken))
			if s != nil {
				serf = append(serf, s.await("failed").Sub(broken))
			}
			mend()
		}
		fmt.Fprintf(&out, "%-10s %-24s %-24s %s\n", f.name, spread(onDemand), spread(background), spread(serf))
		if worst := slices.Max(onDemand); worst > f.onDemandMax {
			t.Errorf("%s: check_awa knew it after %v, not %v", f.name, worst, f.onDemandMax)
		}
		if worst := slices.Max(background); worst > backgroundMax {
			t.Errorf("%s: the agent knew it by itself after %v, not %v", f.name, worst, backgroundMax)
		}
	}
	fmt.Printf("\nDetection, min / median / max of %d, in seconds.\n%-10s %-24s %-24s %s\n%s\n",
		rounds, "fault", "check_awa on demand", "an agent by itself", "serf members", out.String())
	if s == nil {
		testaid.Skip(t, "the times of serf: it isn't installed: run  sudo test/install-debian.sh serf")
	}
}

// untilAsked asks n1 until it says that n3 is not online.
func (c *cluster) untilAsked(broken time.Time) time.Duration {
	c.t.Helper()
	testaid.Await(c.t, waitMost, func() error {
		for _, n := range c.ask(c.n(1)).Nodes {
			if n.Name == "n3" && n.Verdict != "online" {
				return nil
			}
		}
		return errors.New("check_awa sees n3 online")
	})
	return time.Since(broken)
}

// untilLogged waits until n1 says in its log that n3 is not online, which
// nobody asks for.
func (c *cluster) untilLogged(from int, broken time.Time) time.Duration {
	c.t.Helper()
	var at time.Time
	testaid.Await(c.t, waitMost, func() error {
		for _, s := range c.n(1).log.sightings(from) {
			if s.Node == "n3" {
				at = s.Time
				return nil
			}
		}
		return errors.New("n1 has not noticed that n3 is gone")
	})
	return at.Sub(broken)
}

// spread returns the least, the median and the most.
func spread(times []time.Duration) string {
	if len(times) == 0 {
		return "not measured"
	}
	times = slices.Sorted(slices.Values(times))
	return fmt.Sprintf("%.3f / %.3f / %.3f", times[0].Seconds(), times[len(times)/2].Seconds(),
		times[len(times)-1].Seconds())
}

// serfs is a serf agent beside each of ours, with its defaults; nil when serf
// isn't installed.
type serfs struct {
	c    *cluster
	cmds []*exec.Cmd
}

// serfRPC is where each serf agent is asked, on its own host.
const serfRPC = "-rpc-addr=127.0.0.1:7373"

func startSerf(c *cluster) *serfs {
	c.t.Helper()
	if _, err := exec.LookPath("serf"); err != nil {
		return nil
	}
	s := &serfs{c: c, cmds: make([]*exec.Cmd, len(c.agents))}
	for i := range c.agents {
		s.start(i + 1)
		c.t.Cleanup(func() { s.kill(i + 1) })
	}
	s.await("alive")
	return s
}

func (s *serfs) start(number int) {
	if s == nil {
		return
	}
	a := s.c.n(number)
	args := []string{"agent", "-node=" + a.name, "-bind=" + a.host.addr, serfRPC}
	for _, o := range s.c.agents {
		if o != a {
			args = append(args, "-retry-join="+o.host.addr)
		}
	}
	cmd := a.host.command("serf", args...)
	if err := cmd.Start(); err != nil {
		s.c.t.Fatal(err)
	}
	s.cmds[number-1] = cmd
}

func (s *serfs) kill(number int) {
	if s == nil {
		return
	}
	cmd := s.cmds[number-1]
	cmd.Process.Kill() // fails when it has ended
	cmd.Wait()
}

// await waits until h1's serf says so of n3, and of the others that they are
// alive, and returns the time of that answer.
func (s *serfs) await(status string) time.Time {
	if s == nil {
		return time.Time{}
	}
	s.c.t.Helper()
	testaid.Await(s.c.t, serfMost, func() error {
		out, err := s.c.n(1).host.command("serf", "members", serfRPC).CombinedOutput()
		if err != nil {
			return fmt.Errorf("serf members: %w: %s", err, out)
		}
		found := 0
		for line := range strings.Lines(string(out)) {
			want := "alive"
			if f := strings.Fields(line); len(f) >= 3 {
				if f[0] == "n3" {
					want = status
				}
				if f[2] == want {
					found++
				}
			}
		}
		if found != len(s.c.agents) {
			return fmt.Errorf("n3 is not %s:\n%s", status, out)
		}
		return nil
	})
	return time.Now()
}
