package test

import (
	"os"
	"strings"
	"testing"

	"are-we-alive/pkg/awa"
)

// TestHealth_everywhere looks for each health code in the manual, with its state by
// default, and in an alert of its own.
func TestHealth_everywhere(t *testing.T) {
	t.Parallel()
	read := func(path string) string {
		t.Helper()
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	manual, rules := read("../packaging/man/check_awa.8"), read("../packaging/prometheus/are-we-alive.rules.yml")
	for _, code := range awa.HealthCodes() {
		want := ".It " + string(code) + " , No " + strings.ToUpper(string(code.Severity())) + "\n"
		if !strings.Contains(manual, want) {
			t.Errorf("the manual has no section %q", want)
		}
		if want := "          code: " + string(code) + "\n"; !strings.Contains(rules, want) {
			t.Errorf("no alert has the label %q", want)
		}
	}
}
