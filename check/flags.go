package main

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/conf"
	"are-we-alive/pkg/report"
)

// defaultTimeout is that of -t. An agent takes at most 2.2 s.
const defaultTimeout = 4 * time.Second

// seconds writes a time as -t and the ranges take it.
func seconds(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'g', -1, 64) }

// The shortest and the longest -t.
const (
	minTimeout = 100 * time.Millisecond
	maxTimeout = 24 * time.Hour
)

// flags is the command line as kong reads it. Kong's own -h isn't used, since
// it exits with 0. What each flag means stands in explain, since kong would take
// it apart at every start, which costs a tenth of a run.
type flags struct {
	Host     []string `short:"H" name:"hostname" env:"AWA_AGENT"`
	Port     string   `short:"p"`
	Timeout  string   `short:"t"`
	KeyFile  *string  `short:"k" env:"AWA_KEY_FILE"`
	Warning  string   `short:"w"`
	Critical string   `short:"c"`

	UnreachableWarning  string
	UnreachableCritical string
	BehindWarning       string
	BehindCritical      string
	SkewWarning         string
	SkewCritical        string
	RTTWarning          string `name:"rtt-warning"`
	RTTCritical         string `name:"rtt-critical"`
	NoMajorityState     string
	StoppedState        string
	Health              []string `sep:"none"`
	NoAnswerState       string   `default:"critical"`
	TimeoutState        string   `default:"unknown"`

	// Without sep kong would take an empty name, which a macro may leave, for none.
	Node    []string `sep:"none" complete:"node"`
	Label   []string `sep:"none"`
	Exclude []string `sep:"none"`

	Output   string `short:"o"`
	Perfdata string `default:"cluster"`
	Problems bool
	Sort     string
	Color    string `default:"auto"`
	Mesh     bool
	Watch    string `type:"optional" default:""`
	Wait     string
	Verbose  int  `short:"v" type:"counter"`
	Version  bool `short:"V"`
	Help     bool `short:"h"`
}

// The values of --perfdata.
const (
	perfdataCluster = "cluster"
	perfdataNodes   = "nodes"
)

// config is what the command line asks for, checked.
type config struct {
	agents    []string // host:port, at least one
	keyFile   *string  // nil: keyFiles; "": none
	keyFiles  []string // the usual places, searched in turn
	timeout   time.Duration
	rules     report.Rules
	noAnswer  report.State // when no agent answers
	tooLate   report.State // likewise, when the time was over for one of them
	selection report.Selection
	format    report.Format
	options   report.Options
	color     colorMode
	watch     time.Duration // how often to look, on a terminal; 0 looks once
	wait      time.Duration // how long to look again until it is OK; 0 looks once
}

// parse reads the command line. With -h or -V it returns the text to print
// instead of a config.
func parse(args []string) (cfg config, help string, err error) {
	var f flags
	var out bytes.Buffer
	kctx, err := newParser(&f, kong.Writers(&out, &out)).Parse(args)
	switch {
	case err != nil:
		return config{}, "", err
	case f.Help:
		explain(kctx.Model)
		err = kctx.PrintUsage(false)
		return config{}, out.String(), err
	case f.Version:
		return config{}, "check_awa v" + awa.Version + " (are-we-alive)\n", nil
	}
	cfg, err = f.config()
	return cfg, "", err
}

// newParser knows the command line, except what help says of it: see explain.
func newParser(f *flags, options ...kong.Option) *kong.Kong {
	k, err := kong.New(f, append(options, kong.Name("check_awa"), kong.NoDefaultHelp(), kong.Exit(func(int) {}),
		kong.KindMapper(reflect.String, kong.MapperFunc(readValue)), kong.NamedMapper("optional", optionalValue{}))...)
	if err != nil {
		panic(err) // the tags of flags are wrong
	}
	// Not as kong.Vars: kong interpolates each variable again for each flag, which takes a tenth of a run.
	defaults := map[string]string{
		"port": awa.DefaultPort.String(), "timeout": seconds(defaultTimeout), "output": report.DefaultFormat().Name,
		"sort": report.DefaultOrder().Name, "critical": report.DefaultSetting("critical"),
		"skew-warning": report.DefaultSetting("skew-warning"), "stopped-state": report.DefaultSetting("stopped-state"),
		"unreachable-warning": report.DefaultSetting("unreachable-warning"),
		"no-majority-state":   report.DefaultSetting("no-majority-state"),
	}
	for _, flag := range k.Model.Flags {
		if value, ok := defaults[flag.Name]; ok {
			flag.Default, flag.HasDefault = value, true
		}
	}
	return k
}

