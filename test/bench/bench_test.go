package main

import (
	"bytes"
	"net"
	"os"
	"regexp"
	"testing"
	"time"

	"are-we-alive/pkg/awatest/testaid"
)

// What needs no program of ours, in sizes too small to tell anything.
func TestRun(t *testing.T) {
	var out bytes.Buffer
	cfg := config{only: []string{"edits", "sweep"}, runs: 1, each: 10 * time.Millisecond, agents: []int{3}, sweeps: 1,
		scratch: t.TempDir()}
	if err := run(t.Context(), cfg, &out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`machine: \d+ cores`, `kernel \d`,
		`\$ go run ./test/bench -only edits\n`, `fdatasync after appending 4 KiB, median +\d+\.\d{3} ms\n`,
		`1 writer, p50 +\d+\.\d\d ms\n`,
		`64 writers +\d+ edits/s   at least 10000 edits/s +(met|MISSED)\n`,
		`\$ go run ./test/bench -only sweep\n`, `3 agents, warm: over kept connections, median +\d+\.\d ms\n`,
		`\n\d aims met, \d missed\n$`,
	} {
		if !regexp.MustCompile(want).Match(out.Bytes()) {
			t.Errorf("no %q in:\n%s", want, out.Bytes())
		}
	}
	if left, err := os.ReadDir(cfg.scratch); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

func TestRun_unknown_part(t *testing.T) {
	if err := run(t.Context(), config{only: []string{"edit"}}, &bytes.Buffer{}); err == nil {
		t.Error("it is taken")
	}
}

func TestHole(t *testing.T) {
	h, err := testaid.OpenHole()
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Verify(); err != nil {
		t.Error(err)
	}
	h.Close()
	if h.Verify() == nil {
		t.Error("a closed port passes for a black hole")
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if (&testaid.Hole{Addr: ln.Addr().(*net.TCPAddr)}).Verify() == nil {
		t.Error("an open port passes for a black hole")
	}
}

func TestPercentile(t *testing.T) {
	var samples []time.Duration
	for i := range 100 {
		samples = append(samples, time.Duration(99-i))
	}
	for p, want := range map[int]time.Duration{0: 0, 50: 50, 99: 99, 100: 99} {
		if got := percentile(samples, p); got != want {
			t.Errorf("%d %%: got %d, want %d", p, got, want)
		}
	}
	if got := median([]float64{3, 1, 2}); got != 2 {
		t.Errorf("median: got %v, want 2", got)
	}
	if got := median[float64](nil); got != 0 {
		t.Errorf("median of none: got %v", got)
	}
}

func TestProcessFigures(t *testing.T) {
	before, err := cpuTime(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for used := cpuUsed(); cpuUsed()-used < 50*time.Millisecond; {
	}
	after, err := cpuTime(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if d := after - before; d < 30*time.Millisecond || d > 5*time.Second {
		t.Errorf("50 ms of work are counted as %v", d)
	}
	if mb, err := rss(os.Getpid()); err != nil || mb < 1 || mb > 10_000 {
		t.Errorf("resident memory: %v MB, %v", mb, err)
	}
}
