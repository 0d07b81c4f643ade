// Package program runs the programs under test whole, as users do: it builds
// them, starts and stops agents as processes of their own, runs check_awa and
// the commands of awa-agent to their end, and reads from /proc what they cost.
package program

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// EnvBin names, in the environment, the folder of the programs under test.
// When it is set, Main builds none: so the same tests can run against another
// build.
const EnvBin = "AWA_TEST_BIN"

// Main builds both programs as they are shipped, runs the tests, and returns
// the exit code for os.Exit.
func Main(m *testing.M) int {
	if os.Getenv(EnvBin) != "" {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "awa-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	err = errors.Join(
		build(filepath.Join(dir, "awa-agent"), "are-we-alive/agent"),
		build(filepath.Join(dir, "check_awa"), "are-we-alive/check"),
		os.Setenv(EnvBin, dir),
	)
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

// Path returns the path of a program under test.
func Path(name string) string { return filepath.Join(os.Getenv(EnvBin), name) }

// Result is how a program ended.
type Result struct {
	Code        int
	Out, Errors string
	Took        time.Duration
}

// Run runs a program under test to its end, in an empty folder, with nothing
// to read. It fails the test when that takes more than a minute.
func Run(t testing.TB, name string, args ...string) Result {
	t.Helper()
	return RunIn(t, t.TempDir(), nil, name, args...)
}

// RunIn runs a program in a folder, with more in its environment.
func RunIn(t testing.TB, dir string, env []string, name string, args ...string) Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, Path(name), args...)
	cmd.Dir, cmd.Env = dir, environment(env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	began := time.Now()
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return Result{cmd.ProcessState.ExitCode(), out.String(), errs.String(), time.Since(began)}
}

// environment is the test's own without what awa-agent would read.
func environment(more ...string) []string {
	var env []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "AWA_") {
			env = append(env, v)
		}
	}
	return append(env, more...)
}
