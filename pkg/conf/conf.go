// Package conf reads the configuration files that people write: the agent's own, and
// check.json, which says which agents a client asks.
package conf

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"unicode/utf8"

	"are-we-alive/pkg/awa"
)

// MaxSize is the most bytes of a file: thousands of times what all settings need.
const MaxSize = 1 << 20

// Read returns the keys of a file that holds one JSON object; example is what an error
// says that it looks like. Errors: those of awa.ReadFile, and a *SyntaxError.
func Read(path, example string) (map[string]json.RawMessage, error) {
	b, err := awa.ReadFile(path, MaxSize, nil)
	if err != nil {
		return nil, fmt.Errorf("the configuration can't be read: %w", err)
	}
	return parse(path, bytes.TrimPrefix(b, []byte("\ufeff")), example)
}

// SyntaxError says where a file is not a JSON object, and why.
type SyntaxError struct {
	Path         string
	Line, Column int // from 1 on, the column in characters
	Cause        string
	Example      string
}

// Error implements error.
func (e *SyntaxError) Error() string {
	return fmt.Sprintf("%s:%d:%d is not JSON: %s; it looks like %s", e.Path, e.Line, e.Column, e.Cause, e.Example)
}

// parse reads an object.
func parse(path string, b []byte, example string) (map[string]json.RawMessage, error) {
	var fields map[string]json.RawMessage
	err := json.Unmarshal(b, &fields)
	if err == nil && fields != nil {
		return fields, nil
	}
	at, cause := len(b)-len(bytes.TrimLeft(b, " \t\r\n")), "the file must hold an object"
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		at, cause = faultOf(b, int(syntax.Offset), syntax)
	}
	line := b[bytes.LastIndexByte(b[:at], '\n')+1 : at]
	return nil, &SyntaxError{Path: path, Line: 1 + bytes.Count(b[:at], []byte("\n")), Column: 1 + utf8.RuneCount(line),
		Cause: cause, Example: example}
}

// faultOf returns where an error of encoding/json lies, and what is wrong there. read is
// how many bytes had been read when it was noticed.
func faultOf(b []byte, read int, err error) (at int, cause string) {
	if strings.Contains(err.Error(), "unexpected end") {
		return len(bytes.TrimRight(b, " \t\r\n")), "the file ends too early"
	}
	at = max(read-1, 0)
	before := bytes.TrimRight(b[:at], " \t\r\n")
	switch c := b[at]; {
	case bytes.HasPrefix(b, []byte{0xff, 0xfe}) || bytes.HasPrefix(b, []byte{0xfe, 0xff}):
		return 0, "it is UTF-16, and must be UTF-8"
	case c == '/' || c == '#':
		return at, "JSON has no comments"
	case (c == '}' || c == ']') && bytes.HasSuffix(before, []byte(",")):
		return at, fmt.Sprintf("the comma before the %c is one too many", c)
	case strings.Contains(err.Error(), "after top-level value"):
		return at, "more follows after the end of the object"
	}
	r, _ := utf8.DecodeRune(b[at:])
	return at, fmt.Sprintf("%q is not expected here", r)
}

// UnsetEmpty unsets this program's variables that are empty: where a unit file or a script
// leaves one so, the setting is left out and not "".
func UnsetEmpty() {
	for _, variable := range os.Environ() {
		if name, value, _ := strings.Cut(variable, "="); value == "" && strings.HasPrefix(name, "AWA_") {
			os.Unsetenv(name)
		}
	}
}

// Nearest returns the word of known that key was probably meant to be, "" for none.
func Nearest(key string, known []string) string {
	const most = 3 // changes: from there on it is another word
	found, least := "", most
	for _, word := range known {
		if d := distance(strings.ToLower(key), word); d < least {
			found, least = word, d
		}
	}
	return found
}

// distance is how many letters must be inserted, deleted, replaced or exchanged with
// their neighbours to get b from a (Damerau, as optimal string alignment).
func distance(a, b string) int {
	d := make([][]int, len(a)+1)
	for i := range d {
		d[i] = make([]int, len(b)+1)
		d[i][0] = i
	}
	for j := range b {
		d[0][j+1] = j + 1
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			differ := 1
			if a[i-1] == b[j-1] {
				differ = 0
			}
			d[i][j] = min(d[i-1][j]+1, d[i][j-1]+1, d[i-1][j-1]+differ)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d[i][j] = min(d[i][j], d[i-2][j-2]+1)
			}
		}
	}
	return d[len(a)][len(b)]
}
