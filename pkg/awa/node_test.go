package awa

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

func TestCheckName(t *testing.T) {
	for _, name := range []string{"a", "7", "n1", "web-01.example.org", "A_b.c-D", strings.Repeat("x", MaxName)} {
		if err := CheckName(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{"", ".a", "-a", "_a", "a b", "a/b", "a:1", "ä", "a\n", "a\x00",
		strings.Repeat("x", MaxName+1)} {
		if CheckName(name) == nil {
			t.Errorf("%q is taken", name)
		}
	}
}

func TestCheckHost(t *testing.T) {
	long := strings.Repeat(strings.Repeat("x", 49)+".", 5)
	for _, host := range []string{"localhost", "a.example.org", "a.example.org.", "a_b", "10.0.0.1", "::1",
		"fe80::1%eth0", "2001:db8::1", long + "xyz", strings.Repeat("x", 63)} {
		if err := CheckHost(host); err != nil {
			t.Errorf("%q: %v", host, err)
		}
	}
	for _, host := range []string{"", ".", "a..b", ".a", "-a", "a.-b", "a b", "a/b", "[::1]", "::1]", "10.0.0.1:80",
		"fe80::1%", "fe80::1%a b", "1::2::3", "ä", "a\n", long + "wxyz", strings.Repeat("x", 64)} {
		if CheckHost(host) == nil {
			t.Errorf("%q is taken", host)
		}
	}
}

func TestCheckReachable(t *testing.T) {
	for _, host := range []string{"localhost", "a.example.org", "a.example.org.", "10.0.0.1", "127.0.0.1", "::1",
		"fe80::1%eth0", "2001:db8::1", "10.0.0.1a", "1a", "web-1"} {
		if err := CheckReachable(host); err != nil {
			t.Errorf("%q: %v", host, err)
		}
	}
	for host, text := range map[string]string{
		"10.80.0.300": "is not an IPv4 address", "10.0.0": "is not an IPv4 address",
		"10.0.0.1.": "is not an IPv4 address", "7": "is not an IPv4 address",
		"010.0.0.1": "is not an IPv4 address", "0.0.0.0": "every address of a machine", "::": "every address of a machine",
		"::ffff:0.0.0.0": "every address of a machine", "224.0.0.1": "many machines", "ff02::1": "many machines",
		"255.255.255.255": "many machines",
	} {
		if err := CheckReachable(host); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%q: %v", host, err)
		}
	}
}

func TestParseAddr(t *testing.T) {
	for text, want := range map[string]struct {
		host string
		port Port
	}{
		"a": {"a", 7}, "a:1": {"a", 1}, "10.0.0.1": {"10.0.0.1", 7}, "10.0.0.1:65535": {"10.0.0.1", 65535},
		"::1": {"::1", 7}, "[::1]": {"::1", 7}, "[::1]:80": {"::1", 80}, "2001:db8::1": {"2001:db8::1",
			7}, "[fe80::1%eth0]:80": {"fe80::1%eth0", 80},
	} {
		host, port, err := ParseAddr(text, 7)
		if err != nil || host != want.host || port != want.port {
			t.Errorf("%q: got %q, %d, %v", text, host, port, err)
		}
	}
	for text, words := range map[string]string{
		"": "the host is empty", ":80": "the host is empty", "[]": "the host is empty", "a:": "the port after the " +
			"colon is missing",
		"[::1]:": "the port after the colon is missing", "[::1": "the bracket is not closed", "[::1]80": "only :PORT may " +
			"follow the bracket",
		"a:0": `"0" is not a port`, "a:65536": `"65536" is not a port`, "a:http": `"http" is not a port`,
		"a:+1": `"+1" is not a port`, "a:-1": `"-1" is not a port`,
		"a:1:2": "an IPv6 address is written without", "a b": "is not a host", "[a]:1:2": `"1:2" is not a port`,
	} {
		if _, _, err := ParseAddr(text, 7); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%q: got %v, want %q", text, err, words)
		}
	}
}

