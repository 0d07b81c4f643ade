package watch_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/watch"
)

// diary keeps the events of a Watcher as lines, without those of the first sight.
type diary struct {
	began time.Time
	mu    sync.Mutex
	lines []string
}

func (d *diary) add(all []awa.Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, e := range all {
		if e.Before == "" && e.Verdict != "" && e.Lasted == 0 {
			continue
		}
		line := fmt.Sprintf("%v %s %s", e.At.Sub(d.began), e.Node, e.Kind)
		if e.Lasted > 0 {
			line += fmt.Sprintf(" after %v", time.Duration(e.Lasted))
		}
		if e.Away > 0 {
			line += fmt.Sprintf(" away %v", time.Duration(e.Away))
		}
		if e.Why != "" {
			line += ": " + e.Why
		}
		d.lines = append(d.lines, line)
	}
}

// want compares the lines since the last call.
func (d *diary) want(t *testing.T, lines ...string) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if !slices.Equal(d.lines, lines) {
		t.Errorf("the events are\n%s\nwant\n%s", strings.Join(d.lines, "\n"), strings.Join(lines, "\n"))
	}
	d.lines = nil
}

// aged makes a node's agent one of an instance and a boot, which were started a while ago.
func aged(net *network, n awa.Node, instance, boot string, up time.Duration) {
	self := selfOf(n)
	now := time.Now().Unix()
	self.Instance, self.Boot, self.Time, self.Started = instance, boot, now, now-int64(up.Seconds())
	net.answerAs(n, self)
}

// events runs a test with a Watcher of two nodes whose events are kept.
func events(t *testing.T, f func(t *testing.T, list []awa.Node, net *network, w *watch.Watcher, d *diary)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		list := nodes(2)
		net := newNetwork(list)
		d := &diary{began: time.Now()}
		w := newWatcher(net, list, func(c *watch.Config) { c.Events = d.add })
		for _, n := range list {
			aged(net, n, "a", "boot1", time.Hour)
		}
		w.Sweep(t.Context())
		d.want(t)
		f(t, list, net, w, d)
	})
}

const down = "the host answers, its agent is not running (connection refused)"

func TestWatcher_Events(t *testing.T) {
	events(t, func(t *testing.T, list []awa.Node, net *network, w *watch.Watcher, d *diary) {
		pass(10 * time.Second)
		net.set(list[1], refuses)
		w.Sweep(t.Context())
		d.want(t, "10s n2 offline after 10s: "+down)
		pass(5 * time.Second)
		w.Sweep(t.Context())
		d.want(t)
		pass(5 * time.Second)
		net.set(list[1], answers)
		w.Sweep(t.Context())
		d.want(t, "20s n2 online after 10s")
	})
}

func TestWatcher_Events_restart(t *testing.T) {
	events(t, func(t *testing.T, list []awa.Node, net *network, w *watch.Watcher, d *diary) {
		pass(10 * time.Second)
		aged(net, list[1], "b", "boot1", 4*time.Second)
		if st := w.Sweep(t.Context())[1]; st.Since.Sub(d.began) != 6*time.Second {
			t.Errorf("it is online since %v", st.Since.Sub(d.began))
		}
		d.want(t, "10s n2 restarted after 10s away 6s: its agent was restarted")
		pass(10 * time.Second)
		w.Sweep(t.Context())
		d.want(t)

		net.set(list[1], refuses)
		w.Sweep(t.Context())
		pass(30 * time.Second)
		net.set(list[1], answers)
		aged(net, list[1], "c", "boot2", 5*time.Second)
		if st := w.Sweep(t.Context())[1]; st.Since.Sub(d.began) != 50*time.Second { // when it was seen again
			t.Errorf("it is online since %v", st.Since.Sub(d.began))
		}
		d.want(t, "20s n2 offline after 14s: "+down, "50s n2 rebooted after 30s: its machine was rebooted")
	})
}

// An agent of an earlier version says neither when it was started nor of which boot it is.
func TestWatcher_Events_restart_unknown(t *testing.T) {
	events(t, func(t *testing.T, list []awa.Node, net *network, w *watch.Watcher, d *diary) {
		pass(10 * time.Second)
		self := selfOf(list[1])
		self.Instance = "b"
		net.answerAs(list[1], self)
		if st := w.Sweep(t.Context())[1]; st.Since.Sub(d.began) != 10*time.Second {
			t.Errorf("it is online since %v", st.Since.Sub(d.began))
		}
		d.want(t, "10s n2 restarted after 10s away 10s: its agent was restarted")
	})
}

