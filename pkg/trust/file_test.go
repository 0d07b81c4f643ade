package trust

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"are-we-alive/pkg/awa"
)

func TestParseKeys(t *testing.T) {
	a, b := NewKey(), NewKey()
	for name, c := range map[string]struct {
		text string
		want []Key
	}{
		"one":                       {a.Line(), []Key{a}},
		"as it is written":          {a.FileText(), []Key{a}},
		"a check key":               {a.Check().FileText(), []Key{a.Check()}},
		"two, the first to be used": {b.Line() + "\n" + a.Line() + "\n", []Key{b, a}},
		"comments, blanks, CR": {"# one\r\n\r\n  \t" + a.Line() + " # old\r\n#" + b.Line() + "\n\n" + b.Line() + "#x",
			[]Key{a, b}},
		"more blanks":                {strings.ReplaceAll(a.Line(), " ", " \t "), []Key{a}},
		"twice the same counts once": {a.Line() + "\n" + b.Line() + "\n" + a.Line(), []Key{a, b}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ParseKeys("k", []byte(c.text))
			if err != nil || !slices.EqualFunc(got, c.want, Key.Equal) {
				t.Errorf("%v, %v, want %v", got, err, c.want)
			}
		})
	}
}

func TestParseKeys_errors(t *testing.T) {
	k := NewKey()
	line, check := k.Line(), k.Check().Line()
	secret := strings.Fields(line)[2]
	var many strings.Builder
	for range maxKeys + 1 {
		many.WriteString(NewKey().Line() + "\n")
	}
	for name, c := range map[string]struct{ text, want string }{
		"empty": {"", "key file k: it holds no key: make one with awa-agent key new, or copy the file from another " +
			"server of the cluster"},
		"comments only": {"# " + line, "key file k: it holds no key: make one with awa-agent key new, or copy the file " +
			"from another server of the cluster"},
		"the base64 alone": {"\n" + secret, "key file k, line 2: it does not begin with awa1: a key looks like awa1 " +
			"member BASE64, and # begins a comment"},
		"a PEM file": {"-----BEGIN PRIVATE KEY-----\n", "key file k, line 1: it does not begin with awa1: a key looks " +
			"like awa1 member BASE64, and # begins a comment"},
		"a later version": {"awa2 member " + secret, "key file k, line 1: this key was made by a newer version of " +
			"are-we-alive: install that here, or make a key with this one"},
		"no role": {"awa1 " + secret, "key file k, line 1: it has 2 words instead of 3: a key looks like awa1 " +
			"member BASE64"},
		"two keys in one line": {line + " " + line, "key file k, line 1: it has 6 words instead of 3: a key looks like " +
			"awa1 member BASE64"},
		"an unknown role": {"awa1 " + secret + " " + secret, "key file k, line 1: the second word is not a role: write " +
			"member or check"},
		"role in capitals": {"awa1 MEMBER " + secret, "key file k, line 1: the second word is not a role: write " +
			"member or check"},
		"cut": {line[:len(line)-3], "key file k, line 1: the third word is not base64: copy the whole line again, " +
			"nothing more and nothing less"},
		"cut to whole bytes": {"awa1 member " + secret[:40], "key file k, line 1: the key has 30 bytes, and a member key " +
			"has 32: copy the whole line again, nothing more and nothing less"},
		"a check key's length": {strings.Replace(check, "check", "member", 1), "key file k, line 1: the key has 64 " +
			"bytes, and a member key has 32: copy the whole line again, nothing more and nothing less"},
		"a member key's": {strings.Replace(line, "member", "check", 1), "key file k, line 1: the key has 32 bytes, and a " +
			"check key has 64: copy the whole line again, nothing more and nothing less"},
		"two roles": {line + "\n" + check, "key file k, line 2: this is a check key, and the first in the file is a " +
			"member key: keep cluster keys and check keys in files of their own"},
		"too many": {many.String(), "key file k, line 17: this is one key too many, 16 are allowed: remove those that no " +
			"server uses any more"},
		"too large": {strings.Repeat("#", maxKeyFile+1), "key file k: it is larger than 64 KiB: this is not a key file"},
		"NULs": {strings.Repeat("\x00", 99), "key file k, line 1: it does not begin with awa1: a key looks like awa1 " +
			"member BASE64, and # begins a comment"},
		"trailing bits": {"awa1 member " + strings.Repeat("A", 42) + "B=", "key file k, line 1: the third word is not " +
			"base64: copy the whole line again, nothing more and nothing less"},
	} {
		t.Run(name, func(t *testing.T) {
			keys, err := ParseKeys("k", []byte(c.text))
			if err == nil || err.Error() != c.want || keys != nil {
				t.Errorf("%v, %v, want %s", keys, err, c.want)
			}
			if !errors.Is(err, awa.ErrBadInput) {
				t.Error("it is not awa.ErrBadInput")
			}
		})
	}
}

