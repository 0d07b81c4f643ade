package report

import (
	"strings"
	"unicode"

	"golang.org/x/text/width"
)

// cells are the columns of a table: what stands in them, one text for each.
type cells [7]string

// The columns.
const (
	columnName = iota
	columnStatus
	columnSince
	columnRTT
	columnAddr
	columnLabels
	columnWhy
)

// heads are the names of the columns.
var heads = cells{"Name", "Status", "Since", "RTT", "Host:Port", "Labels", "Why"}

// gap stands between two columns.
const gap = "  "

// shrinking is how columns give way to a terminal that is too narrow, one step after the
// other until all fit: a column shrinks to so many characters, and 0 leaves it out.
var shrinking = [...]struct{ column, to int }{
	{columnWhy, 48}, {columnLabels, 16}, {columnAddr, 21}, {columnName, 32}, {columnWhy, 31}, {columnLabels, 0},
	{columnAddr, 0}, {columnWhy, 24}, {columnRTT, 0}, {columnName, 16}, {columnWhy, 0}, {columnSince, 0}, {columnName, 1},
}

// fit returns how wide each column is, in characters, so that all of them fit into a terminal:
// 0 for one that is left out. Without a terminal, of width 0, each is as wide as its widest cell.
func fit(rows []cells, terminal int) widths {
	var natural widths
	for column := range natural {
		for _, row := range rows {
			natural[column] = max(natural[column], displayWidth(row[column]))
		}
		if terminal == 0 || natural[column] > 0 { // else there is nothing to show
			natural[column] = max(natural[column], len(heads[column]))
		}
	}
	fitted := natural
	for _, s := range shrinking {
		over := fitted.line() - terminal
		switch {
		case terminal == 0 || over <= 0:
			return fitted.grow(natural, max(0, -over))
		case s.to == 0:
			fitted[s.column] = 0
		default:
			fitted[s.column] -= min(over, max(0, fitted[s.column]-s.to))
		}
	}
	return fitted
}

// widths are how wide the columns are.
type widths [len(cells{})]int

// grow returns room that is left, as when a column was left out, to those that gave way.
func (w widths) grow(natural widths, room int) widths {
	for _, column := range []int{columnWhy, columnName, columnAddr, columnLabels} {
		if w[column] > 0 {
			more := min(room, natural[column]-w[column])
			w[column] += more
			room -= more
		}
	}
	return w
}

// line is how wide all columns are together.
func (w widths) line() int {
	total := 0
	for _, column := range w {
		if column > 0 {
			total += column + len(gap)
		}
	}
	return max(0, total-len(gap))
}

// displayWidth is how many columns of a terminal a text takes.
func displayWidth(s string) int {
	n := 0
	for _, r := range s {
		n += runeWidth(r)
	}
	return n
}

// runeWidth is how many columns of a terminal a character takes: 2 for those that Unicode
// has as wide (UAX #11), none for what stands above another one.
func runeWidth(r rune) int {
	if r < 0x300 { // where all take one
		return 1
	}
	if unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf) {
		return 0
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	}
	return 1
}

// Cut shortens a text to so many columns of a terminal, and shows that it did.
func Cut(s string, columns int) string {
	const mark = "…"
	if displayWidth(s) <= columns {
		return s
	}
	if columns < 1 {
		return ""
	}
	n := 0
	for i, r := range s {
		if n += runeWidth(r); n > columns-1 {
			return strings.TrimRight(s[:i], " ,(") + mark
		}
	}
	return s
}

// fold breaks a text at blanks, so that its lines fit into a terminal; all except the first are
// indented. Of width 0 it stays one line.
func fold(s string, terminal int) string {
	if terminal == 0 || displayWidth(s) <= terminal {
		return s
	}
	var words []string
	for _, word := range strings.Split(s, " ") {
		words = append(words, split(word, max(1, terminal-len(gap)))...)
	}
	return foldAt(words, " ", gap, terminal)
}

// split returns a word in parts, each at most so many columns of a terminal wide.
func split(word string, columns int) (parts []string) {
	from, at := 0, 0
	for i, r := range word {
		if w := runeWidth(r); at+w > columns && i > from {
			parts = append(parts, word[from:i])
			from, at = i, w
		} else {
			at += w
		}
	}
	return append(parts, word[from:])
}

// foldAt joins parts into lines that fit into a terminal.
func foldAt(parts []string, joint, indent string, terminal int) string {
	var b strings.Builder
	at := 0
	for i, part := range parts {
		w := displayWidth(part)
		switch {
		case i == 0:
		case terminal > 0 && at+len(joint)+w > terminal:
			b.WriteString("\n" + indent)
			at = len(indent)
		default:
			b.WriteString(joint)
			at += displayWidth(joint)
		}
		b.WriteString(part)
		at += w
	}
	return b.String()
}