// readValue is kong's own except for its words when the value is missing.
func readValue(ctx *kong.DecodeContext, target reflect.Value) error {
	if ctx.Scan.Peek().IsEOL() {
		return errors.New("its value is missing")
	}
	return ctx.Scan.PopValueInto("string", target.Addr().Interface())
}

// optionalValue reads a flag that may stand without a value: --watch or --watch=5s.
type optionalValue struct{}

// IsBool implements kong.BoolMapper: the next word is not its value.
func (optionalValue) IsBool() bool { return true }

// Decode implements kong.Mapper.
func (optionalValue) Decode(ctx *kong.DecodeContext, target reflect.Value) error {
	value := seconds(defaultWatch)
	if ctx.Scan.Peek().Type == kong.FlagValueToken {
		value = ctx.Scan.Pop().String()
	}
	target.SetString(value)
	return nil
}

// config checks the flags.
func (f flags) config() (config, error) {
	c := config{options: report.Options{Verbose: f.Verbose, Mesh: f.Mesh, Problems: f.Problems}}
	var err error
	if c.format, err = report.ParseFormat(f.Output); err != nil {
		return config{}, fmt.Errorf("bad -o: %w", err)
	}
	switch f.Perfdata {
	case perfdataCluster:
	case perfdataNodes:
		c.options.NodePerfdata = true
	default:
		return config{}, fmt.Errorf("bad --perfdata: %q is neither cluster nor nodes", f.Perfdata)
	}
	if err = f.ask(&c); err != nil {
		return config{}, err
	}
	if c.timeout, err = parseTime(f.Timeout, minTimeout, maxTimeout); err != nil {
		return config{}, fmt.Errorf("bad -t: %w", err)
	}
	if c.rules, c.selection, err = f.settings().Parse(); err != nil {
		return config{}, badFlag(err)
	}
	for _, state := range []struct {
		flag, value string
		to          *report.State
	}{
		{"--no-answer-state", f.NoAnswerState, &c.noAnswer},
		{"--timeout-state", f.TimeoutState, &c.tooLate},
	} {
		if *state.to, err = report.ParseState(state.value); err != nil {
			return config{}, fmt.Errorf("bad %s: %w", state.flag, err)
		}
	}
	if err := f.layout(&c); err != nil {
		return config{}, err
	}
	return c, f.repeat(&c)
}

// layout checks the flags that say how the nodes are shown.
func (f flags) layout(c *config) (err error) {
	if c.options.Order, err = report.ParseOrder(f.Sort); err != nil {
		return fmt.Errorf("bad --sort: %w", err)
	}
	if c.color, err = parseColor(f.Color); err != nil {
		return fmt.Errorf("bad --color: %w", err)
	}
	for _, flag := range []struct {
		name       string
		given, has bool
	}{
		{"--mesh", f.Mesh, c.format.ShowsMesh()},
		{"--problems", f.Problems, c.format.ShowsRows()},
		{"--sort", f.Sort != report.DefaultOrder().Name, c.format.ShowsRows()},
	} {
		if flag.given && !flag.has {
			return fmt.Errorf("bad %s: the format %s does not have it, so leave out one of the two", flag.name, c.format.Name)
		}
	}
	return nil
}

// The default of --watch, and its bounds.
const (
	defaultWatch = 2 * time.Second
	minWatch     = 500 * time.Millisecond
	maxWatch     = time.Hour
)

// repeat checks the flags that have it look more than once.
func (f flags) repeat(c *config) (err error) {
	if f.Watch != "" {
		if c.watch, err = parseTime(f.Watch, minWatch, maxWatch); err != nil {
			return fmt.Errorf("bad --watch: %w", err)
		}
		switch {
		case f.Wait != "":
			return errors.New("bad --watch: it shows the cluster until you quit, so leave out --wait")
		case c.format.Name == report.DefaultFormat().Name:
			c.format = tableFormat()
		case c.format.Name != tableFormat().Name:
			return fmt.Errorf("bad --watch: it shows the table, so leave out -o %s", c.format.Name)
		}
	}
	if f.Wait != "" {
		if c.wait, err = parseTime(f.Wait, minTimeout, maxTimeout); err != nil {
			return fmt.Errorf("bad --wait: %w", err)
		}
	}
	return nil
}

