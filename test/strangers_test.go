package test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"are-we-alive/pkg/awatest/testaid"
)

// TestStrangers has check_awa ask an agent that two and a half thousand
// strangers hold connections to.
func TestStrangers(t *testing.T) {
	t.Run("without a key", func(t *testing.T) { testStrangers(t, "") })
	t.Run("with a key", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "cluster.key")
		rewrite(t, file, newKey(t))
		testStrangers(t, file)
	})
}

func testStrangers(t *testing.T, keys string) {
	a := newAgent(t, "a1", "--first", "--key-file", keys)
	a.start()
	check := func() result { return run(t, "check_awa", "-H", a.addr(), "-k", keys) }
	testaid.Await(t, 20*time.Second, func() error {
		if r := check(); r.code != 0 {
			return fmt.Errorf("check_awa: %d %s%s", r.code, r.out, r.errors)
		}
		return nil
	})
	calm := time.Duration(0) // the slowest check when nobody else is there
	for range 3 {
		began := time.Now()
		check()
		calm = max(calm, time.Since(began))
	}
	before := resident(t, a)
	dial := func(last int) net.Conn {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(last))}}
		c, err := d.Dial("tcp", a.addr())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	for i := range 2000 {
		dial(10 + i%20)
	}
	var slow []net.Conn
	for i := range 500 {
		slow = append(slow, dial(2+i%2))
	}
	for i := range 50 {
		dial(40 + i%5).Write([]byte{0x16, 3, 1, 2, 0, 1, byte(i), 0xff, 0xfe, '\r', '\n'})
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	most, slowest := 0, time.Duration(0)
	for _, b := range []byte("GET /pi") {
		for _, c := range slow {
			c.Write([]byte{b}) // the agent closes those that are too slow
		}
		began := time.Now()
		r := check()
		slowest = max(slowest, time.Since(began))
		if r.code != 0 {
			t.Errorf("check_awa: %d %s%s", r.code, r.out, r.errors)
		}
		most = max(most, resident(t, a))
		<-tick.C
	}
	t.Logf("check_awa took %s at most, %s without strangers; the agent grew from %d to %d MiB", slowest, calm, before,
		most)
	if slowest > time.Second+5*calm {
		t.Errorf("check_awa took %s, and %s without strangers", slowest, calm)
	}
	if most-before > 250 { // with the race detector; without it 20
		t.Errorf("the agent grew by %d MiB", most-before)
	}
}

// resident is the memory of an agent's process in MiB.
func resident(t *testing.T, a *agent) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", a.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	kib, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return kib >> 10
}