func TestWatcher_Goodbye(t *testing.T) {
	events(t, func(t *testing.T, list []awa.Node, net *network, w *watch.Watcher, d *diary) {
		pass(10 * time.Second)
		w.Goodbye(list[1].UID, "a", awa.StopShutdown)
		w.Goodbye(list[1].UID, "a", awa.StopShutdown) // it may be sent twice
		w.Goodbye("somebody", "a", awa.StopShutdown)
		if st := w.Sweep(t.Context())[1]; st.Goodbye != nil {
			t.Errorf("while it answers: %+v", st.Goodbye)
		}
		d.want(t, "10s n2 stopped: by systemd, the machine is shutting down")
		pass(time.Second)
		net.set(list[1], refuses)
		st := w.Sweep(t.Context())[1]
		if g := st.Goodbye; g == nil || g.Reason != awa.StopShutdown || g.At.Sub(d.began) != 10*time.Second {
			t.Errorf("its goodbye is %+v", g)
		}
		d.want(t, "11s n2 offline after 11s: its agent was stopped (by systemd, the machine is shutting down)")
		pass(time.Minute)
		net.set(list[1], answers)
		aged(net, list[1], "b", "boot2", time.Second)
		w.Sweep(t.Context())
		d.want(t, "1m11s n2 rebooted after 1m0s: its machine was rebooted")
		pass(time.Second)
		net.set(list[1], refuses)
		if st := w.Sweep(t.Context())[1]; st.Goodbye != nil {
			t.Errorf("the goodbye of an earlier start: %+v", st.Goodbye)
		}
	})
}

// An agent that is stopped to be started again has its time for that.
func TestWatcher_Goodbye_restart(t *testing.T) {
	events(t, func(t *testing.T, list []awa.Node, net *network, w *watch.Watcher, d *diary) {
		const stopped = "n2 stopped: by systemd, to start it again"
		pass(10 * time.Second)
		w.Goodbye(list[1].UID, "a", awa.StopRestart)
		net.set(list[1], refuses)
		for range 5 {
			if st := w.Sweep(t.Context())[1]; st.Verdict != awa.Offline {
				t.Errorf("asked live it is %s", st.Verdict)
			}
			pass(5 * time.Second)
		}
		net.set(list[1], answers)
		aged(net, list[1], "b", "boot1", time.Second)
		w.Sweep(t.Context())
		d.want(t, "10s "+stopped, "35s n2 restarted after 10s away 25s: its agent was restarted")

		pass(5 * time.Second)
		w.Goodbye(list[1].UID, "b", awa.StopRestart)
		net.set(list[1], refuses)
		for range 8 {
			w.Sweep(t.Context())
			pass(5 * time.Second)
		}
		d.want(t, "40s "+stopped, "40s n2 offline after 5s: its agent was stopped (by systemd, to start it again)")
		net.set(list[1], answers)
		aged(net, list[1], "c", "boot1", time.Second)
		w.Sweep(t.Context())
		d.want(t, "1m20s n2 restarted after 40s: its agent was restarted")
	})
}

// Nobody gets more time for a restart by saying goodbye again and again.
func TestWatcher_Goodbye_again(t *testing.T) {
	events(t, func(t *testing.T, list []awa.Node, net *network, w *watch.Watcher, d *diary) {
		net.set(list[1], refuses)
		for i := range 12 {
			w.Goodbye(list[1].UID, fmt.Sprint("a", i), awa.StopRestart)
			w.Sweep(t.Context())
			pass(5 * time.Second)
		}
		d.want(t, "0s n2 stopped: by systemd, to start it again",
			"0s n2 offline: its agent was stopped (by systemd, to start it again)")
	})
}

// One that said so and answers again as the same was away, and was not restarted.
func TestWatcher_Goodbye_restart_broken_off(t *testing.T) {
	events(t, func(t *testing.T, list []awa.Node, net *network, w *watch.Watcher, d *diary) {
		w.Goodbye(list[1].UID, "a", awa.StopRestart)
		d.want(t, "0s n2 stopped: by systemd, to start it again")
		pass(10 * time.Second)
		net.set(list[1], refuses)
		w.Sweep(t.Context())
		d.want(t)
		pass(10 * time.Second)
		net.set(list[1], answers)
		w.Sweep(t.Context())
		d.want(t, "10s n2 offline after 10s: its agent was stopped (by systemd, to start it again)", "20s n2 online after 10s")
	})
}

