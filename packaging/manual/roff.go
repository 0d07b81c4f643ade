package manual

import (
	"fmt"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// The pages are written in mdoc(7), which groff and mandoc both know.

// item is an entry of a list: its head in macros, and a text.
type item struct{ head, text string }

// list is a list of tagged entries; nothing when there are none.
func list(items []item) string {
	if len(items) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString(".Bl -tag -width Ds\n")
	for _, i := range items {
		fmt.Fprintf(&b, ".It %s\n%s\n", i.head, text(i.text))
	}
	b.WriteString(".El")
	return b.String()
}

// text makes a text safe for roff and begins a line with each sentence, so
// that the formatter sets the space between them.
func text(s string) string {
	var lines []string
	for rest, more := strings.Join(strings.Fields(s), " "), true; more; {
		var sentence string
		sentence, rest, more = strings.Cut(rest, ". ")
		if more {
			sentence += "."
		}
		sentence = escape(sentence)
		if strings.HasPrefix(sentence, ".") || strings.HasPrefix(sentence, "'") {
			sentence = `\&` + sentence
		}
		lines = append(lines, sentence)
	}
	return strings.Join(lines, "\n")
}

// escape writes characters that roff would change or not know (groff_char(7)).
func escape(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '\\':
			b.WriteString(`\e`)
		case r == '-': // else a hyphen, which can't be copied as a flag
			b.WriteString(`\-`)
		case r == '~':
			b.WriteString(`\(ti`)
		case r == '^':
			b.WriteString(`\(ha`)
		case r == '`':
			b.WriteString(`\(ga`)
		case r == '"': // quotes a macro's argument
			b.WriteString(`\(dq`)
		case r > '~':
			fmt.Fprintf(&b, `\[u%04X]`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// flagHead shows a flag with both its forms: -o, --output=FORMAT.
func flagHead(f *kong.Flag) string {
	head := "Fl -" + f.Name
	if f.Short != 0 {
		head = "Fl " + string(f.Short) + " , " + head
	}
	if takesValue(f) {
		head += " Ns = Ns Ar " + escape(placeholder(f))
	}
	return head
}

// flagUse shows a flag in a synopsis, in its short form where it has one.
func flagUse(f *kong.Flag) string {
	use := "Fl -" + f.Name
	if f.Short != 0 {
		use = "Fl " + string(f.Short)
	}
	switch {
	case takesValue(f) && f.Short != 0:
		use += " Ar " + escape(placeholder(f))
	case takesValue(f):
		use += " Ns = Ns Ar " + escape(placeholder(f))
	}
	switch {
	case f.IsCounter():
		use += " No ..."
	case repeats(f):
		use += " ..."
	}
	if f.Required {
		return "." + use
	}
	return ".Op " + use
}

// fewFlags is how many flags of its own a synopsis names; a command with more
// of them has [option ...].
const fewFlags = 5

// synopsis shows how each command is called.
func synopsis(commands []command) string {
	var lines []string
	for _, c := range commands {
		lines = append(lines, ".Nm")
		own, shared := c.owned(commands)
		switch {
		case c.path == "": // the only one
			own = c.flags
		case len(own) > fewFlags:
			own, shared = nil, c.flags
		}
		if c.path != "" {
			lines = append(lines, ".Cm "+c.path)
		}
		if len(shared) > 0 && slices.ContainsFunc(shared, func(f *kong.Flag) bool { return len(owners(commands, f)) < len(commands) }) {
			lines = append(lines, ".Op Ar option ...")
		}
		for _, f := range own {
			lines = append(lines, flagUse(f))
		}
		for _, a := range c.args {
			use := ".Ar " + argName(a)
			if !a.Required {
				use = ".Op Ar " + argName(a)
			}
			lines = append(lines, use)
		}
	}
	return strings.Join(lines, "\n")
}

// sections describes each command: what it does, its arguments, its own
// options, and which of the common ones it has.
func sections(commands []command) string {
	var parts []string
	for _, c := range commands {
		head := ".Ss " + c.path
		for _, a := range c.args {
			name := argName(a)
			if !a.Required {
				name = "[" + name + "]"
			}
			head += " " + name
		}
		part := head + "\n" + text(c.help)
		if c.detail != "" {
			part += "\n.Pp\n" + text(c.detail)
		}
		own, shared := c.owned(commands)
		var items []item
		for _, a := range c.args {
			items = append(items, item{"Ar " + argName(a), a.Help})
		}
		for _, f := range own {
			items = append(items, item{flagHead(f), f.Help})
		}
		if l := list(items); l != "" {
			part += "\n" + l
		}
		var also []string
		for _, f := range shared {
			if len(owners(commands, f)) < len(commands) {
				also = append(also, "Fl -"+f.Name)
			}
		}
		if len(also) > 0 {
			part += "\n.Pp\nCommon options:\n." + strings.Join(also, " , ") + " ."
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, "\n")
}

// options describes the options of several commands, or those of a program
// that has no commands.
func options(commands []command) string {
	var items []item
	for _, f := range distinct(commands) {
		if len(commands) == 1 || len(owners(commands, f)) > 1 {
			items = append(items, item{flagHead(f), f.Help})
		}
	}
	return list(items)
}

// environment lists the variables with the options that they stand for.
func environment(commands []command) string {
	uses := map[string][]string{}
	var order []string
	for _, f := range distinct(commands) {
		for _, env := range f.Envs {
			if uses[env] == nil {
				order = append(order, env)
			}
			if use := "--" + f.Name; !slices.Contains(uses[env], use) {
				uses[env] = append(uses[env], use)
			}
		}
	}
	slices.Sort(order)
	var items []item
	for _, env := range order {
		items = append(items, item{"Ev " + env, strings.Join(uses[env], ", ")})
	}
	return strings.Replace(list(items), "-tag -width Ds", "-tag -width AWA_PING_TIMEOUT -compact", 1)
}

// Examples are the parts of a page that are set as they are (between .Bd
// -literal and .Ed), as a reader sees them.
func Examples(page string) []string { return examples(page) }

// ExamplesOf returns those of a section (.Ss) of a man page.
func ExamplesOf(page, section string) []string {
	_, text, _ := strings.Cut(page, "\n.Ss "+section+"\n")
	for _, end := range []string{"\n.Ss ", "\n.Sh "} {
		text, _, _ = strings.Cut(text, end)
	}
	return examples("\n" + text + "\n")
}

func examples(page string) []string {
	asSeen := strings.NewReplacer(`\-`, "-", `\(ti`, "~", `\(dq`, `"`)
	var all []string
	for _, part := range strings.Split(page, "\n.Bd -literal")[1:] {
		_, part, _ = strings.Cut(part, "\n") // how it is set
		part, _, _ = strings.Cut(part, ".Ed\n")
		all = append(all, asSeen.Replace(part))
	}
	return all
}
