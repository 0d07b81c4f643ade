package test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"are-we-alive/pkg/awatest/testaid"
)

// newKey makes a key with awa-agent and returns the line of it.
func newKey(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "key")
	if r := run(t, "awa-agent", "key", "new", file); r.code != 0 {
		t.Fatal(r)
	}
	return lastLine(t, file)
}

func lastLine(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return lines[len(lines)-1]
}

// rewrite puts keys into a key file as an administrator's editor would.
func rewrite(t *testing.T, file string, keys ...string) {
	t.Helper()
	next := file + ".next"
	write(t, next, strings.Join(keys, "\n")+"\n")
	if err := os.Rename(next, file); err != nil {
		t.Fatal(err)
	}
}

// TestKeys_rotation changes the key of a cluster as the README says, while
// check_awa and the list's editors go on asking with files of their own.
func TestKeys_rotation(t *testing.T) {
	t.Parallel()
	old, next := newKey(t), newKey(t)
	cluster, checks := filepath.Join(t.TempDir(), "cluster.key"), filepath.Join(t.TempDir(), "check.key")
	derive := func() {
		r := run(t, "awa-agent", "key", "check", "--key-file", cluster)
		if r.code != 0 {
			t.Fatal(r)
		}
		rewrite(t, checks, strings.TrimSpace(r.out))
	}
	rewrite(t, cluster, old)
	derive()
	var agents []*agent
	for i := range 3 {
		how := []string{"--first"}
		if i > 0 {
			how = []string{"--join", agents[0].addr()}
		}
		a := newAgent(t, fmt.Sprintf("a%d", i+1), append(how, "--key-file", cluster)...)
		a.start()
		agents = append(agents, a)
	}
	check := func(a *agent) result { return run(t, "check_awa", "-H", a.addr(), "-k", checks, "-c", "0") }
	for _, a := range agents {
		testaid.Await(t, 30*time.Second, func() error {
			if r := check(a); !strings.HasPrefix(r.out, "AWA OK - 3 of 3 nodes online") {
				return fmt.Errorf("%d %s", r.code, r.out)
			}
			return nil
		})
	}

	var asked atomic.Int64
	stop := make(chan struct{})
	var all sync.WaitGroup
	ask := sync.OnceFunc(func() { close(stop); all.Wait() })
	t.Cleanup(ask)
	for _, a := range agents {
		all.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				if r := check(a); r.code != 0 {
					t.Errorf("check_awa at %s: %d %s", a.name, r.code, r.out)
				}
				if r := run(t, "awa-agent", "node", "set", a.name, "--label", fmt.Sprint("round=", n), "--agent", a.addr(),
					"--key-file", cluster); r.code != 0 {
					t.Errorf("an edit at %s: %d %s", a.name, r.code, r.errors)
				}
				asked.Add(1)
			}
		})
	}
	more := func() {
		from := asked.Load()
		testaid.Await(t, 30*time.Second, func() error {
			if n := asked.Load() - from; n < 6 {
				return fmt.Errorf("%d rounds of requests", n)
			}
			return nil
		})
	}
	more()
	for i, keys := range [][]string{{old, next}, {next, old}, {next}} {
		rewrite(t, cluster, keys...)
		derive()
		for _, a := range agents {
			a.signal(syscall.SIGHUP)
		}
		for _, a := range agents {
			testaid.Await(t, 10*time.Second, func() error {
				if n := strings.Count(a.log.String(), `"msg":"read the key file again"`); n != i+1 {
					return fmt.Errorf("agent %s has read its key file %d times", a.name, n)
				}
				return nil
			})
		}
		more()
	}
	ask()

	stale := filepath.Join(t.TempDir(), "stale.key")
	rewrite(t, stale, old)
	if r := run(t, "check_awa", "-H", agents[0].addr(), "-k", stale); r.code != 3 ||
		!strings.Contains(r.out, "another key") {
		t.Errorf("with the old key: %d %s", r.code, r.out)
	}
	if r := run(t, "check_awa", "-H", agents[0].addr(), "-k", ""); r.code != 2 || !strings.Contains(r.out, "TLS only") {
		t.Errorf("without a key: %d %s", r.code, r.out)
	}
}
