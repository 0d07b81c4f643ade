//go:build system

// Package packages builds the packages and hands them to those who install
// them: dpkg and systemd on a whole Debian in a container, rpm, lintian and
// rpmlint.
//
// It needs root and what `make package-test` installs. Nothing of the machine
// itself is changed: all happens in a temporary folder, which is removed.
package packages

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sync/errgroup"
)

// envNoSkip, in the environment, says that nothing may be left out, as in CI.
const envNoSkip = "AWA_TEST_NO_SKIP"

// newVersion is that of the second build, which is upgraded to.
const newVersion = "99.0"

// stage is what all tests start from. It is made once and not changed.
type stage struct {
	dir   string
	tree  string // a minimal Debian
	first string // the folders of packages: as the source stands,
	again string // the same, built elsewhere by somebody with other habits,
	newer string // and with newVersion
}

var theStage stage

func TestMain(m *testing.M) { os.Exit(runTests(m)) }

func runTests(m *testing.M) int {
	if why := lacking(); why != "" {
		fmt.Fprintln(os.Stderr, "*** NOT TESTED, no package at all: "+why)
		if os.Getenv(envNoSkip) != "" {
			return 1
		}
		return 0
	}
	dir, err := os.MkdirTemp("", "awa-packages-")
	if err == nil {
		defer os.RemoveAll(dir)
		theStage, err = prepare(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// lacking says what keeps the tests from running, "" when nothing does.
func lacking() string {
	if os.Getuid() != 0 {
		return "that takes root"
	}
	for _, name := range []string{"debootstrap", "systemd-nspawn", "lintian", "rpm", "rpmlint", "cpio", "ss",
		"shellcheck", "dpkg", "git"} {
		if _, err := exec.LookPath(name); err != nil {
			return name + " is missing: make package-test installs it"
		}
	}
	return ""
}

// prepare builds the packages in two folders of different names and, at the
// same time, makes a minimal Debian.
func prepare(dir string) (stage, error) {
	s := stage{dir: dir, tree: filepath.Join(dir, "debian"), newer: filepath.Join(dir, "newer")}
	var group errgroup.Group
	group.Go(func() error { return bootstrap(s.tree) })
	group.Go(func() error {
		var err error
		if s.first, err = build("release", filepath.Join(dir, "here"), "022"); err != nil {
			return err
		}
		if s.again, err = build("release", filepath.Join(dir, "in", "another", "folder"), "077", "TZ=Pacific/Auckland",
			"LC_ALL=C.UTF-8"); err != nil {
			return err
		}
		built, err := build("package", filepath.Join(dir, "third"), "022", "PACKAGE_VERSION="+newVersion, "PACKAGE_ARCHS=amd64")
		s.newer = built
		return err
	})
	return s, group.Wait()
}

// bootstrap makes a minimal Debian from the mirror that this machine uses.
func bootstrap(tree string) error {
	targets, err := command("", "apt-get", "indextargets", "--format", "$(REPO_URI) $(CODENAME)", "Created-By: Packages")
	if err != nil {
		return err
	}
	release, err := command("", "sh", "-c", ". /etc/os-release && echo $VERSION_CODENAME")
	if err != nil {
		return err
	}
	for line := range strings.Lines(targets) {
		mirror, codename, _ := strings.Cut(strings.TrimSpace(line), " ")
		if codename == strings.TrimSpace(release) {
			_, err := command("", "debootstrap", "--variant=minbase", "--include=systemd,systemd-sysv", codename, tree, mirror)
			return err
		}
	}
	return fmt.Errorf("apt names no mirror for %q:\n%s", release, targets)
}

// build copies the source into a folder, as somebody with that umask would, and
// makes a target of the Makefile there.
func build(target, folder, umask string, env ...string) (dist string, err error) {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return "", err
	}
	if _, err := command("../..", "sh", "-c",
		`umask "$1"; tar -c --exclude=./dist --exclude=./bin . | tar -x --no-same-permissions -C "$0"`, folder,
		umask); err != nil {
		return "", err
	}
	// git does not read a folder that belongs to somebody else.
	if _, err := command(folder, "chown", "-R", "0:0", "."); err != nil {
		return "", err
	}
	_, err = command(folder, "env", append(env, "sh", "-c", "umask "+umask+"; make "+target)...)
	return filepath.Join(folder, "dist"), err
}

// command runs a program to its end and returns its output; what it says on
// stderr is in the error.
func command(dir, name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s %s: %w\n%s%s", name, strings.Join(args, " "), err, &out, &errs)
	}
	return out.String(), nil
}

// must runs a program that must succeed.
func must(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := command("", name, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// file returns the one package in a folder whose name ends so.
func file(t *testing.T, dist, suffix string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dist, "*"+suffix))
	if err != nil || len(found) != 1 {
		t.Fatalf("%s holds %q instead of one package %s (%v)", dist, found, suffix, err)
	}
	return found[0]
}

// exists reports whether there is a file, however it is of use.
func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}