func TestReadFile(t *testing.T) {
	k := NewKey()
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	write := func(name string, mode os.FileMode, text string) {
		if err := os.WriteFile(at(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(at(name), mode); err != nil { // umask or not
			t.Fatal(err)
		}
	}
	link := func(to, name string) {
		if err := os.Symlink(to, at(name)); err != nil {
			t.Fatal(err)
		}
	}
	write("good", 0o600, k.FileText())
	write("read-only", 0o400, k.FileText())
	write("group", 0o640, k.FileText())
	write("others", 0o604, k.FileText())
	write("group writes", 0o620, k.FileText())
	write("huge", 0o600, strings.Repeat("#\n", maxKeyFile))
	if err := syscall.Mkfifo(at("pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	link("good", "link")
	link("group", "link to group")
	link("nowhere", "dangling")
	link(".", "link to folder")
	link("/dev/zero", "link to device")

	for name, c := range map[string]struct {
		file     string
		insecure bool
		want     string // the error's end
	}{
		"good":      {file: "good"},
		"read-only": {file: "read-only"},
		"the group reads": {file: "group", want: "group: other users may read it (its mode is 0640): run chmod 600 on " +
			"it, and make a new key if somebody may have read it"},
		"insecure": {file: "group", insecure: true},
		"others read": {file: "others", want: "(its mode is 0604): run chmod 600 on it, and make a new key if somebody " +
			"may have read it"},
		"the group writes": {file: "group writes", want: "(its mode is 0620): run chmod 600 on it, and make a new key if " +
			"somebody may have read it"},
		"a link": {file: "link"},
		"a link to a loose file": {file: "link to group", want: "(its mode is 0640): run chmod 600 on it, and make a new " +
			"key if somebody may have read it"},
		"none": {file: "none", want: "no such file or directory: make a cluster key with awa-agent key new, or copy the " +
			"file from another server of the cluster"},
		"a link to nowhere": {file: "dangling", want: "no such file or directory: make a cluster key with awa-agent key " +
			"new, or copy the file from another server of the cluster"},
		"a folder":           {file: ".", want: "it is a folder: name the file in it"},
		"a link to a folder": {file: "link to folder", insecure: true, want: "it is a folder: name the file in it"},
		"a pipe":             {file: "pipe", insecure: true, want: "it is a pipe: a key is read from a regular file only"},
		"a link to a device": {file: "link to device", insecure: true, want: "it is a device: a key is read from a " +
			"regular file only"},
		"huge":                     {file: "huge", want: "it is larger than 64 KiB: this is not a key file"},
		"huge, even when insecure": {file: "huge", insecure: true, want: "it is larger than 64 KiB: this is not a key file"},
	} {
		t.Run(name, func(t *testing.T) {
			keys, err := ReadFile(at(c.file), c.insecure)
			if c.want == "" {
				if err != nil || len(keys) != 1 || !keys[0].Equal(k) {
					t.Errorf("%v, %v", keys, err)
				}
				return
			}
			if err == nil || !strings.HasSuffix(err.Error(), c.want) || !strings.Contains(err.Error(), at("")) {
				t.Errorf("%v, want …%s", err, c.want)
			}
		})
	}
	t.Run("none is fs.ErrNotExist", func(t *testing.T) {
		if _, err := ReadFile(at("none"), false); !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
	})
}

func TestWriteFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "cluster.key")
	k := NewKey()
	if err := WriteFile(path, k); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v", info.Mode(), err)
	}
	text, err := os.ReadFile(path)
	if err != nil || !strings.HasPrefix(string(text), "# The key of an are-we-alive cluster.") ||
		!strings.Contains(string(text), "# id "+k.ID()+"\n") {
		t.Errorf("%s", text)
	}
	if keys, err := ReadFile(path, false); err != nil || len(keys) != 1 || !keys[0].Equal(k) {
		t.Errorf("%v, %v", keys, err)
	}
	t.Run("never overwrites", func(t *testing.T) {
		if err := os.Symlink("nowhere", filepath.Join(dir, "link")); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"cluster.key", "link"} {
			err := WriteFile(filepath.Join(dir, name), NewKey())
			if !errors.Is(err, awa.ErrBadInput) || !strings.HasSuffix(err.Error(), "exists already and is never "+
				"overwritten: name another file, or move it away first") {
				t.Error(err)
			}
		}
		if after, _ := os.ReadFile(path); !bytes.Equal(after, text) {
			t.Error("the file changed")
		}
		if _, err := os.Stat(filepath.Join(dir, "nowhere")); err == nil {
			t.Error("it wrote through a link")
		}
	})
	t.Run("leaves nothing behind when it can't write", func(t *testing.T) {
		if err := WriteFile(filepath.Join(dir, "none", "k"), k); !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
	})
	t.Run("a check key says what it is", func(t *testing.T) {
		if text := k.Check().FileText(); !strings.HasPrefix(text, "# The check key of an are-we-alive cluster") ||
			!strings.Contains(text, k.ID()) {
			t.Error(text)
		}
	})
}

