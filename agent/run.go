package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
	"golang.org/x/term"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/daemon"
)

// runCmd is awa-agent run. Every flag but --config may stand in the
// configuration file under its name with _ for -.
type runCmd struct {
	keyFlag
	Config      string        `placeholder:"FILE" env:"AWA_CONFIG" help:"${help_config}"`
	MyName      string        `placeholder:"NAME" env:"AWA_MY_NAME" help:"Name of this node; the host's name by default."`
	MyHost      string        `placeholder:"HOST" env:"AWA_MY_HOST" help:"${help_my_host}"`
	MyPort      string        `placeholder:"PORT" env:"AWA_MY_PORT" help:"${help_my_port}"`
	Ephemeral   time.Duration `placeholder:"TIME" env:"AWA_EPHEMERAL" help:"${help_ephemeral}"`
	Listen      string        `placeholder:"ADDR[:PORT]" env:"AWA_LISTEN" help:"${help_listen}"`
	DataDir     string        `placeholder:"DIR" default:"${data_dir}" env:"AWA_DATA_DIR" help:"${help_data_dir}"`
	First       bool          `env:"AWA_FIRST" help:"${help_first}"`
	ClusterName string        `placeholder:"NAME" env:"AWA_CLUSTER_NAME" help:"${help_cluster_name}"`
	Join        []string      `placeholder:"HOST[:PORT]" env:"AWA_JOIN" help:"${help_join}"`
	TakeOver    bool          `help:"Replace the agent that holds this node's name or entry at once; stop the other one."`
	Insecure    bool          `env:"AWA_INSECURE" help:"${help_insecure}"`
	Watch       time.Duration `placeholder:"TIME" default:"${watch}" env:"AWA_WATCH" help:"${help_watch}"`
	PingTimeout time.Duration `placeholder:"TIME" default:"${ping_timeout}" env:"AWA_PING_TIMEOUT" help:"${help_ping_timeout}"`
	Web         string        `placeholder:"ADDR[:PORT]" env:"AWA_WEB" help:"${help_web}"`
	WebNodes    string        `enum:"all,own,none" default:"${web_nodes}" env:"AWA_WEB_NODES" help:"${help_web_nodes}"`
	OnEvent     string        `placeholder:"PROGRAM" env:"AWA_ON_EVENT" help:"${help_on_event}"`
	LogFormat   string        `enum:"text,json" default:"${log_format}" env:"AWA_LOG_FORMAT" help:"${help_log_format}"`
	LogLevel    string        `enum:"debug,info,warn,error" default:"${log_level}" env:"AWA_LOG_LEVEL" help:"${help_log_level}"`

	Label map[string]string `placeholder:"K=V" mapsep:"none" help:"${help_label}"`

	rejoin bool // --join stands on the command line, by hand
	// onEventGiven: --on-event stands on the command line or in the environment.
	onEventGiven bool
	unknown      []unknownKey // of the configuration file
	noKey        bool         // there was no key file where one is looked for
}

// AfterApply notes what was given by hand, and not in the configuration.
func (c *runCmd) AfterApply(ctx *kong.Context) error {
	byHand := func(flag string) bool {
		return slices.ContainsFunc(ctx.Path, func(p *kong.Path) bool {
			return p.Flag != nil && p.Flag.Name == flag && !p.Resolved
		})
	}
	_, inEnvironment := os.LookupEnv(envOnEvent)
	c.rejoin, c.onEventGiven = byHand("join"), byHand("on-event") || inEnvironment
	return nil
}

// Run runs the agent until ctx ends. Where it has to start again, the process stays the
// same, since that is the one that systemd knows.
func (c *runCmd) Run(ctx context.Context, end *ending, std streams) error {
	ctx, restart := context.WithCancelCause(ctx)
	defer restart(nil)
	err := c.serve(ctx, restart, end, std)
	if err == nil && errors.Is(context.Cause(ctx), errRestart) {
		return fmt.Errorf("start again: %w", syscall.Exec("/proc/self/exe", os.Args, os.Environ()))
	}
	return err
}

// serve runs the agent once.
func (c *runCmd) serve(ctx context.Context, restart context.CancelCauseFunc, end *ending, std streams) error {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP) // before the agent is open it would end it
	defer signal.Stop(hangups)
	handler := c.logHandler(isJournal(std.err))
	lines := newLogLines(std.err, func(out io.Writer, lost int) error {
		r := slog.NewRecord(time.Now(), slog.LevelWarn, "lines of this log were lost, since its reader was slow or gone", 0)
		r.AddAttrs(slog.Int("lines", lost))
		return handler(out).Handle(context.Background(), r)
	})
	defer lines.close()
	log := slog.New(handler(lines))
	for _, key := range c.unknown {
		key.warn(log)
	}
	cfg, err := c.config(log)
	if err != nil {
		return usageError{err}
	}
	if in, ok := std.in.(*os.File); ok && term.IsTerminal(int(in.Fd())) {
		cfg.Ask = func() (bool, string, error) { return askUntil(ctx, std.in, std.out) }
	}
	d, err := daemon.Open(cfg)
	if errors.Is(err, awa.ErrBadInput) {
		return usageError{err}
	}
	if err != nil {
		return err
	}
	end.serving.Store(true)
	c.noKey = cfg.KeyFile == "" && c.KeyFile == nil
	defer supervise(ctx, reloading{d, c, log, restart}, log, hangups)()
	return errors.Join(d.Run(ctx), d.Close())
}

