//go:build system

// Package faults runs whole agents on hosts of their own, network namespaces
// on one bridge, breaks what breaks at three in the morning, and compares what
// check_awa says from another host with the truth.
//
// It needs root, and serf and iptables from Debian: `make fault-test`. Nothing
// of the machine's own network is touched.
package faults

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// What the tests are told by their environment.
const (
	envBin  = "AWA_TEST_BIN"  // the folder of the programs under test
	envSoak = "AWA_TEST_SOAK" // how long the soak lasts, 2m when it is empty
	// envChaos is how long the chaos lasts, 4m when it is empty; envSeed is the seed
	// of its events, a new one when it is empty.
	envChaos = "AWA_TEST_CHAOS"
	envSeed  = "AWA_TEST_SEED"
)

func TestMain(m *testing.M) {
	if ahead := os.Getenv(envClock); ahead != "" {
		os.Exit(runAhead(ahead, os.Args[1:]))
	}
	if name := os.Getenv(envWriter); name != "" {
		os.Exit(runWriter(name, os.Args[1:]))
	}
	os.Exit(runTests(m))
}

// runTests builds the programs once, as they are shipped.
func runTests(m *testing.M) int {
	if os.Geteuid() == 0 {
		held, err := lock()
		if err == nil {
			defer held.Close()
			err = removeLeftovers()
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.Remove(confDir) // fails when others have files there
	}
	dir, err := os.MkdirTemp("", "awa-faults-")
	if err == nil {
		defer os.RemoveAll(dir)
		err = errors.Join(
			build(filepath.Join(dir, "awa-agent"), "are-we-alive/agent"),
			build(filepath.Join(dir, "check_awa"), "are-we-alive/check"),
			os.Setenv(envBin, dir),
		)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

func build(out, pkg string) error {
	cmd := exec.Command("go", "build", "-trimpath", "-o", out, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("build %s: %w", pkg, err)
	}
	return nil
}

// program returns the path of a program under test.
func program(name string) string { return filepath.Join(os.Getenv(envBin), name) }

// lasting is the time that an environment variable holds, or usual without it.
func lasting(t *testing.T, variable string, usual time.Duration) time.Duration {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return usual
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("%s: %v", variable, err)
	}
	return d
}
