package conf

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestNearest(t *testing.T) {
	known := []string{"join", "listen", "my_host", "my_name", "my_port", "watch"}
	for key, want := range map[string]string{
		"my_hots": "my_host", "MY_HOST": "my_host", "my-port": "my_port", "jion": "join", "lisen": "listen",
		"wach": "watch", "quorum": "", "x": "", "": "", "my_nmae_": "my_name",
	} {
		if got := Nearest(key, known); got != want {
			t.Errorf("the nearest of %q is %q, want %q", key, got, want)
		}
	}
}

// TestDefaultClient has the files of a user, in a folder with an agent's configuration.
func TestDefaultClient(t *testing.T) {
	file := "/keys/check.key"
	for name, test := range map[string]struct {
		agent, check string // files, none when ""
		want         Client
		fault        string
	}{
		"nothing":       {want: Client{Agents: []string{"127.0.0.1"}}},
		"listen":        {agent: `{"listen": "10.0.0.2"}`, want: Client{Agents: []string{"10.0.0.2"}}},
		"listen, v6":    {agent: `{"listen": "[fd00::2]:1"}`, want: Client{Agents: []string{"[fd00::2]:1"}}},
		"a port alone":  {agent: `{"listen": ":1"}`, want: Client{Agents: []string{"127.0.0.1:1"}}},
		"everywhere":    {agent: `{"listen": "0.0.0.0", "my_port": 7}`, want: Client{Agents: []string{"127.0.0.1:7"}}},
		"everywhere v6": {agent: `{"listen": "[::]", "my_port": "7"}`, want: Client{Agents: []string{"127.0.0.1:7"}}},
		"my_port":       {agent: `{"my_port": "7"}`, want: Client{Agents: []string{"127.0.0.1:7"}}},
		"any free port": {agent: `{"listen": "127.0.0.1:0"}`, want: Client{Agents: []string{"127.0.0.1"}}},
		"key_file": {agent: `{"key_file": "/keys/a"}`, want: Client{Agents: []string{"127.0.0.1"},
			AgentKeyFile: "/keys/a"}},
		"not JSON": {agent: `{`, want: Client{Agents: []string{"127.0.0.1"}}},
		"check.json": {agent: `{"listen": "10.0.0.2"}`, check: `{"agents": ["a", "b:7"], "key_file": "/keys/check.key"}`,
			want: Client{Agents: []string{"a", "b:7"}, KeyFile: &file}},
		"no agents in it": {agent: `{"listen": "10.0.0.2"}`, check: `{"key_file": "/keys/check.key"}`,
			want: Client{Agents: []string{"10.0.0.2"}, KeyFile: &file}},
		"check.json cut off": {check: `{"agents": ["a"`, fault: "FILE:1:16 is not JSON: the file ends too early; it looks like " +
			clientExample},
		"an unknown key in it": {check: `{"agent": ["a"]}`,
			fault: `FILE: "agent" is not a key of this file, which may hold agents and key_file`},
		"agents of a wrong type": {check: `{"agents": "a"}`,
			fault: `FILE: agents must be an array of strings, such as ["web1", "web2:25483"], not "a"`},
		"no agent": {check: `{"agents": []}`,
			fault: `FILE: agents must be an array of strings, such as ["web1", "web2:25483"], not []`},
		"an agent that is none": {check: `{"agents": ["a b"]}`,
			fault: `FILE: agents: "a b" is not a host: give a DNS name or an IP address`},
		"key_file of a wrong type": {check: `{"key_file": 7}`, fault: "FILE: key_file must be a string, not 7"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			home := t.TempDir()
			t.Setenv("XDG_CONFIG_HOME", home)
			path := filepath.Join(home, "are-we-alive", "check.json")
			write := func(path, text string) {
				if text == "" {
					return
				}
				if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			write("cluster_info.json", test.agent)
			write(path, test.check)
			if test.want.AgentKeyFile == "" {
				test.want.AgentKeyFile = "/etc/are-we-alive/cluster.key"
			}
			got, err := DefaultClient()
			switch {
			case test.fault != "":
				if err == nil || strings.ReplaceAll(strings.TrimPrefix(err.Error(), "the configuration "), path, "FILE") != test.fault {
					t.Errorf("%v, want %s", err, test.fault)
				}
			case err != nil || !reflect.DeepEqual(got, test.want):
				t.Errorf("%+v, %v, want %+v", got, err, test.want)
			}
		})
	}
}