// tableFormat is the format for a person.
func tableFormat() report.Format {
	table, err := report.ParseFormat("table")
	if err != nil {
		panic(err)
	}
	return table
}

// ask reads the flags that say which agents are asked, and with what key.
func (f flags) ask(c *config) error {
	port, err := awa.ParsePort(f.Port)
	if err != nil {
		return fmt.Errorf("bad -p: %w", err)
	}
	hosts := f.Host
	if c.keyFile = f.KeyFile; len(hosts) == 0 || c.keyFile == nil {
		usual, err := conf.DefaultClient()
		if err != nil {
			return err
		}
		if len(hosts) == 0 {
			hosts = usual.Agents
		}
		if c.keyFile == nil {
			c.keyFile = usual.KeyFile
		}
		c.keyFiles = []string{awa.CheckKeyFile, usual.AgentKeyFile}
	}
	if c.agents, err = conf.ParseAgents(hosts, port); err != nil {
		return fmt.Errorf("bad -H: %w", err)
	}
	return nil
}

// settings returns the flags that say what is a problem, and of which nodes.
func (f flags) settings() report.Settings {
	var s report.Settings
	for name, value := range map[string]string{
		"warning": f.Warning, "critical": f.Critical,
		"unreachable-warning": f.UnreachableWarning, "unreachable-critical": f.UnreachableCritical,
		"behind-warning": f.BehindWarning, "behind-critical": f.BehindCritical,
		"skew-warning": f.SkewWarning, "skew-critical": f.SkewCritical,
		"rtt-warning": f.RTTWarning, "rtt-critical": f.RTTCritical,
		"no-majority-state": f.NoMajorityState, "stopped-state": f.StoppedState,
	} {
		s.Set(name, value)
	}
	for name, values := range map[string][]string{"node": splitNames(f.Node), "label": f.Label, "exclude": f.Exclude,
		"health": f.Health} {
		for _, value := range values {
			s.Set(name, value)
		}
	}
	return s
}

// splitNames returns the names of words that may hold several, with commas between.
func splitNames(words []string) (names []string) {
	for _, word := range words {
		names = append(names, strings.Split(word, ",")...)
	}
	return names
}

// badFlag is what a person reads of a setting that is wrong.
func badFlag(err error) error {
	wrong, ok := errors.AsType[*report.SettingError](err)
	if !ok {
		return err
	}
	flag := "--" + wrong.Name
	if short := map[string]string{"warning": "-w", "critical": "-c"}[wrong.Name]; short != "" {
		flag = short
	}
	return fmt.Errorf("bad %s: %w", flag, wrong.Err)
}

// parseTime reads seconds (4, 0.5) or a duration of Go (4s, 500ms, 5m), from least to most.
func parseTime(s string, least, most time.Duration) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if seconds, e := strconv.ParseFloat(s, 64); e == nil && !math.IsNaN(seconds) {
		seconds = min(max(seconds, -1), 2*most.Seconds()) // what a Duration holds
		d, err = time.Duration(seconds*float64(time.Second)), nil
	}
	switch {
	case err != nil:
		return 0, fmt.Errorf("%q is not a time: give seconds such as 4 or 0.5", s)
	case d < least || d > most:
		return 0, fmt.Errorf("%s is not from %s to %s seconds", s, seconds(least), seconds(most))
	}
	return d, nil
}

// formatOf returns the format to answer a command line in that may be unusable: the one that
// it asks for where the reader understands nothing else.
func formatOf(args []string) report.Format {
	for i, a := range args {
		for _, flag := range []string{"-o", "--output"} {
			value, ok := strings.CutPrefix(a, flag)
			if !ok {
				continue
			}
			if value == "" && i+1 < len(args) {
				value = args[i+1]
			}
			if f, err := report.ParseFormat(strings.TrimPrefix(value, "=")); err == nil && f.Strict() {
				return f
			}
		}
	}
	return report.DefaultFormat()
}
