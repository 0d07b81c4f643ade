//go:build system

package test

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/goccy/go-json"
	"golang.org/x/sync/errgroup"

	"are-we-alive/pkg/awatest/testaid"
)

// browser is a Chromium with one tab.
type browser struct {
	t   *testing.T
	ctx context.Context
}

// openBrowser starts Chromium. It ends with the test.
func openBrowser(t *testing.T) *browser {
	t.Helper()
	testaid.Tool(t, "chromium")
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath("chromium"), chromedp.NoSandbox,
		chromedp.UserDataDir(t.TempDir()), chromedp.DisableGPU)
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	ctx, cancel = context.WithTimeout(ctx, 3*time.Minute)
	t.Cleanup(cancel)
	b := &browser{t, ctx}
	b.do(chromedp.Navigate("about:blank"))
	return b
}

func (b *browser) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, actions...); err != nil {
		b.t.Fatal(err)
	}
}

// evaluate runs a script of the test's in the page, and returns what it does.
func evaluate[T any](b *browser, script string) T {
	b.t.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](script, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatal(err)
	}
	return v
}

// shows waits until the page holds all of some texts, without loading it again: it does so
// itself.
func (b *browser) shows(texts ...string) {
	b.t.Helper()
	testaid.Await(b.t, 40*time.Second, func() error {
		page, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](`document.body?.innerText ?? ""`))
		if err != nil { // it is just loading
			return err
		}
		for _, want := range texts {
			if !strings.Contains(page, want) {
				return fmt.Errorf("the page does not show %s:\n%s", want, page)
			}
		}
		return nil
	})
}

// looksLike sets the width of the window, and its reader a preference.
func (b *browser) looksLike(width int64, scheme string) {
	b.t.Helper()
	b.do(chromedp.EmulateViewport(width, 900))
	_, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
	})
	if err != nil {
		b.t.Fatal(err)
	}
}

// requests returns a function that returns what the browser has asked for since.
func (b *browser) requests() func() []string {
	b.t.Helper()
	var mu sync.Mutex
	var all []string
	err := chromedp.Listen(b.ctx, func(event any) {
		if e, ok := event.(*network.EventRequestWillBeSent); ok {
			mu.Lock()
			defer mu.Unlock()
			all = append(all, e.Request.URL)
		}
	})
	if err == nil {
		_, err = chromedp.Call(b.ctx, network.Enable, network.EnableParams{})
	}
	if err != nil {
		b.t.Fatal(err)
	}
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		if len(all) == 0 {
			b.t.Error("the browser has asked for nothing")
		}
		return slices.Clone(all)
	}
}

// npmFile finds a file of a package that test/install-npm.sh has installed.
func npmFile(t *testing.T, path string) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(cache, "are-we-alive", "npm", "node_modules", path)
	if _, err := os.Stat(path); err != nil {
		testaid.Skip(t, path, " is not there: test/install-npm.sh")
	}
	return path
}

// accessible has axe-core look at the page as it is.
func (b *browser) accessible(axe string) {
	b.t.Helper()
	evaluate[any](b, axe+"; true")
	found := evaluate[string](b, `axe.run().then(r => r.violations.map(v => v.id + ": " + v.help + " " +
		v.nodes.slice(0, 3).map(n => n.html).join(" ")).join("\n"))`)
	if found != "" {
		b.t.Errorf("axe-core finds:\n%s", found)
	}
}

// valid has the checker of the W3C read pages.
func valid(t *testing.T, pages map[string][]byte) {
	t.Helper()
	dir := t.TempDir()
	args := []string{"-jar", npmFile(t, "vnu-jar/build/dist/vnu.jar"), "--Werror"}
	for name, page := range pages {
		path := filepath.Join(dir, name+".html")
		write(t, path, string(page))
		args = append(args, path)
	}
	if out, err := exec.Command(testaid.Tool(t, "java"), args...).CombinedOutput(); err != nil {
		t.Errorf("the HTML is not valid: %v\n%s", err, out)
	}
}

// pageCluster is a cluster whose agents have pages; it returns the address of the first one's.
func pageCluster(t *testing.T, n int) (c *cluster, address string) {
	t.Helper()
	c = newCluster(t, n, "--web", "127.0.0.1:0")
	a := c.agents[0]
	line := a.log.wait(t, 30*time.Second, func(l logLine) bool { return l.Msg == "listening for Prometheus" }, a.ended)
	return c, "http://" + line.Addr + "/"
}

// evil is what an attacker may give a node as a label.
const evil = `"><script>document.title='owned'</script><img src=x onerror=alert(1)>`

