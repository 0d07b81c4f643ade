package main

import (
	"context"
	"errors"
	"time"

	"are-we-alive/pkg/awa"
)

// maxMaintenance bounds what is more likely a slip of the finger.
const maxMaintenance = 366 * 24 * time.Hour

// nodeMaintainCmd is awa-agent node maintain.
type nodeMaintainCmd struct {
	target
	selection
	For    time.Duration `placeholder:"TIME" help:"How long from now, such as 30m or 2h; it ends by itself."`
	Reason string        `placeholder:"TEXT" help:"Why, for those who see the node under maintenance."`
	Off    bool          `help:"End it now."`
}

// Run sets or removes the time at which the nodes' maintenance ends.
func (c *nodeMaintainCmd) Run(ctx context.Context, std streams) error {
	end, err := c.end(time.Now())
	if err != nil {
		return usageError{err}
	}
	set := func(n awa.Node) (map[string]any, error) {
		return map[string]any{"name": n.Name, "host": n.Host, "port": n.Port, "maintenance": end, "reason": c.Reason}, nil
	}
	return c.editNodes(ctx, c.selection, awa.Update, set, func(m made) error {
		sentence := "The maintenance of " + m.node.Name + " has ended"
		if !c.Off {
			sentence = m.node.Name + " is under maintenance " + m.node.UntilAndWhy(localTime(end))
		}
		return c.print(std, m, sentence)
	})
}

// localTime writes a time in RFC 3339 as a person of this machine reads it.
func localTime(at string) string {
	t, err := time.Parse(time.RFC3339, at)
	if err != nil {
		return at
	}
	return t.Local().Format("2006-01-02 15:04:05 MST")
}

// end is the time at which the maintenance ends, in RFC 3339; "" removes it.
// The next second is meant when it is not a whole one.
func (c *nodeMaintainCmd) end(now time.Time) (string, error) {
	switch {
	case c.Off && c.For != 0:
		return "", errors.New("--for and --off exclude each other: a maintenance either begins or ends")
	case c.Off && c.Reason != "":
		return "", errors.New("--reason and --off exclude each other: a maintenance that ends has no reason")
	case c.Off:
		return "", nil
	case c.For == 0:
		return "", errors.New("the time is missing: give --for, such as --for 2h, or --off")
	case c.For < time.Second || c.For > maxMaintenance:
		return "", errors.New("--for must be 1s to 8784h, a year")
	}
	return now.Add(c.For + time.Second - 1).UTC().Format(time.RFC3339), nil
}
