package report

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"are-we-alive/pkg/awa"
)

// The colors of a terminal (ECMA-48, "Select Graphic Rendition").
const (
	bright  = "\x1b[1m"
	reverse = "\x1b[7m"
	red     = "\x1b[31m"
	green   = "\x1b[32m"
	yellow  = "\x1b[33m"
	normal  = "\x1b[0m"
)

// Table writes the nodes for a person. First comes one line on all of them, and whose view
// it is where that matters:
//
//	1 of 3 not online · leader web1 · 3 voters · list 3 · asked web1, 12 ms ago
//	Name  Status   Since  RTT     Host:Port       Labels   Why
//	db1   Offline  4 min  -       10.0.0.3:25483  role=db  connect: no answer within 1s
//	web1  Online   3 h    0.2 ms  10.0.0.1:25483  -
//	web2  Online   3 h    0.3 ms  10.0.0.2:25483  -
//
// What several of them have in common follows, unless it stands in a plugin's line above, and
// then the rows of the nodes, see Result.Rows. Below them stand Advice, the versions where they
// differ, and a line for each health code that counts; for the others see Notes. A result without
// nodes is its sentence.
//
// On a terminal (Options.Width and Options.Lines) columns without any text are left out, and what
// is too wide is cut, but sentences are folded; of many rows the last ones are counted only.
// Elsewhere nothing is cut, all columns are there, and an empty cell that is not the last is a
// dash. No cell holds a |, so that the table may follow a plugin's line.
func Table(w io.Writer, r Result, o Options) error {
	t := table{o: o}
	if r.Counts.All() == 0 {
		t.say(stateColor(r.State), r.Headline())
	} else {
		rows, below := r.Rows(o.Order, o.Problems), r.belowTable(o)
		t.line(t.top(r, rows))
		if note := r.viewText(); note != "" {
			t.say(yellow, note)
		}
		if !o.behindLine {
			for _, f := range r.findings {
				if f.isCommon() {
					t.say(stateColor(f.state), f.text(maxCommon))
				}
			}
		}
		t.rows(rows, below)
		t.lines = append(t.lines, below...)
	}
	_, err := io.WriteString(w, strings.Join(t.lines, "\n")+"\n")
	return err
}

// maxCommon bounds what is said of the nodes that have something in common, in bytes.
const maxCommon = 200

// isCommon reports whether several nodes are not online for one reason, or have a label in
// common.
func (f finding) isCommon() bool {
	return f.ofNodes && (f.common != "" || slices.ContainsFunc(f.groups, func(g group) bool { return g.total >= manyNodes }))
}

// manyNodes is how many nodes are worth a line on what they have in common.
const manyNodes = 3

// problems is how many nodes are not online, and not under maintenance.
func (r Result) problems() int { return r.Counts.Nodes - r.Counts.Online }

// belowTable are the lines below the rows.
func (r Result) belowTable(o Options) []string {
	t := table{o: o}
	for _, a := range r.Advice() {
		t.say("", a.Nodes+": "+a.Text)
	}
	if _, versions := r.versions(); versions != "" {
		t.say("", versions)
	}
	for _, c := range r.health {
		if c.state != OK {
			t.say(stateColor(c.state), c.text())
		}
	}
	for _, f := range r.Failures {
		why := "gave no status: " + clip(plain(f.Err.Error()), maxText)
		if errors.Is(f.Err, ErrIsolated) || errors.Is(f.Err, ErrDoubtful) {
			why = f.Err.Error()
		}
		t.say("", clip(plain(f.Agent), maxAddr)+" "+why)
	}
	return t.lines
}

// Notes writes a line for each health code that holds and does not count.
func Notes(w io.Writer, r Result, o Options) error {
	t := table{o: o}
	for _, c := range r.health {
		if c.state == OK && c.Code != awa.Isolated { // which the table has said
			t.say("", c.text())
		}
	}
	for _, line := range t.lines {
		if _, err := io.WriteString(w, line+"\n"); err != nil {
			return err
		}
	}
	return nil
}

// table is what is written of a table.
type table struct {
	o     Options
	lines []string
}

// line adds lines as they are.
func (t *table) line(s string) { t.lines = append(t.lines, strings.Split(s, "\n")...) }

// say adds a sentence.
func (t *table) say(color, s string) {
	for _, line := range strings.Split(fold(s, t.o.Width), "\n") {
		t.line(t.paint(color, line))
	}
}

// cut shortens a text on a terminal.
func (t *table) cut(s string, columns int) string {
	if t.o.Width == 0 {
		return s
	}
	return Cut(s, max(1, columns))
}

// paint colors a text, where there are colors.
func (t *table) paint(color, s string) string {
	if !t.o.Color || color == "" {
		return s
	}
	return color + s + normal
}

func stateColor(s State) string {
	switch s {
	case OK:
		return green
	case Critical:
		return red
	}
	return yellow
}

// Paint returns a text in the color that a state has on a terminal.
func Paint(s State, text string) string { return stateColor(s) + text + normal }

// top returns the line on the whole, in as many lines as it takes, with its first part in the
// color of the result.
func (t *table) top(r Result, rows []Row) string {
	asked := "asked " + orWord(clip(plain(r.Status.Agent), maxShort), "an agent")
	if r.Took > 0 {
		asked += ", " + sinceText(r.Took) + " ago"
	}
	parts := append(r.summary(rows), asked)
	for i := range parts {
		parts[i] = t.cut(parts[i], t.o.Width-len(gap))
	}
	_, rest, _ := strings.Cut(foldAt(parts, " · ", gap, t.o.Width), parts[0])
	return t.paint(stateColor(r.State), parts[0]) + rest
}

