//go:build system

package packages

import (
	"bytes"
	"debug/buildinfo"
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"are-we-alive/pkg/awatest/testaid"
)

// kinds are the ends of the packages' names: what `make package` makes.
var kinds = []string{"_amd64.deb", "_arm64.deb", ".x86_64.rpm", ".aarch64.rpm"}

func TestBuild_reproducible(t *testing.T) {
	for _, kind := range append([]string{"awa-agent-*.cdx.json", "check_awa-*.cdx.json", "SHA256SUMS"}, kinds...) {
		one, another := file(t, theStage.first, kind), file(t, theStage.again, kind)
		a, err := os.ReadFile(one)
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(another)
		if err != nil {
			t.Fatal(err)
		}
		if filepath.Base(one) != filepath.Base(another) || !bytes.Equal(a, b) {
			t.Errorf("%s and %s are not the same", one, another)
		}
	}
}

// TestBuild_release has the sums be those of all files, and the SBOMs hold the libraries that
// go version finds in the packaged programs.
func TestBuild_release(t *testing.T) {
	dist := theStage.first
	must(t, "sh", "-c", `cd "$0" && sha256sum --check --strict --quiet SHA256SUMS`, dist)
	files, err := os.ReadDir(dist)
	if err != nil {
		t.Fatal(err)
	}
	sums, err := os.ReadFile(filepath.Join(dist, "SHA256SUMS"))
	if err != nil || bytes.Count(sums, []byte("\n")) != len(files)-1 || len(files) != len(kinds)+3 {
		t.Errorf("%d files, and the sums are\n%s(%v)", len(files), sums, err)
	}
	dir := unpack(t, file(t, dist, kinds[0]))
	for _, program := range []string{"awa-agent", "check_awa"} {
		var sbom struct {
			BomFormat  string
			Components []struct{ Name, Version string }
		}
		b, err := os.ReadFile(file(t, dist, program+"-*.cdx.json"))
		if err == nil {
			err = json.Unmarshal(b, &sbom)
		}
		if err != nil {
			t.Fatal(err)
		}
		listed := map[string]string{}
		for _, c := range sbom.Components {
			listed[c.Name] = c.Version
		}
		info, err := buildinfo.ReadFile(filepath.Join(dir, "usr", "bin", program))
		if err != nil {
			t.Fatal(err)
		}
		if sbom.BomFormat != "CycloneDX" || len(info.Deps) == 0 || len(listed) != len(info.Deps)+1 || listed["std"] == "" {
			t.Errorf("%s has %d libraries, its SBOM (%s) %v", program, len(info.Deps), sbom.BomFormat, listed)
		}
		for _, dep := range info.Deps {
			if listed[dep.Path] != dep.Version {
				t.Errorf("the SBOM of %s has %s %q, want %s", program, dep.Path, listed[dep.Path], dep.Version)
			}
		}
	}
}

// A build of a commit comes before its release and after the release before,
// for both kinds of packages.
func TestBuild_version(t *testing.T) {
	version := strings.TrimSpace(must(t, "dpkg-deb", "-f", file(t, theStage.first, kinds[0]), "Version"))
	rpm := strings.TrimSpace(must(t, "rpm", "-qp", "--qf", "%{VERSION}-%{RELEASE}", file(t, theStage.first, kinds[2])))
	if version != rpm {
		t.Errorf("the .deb is %s, the .rpm %s", version, rpm)
	}
	release, _, found := strings.Cut(strings.TrimSuffix(version, "-1"), "~git")
	if !found {
		t.Logf("%s is a release", version)
	}
	for _, order := range [][2]string{
		{"0.0.9-1", version}, {version, newVersion + "-1"},
		{release + "~git20200101000000.fffffff-1", release + "~git20200101000001.0000000-1"}, {release +
			"~git20200101000000.fffffff-1", release + "-1"},
	} {
		must(t, "dpkg", "--compare-versions", order[0], "lt", order[1])
		if got := must(t, "rpm", "--eval",
			`%{lua: print(rpm.vercmp("`+order[0]+`", "`+order[1]+`"))}`); strings.TrimSpace(got) != "-1" {
			t.Errorf("rpm compares %s with %s as %s, want -1", order[0], order[1], got)
		}
	}
}

// unpack unpacks a package into a folder.
func unpack(t *testing.T, path string) string {
	t.Helper()
	dir := t.TempDir()
	if strings.HasSuffix(path, ".deb") {
		must(t, "dpkg-deb", "-x", path, dir)
	} else {
		must(t, "sh", "-c", `rpm2archive - <"$0" | tar -xzC "$1"`, path, dir)
	}
	return dir
}

func TestBuild_architectures(t *testing.T) {
	machines := map[string]elf.Machine{"amd64": elf.EM_X86_64, "x86_64": elf.EM_X86_64, "arm64": elf.EM_AARCH64,
		"aarch64": elf.EM_AARCH64}
	name := regexp.MustCompile(`[._](amd64|arm64|x86_64|aarch64)\.`)
	for _, kind := range kinds {
		arch := name.FindStringSubmatch(kind)[1]
		t.Run(kind, func(t *testing.T) {
			dir := unpack(t, file(t, theStage.first, kind))
			for _, program := range []string{"usr/bin/awa-agent", "usr/bin/check_awa"} { // the second is a link
				f, err := elf.Open(filepath.Join(dir, program))
				if err != nil {
					t.Fatal(err)
				}
				defer f.Close()
				if f.Machine != machines[arch] || f.Type != elf.ET_EXEC || f.Section(".interp") != nil {
					t.Errorf("%s: %v, %v, .interp %v; want a static program for %s", program, f.Machine, f.Type,
						f.Section(".interp"), arch)
				}
			}
			runPair(t, dir, machines[arch])
		})
	}
}

