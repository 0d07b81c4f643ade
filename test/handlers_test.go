//go:build system

package test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"are-we-alive/pkg/awatest/testaid"
)

// handlerConf is where the handlers of packaging/handlers read their settings.
const handlerConf = "/etc/are-we-alive/handler.conf"

// handlerSite starts a cluster of three whose agents run a handler of packaging/handlers, as
// it is, with settings. This host has an /etc of its own by then.
func handlerSite(t *testing.T, name, settings string) *site {
	t.Helper()
	must(t, "mkdir", "-p", "/etc/are-we-alive")
	if err := os.WriteFile(handlerConf, []byte(settings), 0o600); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(t.TempDir(), name)
	install(t, filepath.Join("../packaging/handlers", name), program, "root", 0o755)
	s := newSiteWith(t, []string{"--on-event", program}, siteNode{name: "web1", host: "10.0.0.1", label: "role=web"},
		siteNode{name: "web2", host: "10.0.0.2", label: "role=web"}, siteNode{name: "cache1", host: "10.0.0.3", label: "role=db"})
	for _, host := range handlerHosts { // each has seen all others
		s.awaitOK(t, host, len(handlerHosts))
	}
	return s
}

var handlerHosts = []string{"10.0.0.1", "10.0.0.2", "10.0.0.3"}

// startServer starts a program of the machine, and kills it when the test ends.
func startServer(t *testing.T, name string, args ...string) {
	t.Helper()
	var log testaid.Log
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait() // it was killed
		if t.Failed() {
			t.Logf("%s", &log)
		}
	})
}

// TestHandlers_icinga has Icinga 2 take the results of a host that has no active checks.
func TestHandlers_icinga(t *testing.T) {
	t.Parallel()
	if !ownHost(t, handlerHosts, "icinga2", "curl", "jq") {
		return
	}
	s := newSite(t, siteNode{name: "web1", host: "10.0.0.1", label: "role=web"})
	i := startIcinga(t, s)
	s.agents["web1"].kill()
	const object = `{"templates":[],"attrs":{"check_command":"passive","enable_active_checks":false,"max_check_attempts":1}}`
	if err := i.request(http.MethodPut, "objects/hosts/cache1", object, new([]any)); err != nil {
		t.Fatal(err)
	}
	s = handlerSite(t, "icinga2", fmt.Sprintf("url=https://localhost:5665\nuser=root\npassword=%s\nca=%s/certs/ca.crt\n",
		i.password, icingaState))
	s.agents["cache1"].kill()
	i.awaitPassive("cache1", 1, `AWA CRITICAL - cache1 is offline: the host answers, its agent is not running .*`)
	s.agents["cache1"].start()
	i.awaitPassive("cache1", 0, `AWA OK - cache1 is online: its agent was restarted`)
}

// awaitPassive waits for a result of a host that nobody checks.
func (i *icinga) awaitPassive(host string, state int, output string) {
	i.t.Helper()
	testaid.Await(i.t, 30*time.Second, func() error {
		found, err := i.record("hosts", host)
		if err == nil && (found.State != state || !regexp.MustCompile("^"+output+"$").MatchString(found.Last.Output)) {
			err = fmt.Errorf("%s has the state %d: %s", host, found.State, found.Last.Output)
		}
		return err
	})
}

// TestHandlers_nagios has Nagios read the results of a host from its command file.
func TestHandlers_nagios(t *testing.T) {
	t.Parallel()
	if !ownHost(t, handlerHosts, "nagios4", "jq") {
		return
	}
	s := newSite(t, siteNode{name: "web1", host: "10.0.0.1", label: "role=web"})
	n := newNagiosWith(t, s, `
define host {
    use                    linux-server
    host_name              cache1
    address                10.0.0.3
    active_checks_enabled  0
    max_check_attempts     1
}
define service {
    use                    generic-service
    host_name              cache1
    service_description    none
    check_command          check_awa_cluster
    active_checks_enabled  0
}
`, "templates.cfg")
	s.agents["web1"].kill()
	s = handlerSite(t, "nagios", "command_file="+nagiosState+"/rw/nagios.cmd\n")
	want := func(state, output string) {
		t.Helper()
		testaid.Await(t, 30*time.Second, func() error {
			found, err := n.status()
			if host := found["cache1/"]; err == nil && (host["current_state"] != state || host["plugin_output"] != output) {
				err = fmt.Errorf("cache1 is %q", host)
			}
			return err
		})
	}
	s.agents["cache1"].kill()
	want("1", "AWA CRITICAL - cache1 is offline: the host answers, its agent is not running (connection refused), 1 other "+
		"does not see it either")
	s.agents["cache1"].start()
	want("0", "AWA OK - cache1 is online: its agent was restarted")
}

