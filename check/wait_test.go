package main

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"are-we-alive/pkg/awa"
)

// well is an agent that sees a dead node until some time is over.
func wellAfter(d time.Duration) func(context.Context) (awa.ClusterStatus, error) {
	start := time.Now()
	return func(context.Context) (awa.ClusterStatus, error) {
		if time.Since(start) < d {
			return cluster(3, 2), nil
		}
		return cluster(3), nil
	}
}

func TestWait(t *testing.T) {
	for name, test := range map[string]struct {
		args string
		well time.Duration // from when on
		stop time.Duration // when a signal comes; 0 is never
		code int
		took time.Duration
		line string
	}{
		"all is well":           {"--wait 5m", 0, 0, 0, 0, "AWA OK - 3 of 3"},
		"after a while":         {"--wait 5m", 90 * time.Second, 0, 0, 90 * time.Second, "AWA OK - 3 of 3"},
		"never":                 {"--wait 20", time.Hour, 0, 2, 20 * time.Second, "AWA CRITICAL - 1 of 3"},
		"the time is not whole": {"--wait 1.5s", time.Hour, 0, 2, 1500 * time.Millisecond, "AWA CRITICAL - 1 of 3"},
		"no agent answers":      {"--wait 3s -H 10.0.0.2", time.Hour, 0, 2, 3 * time.Second, "AWA CRITICAL - no agent answers"},
		"a signal": {"--wait 5m", time.Hour, 10500 * time.Millisecond, 3, 10500 * time.Millisecond,
			"AWA UNKNOWN - stopped by a signal while it waited"},
		"other formats": {"--wait 5m -o names", 2 * time.Second, 0, 0, 2 * time.Second, "n1\nn2\nn3\n"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if test.stop > 0 {
					time.AfterFunc(test.stop, cancel)
				}
				start := time.Now()
				f := &fake{agents: agents{"127.0.0.1:25483": wellAfter(test.well)}}
				code, out, errs := checkWith(t, ctx, f, strings.Fields(test.args)...)
				if took := time.Since(start); code != test.code || took != test.took || !strings.HasPrefix(out, test.line) ||
					errs != "" {
					t.Errorf("exit code %d after %v: %s%s", code, took, out, errs)
				}
			})
		})
	}
}

func TestRepeat_wrong(t *testing.T) {
	for args, want := range map[string]string{
		"--watch=0.1":          "bad --watch: 0.1 is not from 0.5 to 3600 seconds",
		"--watch=soon":         `bad --watch: "soon" is not a time: give seconds such as 4 or 0.5`,
		"--watch --wait 5m":    "bad --watch: it shows the cluster until you quit, so leave out --wait",
		"--watch -o json":      "bad --watch: it shows the table, so leave out -o json",
		"--wait 0":             "bad --wait: 0 is not from 0.1 to 86400 seconds",
		"--wait":               "--wait: its value is missing",
		"--sort size":          `bad --sort: "size" is not an order: use problems, name, rtt or since`,
		"--color yes":          `bad --color: "yes" is not one of auto, always or never`,
		"--problems -o json":   "bad --problems: the format json does not have it, so leave out one of the two",
		"--sort rtt -o influx": "bad --sort: the format influx does not have it, so leave out one of the two",
		"--mesh -o names":      "bad --mesh: the format names does not have it, so leave out one of the two",
	} {
		if _, _, err := parse(strings.Fields(args)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", args, err, want)
		}
	}
	for args, every := range map[string]time.Duration{"--watch": 2 * time.Second, "--watch=5": 5 * time.Second,
		"--watch=1m -v": time.Minute} {
		if c, _, err := parse(strings.Fields(args)); err != nil || c.watch != every {
			t.Errorf("%s: %v (%v)", args, c.watch, err)
		}
	}
}