func FuzzParseKeys(f *testing.F) {
	k := fixed()
	for _, s := range []string{
		k.FileText(), k.Check().FileText(), k.Line() + "\r\n" + k.Line(), k.Line() + "\n" +
			k.Check().Line(), "", "#", "awa1", "awa1 member", "awa1 check AAAA",
		"awa9 member AAAA", "awa1 member " + strings.Repeat("A", 43) + "=", "awa1\u00a0member AAAA", "\ufeff" +
			k.Line(), k.Line()[:30], "\x00\n\xff",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		keys, err := ParseKeys("FILE", text)
		if err != nil {
			if !errors.Is(err, awa.ErrBadInput) || !strings.HasPrefix(err.Error(), "key file FILE") || len(err.Error()) > 250 {
				t.Errorf("%q", err)
			}
			// No word of the file comes back that is long enough to be a secret.
			for _, word := range bytes.Fields(text) {
				if len(word) >= 12 && strings.Contains(err.Error(), string(word)) &&
					!strings.Contains("key file FILE, line, newer version of are-we-alive: cluster", string(word)) {
					t.Errorf("%q shows %q", err, word)
				}
			}
			return
		}
		if len(keys) == 0 || len(keys) > maxKeys {
			t.Fatalf("%d keys and no error", len(keys))
		}
		var again strings.Builder
		for _, k := range keys {
			if k.Role() != keys[0].Role() || len(k.open().bytes) != sizeOf(k.Role()) {
				t.Errorf("%v", k)
			}
			if !strings.Contains(string(text), base64.StdEncoding.EncodeToString(k.open().bytes)) {
				t.Errorf("%v is not in the file", k)
			}
			again.WriteString(k.FileText())
		}
		if back, err := ParseKeys("FILE", []byte(again.String())); err != nil || !slices.EqualFunc(back, keys, Key.Equal) {
			t.Errorf("read again: %v, %v", back, err)
		}
	})
}
