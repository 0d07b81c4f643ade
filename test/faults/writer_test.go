//go:build system

package faults

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"are-we-alive/pkg/api"
	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/trust"
)

// envWriter tells this program to be a writer: it edits the list at one agent,
// one edit after the other, each under a key of its own, until it is told to end.
const envWriter = "AWA_TEST_WRITER"

// runWriter is that program: the address of its agent and the key file are the
// arguments. It prints a line for each edit whose outcome it knows: acked or
// refused, and the key; and before that, sent and the key.
func runWriter(name string, args []string) int {
	keys, err := trust.ReadFile(args[1], false)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	ring, err := trust.NewClient(keys, awa.RoleMember)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	client := api.NewClient(api.ClientConfig{Secure: ring.Secure})
	defer client.Close()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	for n := 0; ctx.Err() == nil; n++ {
		key := fmt.Sprintf("%s-%d", name, n)
		edit := awa.Edit{Action: awa.Create, Data: fmt.Appendf(nil, `{"name":%q,"host":"127.0.0.1","port":1}`, key), Key: key}
		fmt.Println("sent", key)
		what, id := insist(ctx, client, args[0], edit)
		fmt.Println(what, key)
		if what == "acked" { // the list must stay short, since all of it is pinged
			edit = awa.Edit{Action: awa.Delete, Data: fmt.Appendf(nil, `{"id":%d}`, id), Key: key + "-gone"}
			fmt.Println("sent", edit.Key)
			what, _ = insist(ctx, client, args[0], edit)
			fmt.Println(what, edit.Key)
		}
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
	return 0
}

// insist repeats an edit under its key until its outcome is known, or ctx ends.
// id is that of the node.
func insist(ctx context.Context, client *api.Client, addr string, e awa.Edit) (what string, id uint64) {
	for ctx.Err() == nil {
		attempt, cancel := context.WithTimeout(ctx, 12*time.Second)
		_, node, err := client.Edit(attempt, addr, e, 0)
		cancel()
		switch {
		case err == nil:
			return "acked", node.ID
		case errors.Is(err, awa.ErrNameTaken), errors.Is(err, awa.ErrUnknownNode):
			return "refused", 0
		}
		select {
		case <-ctx.Done():
		case <-time.After(200 * time.Millisecond):
		}
	}
	return "unknown", 0
}

// writer is a running one.
type writer struct {
	cmd  *exec.Cmd
	out  *os.File
	done chan error
}

// startWriter starts a writer on an agent's host.
func startWriter(t *testing.T, a *agent) *writer {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	out, err := os.CreateTemp(t.TempDir(), "writer")
	if err != nil {
		t.Fatal(err)
	}
	cmd := a.host.command(self, a.host.addr+":"+port, a.key)
	cmd.Env = append(cmd.Env, envWriter+"="+a.name)
	cmd.Stdout, cmd.Stderr = out, os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w := &writer{cmd, out, make(chan error, 1)}
	go func() { w.done <- cmd.Wait() }()
	t.Cleanup(func() { cmd.Process.Kill() })
	return w
}

// end stops the writer and returns the keys of its edits by what it said of each.
func (w *writer) end(t *testing.T) map[string][]string {
	t.Helper()
	w.cmd.Process.Signal(syscall.SIGTERM) // fails when it has ended
	select {
	case err := <-w.done:
		if err != nil {
			t.Errorf("a writer ended with %v", err)
		}
	case <-time.After(waitMost):
		t.Errorf("a writer does not end")
	}
	if _, err := w.out.Seek(0, 0); err != nil {
		t.Fatal(err)
	}
	said := map[string][]string{}
	lines := bufio.NewScanner(w.out)
	for lines.Scan() {
		what, key, _ := strings.Cut(lines.Text(), " ")
		said[what] = append(said[what], key)
	}
	return said
}
