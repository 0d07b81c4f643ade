package daemon

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"are-we-alive/pkg/awatest/testaid"
)

// Root goes on as the first owner on the way that isn't root.
func TestRulerOf(t *testing.T) {
	if os.Geteuid() != 0 {
		testaid.Skip(t, "only root can give folders to others")
	}
	const user, other = 12345, 12346
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	at := func(name string) string { return filepath.Join(root, name) }
	folder := func(name string, owner int, mode os.FileMode) {
		if err := os.MkdirAll(at(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(at(name), owner, owner); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(at(name), mode); err != nil {
			t.Fatal(err)
		}
	}
	link := func(to, name string, owner int) {
		if err := os.Symlink(to, at(name)); err != nil {
			t.Fatal(err)
		}
		if err := os.Lchown(at(name), owner, owner); err != nil {
			t.Fatal(err)
		}
	}
	folder("root", 0, 0o700)
	folder("user", user, 0o700)
	folder("user/root", 0, 0o700)
	folder("user/other", other, 0o700)
	folder("sticky", 0, 0o777|os.ModeSticky)
	folder("sticky/root", 0, 0o700)
	folder("sticky/user", user, 0o700)
	folder("group", 0, 0o770)
	if err := os.Chown(at("group"), 0, user); err != nil {
		t.Fatal(err)
	}
	folder("group/root", 0, 0o700)
	folder("group/user", user, 0o700)
	folder("all", 0, 0o777)
	link("../root", "user/link", user)
	link("user", "link to user", 0)
	link("root", "link to root", 0)
	link("root", "link of user", user)
	link(at("user")+"/../root", "long way", 0)
	link("loop", "loop", 0)
	if err := os.WriteFile(at("file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	const replaced = "other users may replace what lies in "
	for name, want := range map[string]struct {
		uid int
		err string
	}{
		"root":              {uid: 0},
		"root/new/newer":    {uid: 0},
		"user":              {uid: user},
		"user/new":          {uid: user},
		"user/root":         {uid: user}, // which can replace it
		"user/other":        {uid: user},
		"user/link":         {uid: user},
		"user/../root":      {uid: user},
		"link to user":      {uid: user},
		"link to user/new":  {uid: user},
		"link to root":      {uid: 0},
		"link to root/../x": {uid: 0},
		"link of user":      {uid: user},
		"long way":          {uid: user},
		"sticky":            {err: replaced + "ROOT/sticky,"},
		"sticky/root":       {uid: 0},
		"sticky/user":       {uid: user},
		"sticky/new":        {uid: 0},
		"group":             {err: replaced + "ROOT/group,"},
		"group/root":        {err: replaced + "ROOT/group,"},
		"group/user":        {uid: user},
		"all/new":           {err: replaced + "ROOT/all,"},
		"loop":              {err: "too many levels of symbolic links"},
		"file":              {err: "not a directory"},
		"file/new":          {err: "not a directory"},
	} {
		t.Run(name, func(t *testing.T) {
			uid, _, err := rulerOf(root + "/" + name)
			if want.err == "" {
				if err != nil || uid != want.uid {
					t.Errorf("%d, %v, want %d", uid, err, want.uid)
				}
			} else if err == nil || !strings.Contains(strings.ReplaceAll(err.Error(), root, "ROOT"), want.err) {
				t.Errorf("%d, %v, want … %s …", uid, err, want.err)
			}
			if strings.HasPrefix(name, "user/new") {
				if _, err := os.Lstat(at(name)); !os.IsNotExist(err) {
					t.Error("root made a folder in the user's")
				}
			}
		})
	}
}
