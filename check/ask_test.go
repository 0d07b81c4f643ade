package main

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"are-we-alive/pkg/awa"
)

const a1, a2, a3 = "10.0.0.1:25483", "10.0.0.2:25483", "10.0.0.3:25483"

type agents = map[string]func(context.Context) (awa.ClusterStatus, error)

// outlive lets the bubble's time run until the agents that ignore their
// context have ended, as the end of the process ends them.
func outlive() { time.Sleep(2 * time.Hour) }

func TestCheck_severalAgents(t *testing.T) {
	well, seen := cluster(3), cluster(3, 3)
	seen.Agent = "n2"
	lonely, other := cluster(3, 2, 3), cluster(3, 1, 3)
	lonely.Isolated, other.Isolated, other.Agent = true, true, "n2"
	founder, stray := cluster(1), cluster(3)
	founder.Cluster = "another"
	stray.Health = []awa.Condition{{Code: awa.OtherHistory, Agent: "n1", Text: "n1 is about to follow"}}
	unlisted, stranger, empty := cluster(3), cluster(3), cluster(0)
	unlisted.Health = []awa.Condition{{Code: awa.Unlisted, Agent: "n1", Text: "this agent was removed"}}
	stranger.Health = []awa.Condition{{Code: awa.Unlisted, Text: "n9 is not on the list"}}
	tests := map[string]struct {
		agents agents
		args   string
		asked  []string
		took   time.Duration
		code   int
		line   string
	}{
		"the first answers": {
			agents{a1: after(20*time.Millisecond, well)}, "-H 10.0.0.1 -H 10.0.0.2",
			[]string{a1 + " +0s"}, 20 * time.Millisecond, 0, "AWA OK - 3 of 3 nodes online |",
		},
		"the first refuses, the next is asked at once": {
			agents{a2: after(20*time.Millisecond, seen)}, "-H 10.0.0.1,10.0.0.2",
			[]string{a1 + " +0s", a2 + " +0s"}, 20 * time.Millisecond, 2, "AWA CRITICAL - 1 of 3 nodes offline: n3 " +
				"(the host answers, its agent is not running (connection refused)) |",
		},
		"the first holds no list": {
			agents: agents{a1: refuse(&awa.Fault{Code: awa.ErrNotJoined, Text: "no list yet"}),
				a2: after(0, well)}, args: "-H 10.0.0.1 -H 10.0.0.2",
			asked: []string{a1 + " +0s", a2 + " +0s"}, line: "AWA OK - 3 of 3 nodes online |",
		},
		"the first is isolated, the next has a better view": {
			agents{a1: after(20*time.Millisecond, lonely), a2: after(20*time.Millisecond, seen)}, "-H 10.0.0.1 -H 10.0.0.2",
			[]string{a1 + " +0s", a2 + " +20ms"}, 40 * time.Millisecond, 2,
			"AWA CRITICAL - 1 of 3 nodes offline: n3 (the host answers, its agent is not running (connection " +
				"refused)) - as n2 sees it, since 10.0.0.1:25483 reaches no other agent |",
		},
		"the first is alone on its list, the next is not": {
			agents{a1: after(20*time.Millisecond, founder), a2: after(20*time.Millisecond, seen)}, "-H 10.0.0.1 -H 10.0.0.2",
			[]string{a1 + " +0s", a2 + " +20ms"}, 40 * time.Millisecond, 2,
			"AWA CRITICAL - 1 of 3 nodes offline: n3 (the host answers, its agent is not running (connection " +
				"refused)) - as n2 sees it, since 10.0.0.1:25483 is " +
				"alone on its list, not on it, or has another one |",
		},
		"the first has another list": {
			agents{a1: after(0, stray), a2: after(0, well)}, "-H 10.0.0.1 -H 10.0.0.2",
			[]string{a1 + " +0s", a2 + " +0s"}, 0, 0, "AWA OK - 3 of 3 nodes online - as n1 sees it, since " +
				"10.0.0.1:25483 is alone",
		},
		"the first has another list, and nobody else answers": {
			agents{a1: after(0, stray)}, "-H 10.0.0.1 -H 10.0.0.2",
			[]string{a1 + " +0s", a2 + " +0s"}, 0, 2, "AWA CRITICAL - 3 of 3 nodes online, but OTHER_HISTORY: n1 is about to " +
				"follow |",
		},
		"the first is not on its list": {
			agents{a1: after(0, unlisted), a2: after(0, well)}, "-H 10.0.0.1 -H 10.0.0.2",
			[]string{a1 + " +0s", a2 + " +0s"}, 0, 0, "AWA OK - 3 of 3 nodes online - as n1 sees it, since 10.0.0.1:25483 is " +
				"alone on its list, not on it",
		},
		"a stranger is not on the list": {
			agents{a1: after(0, stranger), a2: after(0, well)}, "-H 10.0.0.1 -H 10.0.0.2",
			[]string{a1 + " +0s"}, 0, 1, "AWA WARNING - 3 of 3 nodes online, but UNLISTED: n9 is not on the list |",
		},
		"the first has no node of that name, the next has": {
			agents{a1: after(0, founder), a2: after(0, well)}, "-H 10.0.0.1 -H 10.0.0.2 --node n1",
			[]string{a1 + " +0s"}, 0, 0, "AWA OK - n1 is online",
		},
		"the first knows none of the nodes, the next does": {
			agents{a1: after(0, empty), a2: after(0, well)}, "-H 10.0.0.1 -H 10.0.0.2 --node n1",
			[]string{a1 + " +0s", a2 + " +0s"}, 0, 0, "AWA OK - n1 is online",
		},
		"the only one is alone on its list": {
			agents{a1: after(0, founder)}, "-H 10.0.0.1", []string{a1 + " +0s"}, 0, 0, "AWA OK - 1 of 1 node online |",
		},
		"the first is isolated, and nobody else answers": {
			agents{a1: after(0, lonely)}, "-H 10.0.0.1 -H 10.0.0.2",
			[]string{a1 + " +0s", a2 + " +0s"}, 0, 2,
			"AWA CRITICAL - 2 of 3 nodes offline: the host answers, its agent is not running (n2, n3), and no " +
				"majority for edits, 2 of 3 voters not alive (n2, n3) - n1 reaches no other agent, " +
				"so the fault may be its own: ask another one too (-H) |",
		},
		"the first is isolated, the next silent": {
			agents{a1: after(0, lonely), a2: never(0)}, "-H 10.0.0.1 -H 10.0.0.2",
			[]string{a1 + " +0s", a2 + " +0s"}, 3800 * time.Millisecond, 2, "AWA CRITICAL - 2 of 3 nodes offline: the host",
		},
		"all are isolated": {
			agents{a1: after(0, lonely), a2: after(0, other)}, "-H 10.0.0.1 -H 10.0.0.2",
			[]string{a1 + " +0s", a2 + " +0s"}, 0, 2,
			"AWA CRITICAL - 2 of 3 nodes offline: the host answers, its agent is not running (n2, n3), and no " +
				"majority for edits, 2 of 3 voters not alive (n2, n3) - n1 reaches",
		},
		"the first is slow, the next is asked beside it": {
			agents{a1: after(3*time.Second, well), a2: after(20*time.Millisecond, seen)}, "-H 10.0.0.1 -H 10.0.0.2",
			[]string{a1 + " +0s", a2 + " +500ms"}, 520 * time.Millisecond, 2, "AWA CRITICAL - 1 of 3",
		},
		"the first is slow, yet faster than the next": {
			agents{a1: after(600*time.Millisecond, well), a2: after(time.Second, seen)}, "-H 10.0.0.1 -H 10.0.0.2",
			[]string{a1 + " +0s", a2 + " +500ms"}, 600 * time.Millisecond, 0, "AWA OK",
		},
		"the next fails beside a slow one": {
			agents{a1: after(time.Second, well), a3: after(2*time.Second, seen)}, "-H 10.0.0.1 -H 10.0.0.2 -H 10.0.0.3",
			[]string{a1 + " +0s", a2 + " +500ms", a3 + " +500ms"}, time.Second, 0, "AWA OK",
		},
		"one after another is silent": {
			agents{a1: never(0), a2: never(0), a3: after(0, seen)}, "-H 10.0.0.1 -H 10.0.0.2 -H 10.0.0.3",
			[]string{a1 + " +0s", a2 + " +500ms", a3 + " +1s"}, time.Second, 2, "AWA CRITICAL - 1 of 3",
		},
		"little time, and yet everyone is asked": {
			agents{a1: never(0), a2: never(0), a3: after(100*time.Millisecond, well)}, "-t 0.6 -H 10.0.0.1 -H " +
				"10.0.0.2 -H 10.0.0.3",
			[]string{a1 + " +0s", a2 + " +100ms", a3 + " +200ms"}, 300 * time.Millisecond, 0, "AWA OK",
		},
		"all refuse": {
			args:  "-H 10.0.0.1 -H 10.0.0.2 -p 99 -H [::1]:7",
			asked: []string{"10.0.0.1:99 +0s", "10.0.0.2:99 +0s", "[::1]:7 +0s"}, code: 2,
			line: "AWA CRITICAL - no agent answers: 10.0.0.1:99 (connect: connection refused), 10.0.0.2:99 (connect: " +
				"connection refused), [::1]:7 (connect: connection refused) | state=2;;;0;3",
		},
		"nobody answers in time": {
			agents: agents{a1: never(0), a2: after(time.Hour, well)}, args: "-H 10.0.0.1 -H 10.0.0.2",
			asked: []string{a1 + " +0s", a2 + " +500ms"}, took: 3800 * time.Millisecond, code: 3,
			line: "AWA UNKNOWN - no agent answers: 10.0.0.1:25483 (connect: no answer within 4s), 10.0.0.2:25483 (reply: no " +
				"answer within 4s) |",
		},
		"an agent that ignores the time": {
			agents: agents{a1: never(time.Hour),
				a2: refuse(&awa.Fault{Code: awa.ErrStopping, Text: "it is shutting down"})}, args: "-t 500ms -H " +
				"10.0.0.1 -H 10.0.0.2",
			asked: []string{a1 + " +0s", a2 + " +125ms"}, took: 450 * time.Millisecond, code: 3,
			line: "AWA UNKNOWN - no agent answers: 10.0.0.1:25483 (no answer within 500ms), 10.0.0.2:25483 (it is " +
				"shutting down) |",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, start := &fake{agents: test.agents}, time.Now()
				code, out, errs := checkWith(t, t.Context(), f, strings.Fields(test.args)...)
				took := time.Since(start)
				outlive()
				f.mu.Lock()
				defer f.mu.Unlock()
				if code != test.code || !strings.HasPrefix(out, test.line) || errs != "" {
					t.Errorf("exit code %d, want %d, with\n%s%s", code, test.code, out, errs)
				}
				if took != test.took || !slices.Equal(f.asked, test.asked) {
					t.Errorf("it took %v and asked %v, want %v and %v", took, f.asked, test.took, test.asked)
				}
			})
		})
	}
}

