package report

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestPlain(t *testing.T) {
	tests := map[string]struct{ in, want string }{
		"words stay":             {"connect: connection refused", "connect: connection refused"},
		"letters of any script":  {"Zürich 東京", "Zürich 東京"},
		"perfdata bar":           {"a|b=1", "a/b=1"},
		"quotes":                 {"say \"it's\" `now`", "say its now"},
		"shell":                  {`$(rm) & x; <y> \z`, "_(rm) + x, (y) /z"},
		"line breaks":            {"a\nb\r\nc\u2028d\u0085e", "a b  c d e"},
		"terminal codes":         {"\x1b[31mred\x7f\x00", "?[31mred??"},
		"text that runs back":    {"a\u202eb\u200bc\ufeffd", "a?b?c?d"},
		"no UTF-8":               {"a\xffb\xc3", "a?b?"},
		"a replacement":          {"a\ufffdb", "a?b"},
		"blanks around":          {" \ta b\n", "a b"},
		"private use, no letter": {"\ue000", "?"},
		"nothing":                {"", ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := plain(test.in); got != test.want {
				t.Errorf("%q became %q, want %q", test.in, got, test.want)
			}
		})
	}
}

func TestClip(t *testing.T) {
	tests := map[string]struct {
		in   string
		n    int
		want string
	}{
		"short":              {"abc", 5, "abc"},
		"just fits":          {"abcde", 5, "abcde"},
		"cut":                {"abcdef", 5, "ab..."},
		"between characters": {"aüüüü", 6, "aü..."},
		"inside one":         {"aüüüü", 7, "aü..."},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := clip(test.in, test.n); got != test.want {
				t.Errorf("%q cut to %d is %q, want %q", test.in, test.n, got, test.want)
			}
		})
	}
}

func TestList(t *testing.T) {
	tests := map[string]struct {
		items       []string
		total, room int
		want        string
	}{
		"one":                    {[]string{"a"}, 1, 10, "a"},
		"two":                    {[]string{"a", "b"}, 2, 10, "a, b"},
		"more than are named":    {[]string{"a", "b"}, 9, 99, "a, b and 7 more"},
		"room for all":           {[]string{"aaaa", "bbbb", "cccc"}, 3, 21, "aaaa, bbbb, cccc"},
		"room for two":           {[]string{"aaaa", "bbbb", strings.Repeat("c", 12)}, 3, 21, "aaaa, bbbb and 1 more"},
		"no room for the count":  {[]string{"aaaa", "bbbb", "cccccc"}, 3, 20, "aaaa and 2 more"},
		"the first always":       {[]string{"aaaaaaaaaaaa", "b"}, 2, 5, "aaaaaaaaaaaa and 1 more"},
		"the count grows by one": {[]string{"a", "b", "c"}, 12, 14, "a and 11 more"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := list(test.items, test.total, test.room)
			if got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func FuzzPlain(f *testing.F) {
	for _, s := range []string{"", "plain", "a|b", "\x00\n\r\t\x1b[0m", "'\"`$(x)\\;<>&", "\xff\xc3\x28", "\u2028\u202e\ufeff", "ü漢√", " x ", "\u00a0"} {
		f.Add(s, 20)
	}
	f.Fuzz(func(t *testing.T, s string, n int) {
		got := plain(s)
		checkPlain(t, got)
		if again := plain(got); again != got {
			t.Errorf("%q became %q, and that %q", s, got, again)
		}
		n = 3 + n&0xff
		cut := clip(got, n)
		if len(cut) > n || !utf8.ValidString(cut) {
			t.Errorf("%q cut to %d bytes is %q", got, n, cut)
		}
		if p := printable(s); !utf8.ValidString(p) || strings.ContainsAny(p, "\n\r\t\x00\x7f") {
			t.Errorf("%q became %q", s, p)
		}
	})
}

// checkPlain fails when s is not safe for a monitoring system's line.
func checkPlain(t *testing.T, s string) {
	t.Helper()
	if !utf8.ValidString(s) || strings.ContainsAny(s, "|\"'`\\$&;<>\u2028\u2029\u0085\u202e") || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		t.Errorf("not a safe text: %q", s)
	}
}
