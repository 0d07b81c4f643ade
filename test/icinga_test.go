//go:build system

package test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"are-we-alive/pkg/awatest/testaid"
)

// icingaFiles holds the shipped files.
const icingaFiles = "../packaging/icinga2"

// TestIcinga runs Icinga 2 on the shipped commands, templates and rules,
// against a cluster with a key of which an agent dies and comes back. Its own
// record is read: the states through its API, and the performance data as it
// understood them from what it sends to Graphite.
func TestIcinga(t *testing.T) {
	t.Parallel()
	testaid.Tool(t, "icinga2")
	agents, key := keyedCluster(t)
	ic := startIcinga(t, agents, key)

	const well = `AWA OK - 3 of 3 nodes online`
	up := map[string]float64{"a1": 0, "a2": 0, "a3": 0}
	ic.await(0, well, up)
	ic.awaitGraph(map[string]string{
		"online.value": "3", "online.min": "0", "online.max": "3",
		"offline.value": "0", "offline.warn": "0", "offline.crit": "1.500000", "offline.max": "3",
		"mismatch.value": "0", "unreachable.value": "0", "unreachable.warn": "0",
		"skew_max.warn": "5", "behind.value": "0", "state.value": "0", "time.min": "0", "rtt_max.min": "0",
	})

	agents[2].kill()
	ic.await(1, `AWA WARNING - 1 of 3 nodes offline: a3 \(connect: connection refused.*`, map[string]float64{"a1": 0, "a2": 0, "a3": 1})
	ic.awaitGraph(map[string]string{"online.value": "2", "offline.value": "1", "state.value": "1"})
	agents[1].kill()
	agents[0].kill()
	ic.await(2, `AWA CRITICAL - no agent answers: .*`, map[string]float64{"a1": 1, "a2": 1, "a3": 1})
	for _, a := range agents {
		a.start()
	}
	ic.await(0, well, up)
	ic.awaitGraph(map[string]string{"online.value": "3", "offline.value": "0", "state.value": "0"})
}

// TestIcinga_files has Icinga check all shipped files as they are.
func TestIcinga_files(t *testing.T) {
	t.Parallel()
	testaid.Tool(t, "icinga2")
	dir := t.TempDir()
	write(t, filepath.Join(dir, "icinga2.conf"), icingaMain(t)+include(t, "are-we-alive-example.conf"))
	out, err := icingaDaemon(dir, "-C").CombinedOutput()
	if err != nil || regexp.MustCompile(`warning/|critical/`).Match(out) || !strings.Contains(string(out), "Instantiated 4 Hosts.") || !strings.Contains(string(out), "Instantiated 1 Service.") {
		t.Errorf("icinga2 daemon -C: %v\n%s", err, out)
	}
}

// icingaMain is the beginning of a site's icinga2.conf, with the shipped files
// that are not to be changed.
func icingaMain(t *testing.T) string {
	return fmt.Sprintf(`include <itl>
include <plugins>
const PluginDir = %q
const NodeName = "monitor"
object Endpoint NodeName {}
object Zone NodeName { endpoints = [ NodeName ] }
object CheckerComponent "checker" {}
`, os.Getenv(envBin)) + include(t, "are-we-alive-commands.conf") + include(t, "are-we-alive-apply.conf")
}

func include(t *testing.T, file string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join(icingaFiles, file))
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("include %q\n", path)
}

