package manual

import (
	"fmt"
	"slices"
	"strings"
	"text/template"

	"github.com/alecthomas/kong"
)

// What a value is, and so what a shell offers for it.
const (
	fileValue = "file"
	dirValue  = "dir"
	hostValue = "host"
	wordValue = "word" // one of the words
	nodeValue = "node" // a node of the list, by its name: the tag complete:"node"
	anyValue  = "any"  // nothing is offered
)

// value is what a shell knows of a flag's value or an argument.
type value struct {
	Kind  string
	Words []string // of a wordValue
	Name  string   // what stands for it in a help text
	More  bool     // an argument that may be followed by others of its kind
}

// listNodes prints the names of the nodes, as the agent of this machine has them: none when
// that agent does not run, or does not answer soon.
const listNodes = "timeout 2 awa-agent node list 2>/dev/null | awk '$1 ~ /^[0-9]+$/ { print $2 }'"

// Ident is the path as a part of a function's name.
func (s step) Ident() string { return strings.ReplaceAll(s.Path, " ", "_") }

// like reports whether the same is offered for two values; nil means no value.
func (v *value) like(w *value) bool {
	if v == nil || w == nil {
		return v == w
	}
	return v.Kind == w.Kind && slices.Equal(v.Words, w.Words)
}

// option is what a shell knows of a flag.
type option struct {
	Long    string
	Short   string // "" for none
	Help    string
	Value   *value // nil: it takes none
	Repeats bool
}

// Names are the forms of the flag as they are typed.
func (o option) Names() []string {
	if o.Short == "" {
		return []string{"--" + o.Long}
	}
	return []string{"-" + o.Short, "--" + o.Long}
}

// step is a command as a shell's script sees it: what may follow it.
type step struct {
	Path     string // "node add"; "" is the program
	Name     string
	Help     string
	Children []step
	Options  []option
	Args     []value
}

// valued are flags whose values are of one kind.
type valued struct {
	Names []string // as they are typed
	Value value
}

// script is what the three scripts are made of.
type script struct {
	Name     string // of the program
	Ident    string // the same, as a part of a function's name
	Commands bool   // it has commands, and not only flags
	Steps    []step // the program itself, then every command
	Valued   []valued
}

// Typed are all the flags that take a value.
func (s script) Typed() []string {
	var names []string
	for _, v := range s.Valued {
		names = append(names, v.Names...)
	}
	return names
}

// Completion makes the script of a shell: bash, zsh or fish.
func (p Program) Completion(shell string) (string, error) {
	s, err := p.script()
	if err != nil {
		return "", err
	}
	return execute(shell+".in", s, template.FuncMap{
		"join":    strings.Join,
		"single":  single,
		"fish":    fish,
		"zshFlag": zshFlag,
		"zshArg":  zshArg,
		"nodes":   func() string { return listNodes },
	})
}

// script looks through all commands. A flag must be of one kind in all of
// them, since the scripts see from its name alone whether a value follows.
func (p Program) script() (script, error) {
	s := script{Name: p.App.Name, Ident: strings.ReplaceAll(p.App.Name, "-", "_")}
	kinds := map[string]*value{}
	for _, c := range p.all() {
		st := p.step(c)
		s.Steps = append(s.Steps, st)
		for _, o := range st.Options {
			for _, name := range o.Names() {
				before, known := kinds[name]
				if known && !before.like(o.Value) {
					return s, fmt.Errorf("%s of %s takes another kind of value than in a command before it", name, c.path)
				}
				kinds[name] = o.Value
				if !known && o.Value != nil {
					s.add(name, *o.Value)
				}
			}
		}
	}
	s.Commands = len(s.Steps) > 1
	return s, nil
}

// add puts a flag to those of its kind.
func (s *script) add(name string, v value) {
	i := slices.IndexFunc(s.Valued, func(g valued) bool { return g.Value.like(&v) })
	if i < 0 {
		i, s.Valued = len(s.Valued), append(s.Valued, valued{Value: v})
	}
	s.Valued[i].Names = append(s.Valued[i].Names, name)
}

