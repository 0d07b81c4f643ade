//go:build system

package test

import (
	"are-we-alive/pkg/awatest/testaid"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

// TestCheckmk runs the shipped local check as Checkmk's agent does, and holds
// its line against what Checkmk's documentation wants of one. Debian has no
// Checkmk to run it in.
func TestCheckmk(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	local := func(options, path, want string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "/bin/sh", "../packaging/checkmk/are_we_alive")
		cmd.Env = environment("PATH="+path, "AWA_OPTIONS="+options)
		out, err := cmd.CombinedOutput()
		if err != nil || !regexp.MustCompile(`\A`+want+`\n\z`).Match(out) {
			t.Errorf("%v, with %q; want %s", err, out, want)
		}
	}
	path := os.Getenv(envBin) + ":" + os.Getenv("PATH")
	asked := "-w 0 -c 50% -v -H " + c.agents[0].addr()
	const number, metric = `[0-9.]+`, `\|[a-z_]+=[0-9.]+(;[0-9.]*){3,4}`
	well := `0 "are-we-alive" online=3;;;0;3\|offline=0;0;1.5;0;3(` + metric + `)* AWA OK - 3 of 3 nodes online`
	local(asked, path, well)
	c.agents[2].kill()
	local(asked, path, `1 "are-we-alive" online=2;;;0;3\|offline=1;0;1.5;0;3(`+metric+`)*\|time=`+number+`;;;0\|state=1;;;0;3 AWA WARNING - 1 of 3 nodes offline: a3 \(connect: connection refused.*\)`)
	c.agents[2].start()
	local(asked, path, well)
	local("-H", path, `3 "are-we-alive" - AWA UNKNOWN - .*`)
	// check_awa is nowhere, also where a package of ours is installed.
	without := t.TempDir()
	for _, name := range []string{"head", "sed"} {
		if err := os.Symlink(testaid.Tool(t, name), filepath.Join(without, name)); err != nil {
			t.Fatal(err)
		}
	}
	local("", without, `3 "are-we-alive" - AWA UNKNOWN - check_awa did not run \(exit code 127\): is it in PATH\?`)
}
