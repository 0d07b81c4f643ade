package main

import (
	"context"
	"fmt"
	"time"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/report"
)

// waitEvery is how long --wait waits before it asks again.
const waitEvery = time.Second

// wait asks until the result is OK or cfg.wait is over, and prints the last one. On a
// terminal stderr shows what it waits for.
func wait(ctx context.Context, agents fetcher, cfg config, p printer, start time.Time) int {
	end := start.Add(cfg.wait)
	progress := progressLine{p: p}
	for {
		began := time.Now()
		done, err := checkOnce(ctx, agents, cfg, began)
		if err == nil {
			left := time.Until(end)
			p.deadline = began.Add(cfg.timeout)
			if done.result.State == report.OK || left <= 0 {
				progress.clear()
				return p.print(done.result)
			}
			progress.show(done.result, left)
			select {
			case <-time.After(min(waitEvery, left)):
			case <-ctx.Done():
				err = ctx.Err()
			}
		}
		if err != nil {
			progress.clear()
			p.forced = true
			return p.print(report.NoResult("stopped by a signal while it waited", time.Now()))
		}
	}
}

// progressLine is a line on stderr that is overwritten, where stderr is a terminal.
type progressLine struct {
	p     printer
	shown bool
}

func (l *progressLine) show(r report.Result, left time.Duration) {
	columns, _, isTerminal := sizeOf(l.p.stderr)
	if !isTerminal {
		return
	}
	l.shown = true
	lead := fmt.Sprintf("waiting, %s left: ", awa.Ago(left))
	fmt.Fprintf(l.p.stderr, "\r%s%s", report.Cut(lead+r.Headline(), columns-1), clearLine)
}

// clear takes the line away.
func (l *progressLine) clear() {
	if l.shown {
		fmt.Fprint(l.p.stderr, "\r"+clearLine)
	}
}