// logHandler returns what makes the log's handler.
func (c *runCmd) logHandler(journal bool) func(io.Writer) slog.Handler {
	var level slog.Level
	level.UnmarshalText([]byte(c.LogLevel)) // kong let only levels through
	opts := &slog.HandlerOptions{Level: level}
	return func(w io.Writer) slog.Handler {
		switch {
		case c.LogFormat == "json":
			return slog.NewJSONHandler(w, opts)
		case journal:
			return journalHandler(w, level)
		}
		return slog.NewTextHandler(w, opts)
	}
}

// config turns the flags into the agent's configuration.
func (c *runCmd) config(log *slog.Logger) (daemon.Config, error) {
	began := time.Now()
	cfg := daemon.Config{
		Name: c.MyName, Host: c.MyHost, Labels: c.Label, Listen: c.Listen, DataDir: c.DataDir,
		First: c.First, ClusterName: c.ClusterName, Join: c.Join, Rejoin: c.rejoin, TakeOver: c.TakeOver,
		KeyFile: c.path(), Insecure: c.Insecure,
		Watch: c.Watch, PingTimeout: c.PingTimeout, Web: c.Web, WebNodes: c.WebNodes, OnEvent: c.OnEvent,
		BootID:     os.Getenv(envBootID),
		StopReason: func() awa.StopReason { return stopReason(began) }, Log: log,
	}
	if c.Ephemeral != 0 {
		cfg.Ephemeral = c.Ephemeral.String()
	}
	host, err := os.Hostname()
	if err != nil && (cfg.Name == "" || cfg.Host == "") {
		return cfg, fmt.Errorf("the host's name can't be read (%w): set my_name and my_host", err)
	}
	if cfg.Name == "" {
		cfg.Name = host
	}
	if cfg.Host == "" {
		cfg.Host = host
	}
	if c.MyPort != "" {
		cfg.Port, err = awa.ParsePort(c.MyPort)
		if err != nil {
			return cfg, fmt.Errorf("my_port: %w", err)
		}
	}
	if c.Watch == 0 || c.PingTimeout == 0 { // which is the default in a Config, and was not meant as that
		return cfg, errors.New("watch and ping_timeout must not be 0: leave them out for the defaults")
	}
	return cfg, cfg.Validate()
}

// errNoAnswer is the original program's question left open.
var errNoAnswer = usageError{errors.New("no answer: use --first, or --join HOST[:PORT]")}

// askUntil asks until ctx ends. Nothing interrupts a read from a terminal, so
// the goroutine that reads then ends with the process.
func askUntil(ctx context.Context, in io.Reader, out io.Writer) (first bool, join string, err error) {
	type answer struct {
		first bool
		join  string
		err   error
	}
	answered := make(chan answer, 1)
	go func() {
		first, join, err := ask(in, out)
		answered <- answer{first, join, err}
	}()
	select {
	case a := <-answered:
		return a.first, a.join, a.err
	case <-ctx.Done():
		return false, "", errNoAnswer
	}
}

// ask asks the original program's question: whether this is the first node,
// and else where to find another one.
func ask(in io.Reader, out io.Writer) (first bool, join string, err error) {
	lines := bufio.NewScanner(in)
	next := func(question string) (string, error) {
		fmt.Fprint(out, question+" ")
		if !lines.Scan() {
			return "", errors.Join(lines.Err(), errNoAnswer)
		}
		return strings.TrimSpace(lines.Text()), nil
	}
	for {
		answer, err := next("Is this the first node in the cluster? (yes/no)")
		if err != nil {
			return false, "", err
		}
		switch strings.ToLower(answer) {
		case "y", "yes":
			return true, "", nil
		case "n", "no":
		default:
			fmt.Fprintln(out, "Please answer yes or no.")
			continue
		}
		break
	}
	for {
		host, err := next("Host name or address of a node that runs:")
		if err != nil {
			return false, "", err
		}
		port, err := next(fmt.Sprintf("Its port (%s):", awa.DefaultPort))
		if err != nil {
			return false, "", err
		}
		if port == "" {
			port = awa.DefaultPort.String()
		}
		p, err := awa.ParsePort(port)
		if err == nil {
			err = awa.CheckHost(host)
		}
		if err == nil {
			return false, awa.Addr(host, p), nil
		}
		fmt.Fprintf(out, "%v.\n", err)
	}
}
