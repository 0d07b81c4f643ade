//go:build system

package test

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"are-we-alive/pkg/awatest/testaid"
)

// TestManPages has the programs that show man pages read ours: none may have a
// complaint.
func TestManPages(t *testing.T) {
	pages, err := filepath.Glob("../packaging/man/*.[58]")
	if err != nil || len(pages) != 3 {
		t.Fatalf("the man pages are %v (%v)", pages, err)
	}
	for name, args := range map[string][]string{
		"man":    {"--warnings", "-E", "UTF-8", "-l"},
		"groff":  {"-ww", "-mandoc", "-Tutf8"},
		"mandoc": {"-T", "lint", "-W", "warning"},
	} {
		tool := testaid.Tool(t, name)
		for _, page := range pages {
			t.Run(name+" "+filepath.Base(page), func(t *testing.T) {
				cmd := exec.CommandContext(t.Context(), tool, append(args, page)...)
				cmd.Env = append(cmd.Environ(), "LC_ALL=C.UTF-8", "MANWIDTH=80")
				var out, complaints strings.Builder
				cmd.Stdout, cmd.Stderr = &out, &complaints
				if name == "mandoc" { // which complains on stdout
					cmd.Stdout = &complaints
				}
				if err := cmd.Run(); err != nil || complaints.Len() > 0 {
					t.Errorf("%v: %v\n%s", cmd, err, &complaints)
				}
				if name == "man" && !strings.Contains(out.String(), "SEE ALSO") {
					t.Errorf("man shows\n%s", &out)
				}
			})
		}
	}
}