func TestWatcher_Flapping(t *testing.T) {
	events(t, func(t *testing.T, list []awa.Node, net *network, w *watch.Watcher, d *diary) {
		var st awa.NodeStatus
		for i := range 24 { // for two minutes
			pass(5 * time.Second)
			net.set(list[1], refuses)
			if i%2 == 1 {
				net.set(list[1], answers)
			}
			st = w.Sweep(t.Context())[1]
		}
		d.want(t, "5s n2 offline after 5s: "+down, "10s n2 online after 5s", "15s n2 offline after 5s: "+down,
			"20s n2 online after 5s", "25s n2 offline after 5s: "+down,
			"30s n2 flapping after 5s: 6 changes in 10 minutes, the last to online")
		if st.Flapping != 24 {
			t.Errorf("it says that it changed %d times", st.Flapping)
		}
		for range 59 {
			pass(5 * time.Second)
			st = w.Sweep(t.Context())[1]
		}
		d.want(t)
		pass(5 * time.Second)
		if st = w.Sweep(t.Context())[1]; st.Flapping != 0 {
			t.Errorf("it still says that it changed %d times", st.Flapping)
		}
		// Of the 90 s from 30 s to 120 s it was away from 35 to 40, …, and from 115 to 120.
		d.want(t, "7m0s n2 settled after 6m30s away 45s: online for 5m0s")
		net.set(list[1], refuses)
		pass(5 * time.Second)
		w.Sweep(t.Context())
		d.want(t, "7m5s n2 offline after 5m5s: "+down)
	})
}

// The log has each change of a node that is flapping.
func TestWatcher_Flapping_log(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := nodes(2)
		net := newNetwork(list)
		var log bytes.Buffer
		w := newWatcher(net, list, logTo(&log))
		w.Sweep(t.Context())
		for i := range 24 {
			pass(5 * time.Second)
			net.set(list[1], refuses)
			if i%2 == 1 {
				net.set(list[1], answers)
			}
			w.Sweep(t.Context())
		}
		for text, want := range map[string]int{"node is offline": 12, "node is back online": 12, "node is flapping": 1} {
			if n := strings.Count(log.String(), text); n != want {
				t.Errorf("%q is logged %d times, want %d:\n%s", text, n, want, &log)
			}
		}
	})
}

// An agent that dies again and again is flapping too, and so is one that ends that way.
func TestWatcher_Flapping_restarts(t *testing.T) {
	events(t, func(t *testing.T, list []awa.Node, net *network, w *watch.Watcher, d *diary) {
		for i := range 10 {
			pass(5 * time.Second)
			aged(net, list[1], fmt.Sprint("crash", i), "boot1", time.Second)
			w.Sweep(t.Context())
		}
		d.mu.Lock()
		if n := len(d.lines); n != 6 || !strings.Contains(d.lines[5], "n2 flapping") {
			t.Errorf("the events are\n%s", strings.Join(d.lines, "\n"))
		}
		d.lines = nil
		d.mu.Unlock()
		net.set(list[1], refuses)
		for range 61 {
			pass(5 * time.Second)
			w.Sweep(t.Context())
		}
		// 4 s after each of the last four starts, and the end.
		d.want(t, "5m55s n2 settled after 5m25s away 5m16s: offline for 5m0s")
	})
}

// What a Watcher knew is known after its restart.
func TestWatcher_Events_after_a_restart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := nodes(2)
		net := newNetwork(list)
		kept := &memory{}
		d := &diary{began: time.Now()}
		with := func(c *watch.Config) { c.Events, c.Memory = d.add, kept }
		for _, n := range list {
			aged(net, n, "a", "boot1", time.Hour)
		}
		first := newWatcher(net, list, with)
		live(t, first, 10*time.Second)
		first.Goodbye(list[0].UID, "a", awa.StopService)
		net.set(list[0], refuses)
		live(t, first, 10*time.Second)
		d.want(t, "10s n1 stopped: by systemd", "10s n1 offline after 10s: its agent was stopped (by systemd)")

		pass(10 * time.Second)
		aged(net, list[1], "b", "boot2", 5*time.Second)
		second := newWatcher(net, list, with)
		all := live(t, second, 10*time.Second)
		d.want(t, "30s n2 rebooted after 30s: its machine was rebooted")
		if all[0].Goodbye == nil || all[0].Goodbye.Reason != awa.StopService {
			t.Errorf("the goodbye of before is %+v", all[0].Goodbye)
		}
	})
}

func TestWatcher_Swept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := nodes(2)
		n := 0
		w := newWatcher(newNetwork(list), list, func(c *watch.Config) {
			c.Swept = func(r watch.Result) {
				if n++; len(r.Nodes) != 2 {
					t.Errorf("sweep %d saw %d nodes", n, len(r.Nodes))
				}
			}
		})
		live(t, w, 22*time.Second)
		w.Sweep(t.Context())
		if n < 4 || n > 6 {
			t.Errorf("%d background sweeps were reported in 22 s", n)
		}
	})
}