// Summary returns how many of the nodes, which rows are of, are not online, who leads, how many
// vote, and the state of the list, in one line.
func (r Result) Summary(rows []Row) string {
	if r.Status == nil || r.Counts.All() == 0 {
		return r.Text()
	}
	return strings.Join(r.summary(rows), " · ")
}

func (r Result) summary(rows []Row) []string {
	st := r.Status
	parts := []string{r.clusterPrefix() + r.howMany(rows), "no leader", countText(len(st.Voters), "voter"),
		fmt.Sprintf("list %d", st.State)}
	if st.Leader != "" {
		parts[1] = "leader " + clip(plain(st.Leader), maxShort)
	}
	return parts
}

// howMany says how many of the nodes are not online: "3 of 300 not online, 1 more under
// maintenance, 2 online with a problem".
func (r Result) howMany(rows []Row) string {
	c, not := r.Counts, r.problems()
	text := fmt.Sprintf("%d of %d not online", not, c.Nodes)
	switch {
	case c.Nodes == 0:
		text = countText(c.Maintenance, "node") + " under maintenance"
	case not == 0 && c.Maintenance == 0:
		text = countText(c.Nodes, "node") + " online"
	case not == 0:
		text = fmt.Sprintf("%s online, %d under maintenance", countText(c.Nodes, "node"), c.Maintenance)
	case c.Maintenance > 0:
		text += fmt.Sprintf(", %d more under maintenance", c.Maintenance)
	}
	troubled := 0 // and online
	for _, row := range rows {
		if row.State != OK && row.online() {
			troubled++
		}
	}
	if troubled > 0 {
		text += fmt.Sprintf(", %d online with a problem", troubled)
	}
	if c.All() < len(r.listed) {
		text += fmt.Sprintf(" (of %d on the list)", len(r.listed))
	}
	return text
}

// sinceText is how long ago a look was: to the millisecond while it is young.
func sinceText(d time.Duration) string {
	if d < time.Second {
		return fmt.Sprintf("%d ms", max(1, d.Milliseconds()))
	}
	return awa.Ago(d)
}

// room is how many of n rows there is room for, above what comes below them.
func (t *table) room(n int, below []string) int {
	room := t.o.Lines - len(t.lines) - 1 - len(below)
	if t.o.Lines == 0 || n <= room {
		return n
	}
	return max(0, room-1)
}

// rows adds the head of the table and its rows, as many as there is room for above what
// comes below.
func (t *table) rows(rows []Row, below []string) {
	if len(rows) == 0 {
		return
	}
	shown := rows[:t.room(len(rows), below)]
	all := []cells{heads}
	for _, row := range shown {
		all = append(all, cells{row.Name, row.Status, row.Since, row.RTT, row.Addr, row.Labels, row.Why})
	}
	gutter, width := 0, t.o.Width
	if t.o.Changed != nil {
		gutter, width = len(gap), max(1, width-len(gap))
	}
	w := fit(all[1:], width)
	for i, c := range all {
		color, marked := bright, false
		if i > 0 {
			color, marked = statusColor(shown[i-1]), t.o.Changed[shown[i-1].NodeStatus.Node.ID]
		}
		text := t.cells(c, w, i == 0, color)
		switch {
		case gutter > 0 && marked:
			text = t.paint(reverse, "*") + " " + text
		case gutter > 0:
			text = gap + text
		}
		t.lines = append(t.lines, text)
	}
	if len(shown) < len(rows) {
		t.lines = append(t.lines, t.paint(bright, t.cut(t.leftOut(rows[len(shown):]), t.o.Width)))
	}
}

// cells is a line of the table. The head is painted whole, of a row the status.
func (t *table) cells(c cells, all widths, head bool, color string) string {
	last := len(all) - 1
	for last > 0 && (all[last] == 0 || last == columnWhy && c[last] == "") {
		last--
	}
	var b strings.Builder
	for column, w := range all {
		if w == 0 || column > last {
			continue
		}
		text := Cut(orWord(c[column], "-"), w)
		fill := ""
		if column < last {
			fill = strings.Repeat(" ", w-displayWidth(text)) + gap
		}
		if column == columnStatus && !head {
			text = t.paint(color, text)
		}
		b.WriteString(text + fill)
	}
	if head {
		return t.paint(color, b.String())
	}
	return b.String()
}

// statusColor is the color of a row's status.
func statusColor(row Row) string {
	switch {
	case row.online() && row.State == OK:
		return green
	case row.State == Critical:
		return red
	}
	return yellow
}

// leftOut says which rows are not shown: "and 274 more: 12 Offline, 262 Online (-vv shows
// all)".
func (t *table) leftOut(rows []Row) string {
	counts := map[string]int{}
	var words []string // in the order of the rows
	for _, row := range rows {
		if counts[row.Status]++; counts[row.Status] == 1 {
			words = append(words, row.Status)
		}
	}
	text := fmt.Sprintf("and %d more %s", len(rows), words[0])
	if len(words) > 1 {
		for i, word := range words {
			words[i] = fmt.Sprintf("%d %s", counts[word], word)
		}
		text = fmt.Sprintf("and %d more: %s", len(rows), strings.Join(words, ", "))
	}
	if t.o.Changed == nil { // else it is shown again and again
		text += " (-vv shows all)"
	}
	return text
}

// Names writes the names of the nodes, one a line, as Result.Rows has them. A result without
// nodes writes nothing.
func Names(w io.Writer, r Result, o Options) error {
	var b strings.Builder
	for _, row := range r.Rows(o.Order, o.Problems) {
		b.WriteString(row.Name + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}
