package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"are-we-alive/pkg/awa"
)

func TestReasonOf(t *testing.T) {
	for name, test := range map[string]struct {
		jobs string
		want awa.StopReason
	}{
		"stop":     {"4711 awa-agent.service stop running\n", awa.StopService},
		"nothing":  {"", awa.StopService},
		"restart":  {" 12 awa-agent.service restart running\n 13 other.service start waiting\n", awa.StopRestart},
		"an other": {"12 nginx.service restart running\n13 awa-agent.service stop running\n", awa.StopService},
		"power off": {"1 awa-agent.service stop running\n2 shutdown.target start waiting\n3 poweroff.target start waiting\n",
			awa.StopShutdown},
		"reboot": {"2 shutdown.target start waiting\n3 reboot.target start waiting\n1 awa-agent.service stop running\n",
			awa.StopReboot},
		"restart and reboot": {"1 awa-agent.service restart running\n3 reboot.target start waiting\n", awa.StopReboot},
		"a target ends":      {"3 reboot.target stop waiting\n", awa.StopService},
		"noise":              {"No jobs running.\n\n\x00\n", awa.StopService},
	} {
		t.Run(name, func(t *testing.T) {
			if got := reasonOf(test.jobs); got != test.want {
				t.Errorf("%s, want %s", got, test.want)
			}
		})
	}
}

func TestStopReason(t *testing.T) {
	path := filepath.Join(t.TempDir(), "jobs")
	began := time.Now().Add(-time.Minute)
	stopReason := func() awa.StopReason { return stopReason(began) }
	t.Setenv(envJobs, "")
	if got := stopReason(); got != awa.StopSignal {
		t.Errorf("without systemd: %s", got)
	}
	t.Setenv(envJobs, path)
	if got := stopReason(); got != awa.StopSignal {
		t.Errorf("without jobs: %s", got)
	}
	if err := os.WriteFile(path, []byte("1 awa-agent.service restart running\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := stopReason(); got != awa.StopRestart {
		t.Errorf("with jobs: %s", got)
	}
	began = time.Now().Add(time.Second)
	if got := stopReason(); got != awa.StopSignal {
		t.Errorf("with the jobs of before its start: %s", got)
	}
	began = time.Now().Add(-2 * time.Hour)
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(path, old, old); err != nil {
		t.Fatal(err)
	}
	if got := stopReason(); got != awa.StopSignal {
		t.Errorf("with the jobs of an earlier stop: %s", got)
	}
}
