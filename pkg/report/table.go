package report

import (
	"errors"
	"io"
	"strings"
	"unicode/utf8"

	"are-we-alive/pkg/awa"
)

// The colors of a terminal (ECMA-48, "Select Graphic Rendition").
const (
	bright = "\x1b[1m"
	red    = "\x1b[31m"
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
	normal = "\x1b[0m"
)

// Table writes the nodes for a person: Name, Host, Port and Status, as the
// original program does it, with the reason behind a Status that is not
// Online and a mark at a node under maintenance. A result without nodes is
// its sentence. With color the header is bright and the Status green, red,
// or yellow for Unreachable and when maintenance excuses it. A sentence about
// an isolated agent follows, as in Text, and a line for each health
// code that counts; for the others see Notes. No cell holds a |, so that the table
// may follow a plugin's line.
func Table(w io.Writer, r Result, color bool) error {
	var b strings.Builder
	paint := func(code, s string) {
		if color {
			b.WriteString(code + s + normal)
		} else {
			b.WriteString(s)
		}
	}
	if r.Counts.Nodes == 0 {
		b.WriteString(r.lead() + r.Text() + "\n")
	} else {
		rows := r.tableRows()
		widths := columnWidths(rows)
		for i, row := range rows {
			for col, cell := range row.cells {
				cell += strings.Repeat(" ", widths[col]-utf8.RuneCountInString(cell)+2)
				if i == 0 {
					paint(bright, cell)
				} else {
					b.WriteString(cell)
				}
			}
			paint(row.color, row.status)
			b.WriteString(row.note + "\n")
		}
	}
	if r.Status != nil {
		if note := r.viewText(); note != "" && r.Counts.Nodes > 0 {
			b.WriteString(note + "\n")
		}
		for _, c := range r.health {
			if r.Counts.Nodes > 0 && c.state != OK {
				b.WriteString(c.text() + "\n")
			}
		}
		for _, f := range r.Failures {
			why := "gave no status: " + clip(plain(f.Err.Error()), maxText)
			if errors.Is(f.Err, ErrIsolated) || errors.Is(f.Err, ErrDoubtful) {
				why = f.Err.Error()
			}
			b.WriteString(clip(plain(f.Agent), maxAddr) + " " + why + "\n")
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// Notes writes a line for each health code that holds and does not count.
func Notes(w io.Writer, r Result) error {
	var b strings.Builder
	for _, c := range r.health {
		if c.state == OK && c.Code != awa.Isolated { // which the table has said
			b.WriteString(c.text() + "\n")
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// tableRow is a line of the table. Only the first columns are padded.
type tableRow struct {
	cells        [3]string // name, host, port
	status, note string
	color        string
}

func (r Result) tableRows() []tableRow {
	rows := make([]tableRow, 0, len(r.Status.Nodes)+1)
	rows = append(rows, tableRow{[3]string{"Name", "Host", "Port"}, "Status", "", bright})
	for _, n := range r.Status.Nodes {
		row := tableRow{
			cells:  [3]string{plain(n.Node.Name), plain(n.Node.Host), n.Node.Port.String()},
			status: "Online",
			color:  green,
		}
		if n.Verdict != awa.Online {
			row.status, row.color = r.statusOf(n)
			row.note = " (" + clip(plain(r.reason(n)), maxText) + ")"
		}
		if n.Verdict == awa.Online {
			row.note = onlineNote(n)
		}
		if n.Node.InMaintenance(r.at) {
			row.note += ", under maintenance until " + plain(n.Node.Maintenance)
			if n.Verdict != awa.Online {
				row.color = yellow
			}
		}
		rows = append(rows, row)
	}
	return rows
}

// onlineNote is what there is to say of a node that is online.
func onlineNote(n awa.NodeStatus) string {
	switch {
	case n.Self != nil && n.Self.IsOriginal():
		return " (original program)"
	case n.Flapping > 0:
		return ", " + flappingText(n)
	case n.Error != "":
		return " (it is the agent asked, and can't reach its own address: " + clip(plain(n.Failure()), maxText) + ")"
	}
	return ""
}

// statusOf returns a verdict that is not online as the table has it.
func (r Result) statusOf(n awa.NodeStatus) (word, color string) {
	switch {
	case n.Verdict == awa.Unreachable:
		return "Unreachable", yellow
	case n.Verdict == awa.Mismatch:
		return "Mismatch", red
	case r.stopped(n):
		return "Stopped", yellow
	}
	return "Offline", red
}

// columnWidths returns the widest cell of each column, in characters.
func columnWidths(rows []tableRow) (widths [3]int) {
	for _, row := range rows {
		for col, cell := range row.cells {
			widths[col] = max(widths[col], utf8.RuneCountInString(cell))
		}
	}
	return widths
}
