package test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"are-we-alive/pkg/awatest/testaid"
)

// TestWeb has an agent with --web show itself to Prometheus, and go on with it
// after SIGHUP.
func TestWeb(t *testing.T) {
	t.Parallel()
	const warning = "everybody who reaches the port for Prometheus can read what this agent knows of the cluster"
	for name, c := range map[string]struct {
		listen string
		open   bool // to everybody
	}{
		"on loopback":         {"127.0.0.1:0", false},
		"on loopback, by v6":  {"[::1]:0", false},
		"on every address":    {":0", true},
		"on every address v4": {"0.0.0.0:0", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAgent(t, "n1", "--first", "--web", c.listen)
			a.start()
			line := a.log.wait(t, 30*time.Second, func(l logLine) bool { return l.Msg == "listening for Prometheus" }, a.ended)
			_, port, err := net.SplitHostPort(line.Addr)
			if err != nil {
				t.Fatalf("%v:\n%s", err, a.log)
			}
			if warned := strings.Contains(a.log.String(), warning); warned != c.open {
				t.Errorf("a warning: %t, want %t\n%s", warned, c.open, a.log)
			}
			host, _, _ := net.SplitHostPort(c.listen)
			if c.open {
				host = "127.0.0.1"
			}
			get := func(path string) string {
				resp, err := client.Get("http://" + net.JoinHostPort(host, port) + path)
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				b, err := io.ReadAll(resp.Body)
				if err != nil || resp.StatusCode != http.StatusOK && path != "/sd" {
					t.Fatalf("GET %s: %s, %v", path, resp.Status, err)
				}
				return string(b)
			}
			if text := get("/metrics"); !strings.Contains(text, "\nawa_build_info{version=") ||
				!strings.Contains(text, "\ngo_goroutines ") {
				t.Errorf("/metrics:\n%s", text)
			}
			a.signal(syscall.SIGHUP)
			a.log.wait(t, 30*time.Second, func(l logLine) bool { return l.Msg == "this agent still has no key" },
				a.ended)
			testaid.Await(t, 30*time.Second, func() error { // once it is swept
				if text := get("/sd"); !strings.Contains(text, `"targets":["`+a.addr()+`"]`) {
					return fmt.Errorf("no target: %s", text)
				}
				return nil
			})
			if code, took := a.stop(syscall.SIGTERM); code != 0 || took > 5*time.Second {
				t.Errorf("exit code %d after %v", code, took)
			}
		})
	}
}