func FuzzParseAddr(f *testing.F) {
	for _, s := range []string{"a", "a:1", "[::1]:80", "::1", "fe80::1%eth0", "[fe80::1%eth0]", "a:", "[", "a:99999",
		"\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		host, port, err := ParseAddr(s, DefaultPort)
		if err != nil {
			return
		}
		if CheckHost(host) != nil || port == 0 {
			t.Errorf("%q gives %q, %d", s, host, port)
		}
		again, samePort, err := ParseAddr(Addr(host, port), 1)
		if err != nil || again != host || samePort != port {
			t.Errorf("%q gives %q, and that %q, %d, %v", s, Addr(host, port), again, samePort, err)
		}
	})
}

func FuzzCheckName(f *testing.F) {
	for _, s := range []string{"n1", "", ".", "a b", strings.Repeat("x", MaxName+1), "ä", "N1\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if CheckName(s) != nil {
			return
		}
		if len(s) > MaxName || strings.ContainsAny(s, " \t\n/:%\"'\\=,") || NameKey(NameKey(s)) != NameKey(s) ||
			len(NameKey(s)) != len(s) {
			t.Errorf("%q is taken", s)
		}
		if CheckName(NameKey(s)) != nil {
			t.Errorf("%q is a name, and %q is none", s, NameKey(s))
		}
	})
}

func TestPort_JSON(t *testing.T) {
	for text, want := range map[string]Port{`1`: 1, `"1"`: 1, `65535`: 65535, `"25483"`: 25483, ` "7" `: 7} {
		var p Port
		if err := json.Unmarshal([]byte(text), &p); err != nil || p != want {
			t.Errorf("%s: got %d, %v", text, p, err)
		}
	}
	for _, text := range []string{`0`, `"0"`, `-1`, `65536`, `1.0`, `1e3`, `""`, `" 1"`, `"+1"`, `null`, `true`, `{}`,
		`[1]`} {
		var p Port
		if json.Unmarshal([]byte(text), &p) == nil {
			t.Errorf("%s is taken as %d", text, p)
		}
	}
	if b, err := json.Marshal(DefaultPort); err != nil || string(b) != `"25483"` {
		t.Errorf("got %s, %v", b, err)
	}
}

func TestNode_JSON(t *testing.T) {
	for name, n := range map[string]Node{
		"just what it must have": {ID: 1, Name: "n1", Host: "h", Port: 1},
		"everything": {ID: 1, Name: "n1", Host: "::1", Port: 2, UID: NewUID(), Labels: map[string]string{"a": "<b>"},
			Maintenance: "2026-11-23T18:00:00Z", Changed: 9,
			Extra: map[string]json.RawMessage{"rack": json.RawMessage(`{"a":[1,null]}`), "a": json.RawMessage(`""`)}},
		"unknown keys that look like known ones": {ID: 1, Name: "n1", Host: "h", Port: 1,
			Extra: map[string]json.RawMessage{"ID": json.RawMessage(`7`), "Name": json.RawMessage(`"other"`),
				"PORT": json.RawMessage(`true`)}},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := json.Marshal(n)
			if err != nil {
				t.Fatal(err)
			}
			var again Node
			if err := json.Unmarshal(b, &again); err != nil || !reflect.DeepEqual(n, again) {
				t.Errorf("%s reads as %+v, %v", b, again, err)
			}
		})
	}
}

func TestCheckLabels(t *testing.T) {
	many := map[string]string{}
	for i := range MaxLabels + 1 {
		many["k"+Port(i+1).String()] = ""
	}
	if err := CheckLabels(map[string]string{"role": "web", "a.b-c": strings.Repeat("x", MaxLabelValue),
		"u": "ü"}); err != nil {
		t.Error(err)
	}
	for name, labels := range map[string]map[string]string{
		"too many": many, "a bad name": {"a b": ""}, "an empty name": {"": ""}, "too long": {"a": strings.Repeat("x",
			MaxLabelValue+1)},
		"a line feed": {"a": "1\n2"}, "no UTF-8": {"a": "\xff"}, "a delete": {"a": "\x7f"},
	} {
		if CheckLabels(labels) == nil {
			t.Errorf("%s is taken", name)
		}
	}
}
