//go:build system

package test

import (
	"fmt"
	"html"
	"net"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// TestScreenshots makes the pictures of the README, out of a cluster in which a database has
// died and a server is under maintenance. `make screenshots` keeps them.
func TestScreenshots(t *testing.T) {
	t.Parallel()
	c, address := pictured(t)
	w := newWindow(t, 100, 24)
	w.types(fmt.Sprintf("clear; exec %s --watch=1 -H %s", program("check_awa"), c.agents[1].addr()), "Enter")
	w.shows(`^6 nodes online`)
	if r := run(t, "awa-agent", "node", "maintain", "mail1", "--for", "2h", "--reason", "new disk", "--agent",
		c.agents[0].addr()); r.code != 0 {
		t.Fatal(r)
	}
	c.agents[3].kill() // db1
	c.agents[5].kill() // mail1
	b := openBrowser(t)
	b.do(chromedp.EmulateViewport(1200, 760), chromedp.Navigate(address+"?others=show"))
	b.shows("AWA CRITICAL - 1 of 5 nodes offline (1 more under maintenance): db1", "maintenance until", "db1 is offline")
	b.window("page.png")

	w.shows(`^\d\d:\d\d:\d\d db1 is offline after`)
	w.shows(`^[* ] db1 +Offline`)
	file := filepath.Join(t.TempDir(), "watch.html")
	write(t, file, terminalPage(w.tmux("capture-pane", "-e", "-p")))
	b.do(chromedp.EmulateViewport(900, 420), chromedp.Navigate("file://"+file))
	b.window("watch.png")
}

// pictured is a cluster as a site may have it, at least a minute old for its readers.
func pictured(t *testing.T) (c *cluster, address string) {
	t.Helper()
	c = &cluster{t: t}
	for i, name := range []string{"web1", "web2", "web3", "db1", "db2", "mail1"} {
		host := fmt.Sprintf("127.10.0.%d", i+1)
		how := []string{"--first"}
		if i > 0 {
			how = []string{"--join", c.agents[0].addr()}
		}
		a := newAgent(t, name, append(how, "--my-host", host, "--web", host+":0")...)
		at := net.JoinHostPort(host, "0")
		a.at.Store(&at)
		a.start()
		c.agents = append(c.agents, a)
		c.awaitNodes(i + 1)
		r := run(t, "awa-agent", "node", "set", name, "--label", "role="+strings.TrimRight(name, "0123456789"), "--label",
			fmt.Sprintf("rack=r%d", i%3+1), "--agent", c.agents[0].addr())
		if r.code != 0 {
			t.Fatal(r)
		}
	}
	c.awaitVoters(5)
	a := c.agents[1]
	line := a.log.wait(t, 30*time.Second, func(l logLine) bool { return l.Msg == "listening for Prometheus" }, a.ended)
	return c, "http://" + line.Addr + "/"
}

// sgr is a sequence that sets colors (ECMA-48, "Select Graphic Rendition").
var sgr = regexp.MustCompile("\x1b\\[([0-9;]*)m")

// terminalPage is a page that shows a screen with its colors.
func terminalPage(screen string) string {
	colors := map[string]string{"31": "#ff6b6b", "32": "#6bd17d", "33": "#f2c14e"}
	var b strings.Builder
	b.WriteString(`<!DOCTYPE html><meta charset="utf-8"><title>check_awa --watch</title><pre style="margin:0;padding:14px;` +
		`background:#16191d;color:#ddd;font:14px/1.15 'DejaVu Sans Mono',monospace">`)
	var color, bold, reverse string
	for at := 0; ; {
		next := sgr.FindStringSubmatchIndex(screen[at:])
		end := len(screen)
		if next != nil {
			end = at + next[0]
		}
		fmt.Fprintf(&b, `<span style="%s%s%s">%s</span>`, color, bold, reverse, html.EscapeString(screen[at:end]))
		if next == nil {
			return b.String() + "</pre>"
		}
		for _, code := range strings.Split(screen[at+next[2]:at+next[3]], ";") {
			switch {
			case code == "0" || code == "":
				color, bold, reverse = "", "", ""
			case code == "1":
				bold = "font-weight:bold;"
			case code == "7":
				reverse = "background:#ddd;color:#111;"
			case code == "27":
				reverse = ""
			case code == "39":
				color = ""
			case colors[code] != "":
				color = "color:" + colors[code] + ";"
			}
		}
		at += next[1]
	}
}
