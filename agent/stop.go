package main

import (
	"os"
	"slices"
	"strings"
	"time"

	"are-we-alive/pkg/awa"
)

// envJobs names the file into which the unit writes systemd's jobs (systemctl list-jobs)
// before it stops this agent. systemd says in no other way why a service is stopped.
const envJobs = "AWA_JOBS_FILE"

// envBootID names the id that systemd has for this start of the machine. Behind the unit's
// ProtectProc=, the agent of a container reads that of the host.
const envBootID = "AWA_BOOT_ID"

// jobsAge is how old that file may be: an older one is of an earlier stop.
const jobsAge = 20 * time.Second

// maxJobs is the most bytes of it.
const maxJobs = 1 << 20

// stopReason says why this agent, which began at a time, is being stopped.
func stopReason(began time.Time) awa.StopReason {
	path := os.Getenv(envJobs)
	if path == "" {
		return awa.StopSignal
	}
	info, err := os.Stat(path)
	if err != nil || time.Since(info.ModTime()) > jobsAge || info.ModTime().Before(began) {
		return awa.StopSignal
	}
	b, err := awa.ReadFile(path, maxJobs, nil)
	if err != nil {
		return awa.StopService
	}
	return reasonOf(string(b))
}

// ownUnit begins the name of this agent's unit.
const ownUnit = "awa-agent"

// reasonOf reads systemd's jobs, one a line: number, unit, type, state.
func reasonOf(jobs string) awa.StopReason {
	reason := awa.StopService
	for line := range strings.Lines(jobs) {
		fields := strings.Fields(line)
		if len(fields) < 3 {
			continue
		}
		switch unit, job := fields[1], fields[2]; {
		case job == "start" && slices.Contains([]string{"reboot.target", "kexec.target", "soft-reboot.target"}, unit):
			return awa.StopReboot
		case job == "start" && slices.Contains([]string{"shutdown.target", "poweroff.target", "halt.target", "exit.target"}, unit):
			reason = awa.StopShutdown
		case strings.HasPrefix(unit, ownUnit) && strings.Contains(job, "restart") && reason == awa.StopService:
			reason = awa.StopRestart
		}
	}
	return reason
}
