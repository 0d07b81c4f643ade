package main

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/report"
)

// The formats of -o.
const (
	formatNagios = "nagios"
	formatTable  = "table"
	formatInflux = "influx"
	formatJSON   = "json"
)

// defaultTimeout is that of -t. An agent takes at most 2.2 s.
const defaultTimeout = 4 * time.Second

// The shortest and the longest -t.
const (
	minTimeout = 100 * time.Millisecond
	maxTimeout = 24 * time.Hour
)

// flags is the command line as kong reads it. Kong's own -h isn't used, since
// it exits with 0.
type flags struct {
	Host     []string `short:"H" name:"hostname" placeholder:"HOST[:PORT]" help:"Agent to ask: the first that answers. May be given several times. Default: 127.0.0.1"`
	Port     string   `short:"p" default:"25483" placeholder:"PORT" help:"Port of an agent given without one. Default: 25483"`
	Timeout  string   `short:"t" default:"4" placeholder:"SECONDS" help:"The plugin has ended by then. Default: 4"`
	KeyFile  *string  `short:"k" placeholder:"FILE" help:"Check key or cluster key; an empty name is none. Default: /etc/are-we-alive/check.key, then cluster.key, where they exist"`
	Warning  string   `short:"w" placeholder:"RANGE" help:"WARNING when the number of nodes not alive is outside this range, such as 1 or 10%. Default: none"`
	Critical string   `short:"c" default:"0" placeholder:"RANGE" help:"CRITICAL when it is outside this one; ~: is none. Default: 0"`
	Output   string   `short:"o" default:"nagios" placeholder:"FORMAT" help:"nagios, table, influx or json. Default: nagios"`
	Verbose  int      `short:"v" type:"counter" help:"Add the table of all nodes to the plugin's line."`
	Version  bool     `short:"V" help:"Print the version."`
	Help     bool     `short:"h" help:"Print this."`
}

const description = `Asks an agent which servers of its cluster are alive.

Exit code: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN; with -o influx 0 whenever lines were printed. ` +
	`A node under maintenance never counts. When no agent answers, that is CRITICAL.

    check_awa -v                        the agent on this host, for a person
    check_awa -H n1 -H n2 -w 0 -c 25%   the first agent that answers
    check_awa -H n1 -o influx           for Telegraf`

// config is what the command line asks for, checked.
type config struct {
	agents  []string // host:port, at least one
	keyFile *string  // nil: the usual ones; "": none
	timeout time.Duration
	rules   report.Rules
	format  string
	verbose int
}

// parse reads the command line. With -h or -V it gives the text to print
// instead of a config.
func parse(args []string) (cfg config, help string, err error) {
	var f flags
	var out bytes.Buffer
	k, err := kong.New(&f, kong.Name("check_awa"), kong.Description(description), kong.NoDefaultHelp(),
		kong.Writers(&out, &out), kong.Exit(func(int) {}), kong.KindMapper(reflect.String, kong.MapperFunc(readValue)))
	if err != nil {
		panic(err) // the tags of flags are wrong
	}
	kctx, err := k.Parse(args)
	switch {
	case err != nil:
		return config{}, "", err
	case f.Help:
		err = kctx.PrintUsage(false)
		return config{}, out.String(), err
	case f.Version:
		return config{}, "check_awa v" + awa.Version + " (are-we-alive)\n", nil
	}
	cfg, err = f.config()
	return cfg, "", err
}

// readValue is kong's own but for its words when the value is missing.
func readValue(ctx *kong.DecodeContext, target reflect.Value) error {
	if ctx.Scan.Peek().IsEOL() {
		return errors.New("its value is missing")
	}
	return ctx.Scan.PopValueInto("string", target.Addr().Interface())
}

// config checks the flags.
func (f flags) config() (config, error) {
	c := config{format: f.Output, verbose: f.Verbose, keyFile: f.KeyFile}
	if !slices.Contains([]string{formatNagios, formatTable, formatInflux, formatJSON}, c.format) {
		return config{}, fmt.Errorf("bad -o: %q is no format: use nagios, table, influx or json", f.Output)
	}
	port, err := awa.ParsePort(f.Port)
	if err != nil {
		return config{}, fmt.Errorf("bad -p: %w", err)
	}
	hosts := f.Host
	if len(hosts) == 0 {
		hosts = []string{"127.0.0.1"}
	}
	for _, h := range hosts {
		host, port, err := awa.ParseAddr(h, port)
		if err != nil {
			return config{}, fmt.Errorf("bad -H: %w", err)
		}
		c.agents = append(c.agents, awa.Addr(host, port))
	}
	if c.timeout, err = parseTimeout(f.Timeout); err != nil {
		return config{}, fmt.Errorf("bad -t: %w", err)
	}
	if f.Warning != "" {
		if c.rules.Warning, err = report.ParseThreshold(f.Warning); err != nil {
			return config{}, fmt.Errorf("bad -w: %w", err)
		}
	}
	if c.rules.Critical, err = report.ParseThreshold(f.Critical); err != nil {
		return config{}, fmt.Errorf("bad -c: %w", err)
	}
	return c, nil
}

// parseTimeout reads seconds (4, 0.5) or a duration of Go (4s, 500ms).
func parseTimeout(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if seconds, e := strconv.ParseFloat(s, 64); e == nil && !math.IsNaN(seconds) {
		seconds = min(max(seconds, -1), 2*maxTimeout.Seconds()) // what a Duration holds
		d, err = time.Duration(seconds*float64(time.Second)), nil
	}
	switch {
	case err != nil:
		return 0, fmt.Errorf("%q is no time: give seconds such as 4 or 0.5", s)
	case d < minTimeout || d > maxTimeout:
		return 0, fmt.Errorf("%s is not from 0.1 to 86400 seconds", s)
	}
	return d, nil
}

// formatOf finds the format in a command line that may be unusable, so that a
// reader of JSON gets JSON in any case.
func formatOf(args []string) string {
	for i, a := range args {
		for _, flag := range []string{"-o", "--output"} {
			rest, ok := strings.CutPrefix(a, flag)
			if ok && (strings.TrimPrefix(rest, "=") == formatJSON || rest == "" && i+1 < len(args) && args[i+1] == formatJSON) {
				return formatJSON
			}
		}
	}
	return formatNagios
}
