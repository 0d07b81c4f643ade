package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// habit is a turn of phrase that makes a reader read twice, and what to write instead.
type habit struct {
	name, instead string
	word          string // which every occurrence has, to look for it quickly
	found         *regexp.Regexp
	except        *regexp.Regexp // what looks like it and is not; may be nil
	comments      bool           // only in comments of Go
}

func habits() []habit {
	return []habit{
		{
			name: "is no X", word: " no ", instead: "is not a X, or must be a Y",
			found:  regexp.MustCompile(`\b(is|are|was|were) no [a-zA-Z]\w*`),
			except: regexp.MustCompile(`(?i)\bthere (is|are|was|were) no |\b(is|are|was|were) no (longer|more)\b`),
		},
		{name: "answers there is no X", word: "there is no", instead: "is not a X",
			found: regexp.MustCompile(`\b(answers|listens|runs|stands|called) there is no [a-zA-Z]`)},
		{name: "X gives Y back", word: "gives", instead: "returns", comments: true,
			found: regexp.MustCompile(`//\s*[A-Za-z]\w* gives\b.* back\b`)},
		{name: "anew", word: "anew", instead: "again", found: regexp.MustCompile(`\banew\b`)},
		{name: "but for", word: "but for", instead: "except",
			found: regexp.MustCompile(`\bbut for (the|that|those|what|one|his|its)\b`)},
		{name: "of one's choice", word: "choice", instead: "the plain noun", found: regexp.MustCompile(`of one's choice`)},
		{name: "X gives Y", word: "gives", instead: "X returns Y", comments: true,
			found: regexp.MustCompile(`//\s*[A-Za-z]\w* gives (?:the|a|an|what|its|how|all)\b`)},
		{name: "tells whether", word: "tells", instead: "reports whether",
			found: regexp.MustCompile(`\btells (whether|if)\b`)},
		{name: "-h tells more", word: "tells", instead: "see -h", found: regexp.MustCompile(`-h(elp)? tells\b`)},
		{name: "has an edit decided", word: "decided", instead: "submits the edit", comments: true,
			found: regexp.MustCompile(`\b(has|have) (an|the) edit decided\b`)},
		{name: "colour", word: "colour", instead: "color", found: regexp.MustCompile(`\bcolour`)},
	}
}

// maxColumns is where a line of Go ends at the latest, in bytes, a tab being one. A raw
// string, which holds a struct tag or a text to compare with, may be longer.
const maxColumns = 125

// TestWords keeps the worst habits out of all files that people read.
func TestWords(t *testing.T) {
	files, bad := 0, habits()
	for _, file := range tracked(t) {
		if slices.Contains([]string{"LICENSE", "go.sum", "test/words_test.go"}, file) {
			continue
		}
		b, err := os.ReadFile(filepath.Join("..", file))
		if err != nil {
			t.Fatal(err)
		}
		files++
		before, raw := "", false // raw: the line begins inside a raw string
		for i, line := range strings.Split(string(b), "\n") {
			for _, text := range badWords(bad, line, before) {
				t.Errorf("%s:%d: %s", file, i+1, text)
			}
			if strings.HasSuffix(file, ".go") && len(line) > maxColumns && !raw && !strings.Contains(line, "`") {
				t.Errorf("%s:%d: the line has %d columns: at most %d are allowed", file, i+1, len(line), maxColumns)
			}
			before, raw = line, raw != (strings.Count(line, "`")%2 == 1)
		}
	}
	if files < 300 {
		t.Errorf("only %d files were looked at", files)
	}
}

// badWords returns what is wrong with a line, which follows another one.
func badWords(habits []habit, line, before string) []string {
	var all []string
	for _, h := range habits {
		if !strings.Contains(line, h.word) || h.comments && !strings.Contains(line, "//") {
			continue
		}
		at := h.found.FindStringIndex(line)
		if at == nil {
			continue
		}
		with := before + " " + line // "there" may stand at the end of the line before
		if h.except != nil && h.except.MatchString(strings.Join(strings.Fields(strings.ReplaceAll(with, "//", "")), " ")) {
			continue
		}
		all = append(all, "“"+line[at[0]:at[1]]+"” ("+h.name+"): write "+h.instead)
	}
	return all
}

// tracked returns the files of the repository.
func tracked(t *testing.T) []string {
	t.Helper()
	cmd := exec.Command("git", "ls-files", "-z")
	cmd.Dir = ".."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v", cmd, err)
	}
	return slices.DeleteFunc(strings.Split(string(out), "\x00"), func(f string) bool { return f == "" })
}

// TestWords_finds shows that each habit is found, and what looks like it is not.
func TestWords_finds(t *testing.T) {
	bad := habits()
	for line, want := range map[string]bool{
		`return fmt.Errorf("%q is no range", s)`:     true,
		`// it is no longer there`:                   false,
		`// there is no leader`:                      false,
		`// is no leader`:                            true,
		`// begin anew`:                              true,
		`// all but for the first`:                   true,
		`// Name gives the name`:                     true,
		`// who gives up`:                            false,
		`// fed tells whether Raft runs`:             true,
		`(check_awa -h tells more)`:                  true,
		`// propose has an edit decided`:             true,
		`it has an edit decided, says a string`:      false,
		`var colour string`:                          true,
		`// a color of one's choice`:                 true,
		`// It returns the node, or reports whether`: false,
	} {
		if got := len(badWords(bad, line, "")) > 0; got != want {
			t.Errorf("%q: found is %v", line, got)
		}
	}
	if len(badWords(bad, "// is no timer", "// There")) > 0 {
		t.Error("it does not see the line before")
	}
}
