//go:build system

package test

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"are-we-alive/pkg/awatest/testaid"
)

// TestNRPE has Debian's NRPE server run check_awa by the shipped command, and
// asks it with check_nrpe as Nagios does: in today's packets, and in those of
// version 2, which hold 1,023 bytes. Both must tell what check_awa itself says.
func TestNRPE(t *testing.T) {
	t.Parallel()
	if !ownHost(t, nil, "/usr/sbin/nrpe", nagiosPlugins+"/check_nrpe") {
		return
	}
	s := newSite(t, siteNode{name: "web1", host: "127.0.0.1", label: "role=web"},
		siteNode{name: "web2", host: "127.0.0.2", label: "role=web"}, siteNode{name: "db1", host: "127.0.0.3",
			label: "role=db"})
	startNRPE(t, s)

	const offline = `db1 \(the host answers, its agent is not running \(connection refused\), 1 other does not see it either\)`
	awaitNRPE(t, s, 0, `AWA OK - 3 of 3 nodes online`+lastMajority)
	s.agents["db1"].kill()
	awaitNRPE(t, s, 2, `AWA CRITICAL - 1 of 3 nodes offline: `+offline+lastMajority)
	s.agents["db1"].start()
	awaitNRPE(t, s, 0, `AWA OK - 3 of 3 nodes online`+lastMajority)

	// So many nodes that die that their names would not go into one packet.
	for i := range 40 {
		s.node(t, "add", fmt.Sprintf("a-server-with-a-long-name-that-does-not-answer-%03d", 2*i), "127.0.0.1", "1")
	}
	awaitNRPE(t, s, 2, `AWA CRITICAL - 40 of 43 nodes offline: the host answers, its agent is not running `+
		`\(a-server-with-a-long-name.* and \d+ more\)`)

	for _, a := range s.agents {
		a.kill()
	}
	awaitNRPE(t, s, 2, `AWA CRITICAL - no agent answers: 127\.0\.0\.1:25483 \(connect: connection refused\)`)
}

// startNRPE starts the server as Debian has it configured, with the shipped
// command, under its own user.
func startNRPE(t *testing.T, s *site) {
	t.Helper()
	ownFolder(t, "/etc", nagiosPlugins)
	install(t, program("check_awa"), nagiosPlugins+"/check_awa", "root", 0o755)
	installCheckKey(t, s, "nagios")
	install(t, "../packaging/nrpe/are-we-alive.cfg", "/etc/nagios/nrpe.d/are-we-alive.cfg", "root", 0o644)
	log := &testaid.Log{}
	cmd := exec.Command("/usr/sbin/nrpe", "-c", "/etc/nagios/nrpe.cfg", "-f")
	cmd.Stdout, cmd.Stderr = log, log
	asUser(t, cmd, "nagios")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			t.Logf("nrpe: %s", log)
		}
	})
}

// volatile is what differs from one question to the next.
var volatile = regexp.MustCompile(`(rtt_max|skew_max|time)=\d+\.\d+s`)

// awaitNRPE waits until check_awa says so itself, and wants the same of
// check_nrpe: exit code and every byte, except measured times.
func awaitNRPE(t *testing.T, s *site, code int, line string) {
	t.Helper()
	want := regexp.MustCompile(`\A` + line + ` \| .*state=` + fmt.Sprint(code) + `;;;0;3\n\z`)
	testaid.Await(t, 30*time.Second, func() error {
		own := run(t, "check_awa", "-H", "127.0.0.1", "-t", "4", "-k", s.checkKey)
		if own.code != code || !want.MatchString(own.out) || len(own.out) >= 1024 {
			return fmt.Errorf("check_awa: %d with %d bytes: %s", own.code, len(own.out), own.out)
		}
		for _, version := range [][]string{nil, {"-2"}} {
			cmd := exec.CommandContext(t.Context(), nagiosPlugins+"/check_nrpe",
				append([]string{"-H", "127.0.0.1", "-t", "10", "-c", "check_awa"}, version...)...)
			cmd.Stderr = os.Stderr
			out, err := cmd.Output()
			if cmd.ProcessState == nil {
				return err
			}
			plain := func(s string) string { return volatile.ReplaceAllString(s, "$1=T") }
			if got := cmd.ProcessState.ExitCode(); got != code ||
				plain(strings.TrimSpace(string(out))) != plain(strings.TrimSpace(own.out)) {
				return fmt.Errorf("check_nrpe %v: %d with\n%swhere check_awa gives %d with\n%s", version, got, out, own.code,
					own.out)
			}
		}
		return nil
	})
}
