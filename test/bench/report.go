package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// report prints figures as they come, in columns.
type report struct {
	out         io.Writer
	met, missed int
}

// facts says on what machine the figures are made.
func (r *report) facts(scratch string) {
	if scratch == "" {
		scratch = os.TempDir()
	}
	r.note("machine: %d cores (%s), %s %s/%s, kernel %s", runtime.NumCPU(), cpuModel(), runtime.Version(), runtime.GOOS,
		runtime.GOARCH, firstLine("/proc/sys/kernel/osrelease"))
	r.note("data in %s on %s; load average before the start: %s", scratch, disk(scratch), firstLine("/proc/loadavg"))
}

func (r *report) section(title, command string) {
	fmt.Fprintf(r.out, "\n%s\n  $ %s\n", title, command)
}

// note prints a line without a figure.
func (r *report) note(format string, args ...any) {
	fmt.Fprintf(r.out, "  "+format+"\n", args...)
}

// figure prints one figure without an aim.
func (r *report) figure(what, value string) { r.row(what, value, "", "") }

// atMost prints a figure that is to be at most the aim; both are printed with
// format, which takes one number.
func (r *report) atMost(what string, value, aim float64, format string) {
	r.judged(what, fmt.Sprintf(format, value), "at most "+fmt.Sprintf(format, aim), value <= aim)
}

// atLeast is atMost the other way round.
func (r *report) atLeast(what string, value, aim float64, format string) {
	r.judged(what, fmt.Sprintf(format, value), "at least "+fmt.Sprintf(format, aim), value >= aim)
}

func (r *report) judged(what, value, aim string, met bool) {
	verdict := "met"
	if met {
		r.met++
	} else {
		r.missed++
		verdict = "MISSED"
	}
	r.row(what, value, aim, verdict)
}

func (r *report) row(what, value, aim, verdict string) {
	line := fmt.Sprintf("  %-60s %14s   %-18s %s", what, value, aim, verdict)
	fmt.Fprintln(r.out, strings.TrimRight(line, " "))
}

func (r *report) end() {
	fmt.Fprintf(r.out, "\n%d aims met, %d missed\n", r.met, r.missed)
}

// percentile returns the value below which p percent of the samples are, and 0
// of none. It sorts them.
func percentile[T time.Duration | float64](samples []T, p int) T {
	if len(samples) == 0 {
		return 0
	}
	slices.Sort(samples)
	return samples[min(len(samples)*p/100, len(samples)-1)]
}

func median[T time.Duration | float64](samples []T) T { return percentile(samples, 50) }

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func firstLine(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return "unknown"
	}
	line, _, _ := strings.Cut(string(b), "\n")
	return line
}

func cpuModel() string {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return "unknown"
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if key, value, _ := strings.Cut(lines.Text(), ":"); strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

// disk names the device and the file system that hold a folder.
func disk(path string) string {
	var st syscall.Stat_t
	if err := syscall.Stat(path, &st); err != nil {
		return "an unknown disk"
	}
	major, minor := st.Dev>>8&0xfff, st.Dev&0xff|st.Dev>>12&0xfff00 // as makedev(3) packs them
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return "an unknown disk"
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		mount, source, _ := strings.Cut(lines.Text(), " - ") // see proc_pid_mountinfo(5)
		if m, s := strings.Fields(mount), strings.Fields(source); len(m) > 2 && len(s) > 1 && m[2] == fmt.Sprintf("%d:%d",
			major, minor) {
			return fmt.Sprintf("%s (%s)", s[1], s[0])
		}
	}
	return "an unknown disk"
}
