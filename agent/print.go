package main

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"unicode"
	"unicode/utf8"

	"github.com/goccy/go-json"
)

// printable makes a text that came from elsewhere safe for a terminal: what
// would move its cursor, change its title or turn its letters round is written
// as \u001b and the like. An agent lets no such thing into the list; a program
// that takes an agent's place may send anything.
func printable(s string) string { return escape(s, "") }

// escape is printable except the control characters in keep.
func escape(s, keep string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return isSteering(r) }) && utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if isSteering(r) && !strings.ContainsRune(keep, r) {
			fmt.Fprintf(&b, `\u%04x`, r)
			continue
		}
		b.WriteRune(r) // U+FFFD for a byte that is not UTF-8
	}
	return b.String()
}

// isSteering reports whether a terminal would act on a character instead of
// showing it: C0, C1, DEL, the line separators, and those that change the
// direction of writing.
func isSteering(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029'
}

// table prints aligned columns; the head's are separated by tabs.
func table(w io.Writer, head string, rows func(row func(cells ...any))) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, head)
	rows(func(cells ...any) {
		texts := make([]string, len(cells))
		for i, c := range cells {
			texts[i] = printable(fmt.Sprint(c))
		}
		fmt.Fprintln(t, strings.Join(texts, "\t"))
	})
	return t.Flush()
}

// printJSON prints v over several lines.
func printJSON(w io.Writer, v any) error { return writeJSON(w, v, "  ") }

// printJSONLine prints v on one line.
func printJSONLine(w io.Writer, v any) error { return writeJSON(w, v, "") }

// writeJSON prints v. What JSON allows in a string and a terminal would act
// on is escaped as JSON does it.
func writeJSON(w io.Writer, v any, indent string) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetIndent("", indent)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err
	}
	_, err := io.WriteString(w, escape(b.String(), "\n"))
	return err
}
