package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"runtime/debug"
	"time"
)

// page measures how long an agent takes to make its page, with all nodes on it, beside the
// metrics of the same nodes. The other agents are in this process.
func page(ctx context.Context, b *bench) (err error) {
	const nodes = 1000
	dir := filepath.Join(b.dir, "page")
	c, err := listed{agents: nodes, apart: true}.start(ctx, dir)
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, c.stop())
		debug.FreeOSMemory()
	}()
	web, err := freePort()
	if err != nil {
		return err
	}
	a, err := startAgent(ctx, b, "page", "--listen", c.first(), "--data-dir", folder(dir, 0), "--key-file", "", "--web", web)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.stop()) }()
	err = until(ctx, time.Minute, "the first sweep", func() bool {
		_, _, err := get(ctx, "http://"+web+"/sd")
		return err == nil
	})
	if err != nil {
		return err
	}
	const all, metrics = "/?others=show", "/metrics"
	took, size := map[string][]time.Duration{}, map[string]int{}
	for range b.sweeps {
		for _, path := range []string{all, metrics} {
			d, n, err := get(ctx, "http://"+web+path)
			if err != nil {
				return err
			}
			took[path] = append(took[path], d)
			size[path] = n
		}
		select {
		case <-time.After(2100 * time.Millisecond): // for so long an answer may be used again
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	b.atMost(fmt.Sprintf("the page of %d nodes, median", nodes), ms(median(took[all])), 50, "%.1f ms")
	b.atMost("its size", float64(size[all])/1000, 300, "%.0f kB")
	b.figure("the metrics of the same nodes, median", fmt.Sprintf("%.1f ms", ms(median(took[metrics]))))
	return nil
}

// freePort returns an address of this machine that nobody listens at.
func freePort() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer ln.Close()
	return ln.Addr().String(), nil
}

// get returns how long an answer takes, and its size.
func get(ctx context.Context, url string) (took time.Duration, size int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, 0, err
	}
	began := time.Now()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, 0, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %s", url, resp.Status)
	}
	return time.Since(began), len(body), err
}
