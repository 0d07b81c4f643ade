package test

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestClient_agents has an agent that listens at an address which is not the usual one, and
// asks it from its own folder, by the environment, and by the file of a workstation.
func TestClient_agents(t *testing.T) {
	t.Parallel()
	a := newCluster(t, 1).agents[0]
	_, port, _ := strings.Cut(a.addr(), ":")
	server, workstation, dead := t.TempDir(), t.TempDir(), "127.0.0.1:1"
	write(t, filepath.Join(server, "cluster_info.json"), `{"listen": "`+a.addr()+`"}`)
	write(t, filepath.Join(workstation, "are-we-alive", "check.json"), `{"agents": ["`+dead+`", "`+a.addr()+`"]}`)
	cut := t.TempDir()
	write(t, filepath.Join(cut, "are-we-alive", "check.json"), `{"agents": ["web1"`)
	home := func(dir string) string { return "XDG_CONFIG_HOME=" + dir }
	for name, test := range map[string]struct {
		dir   string
		env   []string
		args  []string // of both programs
		fault string   // what both say, "" when they reach the agent
	}{
		"the agent's configuration":             {dir: server},
		"the environment":                       {env: []string{"AWA_AGENT=" + dead + "," + a.addr()}},
		"a workstation":                         {env: []string{home(workstation)}},
		"the environment comes first":           {env: []string{home(workstation), "AWA_AGENT=" + dead}, fault: dead},
		"the file comes before the local agent": {dir: server, env: []string{home(workstation)}},
		"empty is unset":                        {env: []string{home(workstation), "AWA_AGENT="}},
		"the flag comes first":                  {env: []string{"AWA_AGENT=" + dead}, args: []string{"FLAG", a.addr()}},
		"the flag, several":                     {args: []string{"FLAG", dead + "," + a.addr()}},
		"a file cut off": {env: []string{home(cut)}, fault: cut +
			"/are-we-alive/check.json:1:19 is not JSON: the file ends too early"},
		"nothing": {env: []string{home(t.TempDir())}, fault: "127.0.0.1:25483"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := test.dir
			if dir == "" {
				dir = t.TempDir()
			}
			for program, flag := range map[string]string{"check_awa": "-H", "awa-agent": "--agent"} {
				var args []string
				if program == "awa-agent" {
					args = []string{"node", "list"}
				}
				for _, arg := range test.args {
					args = append(args, strings.Replace(arg, "FLAG", flag, 1))
				}
				r := runIn(t, dir, test.env, program, args...)
				switch said := r.out + r.errors; {
				case test.fault != "" && (r.code == 0 || !strings.Contains(said, test.fault)):
					t.Errorf("%s: %+v, want %s", program, r, test.fault)
				case test.fault == "" && (r.code != 0 || r.errors != ""):
					t.Errorf("%s: %+v", program, r)
				}
			}
		})
	}
	t.Run("-p without -H", func(t *testing.T) {
		if r := run(t, "check_awa", "-p", port); r.code != 0 {
			t.Errorf("%+v", r)
		}
	})
}