func TestCheck_signal(t *testing.T) {
	for format, want := range map[string]string{
		"nagios": "AWA UNKNOWN - stopped by a signal before an agent answered\n",
		"json":   `{"state":3,"text":"stopped by a signal before an agent answered"}` + "\n",
		"influx": `awa_cluster state=3i,error="stopped by a signal before an agent answered" 946684801000000000` + "\n",
	} {
		t.Run(format, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second) // stands for the signal
				defer cancel()
				code, out, _ := checkWith(t, ctx, &fake{agents: agents{"127.0.0.1:25483": never(time.Hour)}}, "-o", format)
				outlive()
				if code != 3 || out != want {
					t.Errorf("exit code %d with %q, want 3 with %q", code, out, want)
				}
			})
		})
	}
}

func TestCheck_panic(t *testing.T) {
	for format, want := range map[string]string{
		"nagios": "AWA UNKNOWN - internal error: so it goes\n",
		"influx": `awa_cluster state=3i,error="internal error: so it goes" `,
	} {
		f := &fake{agents: agents{"127.0.0.1:25483": func(context.Context) (awa.ClusterStatus,
			error) {
			panic("so it goes")
		}}}
		code, out, errs := checkWith(t, t.Context(), f, "-o", format)
		if code != 3 || !strings.HasPrefix(out, want) || !strings.Contains(errs, "goroutine") {
			t.Errorf("exit code %d with %q and on stderr %q", code, out, errs)
		}
	}
}