// icingaDaemon is Icinga on the icinga2.conf of a folder, in which it keeps all
// that it writes.
func icingaDaemon(dir string, args ...string) *exec.Cmd {
	args = append([]string{"daemon", "-c", filepath.Join(dir, "icinga2.conf"), "-DRunAsUser=root", "-DRunAsGroup=root"}, args...)
	for _, name := range []string{"ConfigDir", "DataDir", "LogDir", "CacheDir", "InitRunDir", "SpoolDir"} {
		args = append(args, "-D"+name+"="+dir)
	}
	cmd := exec.Command("icinga2", args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	return cmd
}

// icinga is a running Icinga.
type icinga struct {
	t      *testing.T
	api    string
	client *http.Client
	graph  *graphite
	log    *testaid.Log
	forced time.Time // when the last checks were asked for
}

// startIcinga starts Icinga with a host for each agent and one for the cluster.
func startIcinga(t *testing.T, agents []*agent, key string) *icinga {
	t.Helper()
	dir := t.TempDir()
	roots := icingaCertificate(t, filepath.Join(dir, "certs"))
	port := freePort(t)
	ic := &icinga{t: t, api: "https://monitor:" + port, graph: newGraphite(t), log: &testaid.Log{}}
	ic.client = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: roots, ServerName: "monitor"},
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, "127.0.0.1:"+port)
		},
	}}
	var addrs []string
	for _, a := range agents {
		addrs = append(addrs, fmt.Sprintf("%q", a.addr()))
	}
	site := fmt.Sprintf("\tvars.awa_agents = [ %s ]\n\tvars.awa_key_file = %q\n", strings.Join(addrs, ", "), key)
	conf := icingaMain(t) + fmt.Sprintf(`
object ApiListener "api" { bind_host = "127.0.0.1", bind_port = %s }
object ApiUser "test" { password = "test", permissions = [ "*" ] }
object GraphiteWriter "graphite" { host = "127.0.0.1", port = %s, enable_send_thresholds = true }
object Host "cluster" {
	check_command = "dummy"
	vars.dummy_state = 0
	vars.awa_cluster = true
	vars.awa_verbose = true
	vars.awa_warning = "0"
	vars.awa_critical = "50%%"
%s}
`, port, ic.graph.port, site)
	for _, a := range agents {
		conf += fmt.Sprintf("object Host %q {\n\timport \"awa-node-host\"\n%s}\n", a.name, site)
	}
	write(t, filepath.Join(dir, "icinga2.conf"), conf)
	if out, err := icingaDaemon(dir, "-C").CombinedOutput(); err != nil || strings.Contains(string(out), "warning/") {
		t.Fatalf("icinga2 daemon -C: %v\n%s", err, out)
	}
	cmd := icingaDaemon(dir)
	cmd.Env = environment()
	cmd.Stdout, cmd.Stderr = ic.log, ic.log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // it works in processes of its own
		cmd.Wait()
		if t.Failed() {
			t.Logf("Icinga's log:\n%s", ic.log)
		}
	})
	return ic
}

// icingaCertificate makes what Icinga's API wants in a folder: an authority and
// a certificate of it.
func icingaCertificate(t *testing.T, dir string) *x509.CertPool {
	t.Helper()
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Icinga CA"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "monitor"}, DNSNames: []string{"monitor"},
		NotBefore: ca.NotBefore, NotAfter: ca.NotAfter,
	}
	caKey, leafKey := ecdsaKey(t), ecdsaKey(t)
	for _, made := range []struct {
		name string
		cert *x509.Certificate
		key  *ecdsa.PrivateKey
	}{{"ca", ca, caKey}, {"monitor", leaf, leafKey}} {
		der, err := x509.CreateCertificate(rand.Reader, made.cert, ca, &made.key.PublicKey, caKey)
		if err != nil {
			t.Fatal(err)
		}
		key, err := x509.MarshalECPrivateKey(made.key)
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, made.name+".crt"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
		write(t, filepath.Join(dir, made.name+".key"), string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: key})))
	}
	text, err := os.ReadFile(filepath.Join(dir, "ca.crt"))
	pool := x509.NewCertPool()
	if err != nil || !pool.AppendCertsFromPEM(text) {
		t.Fatal("no certificate: ", err)
	}
	return pool
}

func ecdsaKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// checkable is what is used here of a host or a service.
type checkable struct {
	Attrs struct {
		Name   string `json:"__name"`
		State  float64
		Result struct{ Output string } `json:"last_check_result"`
	}
}

