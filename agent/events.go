package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"are-we-alive/pkg/api"
	"are-we-alive/pkg/awa"
)

// eventsCmd is awa-agent events.
type eventsCmd struct {
	target
	Node         []string `placeholder:"NAME" sep:"none" complete:"node" help:"${help_event_node}"`
	Since        string   `placeholder:"TIME" help:"${help_since}"`
	Follow       bool     `short:"f" help:"Wait for further events, until interrupted."`
	Availability bool     `help:"${help_availability}"`
}

// Run prints what happened.
func (c *eventsCmd) Run(ctx context.Context, std streams) error {
	q := awa.EventQuery{Nodes: c.Node}
	var err error
	if q.Since, err = parseSince(c.Since, time.Now()); err != nil {
		return usageError{err}
	}
	for _, name := range c.Node {
		if err := awa.CheckName(name); err != nil {
			return usageError{fmt.Errorf("--node: %w", err)}
		}
	}
	switch {
	case c.Availability && (c.Follow || c.Since != ""):
		return usageError{errors.New("--availability has spans of its own: leave out --follow and --since")}
	case c.Availability:
		return c.availability(ctx, std)
	}
	return c.events(ctx, std, q)
}

// parseSince reads how long ago or when; "" is the zero time.
func parseSince(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if at, err := time.Parse(time.RFC3339, s); err == nil {
		return at, nil
	}
	if at, err := time.ParseInLocation(time.DateOnly, s, now.Location()); err == nil {
		return at, nil
	}
	if days, ok := strings.CutSuffix(s, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil {
			return now.AddDate(0, 0, -int(n)), nil
		}
	}
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	return time.Time{}, fmt.Errorf("--since: %q is not a time: use how long ago, such as 24h or 7d, a day such as "+
		"2026-11-25, or a time such as 2026-11-25T18:00:00Z", s)
}

// events prints events, and with --follow those that come.
func (c *eventsCmd) events(ctx context.Context, std streams, q awa.EventQuery) error {
	for first := true; ; {
		var set awa.EventSet
		err := c.read(ctx, func(ctx context.Context, client *api.Client, addr string) (err error) {
			set, err = client.Events(ctx, addr, q)
			return err
		})
		switch {
		case c.Follow && ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		}
		if first && c.Output != "json" {
			if _, err := fmt.Fprintf(std.out, eventRow, "When", "Node", "Event", "For", "Why"); err != nil {
				return err
			}
		}
		first = false
		for _, e := range set.Events {
			if err := c.print(std, e); err != nil {
				return err
			}
		}
		more := set.Through > q.After
		q.After = max(q.After, set.Through)
		switch {
		case more:
			continue
		case !c.Follow:
			return nil
		}
		select {
		case <-time.After(followEvery):
		case <-ctx.Done():
			return nil
		}
	}
}

// eventRow is a line of the table: when, node, what, for how long, why.
const eventRow = "%-19s  %-15s  %-17s  %-7s  %s\n"

// print writes one event.
func (c *eventsCmd) print(std streams, e awa.Event) error {
	if c.Output == "json" {
		return printJSONLine(std.out, e)
	}
	what, why := strings.ReplaceAll(string(e.Kind), "_", " "), e.Why
	if e.Code != "" {
		why = strings.TrimSuffix(string(e.Code)+": "+why, ": ")
	}
	lasted := e.Lasted
	if e.Away > 0 { // how long it was away says more than how long it had been online
		lasted = e.Away
	}
	if e.By != "" {
		why = strings.TrimSpace(why + " (by " + e.By + ")")
	}
	_, err := fmt.Fprintf(std.out, "%s", strings.TrimRight(fmt.Sprintf(eventRow, e.At.Local().Format(time.DateTime),
		printable(e.Node), printable(what), spanText(time.Duration(lasted)), printable(why)), " \n")+"\n")
	return err
}

// spanText is how long something lasted, in at most two units: "2d3h", "4m12s", "0.3s"; ""
// is not known.
func spanText(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d <= 0:
		return ""
	case d < 10*time.Second:
		return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + "s"
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm%ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < day:
		return fmt.Sprintf("%dh%dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd%dh", int(d/day), int(d%day/time.Hour))
}

// shareJSON is a node in --availability -o json.
type shareJSON struct {
	ID     uint64               `json:"id"`
	Name   string               `json:"name"`
	Shares map[string]awa.Share `json:"shares"` // by span
}

// availability prints the shares.
func (c *eventsCmd) availability(ctx context.Context, std streams) error {
	var agent string
	var all []awa.NodeShare
	err := c.read(ctx, func(ctx context.Context, client *api.Client, addr string) (err error) {
		agent, all, err = client.Availability(ctx, addr)
		return err
	})
	if err != nil {
		return err
	}
	all, err = c.wanted(all)
	if err != nil {
		return err
	}
	if c.Output == "json" {
		nodes := make([]shareJSON, len(all))
		for i, n := range all {
			nodes[i] = shareJSON{n.ID, n.Name, map[string]awa.Share{}}
			for j, span := range awa.ShareSpans {
				nodes[i].Shares[spanName(span)] = n.Shares[j]
			}
		}
		return printJSON(std.out, map[string]any{"agent": agent, "nodes": nodes})
	}
	return table(std.out, "Name\t24h\t7d\t30d\tSeen for", func(row func(...any)) {
		for _, n := range all {
			cells := []any{n.Name}
			for _, share := range n.Shares {
				cells = append(cells, percent(share))
			}
			row(append(cells, spanText(time.Duration(n.Shares[len(n.Shares)-1].Watched)))...)
		}
	})
}

// wanted returns the shares of the nodes that are asked for.
func (c *eventsCmd) wanted(all []awa.NodeShare) ([]awa.NodeShare, error) {
	if len(c.Node) == 0 {
		return all, nil
	}
	byName := map[string]awa.NodeShare{}
	for _, n := range all {
		byName[awa.NameKey(n.Name)] = n
	}
	var found []awa.NodeShare
	for _, name := range c.Node {
		n, ok := byName[awa.NameKey(name)]
		if !ok {
			return nil, fmt.Errorf("the list has no node %s: awa-agent node list shows the names", name)
		}
		found = append(found, n)
	}
	return found, nil
}

func spanName(d time.Duration) string {
	if d <= 24*time.Hour {
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d/(24*time.Hour)))
}

// percent is a share as a person reads it. What is not quite all is not shown as all.
func percent(s awa.Share) string {
	if s.Watched <= 0 {
		return "-"
	}
	p := 100 * float64(s.Online) / float64(s.Watched)
	if s.Online < s.Watched {
		p = min(p, 99.999)
	}
	return strconv.FormatFloat(p, 'f', 3, 64) + " %"
}