// stuck is a stdout that takes nothing until the test ends.
type stuck struct{ end <-chan struct{} }

func (s stuck) Write(b []byte) (int, error) { <-s.end; return len(b), nil }

func TestCheck_stuckStdout(t *testing.T) {
	for name, test := range map[string]struct {
		args   []string
		signal time.Duration // when it comes
		took   time.Duration
	}{
		"until the time is over":   {[]string{"-t", "2"}, time.Hour, 2 * time.Second},
		"a signal ends it":         {[]string{"-t", "2"}, time.Second, time.Second},
		"wrong usage":              {[]string{"-x"}, time.Hour, 4 * time.Second},
		"a signal, then the write": {[]string{"-H", a1, "-t", "60"}, time.Second, 2 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), test.signal)
				defer cancel()
				end := make(chan struct{})
				defer close(end)
				var errs strings.Builder
				start := time.Now()
				f := &fake{agents: agents{"127.0.0.1:25483": after(0, cluster(3)), a1: never(0)}}
				code := check(ctx, with(f), test.args, nil, stuck{end}, &errs)
				if took := time.Since(start); code != 3 || took != test.took || errs.String() != "check_awa: stdout took "+
					"nothing until the time was over\n" {
					t.Errorf("exit code %d after %v, want 3 after %v, and on stderr %q", code, took, test.took, errs.String())
				}
			})
		})
	}
}
