package handler

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"are-we-alive/pkg/awa"
)

// Timeout is how long a run may last.
const Timeout = 30 * time.Second

const (
	// maxOutput is how much a program may write, in bytes. One that writes more is ended.
	maxOutput = 64 << 10
	// leftTime is how long the end of a program's output is waited for, which a child may
	// hold open.
	leftTime = time.Second
	// niceness is that of a program, so that the pings come first.
	niceness = 19
	// tempFail is the exit code of a program that wants to be run again later (EX_TEMPFAIL of
	// sysexits.h).
	tempFail = 75
	// envRun marks the processes of a run.
	envRun = "AWA_HANDLER_RUN"
)

// ErrTryAgain is the error of a run whose program asks to be run again later.
var ErrTryAgain = errors.New("the program asks to be run again later (exit code 75)")

// errFlood ends a program that writes too much.
var errFlood = fmt.Errorf("it wrote more than %d KiB", maxOutput>>10)

// Check returns why a program must not be run, if so: it is missing or can't be run, or
// another user than root and that of this process could change it.
func Check(program string) error {
	if !filepath.IsAbs(program) {
		return fmt.Errorf("%s is not an absolute path: name the program with its folder, without arguments", program)
	}
	info, err := os.Stat(program)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("there is no %s: correct on_event, or install the program", program)
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is not a program but a folder or a device", program)
	case info.Mode().Perm()&0o111 == 0:
		return fmt.Errorf("%s is not executable: chmod 755 %[1]s", program)
	}
	if err := checkOwner(program, info); err != nil {
		return err
	}
	real, err := filepath.EvalSymlinks(program)
	if err != nil {
		return err
	}
	for _, path := range []string{program, real} { // a link lies in one folder and leads to another one
		folder, err := filepath.EvalSymlinks(filepath.Dir(path))
		if err == nil {
			info, err = os.Stat(folder)
		}
		if err == nil && info.Mode()&fs.ModeSticky == 0 { // in which others can't replace what is not theirs
			err = checkOwner(folder, info)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// checkOwner returns whether others than root and this process's user may change a file.
func checkOwner(path string, info fs.FileInfo) error {
	stat := info.Sys().(*syscall.Stat_t)
	switch {
	case stat.Uid != 0 && int(stat.Uid) != os.Geteuid():
		return fmt.Errorf("%s belongs to another user (uid %d), who could change it: chown root %[1]s", path, stat.Uid)
	case info.Mode().Perm()&0o022 != 0:
		return fmt.Errorf("other users may change %s (mode %04o): chmod go-w %[1]s", path, info.Mode().Perm())
	}
	return nil
}

// Runner runs programs.
type Runner struct {
	Log *slog.Logger
	// Timeout is how long a run may last; 0 is the constant.
	Timeout time.Duration
}

// Run runs a program with a message as its standard input, and returns when it and all that
// it started have ended. It calls ended once the program has, before it kills what that has
// left. What the program writes goes to the log.
func (r Runner) Run(ctx context.Context, program string, message []byte, ended func(error)) error {
	if err := Check(program); err != nil {
		ended(err)
		return err
	}
	limit := r.Timeout
	if limit == 0 {
		limit = Timeout
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	mark := envRun + "=" + awa.NewUID()
	out := &output{log: r.Log, program: program}
	cmd := exec.CommandContext(ctx, program)
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "HOME=/", mark}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(message), out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = leftTime
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	if err := cmd.Start(); err != nil {
		ended(err)
		return err
	}
	group := cmd.Process.Pid
	syscall.Setpriority(syscall.PRIO_PGRP, group, niceness) // a failure leaves it as it is
	err := cmd.Wait()
	var exit *exec.ExitError
	switch {
	case errors.Is(err, exec.ErrWaitDelay): // a child held the output open
		err = nil
	case out.flooded():
		err = errFlood
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		err = fmt.Errorf("it did not end within %s, and was killed", limit)
	case errors.As(err, &exit) && exit.ExitCode() == tempFail:
		err = ErrTryAgain
	}
	ended(err)
	killGroup(group, mark)
	out.end()
	return err
}

// killGroup kills what a run has left: its process group, and what has left that but
// still has the run's mark in its environment.
func killGroup(group int, mark string) {
	for range 10 { // one may start another meanwhile
		found := syscall.Kill(-group, syscall.SIGKILL) == nil
		for _, pid := range marked(mark) {
			found = syscall.Kill(pid, syscall.SIGKILL) == nil || found
		}
		if !found {
			return
		}
	}
}

// marked returns the processes of a run that can be seen.
func marked(mark string) []int {
	all, _ := filepath.Glob("/proc/[0-9]*/environ")
	var pids []int
	for _, path := range all {
		b, err := os.ReadFile(path) // of this user's processes alone
		if err != nil || !bytes.Contains(b, []byte(mark)) {
			continue
		}
		if pid, err := strconv.Atoi(strings.Split(path, "/")[2]); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// output writes what a program writes into the log, line by line.
type output struct {
	log     *slog.Logger
	program string

	mu   sync.Mutex
	line []byte
	size int
}

// Write implements io.Writer. It fails once there was too much, which closes the pipe.
func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.size += len(b); o.size > maxOutput {
		return 0, errFlood
	}
	o.line = append(o.line, b...)
	for {
		line, rest, ok := bytes.Cut(o.line, []byte("\n"))
		if !ok {
			return len(b), nil
		}
		o.write(line)
		o.line = rest
	}
}

func (o *output) write(line []byte) {
	if text := awa.CleanText(string(line)); text != "" {
		o.log.Info("the program of on_event says", "program", o.program, "line", text)
	}
}

// end writes what is left.
func (o *output) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.write(o.line)
	o.line = nil
}

func (o *output) flooded() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.size > maxOutput
}
