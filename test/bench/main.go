// Bench measures what the project promises, beside a yardstick taken in the
// same run wherever there is one. It is what `make bench` runs, after the
// programs were built into bin:
//
//	go run ./test/bench              everything, about six minutes
//	go run ./test/bench -only edits  one part
//
// A figure that misses its aim is printed as missed and is not a failure, since
// another machine is another figure; a measurement that can't be made is one.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// config is what is measured, and for how long.
type config struct {
	only    []string      // names of parts; none means all
	bin     string        // folder of awa-agent and check_awa
	runs    int           // runs whose median counts, of edits
	each    time.Duration // length of a run with one number of writers
	agents  []int         // sizes of the clusters that are swept
	sweeps  int           // sweeps whose median counts
	pairs   int           // pairs of check_awa and check_http
	idle    time.Duration // how long the idle agents are watched
	scratch string        // folder for data; "" for the system's

	processes int // agents that detect deaths
}

// part is one measurement.
type part struct {
	name, title string
	measure     func(context.Context, *bench) error
}

func parts() []part {
	return []part{
		{"edits", "edits, three voters in one process, through the HTTP API", edits},
		{"sweep", "sweeps, all agents in one process on loopback", sweeps},
		{"blackhole", "a sweep of ten nodes, one of which swallows every packet", blackhole},
		{"tls", "TLS: handshakes, a sweep, and idle connections beside those without TLS", tlsCosts},
		{"connections", "memory of kept connections: fasthttp beside net/http", connections},
		{"large", "long lists, an awa-agent process and nodes on loopback", large},
		{"detection", "deaths among awa-agent processes, default timing", detection},
		{"background", "the background sweeps of an awa-agent process with TLS, default timing", background},
		{"page", "the page of an awa-agent process, all nodes on it", page},
		{"plugin", "whole processes of check_awa and check_http, one after the other", plugin},
		{"plugin-tls", "the same with TLS and a certificate on both sides", pluginTLS},
		{"idle", "three idle awa-agent processes, all voters, default timing", idle},
	}
}

func names() []string {
	var all []string
	for _, p := range parts() {
		all = append(all, p.name)
	}
	return all
}

func main() {
	cfg := config{agents: []int{10, 100, 1000}, sweeps: 15}
	only := flag.String("only", "", "parts to measure, separated by commas: "+strings.Join(names(),
		", ")+"; all by default")
	flag.StringVar(&cfg.bin, "bin", "bin", "folder of awa-agent and check_awa, as make build leaves them")
	flag.StringVar(&cfg.scratch, "scratch", "", "folder for the data; its disk is the one that is measured (the "+
		"system's folder for temporary files by default)")
	flag.IntVar(&cfg.runs, "runs", 3, "runs of edits whose median counts")
	flag.DurationVar(&cfg.each, "each", 3*time.Second, "length of a run of edits")
	flag.IntVar(&cfg.sweeps, "sweeps", cfg.sweeps, "sweeps whose median counts")
	flag.Func("agents", "sizes of the clusters that are swept (10,100,1000)", func(s string) (err error) {
		cfg.agents, err = numbers(s)
		return err
	})
	flag.IntVar(&cfg.processes, "processes", 200, "agents of which some die")
	flag.IntVar(&cfg.pairs, "pairs", 60, "pairs of check_awa and check_http")
	flag.DurationVar(&cfg.idle, "idle", 20*time.Second, "how long the idle agents are watched")
	flag.Parse()
	if *only != "" {
		cfg.only = strings.Split(*only, ",")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, cfg, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// numbers reads numbers separated by commas.
func numbers(s string) (all []int, err error) {
	for text := range strings.SplitSeq(s, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("%q is not a number of agents", text)
		}
		all = append(all, n)
	}
	return all, nil
}

// bench is one run: what is wanted, where the data goes, and the report.
type bench struct {
	config
	*report
	dir string // for the part that runs; empty when it begins
}

// run measures the parts that are asked for.
func run(ctx context.Context, cfg config, out io.Writer) (err error) {
	for _, name := range cfg.only {
		if !slices.Contains(names(), name) {
			return fmt.Errorf("-only %s is not understood: there are %s", name, strings.Join(names(), ", "))
		}
	}
	b := &bench{config: cfg, report: &report{out: out}}
	b.facts(cfg.scratch)
	var errs []error
	for _, p := range parts() {
		if len(cfg.only) > 0 && !slices.Contains(cfg.only, p.name) {
			continue
		}
		b.section(p.title, "go run ./test/bench -only "+p.name)
		if err := b.one(ctx, p); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", p.name, err))
			b.note("FAILED: %v", err)
		}
		if ctx.Err() != nil {
			break
		}
	}
	b.end()
	return errors.Join(errs...)
}

// one measures a part in a folder of its own.
func (b *bench) one(ctx context.Context, p part) (err error) {
	if b.dir, err = os.MkdirTemp(b.scratch, "awa-bench-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	return p.measure(ctx, b)
}

// program returns the path of a program of ours.
func (b *bench) program(name string) (string, error) {
	path, err := filepath.Abs(filepath.Join(b.bin, name))
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		return "", fmt.Errorf("%w: run make build first", err)
	}
	return path, nil
}