// TestHandlers_alertmanager has Prometheus' Alertmanager hold an alert while a node is down.
func TestHandlers_alertmanager(t *testing.T) {
	t.Parallel()
	if !ownHost(t, handlerHosts, "prometheus-alertmanager", "curl", "jq") {
		return
	}
	ownFolder(t, "/etc")
	conf := filepath.Join(t.TempDir(), "alertmanager.yml")
	if err := os.WriteFile(conf, []byte("route: {receiver: nobody}\nreceivers: [{name: nobody}]\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	startServer(t, "prometheus-alertmanager", "--config.file="+conf, "--storage.path="+t.TempDir(),
		"--web.listen-address=127.0.0.1:9093", "--cluster.listen-address=")
	alerts := func() (string, error) {
		resp, err := client.Get("http://127.0.0.1:9093/api/v2/alerts?active=true")
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		var all []struct {
			Labels      map[string]string
			Annotations map[string]string
		}
		if err := json.NewDecoder(resp.Body).Decode(&all); err != nil {
			return "", err
		}
		text := ""
		for _, a := range all {
			delete(a.Labels, "cluster")
			text += fmt.Sprint(a.Labels, a.Annotations)
		}
		return text, nil
	}
	want := func(text string) {
		t.Helper()
		testaid.Await(t, 30*time.Second, func() error {
			all, err := alerts()
			if err == nil && all != text {
				err = fmt.Errorf("the alerts are %q, want %q", all, text)
			}
			return err
		})
	}
	want("")
	s := handlerSite(t, "alertmanager", "url=http://127.0.0.1:9093\n")
	s.agents["cache1"].kill()
	want("map[alertname:AwaNode awa_role:db node:cache1] map[description:the host answers, its agent is not running " +
		"(connection refused), 1 other does not see it either summary:cache1 offline]")
	s.agents["cache1"].start()
	want("")
}

// TestHandlers_mail has msmtp send a mail to a server that speaks SMTP.
func TestHandlers_mail(t *testing.T) {
	t.Parallel()
	if !ownHost(t, handlerHosts, "msmtp", "jq") {
		return
	}
	ownFolder(t, "/etc")
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	mails := make(chan string, 10)
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go receiveMail(conn, mails)
		}
	}()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	if err := os.WriteFile("/etc/msmtprc", []byte("account default\nhost 127.0.0.1\nport "+port+"\nfrom awa@example.org\n"),
		0o644); err != nil {
		t.Fatal(err)
	}
	s := handlerSite(t, "mail", "to=ops@example.org\nfrom=awa@example.org\nsendmail=/usr/bin/msmtp\n")
	mail := func(parts ...string) {
		t.Helper()
		select {
		case m := <-mails:
			for _, part := range parts {
				if !strings.Contains(m, part) {
					t.Errorf("the mail does not hold %q:\n%s", part, m)
				}
			}
		case <-time.After(30 * time.Second):
			t.Fatal("there was no mail")
		}
	}
	s.agents["cache1"].kill()
	mail("To: ops@example.org\r\n", "From: awa@example.org\r\n", "Subject: are-we-alive: cache1 offline: the host answers",
		"\r\n\r\n2 of 3 nodes are online, as web1 sees it.\r\n", "  cache1 (10.0.0.3): offline, after ",
		"\r\n    the host answers, its agent is not running (connection refused), 1 other does not see it either\r\n")
	s.agents["cache1"].start()
	mail("Subject: are-we-alive: cache1 restarted: its agent was restarted\r\n", "3 of 3 nodes are online")
}

