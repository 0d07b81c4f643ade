package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/goccy/go-json"

	"are-we-alive/pkg/api"
	"are-we-alive/pkg/awa"
)

// agentProcess is an awa-agent that runs as users run it.
type agentProcess struct {
	cmd  *exec.Cmd
	addr string
	log  *os.File
}

// idle measures what three voters cost while nobody asks them.
func idle(ctx context.Context, b *bench) (err error) {
	var all []*agentProcess
	defer func() {
		for _, a := range all {
			err = errors.Join(err, a.stop())
		}
	}()
	for i := range 3 {
		join := "--first"
		if i > 0 {
			join = "--join=" + all[0].addr
		}
		a, err := startAgent(ctx, b, fmt.Sprintf("n%d", i+1), join)
		if err != nil {
			return err
		}
		all = append(all, a)
	}
	client := api.NewClient(api.ClientConfig{})
	defer client.Close()
	var s awa.ClusterStatus
	err = until(ctx, 90*time.Second, "three voters", func() bool {
		s, err = client.ClusterStatus(ctx, all[0].addr, true)
		return err == nil && len(s.Voters) == 3
	})
	if err != nil {
		return err
	}
	client.CloseIdle()
	cpu, err := cpuOf(ctx, all, b.idle)
	if err != nil {
		return err
	}
	for i, a := range all {
		rss, err := rss(a.cmd.Process.Pid)
		if err != nil {
			return err
		}
		role := "voter"
		if s.Leader == fmt.Sprintf("n%d", i+1) {
			role = "leader"
		}
		b.atMost(role+", resident memory", rss, 25, "%.1f MB")
		b.atMost(role+", share of one core", cpu[i], 1, "%.2f %%")
	}
	b.note("(over %v)", b.idle)
	return nil
}

// startAgent starts an agent as a user would, and waits until it listens.
func startAgent(ctx context.Context, b *bench, name string, args ...string) (*agentProcess, error) {
	bin, err := b.program("awa-agent")
	if err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(b.dir, name+".log"))
	if err != nil {
		return nil, err
	}
	a := &agentProcess{log: log, cmd: exec.Command(bin, append([]string{"run", "--my-name", name, "--my-host", "127.0.0.1",
		"--listen", "127.0.0.1:0", "--data-dir", filepath.Join(b.dir, name), "--log-format", "json"}, args...)...)}
	a.cmd.Stderr, a.cmd.Dir = log, b.dir // where no configuration file is
	a.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := a.cmd.Start(); err != nil {
		return nil, err
	}
	err = until(ctx, 10*time.Second, "agent "+name, func() bool {
		a.addr = listensAt(log.Name())
		return a.addr != ""
	})
	if err != nil {
		said, _ := os.ReadFile(log.Name())
		return nil, errors.Join(err, a.stop(), errors.New(string(said)))
	}
	return a, nil
}

// listensAt finds an agent's address in its log; "" before it is there.
func listensAt(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var line struct{ Msg, Addr string }
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "listening" {
			return line.Addr
		}
	}
	return ""
}

func (a *agentProcess) stop() error {
	defer a.log.Close()
	a.cmd.Process.Signal(syscall.SIGTERM) // an error means that it has ended
	return a.cmd.Wait()
}

// cpuOf returns the share of one core that each agent uses, in percent.
func cpuOf(ctx context.Context, all []*agentProcess, d time.Duration) ([]float64, error) {
	read := func() (used []time.Duration, err error) {
		for _, a := range all {
			t, err := cpuTime(a.cmd.Process.Pid)
			if err != nil {
				return nil, err
			}
			used = append(used, t)
		}
		return used, nil
	}
	before, err := read()
	if err != nil {
		return nil, err
	}
	begin := time.Now()
	select {
	case <-time.After(d):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	after, err := read()
	if err != nil {
		return nil, err
	}
	shares := make([]float64, len(all))
	for i := range all {
		shares[i] = 100 * float64(after[i]-before[i]) / float64(time.Since(begin))
	}
	return shares, nil
}

// tick is what proc_pid_stat(5) counts in, USER_HZ: 100 on all of Go's
// architectures.
const tick = 10 * time.Millisecond

// cpuTime is the time in user and system mode of a process so far.
func cpuTime(pid int) (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:])) // from the third on
	if len(fields) < 13 {
		return 0, fmt.Errorf("/proc/%d/stat has only %d fields", pid, len(fields))
	}
	user, err1 := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * tick, errors.Join(err1, err2)
}

// rss is the resident memory of a process, in MB of 10⁶ bytes.
func rss(pid int) (float64, error) { return memoryNow(pid, "VmRSS:") }

// peak is the most that rss was.
func peak(pid int) (float64, error) { return memoryNow(pid, "VmHWM:") }

// memoryNow returns a figure of proc_pid_status(5), in MB.
func memoryNow(pid int, figure string) (float64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, figure); ok {
			kib, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 64)
			return kib * 1024 / 1e6, err
		}
	}
	return 0, fmt.Errorf("/proc/%d/status has no %s", pid, figure)
}
