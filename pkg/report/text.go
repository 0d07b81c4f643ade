package report

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"are-we-alive/pkg/awa"
)

const (
	// maxText is the longest text in bytes. NRPE v2 cuts a plugin's output at
	// 1,023; the rest is for the prefix and the perfdata.
	maxText = 700
	// maxAddr bounds a name or an address, in bytes: a host, brackets, a port.
	maxAddr = awa.MaxHost + len("[]:65535")
	// maxNamed is how many nodes or agents a text names at most: who gets it
	// on a telephone reads no more.
	maxNamed = 10
	// maxWhy bounds one reason among several, in bytes; maxOnlyWhy the reason
	// when there is just one.
	maxWhy     = 100
	maxOnlyWhy = 400
	// maxShort bounds the name of the agent asked, in bytes, where the text
	// is about others.
	maxShort = awa.MaxName + 2
)

// Text is the result in one sentence of at most 700 bytes, safe for a
// monitoring system's line (see plain): how many of how many nodes, which and
// why.
func (r Result) Text() string {
	switch {
	case r.sentence != "":
		return clip(plain(r.sentence), maxText)
	case r.Status == nil:
		return r.failuresText()
	}
	note := r.viewText()
	if note == "" {
		return r.nodesText()
	}
	note = " - " + note
	return clip(r.nodesText(), maxText-len(note)) + note
}

// viewText says whose view it is where that matters: when the agent asked may
// see what only it sees, or stands in for one that does.
func (r Result) viewText() string {
	agent := clip(orWord(plain(r.Status.Agent), "the agent asked"), maxShort)
	if r.Status.Isolated {
		return agent + " reaches no other agent, so the fault may be its own: ask another one too (-H)"
	}
	for _, f := range r.Failures {
		if errors.Is(f.Err, ErrIsolated) {
			return "as " + agent + " sees it, since " + clip(plain(f.Agent), maxAddr) + " reaches no other agent"
		}
	}
	return ""
}

// nodesText is how many of how many nodes, which and why.
func (r Result) nodesText() string {
	c := r.Counts
	nodes := "nodes"
	if c.Nodes == 1 {
		nodes = "node"
	}
	if c.Offline+c.Unreachable == 0 {
		text := fmt.Sprintf("%d of %d %s online", c.Online, c.Nodes, nodes)
		if c.Maintenance > 0 {
			text += fmt.Sprintf(" (%d under maintenance)", c.Maintenance)
		}
		return text + r.alertText()
	}
	more := ""
	if c.Maintenance > 0 {
		more = fmt.Sprintf(" (%d more under maintenance)", c.Maintenance)
	}
	if c.Offline == 0 {
		text := fmt.Sprintf("%d of %d %s unreachable%s: ", c.Unreachable, c.Nodes, nodes, more)
		text += r.problemsText(r.isCutOff, c.Unreachable, maxText-len(text))
		if r.State == Critical { // for a Warning this is reason enough
			text += r.alertText()
		}
		return text
	}
	text := fmt.Sprintf("%d of %d %s offline%s: ", c.Offline, c.Nodes, nodes, more)
	if c.Unreachable == 0 {
		return text + r.problemsText(r.isDead, c.Offline, maxText-len(text))
	}
	// The dead come first, and leave the others a third of the room.
	text += r.problemsText(r.isDead, c.Offline, maxText*2/3-len(text))
	text += fmt.Sprintf(", and %d unreachable: ", c.Unreachable)
	return text + r.problemsText(r.isCutOff, c.Unreachable, maxText-len(text))
}

// alertText tells why a result alerts although no node is offline, which only
// an unusual range makes it do.
func (r Result) alertText() string {
	switch r.State {
	case Critical:
		return ", but the critical range is " + r.rules.Critical.String()
	case Warning:
		return ", but the warning range is " + r.rules.Warning.String()
	}
	return ""
}

// problemsText names nodes of a kind, of which there are total.
func (r Result) problemsText(kind func(awa.NodeStatus) bool, total, room int) string {
	items := make([]string, 0, maxNamed)
	for _, n := range r.Status.Nodes {
		if len(items) == maxNamed {
			break
		}
		if kind(n) {
			items = append(items, named(orWord(n.Node.Name, "?"), reason(n), r.Counts.Offline+r.Counts.Unreachable))
		}
	}
	return list(items, total, room)
}

func (r Result) failuresText() string {
	if len(r.Failures) == 0 {
		return "no agent was asked"
	}
	text := "no agent answers: "
	items := make([]string, 0, maxNamed)
	for _, f := range r.Failures[:min(len(r.Failures), maxNamed)] {
		items = append(items, named(f.Agent, f.Err.Error(), len(r.Failures)))
	}
	return text + list(items, len(r.Failures), maxText-len(text))
}

// named gives "n3 (connect: connection refused)", one of total such items.
func named(name, why string, total int) string {
	most := maxWhy
	if total == 1 {
		most = maxOnlyWhy
	}
	return clip(plain(name), maxAddr) + " (" + clip(plain(why), most) + ")"
}

// list joins as many items as fit into room bytes and counts the rest, of
// total in all: "a, b and 7 more". The first item always stands.
func list(items []string, total, room int) string {
	var b strings.Builder
	for i, item := range items {
		sep, more := ", ", ""
		if i == 0 {
			sep = ""
		}
		if rest := total - i - 1; rest > 0 {
			more = fmt.Sprintf(" and %d more", rest)
		}
		if i > 0 && b.Len()+len(sep)+len(item)+len(more) > room {
			fmt.Fprintf(&b, " and %d more", total-i)
			return b.String()
		}
		b.WriteString(sep)
		b.WriteString(item)
	}
	if rest := total - len(items); rest > 0 {
		fmt.Fprintf(&b, " and %d more", rest)
	}
	return b.String()
}

// plain makes a text safe for every monitoring system and for the shells that
// they hand it to: one line, valid UTF-8, and none of
//
//	|                      begins perfdata
//	" ' ` \ $ & ; < >      mean something to a shell; Nagios strips some of
//	                       them itself (illegal_macro_output_chars)
//
// A quote is dropped, the others give way to something that looks alike, and
// what can't be seen becomes a question mark, as ls does it.
func plain(s string) string {
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