// receiveMail is a server's part of SMTP (RFC 5321), as far as a client needs it.
func receiveMail(conn net.Conn, mails chan<- string) {
	defer conn.Close()
	r := bufio.NewReader(conn)
	fmt.Fprint(conn, "220 test\r\n")
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		switch verb, _, _ := strings.Cut(strings.TrimSpace(line), " "); strings.ToUpper(verb) {
		case "DATA":
			fmt.Fprint(conn, "354 go on\r\n")
			var mail strings.Builder
			for line, err = r.ReadString('\n'); err == nil && line != ".\r\n"; line, err = r.ReadString('\n') {
				mail.WriteString(line)
			}
			mails <- mail.String()
			fmt.Fprint(conn, "250 ok\r\n")
		case "QUIT":
			fmt.Fprint(conn, "221 bye\r\n")
			return
		default:
			fmt.Fprint(conn, "250 ok\r\n")
		}
	}
}

// TestHandlers_webhook has a chat's server take a message, which is away at first.
func TestHandlers_webhook(t *testing.T) {
	t.Parallel()
	if !ownHost(t, handlerHosts, "curl", "jq") {
		return
	}
	ownFolder(t, "/etc")
	var mu sync.Mutex
	var texts []string
	fails := 1
	chat := &http.Server{Addr: "127.0.0.1:8065", Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if fails--; fails >= 0 {
			http.Error(w, "not now", http.StatusBadGateway)
			return
		}
		var m struct{ Text string }
		if err := json.NewDecoder(r.Body).Decode(&m); err != nil || r.URL.Path != "/hooks/secret" || r.Method != http.MethodPost {
			t.Errorf("%s %s: %v", r.Method, r.URL, err)
		}
		texts = append(texts, m.Text)
	})}
	go chat.ListenAndServe()
	defer chat.Close()
	s := handlerSite(t, "webhook", "url=http://127.0.0.1:8065/hooks/secret\n")
	s.agents["cache1"].kill()
	want := "cache1 offline: the host answers, its agent is not running (connection refused), 1 other does not see it either " +
		"(2 of 3 nodes are online)\nA part of this may have been sent before."
	testaid.Await(t, 30*time.Second, func() error {
		mu.Lock()
		defer mu.Unlock()
		if len(texts) != 1 || texts[0] != want {
			return fmt.Errorf("the chat has %q", texts)
		}
		return nil
	})
}