// on returns the beginning of a command line that runs a program of an
// architecture, by QEMU if need be.
func on(t *testing.T, machine elf.Machine) []string {
	t.Helper()
	if machine != elf.EM_AARCH64 {
		return nil
	}
	qemu, err := exec.LookPath("qemu-aarch64-static")
	if err != nil {
		testaid.Skip(t, "a program for arm64 does not run here without qemu-user-static")
	}
	return []string{qemu}
}

// start makes a command that dies with the test's process.
func start(t *testing.T, line ...string) *exec.Cmd {
	cmd := exec.CommandContext(t.Context(), line[0], line[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// runPair has the agent of a package begin a cluster and its check_awa ask it.
func runPair(t *testing.T, dir string, machine elf.Machine) {
	t.Helper()
	var log testaid.Log
	agent := start(t, append(on(t, machine), filepath.Join(dir, "usr/bin/awa-agent"), "run", "--first", "--my-name",
		"n1", "--my-host", "127.0.0.1", "--listen", "127.0.0.1:0", "--data-dir", t.TempDir())...)
	agent.Stderr = &log
	if err := agent.Start(); err != nil {
		t.Fatal(err)
	}
	listening := regexp.MustCompile(`msg=listening addr=([0-9.:]+)`)
	testaid.Await(t, bootMost, func() error {
		found := listening.FindStringSubmatch(log.String())
		if found == nil {
			return errors.New("the agent does not listen: " + log.String())
		}
		out, err := start(t, append(on(t, machine), filepath.Join(dir, "usr/bin/check_awa"), "-H", found[1])...).Output()
		if err != nil || !strings.HasPrefix(string(out), "AWA OK - 1 of 1 node online") {
			return fmt.Errorf("check_awa (%w) says %s", err, out)
		}
		return nil
	})
	agent.Process.Signal(syscall.SIGTERM)
	if err := agent.Wait(); err != nil {
		t.Errorf("the agent ends with %v: %s", err, log.String())
	}
}

func TestBuild_scripts(t *testing.T) {
	scripts, err := filepath.Glob("../../packaging/scripts/*/*")
	if err != nil || len(scripts) != 7 {
		t.Fatalf("there are %d scripts (%v)", len(scripts), err)
	}
	handlers, err := filepath.Glob("../../packaging/handlers/*")
	if err != nil || len(handlers) != 5 {
		t.Fatalf("there are %d handlers (%v)", len(handlers), err)
	}
	must(t, "shellcheck", append(append(scripts, handlers...), "../../packaging/build.sh", "../../packaging/release.sh",
		"../../test/install-debian.sh", "../../test/install-npm.sh")...)
}

func TestBuild_lintian(t *testing.T) {
	for _, kind := range kinds[:2] {
		out, err := command("", "lintian", "--allow-root", "--fail-on", "error,warning", "--tag-display-limit", "0",
			file(t, theStage.first, kind))
		if err != nil || strings.TrimSpace(out) != "" {
			t.Errorf("%v\n%s", err, out)
		}
	}
}

func TestBuild_rpmlint(t *testing.T) {
	// nfpm's archives hold absolute names, and rpmlint unpacks them with a cpio
	// that takes these for the machine's own.
	bin := t.TempDir()
	cpio := "#!/bin/sh\nexec " + testaid.Tool(t, "cpio") + " --no-absolute-filenames \"$@\"\n"
	if err := os.WriteFile(filepath.Join(bin, "cpio"), []byte(cpio), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	for _, kind := range kinds[2:] {
		out, err := command("", "rpmlint", "-c", "../../packaging/rpmlint/are-we-alive.toml", file(t, theStage.first, kind))
		if err != nil || !strings.Contains(out, " 0 errors, 0 warnings,") || !strings.Contains(out, "1 packages") {
			t.Errorf("%v\n%s", err, out)
		}
	}
}

// mostExposure is by the scale of systemd-analyze, 0 to 10, where 10 is worst.
const mostExposure = 1.3

func TestBuild_unit(t *testing.T) {
	root := unpack(t, file(t, theStage.first, kinds[0]))
	unit := filepath.Join(root, "lib/systemd/system/awa-agent.service")
	out := must(t, "systemd-analyze", "security", "--offline=yes", "--no-pager", unit)
	found := regexp.MustCompile(`Overall exposure level for awa-agent.service: ([0-9.]+)`).FindStringSubmatch(out)
	if found == nil {
		t.Fatal(out)
	}
	if exposure, err := strconv.ParseFloat(found[1], 64); err != nil || exposure > mostExposure {
		t.Errorf("the exposure is %s, want at most %v:\n%s", found[1], mostExposure, out)
	}
	t.Logf("the exposure is %s", found[1])
}
