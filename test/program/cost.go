package program

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// CPU is the processor time that the agent's process has used so far, all of
// its threads together, in user and kernel mode.
func (a *Agent) CPU() time.Duration {
	a.t.Helper()
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", a.PID()))
	if err != nil || len(tasks) == 0 {
		a.t.Fatalf("the threads of agent %s can't be read (%v)", a.Name, err)
	}
	total := time.Duration(0)
	for _, file := range tasks {
		text, err := os.ReadFile(file)
		if err != nil { // the thread ended, which Go's seldom do
			continue
		}
		ns, err := strconv.ParseInt(strings.Fields(string(text))[0], 10, 64)
		if err != nil {
			a.t.Fatal(err)
		}
		total += time.Duration(ns)
	}
	return total
}

// RSS is the agent's resident memory now, in bytes.
func (a *Agent) RSS() int { return a.status("VmRSS:") << 10 }

// PeakRSS is the most resident memory since the start or the last ResetPeak,
// in bytes.
func (a *Agent) PeakRSS() int { return a.status("VmHWM:") << 10 }

// ResetPeak begins PeakRSS again at what is resident now.
func (a *Agent) ResetPeak() {
	a.t.Helper()
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", a.PID()), []byte("5"), 0); err != nil {
		a.t.Fatal(err)
	}
}

func (a *Agent) status(field string) int {
	a.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", a.PID()))
	if err != nil {
		a.t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), field)
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		a.t.Fatalf("the process of agent %s is gone", a.Name)
	}
	n, err := strconv.Atoi(fields[0])
	if err != nil {
		a.t.Fatal(err)
	}
	return n
}

// Descriptors is how many files and connections the agent has open.
func (a *Agent) Descriptors() int {
	a.t.Helper()
	all, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", a.PID()))
	if err != nil {
		a.t.Fatal(err)
	}
	return len(all)
}

// Witness asks an agent with check_awa over and over from now on. The
// function that it returns ends that, fails the test when an answer was not
// OK or took longer than most, and says how many there were.
func (a *Agent) Witness(keys string, most time.Duration) (end func() int) {
	a.t.Helper()
	stop := make(chan struct{})
	var asked sync.WaitGroup
	count, slowest, bad := 0, time.Duration(0), ""
	dir := a.t.TempDir()
	asked.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(50 * time.Millisecond):
			}
			r := RunIn(a.t, dir, nil, "check_awa", "-H", a.Addr(), "-k", keys)
			count++
			slowest = max(slowest, r.Took)
			if r.Code != 0 && bad == "" {
				bad = fmt.Sprintf("check_awa ended with %d after %v: %s%s", r.Code, r.Took, r.Out, r.Errors)
			}
		}
	})
	enough := sync.OnceFunc(func() {
		close(stop)
		asked.Wait()
	})
	a.t.Cleanup(enough) // of a test that fails before it ends this
	return func() int {
		a.t.Helper()
		enough()
		if bad != "" {
			a.t.Error(bad)
		}
		if slowest > most {
			a.t.Errorf("check_awa took %v, at most %v are allowed", slowest, most)
		}
		a.t.Logf("a live check_awa beside it: %d times, %v at most", count, slowest.Round(time.Millisecond))
		return count
	}
}