// ask asks Icinga's API.
func (ic *icinga) ask(method, path, body string, results any) error {
	req, err := http.NewRequestWithContext(ic.t.Context(), method, ic.api+"/v1/"+path, bytes.NewBufferString(body))
	if err != nil {
		return err
	}
	req.SetBasicAuth("test", "test")
	req.Header.Set("Accept", "application/json")
	resp, err := ic.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %v %d %s", method, path, err, resp.StatusCode, text)
	}
	return json.Unmarshal(text, &struct{ Results any }{results})
}

// check has Icinga check everything now, once a second at most, instead of in
// a minute.
func (ic *icinga) check() error {
	if time.Since(ic.forced) < time.Second {
		return nil
	}
	ic.forced = time.Now()
	for _, kind := range []string{"Host", "Service"} {
		if err := ic.ask(http.MethodPost, "actions/reschedule-check", `{"type":"`+kind+`","filter":"true","force":true}`, new([]any)); err != nil {
			return err
		}
	}
	return nil
}

// await waits until Icinga has the service in a state with such a first line
// and the hosts of the nodes in theirs (0 UP, 1 DOWN).
func (ic *icinga) await(state float64, line string, hosts map[string]float64) {
	ic.t.Helper()
	expected := regexp.MustCompile(`\A` + line)
	testaid.Await(ic.t, time.Minute, func() error {
		if err := ic.check(); err != nil {
			return err
		}
		var services, nodes []checkable
		if err := ic.ask(http.MethodGet, "objects/services", "", &services); err != nil {
			return err
		}
		if len(services) != 1 || services[0].Attrs.State != state || !expected.MatchString(services[0].Attrs.Result.Output) {
			return fmt.Errorf("the services are %+v, not in state %v with %s", services, state, line)
		}
		if head, table, _ := strings.Cut(services[0].Attrs.Result.Output, "\n"); state == 0 && strings.Count(table, " Online") != 3 {
			return fmt.Errorf("no table below %q: %q", head, table)
		}
		if err := ic.ask(http.MethodGet, "objects/hosts", "", &nodes); err != nil {
			return err
		}
		if len(nodes) != len(hosts)+1 {
			return fmt.Errorf("it knows %d hosts", len(nodes))
		}
		for _, n := range nodes {
			if want, ok := hosts[n.Attrs.Name]; ok && n.Attrs.State != want {
				return fmt.Errorf("host %s is in state %v, not %v: %s", n.Attrs.Name, n.Attrs.State, want, n.Attrs.Result.Output)
			}
		}
		return nil
	})
}

// graphite takes what Icinga sends to Graphite: the performance data as it
// understood them.
type graphite struct {
	port string
	log  *testaid.Log
}

func newGraphite(t *testing.T) *graphite {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	g := &graphite{port, &testaid.Log{}}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			io.Copy(g.log, conn) // until Icinga ends
			conn.Close()
		}
	}()
	t.Cleanup(func() { ln.Close(); <-ended })
	return g
}

// newest gives the newest value of each of the service's series.
func (g *graphite) newest() map[string]string {
	all := map[string]string{}
	lines := bufio.NewScanner(strings.NewReader(g.log.String()))
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if name, ok := strings.CutPrefix(fields[0], "icinga2.cluster.services.awa.awa.perfdata."); ok && len(fields) == 3 {
			all[name] = fields[1]
		}
	}
	return all
}

// awaitGraph waits until the newest values that Icinga sent are those. It drops
// what it has to send as long as it is not connected.
func (ic *icinga) awaitGraph(want map[string]string) {
	ic.t.Helper()
	testaid.Await(ic.t, time.Minute, func() error {
		if err := ic.check(); err != nil {
			return err
		}
		got := ic.graph.newest()
		for name, value := range want {
			if got[name] != value {
				return fmt.Errorf("%s is %q, not %q, in\n%s", name, got[name], value, ic.graph.log)
			}
		}
		return nil
	})
}
