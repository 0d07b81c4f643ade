package conf

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"are-we-alive/pkg/awa"
)

// Client is which agents a program asks, and with what key.
type Client struct {
	Agents  []string // HOST[:PORT] each, at least one
	KeyFile *string  // nil where check.json names none
	// AgentKeyFile is the key file of this machine's agent.
	AgentKeyFile string
}

// DefaultClient returns what the files of this machine say: the user's check.json, else
// that of the machine, else the agent of this machine as its configuration has it. An
// error is about a check.json.
func DefaultClient() (Client, error) {
	c := localAgent()
	for _, path := range clientFiles() {
		if _, err := os.Stat(path); err == nil {
			return c, c.read(path)
		}
	}
	return c, nil
}

// clientFiles are the places of check.json.
func clientFiles() []string {
	var all []string
	if dir, err := os.UserConfigDir(); err == nil {
		all = append(all, filepath.Join(dir, "are-we-alive", filepath.Base(awa.CheckConfigFile)))
	}
	return append(all, awa.CheckConfigFile)
}

// clientExample is a check.json.
const clientExample = `{"agents": ["web1", "web2:25483"], "key_file": "/home/me/check.key"}`

// read reads a check.json.
func (c *Client) read(path string) error {
	fields, err := Read(path, clientExample)
	if err != nil {
		return err
	}
	for _, key := range slices.Sorted(maps.Keys(fields)) {
		value := fields[key]
		switch key {
		case "agents":
			c.Agents = nil
			if json.Unmarshal(value, &c.Agents) != nil || len(c.Agents) == 0 {
				return fmt.Errorf("%s: agents must be an array of strings, such as [\"web1\", \"web2:25483\"], not %s", path, value)
			}
			if _, err := ParseAgents(c.Agents, awa.DefaultPort); err != nil {
				return fmt.Errorf("%s: agents: %w", path, err)
			}
		case "key_file":
			if json.Unmarshal(value, &c.KeyFile) != nil {
				return fmt.Errorf("%s: key_file must be a string, not %s", path, value)
			}
		default:
			return fmt.Errorf("%s: %q is not a key of this file, which may hold agents and key_file", path, key)
		}
	}
	return nil
}

// ParseAgents reads HOST[:PORT] each, where a word may hold several with commas between.
func ParseAgents(words []string, port awa.Port) ([]string, error) {
	var all []string
	for _, word := range words {
		for one := range strings.SplitSeq(word, ",") {
			host, port, err := awa.ParseAddr(strings.TrimSpace(one), port)
			if err != nil {
				return nil, err
			}
			all = append(all, awa.Addr(host, port))
		}
	}
	return all, nil
}

// localAgent is the agent of this machine. A configuration that can't be used is the
// agent's to complain of: the one that runs may have started with an earlier one.
func localAgent() Client {
	c := Client{Agents: []string{awa.DefaultAgent}, AgentKeyFile: awa.ClusterKeyFile}
	for _, path := range AgentFiles() {
		fields, err := Read(path, "")
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		text := func(key string) (value string) {
			json.Unmarshal(fields[key], &value)
			return value
		}
		addr := listenAddr(text("listen"), strings.Trim(string(fields["my_port"]), `"`))
		if _, err := ParseAgents([]string{addr}, awa.DefaultPort); err == nil {
			c.Agents = []string{addr}
		}
		if file := text("key_file"); file != "" {
			c.AgentKeyFile = file
		}
		break
	}
	return c
}

// AgentFiles are the places of the agent's configuration.
func AgentFiles() []string { return []string{awa.ConfigName, awa.ConfigFile} }

// listenAddr is where to reach an agent that listens there, HOST[:PORT].
func listenAddr(listen, myPort string) string {
	host, port := strings.Trim(listen, "[]"), myPort
	if h, p, err := net.SplitHostPort(listen); err == nil {
		host, port = h, p
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = awa.DefaultAgent
	}
	if port == "" {
		return host
	}
	return net.JoinHostPort(host, port)
}
