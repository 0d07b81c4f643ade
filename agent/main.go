// Awa-agent runs on every server of a cluster, and edits its node list.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"are-we-alive/pkg/awa"
)

// Exit codes of awa-agent.
const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 2 // wrong usage or configuration
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// cli is the command line.
type cli struct {
	Run     runCmd     `cmd:"" help:"Run the agent of this server."`
	Key     keyCmd     `cmd:"" help:"Make the key of a cluster, and what is derived from it."`
	Node    nodeCmd    `cmd:"" help:"Read and edit the node list."`
	Changes changesCmd `cmd:"" help:"Show who changed the node list, and when."`
	Backup  backupCmd  `cmd:"" help:"Save the node list of a running agent to a file."`
	Restore restoreCmd `cmd:"" help:"Begin anew with the node list of a backup, on a stopped agent."`

	Version kong.VersionFlag `short:"V" help:"Show the version."`
}

// streams are where a command reads and writes.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// usageError is wrong usage or configuration: exit code 2.
type usageError struct{ error }

// Unwrap gives the cause.
func (e usageError) Unwrap() error { return e.error }

// run is main with all that it touches handed in; it gives the exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	code, exited := exitOK, false
	parsed, err := newParser(
		kong.Writers(stdout, stderr),
		kong.Exit(func(n int) { code, exited = n, true }),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(streams{stdin, stdout, stderr}),
	).Parse(args)
	if exited { // --help, --version
		return code
	}
	if err != nil {
		err = usageError{fmt.Errorf("%w (awa-agent --help tells what there is)", err)}
	} else {
		err = parsed.Run()
	}
	var usage usageError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &usage):
		code = exitUsage
	default:
		code = exitFailure
	}
	priority := ""
	if isJournal(stderr) {
		priority = priorityErr
	}
	fmt.Fprintf(stderr, "%sawa-agent: %s\n", priority, escape(err.Error(), "\n\t"))
	return code
}

// newParser knows the command line; the options say where it reads and writes.
func newParser(options ...kong.Option) *kong.Kong {
	parser, err := kong.New(&cli{}, append(options,
		kong.Name("awa-agent"),
		kong.Description("The agent of are-we-alive: it keeps the list of a cluster's nodes and tells which of them are alive."),
		kong.UsageOnError(),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.Vars{"version": "awa-agent " + awa.Version},
	)...)
	if err != nil {
		panic(err) // a mistake in the struct tags
	}
	return parser
}
