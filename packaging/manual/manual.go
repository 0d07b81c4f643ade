// Package manual turns the command lines of the two programs into their man
// pages and shell completions. What only a person can write stands beside it,
// in the page's .in file; what the command line knows (commands, flags,
// environment, keys of the configuration file) is put in from kong's model.
//
// The tests of agent and check alone use it: they compare what it makes with
// the files in packaging/man and packaging/completions, which the packages
// install. So no flag is undocumented, and no page speaks of a flag that is
// gone.
package manual

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/template"

	"github.com/alecthomas/kong"
)

//go:embed *.in
var sources embed.FS

// Program is a program's command line, and what its model doesn't say.
type Program struct {
	App *kong.Application
	// Values are what a flag takes, by its name, where kong knows no enum.
	Values map[string][]string
	// KeyType says what a flag's key in the configuration file may hold: "a
	// string". Only a page that lists the keys needs it.
	KeyType func(*kong.Flag) string
}

// shells are those that get a completion script.
var shells = [...]string{"bash", "zsh", "fish"}

// Files compares the pages and the program's completions with the files
// man/PAGE and completions/PROGRAM.SHELL in a folder; the error names those
// that differ. With update it writes them instead.
func Files(p Program, dir string, update bool, pages ...string) error {
	texts := map[string]string{}
	var err error
	for _, page := range pages {
		if texts[filepath.Join(dir, "man", page)], err = p.Page(page); err != nil {
			return err
		}
	}
	for _, shell := range shells {
		if texts[filepath.Join(dir, "completions", p.App.Name+"."+shell)], err = p.Completion(shell); err != nil {
			return err
		}
	}
	var errs []error
	for _, path := range slices.Sorted(maps.Keys(texts)) {
		if update {
			errs = append(errs, os.WriteFile(path, []byte(texts[path]), 0o644))
			continue
		}
		was, err := os.ReadFile(path)
		if err == nil && string(was) != texts[path] {
			err = fmt.Errorf("%s is not what the command line makes of it: make manual writes it again", path)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Page makes a man page in mdoc(7). Its name is that of the file, such as
// awa-agent.8. The source may call
//
//	{{synopsis}}       a line for each command
//	{{commands}}       each command with its arguments and own options
//	{{options}}        the options that are not of one command alone
//	{{environment}}    the variables, and which options they stand for
//	{{keys "run"}}     the keys of the configuration file, for a command's options
//
// of which each begins a line of its own.
func (p Program) Page(name string) (string, error) {
	commands := p.leaves()
	return execute(name+".in", nil, template.FuncMap{
		"synopsis":    func() string { return synopsis(commands) },
		"commands":    func() string { return sections(commands) },
		"options":     func() string { return options(commands) },
		"environment": func() string { return environment(commands) },
		"keys":        func(path string) (string, error) { return p.keys(commands, path) },
	})
}

// execute fills a source in.
func execute(source string, data any, funcs template.FuncMap) (string, error) {
	t, err := template.New(source).Funcs(funcs).ParseFS(sources, source)
	if err != nil {
		return "", err
	}
	var b bytes.Buffer
	err = t.Execute(&b, data)
	return b.String(), err
}

// command is a command that can be called, or one that only holds others.
type command struct {
	path     string // "node add"; "" is the program itself
	help     string
	detail   string
	flags    []*kong.Flag // its own and those that every command has
	args     []*kong.Value
	children []command // directly below
}

// name is the last word of the path.
func (c command) name() string { return c.path[strings.LastIndexByte(c.path, ' ')+1:] }

func newCommand(n *kong.Node, path string) command {
	c := command{path: path, help: n.Help, detail: n.Detail, args: n.Positional}
	for _, group := range n.AllFlags(true) {
		c.flags = append(c.flags, group...)
	}
	for _, child := range n.Children {
		if !child.Hidden {
			c.children = append(c.children, newCommand(child, strings.TrimSpace(path+" "+child.Name)))
		}
	}
	return c
}

// all returns the program itself, then each command before those below it.
func (p Program) all() []command {
	var all []command
	var add func(command)
	add = func(c command) {
		all = append(all, c)
		for _, child := range c.children {
			add(child)
		}
	}
	add(newCommand(p.App.Node, ""))
	return all
}

// leaves are the commands that can be called.
func (p Program) leaves() []command {
	return slices.DeleteFunc(p.all(), func(c command) bool { return len(c.children) > 0 })
}

// owned returns the flags of one command alone, and shared those of several:
// they have the same name and the same help there.
func (c command) owned(commands []command) (own, shared []*kong.Flag) {
	for _, f := range c.flags {
		if len(owners(commands, f)) > 1 {
			shared = append(shared, f)
		} else {
			own = append(own, f)
		}
	}
	return own, shared
}

// owners are the commands that have a flag.
func owners(commands []command, f *kong.Flag) []command {
	var who []command
	for _, c := range commands {
		if slices.ContainsFunc(c.flags, func(g *kong.Flag) bool { return same(f, g) }) {
			who = append(who, c)
		}
	}
	return who
}

func same(f, g *kong.Flag) bool { return f.Name == g.Name && f.Short == g.Short && f.Help == g.Help }

// distinct are the flags of all commands, each once.
func distinct(commands []command) []*kong.Flag {
	var all []*kong.Flag
	for _, c := range commands {
		for _, f := range c.flags {
			if !slices.ContainsFunc(all, func(g *kong.Flag) bool { return same(f, g) }) {
				all = append(all, f)
			}
		}
	}
	return all
}

// takesValue reports whether a flag is followed by a value.
func takesValue(f *kong.Flag) bool { return !f.IsBool() && !f.IsCounter() }

// repeats reports whether a flag may be given several times.
func repeats(f *kong.Flag) bool { return f.IsCumulative() || f.IsCounter() }

// placeholder stands for a flag's value.
func placeholder(f *kong.Flag) string {
	switch {
	case f.PlaceHolder != "":
		return f.PlaceHolder
	case f.Enum != "":
		return strings.Join(f.EnumSlice(), "|")
	}
	return strings.ToUpper(f.Name)
}

// argName stands for an argument.
func argName(v *kong.Value) string { return strings.ToUpper(v.Name) }

// keys lists the keys of the configuration file for the flags of a command:
// its own, and not --config, since the file can't name itself.
func (p Program) keys(commands []command, path string) (string, error) {
	i := slices.IndexFunc(commands, func(c command) bool { return c.path == path })
	if i < 0 || p.KeyType == nil {
		return "", fmt.Errorf("there is no command %q, or nothing known of its keys", path)
	}
	var items []item
	for _, f := range commands[i].flags {
		everywhere := len(owners(commands, f)) == len(commands) // --help, --version
		if f.Name == "config" || everywhere {
			continue
		}
		head := "Li " + strings.ReplaceAll(f.Name, "-", "_") + ` No \(em ` + p.KeyType(f)
		items = append(items, item{head, f.Help})
	}
	return list(items), nil
}
