package daemon

import (
	"strings"
	"testing"
	"time"
)

func TestThisMachine(t *testing.T) {
	if m := thisMachine(time.Now(), "12345678-9abc-def0-1234-56789abcdef0"); m.boot != "123456789abcdef0" {
		t.Errorf("a boot id that is given becomes %q", m.boot)
	}
	m := thisMachine(time.Now(), "")
	if len(m.boot) != bootDigits || strings.Trim(m.boot, "0123456789abcdef") != "" {
		t.Errorf("the boot id is %q", m.boot)
	}
	if up := time.Since(m.booted); up <= 0 || up > 30*365*24*time.Hour {
		t.Errorf("the machine was started %v ago", up)
	}
}

func TestParseStart(t *testing.T) {
	stat := "1 (a) b (c) S 0 1 1 0 -1 4194560 15 0 0 0 1 2 3 4 20 0 1 0 12345 170 2 3"
	if d, ok := parseStart(stat); !ok || d != 123450*time.Millisecond {
		t.Errorf("it was started at %v, %v", d, ok)
	}
	for _, bad := range []string{"", "1 (init) S 0", stat[:40], strings.Replace(stat, "12345", "x", 1)} {
		if d, ok := parseStart(bad); ok {
			t.Errorf("%q was read as %v", bad, d)
		}
	}
}

func TestParseUptime(t *testing.T) {
	for text, want := range map[string]time.Duration{"12.50 3.10\n": 12500 * time.Millisecond, "0.00 0.00": 0} {
		if d, ok := parseUptime(text); !ok || d != want {
			t.Errorf("%q is %v, %v", text, d, ok)
		}
	}
	for _, bad := range []string{"", "-1 2", "NaN 1", "1e300 1"} {
		if d, ok := parseUptime(bad); ok {
			t.Errorf("%q was read as %v", bad, d)
		}
	}
}

func TestUnixAt(t *testing.T) {
	began := time.Now().Add(-90 * time.Second)
	shown := time.Unix(1_000_000, 0) // by a clock that was set
	if at := unixAt(began, shown); at != 1_000_000-90 {
		t.Errorf("it began at %d", at)
	}
	if at := unixAt(time.Time{}, shown); at != 0 {
		t.Errorf("what is not known is %d", at)
	}
}
