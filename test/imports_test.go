package test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "are-we-alive"

// allowed is the table of packages: what each one may import of
// ours. awatest is for tests alone, and what lies in test may import anything;
// testaid, which the tests of all packages import, may import none of ours.
var allowed = map[string][]string{
	"pkg/awa":               {},
	"pkg/awatest/testaid":   {},
	"pkg/backoff":           {},
	"pkg/ratelog":           {},
	"pkg/consensus":         {"pkg/awa", "pkg/backoff", "pkg/ratelog"},
	"pkg/store":             {"pkg/awa"},
	"pkg/api":               {"pkg/awa", "pkg/api/internal/wire"},
	"pkg/api/internal/wire": {"pkg/awa"},
	"pkg/api/server":        {"pkg/awa", "pkg/api/internal/wire", "pkg/ratelog"},
	"pkg/replica":           {"pkg/awa", "pkg/backoff", "pkg/consensus"},
	"pkg/watch":             {"pkg/awa"},
	"pkg/report":            {"pkg/awa"},
	"pkg/metrics":           {"pkg/awa"},
	"pkg/events":            {"pkg/awa"},
	"pkg/handler":           {"pkg/awa"},
	"pkg/page":              {"pkg/awa"},
	"pkg/trust":             {"pkg/awa"},
	"pkg/conf":              {"pkg/awa"},
	"pkg/daemon": {"pkg/awa", "pkg/store", "pkg/api", "pkg/api/server", "pkg/consensus", "pkg/replica", "pkg/watch",
		"pkg/trust", "pkg/metrics", "pkg/ratelog", "pkg/events", "pkg/handler", "pkg/report", "pkg/page"},
	"agent":            {"pkg/awa", "pkg/store", "pkg/api", "pkg/backoff", "pkg/conf", "pkg/daemon", "pkg/trust"},
	"check":            {"pkg/awa", "pkg/api", "pkg/conf", "pkg/report", "pkg/trust"},
	"packaging/manual": {}, // imported by the tests of agent and check alone
}

// owner is the one package that may name a library, or several where the
// library is a language of its own: command lines and JSON.
var owner = map[string][]string{
	"github.com/alecthomas/kong":       {"agent", "check", "packaging/manual"},
	"github.com/coreos/go-systemd/v22": {"agent"},
	"github.com/goccy/go-json": {"pkg/store", "pkg/api", "pkg/api/internal/wire", "pkg/api/server", "pkg/consensus",
		"pkg/replica", "pkg/report", "pkg/metrics", "pkg/handler", "agent", "check"},
	"github.com/hashicorp/go-hclog":          {"pkg/consensus"},
	"github.com/hashicorp/raft":              {"pkg/consensus"},
	"github.com/influxdata/line-protocol/v2": {"pkg/report"},
	"github.com/prometheus/client_golang":    {"pkg/metrics"},
	"github.com/prometheus/common":           {"pkg/metrics"},
	"github.com/valyala/fasthttp":            {"pkg/api/server"},
	"go.etcd.io/bbolt":                       {"pkg/store"},
	"golang.org/x/sync":                      {"pkg/replica", "pkg/daemon", "pkg/watch"},
	"golang.org/x/term":                      {"agent", "check"},
	"golang.org/x/text":                      {"pkg/report"},
}

// pkgInfo is what go list tells of a package.
type pkgInfo struct {
	ImportPath string
	Imports    []string
	Deps       []string
	Standard   bool
	Module     *struct{ Path string }
}

func goList(t *testing.T, args ...string) map[string]pkgInfo {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-json"}, args...)...)
	cmd.Dir = ".."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v", cmd, err)
	}
	all := map[string]pkgInfo{}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkgInfo
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all[p.ImportPath] = p
	}
}

func TestImports(t *testing.T) {
	all := goList(t, "-deps", "./agent", "./check", "./packaging/...", "./pkg/...")
	ours := 0
	for path, p := range all {
		name, own := strings.CutPrefix(path, module+"/")
		if !own || name == "pkg/awatest" || name == "pkg/awatest/testlist" {
			continue
		}
		may, known := allowed[name]
		if !known {
			t.Errorf("%s is not in the table of packages: add it with what it may import", name)
			continue
		}
		ours++
		for _, i := range p.Imports {
			if dep, own := strings.CutPrefix(i, module+"/"); own {
				if !slices.Contains(may, dep) {
					t.Errorf("%s imports %s, which the table doesn't allow", name, dep)
				}
			} else if lib := all[i].Module; lib != nil && !slices.Contains(owner[lib.Path], name) {
				t.Errorf("%s imports %s, which is left to %v", name, i, owner[lib.Path])
			}
		}
		if name == "pkg/awa" && slices.ContainsFunc(p.Imports, func(i string) bool { return !all[i].Standard }) {
			t.Errorf("pkg/awa imports more than the standard library: %v", p.Imports)
		}
	}
	if ours != len(allowed) {
		t.Errorf("%d of the %d packages in the table were looked at", ours, len(allowed))
	}
}

func TestImports_check_is_light(t *testing.T) {
	check, ok := goList(t, "./check")[module+"/check"]
	if !ok || len(check.Deps) < 50 {
		t.Fatalf("go list tells only %d dependencies of check", len(check.Deps))
	}
	for _, dep := range check.Deps {
		for _, heavy := range []string{"github.com/hashicorp/raft", "go.etcd.io/bbolt", "github.com/valyala/fasthttp",
			"net/http"} {
			if dep == heavy || strings.HasPrefix(dep, heavy+"/") {
				t.Errorf("check links %s", dep)
			}
		}
	}
}