// TestCheck_haproxy has HAProxy take GET /check for the health check of a server, with the
// selection of a check.
func TestCheck_haproxy(t *testing.T) {
	t.Parallel()
	if !ownHost(t, handlerHosts, "haproxy") {
		return
	}
	s := newSiteWith(t, []string{"--web", ":25484"}, siteNode{name: "web1", host: "10.0.0.1", label: "role=web"})
	for _, n := range []siteNode{{"web2", "10.0.0.2", "role=web"}, {"db1", "10.0.0.3", "role=db"}} {
		a := newAgent(t, n.name, "--join", "10.0.0.1", "--key-file", s.keyFile, "--my-host", n.host, "--listen", n.host+":25483")
		a.start()
		s.agents[n.name] = a
	}
	s.awaitOK(t, "10.0.0.1", 3)
	for name, label := range map[string]string{"web2": "role=web", "db1": "role=db"} {
		s.node(t, "set", name, "--label", label, "--agent", "10.0.0.1")
	}
	dir := t.TempDir()
	conf := filepath.Join(dir, "haproxy.cfg")
	if err := os.WriteFile(conf, []byte(`
global
	stats socket `+dir+`/stats.sock level admin
defaults
	mode http
	timeout connect 2s
	timeout client 5s
	timeout server 5s
frontend all
	bind 127.0.0.1:8080
	default_backend cluster
backend cluster
	option httpchk GET /check
	server web1 10.0.0.1:80 check addr 10.0.0.1 port 25484 inter 300ms fall 1 rise 1
backend databases
	option httpchk GET /check?label=role%3Ddb&unreachable-warning=~:
	server web1 10.0.0.1:80 check addr 10.0.0.1 port 25484 inter 300ms fall 1 rise 1
backend agent
	option httpchk GET /healthz
	server web1 10.0.0.1:80 check addr 10.0.0.1 port 25484 inter 300ms fall 1 rise 1
`), 0o644); err != nil {
		t.Fatal(err)
	}
	must(t, "haproxy", "-c", "-f", conf)
	startServer(t, "haproxy", "-db", "-f", conf)
	want := func(servers string) {
		t.Helper()
		testaid.Await(t, 30*time.Second, func() error {
			found, err := haproxyServers(dir + "/stats.sock")
			if err == nil && found != servers {
				err = fmt.Errorf("HAProxy has %q, want %q", found, servers)
			}
			return err
		})
	}
	want("cluster UP 200, databases UP 200, agent UP 200")
	s.agents["web2"].kill()
	want("cluster DOWN 503, databases UP 200, agent UP 200")
	s.agents["db1"].kill()
	want("cluster DOWN 503, databases DOWN 503, agent UP 200")
	s.agents["db1"].start()
	want("cluster DOWN 503, databases UP 200, agent UP 200")
	s.agents["web2"].start()
	want("cluster UP 200, databases UP 200, agent UP 200")

	for query, line := range map[string]string{
		"?node=web1":                     "200 AWA OK - web1 is online, ",
		"?node=WEB1&node=db1":            "200 AWA OK - 2 of 2 nodes online",
		"?exclude=db*":                   "200 AWA OK - 2 of 2 nodes online",
		"?w=2:&c=5:":                     "503 AWA CRITICAL - 3 of 3 nodes online, but 0 offline (the critical range is 5:)",
		"?node=nobody":                   "503 AWA UNKNOWN - the node list of web1 has no node nobody: ",
		"?health=LAST_MAJORITY=critical": "503 AWA CRITICAL - 3 of 3 nodes online, but LAST_MAJORITY: ",
		"?critical=ten":                  `400 {"error":"critical: \"ten\" is not a range`,
		"?nodes=web1":                    `400 {"error":"\"nodes\" is not a parameter: use those of check_awa's flags`,
	} {
		resp, err := client.Get("http://10.0.0.1:25484/check" + query)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if text := fmt.Sprintf("%d %s", resp.StatusCode, b); err != nil || !strings.HasPrefix(text, line) {
			t.Errorf("/check%s: %s, %v, want %s", query, text, err, line)
		}
	}
	s.agents["web1"].signal(syscall.SIGSTOP)
	testaid.Await(t, 30*time.Second, func() error {
		found, err := haproxyServers(dir + "/stats.sock")
		if err == nil && strings.Contains(found, "UP") {
			err = errors.New(found)
		}
		return err
	})
	s.agents["web1"].signal(syscall.SIGCONT)
	want("cluster UP 200, databases UP 200, agent UP 200")
}

// haproxyServers reads how HAProxy sees its servers: name, status and the code of the check.
func haproxyServers(socket string) (string, error) {
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	fmt.Fprint(conn, "show stat\n")
	b, err := io.ReadAll(conn)
	if err != nil {
		return "", err
	}
	var all []string
	column := map[string]int{}
	for line := range strings.Lines(string(b)) {
		fields := strings.Split(strings.TrimSpace(line), ",")
		if strings.HasPrefix(line, "# ") {
			fields[0] = strings.TrimPrefix(fields[0], "# ")
			for i, name := range fields {
				column[name] = i
			}
			continue
		}
		if len(fields) > 10 && fields[column["svname"]] == "web1" {
			all = append(all, fmt.Sprintf("%s %s %s", fields[column["pxname"]], fields[column["status"]],
				fields[column["check_code"]]))
		}
	}
	return strings.Join(all, ", "), nil
}
