package report

import (
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
	noMesh bool
}

// Options are what may be written besides the result.
type Options struct {
	Verbose      int  // 1: the table behind a plugin's line; 2: and what doesn't count
	NodePerfdata bool // the round trip of each node
	Mesh         bool // who does not see whom
	Color        bool // the output is a terminal that shows colors
}

// formats are all formats, the default first. Flags, help, completions and tests read this
// table, which nobody modifies.
var formats = [...]Format{
	{Name: "nagios", write: writeNagios},
	{Name: "table", write: writeTable},
	{Name: "influx", write: func(w io.Writer, r Result, _ Options) error { return Influx(w, r) }, alwaysOK: true,
		noMesh: true},
	{Name: "json", write: func(w io.Writer, r Result, _ Options) error { return JSON(w, r) }, strict: true},
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

// sections writes one part after the other, until one fails.
func sections(w io.Writer, r Result, parts ...func(io.Writer, Result) error) error {
	for _, write := range parts {
		if err := write(w, r); err != nil {
			return err
		}
	}
	return nil
}

func writeTable(w io.Writer, r Result, o Options) error {
	parts := []func(io.Writer, Result) error{o.table, Notes}
	if o.Mesh {
		parts = append(parts, Mesh)
	}
	return sections(w, r, parts...)
}

func writeNagios(w io.Writer, r Result, o Options) error {
	parts := []func(io.Writer, Result) error{Nagios}
	if o.Verbose > 0 && r.Counts.Nodes > 0 {
		parts = append(parts, o.table)
	}
	if o.Verbose > 1 {
		parts = append(parts, Notes)
	}
	if o.Mesh {
		parts = append(parts, Mesh)
	}
	if o.NodePerfdata {
		parts = append(parts, NodePerfdata)
	}
	return sections(w, r, parts...)
}

func (o Options) table(w io.Writer, r Result) error { return Table(w, r, o.Color) }
