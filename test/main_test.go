// Package test runs the programs whole, as users do: real processes on
// loopback, killed, stopped and started again, asked by real clients.
//
// What needs programs from Debian has the build tag system: `make
// system-test` installs them and runs it.
package test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

func TestMain(m *testing.M) { os.Exit(runTests(m)) }

// envBin names, in the environment, the folder of the programs under test: set
// for a test that runs in a further process, which then builds none.
const envBin = "AWA_TEST_BIN"

// runTests builds the programs once, the agent with the race detector when
// the tests have it.
func runTests(m *testing.M) int {
	if os.Getenv(envBin) != "" {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "awa-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	agent := []string{"build", "-o", filepath.Join(dir, "awa-agent")}
	if raceDetector {
		agent = append(agent, "-race")
	}
	err = errors.Join(
		goTool(append(agent, "are-we-alive/agent")...),
		goTool("build", "-o", filepath.Join(dir, "check_awa"), "are-we-alive/check"),
		os.Setenv(envBin, dir),
	)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

func goTool(args ...string) error {
	cmd := exec.Command("go", args...)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("go %v: %w", args, err)
	}
	return nil
}

// program returns the path of a program under test.
func program(name string) string { return filepath.Join(os.Getenv(envBin), name) }
