package manual

import (
	"slices"
	"testing"

	"github.com/alecthomas/kong"
)

func TestText(t *testing.T) {
	for in, want := range map[string]string{
		"":                                    "",
		"One. Two.":                           "One.\nTwo.",
		".hidden and 'quoted'":                `\&.hidden and 'quoted'`,
		"One. 'Two' it is.":                   "One.\n\\&'Two' it is.",
		"--join, ~:10, a^b, `c`, \"d\", e\\f": `\-\-join, \(ti:10, a\(hab, \(gac\(ga, \(dqd\(dq, e\ef`,
		"HOST,…":                              `HOST,\[u2026]`,
	} {
		if got := text(in); got != want {
			t.Errorf("%q is %q, want %q", in, got, want)
		}
	}
}

func TestBrief(t *testing.T) {
	for in, want := range map[string]string{
		"Only this node.": "Only this node",
		"A format; there are two: text or json. Default: text": "A format",
		"(${default})": "(${default})",
	} {
		if got := brief(in); got != want {
			t.Errorf("%q is %q, want %q", in, got, want)
		}
	}
}

func TestZshFlag(t *testing.T) {
	word := &value{Kind: wordValue, Words: []string{"a", "b"}, Name: "A[:B]"}
	for name, test := range map[string]struct {
		o    option
		want string
	}{
		"long":            {option{Long: "off", Help: "it's [off]"}, `'--off[it'\''s \[off\]]'`},
		"short":           {option{Long: "off", Short: "o", Help: "off"}, `'(-o --off)'{-o,--off}'[off]'`},
		"value":           {option{Long: "in", Short: "i", Help: "in", Value: word}, `'(-i --in)'{-i+,--in=}'[in]:A[\:B]:(a b)'`},
		"repeated":        {option{Long: "in", Short: "i", Help: "in", Repeats: true}, `'*'{-i,--in}'[in]'`},
		"repeated, value": {option{Long: "in", Help: "in", Value: word, Repeats: true}, `'*--in=[in]:A[\:B]:(a b)'`},
	} {
		if got := zshFlag(test.o); got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
}

// TestCompletion_ambiguous has two commands with a flag of one name, after
// which a value follows in one of them only.
func TestCompletion_ambiguous(t *testing.T) {
	var cli struct {
		A struct {
			Off bool
		} `cmd:""`
		B struct {
			Off string
		} `cmd:""`
	}
	k, err := kong.New(&cli, kong.Name("x"))
	if err != nil {
		t.Fatal(err)
	}
	const want = "--off of b takes another kind of value than in a command before it"
	for _, shell := range shells {
		if _, err := (Program{App: k.Model}).Completion(shell); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", shell, err, want)
		}
	}
}

// TestOwned tells apart what one command has and what several do: the same
// name with another meaning is another flag.
func TestOwned(t *testing.T) {
	var cli struct {
		A struct {
			Agent string `help:"Whom to ask."`
			Dir   string `help:"Where it is."`
		} `cmd:""`
		B struct {
			Agent string `help:"Whom to ask."`
			Dir   string `help:"Where it goes."`
		} `cmd:""`
	}
	k, err := kong.New(&cli, kong.Name("x"), kong.NoDefaultHelp())
	if err != nil {
		t.Fatal(err)
	}
	commands := Program{App: k.Model}.leaves()
	own, shared := commands[1].owned(commands)
	if name := func(f *kong.Flag) bool { return f.Name == "agent" }; len(own) != 1 || own[0].Name != "dir" ||
		len(shared) != 1 || !slices.ContainsFunc(shared, name) {
		t.Errorf("own %v, shared %v", own, shared)
	}
}