// TestPage_browser has a person look at the page of an agent while others die.
func TestPage_browser(t *testing.T) {
	t.Parallel()
	axe, err := os.ReadFile(npmFile(t, "axe-core/axe.min.js"))
	if err != nil {
		t.Fatal(err)
	}
	c, address := pageCluster(t, 3)
	a1, a3 := c.agents[0], c.agents[2]
	for _, args := range [][]string{
		{"node", "set", "a2", "--label", "owner=" + evil},
		{"node", "maintain", "a2", "--for", "1h", "--reason", evil},
	} {
		if r := run(t, "awa-agent", append(args, "--agent", a1.addr())...); r.code != 0 {
			t.Fatal(r.errors)
		}
	}
	b := openBrowser(t)
	requests := b.requests()
	b.do(chromedp.Navigate(address))
	b.shows("AWA OK - 2 of 2 nodes online (1 under maintenance)", "leader a1", "Last edits of the list")

	a3.kill()
	b.shows("AWA CRITICAL - 1 of 2 nodes offline (1 more under maintenance): "+
		"a3 (the host answers, its agent is not running", "a3 is offline after")
	b.do(chromedp.Navigate(address + "?others=show"))
	b.shows("maintenance until ", "owner=", "Hide them")
	if title := evaluate[string](b, "document.title"); !strings.HasPrefix(title, "AWA CRITICAL - ") {
		t.Errorf("the title is %s", title)
	}
	if n := evaluate[int](b, "document.querySelectorAll('script, img, iframe').length"); n != 0 {
		t.Errorf("a label has become %d elements", n)
	}

	for _, scheme := range []string{"light", "dark"} {
		for _, width := range []int64{320, 1280, 2560} {
			b.looksLike(width, scheme)
			over := evaluate[int](b, "document.documentElement.scrollWidth - document.documentElement.clientWidth")
			if over > 0 {
				t.Errorf("at %d pixels the page is %d too wide", width, over)
			}
			b.accessible(string(axe))
			b.picture(fmt.Sprintf("%s-%d.png", scheme, width))
		}
	}

	// By keyboard: the first thing to reach has it stay as it is.
	b.do(chromedp.Navigate(address), chromedp.KeyEvent("\t"), chromedp.KeyEvent("\r"))
	b.shows("Refresh every few seconds")
	a3.start()
	b.do(chromedp.Navigate(address))
	b.shows("AWA OK - 2 of 2 nodes online (1 under maintenance)")

	// The page of another agent is a click away.
	b.do(chromedp.Navigate(address+"?others=show"), chromedp.Click("//a[text()='a2']"))
	b.shows("a2 looked ")
	for _, address := range requests() {
		u, err := url.Parse(address)
		if err != nil || u.Scheme != "data" && (u.Hostname() != "127.0.0.1" || u.Path != "/") {
			t.Errorf("the page asks for %s", address)
		}
	}
}

// envPictures names a folder for pictures of what the tests look at; without it none are kept.
const envPictures = "AWA_TEST_PICTURES"

// picture keeps a picture of the whole page.
func (b *browser) picture(name string) { b.keep(name, chromedp.FullScreenshot(100)) }

// window keeps a picture of what the window shows.
func (b *browser) window(name string) { b.keep(name, chromedp.CaptureScreenshot()) }

func (b *browser) keep(name string, take chromedp.Action[[]byte]) {
	b.t.Helper()
	png, err := chromedp.Run(b.ctx, take)
	if folder := os.Getenv(envPictures); err == nil && folder != "" {
		err = os.WriteFile(filepath.Join(folder, name), png, 0o644)
	}
	if err != nil {
		b.t.Error(err)
	}
}

// TestPage_text has a text browser show the page, and the W3C's checker read it.
func TestPage_text(t *testing.T) {
	t.Parallel()
	c, address := pageCluster(t, 2)
	c.agents[1].kill()
	var page []byte
	testaid.Await(t, 30*time.Second, func() (err error) {
		if page, err = getPage(address + "?others=show"); err == nil && !strings.Contains(string(page), "AWA CRITICAL - ") {
			err = fmt.Errorf("%s", page)
		}
		return err
	})
	valid(t, map[string][]byte{"page": page})
	out, err := exec.Command(testaid.Tool(t, "w3m"), "-dump", "-cols", "80", address+"?others=show").CombinedOutput()
	for _, want := range []string{"AWA CRITICAL - 1 of 2 nodes offline: a2", "Problems", "a2 ", "Offline", "host answers",
		"1 other node", "Last events"} {
		if err != nil || !strings.Contains(string(out), want) {
			t.Fatalf("w3m does not show %s: %v\n%s", want, err, out)
		}
	}
}

// TestPage_large is of a thousand nodes: it is not heavy, and all of it is there.
func TestPage_large(t *testing.T) {
	t.Parallel()
	c, address := pageCluster(t, 1)
	a := c.agents[0]
	const nodes = 1000
	var edits errgroup.Group
	edits.SetLimit(16)
	for i := 2; i <= nodes; i++ {
		edits.Go(func() error {
			data, err := json.Marshal(map[string]any{"name": fmt.Sprintf("web%d", i), "host": "127.0.0.1", "port": 1,
				"labels": map[string]string{"rack": fmt.Sprintf("r%d", i/40), "role": "web"}})
			if err == nil {
				_, err = a.edit(t.Context(), client, "CREATE", string(data), fmt.Sprintf("%032x", i))
			}
			return err
		})
	}
	if err := edits.Wait(); err != nil {
		t.Fatal(err)
	}
	var page []byte
	testaid.Await(t, 90*time.Second, func() (err error) {
		if page, err = getPage(address + "?others=show"); err == nil && !strings.Contains(string(page), "999 of 1000 not online") {
			err = fmt.Errorf("%.3000s", page)
		}
		return err
	})
	if len(page) > 300_000 {
		t.Errorf("the page has %d bytes", len(page))
	}
	b := openBrowser(t)
	b.do(chromedp.EmulateViewport(1280, 900), chromedp.Navigate(address+"?others=show&refresh=off"))
	b.shows("999 of 1000 not online", "web1000", "a1")
	b.picture("large.png")
}
