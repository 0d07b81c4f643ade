package main

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// TestImports keeps the plugin small: it starts every minute on every
// monitoring host, and what it links costs start-up time.
func TestImports(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	deps := strings.Fields(string(out))
	for _, want := range []string{"are-we-alive/pkg/api", "are-we-alive/pkg/report"} {
		if !slices.Contains(deps, want) {
			t.Errorf("%s is not among the %d packages that go list names", want, len(deps))
		}
	}
	for _, dep := range deps {
		for _, not := range []string{"github.com/hashicorp/", "go.etcd.io/", "github.com/valyala/", "net/http",
			"are-we-alive/pkg/replica", "are-we-alive/pkg/store", "are-we-alive/pkg/watch", "are-we-alive/pkg/daemon"} {
			if strings.HasPrefix(dep, not) {
				t.Errorf("check_awa links %s", dep)
			}
		}
	}
}
