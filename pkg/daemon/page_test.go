package daemon_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"are-we-alive/pkg/awatest"
	"are-we-alive/pkg/daemon"
)

// awaitPage waits until the page of an agent holds all of some texts.
func awaitPage(t *testing.T, c *awatest.Cluster, i int, path string, texts ...string) (body string) {
	t.Helper()
	c.Wait(path, func() error {
		status := 0
		status, body = page(t, c, i, path)
		for _, want := range texts {
			if status != 200 || !strings.Contains(body, want) {
				return fmt.Errorf("%d, without %q: %s", status, want, body)
			}
		}
		return nil
	})
	return body
}

func TestPage(t *testing.T) {
	c := awatest.New(t, 3, withWeb(nil))
	c.WaitSame()
	awaitPage(t, c, 0, "/?others=show", "<h1>AWA OK - 3 of 3 nodes online</h1>", "n0 looked ", "Hide them",
		`<a href="http://`+c.WebAddr(1)+`/">n1</a>`)
	if body := awaitPage(t, c, 0, "/", "Show them", "Stop refreshing"); strings.Contains(body, ">n1</a>") {
		t.Errorf("it shows nodes that are well: %s", body)
	}
	awaitPage(t, c, 0, "/?refresh=off", "Refresh every few seconds")

	_, n := c.MustEdit(0, awatest.CreateEdit("gone"))
	awaitPage(t, c, 0, "/", "gone was added")
	c.MustEdit(0, awatest.DeleteEdit(n.ID))
	awaitPage(t, c, 0, "/", "gone was removed")
	c.Kill(1)
	awaitPage(t, c, 0, "/", "<h1>AWA CRITICAL - 1 of 3 nodes offline: n1 (", `<th scope="row">n1<td class="s off">Offline`,
		"n1 is offline after ", "<dt class=\"off\">n1</dt><dd>")
}

// However many look, none of them causes a sweep: the page is what was seen last.
func TestPage_lastLook(t *testing.T) {
	c := awatest.New(t, 2, withWeb(func(cfg *daemon.Config) { cfg.Watch = time.Hour }))
	c.WaitSame()
	before := awaitPage(t, c, 0, "/", "leader n", "n0 looked ")
	at, _, _ := strings.Cut(before[strings.Index(before, "<time"):], "</time>")
	c.Kill(1)
	for _, path := range []string{"/", "/?others=show", "/?refresh=off", "/?others=show&refresh=off", "/?x=y"} {
		awaitPage(t, c, 0, path, at)
	}
}
