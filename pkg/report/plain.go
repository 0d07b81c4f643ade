package report

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// plain makes a text safe for every monitoring system and for the shells that
// they hand it to: one line, valid UTF-8, and none of
//
//	|                      begins perfdata
//	" ' ` \ $ & ; < >      mean something to a shell; Nagios strips some of
//	                       them itself (illegal_macro_output_chars)
//
// A quote is dropped ("can't" becomes "cannot" before), the others give way to something that looks alike, and
// what can't be seen becomes a question mark, as ls does it.
func plain(s string) string {
	s = contractions.Replace(s)
	clean := func(r rune) bool { return r >= ' ' && r <= '~' && !strings.ContainsRune("|\"'`\\$&;<>", r) }
	if strings.IndexFunc(s, func(r rune) bool { return !clean(r) }) < 0 {
		return strings.TrimSpace(s)
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case clean(r):
			b.WriteRune(r)
		case strings.ContainsRune("\"'`", r):
		case r == '|' || r == '\\':
			b.WriteByte('/')
		case r == ';':
			b.WriteByte(',')
		case r == '<':
			b.WriteByte('(')
		case r == '>':
			b.WriteByte(')')
		case r == '&':
			b.WriteByte('+')
		case r == '$':
			b.WriteByte('_')
		case unicode.IsSpace(r):
			b.WriteByte(' ')
		case r == utf8.RuneError || !unicode.IsPrint(r):
			b.WriteByte('?')
		default:
			b.WriteRune(r)
		}
	}
	return strings.TrimSpace(b.String())
}

// contractions are words that would not be ones without their quote.
var contractions = strings.NewReplacer("can't", "cannot", "won't", "will not", "n't", " not")

// clip cuts a text to at most n bytes, between two characters, and shows that
// it did.
func clip(s string, n int) string {
	const mark = "..."
	if len(s) <= n {
		return s
	}
	end := n - len(mark)
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + mark
}
