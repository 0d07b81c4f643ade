package report

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Format is a form in which a result is written: check_awa -o.
type Format struct {
	Name  string
	write func(io.Writer, Result, Options) error
	// alwaysOK is set where the reader throws away what a failing command printed.
	alwaysOK bool
	// strict is set where the reader understands nothing else, so that a wrong command
	// line is answered in this format too.
	strict bool
	// namesOnly is set where the output is a list of names, so that what else is to be
	// said does not belong there.
	namesOnly bool
	noMesh    bool
	noRows    bool // it has no place for Options.Order and Options.Problems
}

// Options are what may be written besides the result.
type Options struct {
	Verbose      int  // 1: the table behind a plugin's line; 2: and what doesn't count
	NodePerfdata bool // the round trip of each node
	Mesh         bool // who does not see whom

	// How a table is laid out. Order and Problems hold for names too.
	Color    bool
	Width    int  // of the terminal, in columns; 0 is not a terminal, and cuts nothing
	Lines    int  // at most, of the whole output; 0 for all
	Problems bool // only the nodes whose State is not OK
	Order    Order
	// Changed are the ids of the nodes whose rows are marked as new; nil has no place for
	// marks.
	Changed map[uint64]bool
	// behindLine: the sentence of the result stands above the table.
	behindLine bool
}

// formats are all formats, the default first. Flags, help, completions and tests read this
// table, which nobody modifies.
var formats = [...]Format{
	{Name: "nagios", write: writeNagios},
	{Name: "table", write: writeTable},
	{Name: "influx", write: func(w io.Writer, r Result, _ Options) error { return Influx(w, r) }, alwaysOK: true,
		noMesh: true, noRows: true},
	{Name: "json", write: func(w io.Writer, r Result, _ Options) error { return JSON(w, r) }, strict: true, noRows: true},
	{Name: "names", write: Names, noMesh: true, namesOnly: true},
}

// DefaultFormat returns the format of a monitoring plugin.
func DefaultFormat() Format { return formats[0] }

// FormatNames returns the names of all formats, the default first.
func FormatNames() []string {
	var names []string
	for _, f := range formats {
		names = append(names, f.Name)
	}
	return names
}

// ParseFormat finds a format by its name.
func ParseFormat(name string) (Format, error) {
	i := slices.IndexFunc(formats[:], func(f Format) bool { return f.Name == name })
	if i < 0 {
		return Format{}, fmt.Errorf("%q is not a format: use %s", clip(name, MaxRange), Alternatives(FormatNames()))
	}
	return formats[i], nil
}

// Alternatives joins words: "a, b or c".
func Alternatives(words []string) string {
	last := len(words) - 1
	if last < 1 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

// ShowsMesh reports whether the format has a place for Options.Mesh.
func (f Format) ShowsMesh() bool { return !f.noMesh }

// ShowsRows reports whether the format has a place for Options.Order and Options.Problems.
func (f Format) ShowsRows() bool { return !f.noRows }

// NamesOnly reports whether the output is a list of names and nothing else.
func (f Format) NamesOnly() bool { return f.namesOnly }

// Strict reports whether the reader of the format understands nothing else, not even that
// the command line is wrong.
func (f Format) Strict() bool { return f.strict }

// Write writes a result.
func (f Format) Write(w io.Writer, r Result, o Options) error { return f.write(w, r, o) }

// ExitCode returns the exit code of a program that wrote the result: its state, or 0 where
// the reader of the format wants that.
func (f Format) ExitCode(r Result) int {
	if f.alwaysOK {
		return OK.ExitCode()
	}
	return r.State.ExitCode()
}

// section is one part of an output.
type section func(io.Writer, Result, Options) error

func nagiosLine(w io.Writer, r Result, _ Options) error   { return Nagios(w, r) }
func nodePerfdata(w io.Writer, r Result, _ Options) error { return NodePerfdata(w, r) }

func writeTable(w io.Writer, r Result, o Options) error {
	below := []section{Notes}
	if o.Mesh {
		below = append(below, Mesh)
	}
	return around(w, r, o, nil, below)
}

func writeNagios(w io.Writer, r Result, o Options) error {
	var below []section
	if o.Verbose > 1 {
		below = append(below, Notes)
	}
	if o.Mesh {
		below = append(below, Mesh)
	}
	if o.NodePerfdata {
		below = append(below, nodePerfdata)
	}
	if o.Verbose == 0 || r.Counts.All() == 0 {
		return sections(w, r, o, append([]section{nagiosLine}, below...)...)
	}
	o.behindLine = true
	return around(w, r, o, []section{nagiosLine}, below)
}

// sections writes one part after the other, until one fails.
func sections(w io.Writer, r Result, o Options, parts ...section) error {
	for _, write := range parts {
		if err := write(w, r, o); err != nil {
			return err
		}
	}
	return nil
}

// around writes a table with what stands above and below it, which leaves the table fewer of
// the lines.
func around(w io.Writer, r Result, o Options, above, below []section) error {
	var top, bottom bytes.Buffer
	if err := errors.Join(sections(&top, r, o, above...), sections(&bottom, r, o, below...)); err != nil {
		return err
	}
	if o.Lines > 0 {
		o.Lines = max(minLines, o.Lines-height(top.String(), o.Width)-height(bottom.String(), o.Width))
	}
	if _, err := w.Write(top.Bytes()); err != nil {
		return err
	}
	if err := Table(w, r, o); err != nil {
		return err
	}
	_, err := w.Write(bottom.Bytes())
	return err
}

// minLines is the least that a table is cut to, however much stands around it.
const minLines = 8

// height is how many lines of a terminal a text takes.
func height(s string, terminal int) (n int) {
	for line := range strings.Lines(s) {
		n += max(1, (displayWidth(strings.TrimSuffix(line, "\n"))+terminal-1)/max(1, terminal))
	}
	return n
}
