// Awa-agent runs on every server of a cluster, and edits its node list.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"are-we-alive/pkg/conf"
)

// Exit codes of awa-agent.
const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 2 // wrong usage or configuration
)

const (
	// endGrace is how long a command may take to end by itself after a signal:
	// one that waits for another agent stops waiting, and says what is known.
	endGrace = 500 * time.Millisecond
	// oneSignal is the time within which a second signal counts as the first
	// one, which timeout(1) and some shells send to a process twice.
	oneSignal = 200 * time.Millisecond
)

func main() {
	conf.UnsetEmpty()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second signal then ends the process at once, whatever it is doing.
	context.AfterFunc(ctx, func() { time.AfterFunc(oneSignal, stop) })
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// cli is the command line.
type cli struct {
	Run     runCmd     `cmd:"" help:"Run the agent of this server."`
	Key     keyCmd     `cmd:"" help:"Make the key of a cluster, and what is derived from it."`
	Node    nodeCmd    `cmd:"" help:"Read and edit the node list."`
	Cluster clusterCmd `cmd:"" help:"Name the cluster."`
	Changes changesCmd `cmd:"" help:"Show who changed the node list, and when."`
	Events  eventsCmd  `cmd:"" help:"Show what happened to the nodes, as the agent asked saw it."`
	Backup  backupCmd  `cmd:"" help:"Save the node list of a running agent to a file."`
	Restore restoreCmd `cmd:"" help:"Begin again with the node list of a backup, on a stopped agent."`
	Recover recoverCmd `cmd:"" help:"Make a stopped agent the only voter of a new history, when most voters are lost for good."`

	Version kong.VersionFlag `short:"V" help:"Show the version."`
}

// streams are where a command reads and writes.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// usageError is wrong usage or configuration: exit code 2.
type usageError struct{ error }

// Unwrap returns the cause.
func (e usageError) Unwrap() error { return e.error }

// errEnded is what a command that did not end by itself after a signal is left
// with. All commands can be repeated: what was done already is refused then.
var errEnded = errors.New("ended by a signal before it was done: try it again, nothing is done twice")

// ending is what happens when a signal comes.
type ending struct {
	// serving is set once the agent serves: it ends by itself, within a few
	// seconds.
	serving atomic.Bool
}

// run is main with all that it touches handed in; it returns the exit code.
// When ctx ends it returns soon, whatever the command is doing: a read from a
// dead file system or a name server that doesn't answer can't be interrupted.
// What is left of the command then ends with the process.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	var end ending
	done := make(chan int, 1)
	go func() { done <- execute(ctx, &end, args, streams{stdin, stdout, stderr}) }()
	select {
	case code := <-done:
		return code
	case <-ctx.Done():
	}
	select {
	case code := <-done:
		return code
	case <-time.After(endGrace):
	}
	switch {
	case end.serving.Load():
		return <-done
	case isRun(args): // it was stopped before it had begun
		return exitOK
	}
	return fail(stderr, errEnded)
}

// isRun reports whether a command line is that of awa-agent run.
func isRun(args []string) bool { return len(args) > 0 && args[0] == "run" }

// execute reads the command line and does what it says.
func execute(ctx context.Context, end *ending, args []string, std streams) int {
	if isRun(args) {
		// Else an agent would die when the reader of its log goes away, and
		// systemd would take that for a clean end.
		signal.Ignore(syscall.SIGPIPE)
	}
	code, exited := exitOK, false
	parsed, err := newParser(
		kong.Writers(std.out, std.err),
		kong.Exit(func(n int) { code, exited = n, true }),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(std, end),
	).Parse(args)
	if exited { // --help, --version
		return code
	}
	if err != nil {
		err = usageError{fmt.Errorf("%w (see awa-agent --help)", err)}
	} else {
		err = parsed.Run()
	}
	if err == nil {
		return exitOK
	}
	return fail(std.err, err)
}

// fail says why a command failed, and returns its exit code. It waits for the
// reader of stderr no longer than logFlush.
func fail(stderr io.Writer, err error) int {
	priority := ""
	if isJournal(stderr) {
		priority = priorityErr
	}
	lines := newLogLines(stderr, nil)
	fmt.Fprintf(lines, "%sawa-agent: %s\n", priority, escape(err.Error(), "\n\t"))
	lines.close()
	var usage usageError
	if errors.As(err, &usage) {
		return exitUsage
	}
	return exitFailure
}

// newParser knows the command line; the options say where it reads and writes.
func newParser(options ...kong.Option) *kong.Kong {
	parser, err := kong.New(&cli{}, append(options,
		kong.Name("awa-agent"),
		kong.Description("The agent of are-we-alive: it keeps the list of a cluster's nodes and reports which of "+
			"them are alive."),
		kong.UsageOnError(),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		vars(),
	)...)
	if err != nil {
		panic(err) // a mistake in the struct tags
	}
	return parser
}
