//go:build system

package packages

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
)

// ownCgroups makes a cgroup for a machine in each hierarchy that a systemd
// keeps its services in, be it of version 1, of version 2 or of both.
// systemd-nspawn puts a machine into the cgroups of its caller (--keep-unit):
// two machines in the same ones would end each other's services. They are
// removed when the test has ended.
func ownCgroups(t *testing.T, name string) []string {
	t.Helper()
	var all []string
	for _, hierarchy := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified"} {
		if !exists(filepath.Join(hierarchy, "cgroup.procs")) {
			continue
		}
		dir := filepath.Join(hierarchy, "awa-"+strconv.Itoa(os.Getpid())+"-"+name)
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := removeCgroup(dir); err != nil {
				t.Error(err)
			}
		})
		all = append(all, dir)
	}
	if len(all) == 0 {
		t.Fatal("/sys/fs/cgroup holds no cgroups that systemd could use")
	}
	return all
}

// removeCgroup removes a cgroup and those in it, none of which holds a process
// any more.
func removeCgroup(dir string) error {
	var all []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			all = append(all, path)
		}
		return err
	})
	for _, path := range slices.Backward(all) {
		err = errors.Join(err, os.Remove(path))
	}
	return err
}
