package daemon

import (
	"bytes"
	"os"
	"strconv"
	"strings"
	"time"
)

// machine is what this agent tells others of the machine that it runs on.
type machine struct {
	boot   string    // made by the kernel at each start, "" when it can't be read
	booted time.Time // zero when it is not known; it holds the monotonic clock
}

// bootDigits is how many digits of the kernel's boot id are shown: enough to tell two apart.
const bootDigits = 16

// thisMachine reads what the kernel says, except of the boot id when that is known. A
// container that has a boot id or an uptime of its own counts as a machine, and so does one
// whose first process can be seen.
func thisMachine(now time.Time, boot string) machine {
	if b, err := os.ReadFile("/proc/sys/kernel/random/boot_id"); err == nil && boot == "" {
		boot = string(bytes.TrimSpace(b))
	}
	boot = strings.ReplaceAll(boot, "-", "")
	m := machine{boot: boot[:min(len(boot), bootDigits)]}
	b, err := os.ReadFile("/proc/uptime")
	if err != nil {
		return m
	}
	up, ok := parseUptime(string(b))
	if !ok {
		return m
	}
	m.booted = now.Add(-up)
	if b, err := os.ReadFile("/proc/1/stat"); err == nil { // hidden from users other than root
		if first, ok := parseStart(string(b)); ok && first < up {
			m.booted = now.Add(first - up)
		}
	}
	return m
}

// parseUptime reads /proc/uptime (proc_uptime(5)): seconds since the start.
func parseUptime(s string) (time.Duration, bool) {
	first, _, _ := strings.Cut(s, " ")
	return parseSeconds(first)
}

// parseStart reads when a process was started out of its stat (proc_pid_stat(5)): the 22nd
// field, in hundredths of a second since the start of the kernel.
func parseStart(s string) (time.Duration, bool) {
	fields := strings.Fields(s[strings.LastIndexByte(s, ')')+1:]) // its name may hold anything
	if len(fields) < 20 {
		return 0, false
	}
	return parseSeconds(fields[19] + "e-2")
}

func parseSeconds(s string) (time.Duration, bool) {
	f, err := strconv.ParseFloat(s, 64)
	const most = 1e9 // some thirty years
	return time.Duration(f * float64(time.Second)), err == nil && f >= 0 && f < most
}

// unixAt is a moment in Unix seconds by a clock that now shows now, 0 for the zero time. It
// follows that clock when it is set, since spans are measured by the monotonic one.
func unixAt(t, now time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return max(now.Add(-time.Since(t)).Round(time.Second).Unix(), 0)
}
