// Demo shows a cluster of three agents on this machine, and what check_awa
// says of it while one of them dies. It is what `make demo` runs: the programs
// are taken from the folder named on the command line. Everything it starts
// and writes is gone afterwards.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/goccy/go-json"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: demo FOLDER (with awa-agent and check_awa)")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	err := run(ctx, os.Args[1])
	cancel()
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// demo is the cluster that is shown.
type demo struct {
	ctx    context.Context
	bin    string
	dir    string
	agents []*agent
}

type agent struct {
	name, addr string
	cmd        *exec.Cmd
}

func run(ctx context.Context, bin string) (err error) {
	bin, err = filepath.Abs(bin)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "awa-demo-")
	if err != nil {
		return err
	}
	d := &demo{ctx: ctx, bin: bin, dir: dir}
	defer func() { err = errors.Join(err, d.end()) }()

	d.say("Three agents start on loopback; the first begins a cluster, the others join it.")
	for i, name := range []string{"web1", "web2", "db1"} {
		if err := errors.Join(d.start(name), d.await(i+1)); err != nil {
			return err
		}
	}
	web1, victim := d.agents[0], d.agents[2]

	d.say("Any agent can be asked. All nodes answer:")
	if err := d.show(0, "check_awa", "-H", web1.addr, "-o", "table"); err != nil {
		return err
	}
	d.say("The node list can be edited at any agent, and every agent has the edit:")
	if err := d.show(0, "awa-agent", "node", "set", "db1", "--label", "role=database", "--agent",
		d.agents[1].addr); err != nil {
		return err
	}
	if err := d.show(0, "awa-agent", "node", "list", "--agent", web1.addr); err != nil {
		return err
	}

	d.say("db1 dies (kill -9).")
	if err := errors.Join(victim.cmd.Process.Kill(), d.gone(victim)); err != nil {
		return err
	}
	d.say("A person asks again:")
	if err := d.show(2, "check_awa", "-H", web1.addr, "-o", "table"); err != nil {
		return err
	}
	d.say("Nagios or Icinga asks:")
	if err := d.show(2, "check_awa", "-H", web1.addr); err != nil {
		return err
	}
	d.say("Telegraf asks:")
	return d.show(0, "check_awa", "-H", web1.addr, "-o", "influx")
}

func (d *demo) say(text string) { fmt.Printf("\n== %s\n", text) }

// show runs a program of ours as a person would, and checks its exit code.
func (d *demo) show(want int, name string, args ...string) error {
	fmt.Printf("$ %s %s\n", name, strings.Join(args, " "))
	cmd := exec.CommandContext(d.ctx, filepath.Join(d.bin, name), args...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return err
	}
	fmt.Printf("(exit code %d)\n", cmd.ProcessState.ExitCode())
	if got := cmd.ProcessState.ExitCode(); got != want {
		return fmt.Errorf("%s ended with exit code %d, not %d", name, got, want)
	}
	return nil
}

// start starts an agent on a free port and waits until it listens.
func (d *demo) start(name string) error {
	args := []string{"run", "--my-name", name, "--my-host", "127.0.0.1", "--listen", "127.0.0.1:0",
		"--data-dir", filepath.Join(d.dir, name), "--log-format", "json"}
	if len(d.agents) == 0 {
		args = append(args, "--first")
	} else {
		args = append(args, "--join", d.agents[0].addr)
	}
	cmd := exec.Command(filepath.Join(d.bin, "awa-agent"), args...)
	cmd.Dir = d.dir                                                                   // where no configuration file is
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL} // Ctrl-C is ours to handle
	out, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	a := &agent{name: name, cmd: cmd}
	d.agents = append(d.agents, a)
	log := bufio.NewScanner(out)
	for log.Scan() {
		var line struct{ Msg, Addr string }
		if json.Unmarshal(log.Bytes(), &line) == nil && line.Msg == "listening" {
			a.addr = line.Addr
			go io.Copy(io.Discard, out) // ends with the agent
			fmt.Printf("   %s listens on %s\n", name, a.addr)
			return nil
		}
		fmt.Fprintln(os.Stderr, log.Text())
	}
	return fmt.Errorf("agent %s ended before it listened", name)
}

// await waits until an agent sees n nodes online.
func (d *demo) await(n int) error {
	for {
		out, _ := exec.CommandContext(d.ctx, filepath.Join(d.bin, "check_awa"), "-H", d.agents[0].addr, "-o", "json").Output()
		var status struct {
			Nodes []struct{ Verdict string }
		}
		json.Unmarshal(out, &status) // an agent that isn't ready yet is asked again
		if len(status.Nodes) == n {
			return nil
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-d.ctx.Done():
			return fmt.Errorf("the cluster was not complete in time: %s", out)
		}
	}
}

// gone waits for the end of an agent that was asked to end.
func (d *demo) gone(a *agent) error {
	err := a.cmd.Wait()
	a.cmd = nil
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return nil
	}
	return err
}

// end stops what still runs and removes the folder.
func (d *demo) end() error {
	d.say("All agents stop, and nothing is left behind.")
	var errs []error
	for _, a := range d.agents {
		if a.cmd != nil {
			errs = append(errs, a.cmd.Process.Signal(syscall.SIGTERM), d.gone(a))
		}
	}
	return errors.Join(append(errs, os.RemoveAll(d.dir))...)
}
