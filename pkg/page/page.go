// Package page makes the page that shows a cluster to a person with a browser: what is
// wrong, since when, why and what to do, and below it all that is known besides.
//
// It is one HTML document without scripts, pictures or anything else to fetch, so that it
// works in a text browser, by keyboard, with a screen reader, and where nothing but the agent
// can be reached. Every text comes from outside and is escaped by html/template; Policy
// forbids what an escape that was forgotten would need. The package knows no clock and asks
// nobody: what it shows is Data.
package page

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"html/template"
	"math"
	"net/url"
	"strconv"
	"strings"
	"time"

	"are-we-alive/pkg/awa"
)

//go:embed page.html
var source string

//go:embed page.css
var style string

// ContentType is the media type of the page.
const ContentType = "text/html; charset=utf-8"

// MaxRows is how many nodes a table shows. Of more, the last ones are counted only.
const MaxRows = 1000

// Severity is how grave something is: its color, and the word for those who see none.
type Severity string

// The severities, in the words of a monitoring system.
const (
	OK       Severity = "OK"
	Warning  Severity = "WARNING"
	Critical Severity = "CRITICAL"
	Unknown  Severity = "UNKNOWN"
)

// Data is what the page shows. All texts are for a person, and may hold anything.
type Data struct {
	Severity Severity
	Headline string // what is wrong, in check_awa's words
	Summary  string // who leads, how many vote, and so on, in one line; "" is not known
	Cluster  string
	Voters   string // their names
	Agent    string // whose view it is
	Now      time.Time
	SweptAt  time.Time // zero: it has not looked yet
	Stale    bool      // the look is older than it should be

	Problems, Others []Node
	ShowOthers       bool // else they are only counted
	Advice           []Advice
	Mesh             []string // who does not see whom, where that differs
	Events           []Event  // the newest first
	Edits            []Event  // likewise
	Refresh          time.Duration
}

// Node is a row of a table.
type Node struct {
	Name, Status string
	Severity     Severity
	Since, RTT   string
	Addr, Labels string
	Why          string
	URL          string // its own page, "" when there is none
	Online       bool
	Spans        []awa.Span // of the last Day, in their order; a gap is not known
}

// Advice is what to do.
type Advice struct {
	Severity Severity
	About    string // a health code that holds, or nodes
	Text     string
}

// Event is something that happened.
type Event struct {
	At   time.Time
	Text string
}

// Day is how long a strip is.
const Day = 24 * time.Hour

// Page makes pages. It is safe for concurrent use.
type Page struct {
	template *template.Template
	policy   string
}

// New makes a Page.
func New() *Page {
	p := &Page{policy: policyFor(style)}
	p.template = template.Must(template.New("page").Funcs(template.FuncMap{
		"style":  func() template.CSS { return template.CSS(style) },
		"ago":    func(now, at time.Time) string { return awa.Ago(now.Sub(at)) },
		"clock":  clock,
		"link":   link,
		"moment": func(now, at time.Time) moment { return moment{now, at} },
		"strip":  newStrip,
		"table":  newTable,
	}).Parse(source))
	return p
}

// Policy is the Content-Security-Policy to send with a page.
func (p *Page) Policy() string { return p.policy }

// policyFor allows the style alone, and a picture in the page itself.
func policyFor(style string) string {
	sum := sha256.Sum256([]byte(style))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; img-src data:; " +
		"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
}

// Render makes a page.
func (p *Page) Render(d Data) ([]byte, error) {
	var b bytes.Buffer
	err := p.template.Execute(&b, d)
	return b.Bytes(), err
}

// Icon is a dot in the color of the severity, for the browser's tab.
func (s Severity) Icon() template.URL {
	color := map[Severity]string{OK: "1b6e2e", Warning: "c77700", Critical: "b00020"}[s]
	if color == "" {
		color = "5b2a86"
	}
	return template.URL("data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E" +
		"%3Ccircle cx='8' cy='8' r='7' fill='%23" + color + "'/%3E%3C/svg%3E")
}

// Class is the class of the headline.
func (s Severity) Class() string {
	switch s {
	case OK, Warning, Critical:
		return strings.ToLower(string(s))
	}
	return "unknown"
}

// Text is the class of a text.
func (s Severity) Text() string {
	switch s {
	case OK:
		return "on"
	case Critical:
		return "off"
	}
	return "cut"
}

// Class is the class of the node's status.
func (n Node) Class() string {
	if n.Severity == OK && !n.Online {
		return "cut" // it is under maintenance
	}
	return n.Severity.Text()
}

// table is a table of nodes.
type table struct {
	Now   time.Time
	Nodes []Node
	Rest  int // how many are not shown
}

func newTable(now time.Time, nodes []Node) table {
	shown := nodes[:min(len(nodes), MaxRows)]
	return table{now, shown, len(nodes) - len(shown)}
}

// moment is a time, and when it is read.
type moment struct{ Now, At time.Time }

// clock is a moment as the clock of now shows it, with its day where that is another one.
func clock(now, at time.Time) string {
	if at = at.In(now.Location()); at.YearDay() == now.YearDay() && at.Year() == now.Year() {
		return at.Format(time.TimeOnly)
	}
	return at.Format("2 Jan 15:04:05")
}

// The parameters of the page, and the value of each that is not the usual one.
const (
	ParamOthers  = "others"
	ShowOthers   = "show"
	ParamRefresh = "refresh"
	NoRefresh    = "off"
)

// link is the address of the page with other settings.
func link(others, refresh bool) string {
	q := url.Values{}
	if others {
		q.Set(ParamOthers, ShowOthers)
	}
	if !refresh {
		q.Set(ParamRefresh, NoRefresh)
	}
	if len(q) == 0 {
		return "/"
	}
	return "/?" + q.Encode()
}

// strip is what a node was in the last day.
type strip struct {
	Share string // for how much of the time that is known it was online: "99.2 %"
	Full  bool   // it was online all day, as far as that is known
	Bars  []bar
}

// bar is a part of a strip, in hundredths of its width from its left end. Its class is "" of an
// online node.
type bar struct {
	X, Width float64
	Class    string
}

// minBar is the least width that is seen.
const minBar = 0.3

// newStrip draws the spans of a node. The bars of what was not online come last, since the
// short ones are drawn wider than they are.
func newStrip(now time.Time, spans []awa.Span) strip {
	var online, known time.Duration
	var up, down []bar
	for _, s := range spans {
		lasted := s.To.Sub(s.From)
		known += lasted
		b := bar{X: hundredths(Day - now.Sub(s.From)), Width: hundredths(lasted)}
		if s.Verdict == awa.Online {
			online += lasted
			up = append(up, b)
			continue
		}
		b.Class = "off"
		if s.Verdict == awa.Unreachable {
			b.Class = "cut"
		}
		if b.Width < minBar {
			b.X, b.Width = min(b.X, 100-minBar), minBar
		}
		down = append(down, b)
	}
	switch {
	case known == 0:
		return strip{Share: "-"}
	case online == known && known > Day-time.Minute: // which needs no drawing
		return strip{Share: "100 %", Full: true}
	case online == known:
		return strip{Share: "100 %", Bars: up}
	}
	share := min(100*float64(online)/float64(known), 99.9) // what is not all is not shown as all
	return strip{Share: strconv.FormatFloat(share, 'f', 1, 64) + " %", Bars: append(up, down...)}
}

// hundredths is a part of a day in hundredths, rounded to its ten-thousandth.
func hundredths(d time.Duration) float64 {
	return math.Round(1e4*max(0, min(1, float64(d)/float64(Day)))) / 100
}