func (p Program) step(c command) step {
	st := step{Path: c.path, Name: c.name(), Help: brief(c.help)}
	for _, f := range c.flags {
		st.Options = append(st.Options, p.option(f))
	}
	for _, a := range c.args {
		st.Args = append(st.Args, p.value(a, argName(a)))
	}
	for _, child := range c.children {
		st.Children = append(st.Children, p.step(child))
	}
	return st
}

func (p Program) option(f *kong.Flag) option {
	o := option{Long: f.Name, Help: brief(f.Help), Repeats: repeats(f)}
	if f.Short != 0 {
		o.Short = string(f.Short)
	}
	if takesValue(f) {
		v := p.value(f.Value, placeholder(f))
		o.Value = &v
	}
	return o
}

// value returns what a value is, by the word that stands for it.
func (p Program) value(v *kong.Value, name string) value {
	words := p.Values[v.Name]
	if v.Enum != "" {
		words = v.EnumSlice()
	}
	kind := anyValue
	switch {
	case v.Tag.Get("complete") != "":
		kind = v.Tag.Get("complete")
	case words != nil:
		kind = wordValue
	case strings.HasPrefix(name, "FILE"):
		kind = fileValue
	case strings.HasPrefix(name, "DIR"):
		kind = dirValue
	case strings.HasPrefix(name, "HOST"):
		kind = hostValue
	}
	return value{Kind: kind, Words: words, Name: name, More: v.Flag == nil && v.IsCumulative()}
}

// brief is the beginning of a help text, which is all there is room for
// beside a word that a shell offers.
func brief(help string) string {
	for _, end := range []string{". ", "; ", ": "} {
		help, _, _ = strings.Cut(help, end)
	}
	return strings.TrimSuffix(help, ".")
}

// single quotes a word for bash and zsh.
func single(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// fish quotes a word for fish.
func fish(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(s) + "'"
}

// zshFlag is a flag as _arguments of zsh wants it (zshcompsys(1)):
// '(-o --output)'{-o+,--output=}'[help]:name:action'.
func zshFlag(o option) string {
	long, short := "--"+o.Long, "-"+o.Short
	text := "[" + zshText(o.Help, "[]") + "]"
	if o.Value != nil {
		long, short = long+"=", short+"+"
		text += ":" + zshText(o.Value.Name, ":") + ":" + zshAction(*o.Value)
	}
	switch {
	case o.Short == "" && o.Repeats:
		return single("*" + long + text)
	case o.Short == "":
		return single(long + text)
	case o.Repeats:
		return `'*'{` + short + "," + long + "}" + single(text)
	}
	return single(fmt.Sprintf("(-%s --%s)", o.Short, o.Long)) + "{" + short + "," + long + "}" + single(text)
}

// zshText escapes what would end a part of a specification.
func zshText(s, special string) string {
	for _, r := range special {
		s = strings.ReplaceAll(s, string(r), `\`+string(r))
	}
	return s
}

// zshArg is an argument likewise, which may be missing: n::name:action. One
// for which nothing is offered has an empty list, since zsh would show its
// name instead of completing a flag.
func zshArg(n int, v value) string {
	action := zshAction(v)
	if v.Kind == anyValue {
		action = "( )"
	}
	place := fmt.Sprint(n+1, "::")
	if v.More {
		place = "*:"
	}
	return single(place + zshText(v.Name, ":") + ":" + action)
}

// zshAction is how zsh finds the words to offer.
func zshAction(v value) string {
	switch v.Kind {
	case wordValue:
		return "(" + strings.Join(v.Words, " ") + ")"
	case fileValue:
		return "_files"
	case dirValue:
		return "_files -/"
	case hostValue:
		return "_hosts"
	case nodeValue:
		return "{compadd -- $(" + listNodes + ")}"
	}
	return " "
}
